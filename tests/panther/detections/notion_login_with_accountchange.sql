--! id       = "panther.notion.login.with.accountchange"
--! title    = "A sign-in and a change of the account by the same user"
--! severity = "high"
--! status   = "test"
--! owner    = "tests"
--! entities = { user = "actor_id" }
SELECT a.time, a.tenant, a."p_alert_context.actor_id" AS actor_id
FROM rule_match a
WHERE a.rule_id = 'Notion.Login' AND EXISTS (
  SELECT 1 FROM rule_match b
  WHERE b.rule_id = 'Notion.AccountChange' AND b.tenant = a.tenant
    AND b."p_alert_context.actor_id" = a."p_alert_context.actor_id"
    AND b.time BETWEEN a.time - INTERVAL '30 hours' AND a.time + INTERVAL '30 hours')
