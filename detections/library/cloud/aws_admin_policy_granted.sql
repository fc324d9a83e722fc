--! id          = "cloud.aws_admin_policy_granted"
--! title       = "Administrator rights granted in AWS"
--! severity    = "high"
--! status      = "stable"
--! owner       = "cloud-security"
--! description = """
--! The managed policy AdministratorAccess, or IAMFullAccess, or an inline policy that allows everything, is attached to a
--! user, group or role."""
--! attack      = ["T1098.003"]
--! entities    = { user = "user_name", target_user = "target", src_ip = "src_ip", ip = "src_ip", account = "account_id" }
--! risk_score  = 60
--! confidence  = 80
--! cooldown    = "10 minutes"
--! false_positives = ["account set-up by the landing-zone pipeline: except its role"]
SELECT
  eventTime AS time,
  lower(coalesce(userIdentity.userName, userIdentity.sessionContext.sessionIssuer.userName)) AS user_name,
  coalesce(requestParameters.userName, requestParameters.roleName, requestParameters.groupName) AS target,
  sourceIPAddress AS src_ip,
  recipientAccountId AS account_id,
  eventName AS operation,
  coalesce(requestParameters.policyArn, requestParameters.policyName) AS policy,
  concat(coalesce(userIdentity.userName, userIdentity.sessionContext.sessionIssuer.userName, 'somebody'), ' gave ',
    coalesce(requestParameters.policyArn, requestParameters.policyName), ' to ',
    coalesce(requestParameters.userName, requestParameters.roleName, requestParameters.groupName),
    ' in account ', recipientAccountId) AS message
FROM cloudtrail
WHERE eventSource = 'iam.amazonaws.com'
  AND errorCode IS NULL
  AND (
    (eventName IN ('AttachUserPolicy', 'AttachRolePolicy', 'AttachGroupPolicy')
     AND regexp_like(requestParameters.policyArn, '^arn:aws[a-z-]*:iam::aws:policy/(AdministratorAccess|IAMFullAccess|PowerUserAccess)$'))
    OR (eventName IN ('PutUserPolicy', 'PutRolePolicy', 'PutGroupPolicy')
        AND regexp_like(requestParameters.policyDocument, '"Action"\s*:\s*\[?\s*"(\*|iam:\*)"')
        AND regexp_like(requestParameters.policyDocument, '"Resource"\s*:\s*\[?\s*"\*"')
        AND regexp_like(requestParameters.policyDocument, '"Effect"\s*:\s*"Allow"')))
