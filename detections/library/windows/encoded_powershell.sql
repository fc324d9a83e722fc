--! id          = "windows.encoded_powershell"
--! title       = "PowerShell with an encoded command or a download cradle"
--! severity    = "medium"
--! status      = "stable"
--! owner       = "endpoint-security"
--! description = """
--! PowerShell is given a long encoded command, or downloads and runs text in one line. Hidden windows, no profile and a
--! bypassed execution policy beside it raise the severity: together they are how almost every tool kit starts it."""
--! attack      = ["T1059.001", "T1027.010", "T1105"]
--! entities    = { host = "host_name", user = "user_name", process = "process_name", command_line = "command_line" }
--! risk_score  = 50
--! confidence  = 60
--! cooldown    = "10 minutes"
--! false_positives = ["management software that encodes its commands: except its parent process"]
SELECT
  time,
  device.hostname AS host_name,
  actor.user.name AS user_name,
  process.name AS process_name,
  process.cmd_line AS command_line,
  process.parent_process.name AS parent_name,
  -- What the encoded command says.
  left(decode_base64(nullif(regexp_replace(process.cmd_line,
    '^.*[-/][eE][a-zA-Z]*\s+["'']?([A-Za-z0-9+/=]{60,}).*$', '\1'), process.cmd_line)), 500) AS decoded,
  CASE WHEN regexp_like(process.cmd_line, '[-/]w(indowstyle)?\s+(h|hid|hidden|1)\b', 'i')
        AND regexp_like(process.cmd_line, '[-/](nop|noprofile|noni|noninteractive|ep|ex\w*|exec\w*)\b', 'i')
       THEN 'high' ELSE 'medium' END AS severity,
  concat('PowerShell on ', device.hostname, ' was started with: ', left(process.cmd_line, 160)) AS message
FROM process_activity
WHERE (process.name IN ('powershell.exe', 'pwsh.exe', 'powershell_ise.exe') OR process.file.internal_name = 'powershell.exe')
  AND (
    regexp_like(process.cmd_line, '[-/]e(c|n|nc|nco|ncod|ncode|ncoded|ncodedc\w*)?\s+["'']?[a-z0-9+/=]{60,}', 'i')
    OR (regexp_like(process.cmd_line, 'downloadstring|downloadfile|downloaddata|invoke-webrequest|invoke-restmethod|\biwr\b|\birm\b|net\.webclient|start-bitstransfer', 'i')
        AND regexp_like(process.cmd_line, '\biex\b|invoke-expression|start-process|saps\b|&\s*\(|\.\s*\(|-outfile', 'i')))
