--! id          = "cloud.aws_instance_credentials_probed"
--! title       = "Credentials of an AWS instance ask who they are"
--! severity    = "medium"
--! status      = "test"
--! owner       = "cloud-security"
--! description = """
--! The session of an instance's role calls GetCallerIdentity, or lists users, roles, buckets or secrets. Programs on an
--! instance know who they are; somebody who carried the credentials away asks first. Compare the source address with the
--! instance's own."""
--! attack      = ["T1552.005", "T1078.004", "T1580"]
--! entities    = { user = "user_name", resource = "instance_id", src_ip = "src_ip", ip = "src_ip", account = "account_id" }
--! risk_score  = 40
--! confidence  = 50
--! cooldown    = "4 hours"
--! false_positives = ["agents and start scripts that call it: except their role or user agent"]
SELECT
  eventTime AS time,
  userIdentity.sessionContext.sessionIssuer.userName AS user_name,
  regexp_replace(userIdentity.principalId, '^.*:', '') AS instance_id,
  sourceIPAddress AS src_ip,
  recipientAccountId AS account_id,
  eventName AS operation,
  userAgent AS user_agent,
  concat('The credentials of ', regexp_replace(userIdentity.principalId, '^.*:', ''), ' called ', eventName, ' from ',
    sourceIPAddress) AS message
FROM cloudtrail
WHERE userIdentity.type = 'AssumedRole'
  AND regexp_like(userIdentity.principalId, ':i-[0-9a-fA-F]{8,}$')
  AND eventName IN ('GetCallerIdentity', 'ListUsers', 'ListRoles', 'ListBuckets', 'ListSecrets', 'GetAccountAuthorizationDetails', 'ListAttachedRolePolicies')
