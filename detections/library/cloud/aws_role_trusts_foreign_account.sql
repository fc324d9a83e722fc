--! id          = "cloud.aws_role_trusts_foreign_account"
--! title       = "AWS role opened to another account"
--! severity    = "high"
--! status      = "stable"
--! owner       = "cloud-security"
--! description = """
--! The trust policy of a role names an account other than the one it lives in, or everybody. Whoever holds that account
--! can become the role from then on. Also: a function that everybody may call."""
--! attack      = ["T1098", "T1199", "T1546"]
--! entities    = { user = "user_name", resource = "role_name", src_ip = "src_ip", ip = "src_ip", account = "account_id" }
--! risk_score  = 60
--! confidence  = 70
--! cooldown    = "10 minutes"
--! false_positives = ["vendors that are given a role: except their account numbers by `trusted_account`"]
SELECT
  eventTime AS time,
  lower(coalesce(userIdentity.userName, userIdentity.sessionContext.sessionIssuer.userName)) AS user_name,
  coalesce(requestParameters.roleName, requestParameters.functionName) AS role_name,
  sourceIPAddress AS src_ip,
  recipientAccountId AS account_id,
  eventName AS operation,
  CASE WHEN eventName LIKE 'AddPermission%' THEN requestParameters.principal
       ELSE coalesce(nullif(regexp_replace(regexp_replace(requestParameters.policyDocument, '\s+', '', 'g'),
         '^.*"AWS":\[?"(?:arn:aws[a-z-]*:iam::)?([0-9]{12}|\*).*$', '\1'),
         regexp_replace(requestParameters.policyDocument, '\s+', '', 'g')), '*') END AS trusted_account,
  concat(coalesce(userIdentity.userName, userIdentity.sessionContext.sessionIssuer.userName, 'somebody'), ' opened ',
    coalesce(requestParameters.roleName, requestParameters.functionName), ' in account ', recipientAccountId,
    ' to others') AS message
FROM cloudtrail
WHERE errorCode IS NULL
  AND (
    (eventSource = 'iam.amazonaws.com'
     AND eventName = 'UpdateAssumeRolePolicy'
     AND regexp_like(requestParameters.policyDocument, '"AWS"\s*:\s*\[?\s*"(arn:aws[a-z-]*:iam::[0-9]{12}:|[0-9]{12}"|\*)')
     -- What is left without the role's own account still names one.
     AND regexp_like(
       replace(requestParameters.policyDocument, recipientAccountId, 'own'),
       '"AWS"\s*:\s*\[?\s*"(arn:aws[a-z-]*:iam::[0-9]{12}:|[0-9]{12}"|\*)'))
    OR (eventSource = 'lambda.amazonaws.com' AND eventName LIKE 'AddPermission%' AND requestParameters.principal = '*'))
