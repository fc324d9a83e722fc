-- Microsoft Defender for Endpoint through the streaming API: the tables of advanced hunting, one row per message,
-- wrapped in `properties`. `category` is "AdvancedHunting-" and the table's name. The event's time lies in the wrapper,
-- so the views take `_time`, under which every stream has its event time; `time` is when the service received the event.

CREATE STREAM edr (
  time TIMESTAMP,
  tenantId STRING,
  category STRING,
  operationName STRING,
  properties STRUCT<
    Timestamp TIMESTAMP, DeviceId STRING, DeviceName STRING, ActionType STRING, ReportId BIGINT,
    FileName STRING, FolderPath STRING, SHA1 STRING, SHA256 STRING, MD5 STRING,
    ProcessId BIGINT, ProcessCommandLine STRING, ProcessIntegrityLevel STRING, ProcessVersionInfoOriginalFileName STRING,
    AccountDomain STRING, AccountName STRING, AccountSid STRING, AccountUpn STRING, LogonType STRING,
    FailureReason STRING, RemoteDeviceName STRING,
    RegistryKey STRING, RegistryValueName STRING, RegistryValueData STRING,
    LocalIP STRING, LocalPort INT, RemoteIP STRING, RemotePort INT, RemoteUrl STRING, Protocol STRING,
    InitiatingProcessFileName STRING, InitiatingProcessFolderPath STRING, InitiatingProcessCommandLine STRING,
    InitiatingProcessId BIGINT, InitiatingProcessSHA256 STRING, InitiatingProcessParentFileName STRING,
    InitiatingProcessAccountName STRING, InitiatingProcessAccountDomain STRING, InitiatingProcessAccountUpn STRING,
    AlertId STRING, Title STRING, Severity STRING, AttackTechniques STRING, ServiceSource STRING, DetectionSource STRING,
    AdditionalFields STRING>
) WITH (
  topic = 'logs.endpoint.edr',
  format = 'json',
  event_time = 'properties.Timestamp',
  time_zone = 'UTC',
  lateness = '5 minutes'
);

-- OCSF 1007 Process Activity: Launch (1).
CREATE VIEW edr_process_activity AS
SELECT
  _time AS time,
  1007 AS class_uid, 1 AS category_uid, 1 AS activity_id, 100701 AS type_uid, 1 AS severity_id,
  named_struct('product', named_struct('name', 'Defender for Endpoint', 'vendor_name', 'Microsoft')) AS metadata,
  named_struct('hostname', lower(properties.DeviceName)) AS device,
  named_struct('user', named_struct(
    'name', lower(properties.AccountName),
    'domain', properties.AccountDomain,
    'uid', properties.AccountSid,
    'email_addr', lower(nullif(properties.AccountUpn, '')))) AS actor,
  named_struct(
    'name', lower(properties.FileName),
    'cmd_line', properties.ProcessCommandLine,
    'pid', CAST(properties.ProcessId AS STRING),
    'uid', CAST(NULL AS STRING),
    'integrity', properties.ProcessIntegrityLevel,
    'working_directory', CAST(NULL AS STRING),
    'user', named_struct('name', lower(properties.AccountName)),
    'file', named_struct(
      'path', properties.FolderPath,
      'internal_name', lower(properties.ProcessVersionInfoOriginalFileName),
      'hashes', named_struct(
        'sha256', lower(nullif(properties.SHA256, '')), 'sha1', lower(nullif(properties.SHA1, '')),
        'md5', lower(nullif(properties.MD5, '')))),
    'parent_process', named_struct(
      'name', lower(properties.InitiatingProcessFileName),
      'cmd_line', properties.InitiatingProcessCommandLine,
      'pid', CAST(properties.InitiatingProcessId AS STRING),
      'file', named_struct('path', properties.InitiatingProcessFolderPath))) AS process
FROM edr
WHERE category = 'AdvancedHunting-DeviceProcessEvents' AND properties.ActionType = 'ProcessCreated';

