--! id          = "macos.password_prompt_by_script"
--! title       = "Script asks a Mac user for the password"
--! severity    = "high"
--! status      = "stable"
--! owner       = "endpoint-security"
--! description = """
--! AppleScript shows a dialogue that hides what is typed, or that claims to be the system. Information stealers get the
--! login password this way and open the keychain with it."""
--! attack      = ["T1056.002", "T1059.002"]
--! entities    = { host = "host_name", user = "user_name", process = "process_name", command_line = "command_line" }
--! risk_score  = 70
--! confidence  = 80
--! cooldown    = "10 minutes"
--! false_positives = ["management software that asks for the password to enrol: except its text"]
SELECT
  time,
  device.hostname AS host_name,
  actor.user.uid AS user_name,
  process.name AS process_name,
  process.cmd_line AS command_line,
  process.parent_process.name AS parent_name,
  concat('A script on ', device.hostname, ' asks for the password: ', left(process.cmd_line, 160)) AS message
FROM process_activity
WHERE process.name = 'osascript'
  AND regexp_like(process.cmd_line, 'display\s+dialog', 'i')
  AND regexp_like(process.cmd_line, 'hidden\s+answer|password|passwort|keychain|system\s+(preferences|settings)', 'i')
