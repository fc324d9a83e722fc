--! id          = "windows.domain_accounts_listed"
--! title       = "All accounts or an administrative group of the domain listed"
--! severity    = "low"
--! status      = "stable"
--! owner       = "endpoint-security"
--! description = """
--! The net command asks the domain for all its users, or for the members of an administrative group. Help desks do it now
--! and then; for others it is a first look around. Made for adding up, not for waking people."""
--! attack      = ["T1087.002", "T1069.002"]
--! entities    = { host = "host_name", user = "user_name", command_line = "command_line" }
--! risk_score  = 15
--! confidence  = 40
--! cooldown    = "4 hours"
--! false_positives = ["help desk and administrators: except their group of hosts"]
SELECT
  time,
  device.hostname AS host_name,
  actor.user.name AS user_name,
  process.cmd_line AS command_line,
  process.parent_process.name AS parent_name,
  concat(actor.user.name, ' on ', device.hostname, ' listed domain accounts: ', left(process.cmd_line, 160)) AS message
FROM process_activity
WHERE process.name IN ('net.exe', 'net1.exe')
  AND regexp_like(process.cmd_line, '/do(m|main)?\b', 'i')
  AND (
    regexp_like(process.cmd_line, '\s(user|users)\s+/do', 'i')
    OR regexp_like(process.cmd_line, '\s(group|localgroup)\s+"?(domain admins|enterprise admins|domain controllers|schema admins|administrators|exchange)', 'i'))
