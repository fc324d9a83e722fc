--! id       = "panther.gcp.cloud.run.service.created.with.set.iam.policy"
--! title    = "A service is made and opened from the same address"
--! severity = "high"
--! status   = "test"
--! owner    = "tests"
--! entities = { ip = "caller_ip" }
SELECT time, tenant, "p_alert_context.caller_ip" AS caller_ip,
  count(CASE WHEN rule_id = 'GCP.Cloud.Run.Service.Created' THEN 1 END) OVER (
    PARTITION BY tenant, "p_alert_context.caller_ip" ORDER BY time RANGE INTERVAL '30 hours' PRECEDING) AS created,
  count(CASE WHEN rule_id = 'GCP.Cloud.Run.Set.IAM.Policy' THEN 1 END) OVER (
    PARTITION BY tenant, "p_alert_context.caller_ip" ORDER BY time RANGE INTERVAL '30 hours' PRECEDING) AS opened
FROM rule_match
WHERE rule_id IN ('GCP.Cloud.Run.Service.Created', 'GCP.Cloud.Run.Set.IAM.Policy')
QUALIFY created >= 1 AND opened >= 1
