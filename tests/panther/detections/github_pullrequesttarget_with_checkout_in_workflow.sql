--! id       = "panther.github.pullrequesttarget.with.checkout.in.workflow"
--! title    = "A privileged workflow run checks out code of a pull request"
--! severity = "high"
--! status   = "test"
--! owner    = "tests"
--! entities = { resource = "run_id" }
SELECT a.time, a.tenant, a."workflow_run.id" AS run_id
FROM rule_match a
WHERE a.rule_id = 'GitHub.Webhook.PullRequestTargetUsage' AND EXISTS (
  SELECT 1 FROM rule_match b
  WHERE b.rule_id = 'GitHub.Webhook.WorkflowContainsCheckout' AND b.tenant = a.tenant
    AND b."workflow_job.run_id" = a."workflow_run.id"
    AND b.time BETWEEN a.time - INTERVAL '30 hours' AND a.time + INTERVAL '30 hours')
