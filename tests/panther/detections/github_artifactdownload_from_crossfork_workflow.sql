--! id       = "panther.github.artifactdownload.from.crossfork.workflow"
--! title    = "A workflow run of a fork has its artifacts taken"
--! severity = "high"
--! status   = "test"
--! owner    = "tests"
--! entities = { resource = "run_id" }
SELECT a.time, a.tenant, a."workflow_run.id" AS run_id
FROM rule_match a JOIN rule_match b
  ON b.tenant = a.tenant AND b."workflow_job.run_id" = a."workflow_run.id"
  AND b.time BETWEEN a.time - INTERVAL '30 hours' AND a.time + INTERVAL '30 hours'
WHERE a.rule_id = 'GitHub.CrossFork.Workflow.Run'
  AND b.rule_id = 'GitHub.Webhook.WorkflowArtifactDownload'
