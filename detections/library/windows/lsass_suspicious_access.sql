--! id          = "windows.lsass_suspicious_access"
--! title       = "Suspicious access to the memory of lsass"
--! severity    = "high"
--! status      = "stable"
--! owner       = "endpoint-security"
--! description = """
--! A program opens lsass.exe with the right to read its memory, and the call comes from a debugging library, from memory
--! that belongs to no module, or with exactly the rights that credential dumpers ask for. What Windows and security
--! products do all day (system processes with few rights) is left out."""
--! attack      = ["T1003.001"]
--! entities    = { host = "host_name", process = "process_name", user = "user_name" }
--! risk_score  = 80
--! confidence  = 80
--! cooldown    = "10 minutes"
--! false_positives = ["endpoint protection and crash handlers: except them by full path, not by name"]
SELECT
  time,
  device.hostname AS host_name,
  actor.user.name AS user_name,
  actor.process.name AS process_name,
  actor.process.file.path AS process_path,
  requested_permissions AS granted_access,
  left(call_trace, 400) AS call_trace,
  concat(actor.process.file.path, ' opened lsass on ', device.hostname, ' with ', requested_permissions) AS message
FROM process_access
WHERE activity_id = 3
  AND process.name = 'lsass.exe'
  AND actor.process.name NOT IN ('csrss.exe', 'wininit.exe', 'lsass.exe')
  AND (
    -- 0x10 is the right to read memory; these combinations are the ones that dumpers ask for.
    (requested_permissions IN ('0x1010', '0x1038', '0x1410', '0x1438', '0x143a', '0x1fffff', '0x1f1fff', '0x1f3fff', '0x101ffb')
      AND NOT regexp_like(actor.process.file.path,
        '^c:\\(windows\\(system32|syswow64)\\(svchost|wbem\\wmiprvse|services|werfault|wermgr|mrt|taskhostw)\.exe|program files( \(x86\))?\\|programdata\\microsoft\\windows defender\\)', 'i'))
    OR regexp_like(call_trace, '(dbghelp|dbgcore|comsvcs)\.dll', 'i')
    OR (requested_permissions <> '0x1000' AND regexp_like(call_trace, 'unknown\([0-9a-f]+\)', 'i')))
