--! id       = "panther.aws.administrative.iam.user.created.group"
--! title    = "A new user gets an administrative policy"
--! severity = "high"
--! status   = "test"
--! owner    = "tests"
--! entities = { user = "user_name" }
SELECT a.time, a.tenant, a."p_alert_context.request_username" AS user_name
FROM rule_match a
WHERE a.rule_id = 'AWS.IAM.CreateUser' AND EXISTS (
  SELECT 1 FROM rule_match b
  WHERE b.rule_id = 'AWS.IAM.AttachAdminUserPolicy' AND b.tenant = a.tenant
    AND b."p_alert_context.request_username" = a."p_alert_context.request_username"
    AND b.time BETWEEN a.time - INTERVAL '30 hours' AND a.time + INTERVAL '30 hours')
