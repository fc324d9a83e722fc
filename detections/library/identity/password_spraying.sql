--! id          = "identity.password_spraying"
--! title       = "Password spraying from one address"
--! severity    = "high"
--! status      = "stable"
--! owner       = "identity-team"
--! description = """
--! One address fails to sign in to many different accounts within ten minutes: a few common passwords are tried on
--! everybody, so that no account locks. Works over every source of sign-ins at once."""
--! attack      = ["T1110.003"]
--! entities    = { src_ip = "src_ip", ip = "src_ip" }
--! risk_score  = 60
--! confidence  = 70
--! cooldown    = "1 hour"
--! params      = { users = 10 }
--! false_positives = [
--!   "an office behind one address after a password policy changed: raise `users` or except the address",
--!   "a broken service that tries a list of accounts",
--! ]
SELECT
  window_start,
  window_end,
  src_endpoint.ip AS src_ip,
  max(src_endpoint.country) AS country,
  count(DISTINCT user.name) AS users,
  count(*) AS failures,
  concat(CAST(count(*) AS STRING), ' failed sign-ins to ', CAST(count(DISTINCT user.name) AS STRING),
    ' accounts from ', src_endpoint.ip, ' within ten minutes') AS message
FROM TUMBLE(authentication, time, INTERVAL '10 minutes')
WHERE status = 'Failure' AND src_endpoint.ip IS NOT NULL AND user.name IS NOT NULL
GROUP BY src_endpoint.ip, window_start, window_end
HAVING count(DISTINCT user.name) >= $users
