--! id          = "cloud.azure_defences_removed"
--! title       = "Azure logging or protection removed"
--! severity    = "high"
--! status      = "stable"
--! owner       = "cloud-security"
--! description = """
--! Diagnostic settings, log workspaces, security alerts, locks, firewalls, policies or key vaults are deleted: what would
--! show or hinder the next step goes first."""
--! attack      = ["T1562.008", "T1562.007", "T1485"]
--! entities    = { user = "user_name", resource = "resource", src_ip = "src_ip", ip = "src_ip" }
--! risk_score  = 60
--! confidence  = 70
--! cooldown    = "10 minutes"
--! false_positives = ["environments that are torn down every night: except their resource group"]
SELECT
  time,
  actor.user.name AS user_name,
  src_endpoint.ip AS src_ip,
  api.operation AS operation,
  resource.uid AS resource,
  concat(actor.user.name, ' called ', api.operation, ' on ', resource.name) AS message
FROM api_activity
WHERE cloud.provider = 'Azure'
  AND status = 'Success'
  AND api.operation IN (
    'MICROSOFT.INSIGHTS/DIAGNOSTICSETTINGS/DELETE',
    'MICROSOFT.OPERATIONALINSIGHTS/WORKSPACES/DELETE',
    'MICROSOFT.EVENTHUB/NAMESPACES/DELETE',
    'MICROSOFT.SECURITYINSIGHTS/ALERTRULES/DELETE',
    'MICROSOFT.SECURITY/ALERTSSUPPRESSIONRULES/WRITE',
    'MICROSOFT.AUTHORIZATION/LOCKS/DELETE',
    'MICROSOFT.AUTHORIZATION/POLICYASSIGNMENTS/DELETE',
    'MICROSOFT.NETWORK/AZUREFIREWALLS/DELETE',
    'MICROSOFT.NETWORK/NETWORKWATCHERS/FLOWLOGS/DELETE',
    'MICROSOFT.RECOVERYSERVICES/VAULTS/BACKUPFABRICS/PROTECTIONCONTAINERS/PROTECTEDITEMS/DELETE')
