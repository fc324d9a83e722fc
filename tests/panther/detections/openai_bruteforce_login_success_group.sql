--! id       = "panther.openai.bruteforce.login.success.group"
--! title    = "Five sign-ins fail, and one succeeds"
--! severity = "high"
--! status   = "test"
--! owner    = "tests"
--! entities = { user = "email" }
SELECT time, tenant, p_any_emails AS email,
  count(CASE WHEN rule_id = 'OpenAI.Login.Failed' THEN 1 END) OVER (
    PARTITION BY tenant, p_any_emails ORDER BY time RANGE INTERVAL '30 hours' PRECEDING) AS failures,
  count(CASE WHEN rule_id = 'OpenAI.Login.Success' THEN 1 END) OVER (
    PARTITION BY tenant, p_any_emails ORDER BY time RANGE INTERVAL '30 hours' PRECEDING) AS successes
FROM rule_match
WHERE rule_id IN ('OpenAI.Login.Failed', 'OpenAI.Login.Success')
QUALIFY failures >= 5 AND successes >= 1
