--! id       = "panther.snowflake.stream.dataexfiltration.group"
--! title    = "A stage is made, filled and downloaded"
--! severity = "high"
--! status   = "test"
--! owner    = "tests"
--! entities = { resource = "stage" }
SELECT time, tenant, "p_alert_context.stage" AS stage,
  count(CASE WHEN rule_id = 'Snowflake.Stream.TempStageCreated' THEN 1 END) OVER (
    PARTITION BY tenant, "p_alert_context.stage" ORDER BY time RANGE INTERVAL '30 hours' PRECEDING) AS made,
  count(CASE WHEN rule_id = 'Snowflake.Stream.TableCopiedIntoStage' THEN 1 END) OVER (
    PARTITION BY tenant, "p_alert_context.stage" ORDER BY time RANGE INTERVAL '30 hours' PRECEDING) AS filled,
  count(CASE WHEN rule_id = 'Snowflake.Stream.FileDownloaded' THEN 1 END) OVER (
    PARTITION BY tenant, "p_alert_context.stage" ORDER BY time RANGE INTERVAL '30 hours' PRECEDING) AS downloaded
FROM rule_match
WHERE rule_id IN ('Snowflake.Stream.TempStageCreated', 'Snowflake.Stream.TableCopiedIntoStage', 'Snowflake.Stream.FileDownloaded')
QUALIFY made >= 1 AND filled >= 1 AND downloaded >= 1
