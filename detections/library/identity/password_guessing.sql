--! id          = "identity.password_guessing"
--! title       = "Many failed sign-ins to one account"
--! severity    = "medium"
--! status      = "stable"
--! owner       = "identity-team"
--! description = """
--! One account sees very many failed sign-ins from one address within ten minutes. The alert says that somebody tries;
--! identity.password_guessing_then_success says that it worked."""
--! attack      = ["T1110.001"]
--! entities    = { user = "user_name", src_ip = "src_ip", ip = "src_ip" }
--! risk_score  = 40
--! confidence  = 60
--! cooldown    = "2 hours"
--! params      = { failures = 50 }
--! false_positives = ["a service or scheduled task with an old password"]
SELECT
  window_start,
  window_end,
  user.name AS user_name,
  src_endpoint.ip AS src_ip,
  max(dst_endpoint.hostname) AS target,
  count(*) AS failures,
  concat(CAST(count(*) AS STRING), ' failed sign-ins to ', user.name, ' from ', src_endpoint.ip, ' within ten minutes') AS message
FROM TUMBLE(authentication, time, INTERVAL '10 minutes')
WHERE status = 'Failure' AND src_endpoint.ip IS NOT NULL AND user.name IS NOT NULL
GROUP BY user.name, src_endpoint.ip, window_start, window_end
HAVING count(*) >= $failures
