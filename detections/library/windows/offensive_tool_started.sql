--! id          = "windows.offensive_tool_started"
--! title       = "Known attack or discovery tool started"
--! severity    = "high"
--! status      = "stable"
--! owner       = "endpoint-security"
--! description = """
--! The program's name, or the name that its makers compiled into it, or its characteristic arguments belong to a tool
--! for credential theft or for mapping the domain. Renaming the file does not help; compiling it anew does."""
--! attack      = ["T1588.002", "T1003", "T1087.002", "T1558"]
--! entities    = { host = "host_name", user = "user_name", process = "process_name", command_line = "command_line", hash = "sha256" }
--! risk_score  = 80
--! confidence  = 90
--! cooldown    = "10 minutes"
--! false_positives = ["penetration tests and the red team: except their accounts for the days of the exercise"]
SELECT
  time,
  device.hostname AS host_name,
  actor.user.name AS user_name,
  process.name AS process_name,
  process.file.internal_name AS original_name,
  process.cmd_line AS command_line,
  process.file.hashes.sha256 AS sha256,
  concat(process.name, ' on ', device.hostname, ' is a known attack tool: ', left(process.cmd_line, 160)) AS message
FROM process_activity
WHERE process.name IN (
    'mimikatz.exe', 'rubeus.exe', 'seatbelt.exe', 'sharpview.exe', 'sharphound.exe', 'sharpup.exe', 'purplesharp.exe',
    'lazagne.exe', 'certify.exe', 'whisker.exe', 'safetykatz.exe', 'sharpdpapi.exe', 'adfind.exe', 'gmer.exe', 'pchunter.exe',
    'processherpaderping.exe', 'nanodump.exe', 'ppldump.exe')
   OR process.file.internal_name IN (
    'mimikatz.exe', 'rubeus.exe', 'seatbelt.exe', 'sharpview.exe', 'sharphound.exe', 'sharpup.exe', 'purplesharp.exe',
    'certify.exe', 'whisker.exe', 'safetykatz.exe', 'sharpdpapi.exe', 'adfind.exe')
   OR regexp_like(process.cmd_line,
    '\b(sekurlsa|lsadump|kerberos|crypto|vault|dpapi)::[a-z]+|privilege::debug|token::elevate|-samaccountname\s+.*get-objectacl|get-objectacl\s+-samaccountname|asktgt\s+/user|kerberoast\s+/|--collectionmethods?\b', 'i')
