--! id          = "windows.bits_download"
--! title       = "Download through the BITS service from the command line"
--! severity    = "medium"
--! status      = "stable"
--! owner       = "endpoint-security"
--! description = """
--! bitsadmin and the BITS cmdlets hand a download to a service that works in the background, survives a reboot and that
--! many firewalls trust. Software updates use the programming interface, not these commands."""
--! attack      = ["T1197", "T1105"]
--! entities    = { host = "host_name", user = "user_name", process = "process_name", command_line = "command_line" }
--! risk_score  = 50
--! confidence  = 70
--! cooldown    = "10 minutes"
--! false_positives = ["deployment scripts that still use bitsadmin: except their parent process"]
SELECT
  time,
  device.hostname AS host_name,
  actor.user.name AS user_name,
  process.name AS process_name,
  process.cmd_line AS command_line,
  process.parent_process.name AS parent_name,
  concat(process.name, ' on ', device.hostname, ' asked BITS for: ', left(process.cmd_line, 160)) AS message
FROM process_activity
WHERE ((process.name = 'bitsadmin.exe' OR process.file.internal_name = 'bitsadmin.exe')
       AND regexp_like(process.cmd_line, '[/-](transfer|addfile|setnotifycmdline)\b', 'i'))
   OR (process.name IN ('powershell.exe', 'pwsh.exe')
       AND regexp_like(process.cmd_line, 'start-bitstransfer\b.*https?://', 'i'))
