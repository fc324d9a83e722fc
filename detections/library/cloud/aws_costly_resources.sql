--! id          = "cloud.aws_costly_resources"
--! title       = "Costly machines or models started in AWS"
--! severity    = "medium"
--! status      = "test"
--! owner       = "cloud-security"
--! description = """
--! Somebody starts, or tries to start, machines with accelerators or very many cores, or opens access to foundation models:
--! what stolen keys are used for, to mine or to sell. A refused attempt is as telling as a granted one."""
--! attack      = ["T1496", "T1578.002"]
--! entities    = { user = "user_name", account = "account_id", src_ip = "src_ip", ip = "src_ip" }
--! risk_score  = 40
--! confidence  = 50
--! cooldown    = "4 hours"
--! false_positives = ["teams that train models: except their roles"]
SELECT
  eventTime AS time,
  lower(coalesce(userIdentity.userName, userIdentity.sessionContext.sessionIssuer.userName, userIdentity.principalId)) AS user_name,
  recipientAccountId AS account_id,
  sourceIPAddress AS src_ip,
  awsRegion AS region,
  eventName AS operation,
  coalesce(requestParameters.instanceType, requestParameters.modelId) AS what,
  errorCode AS error,
  CASE WHEN errorCode IS NULL THEN 'high' ELSE 'medium' END AS severity,
  concat(coalesce(userIdentity.userName, userIdentity.sessionContext.sessionIssuer.userName, 'somebody'),
    CASE WHEN errorCode IS NULL THEN ' started ' ELSE ' tried to start ' END,
    coalesce(requestParameters.instanceType, requestParameters.modelId, 'model access'), ' in ', awsRegion) AS message
FROM cloudtrail
WHERE (eventName = 'RunInstances' AND regexp_like(requestParameters.instanceType, '^(p[0-9]|g[0-9]|trn|inf|dl[0-9]|vt[0-9])|\.(1[26]|24|32|48|56)xlarge$|\.metal'))
   OR (eventSource = 'bedrock.amazonaws.com'
       AND eventName IN ('PutFoundationModelEntitlement', 'CreateFoundationModelAgreement', 'PutUseCaseForModelAccess'))
