--! id       = "panther.aws.ec2.stopinstance.with.modifyinstanceattributes"
--! title    = "An instance is stopped and its start-up script changed"
--! severity = "high"
--! status   = "test"
--! owner    = "tests"
--! entities = { resource = "instance_id" }
SELECT a.time, a.tenant, a."p_alert_context.instance_ids" AS instance_id
FROM rule_match a
WHERE a.rule_id = 'AWS.EC2.StopInstances' AND EXISTS (
  SELECT 1 FROM rule_match b
  WHERE b.rule_id = 'AWS.EC2.Startup.Script.Change' AND b.tenant = a.tenant
    AND b."p_alert_context.instance_ids" = a."p_alert_context.instance_ids"
    AND b.time BETWEEN a.time - INTERVAL '30 hours' AND a.time + INTERVAL '30 hours')
