--! id       = "panther.github.pullrequesttarget.with.selfhostedrunner"
--! title    = "A privileged workflow run on a machine of our own"
--! severity = "high"
--! status   = "test"
--! owner    = "tests"
--! entities = { resource = "run_id" }
WITH parts AS (
  SELECT time, tenant, rule_id, CASE rule_id
    WHEN 'GitHub.Webhook.PullRequestTargetUsage' THEN "workflow_run.id"
    WHEN 'GitHub.Webhook.SelfHostedRunnerUsed' THEN "workflow_job.run_id"
  END AS run_id
  FROM rule_match
  WHERE rule_id IN ('GitHub.Webhook.PullRequestTargetUsage', 'GitHub.Webhook.SelfHostedRunnerUsed')
)
SELECT time, tenant, run_id,
  count(CASE WHEN rule_id = 'GitHub.Webhook.PullRequestTargetUsage' THEN 1 END) OVER (
    PARTITION BY tenant, run_id ORDER BY time RANGE INTERVAL '30 hours' PRECEDING) AS targets,
  count(CASE WHEN rule_id = 'GitHub.Webhook.SelfHostedRunnerUsed' THEN 1 END) OVER (
    PARTITION BY tenant, run_id ORDER BY time RANGE INTERVAL '30 hours' PRECEDING) AS jobs
FROM parts
QUALIFY targets >= 1 AND jobs >= 1
