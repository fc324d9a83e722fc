--! id       = "panther.auth0.admininvited.with.tenantmemberdeletion"
--! title    = "An administrator is invited, and two members or more are deleted by the same account"
--! severity = "high"
--! status   = "test"
--! owner    = "tests"
--! entities = { user = "actor_email" }
SELECT time, tenant, "p_alert_context.actor.email" AS actor_email,
  count(CASE WHEN rule_id = 'Auth0.NewAdmin.Invitation' THEN 1 END) OVER (
    PARTITION BY tenant, "p_alert_context.actor.email" ORDER BY time RANGE INTERVAL '30 hours' PRECEDING) AS invitations,
  count(CASE WHEN rule_id = 'Auth0.Delete.TenantMember' THEN 1 END) OVER (
    PARTITION BY tenant, "p_alert_context.actor.email" ORDER BY time RANGE INTERVAL '30 hours' PRECEDING) AS deletions
FROM rule_match
WHERE rule_id IN ('Auth0.NewAdmin.Invitation', 'Auth0.Delete.TenantMember')
QUALIFY invitations >= 1 AND deletions >= 2
