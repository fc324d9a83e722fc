--! id       = "panther.gaia.credential.theft.attack.chain.group"
--! title    = "Credentials are dumped, and their owner signs in oddly"
--! severity = "high"
--! status   = "test"
--! owner    = "tests"
--! entities = { user = "user_name" }
SELECT a.time, a.tenant, a."p_alert_context.username_normalized" AS user_name
FROM rule_match a
WHERE a.rule_id = 'Windows.Credential.Dumping.Tool' AND EXISTS (
  SELECT 1 FROM rule_match b
  WHERE b.rule_id = 'Google.Workspace.Login.Type.Anomaly' AND b.tenant = a.tenant
    AND b."p_alert_context.username_normalized" = a."p_alert_context.username_normalized"
    AND b.time BETWEEN a.time - INTERVAL '30 hours' AND a.time + INTERVAL '30 hours')
