--! id       = "panther.aws.backdoor.administrative.iam.role.created.group"
--! title    = "A new role gets an administrative policy"
--! severity = "high"
--! status   = "test"
--! owner    = "tests"
--! entities = { resource = "role_name" }
SELECT a.time, a.tenant, a."p_alert_context.request_rolename" AS role_name
FROM rule_match a JOIN rule_match b
  ON b.tenant = a.tenant AND b."p_alert_context.request_rolename" = a."p_alert_context.request_rolename"
  AND b.time BETWEEN a.time - INTERVAL '30 hours' AND a.time + INTERVAL '30 hours'
WHERE a.rule_id = 'AWS.IAM.CreateRole'
  AND b.rule_id = 'AWS.IAM.AttachAdminRolePolicy'
