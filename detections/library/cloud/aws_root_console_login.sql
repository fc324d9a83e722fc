--! id          = "cloud.aws_root_console_login"
--! title       = "AWS root user signed in"
--! severity    = "high"
--! status      = "stable"
--! owner       = "cloud-security"
--! description = """
--! The root user of an account signed in to the console. It can do everything, cannot be limited, and is needed a few times
--! a year. Without a second factor it is critical. Failed attempts count low."""
--! attack      = ["T1078.004"]
--! entities    = { user = "user_name", account = "account_id", src_ip = "src_ip", ip = "src_ip" }
--! risk_score  = 60
--! confidence  = 90
--! cooldown    = "1 hour"
--! false_positives = ["planned work that only the root user can do: match with the ticket"]
SELECT
  time,
  user.name AS user_name,
  user.domain AS account_id,
  src_endpoint.ip AS src_ip,
  status,
  is_mfa,
  CASE WHEN status = 'Failure' THEN 'low' WHEN is_mfa THEN 'high' ELSE 'critical' END AS severity,
  concat('The root user of account ', user.domain, CASE WHEN status = 'Failure' THEN ' failed to sign in' ELSE ' signed in' END,
    ' from ', src_endpoint.ip, CASE WHEN status = 'Success' AND NOT coalesce(is_mfa, false) THEN ' without a second factor' ELSE '' END) AS message
FROM authentication
WHERE service.name = 'AWS console' AND user.name = 'root'
