--! id       = "panther.crowdstrike.ephemeraluseraccount"
--! title    = "An account is made and deleted within half a day"
--! severity = "high"
--! status   = "test"
--! owner    = "tests"
--! entities = { user = "target_name" }
WITH steps AS (
  SELECT time, tenant, rule_id, "p_alert_context.target_name" AS target_name
  FROM rule_match
  WHERE rule_id IN ('Crowdstrike.NewUserCreated', 'Crowdstrike.UserDeleted')
)
SELECT time, tenant, target_name
FROM steps MATCH_RECOGNIZE (
  PARTITION BY tenant, target_name ORDER BY time
  MEASURES deleted.time AS time
  PATTERN (created deleted) WITHIN INTERVAL '12 hours'
  DEFINE created AS created.rule_id = 'Crowdstrike.NewUserCreated', deleted AS deleted.rule_id = 'Crowdstrike.UserDeleted'
) AS m
