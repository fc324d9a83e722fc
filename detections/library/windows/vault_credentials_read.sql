--! id          = "windows.vault_credentials_read"
--! title       = "Credentials read from the Windows vault"
--! severity    = "low"
--! status      = "test"
--! owner       = "endpoint-security"
--! description = """
--! Stored web or Windows credentials were read from a user's vault. Browsers read their own; outside a browser's start it
--! is how stealers collect saved passwords. Low alone, telling beside other alerts of the host."""
--! attack      = ["T1555.004"]
--! entities    = { host = "host_name", user = "user_name" }
--! risk_score  = 30
--! confidence  = 40
--! cooldown    = "1 hour"
--! false_positives = ["old browsers and mail programs that keep passwords in the vault"]
SELECT
  SystemTime AS time,
  lower(Computer) AS host_name,
  lower(SubjectUserName) AS user_name,
  EventID AS event_id,
  concat(lower(SubjectUserName), ' read credentials from the vault of ', lower(Computer)) AS message
FROM windows
WHERE Channel IN ('Security', 'security')
  AND EventID IN (5381, 5382)
  AND SubjectUserName NOT LIKE '%$'
