--! id       = "panther.wiz.issue.with.ssh"
--! title    = "A machine with an open issue is reached by SSH"
--! severity = "high"
--! status   = "test"
--! owner    = "tests"
--! entities = { resource = "instance_id" }
SELECT a.time, a.tenant, a."entitySnapshot.externalId" AS instance_id
FROM rule_match a JOIN rule_match b
  ON b.tenant = a.tenant AND b."instanceId" = a."entitySnapshot.externalId"
  AND b.time BETWEEN a.time - INTERVAL '30 hours' AND a.time + INTERVAL '30 hours'
WHERE a.rule_id = 'Wiz.Alert.Passthrough'
  AND b.rule_id = 'AWS.VPC.SSHAllowedSignal'
