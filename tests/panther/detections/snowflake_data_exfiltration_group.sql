--! id       = "panther.snowflake.data.exfiltration.group"
--! title    = "A stage is made, filled and downloaded, by the account history"
--! severity = "high"
--! status   = "test"
--! owner    = "tests"
--! entities = { resource = "stage_name" }
SELECT time, tenant, stage AS stage_name,
  count(CASE WHEN rule_id = 'Snowflake.TempStageCreated' THEN 1 END) OVER (
    PARTITION BY tenant, stage ORDER BY time RANGE INTERVAL '30 hours' PRECEDING) AS made,
  count(CASE WHEN rule_id = 'Snowflake.CopyIntoStage' THEN 1 END) OVER (
    PARTITION BY tenant, stage ORDER BY time RANGE INTERVAL '30 hours' PRECEDING) AS filled,
  count(CASE WHEN rule_id = 'Snowflake.FileDownloaded' THEN 1 END) OVER (
    PARTITION BY tenant, stage ORDER BY time RANGE INTERVAL '30 hours' PRECEDING) AS downloaded
FROM rule_match
WHERE rule_id IN ('Snowflake.TempStageCreated', 'Snowflake.CopyIntoStage', 'Snowflake.FileDownloaded')
QUALIFY made >= 1 AND filled >= 1 AND downloaded >= 1
