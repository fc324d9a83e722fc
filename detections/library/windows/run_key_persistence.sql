--! id          = "windows.run_key_persistence"
--! title       = "Autostart entry that runs a script or a program from a user's folder"
--! severity    = "high"
--! status      = "stable"
--! owner       = "endpoint-security"
--! description = """
--! A Run or RunOnce value whose command is an interpreter, or a program in a folder that users can write, or that a
--! script host sets. Installed software points to Program Files and is written by its setup program."""
--! attack      = ["T1547.001"]
--! entities    = { host = "host_name", user = "user_name", process = "process_name", registry_key = "registry_key" }
--! risk_score  = 60
--! confidence  = 70
--! cooldown    = "10 minutes"
--! false_positives = ["programs that install themselves per user (chat, music, drivers of small devices)"]
SELECT
  time,
  device.hostname AS host_name,
  actor.user.name AS user_name,
  actor.process.name AS process_name,
  reg_value.path AS registry_key,
  reg_value.data AS command,
  concat(actor.process.name, ' on ', device.hostname, ' made ', reg_value.name, ' start with Windows: ', left(reg_value.data, 160)) AS message
FROM registry_value_activity
WHERE regexp_like(reg_value.path, '\\(currentversion\\(run|runonce|runonceex|policies\\explorer\\run)|currentversion\\windows\\(load|run)|currentversion\\winlogon\\(shell|userinit))(\\|$)', 'i')
  AND (
    regexp_like(reg_value.data, '\b(powershell|pwsh|wscript|cscript|mshta|rundll32|regsvr32|cmd)(\.exe)?["'' ]|\.(ps1|vbs|vbe|js|jse|hta|bat|cmd|scr|wsf)\b', 'i')
    OR regexp_like(reg_value.data, '\\(users\\public|appdata\\(local\\temp|roaming\\[^\\]+\.exe)|perflogs|windows\\temp)', 'i')
    OR actor.process.name IN ('powershell.exe', 'pwsh.exe', 'wscript.exe', 'cscript.exe', 'mshta.exe'))
