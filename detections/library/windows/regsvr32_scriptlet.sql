--! id          = "windows.regsvr32_scriptlet"
--! title       = "regsvr32 registers a scriptlet or a remote library"
--! severity    = "high"
--! status      = "stable"
--! owner       = "endpoint-security"
--! description = """
--! regsvr32 with an /i: argument that is a URL, or with scrobj.dll, runs script in a signed Microsoft program past
--! application control. Registering a file that is no library, from a folder that users can write, serves the same end."""
--! attack      = ["T1218.010"]
--! entities    = { host = "host_name", user = "user_name", process = "process_name", command_line = "command_line" }
--! risk_score  = 70
--! confidence  = 80
--! cooldown    = "10 minutes"
--! false_positives = ["setup programs that unpack and register a component in the temporary folder"]
SELECT
  time,
  device.hostname AS host_name,
  actor.user.name AS user_name,
  process.name AS process_name,
  process.cmd_line AS command_line,
  process.parent_process.name AS parent_name,
  concat('regsvr32 on ', device.hostname, ' ran: ', left(process.cmd_line, 160)) AS message
FROM process_activity
WHERE (process.name = 'regsvr32.exe' OR process.file.internal_name = 'regsvr32.exe')
  AND (
    regexp_like(process.cmd_line, '[/-]i:["'']?(https?|ftp|\\\\)|scrobj(\.dll)?', 'i')
    OR regexp_like(process.cmd_line, '\\(users\\public|perflogs|appdata\\local\\temp)\\[^ "]+\.(txt|jpg|png|gif|dat|log|tmp)\b', 'i'))
