--! id       = "panther.crowdstrike.newadminusercreated"
--! title    = "An account is made and given an administrative role"
--! severity = "high"
--! status   = "test"
--! owner    = "tests"
--! entities = { user = "actor_target" }
WITH steps AS (
  SELECT time, tenant, rule_id, "p_alert_context.actor_target" AS actor_target
  FROM rule_match
  WHERE rule_id IN ('Crowdstrike.NewUserCreated', 'Crowdstrike.AdminRoleAssigned')
)
SELECT time, tenant, actor_target
FROM steps MATCH_RECOGNIZE (
  PARTITION BY tenant, actor_target ORDER BY time
  MEASURES raised.time AS time
  PATTERN (created raised) WITHIN INTERVAL '45 minutes'
  DEFINE created AS created.rule_id = 'Crowdstrike.NewUserCreated', raised AS raised.rule_id = 'Crowdstrike.AdminRoleAssigned'
) AS m
