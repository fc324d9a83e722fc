--! id          = "identity.kerberoasting"
--! title       = "Many service tickets with weak encryption"
--! severity    = "high"
--! status      = "test"
--! owner       = "identity-team"
--! description = """
--! One account asks the domain controller for tickets to several services in RC4 within ten minutes. Such tickets can be
--! cracked at home to get the services' passwords. Modern clients ask for AES, so RC4 in numbers stands out."""
--! attack      = ["T1558.003"]
--! entities    = { user = "user_name", src_ip = "src_ip", ip = "src_ip" }
--! risk_score  = 70
--! confidence  = 70
--! cooldown    = "2 hours"
--! params      = { services = 4 }
--! false_positives = ["old clients and appliances that know no AES: except their accounts"]
SELECT
  window_start,
  window_end,
  lower(split_part(TargetUserName, '@', 1)) AS user_name,
  max(regexp_replace(IpAddress, '^::ffff:', '')) AS src_ip,
  count(DISTINCT ServiceName) AS services,
  count(*) AS tickets,
  concat(lower(split_part(TargetUserName, '@', 1)), ' asked for RC4 tickets to ',
    CAST(count(DISTINCT ServiceName) AS STRING), ' services within ten minutes') AS message
FROM TUMBLE(windows, SystemTime, INTERVAL '10 minutes')
WHERE Channel IN ('Security', 'security')
  AND EventID = 4769
  AND lower(TicketEncryptionType) IN ('0x17', '0x18')
  AND Status = '0x0'
  AND ServiceName NOT LIKE '%$'
  AND lower(ServiceName) <> 'krbtgt'
GROUP BY lower(split_part(TargetUserName, '@', 1)), window_start, window_end
HAVING count(DISTINCT ServiceName) >= $services
