--! id          = "windows.defences_disabled_by_command"
--! title       = "Command that removes logs, backups or protection"
--! severity    = "high"
--! status      = "stable"
--! owner       = "endpoint-security"
--! description = """
--! Commands that clear logs, delete shadow copies and backups, switch off recovery, the firewall or the virus scanner, or
--! stop their services. Ransomware runs several of them in the minutes before it encrypts."""
--! attack      = ["T1490", "T1562.001", "T1562.002", "T1562.004", "T1070.001"]
--! entities    = { host = "host_name", user = "user_name", process = "process_name", command_line = "command_line" }
--! risk_score  = 80
--! confidence  = 80
--! cooldown    = "10 minutes"
--! false_positives = ["backup software that manages its own shadow copies: except its parent process"]
SELECT
  time,
  device.hostname AS host_name,
  actor.user.name AS user_name,
  process.name AS process_name,
  process.cmd_line AS command_line,
  process.parent_process.name AS parent_name,
  CASE WHEN regexp_like(process.cmd_line, 'shadow|wbadmin|recoveryenabled|bootstatuspolicy', 'i') THEN 'critical' ELSE 'high' END AS severity,
  concat(process.name, ' on ', device.hostname, ' removes defences: ', left(process.cmd_line, 160)) AS message
FROM process_activity
WHERE (process.name = 'vssadmin.exe' AND regexp_like(process.cmd_line, 'delete\s+shadows|resize\s+shadowstorage', 'i'))
   OR (process.name = 'wmic.exe' AND regexp_like(process.cmd_line, 'shadowcopy\s+delete', 'i'))
   OR (process.name = 'wbadmin.exe' AND regexp_like(process.cmd_line, 'delete\s+(catalog|systemstatebackup|backup)', 'i'))
   OR (process.name = 'bcdedit.exe' AND regexp_like(process.cmd_line, 'recoveryenabled\s+no|bootstatuspolicy\s+ignoreallfailures|safeboot', 'i'))
   OR (process.name = 'wevtutil.exe' AND regexp_like(process.cmd_line, '\b(cl|clear-log)\b|\b(sl|set-log)\b.*/e(nabled)?:false', 'i'))
   OR (process.name = 'auditpol.exe' AND regexp_like(process.cmd_line, '/clear|/remove|/(success|failure):disable', 'i'))
   OR (process.name = 'netsh.exe' AND regexp_like(process.cmd_line, 'advfirewall\s+set\s+\w+\s+state\s+off|firewall\s+set\s+opmode\s+(mode=)?disable', 'i'))
   OR (process.name IN ('sc.exe', 'net.exe', 'net1.exe', 'taskkill.exe')
       AND regexp_like(process.cmd_line, '\b(stop|delete|config|/im)\b.*\b(eventlog|windefend|sense|wscsvc|mpssvc|msmpeng|sysmon(64)?|vss|sepmasterservice|csfalconservice|sentinelagent)\b', 'i'))
   OR (process.name IN ('powershell.exe', 'pwsh.exe')
       AND regexp_like(process.cmd_line, 'set-mppreference\s.*-disable\w+\s+(\$?true|1)|add-mppreference\s.*-exclusion|clear-eventlog|remove-eventlog|win32_shadowcopy.*delete', 'i'))
