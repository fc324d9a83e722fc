-- Microsoft Entra ID sign-in logs from a diagnostic setting, one record per message (the `records` array of an event
-- hub message is split by the sender). Categories: SignInLogs, NonInteractiveUserSignInLogs, ServicePrincipalSignInLogs.

CREATE STREAM azure_signin (
  time TIMESTAMP,
  resourceId STRING,
  operationName STRING,
  category STRING,
  tenantId STRING,
  resultType STRING,
  resultDescription STRING,
  callerIpAddress STRING,
  identity STRING,
  location STRING,
  properties STRUCT<
    id STRING, createdDateTime STRING, userDisplayName STRING, userPrincipalName STRING, userId STRING, userType STRING,
    appId STRING, appDisplayName STRING, resourceDisplayName STRING, ipAddress STRING, clientAppUsed STRING,
    userAgent STRING, correlationId STRING, conditionalAccessStatus STRING, authenticationRequirement STRING,
    authenticationProtocol STRING, isInteractive BOOLEAN,
    riskState STRING, riskLevelDuringSignIn STRING, riskLevelAggregated STRING, riskDetail STRING,
    status STRUCT<errorCode BIGINT, failureReason STRING, additionalDetails STRING>,
    deviceDetail STRUCT<deviceId STRING, displayName STRING, operatingSystem STRING, browser STRING, isCompliant BOOLEAN, isManaged BOOLEAN, trustType STRING>,
    location STRUCT<city STRING, state STRING, countryOrRegion STRING>>
) WITH (
  topic = 'logs.cloud.azure.signin',
  format = 'json',
  event_time = 'time',
  time_zone = 'UTC',
  lateness = '15 minutes'
);

-- OCSF 3002 Authentication: Logon (1). 50140 and 50074/50076 are interruptions on the way, not failures.
CREATE VIEW azure_authentication AS
SELECT
  time,
  3002 AS class_uid, 3 AS category_uid, 1 AS activity_id, 300201 AS type_uid, 1 AS severity_id,
  named_struct('product', named_struct('name', 'Entra ID', 'vendor_name', 'Microsoft')) AS metadata,
  CASE WHEN resultType = '0' THEN 1 ELSE 2 END AS status_id,
  CASE WHEN resultType = '0' THEN 'Success' ELSE 'Failure' END AS status,
  CASE WHEN resultType = '0' THEN NULL ELSE concat(resultType, ' ', coalesce(properties.status.failureReason, resultDescription)) END AS status_detail,
  named_struct('name', lower(properties.userPrincipalName), 'domain', CAST(NULL AS STRING),
    'uid', properties.userId, 'email_addr', lower(properties.userPrincipalName)) AS user,
  named_struct('ip', coalesce(properties.ipAddress, callerIpAddress), 'hostname', lower(properties.deviceDetail.displayName),
    'country', coalesce(properties.location.countryOrRegion, location)) AS src_endpoint,
  named_struct('hostname', CAST('login.microsoftonline.com' AS STRING)) AS dst_endpoint,
  named_struct('name', properties.appDisplayName) AS service,
  properties.authenticationProtocol AS auth_protocol,
  CAST(NULL AS BIGINT) AS logon_type_id,
  properties.authenticationRequirement = 'multiFactorAuthentication' AS is_mfa,
  properties.userAgent AS user_agent
FROM azure_signin
WHERE resultType NOT IN ('50140', '50074', '50076', '50072', '50055');