-- OCSF 1001 File System Activity: Create (1), Update (3), Delete (4), Rename (5).
CREATE VIEW edr_file_activity AS
SELECT
  _time AS time,
  1001 AS class_uid, 1 AS category_uid,
  CASE properties.ActionType WHEN 'FileCreated' THEN 1 WHEN 'FileDeleted' THEN 4 WHEN 'FileRenamed' THEN 5 ELSE 3 END AS activity_id,
  CASE properties.ActionType WHEN 'FileCreated' THEN 100101 WHEN 'FileDeleted' THEN 100104
    WHEN 'FileRenamed' THEN 100105 ELSE 100103 END AS type_uid,
  1 AS severity_id,
  named_struct('product', named_struct('name', 'Defender for Endpoint', 'vendor_name', 'Microsoft')) AS metadata,
  named_struct('hostname', lower(properties.DeviceName)) AS device,
  named_struct(
    'user', named_struct('name', lower(properties.InitiatingProcessAccountName)),
    'process', named_struct(
      'name', lower(properties.InitiatingProcessFileName),
      'pid', CAST(properties.InitiatingProcessId AS STRING),
      'file', named_struct('path', properties.InitiatingProcessFolderPath))) AS actor,
  named_struct(
    'name', lower(properties.FileName),
    'path', properties.FolderPath,
    'hashes', named_struct('sha256', lower(nullif(properties.SHA256, '')))) AS file
FROM edr
WHERE category = 'AdvancedHunting-DeviceFileEvents';

