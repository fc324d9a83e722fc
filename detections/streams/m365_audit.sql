-- Microsoft 365 unified audit log as the Management Activity API returns it: common fields, then those of the
-- workload. `CreationTime` has no zone and is UTC.

CREATE STREAM m365_audit (
  CreationTime TIMESTAMP,
  Id STRING,
  Operation STRING,
  OrganizationId STRING,
  RecordType INT,
  ResultStatus STRING,
  UserId STRING,
  UserKey STRING,
  UserType INT,
  Workload STRING,
  ClientIP STRING,
  ClientIPAddress STRING,
  ActorIpAddress STRING,
  ObjectId STRING,
  UserAgent STRING,
  LogonError STRING,
  ApplicationId STRING,
  SourceFileName STRING,
  SiteUrl STRING,
  MailboxOwnerUPN STRING,
  ClientInfoString STRING,
  -- Lists of name and value, kept as JSON text: their length and order differ from call to call.
  Parameters STRING,
  ModifiedProperties STRING,
  ExtendedProperties STRING,
  Target STRING
) WITH (
  topic = 'logs.cloud.m365.audit',
  format = 'json',
  event_time = 'CreationTime',
  time_zone = 'UTC',
  lateness = '30 minutes',
  event_id = 'Id'
);

-- OCSF 6003 API Activity. Exchange writes addresses with a port, and IPv6 ones in brackets.
CREATE VIEW m365_api_activity AS
SELECT
  CreationTime AS time,
  6003 AS class_uid, 6 AS category_uid, 99 AS activity_id, 600399 AS type_uid, 1 AS severity_id,
  named_struct('product', named_struct('name', 'Microsoft 365', 'vendor_name', 'Microsoft')) AS metadata,
  named_struct(
    'user', named_struct('name', lower(UserId), 'uid', UserKey, 'type', CAST(UserType AS STRING), 'email_addr', lower(UserId)),
    'session', named_struct('is_mfa', CAST(NULL AS BOOLEAN))) AS actor,
  named_struct('operation', Operation, 'service', named_struct('name', Workload),
    'response', named_struct('error', LogonError, 'message', ResultStatus)) AS api,
  named_struct('ip', regexp_replace(regexp_replace(coalesce(ClientIP, ClientIPAddress, ActorIpAddress),
    '^\[?([0-9A-Fa-f.]*:[0-9A-Fa-f:.]+)\](:[0-9]+)?$', '\1'), '^([0-9.]+):[0-9]+$', '\1')) AS src_endpoint,
  named_struct('user_agent', coalesce(UserAgent, ClientInfoString)) AS http_request,
  named_struct('provider', CAST('Microsoft 365' AS STRING), 'region', CAST(NULL AS STRING),
    'account', named_struct('uid', OrganizationId)) AS cloud,
  named_struct('name', coalesce(SourceFileName, MailboxOwnerUPN, ObjectId), 'uid', ObjectId, 'type', CAST(NULL AS STRING)) AS resource,
  CASE WHEN lower(ResultStatus) IN ('failed', 'false', 'failure') THEN 'Failure' ELSE 'Success' END AS status
FROM m365_audit
WHERE Operation NOT IN ('UserLoggedIn', 'UserLoginFailed');

-- OCSF 3002 Authentication: Logon (1) as Microsoft 365 audits it.
CREATE VIEW m365_authentication AS
SELECT
  CreationTime AS time,
  3002 AS class_uid, 3 AS category_uid, 1 AS activity_id, 300201 AS type_uid, 1 AS severity_id,
  named_struct('product', named_struct('name', 'Microsoft 365', 'vendor_name', 'Microsoft')) AS metadata,
  CASE WHEN Operation = 'UserLoggedIn' THEN 1 ELSE 2 END AS status_id,
  CASE WHEN Operation = 'UserLoggedIn' THEN 'Success' ELSE 'Failure' END AS status,
  LogonError AS status_detail,
  named_struct('name', lower(UserId), 'domain', CAST(NULL AS STRING), 'uid', UserKey, 'email_addr', lower(UserId)) AS user,
  named_struct('ip', regexp_replace(regexp_replace(coalesce(ClientIP, ActorIpAddress),
    '^\[?([0-9A-Fa-f.]*:[0-9A-Fa-f:.]+)\](:[0-9]+)?$', '\1'), '^([0-9.]+):[0-9]+$', '\1'), 'hostname', CAST(NULL AS STRING), 'country', CAST(NULL AS STRING)) AS src_endpoint,
  named_struct('hostname', CAST('login.microsoftonline.com' AS STRING)) AS dst_endpoint,
  named_struct('name', coalesce(ApplicationId, Workload)) AS service,
  CAST(NULL AS STRING) AS auth_protocol,
  CAST(NULL AS BIGINT) AS logon_type_id,
  CAST(NULL AS BOOLEAN) AS is_mfa,
  UserAgent AS user_agent
FROM m365_audit
WHERE Operation IN ('UserLoggedIn', 'UserLoginFailed');
