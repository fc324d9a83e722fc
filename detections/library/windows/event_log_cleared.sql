--! id          = "windows.event_log_cleared"
--! title       = "Event log cleared or logging stopped"
--! severity    = "high"
--! status      = "stable"
--! owner       = "endpoint-security"
--! description = """
--! The security log or another log was cleared, the event log service was disabled, or a command set out to do so. What
--! was shipped before stays in the archive; what comes after may be missing."""
--! attack      = ["T1070.001", "T1562.002"]
--! entities    = { host = "host_name", user = "user_name" }
--! risk_score  = 60
--! confidence  = 80
--! cooldown    = "30 minutes"
--! false_positives = ["images that are sealed for cloning", "laboratories that clear logs between experiments"]
SELECT
  SystemTime AS time,
  lower(Computer) AS host_name,
  lower(SubjectUserName) AS user_name,
  Channel AS channel,
  EventID AS event_id,
  CASE WHEN EventID = 1102 THEN 'security log cleared' WHEN EventID = 104 THEN 'log cleared'
       ELSE 'event log service disabled' END AS what,
  concat(CASE WHEN EventID = 1102 THEN 'Security log cleared' WHEN EventID = 104 THEN 'Log cleared'
       ELSE 'Event log service disabled' END, ' on ', lower(Computer)) AS message
FROM windows
WHERE (EventID = 1102 AND Channel IN ('Security', 'security'))
   OR (EventID = 104 AND Channel = 'System' AND Provider_Name = 'Microsoft-Windows-Eventlog')
   OR (EventID = 7040 AND Channel = 'System' AND param4 = 'EventLog' AND param3 = 'disabled')
   OR (EventID = 7040 AND Channel = 'System' AND param1 = 'Windows Event Log' AND (param2 = 'disabled' OR param3 = 'disabled'))
