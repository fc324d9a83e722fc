--! id          = "windows.startup_folder_script"
--! title       = "Script or program written to a startup folder"
--! severity    = "high"
--! status      = "stable"
--! owner       = "endpoint-security"
--! description = """
--! A file that Windows runs at sign-in appears in a Startup folder and is no shortcut. Setup programs write shortcuts;
--! a remote-desktop client that writes there copies from the other side of a redirected drive."""
--! attack      = ["T1547.001"]
--! entities    = { host = "host_name", user = "user_name", process = "process_name", file = "file_path" }
--! risk_score  = 60
--! confidence  = 80
--! cooldown    = "10 minutes"
--! false_positives = ["administrators who deploy a logon script this way"]
SELECT
  time,
  device.hostname AS host_name,
  actor.user.name AS user_name,
  actor.process.name AS process_name,
  file.path AS file_path,
  concat(actor.process.name, ' on ', device.hostname, ' wrote ', file.path) AS message
FROM file_activity
WHERE activity_id = 1
  AND regexp_like(file.path, '\\start menu\\programs\\startup\\.+\.(exe|dll|scr|com|ps1|bat|cmd|vbs|vbe|js|jse|hta|wsf|jar|lnk\.exe)$', 'i')
