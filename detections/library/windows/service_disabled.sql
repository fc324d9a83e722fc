--! id          = "windows.service_disabled"
--! title       = "Service of Windows or of a security product disabled"
--! severity    = "medium"
--! status      = "stable"
--! owner       = "endpoint-security"
--! description = """
--! The start type of a service changed to disabled, and the service protects, updates, logs or connects the machine.
--! Attackers disable it so that it stays away after the next restart. `service` is its short name."""
--! attack      = ["T1489", "T1562.001"]
--! entities    = { host = "host_name", service = "service" }
--! risk_score  = 40
--! confidence  = 60
--! cooldown    = "30 minutes"
--! false_positives = ["hardening by group policy: except the service", "a security product replacing another"]
SELECT
  SystemTime AS time,
  lower(Computer) AS host_name,
  param4 AS service,
  param1 AS service_title,
  param2 AS start_type_before,
  CASE WHEN lower(param4) IN ('eventlog', 'windefend', 'sense', 'mpssvc', 'sysmon', 'sysmon64', 'vss') THEN 'high' ELSE 'medium' END AS severity,
  concat('The service ', coalesce(param1, param4), ' on ', lower(Computer), ' was disabled') AS message
FROM windows
WHERE Channel = 'System'
  AND EventID = 7040
  AND param3 = 'disabled'
  AND lower(param4) IN (
    'eventlog', 'windefend', 'sense', 'wdnissvc', 'wscsvc', 'mpssvc', 'securityhealthservice', 'sysmon', 'sysmon64', 'vss', 'swprv',
    'wuauserv', 'bits', 'netprofm', 'nlasvc', 'dnscache', 'lanmanworkstation', 'wersvc', 'wecsvc', 'winmgmt', 'schedule',
    'csfalconservice', 'sentinelagent', 'carbonblack', 'splunkforwarder', 'winlogbeat', 'nxlog', 'osqueryd')
