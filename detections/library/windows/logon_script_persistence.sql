--! id          = "windows.logon_script_persistence"
--! title       = "Logon script set in the registry"
--! severity    = "high"
--! status      = "stable"
--! owner       = "endpoint-security"
--! description = """
--! The value UserInitMprLogonScript under a user's Environment key names a program that runs at every sign-in, before the
--! desktop. Group policy does not use it, so almost only attackers set it."""
--! attack      = ["T1037.001"]
--! entities    = { host = "host_name", user = "user_name", process = "process_name", registry_key = "registry_key" }
--! risk_score  = 70
--! confidence  = 90
--! cooldown    = "10 minutes"
--! false_positives = ["very old roaming-profile set-ups"]
SELECT
  time,
  device.hostname AS host_name,
  actor.user.name AS user_name,
  actor.process.name AS process_name,
  reg_value.path AS registry_key,
  reg_value.data AS script,
  concat(actor.process.name, ' on ', device.hostname, ' set a logon script: ', left(reg_value.data, 160)) AS message
FROM registry_value_activity
WHERE reg_value.name = 'userinitmprlogonscript'
