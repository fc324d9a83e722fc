--! id          = "identity.mfa_push_fatigue"
--! title       = "Second factor refused again and again"
--! severity    = "medium"
--! status      = "stable"
--! owner       = "identity-team"
--! description = """
--! The password was right and the second factor was refused, timed out or reported as fraud, several times within half
--! an hour. The attacker has the password and hopes that the user gives in. A sign-in that then succeeds raises the
--! severity."""
--! attack      = ["T1621", "T1078.004"]
--! entities    = { user = "user_name", src_ip = "src_ip", ip = "src_ip" }
--! risk_score  = 60
--! confidence  = 70
--! cooldown    = "2 hours"
--! params      = { refusals = 4 }
--! false_positives = ["a phone without a network while the user tries to sign in"]
SELECT
  window_start,
  window_end,
  lower(properties.userPrincipalName) AS user_name,
  max(properties.ipAddress) AS src_ip,
  count(CASE WHEN resultType IN ('500121', '50088', '53003') THEN 1 END) AS refusals,
  count(DISTINCT properties.ipAddress) AS addresses,
  count(CASE WHEN resultType = '0' THEN 1 END) AS successes,
  CASE WHEN max(CASE WHEN resultType = '0' THEN time END) > min(CASE WHEN resultType = '500121' THEN time END)
       THEN 'high' ELSE 'medium' END AS severity,
  concat(lower(properties.userPrincipalName), ' refused the second factor ',
    CAST(count(CASE WHEN resultType IN ('500121', '50088', '53003') THEN 1 END) AS STRING), ' times within half an hour',
    CASE WHEN max(CASE WHEN resultType = '0' THEN time END) > min(CASE WHEN resultType = '500121' THEN time END)
         THEN ' and then a sign-in succeeded' ELSE '' END) AS message
FROM TUMBLE(azure_signin, time, INTERVAL '30 minutes')
WHERE properties.userPrincipalName IS NOT NULL AND resultType IN ('0', '500121', '50088', '53003')
GROUP BY lower(properties.userPrincipalName), window_start, window_end
HAVING count(CASE WHEN resultType IN ('500121', '50088', '53003') THEN 1 END) >= $refusals
