--! id       = "panther.aws.privilege.escalation.via.user.compromise.group"
--! title    = "A new access key is used from the address that made it"
--! severity = "high"
--! status   = "test"
--! owner    = "tests"
--! entities = { resource = "access_key" }
SELECT a.time, a.tenant, a."p_alert_context.ip_accessKeyId" AS access_key
FROM rule_match a JOIN rule_match b
  ON b.tenant = a.tenant AND b."p_alert_context.ip_accessKeyId" = a."p_alert_context.ip_accessKeyId"
  AND b.time BETWEEN a.time - INTERVAL '30 hours' AND a.time + INTERVAL '30 hours'
WHERE a.rule_id = 'AWS.IAM.Backdoor.User.Keys'
  AND b.rule_id = 'AWS.CloudTrail.UserAccessKeyAuth'
