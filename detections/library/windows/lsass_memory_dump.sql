--! id          = "windows.lsass_memory_dump"
--! title       = "Memory of the local security authority written to a file"
--! severity    = "critical"
--! status      = "stable"
--! owner       = "endpoint-security"
--! description = """
--! The commands that write the memory of lsass.exe, which holds the credentials of everyone signed in, to a file:
--! MiniDump of comsvcs.dll through rundll32 (by name or by number), procdump, sqldumper, createdump and their kin."""
--! attack      = ["T1003.001"]
--! entities    = { host = "host_name", user = "user_name", process = "process_name", command_line = "command_line" }
--! playbook    = "contain_host"
--! risk_score  = 90
--! confidence  = 90
--! cooldown    = "10 minutes"
--! false_positives = ["support engineers who diagnose lsass with the vendor: rare, and announced"]
SELECT
  time,
  device.hostname AS host_name,
  actor.user.name AS user_name,
  process.name AS process_name,
  process.cmd_line AS command_line,
  process.parent_process.name AS parent_name,
  concat('Dump of lsass on ', device.hostname, ' by ', actor.user.name, ': ', left(process.cmd_line, 160)) AS message
FROM process_activity
WHERE regexp_like(process.cmd_line, 'comsvcs(\.dll)?["'']?[ ,]+(minidump|#\+?0*24)', 'i')
   OR (regexp_like(process.cmd_line, '\blsass(\.exe|\.dmp)?\b', 'i')
       AND (process.name IN ('procdump.exe', 'procdump64.exe', 'sqldumper.exe', 'createdump.exe', 'dumpminitool.exe', 'rdrleakdiag.exe')
            OR process.file.internal_name IN ('procdump', 'procdump.exe', 'sqldumper.exe', 'createdump.exe')
            OR regexp_like(process.cmd_line, '-(ma|mp|mm)\b', 'i')))
