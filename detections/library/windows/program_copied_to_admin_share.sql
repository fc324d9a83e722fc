--! id          = "windows.program_copied_to_admin_share"
--! title       = "Program written to an administrative share"
--! severity    = "medium"
--! status      = "stable"
--! owner       = "endpoint-security"
--! description = """
--! Somebody opened a program or script for writing on C$, ADMIN$ or IPC$ of another machine: the first half of most ways
--! to run something there. The second half is a service, a task or a WMI call on the same host."""
--! attack      = ["T1021.002", "T1570"]
--! entities    = { host = "host_name", user = "user_name", src_ip = "src_ip", ip = "src_ip", file = "file_path" }
--! risk_score  = 50
--! confidence  = 60
--! cooldown    = "10 minutes"
--! false_positives = ["software distribution: except its server's address"]
SELECT
  SystemTime AS time,
  lower(Computer) AS host_name,
  lower(SubjectUserName) AS user_name,
  regexp_replace(IpAddress, '^::ffff:', '') AS src_ip,
  ShareName AS share,
  RelativeTargetName AS file_path,
  AccessMask AS access_mask,
  concat(lower(SubjectUserName), ' wrote ', RelativeTargetName, ' to ', ShareName, ' of ', lower(Computer), ' from ',
    regexp_replace(IpAddress, '^::ffff:', '')) AS message
FROM windows
WHERE Channel IN ('Security', 'security')
  AND EventID = 5145
  AND regexp_like(ShareName, '\\(([a-z]|admin|ipc)\$)$', 'i')
  AND regexp_like(RelativeTargetName, '\.(exe|dll|sys|scr|ps1|bat|cmd|vbs|js|msi|hta)$', 'i')
  -- The right to write or append is the second or third bit of the mask.
  AND regexp_like(AccessMask, '[2-7a-f]$', 'i')
  AND SubjectUserName NOT LIKE '%$'
