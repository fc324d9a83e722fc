--! id       = "panther.onelogin.highriskfailedlogin.with.successfullogin"
--! title    = "A risky sign-in fails, and another succeeds"
--! severity = "high"
--! status   = "test"
--! owner    = "tests"
--! entities = { user = "account_name" }
SELECT a.time, a.tenant, a.user_name AS account_name
FROM rule_match a
WHERE a.rule_id = 'OneLogin.HighRiskFailedLogin' AND EXISTS (
  SELECT 1 FROM rule_match b
  WHERE b.rule_id = 'OneLogin.Login' AND b.tenant = a.tenant
    AND b.user_name = a.user_name
    AND b.time BETWEEN a.time - INTERVAL '30 hours' AND a.time + INTERVAL '30 hours')
