--! id          = "windows.credential_hive_copy"
--! title       = "Copy of a registry hive that holds credentials"
--! severity    = "critical"
--! status      = "stable"
--! owner       = "endpoint-security"
--! description = """
--! SAM, SECURITY and SYSTEM hold local password hashes, LSA secrets and the key to both; NTDS.dit holds the domain's.
--! The files are locked, so attackers save the keys with reg.exe, copy them from a shadow copy with esentutl or copy, or
--! let ntdsutil and diskshadow do it."""
--! attack      = ["T1003.002", "T1003.003", "T1003.004"]
--! entities    = { host = "host_name", user = "user_name", process = "process_name", command_line = "command_line" }
--! risk_score  = 90
--! confidence  = 90
--! cooldown    = "10 minutes"
--! false_positives = ["system-state backups of domain controllers with ntdsutil: except the backup account on those hosts"]
SELECT
  time,
  device.hostname AS host_name,
  actor.user.name AS user_name,
  process.name AS process_name,
  process.cmd_line AS command_line,
  process.parent_process.name AS parent_name,
  concat('Credential hive copied on ', device.hostname, ': ', left(process.cmd_line, 160)) AS message
FROM process_activity
WHERE (process.name = 'reg.exe'
       AND regexp_like(process.cmd_line, '\b(save|export)\s+"?(hklm|hkey_local_machine)\\(sam\b|security\b|system("|\s|$))', 'i'))
   OR (process.name = 'esentutl.exe'
       AND regexp_like(process.cmd_line, '[/-]y\b', 'i')
       AND regexp_like(process.cmd_line, '[/-]vss|config[/\\](sam|security|system)\b|ntds\.dit', 'i'))
   OR (process.name IN ('cmd.exe', 'powershell.exe', 'pwsh.exe', 'xcopy.exe', 'robocopy.exe')
       AND regexp_like(process.cmd_line, 'harddiskvolumeshadowcopy\d+\\windows\\(system32\\config\\(sam|security|system)|ntds\\ntds\.dit)', 'i'))
   OR (process.name = 'ntdsutil.exe' AND regexp_like(process.cmd_line, '\bifm\b', 'i') AND regexp_like(process.cmd_line, '\bcreate\b', 'i'))
