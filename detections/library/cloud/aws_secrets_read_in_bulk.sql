--! id          = "cloud.aws_secrets_read_in_bulk"
--! title       = "Many AWS secrets read by one identity"
--! severity    = "high"
--! status      = "stable"
--! owner       = "cloud-security"
--! description = """
--! One identity reads many different secrets from Secrets Manager within ten minutes. Applications read the few they
--! need, again and again; only somebody who collects them reads many different ones."""
--! attack      = ["T1555.006"]
--! entities    = { user = "user_name", account = "account_id", src_ip = "src_ip", ip = "src_ip" }
--! risk_score  = 70
--! confidence  = 80
--! cooldown    = "1 hour"
--! params      = { secrets = 10 }
--! false_positives = ["backup and rotation jobs that walk over all secrets: except their role"]
SELECT
  window_start,
  window_end,
  coalesce(userIdentity.arn, userIdentity.principalId) AS user_name,
  recipientAccountId AS account_id,
  max(sourceIPAddress) AS src_ip,
  count(DISTINCT requestParameters.secretId) AS secrets,
  count(*) AS reads,
  concat(coalesce(userIdentity.arn, userIdentity.principalId), ' read ',
    CAST(count(DISTINCT requestParameters.secretId) AS STRING), ' secrets of account ', recipientAccountId,
    ' within ten minutes') AS message
FROM TUMBLE(cloudtrail, eventTime, INTERVAL '10 minutes')
WHERE eventSource = 'secretsmanager.amazonaws.com'
  AND eventName IN ('GetSecretValue', 'BatchGetSecretValue')
  AND errorCode IS NULL
GROUP BY coalesce(userIdentity.arn, userIdentity.principalId), recipientAccountId, window_start, window_end
HAVING count(DISTINCT requestParameters.secretId) >= $secrets
