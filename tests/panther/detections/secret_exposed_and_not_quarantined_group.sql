--! id       = "panther.secret.exposed.and.not.quarantined.group"
--! title    = "A secret is found, and no key is quarantined"
--! severity = "high"
--! status   = "test"
--! owner    = "tests"
--! entities = { account = "tenant" }
SELECT a.time, a.tenant
FROM rule_match a
WHERE a.rule_id = 'GitHub.Secret.Scanning.Alert.Created' AND NOT EXISTS (
  SELECT 1 FROM rule_match b
  WHERE b.rule_id = 'AWS.CloudTrail.IAMCompromisedKeyQuarantine' AND b.tenant = a.tenant
    AND b.time BETWEEN a.time - INTERVAL '30 hours' AND a.time + INTERVAL '30 hours')
