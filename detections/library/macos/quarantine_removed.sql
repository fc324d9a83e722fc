--! id          = "macos.quarantine_removed"
--! title       = "Download protection removed or keychain dumped on a Mac"
--! severity    = "medium"
--! status      = "stable"
--! owner       = "endpoint-security"
--! description = """
--! The mark that makes Gatekeeper check a download is taken off on the command line, Gatekeeper is switched off, or the
--! keychain is dumped or copied."""
--! attack      = ["T1553.001", "T1555.001"]
--! entities    = { host = "host_name", user = "user_name", process = "process_name", command_line = "command_line" }
--! risk_score  = 50
--! confidence  = 70
--! cooldown    = "30 minutes"
--! false_positives = ["developers who run unsigned builds", "package managers that take the mark off what they install"]
SELECT
  time,
  device.hostname AS host_name,
  actor.user.uid AS user_name,
  process.name AS process_name,
  process.cmd_line AS command_line,
  process.parent_process.name AS parent_name,
  CASE WHEN process.name = 'security' THEN 'high' ELSE 'medium' END AS severity,
  concat(process.name, ' on ', device.hostname, ': ', left(process.cmd_line, 160)) AS message
FROM process_activity
WHERE (process.name = 'xattr' AND regexp_like(process.cmd_line, '\s-[a-z]*[dc][a-z]*\s') AND regexp_like(process.cmd_line, 'com\.apple\.quarantine|\s-[a-z]*c'))
   OR (process.name = 'spctl' AND regexp_like(process.cmd_line, '--(master|global)-disable|--add\b'))
   OR (process.name = 'security' AND regexp_like(process.cmd_line, '\bdump-keychain\b|\bexport\b.*\bkeychain|find-(generic|internet)-password\b.*\s-(w|g)a?\b'))
   OR (process.name IN ('cp', 'zip', 'ditto', 'tar') AND regexp_like(process.cmd_line, 'Library/Keychains/'))
