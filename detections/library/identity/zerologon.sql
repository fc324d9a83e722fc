--! id          = "identity.zerologon"
--! title       = "Machine account changed by an anonymous caller"
--! severity    = "critical"
--! status      = "stable"
--! owner       = "identity-team"
--! description = """
--! An anonymous caller set the password of a machine account: the trace that the exploitation of CVE-2020-1472 leaves on
--! a domain controller. No legitimate software changes a machine account without signing in."""
--! attack      = ["T1210", "T1068"]
--! entities    = { host = "host_name", target_user = "account" }
--! risk_score  = 100
--! confidence  = 95
SELECT
  SystemTime AS time,
  lower(Computer) AS host_name,
  lower(TargetUserName) AS account,
  SubjectUserName AS actor,
  PasswordLastSet AS password_last_set,
  concat('The password of ', TargetUserName, ' was set by an anonymous caller on ', Computer) AS message
FROM windows
WHERE Channel IN ('Security', 'security')
  AND EventID = 4742
  AND (SubjectUserName = 'ANONYMOUS LOGON' OR SubjectUserSid = 'S-1-5-7')
  AND TargetUserName LIKE '%$'
  AND coalesce(PasswordLastSet, '-') <> '-'
