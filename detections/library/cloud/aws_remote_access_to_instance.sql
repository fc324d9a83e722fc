--! id          = "cloud.aws_remote_access_to_instance"
--! title       = "Interactive access to many AWS instances"
--! severity    = "medium"
--! status      = "test"
--! owner       = "cloud-security"
--! description = """
--! One identity opens a session on several instances within ten minutes through Session Manager, EC2 Instance Connect or
--! the serial console: moving sideways with cloud rights instead of passwords."""
--! attack      = ["T1021.007", "T1651"]
--! entities    = { user = "user_name", account = "account_id", src_ip = "src_ip", ip = "src_ip" }
--! risk_score  = 50
--! confidence  = 60
--! cooldown    = "1 hour"
--! params      = { instances = 3 }
--! false_positives = ["operators during an incident: except the operations role, or raise `instances`"]
SELECT
  window_start,
  window_end,
  coalesce(userIdentity.arn, userIdentity.principalId) AS user_name,
  recipientAccountId AS account_id,
  max(sourceIPAddress) AS src_ip,
  count(DISTINCT coalesce(requestParameters.target, requestParameters.instanceId)) AS instances,
  count(DISTINCT eventName) AS ways,
  concat(coalesce(userIdentity.arn, userIdentity.principalId), ' opened sessions on ',
    CAST(count(DISTINCT coalesce(requestParameters.target, requestParameters.instanceId)) AS STRING),
    ' instances of account ', recipientAccountId, ' within ten minutes') AS message
FROM TUMBLE(cloudtrail, eventTime, INTERVAL '10 minutes')
WHERE eventName IN ('StartSession', 'SendSSHPublicKey', 'SendSerialConsoleSSHPublicKey')
  AND errorCode IS NULL
GROUP BY coalesce(userIdentity.arn, userIdentity.principalId), recipientAccountId, window_start, window_end
HAVING count(DISTINCT coalesce(requestParameters.target, requestParameters.instanceId)) >= $instances
