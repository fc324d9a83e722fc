--! id          = "identity.password_guessing_then_success"
--! title       = "Sign-in that succeeds after many failures"
--! severity    = "high"
--! status      = "stable"
--! owner       = "identity-team"
--! description = """
--! An account fails to sign in many times from one address and then succeeds from it, within fifteen minutes. Looks at
--! the last success against the first failure, so that a typing error after a success does not count."""
--! attack      = ["T1110.001", "T1078"]
--! entities    = { user = "user_name", src_ip = "src_ip", ip = "src_ip" }
--! playbook    = "contain_account"
--! risk_score  = 70
--! confidence  = 70
--! cooldown    = "1 hour"
--! params      = { failures = 10 }
--! false_positives = ["a device with an old password that a person then corrects"]
SELECT
  window_start,
  window_end,
  user.name AS user_name,
  src_endpoint.ip AS src_ip,
  count(CASE WHEN status = 'Failure' THEN 1 END) AS failures,
  count(CASE WHEN status = 'Success' THEN 1 END) AS successes,
  min(CASE WHEN status = 'Failure' THEN time END) AS first_failure,
  max(CASE WHEN status = 'Success' THEN time END) AS last_success,
  concat(user.name, ' signed in from ', src_endpoint.ip, ' after ',
    CAST(count(CASE WHEN status = 'Failure' THEN 1 END) AS STRING), ' failures') AS message
FROM TUMBLE(authentication, time, INTERVAL '15 minutes')
WHERE src_endpoint.ip IS NOT NULL AND user.name IS NOT NULL
GROUP BY user.name, src_endpoint.ip, window_start, window_end
HAVING count(CASE WHEN status = 'Failure' THEN 1 END) >= $failures
   AND max(CASE WHEN status = 'Success' THEN time END) > min(CASE WHEN status = 'Failure' THEN time END)
