--! id          = "cloud.azure_privileged_role_assignment"
--! title       = "Rights granted on an Azure subscription"
--! severity    = "high"
--! status      = "stable"
--! owner       = "cloud-security"
--! description = """
--! A role is assigned at the level of a subscription or management group, or somebody raises themselves to user access
--! administrator of the tenant. Assignments on single resources and groups are everyday business and left out."""
--! attack      = ["T1098.003", "T1548.005"]
--! entities    = { user = "user_name", resource = "scope", src_ip = "src_ip", ip = "src_ip" }
--! risk_score  = 60
--! confidence  = 70
--! cooldown    = "10 minutes"
--! false_positives = ["the platform team's landing-zone pipeline: except its service principal"]
SELECT
  time,
  actor.user.name AS user_name,
  src_endpoint.ip AS src_ip,
  api.operation AS operation,
  resource.uid AS scope,
  cloud.account.uid AS tenant,
  CASE WHEN api.operation LIKE '%ELEVATEACCESS%' THEN 'critical' ELSE 'high' END AS severity,
  concat(actor.user.name, CASE WHEN api.operation LIKE '%ELEVATEACCESS%'
    THEN ' became user access administrator of the whole tenant'
    ELSE concat(' assigned a role at ', resource.uid) END) AS message
FROM api_activity
WHERE cloud.provider = 'Azure'
  AND status = 'Success'
  AND (
    api.operation = 'MICROSOFT.AUTHORIZATION/ELEVATEACCESS/ACTION'
    OR (api.operation = 'MICROSOFT.AUTHORIZATION/ROLEASSIGNMENTS/WRITE'
        AND regexp_like(resource.uid, '^(/subscriptions/[0-9a-f-]+|/providers/microsoft\.management/managementgroups/[^/]+)?/providers/microsoft\.authorization/roleassignments/')))
