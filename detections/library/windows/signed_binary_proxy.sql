--! id          = "windows.signed_binary_proxy"
--! title       = "Signed Windows program used to run foreign code"
--! severity    = "high"
--! status      = "stable"
--! owner       = "endpoint-security"
--! description = """
--! Programs of Windows that run code given to them, so that the code runs under a Microsoft signature: cmstp with an
--! INF file, control panel items and Control_RunDLL outside the system folder, wmic with a style sheet, InstallUtil in
--! its quiet form, Register-CimProvider with a library, and compiled help outside the Windows folder.
--! `technique` says which."""
--! attack      = ["T1218.003", "T1218.002", "T1220", "T1218.004", "T1218", "T1218.001"]
--! entities    = { host = "host_name", user = "user_name", process = "process_name", command_line = "command_line" }
--! risk_score  = 70
--! confidence  = 80
--! cooldown    = "10 minutes"
--! false_positives = [
--!   "connection profiles installed by the network team through cmstp",
--!   "developers who install services with InstallUtil",
--!   "help files of programs installed outside Program Files",
--! ]
SELECT
  time,
  device.hostname AS host_name,
  actor.user.name AS user_name,
  process.name AS process_name,
  process.cmd_line AS command_line,
  process.parent_process.name AS parent_name,
  CASE process.name
    WHEN 'cmstp.exe' THEN 'T1218.003' WHEN 'wmic.exe' THEN 'T1220' WHEN 'installutil.exe' THEN 'T1218.004'
    WHEN 'hh.exe' THEN 'T1218.001' WHEN 'register-cimprovider.exe' THEN 'T1218' ELSE 'T1218.002'
  END AS technique,
  concat(process.name, ' on ', device.hostname, ' was used to run foreign code: ', left(process.cmd_line, 160)) AS message
FROM process_activity
WHERE (process.name = 'cmstp.exe' AND regexp_like(process.cmd_line, '[/-](s|au|ni|ns)\b.*\.(inf|txt|dat)\b', 'i'))
   OR (process.name IN ('control.exe', 'rundll32.exe')
       AND regexp_like(process.cmd_line, '\.cpl\b', 'i')
       AND regexp_like(process.cmd_line, '^"?[^"]*\\control\.exe|control_rundll|shell32(\.dll)?["'']?,\s*#44', 'i')
       AND regexp_like(process.cmd_line, '\\(users|programdata|perflogs|temp|windows\\temp|downloads)\\|\\\\[^\\ ]+\\', 'i'))
   OR (process.name = 'wmic.exe' AND regexp_like(process.cmd_line, '/format\s*:\s*["'']?(https?:|ftp:|\\\\|[^ "'']+\.xsl)', 'i'))
   OR (process.name = 'installutil.exe'
       AND regexp_like(process.cmd_line, '[/-]logtoconsole=false', 'i')
       AND regexp_like(process.cmd_line, '[/-]logfile=( |$)|[/-]u(ninstall)?\b', 'i'))
   OR (process.name = 'register-cimprovider.exe' AND regexp_like(process.cmd_line, '-path\s+\S', 'i'))
   OR (process.name = 'hh.exe'
       AND regexp_like(process.cmd_line, 'https?://|\\\\[^\\ ]+\\[^ ]+\.chm|\\(users|programdata|temp|perflogs)\\.*\.chm', 'i'))