-- OCSF 201002 Registry Value Activity (Windows extension): Set (2).
CREATE VIEW edr_registry_value_activity AS
SELECT
  _time AS time,
  201002 AS class_uid, 1 AS category_uid, 2 AS activity_id, 20100202 AS type_uid, 1 AS severity_id,
  named_struct('product', named_struct('name', 'Defender for Endpoint', 'vendor_name', 'Microsoft')) AS metadata,
  named_struct('hostname', lower(properties.DeviceName)) AS device,
  named_struct(
    'user', named_struct('name', lower(properties.InitiatingProcessAccountName)),
    'process', named_struct(
      'name', lower(properties.InitiatingProcessFileName),
      'pid', CAST(properties.InitiatingProcessId AS STRING),
      'file', named_struct('path', properties.InitiatingProcessFolderPath))) AS actor,
  named_struct(
    'path', concat(properties.RegistryKey, '\', properties.RegistryValueName),
    'name', lower(properties.RegistryValueName),
    'data', properties.RegistryValueData) AS reg_value
FROM edr
WHERE category = 'AdvancedHunting-DeviceRegistryEvents' AND properties.ActionType = 'RegistryValueSet';

-- OCSF 4001 Network Activity: Open (1), with the process that opened it.
CREATE VIEW edr_network_activity AS
SELECT
  _time AS time,
  4001 AS class_uid, 4 AS category_uid, 1 AS activity_id, 400101 AS type_uid, 1 AS severity_id,
  named_struct('product', named_struct('name', 'Defender for Endpoint', 'vendor_name', 'Microsoft')) AS metadata,
  named_struct('hostname', lower(properties.DeviceName)) AS device,
  named_struct(
    'user', named_struct('name', lower(properties.InitiatingProcessAccountName)),
    'process', named_struct('name', lower(properties.InitiatingProcessFileName),
      'file', named_struct('path', properties.InitiatingProcessFolderPath))) AS actor,
  named_struct('ip', properties.LocalIP, 'port', CAST(properties.LocalPort AS BIGINT),
    'hostname', lower(properties.DeviceName)) AS src_endpoint,
  named_struct('ip', properties.RemoteIP, 'port', CAST(properties.RemotePort AS BIGINT),
    'hostname', lower(nullif(regexp_replace(properties.RemoteUrl, '^(?:[a-zA-Z]+://)?([^/:?#]+).*$', '\1'), ''))) AS dst_endpoint,
  named_struct('protocol_name', lower(properties.Protocol), 'direction', CAST('Outbound' AS STRING)) AS connection_info,
  named_struct('bytes_out', CAST(NULL AS BIGINT), 'bytes_in', CAST(NULL AS BIGINT)) AS traffic,
  CASE WHEN properties.ActionType = 'ConnectionFailed' THEN 'Blocked' ELSE 'Allowed' END AS disposition,
  CAST(NULL AS STRING) AS app_name
FROM edr
WHERE category = 'AdvancedHunting-DeviceNetworkEvents'
  AND properties.ActionType IN ('ConnectionSuccess', 'ConnectionFailed', 'ConnectionRequest');

-- OCSF 3002 Authentication: Logon (1) at a device.
CREATE VIEW edr_authentication AS
SELECT
  _time AS time,
  3002 AS class_uid, 3 AS category_uid, 1 AS activity_id, 300201 AS type_uid, 1 AS severity_id,
  named_struct('product', named_struct('name', 'Defender for Endpoint', 'vendor_name', 'Microsoft')) AS metadata,
  CASE WHEN properties.ActionType = 'LogonSuccess' THEN 1 ELSE 2 END AS status_id,
  CASE WHEN properties.ActionType = 'LogonSuccess' THEN 'Success' ELSE 'Failure' END AS status,
  properties.FailureReason AS status_detail,
  named_struct('name', lower(properties.AccountName), 'domain', properties.AccountDomain,
    'uid', properties.AccountSid, 'email_addr', lower(nullif(properties.AccountUpn, ''))) AS user,
  named_struct('ip', properties.RemoteIP, 'hostname', lower(properties.RemoteDeviceName),
    'country', CAST(NULL AS STRING)) AS src_endpoint,
  named_struct('hostname', lower(properties.DeviceName)) AS dst_endpoint,
  named_struct('name', CAST(NULL AS STRING)) AS service,
  properties.Protocol AS auth_protocol,
  CAST(CASE properties.LogonType
    WHEN 'Interactive' THEN 2 WHEN 'Network' THEN 3 WHEN 'Batch' THEN 4 WHEN 'Service' THEN 5 WHEN 'Unlock' THEN 7
    WHEN 'RemoteInteractive' THEN 10 WHEN 'CachedInteractive' THEN 11 END AS BIGINT) AS logon_type_id,
  CAST(NULL AS BOOLEAN) AS is_mfa,
  CAST(NULL AS STRING) AS user_agent
FROM edr
WHERE category = 'AdvancedHunting-DeviceLogonEvents' AND properties.ActionType IN ('LogonSuccess', 'LogonFailed');

-- OCSF 2004 Detection Finding: the product's own alerts.
CREATE VIEW edr_detection_finding AS
SELECT
  _time AS time,
  2004 AS class_uid, 2 AS category_uid, 1 AS activity_id, 200401 AS type_uid,
  CASE lower(properties.Severity) WHEN 'high' THEN 4 WHEN 'medium' THEN 3 WHEN 'low' THEN 2 ELSE 1 END AS severity_id,
  named_struct('product', named_struct('name', 'Defender for Endpoint', 'vendor_name', 'Microsoft')) AS metadata,
  named_struct('title', properties.Title, 'uid', properties.AlertId, 'category', properties.DetectionSource) AS finding_info,
  named_struct('hostname', lower(properties.DeviceName)) AS device,
  named_struct('user', named_struct('name', lower(properties.AccountName))) AS actor,
  named_struct('ip', properties.LocalIP) AS src_endpoint,
  named_struct('ip', properties.RemoteIP) AS dst_endpoint,
  'Allowed' AS disposition
FROM edr
WHERE category = 'AdvancedHunting-AlertInfo' OR category = 'AdvancedHunting-AlertEvidence';
