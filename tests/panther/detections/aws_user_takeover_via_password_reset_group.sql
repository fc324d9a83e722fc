--! id       = "panther.aws.user.takeover.via.password.reset.group"
--! title    = "A password is reset and used from the same address"
--! severity = "high"
--! status   = "test"
--! owner    = "tests"
--! entities = { account = "ip_and_user" }
SELECT a.time, a.tenant, a."p_alert_context.ip_and_username" AS ip_and_user
FROM rule_match a JOIN rule_match b
  ON b.tenant = a.tenant AND b."p_alert_context.ip_and_username" = a."p_alert_context.ip_and_username"
  AND b.time BETWEEN a.time - INTERVAL '30 hours' AND a.time + INTERVAL '30 hours'
WHERE a.rule_id = 'AWS.CloudTrail.LoginProfileCreatedOrModified'
  AND b.rule_id = 'AWS.Console.Login'
