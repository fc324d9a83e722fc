-- AWS CloudTrail, one record per message (the `Records` array of a delivered file is split by the sender).
-- `requestParameters` differs from call to call; the fields that the detections read are declared.

CREATE STREAM cloudtrail (
  eventTime TIMESTAMP,
  eventID STRING,
  eventName STRING,
  eventSource STRING,
  eventType STRING,
  eventCategory STRING,
  awsRegion STRING,
  sourceIPAddress STRING,
  userAgent STRING,
  errorCode STRING,
  errorMessage STRING,
  readOnly BOOLEAN,
  recipientAccountId STRING,
  sharedEventID STRING,
  userIdentity STRUCT<
    type STRING, principalId STRING, arn STRING, accountId STRING, accessKeyId STRING, userName STRING,
    invokedBy STRING,
    sessionContext STRUCT<
      attributes STRUCT<mfaAuthenticated STRING, creationDate STRING>,
      sessionIssuer STRUCT<type STRING, arn STRING, userName STRING, accountId STRING>>>,
  requestParameters STRUCT<
    userName STRING, roleName STRING, groupName STRING, policyArn STRING, policyName STRING, policyDocument STRING,
    accessKeyId STRING, name STRING, trailName STRING, secretId STRING, bucketName STRING, key STRING,
    functionName STRING, principal STRING, action STRING, policy STRING, instanceId STRING, instanceType STRING, target STRING,
    groupId STRING, cidrIp STRING, ipProtocol STRING, fromPort BIGINT, toPort BIGINT, snapshotId STRING,
    attributeType STRING, documentName STRING, modelId STRING,
    ipPermissions STRUCT<items ARRAY<STRUCT<
      ipProtocol STRING, fromPort BIGINT, toPort BIGINT,
      ipRanges STRUCT<items ARRAY<STRUCT<cidrIp STRING>>>,
      ipv6Ranges STRUCT<items ARRAY<STRUCT<cidrIpv6 STRING>>>>>>,
    createVolumePermission STRUCT<add STRUCT<items ARRAY<STRUCT<userId STRING, "group" STRING>>>>>,
  responseElements STRUCT<
    ConsoleLogin STRING,
    accessKey STRUCT<accessKeyId STRING, userName STRING>>,
  additionalEventData STRUCT<MFAUsed STRING, LoginTo STRING, MobileVersion STRING>
) WITH (
  topic = 'logs.cloud.aws.cloudtrail',
  format = 'json',
  event_time = 'eventTime',
  time_zone = 'UTC',
  lateness = '15 minutes',
  event_id = 'eventID'
);

-- OCSF 6003 API Activity: Create (1), Read (2), Update (3), Delete (4) by the verb of the call.
CREATE VIEW cloudtrail_api_activity AS
SELECT
  eventTime AS time,
  6003 AS class_uid, 6 AS category_uid,
  CASE WHEN readOnly OR eventName LIKE 'Get%' OR eventName LIKE 'List%' OR eventName LIKE 'Describe%' THEN 2
       WHEN eventName LIKE 'Create%' OR eventName LIKE 'Run%' THEN 1
       WHEN eventName LIKE 'Delete%' OR eventName LIKE 'Terminate%' THEN 4
       ELSE 3 END AS activity_id,
  CASE WHEN readOnly OR eventName LIKE 'Get%' OR eventName LIKE 'List%' OR eventName LIKE 'Describe%' THEN 600302
       WHEN eventName LIKE 'Create%' OR eventName LIKE 'Run%' THEN 600301
       WHEN eventName LIKE 'Delete%' OR eventName LIKE 'Terminate%' THEN 600304
       ELSE 600303 END AS type_uid,
  1 AS severity_id,
  named_struct('product', named_struct('name', 'CloudTrail', 'vendor_name', 'AWS')) AS metadata,
  named_struct(
    'user', named_struct(
      'name', lower(coalesce(
        userIdentity.userName,
        userIdentity.sessionContext.sessionIssuer.userName,
        CASE WHEN userIdentity.type = 'Root' THEN 'root' END,
        nullif(regexp_replace(userIdentity.arn, '^.*/', ''), ''),
        userIdentity.invokedBy)),
      'uid', coalesce(userIdentity.arn, userIdentity.principalId),
      'type', userIdentity.type,
      'email_addr', CAST(NULL AS STRING)),
    'session', named_struct('is_mfa', userIdentity.sessionContext.attributes.mfaAuthenticated = 'true')) AS actor,
  named_struct('operation', eventName, 'service', named_struct('name', eventSource),
    'response', named_struct('error', errorCode, 'message', errorMessage)) AS api,
  named_struct('ip', sourceIPAddress) AS src_endpoint,
  named_struct('user_agent', userAgent) AS http_request,
  named_struct('provider', CAST('AWS' AS STRING), 'region', awsRegion, 'account', named_struct('uid', recipientAccountId)) AS cloud,
  named_struct(
    'name', coalesce(
      requestParameters.userName, requestParameters.roleName, requestParameters.functionName,
      requestParameters.name, requestParameters.secretId, requestParameters.bucketName,
      requestParameters.snapshotId, requestParameters.groupId, requestParameters.instanceId, requestParameters.target),
    'uid', coalesce(requestParameters.policyArn, requestParameters.accessKeyId),
    'type', CAST(NULL AS STRING)) AS resource,
  CASE WHEN errorCode IS NULL THEN 'Success' ELSE 'Failure' END AS status
FROM cloudtrail
WHERE eventType IS NULL OR eventType <> 'AwsConsoleSignIn';

-- OCSF 3002 Authentication: Logon (1) at the console.
CREATE VIEW cloudtrail_authentication AS
SELECT
  eventTime AS time,
  3002 AS class_uid, 3 AS category_uid, 1 AS activity_id, 300201 AS type_uid, 1 AS severity_id,
  named_struct('product', named_struct('name', 'CloudTrail', 'vendor_name', 'AWS')) AS metadata,
  CASE WHEN responseElements.ConsoleLogin = 'Success' THEN 1 ELSE 2 END AS status_id,
  CASE WHEN responseElements.ConsoleLogin = 'Success' THEN 'Success' ELSE 'Failure' END AS status,
  errorMessage AS status_detail,
  named_struct(
    'name', lower(coalesce(userIdentity.userName, CASE WHEN userIdentity.type = 'Root' THEN 'root' END,
      nullif(regexp_replace(userIdentity.arn, '^.*/', ''), ''))),
    'domain', userIdentity.accountId,
    'uid', userIdentity.arn,
    'email_addr', CAST(NULL AS STRING)) AS user,
  named_struct('ip', sourceIPAddress, 'hostname', CAST(NULL AS STRING), 'country', CAST(NULL AS STRING)) AS src_endpoint,
  named_struct('hostname', CAST('signin.aws.amazon.com' AS STRING)) AS dst_endpoint,
  named_struct('name', CAST('AWS console' AS STRING)) AS service,
  CAST(NULL AS STRING) AS auth_protocol,
  CAST(NULL AS BIGINT) AS logon_type_id,
  additionalEventData.MFAUsed = 'Yes' AS is_mfa,
  userAgent AS user_agent
FROM cloudtrail
WHERE eventName = 'ConsoleLogin';
