-- Azure activity log from a diagnostic setting, one record per message. Operation names arrive in capitals.

CREATE STREAM azure_activity (
  time TIMESTAMP,
  resourceId STRING,
  operationName STRING,
  category STRING,
  resultType STRING,
  resultSignature STRING,
  level STRING,
  location STRING,
  correlationId STRING,
  callerIpAddress STRING,
  tenantId STRING,
  identity STRUCT<
    authorization STRUCT<scope STRING, action STRING,
      evidence STRUCT<role STRING, roleAssignmentScope STRING, principalId STRING, principalType STRING>>,
    claims STRUCT<
      name STRING, appid STRING, ipaddr STRING,
      "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn" STRING,
      "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name" STRING,
      "http://schemas.microsoft.com/identity/claims/objectidentifier" STRING>>,
  properties STRUCT<requestbody STRING, responseBody STRING, statusCode STRING, message STRING, entity STRING, hierarchy STRING>
) WITH (
  topic = 'logs.cloud.azure.activity',
  format = 'json',
  event_time = 'time',
  time_zone = 'UTC',
  lateness = '15 minutes'
);

-- OCSF 6003 API Activity by the last word of the operation.
CREATE VIEW azure_api_activity AS
SELECT
  time,
  6003 AS class_uid, 6 AS category_uid,
  CASE WHEN upper(operationName) LIKE '%/DELETE' THEN 4
       WHEN upper(operationName) LIKE '%/READ' OR upper(operationName) LIKE '%/LIST%' THEN 2
       ELSE 3 END AS activity_id,
  CASE WHEN upper(operationName) LIKE '%/DELETE' THEN 600304
       WHEN upper(operationName) LIKE '%/READ' OR upper(operationName) LIKE '%/LIST%' THEN 600302
       ELSE 600303 END AS type_uid,
  1 AS severity_id,
  named_struct('product', named_struct('name', 'Azure Activity', 'vendor_name', 'Microsoft')) AS metadata,
  named_struct(
    'user', named_struct(
      'name', lower(coalesce(
        identity.claims."http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn",
        identity.claims."http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name",
        identity.claims.name, identity.claims.appid)),
      'uid', coalesce(identity.claims."http://schemas.microsoft.com/identity/claims/objectidentifier",
        identity.authorization.evidence.principalId),
      'type', identity.authorization.evidence.principalType,
      'email_addr', lower(identity.claims."http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn")),
    'session', named_struct('is_mfa', CAST(NULL AS BOOLEAN))) AS actor,
  named_struct('operation', upper(operationName), 'service', named_struct('name', upper(split_part(operationName, '/', 1))),
    'response', named_struct('error', CASE WHEN resultType IN ('Failure', 'Failed') THEN resultSignature END,
      'message', properties.message)) AS api,
  named_struct('ip', callerIpAddress) AS src_endpoint,
  named_struct('user_agent', CAST(NULL AS STRING)) AS http_request,
  named_struct('provider', CAST('Azure' AS STRING), 'region', location, 'account', named_struct('uid', tenantId)) AS cloud,
  named_struct('name', lower(regexp_replace(resourceId, '^.*/', '')), 'uid', lower(resourceId),
    'type', CAST(NULL AS STRING)) AS resource,
  CASE WHEN resultType IN ('Failure', 'Failed') THEN 'Failure' ELSE 'Success' END AS status
FROM azure_activity
WHERE category = 'Administrative' AND resultType <> 'Start';
