--! id          = "endpoint.script_host_from_user_application"
--! title       = "Mail client, browser or document starts a script host"
--! severity    = "medium"
--! status      = "stable"
--! owner       = "endpoint-security"
--! description = """
--! People open mail, documents and web pages; these programs have no business starting PowerShell, mshta or a script
--! host. It is the moment at which a phishing lure turns into code. Hidden windows, encoded commands and downloads on
--! the command line raise the severity."""
--! attack      = ["T1204.002", "T1059.001", "T1059.005", "T1566.001"]
--! entities    = { user = "user_name", host = "host_name", process = "process_name", command_line = "command_line", hash = "sha256" }
--! risk_score  = 50
--! confidence  = 60
--! cooldown    = "10 minutes"
--! false_positives = [
--!   "add-ins and macros of business software that shell out: except their exact command line and host group",
--!   "browser extensions with a native helper",
--! ]
SELECT
  time,
  device.hostname AS host_name,
  coalesce(actor.user.email_addr, actor.user.name) AS user_name,
  process.name AS process_name,
  process.cmd_line AS command_line,
  process.parent_process.name AS parent_name,
  process.file.hashes.sha256 AS sha256,
  CASE
    WHEN regexp_like(process.cmd_line, '(-|/)e(nc|ncodedcommand)?\s+[a-z0-9+/=]{40,}|-w(indowstyle)?\s+hid|downloadstring|downloadfile|invoke-webrequest|\biwr\b|https?://|frombase64', 'i')
    THEN 'high' ELSE 'medium' END AS severity,
  concat(process.parent_process.name, ' started ', process.name, ' on ', device.hostname, ': ',
    left(process.cmd_line, 160)) AS message
FROM process_activity
WHERE process.parent_process.name IN (
    'outlook.exe', 'olk.exe', 'winword.exe', 'excel.exe', 'powerpnt.exe', 'onenote.exe', 'mspub.exe', 'visio.exe',
    'eqnedt32.exe', 'acrord32.exe', 'acrobat.exe', 'foxitpdfreader.exe', 'thunderbird.exe', 'msedge.exe', 'chrome.exe',
    'firefox.exe', 'iexplore.exe', 'teams.exe', 'ms-teams.exe', 'slack.exe')
  AND process.name IN (
    'powershell.exe', 'pwsh.exe', 'cmd.exe', 'wscript.exe', 'cscript.exe', 'mshta.exe', 'rundll32.exe', 'regsvr32.exe',
    'certutil.exe', 'bitsadmin.exe', 'msbuild.exe', 'installutil.exe', 'wmic.exe', 'cmstp.exe', 'hh.exe', 'forfiles.exe')
  -- Browsers talk to the native helpers of their extensions through a shell.
  AND coalesce(process.cmd_line, '') NOT LIKE '%chrome-extension://%'
  AND coalesce(process.cmd_line, '') NOT LIKE '%--native-messaging%'
