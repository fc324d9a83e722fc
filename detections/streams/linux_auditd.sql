-- The Linux audit system as Auditbeat writes it: the records of one audit event merged into one JSON object.
-- Rules that feed the detections: execve/execveat, writes to /etc and ~/.ssh, module loading, user and login messages.

CREATE STREAM linux_auditd (
  "@timestamp" TIMESTAMP,
  host STRUCT<name STRING, hostname STRING, id STRING>,
  event STRUCT<module STRING, action STRING, outcome STRING, category ARRAY<STRING>, type ARRAY<STRING>>,
  "user" STRUCT<
    name STRING, id STRING,
    effective STRUCT<name STRING, id STRING>,
    audit STRUCT<name STRING, id STRING>>,
  process STRUCT<
    executable STRING, name STRING, title STRING, args ARRAY<STRING>, pid BIGINT, ppid BIGINT,
    working_directory STRING, parent STRUCT<pid BIGINT, name STRING, executable STRING>>,
  file STRUCT<path STRING, owner STRING, mode STRING>,
  source STRUCT<ip STRING, port BIGINT>,
  destination STRUCT<ip STRING, port BIGINT>,
  auditd STRUCT<
    message_type STRING, result STRING, session STRING,
    data STRUCT<syscall STRING, exit STRING, terminal STRING, op STRING, acct STRING, tty STRING, hostname STRING>,
    summary STRUCT<how STRING, actor STRUCT<"primary" STRING, secondary STRING>,
      object STRUCT<type STRING, "primary" STRING, secondary STRING>>>,
  tags ARRAY<STRING>
) WITH (
  topic = 'logs.linux.auditd',
  format = 'json',
  event_time = '@timestamp',
  time_zone = 'UTC',
  lateness = '1 minute'
);

-- OCSF 1007 Process Activity: Launch (1).
CREATE VIEW linux_process_activity AS
SELECT
  "@timestamp" AS time,
  1007 AS class_uid, 1 AS category_uid, 1 AS activity_id, 100701 AS type_uid, 1 AS severity_id,
  named_struct('product', named_struct('name', 'auditd', 'vendor_name', 'Linux')) AS metadata,
  named_struct('hostname', lower(coalesce(host.hostname, host.name))) AS device,
  -- The audit user is who signed in, whatever sudo or su made of it since.
  named_struct('user', named_struct(
    'name', lower(coalesce(a."user".audit.name, a."user".name)),
    'domain', CAST(NULL AS STRING),
    'uid', coalesce(a."user".audit.id, a."user".id),
    'email_addr', CAST(NULL AS STRING))) AS actor,
  named_struct(
    'name', lower(process.name),
    'cmd_line', coalesce(CAST(array_to_string(process.args, ' ') AS STRING), process.title),
    'pid', CAST(process.pid AS STRING),
    'uid', CAST(NULL AS STRING),
    'integrity', CAST(NULL AS STRING),
    'working_directory', process.working_directory,
    'user', named_struct('name', lower(coalesce(a."user".effective.name, a."user".name))),
    'file', named_struct(
      'path', process.executable,
      'internal_name', CAST(NULL AS STRING),
      'hashes', named_struct(
        'sha256', CAST(NULL AS STRING), 'sha1', CAST(NULL AS STRING), 'md5', CAST(NULL AS STRING))),
    'parent_process', named_struct(
      'name', lower(process.parent.name),
      'cmd_line', CAST(NULL AS STRING),
      'pid', CAST(coalesce(process.parent.pid, process.ppid) AS STRING),
      'file', named_struct('path', process.parent.executable))) AS process
FROM linux_auditd a
WHERE event.action = 'executed';

-- OCSF 1001 File System Activity: Create (1), Update (3), Delete (4), Rename (5).
CREATE VIEW linux_file_activity AS
SELECT
  "@timestamp" AS time,
  1001 AS class_uid, 1 AS category_uid,
  CASE WHEN event.action IN ('deleted') THEN 4
       WHEN event.action IN ('renamed') THEN 5
       WHEN event.action IN ('created-directory', 'linked', 'symlinked') THEN 1
       ELSE 3 END AS activity_id,
  CASE WHEN event.action IN ('deleted') THEN 100104
       WHEN event.action IN ('renamed') THEN 100105
       WHEN event.action IN ('created-directory', 'linked', 'symlinked') THEN 100101
       ELSE 100103 END AS type_uid,
  1 AS severity_id,
  named_struct('product', named_struct('name', 'auditd', 'vendor_name', 'Linux')) AS metadata,
  named_struct('hostname', lower(coalesce(host.hostname, host.name))) AS device,
  named_struct(
    'user', named_struct('name', lower(coalesce(a."user".audit.name, a."user".name))),
    'process', named_struct(
      'name', lower(process.name),
      'pid', CAST(process.pid AS STRING),
      'file', named_struct('path', process.executable))) AS actor,
  named_struct(
    'name', regexp_replace(coalesce(file.path, auditd.summary.object."primary"), '^.*/', ''),
    'path', coalesce(file.path, auditd.summary.object."primary"),
    'hashes', named_struct('sha256', CAST(NULL AS STRING))) AS file
FROM linux_auditd a
WHERE event.action IN (
    'opened-file', 'wrote-to-file', 'renamed', 'deleted', 'linked', 'symlinked', 'created-directory',
    'changed-file-permissions-of', 'changed-file-ownership-of')
  AND event.outcome = 'success';

-- OCSF 3002 Authentication: Logon (1) from pluggable authentication modules and sshd.
CREATE VIEW linux_authentication AS
SELECT
  "@timestamp" AS time,
  3002 AS class_uid, 3 AS category_uid, 1 AS activity_id, 300201 AS type_uid, 1 AS severity_id,
  named_struct('product', named_struct('name', 'auditd', 'vendor_name', 'Linux')) AS metadata,
  CASE WHEN event.outcome = 'success' THEN 1 ELSE 2 END AS status_id,
  CASE WHEN event.outcome = 'success' THEN 'Success' ELSE 'Failure' END AS status,
  CAST(NULL AS STRING) AS status_detail,
  named_struct('name', lower(coalesce(auditd.data.acct, a."user".name)), 'domain', CAST(NULL AS STRING),
    'uid', a."user".id, 'email_addr', CAST(NULL AS STRING)) AS user,
  named_struct('ip', source.ip, 'hostname', CAST(NULL AS STRING), 'country', CAST(NULL AS STRING)) AS src_endpoint,
  named_struct('hostname', lower(coalesce(host.hostname, host.name))) AS dst_endpoint,
  named_struct('name', regexp_replace(process.executable, '^.*/', '')) AS service,
  CAST('PAM' AS STRING) AS auth_protocol,
  CAST(CASE WHEN source.ip IS NULL THEN 2 ELSE 10 END AS BIGINT) AS logon_type_id,
  CAST(NULL AS BOOLEAN) AS is_mfa,
  CAST(NULL AS STRING) AS user_agent
FROM linux_auditd a
WHERE event.action IN ('logged-in', 'authenticated') AND auditd.message_type IN ('user_login', 'user_auth');
