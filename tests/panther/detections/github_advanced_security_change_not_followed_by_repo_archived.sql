--! id       = "panther.github.advanced.security.change.not.followed.by.repo.archived"
--! title    = "Security features of a repository that stays in use are changed"
--! severity = "high"
--! status   = "test"
--! owner    = "tests"
--! entities = { resource = "repository" }
SELECT a.time, a.tenant, a."p_alert_context.repo" AS repository
FROM rule_match a
WHERE a.rule_id = 'GitHub.Advanced.Security.Change' AND NOT EXISTS (
  SELECT 1 FROM rule_match b
  WHERE b.rule_id = 'Github.Repo.Archived' AND b.tenant = a.tenant
    AND b."p_alert_context.repo" = a."p_alert_context.repo"
    AND b.time BETWEEN a.time - INTERVAL '30 hours' AND a.time + INTERVAL '30 hours')
