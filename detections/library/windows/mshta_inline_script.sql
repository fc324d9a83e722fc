--! id          = "windows.mshta_inline_script"
--! title       = "mshta runs a script from its command line or the network"
--! severity    = "high"
--! status      = "stable"
--! owner       = "endpoint-security"
--! description = """
--! mshta.exe interprets HTML applications outside the browser's sandbox. Given a `javascript:` or `vbscript:` URL or an
--! address on the network, it runs code that never touches the disk. Installed applications call it with a local .hta."""
--! attack      = ["T1218.005"]
--! entities    = { host = "host_name", user = "user_name", process = "process_name", command_line = "command_line" }
--! risk_score  = 70
--! confidence  = 80
--! cooldown    = "10 minutes"
--! false_positives = ["old administration tools that load an HTA from a file server"]
SELECT
  time,
  device.hostname AS host_name,
  actor.user.name AS user_name,
  process.name AS process_name,
  process.cmd_line AS command_line,
  process.parent_process.name AS parent_name,
  concat('mshta on ', device.hostname, ' ran: ', left(process.cmd_line, 160)) AS message
FROM process_activity
WHERE (process.name = 'mshta.exe' OR process.file.internal_name = 'mshta.exe')
  AND regexp_like(process.cmd_line, '(java|vb)script:|about:|https?://|ftp://|\\\\[^\\ ]+\\|getobject\(|wscript\.shell', 'i')
