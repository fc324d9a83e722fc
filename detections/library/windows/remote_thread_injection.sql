--! id          = "windows.remote_thread_injection"
--! title       = "Thread started in a foreign process"
--! severity    = "high"
--! status      = "stable"
--! owner       = "endpoint-security"
--! description = """
--! A program starts a thread in another process, at an address that belongs to no module or from a folder that users can
--! write, or in a process that holds secrets. The system's own processes do it with a named function of a system library."""
--! attack      = ["T1055.001", "T1055.002"]
--! entities    = { host = "host_name", process = "process_name", file = "process_path" }
--! risk_score  = 70
--! confidence  = 70
--! cooldown    = "10 minutes"
--! false_positives = ["debuggers, accessibility tools and security products: except them by full path"]
SELECT
  time,
  device.hostname AS host_name,
  actor.process.name AS process_name,
  actor.process.file.path AS process_path,
  process.name AS target_process,
  start_module,
  start_function,
  CASE WHEN process.name = 'lsass.exe' THEN 'critical' ELSE 'high' END AS severity,
  concat(actor.process.name, ' started a thread in ', process.name, ' on ', device.hostname) AS message
FROM process_access
WHERE activity_id = 4
  AND actor.process.name IS NOT NULL
  AND actor.process.name <> process.name
  AND actor.process.name NOT IN ('csrss.exe', 'wininit.exe', 'winlogon.exe', 'services.exe', 'smss.exe', 'wmiprvse.exe', 'werfault.exe', 'sysmon.exe', 'sysmon64.exe')
  AND (
    coalesce(nullif(start_module, '-'), '') = ''
    OR process.name IN ('lsass.exe', 'keepass.exe', 'winlogon.exe')
    OR regexp_like(actor.process.file.path, '\\(users|programdata|windows\\temp|perflogs)\\', 'i'))
