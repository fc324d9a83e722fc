-- macOS Endpoint Security events as `eslogger` and Jamf Protect telemetry write them: `process` is who acted, `event`
-- holds one object named after what happened. Endpoint Security knows users by number; `host` is added by the sender.

CREATE STREAM macos_endpoint (
  time TIMESTAMP,
  host STRUCT<hostname STRING, serial STRING, ips ARRAY<STRING>>,
  event_type INT,
  process STRUCT<
    executable STRUCT<path STRING>,
    audit_token STRUCT<pid BIGINT, euid BIGINT, ruid BIGINT>,
    ppid BIGINT, signing_id STRING, team_id STRING, is_platform_binary BOOLEAN,
    responsible_process STRUCT<path STRING>>,
  event STRUCT<
    exec STRUCT<
      args ARRAY<STRING>,
      cwd STRUCT<path STRING>,
      script STRUCT<path STRING>,
      target STRUCT<
        executable STRUCT<path STRING, sha256 STRING>, audit_token STRUCT<pid BIGINT, euid BIGINT, ruid BIGINT>,
        signing_id STRING, team_id STRING, is_platform_binary BOOLEAN>>,
    "create" STRUCT<destination STRUCT<
      existing_file STRUCT<path STRING>,
      new_path STRUCT<dir STRUCT<path STRING>, filename STRING>>>,
    "rename" STRUCT<source STRUCT<path STRING>>,
    btm_launch_item_add STRUCT<
      executable_path STRING,
      item STRUCT<item_type STRING, item_url STRING, legacy BOOLEAN, managed BOOLEAN, uid BIGINT>>,
    openssh_login STRUCT<success BOOLEAN, source_address STRING, username STRING, result_type STRING>>
) WITH (
  topic = 'logs.macos.endpoint',
  format = 'json',
  event_time = 'time',
  time_zone = 'UTC',
  lateness = '5 minutes'
);

-- OCSF 1007 Process Activity: Launch (1).
CREATE VIEW macos_process_activity AS
SELECT
  time,
  1007 AS class_uid, 1 AS category_uid, 1 AS activity_id, 100701 AS type_uid, 1 AS severity_id,
  named_struct('product', named_struct('name', 'Endpoint Security', 'vendor_name', 'Apple')) AS metadata,
  named_struct('hostname', lower(host.hostname)) AS device,
  named_struct('user', named_struct(
    'name', CAST(NULL AS STRING),
    'domain', CAST(NULL AS STRING),
    'uid', CAST(event.exec.target.audit_token.ruid AS STRING),
    'email_addr', CAST(NULL AS STRING))) AS actor,
  named_struct(
    'name', lower(regexp_replace(event.exec.target.executable.path, '^.*/', '')),
    'cmd_line', CAST(array_to_string(event.exec.args, ' ') AS STRING),
    'pid', CAST(event.exec.target.audit_token.pid AS STRING),
    'uid', CAST(NULL AS STRING),
    'integrity', CAST(NULL AS STRING),
    'working_directory', event.exec.cwd.path,
    'user', named_struct('name', CAST(event.exec.target.audit_token.euid AS STRING)),
    'file', named_struct(
      'path', event.exec.target.executable.path,
      'internal_name', event.exec.target.signing_id,
      'hashes', named_struct(
        'sha256', event.exec.target.executable.sha256, 'sha1', CAST(NULL AS STRING), 'md5', CAST(NULL AS STRING))),
    'parent_process', named_struct(
      'name', lower(regexp_replace(process.executable.path, '^.*/', '')),
      'cmd_line', CAST(NULL AS STRING),
      'pid', CAST(process.audit_token.pid AS STRING),
      'file', named_struct('path', process.executable.path))) AS process
FROM macos_endpoint
WHERE event.exec.target.executable.path IS NOT NULL;

-- OCSF 1001 File System Activity: Create (1).
CREATE VIEW macos_file_activity AS
SELECT
  time,
  1001 AS class_uid, 1 AS category_uid, 1 AS activity_id, 100101 AS type_uid, 1 AS severity_id,
  named_struct('product', named_struct('name', 'Endpoint Security', 'vendor_name', 'Apple')) AS metadata,
  named_struct('hostname', lower(host.hostname)) AS device,
  named_struct(
    'user', named_struct('name', CAST(process.audit_token.ruid AS STRING)),
    'process', named_struct(
      'name', lower(regexp_replace(process.executable.path, '^.*/', '')),
      'pid', CAST(process.audit_token.pid AS STRING),
      'file', named_struct('path', process.executable.path))) AS actor,
  named_struct(
    'name', coalesce(event."create".destination.new_path.filename,
                     regexp_replace(event."create".destination.existing_file.path, '^.*/', '')),
    'path', coalesce(event."create".destination.existing_file.path,
                     event."create".destination.new_path.dir.path || '/' || event."create".destination.new_path.filename),
    'hashes', named_struct('sha256', CAST(NULL AS STRING))) AS file
FROM macos_endpoint
WHERE event."create".destination.existing_file.path IS NOT NULL
   OR event."create".destination.new_path.filename IS NOT NULL;

-- OCSF 3002 Authentication: Logon (1) over SSH.
CREATE VIEW macos_authentication AS
SELECT
  time,
  3002 AS class_uid, 3 AS category_uid, 1 AS activity_id, 300201 AS type_uid, 1 AS severity_id,
  named_struct('product', named_struct('name', 'Endpoint Security', 'vendor_name', 'Apple')) AS metadata,
  CASE WHEN event.openssh_login.success THEN 1 ELSE 2 END AS status_id,
  CASE WHEN event.openssh_login.success THEN 'Success' ELSE 'Failure' END AS status,
  event.openssh_login.result_type AS status_detail,
  named_struct('name', lower(event.openssh_login.username), 'domain', CAST(NULL AS STRING),
    'uid', CAST(NULL AS STRING), 'email_addr', CAST(NULL AS STRING)) AS user,
  named_struct('ip', event.openssh_login.source_address, 'hostname', CAST(NULL AS STRING),
    'country', CAST(NULL AS STRING)) AS src_endpoint,
  named_struct('hostname', lower(host.hostname)) AS dst_endpoint,
  named_struct('name', CAST('sshd' AS STRING)) AS service,
  CAST('SSH' AS STRING) AS auth_protocol,
  CAST(10 AS BIGINT) AS logon_type_id,
  CAST(NULL AS BOOLEAN) AS is_mfa,
  CAST(NULL AS STRING) AS user_agent
FROM macos_endpoint
WHERE event.openssh_login.username IS NOT NULL;
