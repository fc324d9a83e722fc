--! id       = "panther.gcp.privilege.escalation.via.tagbinding.group"
--! title    = "Tags are listed and bound, and a privileged operation follows"
--! severity = "high"
--! status   = "test"
--! owner    = "tests"
--! entities = { user = "principal" }
SELECT time, tenant, "p_alert_context.principal" AS principal,
  count(CASE WHEN rule_id = 'GCP.IAM.Tag.Enumeration' THEN 1 END) OVER (
    PARTITION BY tenant, "p_alert_context.principal" ORDER BY time RANGE INTERVAL '30 hours' PRECEDING) AS listed,
  count(CASE WHEN rule_id = 'GCP.Tag.Binding.Creation' THEN 1 END) OVER (
    PARTITION BY tenant, "p_alert_context.principal" ORDER BY time RANGE INTERVAL '30 hours' PRECEDING) AS bound,
  count(CASE WHEN rule_id = 'GCP.Privileged.Operation' THEN 1 END) OVER (
    PARTITION BY tenant, "p_alert_context.principal" ORDER BY time RANGE INTERVAL '30 hours' PRECEDING) AS privileged
FROM rule_match
WHERE rule_id IN ('GCP.IAM.Tag.Enumeration', 'GCP.Tag.Binding.Creation', 'GCP.Privileged.Operation')
QUALIFY listed >= 1 AND bound >= 1 AND privileged >= 1
