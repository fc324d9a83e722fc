--! id          = "cloud.aws_access_key_for_another_user"
--! title       = "Access key created for another AWS user"
--! severity    = "medium"
--! status      = "stable"
--! owner       = "cloud-security"
--! description = """
--! Somebody creates a long-lived key, or a console password, for an identity that is not their own: a quiet way to stay
--! in an account after the first credentials are revoked."""
--! attack      = ["T1098.001", "T1136.003"]
--! entities    = { user = "user_name", target_user = "target_user", src_ip = "src_ip", ip = "src_ip", account = "account_id" }
--! risk_score  = 50
--! confidence  = 70
--! cooldown    = "10 minutes"
--! false_positives = ["administrators who issue keys to service users: prefer roles, or except the pipeline's role"]
SELECT
  eventTime AS time,
  lower(coalesce(userIdentity.userName, userIdentity.sessionContext.sessionIssuer.userName)) AS user_name,
  lower(requestParameters.userName) AS target_user,
  sourceIPAddress AS src_ip,
  recipientAccountId AS account_id,
  eventName AS operation,
  responseElements.accessKey.accessKeyId AS access_key,
  concat(coalesce(userIdentity.userName, userIdentity.sessionContext.sessionIssuer.userName, 'somebody'), ' called ',
    eventName, ' for ', requestParameters.userName, ' in account ', recipientAccountId) AS message
FROM cloudtrail
WHERE eventSource = 'iam.amazonaws.com'
  AND eventName IN ('CreateAccessKey', 'CreateLoginProfile', 'UpdateLoginProfile')
  AND errorCode IS NULL
  AND requestParameters.userName IS NOT NULL
  AND requestParameters.userName <> coalesce(userIdentity.userName, '')
