--! id          = "router.logging_or_access_changed"
--! title       = "Router's logging or access control changed"
--! severity    = "medium"
--! status      = "stable"
--! owner       = "network-security"
--! description = """
--! A configuration command on a router stops its logging, opens an insecure way in, adds a privileged account, mirrors
--! traffic or loads another boot image. Needs `archive / log config / notify syslog` on the device."""
--! attack      = ["T1562.001", "T1556.004", "T1020.001", "T1136"]
--! entities    = { user = "user_name", device = "device_name", src_ip = "src_ip", command_line = "command" }
--! risk_score  = 50
--! confidence  = 70
--! cooldown    = "10 minutes"
--! false_positives = ["planned changes by the network team: match with the ticket"]
SELECT
  time,
  resource.name AS device_name,
  actor.user.name AS user_name,
  src_endpoint.ip AS src_ip,
  trim(api.operation) AS command,
  concat(actor.user.name, ' configured ', resource.name, ': ', trim(api.operation)) AS message
FROM router_api_activity
WHERE regexp_like(api.operation,
    '^\s*(no\s+logging|no\s+archive|no\s+aaa|username\s+\S+\s+privilege\s+15|transport\s+input\s+(all|telnet)|ip\s+http\s+server|no\s+access-(list|group)|no\s+ip\s+access-group|monitor\s+session|snmp-server\s+community\s+\S+\s+rw|boot\s+system|tftp-server|no\s+service\s+password-encryption)', 'i')
