-- Windows event logs, one JSON object per event with the fields of EventData beside those of System: what NXLog,
-- Vector, Winlogbeat (flattened) and evtx converters write. Sysmon, Security, System, PowerShell and the other
-- channels share this stream; `Channel` and `EventID` say which is which.
--
-- Numbers and booleans of EventData come as text from some senders, so only `EventID` is declared as a number.
-- Some senders write the Security channel in lower case.

CREATE STREAM windows (
  SystemTime TIMESTAMP,
  Channel STRING,
  EventID INT,
  Computer STRING,
  Provider_Name STRING,
  Message STRING,
  -- processes: Sysmon 1, 5, 8, 10 and Security 4688
  Image STRING,
  CommandLine STRING,
  CurrentDirectory STRING,
  OriginalFileName STRING,
  Company STRING,
  Hashes STRING,
  IntegrityLevel STRING,
  User STRING,
  ProcessId STRING,
  ProcessGuid STRING,
  ParentImage STRING,
  ParentCommandLine STRING,
  ParentProcessId STRING,
  ParentUser STRING,
  NewProcessName STRING,
  NewProcessId STRING,
  ParentProcessName STRING,
  ProcessName STRING,
  SourceImage STRING,
  SourceProcessId STRING,
  SourceUser STRING,
  TargetImage STRING,
  TargetProcessId STRING,
  GrantedAccess STRING,
  CallTrace STRING,
  StartAddress STRING,
  StartModule STRING,
  StartFunction STRING,
  -- modules, files, registry and pipes: Sysmon 6, 7, 11-15, 17, 18, 23 and Security 4657, 4663, 5145
  ImageLoaded STRING,
  Signed STRING,
  Signature STRING,
  SignatureStatus STRING,
  TargetFilename STRING,
  TargetObject STRING,
  Details STRING,
  EventType STRING,
  PipeName STRING,
  ObjectName STRING,
  ObjectType STRING,
  ObjectValueName STRING,
  NewValue STRING,
  OldValue STRING,
  AccessMask STRING,
  ShareName STRING,
  RelativeTargetName STRING,
  -- network and names: Sysmon 3, 22 and Security 5156
  Protocol STRING,
  Initiated STRING,
  SourceIp STRING,
  SourcePort STRING,
  SourceHostname STRING,
  DestinationIp STRING,
  DestinationPort STRING,
  DestinationHostname STRING,
  Application STRING,
  Direction STRING,
  SourceAddress STRING,
  DestAddress STRING,
  DestPort STRING,
  QueryName STRING,
  QueryStatus STRING,
  QueryResults STRING,
  -- accounts and sign-ins: Security 4624, 4625, 4648, 4672, 4720-4756, 4768, 4769, 4776
  SubjectUserName STRING,
  SubjectDomainName STRING,
  SubjectUserSid STRING,
  SubjectLogonId STRING,
  TargetUserName STRING,
  TargetDomainName STRING,
  TargetUserSid STRING,
  TargetSid STRING,
  TargetServerName STRING,
  MemberName STRING,
  MemberSid STRING,
  LogonType STRING,
  LogonProcessName STRING,
  AuthenticationPackageName STRING,
  IpAddress STRING,
  IpPort STRING,
  WorkstationName STRING,
  Status STRING,
  SubStatus STRING,
  PrivilegeList STRING,
  TicketEncryptionType STRING,
  TicketOptions STRING,
  PreAuthType STRING,
  PasswordLastSet STRING,
  UserAccountControl STRING,
  SamAccountName STRING,
  -- services, tasks, scripts and transfers: System 7045, 7036, Security 4697, 4698, PowerShell 4104, 800, BITS 59
  ServiceName STRING,
  ServiceFileName STRING,
  ServiceAccount STRING,
  ImagePath STRING,
  AccountName STRING,
  StartType STRING,
  param1 STRING,
  param2 STRING,
  param3 STRING,
  param4 STRING,
  TaskName STRING,
  TaskContent STRING,
  ScriptBlockText STRING,
  ScriptBlockId STRING,
  MessageNumber STRING,
  Path STRING,
  Data STRING,
  url STRING,
  name STRING,
  -- WMI subscriptions: Sysmon 19-21
  Operation STRING,
  Destination STRING,
  Query STRING,
  Consumer STRING,
  Filter STRING
) WITH (
  topic = 'logs.windows',
  format = 'json',
  event_time = 'SystemTime',
  time_zone = 'UTC',
  lateness = '1 minute'
);

-- OCSF 1007 Process Activity: Launch (1), from Sysmon 1 and from Security 4688. Where a machine logs both, a process is
-- seen twice; a cooldown on host and user folds the second alert into the first.
CREATE VIEW sysmon_process_activity AS
SELECT
  SystemTime AS time,
  1007 AS class_uid, 1 AS category_uid, 1 AS activity_id, 100701 AS type_uid, 1 AS severity_id,
  named_struct('product', named_struct('name', 'Sysmon', 'vendor_name', 'Microsoft')) AS metadata,
  named_struct('hostname', lower(Computer)) AS device,
  named_struct('user', named_struct(
    'name', lower(regexp_replace(User, '^.*\\', '')),
    'domain', nullif(regexp_replace(User, '\\.*$', ''), User),
    'uid', CAST(NULL AS STRING),
    'email_addr', CAST(NULL AS STRING))) AS actor,
  named_struct(
    'name', lower(regexp_replace(Image, '^.*\\', '')),
    'cmd_line', CommandLine,
    'pid', ProcessId,
    'uid', ProcessGuid,
    'integrity', IntegrityLevel,
    'working_directory', CurrentDirectory,
    'user', named_struct('name', lower(regexp_replace(User, '^.*\\', ''))),
    'file', named_struct(
      'path', Image,
      'internal_name', lower(OriginalFileName),
      'hashes', named_struct(
        'sha256', lower(nullif(regexp_replace(Hashes, '^.*SHA256=([0-9A-Fa-f]{64}).*$', '\1'), Hashes)),
        'sha1', lower(nullif(regexp_replace(Hashes, '^.*SHA1=([0-9A-Fa-f]{40}).*$', '\1'), Hashes)),
        'md5', lower(nullif(regexp_replace(Hashes, '^.*MD5=([0-9A-Fa-f]{32}).*$', '\1'), Hashes)))),
    'parent_process', named_struct(
      'name', lower(regexp_replace(ParentImage, '^.*\\', '')),
      'cmd_line', ParentCommandLine,
      'pid', ParentProcessId,
      'file', named_struct('path', ParentImage))) AS process
FROM windows
WHERE Channel = 'Microsoft-Windows-Sysmon/Operational' AND EventID = 1;

CREATE VIEW winsec_process_activity AS
SELECT
  SystemTime AS time,
  1007 AS class_uid, 1 AS category_uid, 1 AS activity_id, 100701 AS type_uid, 1 AS severity_id,
  named_struct('product', named_struct('name', 'Windows Security', 'vendor_name', 'Microsoft')) AS metadata,
  named_struct('hostname', lower(Computer)) AS device,
  named_struct('user', named_struct(
    'name', lower(SubjectUserName),
    'domain', SubjectDomainName,
    'uid', SubjectUserSid,
    'email_addr', CAST(NULL AS STRING))) AS actor,
  named_struct(
    'name', lower(regexp_replace(NewProcessName, '^.*\\', '')),
    'cmd_line', CommandLine,
    'pid', NewProcessId,
    'uid', CAST(NULL AS STRING),
    'integrity', CAST(NULL AS STRING),
    'working_directory', CAST(NULL AS STRING),
    'user', named_struct('name', lower(coalesce(nullif(TargetUserName, '-'), SubjectUserName))),
    'file', named_struct(
      'path', NewProcessName,
      'internal_name', CAST(NULL AS STRING),
      'hashes', named_struct(
        'sha256', CAST(NULL AS STRING), 'sha1', CAST(NULL AS STRING), 'md5', CAST(NULL AS STRING))),
    'parent_process', named_struct(
      'name', lower(regexp_replace(ParentProcessName, '^.*\\', '')),
      'cmd_line', CAST(NULL AS STRING),
      'pid', ProcessId,
      'file', named_struct('path', ParentProcessName))) AS process
FROM windows
WHERE Channel IN ('Security', 'security') AND EventID = 4688;

-- OCSF 1007 Process Activity: Open (3, Sysmon 10) and Inject (4, Sysmon 8). `process` is the target.
CREATE VIEW sysmon_process_access AS
SELECT
  SystemTime AS time,
  1007 AS class_uid, 1 AS category_uid,
  CASE WHEN EventID = 8 THEN 4 ELSE 3 END AS activity_id,
  CASE WHEN EventID = 8 THEN 100704 ELSE 100703 END AS type_uid,
  1 AS severity_id,
  named_struct('product', named_struct('name', 'Sysmon', 'vendor_name', 'Microsoft')) AS metadata,
  named_struct('hostname', lower(Computer)) AS device,
  named_struct(
    'user', named_struct('name', lower(regexp_replace(SourceUser, '^.*\\', ''))),
    'process', named_struct(
      'name', lower(regexp_replace(SourceImage, '^.*\\', '')),
      'pid', SourceProcessId,
      'file', named_struct('path', SourceImage))) AS actor,
  named_struct(
    'name', lower(regexp_replace(TargetImage, '^.*\\', '')),
    'pid', TargetProcessId,
    'file', named_struct('path', TargetImage)) AS process,
  lower(GrantedAccess) AS requested_permissions,
  CallTrace AS call_trace,
  StartModule AS start_module,
  StartFunction AS start_function
FROM windows
WHERE Channel = 'Microsoft-Windows-Sysmon/Operational' AND EventID IN (8, 10);

-- OCSF 1005 Module Activity: Load (1) of a library (Sysmon 7) or a driver (Sysmon 6).
CREATE VIEW sysmon_module_activity AS
SELECT
  SystemTime AS time,
  1005 AS class_uid, 1 AS category_uid, 1 AS activity_id, 100501 AS type_uid, 1 AS severity_id,
  named_struct('product', named_struct('name', 'Sysmon', 'vendor_name', 'Microsoft')) AS metadata,
  named_struct('hostname', lower(Computer)) AS device,
  named_struct(
    'user', named_struct('name', lower(regexp_replace(User, '^.*\\', ''))),
    'process', named_struct(
      'name', lower(regexp_replace(Image, '^.*\\', '')),
      'pid', ProcessId,
      'file', named_struct('path', Image))) AS actor,
  named_struct(
    'type', CASE WHEN EventID = 6 THEN 'driver' ELSE 'library' END,
    'file', named_struct(
      'name', lower(regexp_replace(ImageLoaded, '^.*\\', '')),
      'path', ImageLoaded,
      'internal_name', lower(OriginalFileName),
      'signature', named_struct('subject', Signature, 'state', SignatureStatus, 'is_signed', lower(Signed) = 'true'),
      'hashes', named_struct(
        'sha256', lower(nullif(regexp_replace(Hashes, '^.*SHA256=([0-9A-Fa-f]{64}).*$', '\1'), Hashes)),
        'sha1', lower(nullif(regexp_replace(Hashes, '^.*SHA1=([0-9A-Fa-f]{40}).*$', '\1'), Hashes)),
        'md5', lower(nullif(regexp_replace(Hashes, '^.*MD5=([0-9A-Fa-f]{32}).*$', '\1'), Hashes))))) AS module
FROM windows
WHERE Channel = 'Microsoft-Windows-Sysmon/Operational' AND EventID IN (6, 7);

-- OCSF 1001 File System Activity: Create (1) and Delete (4).
CREATE VIEW sysmon_file_activity AS
SELECT
  SystemTime AS time,
  1001 AS class_uid, 1 AS category_uid,
  CASE WHEN EventID = 11 THEN 1 ELSE 4 END AS activity_id,
  CASE WHEN EventID = 11 THEN 100101 ELSE 100104 END AS type_uid,
  1 AS severity_id,
  named_struct('product', named_struct('name', 'Sysmon', 'vendor_name', 'Microsoft')) AS metadata,
  named_struct('hostname', lower(Computer)) AS device,
  named_struct(
    'user', named_struct('name', lower(regexp_replace(User, '^.*\\', ''))),
    'process', named_struct(
      'name', lower(regexp_replace(Image, '^.*\\', '')),
      'pid', ProcessId,
      'file', named_struct('path', Image))) AS actor,
  named_struct(
    'name', lower(regexp_replace(TargetFilename, '^.*\\', '')),
    'path', TargetFilename,
    'hashes', named_struct(
      'sha256', lower(nullif(regexp_replace(Hashes, '^.*SHA256=([0-9A-Fa-f]{64}).*$', '\1'), Hashes)))) AS file
FROM windows
WHERE Channel = 'Microsoft-Windows-Sysmon/Operational' AND EventID IN (11, 23, 26);

-- OCSF 201002 Registry Value Activity (Windows extension): Set (2) from Sysmon 13, Security 4657.
CREATE VIEW sysmon_registry_value_activity AS
SELECT
  SystemTime AS time,
  201002 AS class_uid, 1 AS category_uid, 2 AS activity_id, 20100202 AS type_uid, 1 AS severity_id,
  named_struct('product', named_struct('name', 'Sysmon', 'vendor_name', 'Microsoft')) AS metadata,
  named_struct('hostname', lower(Computer)) AS device,
  named_struct(
    'user', named_struct('name', lower(regexp_replace(User, '^.*\\', ''))),
    'process', named_struct(
      'name', lower(regexp_replace(Image, '^.*\\', '')),
      'pid', ProcessId,
      'file', named_struct('path', Image))) AS actor,
  named_struct(
    'path', TargetObject,
    'name', lower(regexp_replace(TargetObject, '^.*\\', '')),
    'data', Details) AS reg_value
FROM windows
WHERE Channel = 'Microsoft-Windows-Sysmon/Operational' AND EventID = 13;

CREATE VIEW winsec_registry_value_activity AS
SELECT
  SystemTime AS time,
  201002 AS class_uid, 1 AS category_uid, 2 AS activity_id, 20100202 AS type_uid, 1 AS severity_id,
  named_struct('product', named_struct('name', 'Windows Security', 'vendor_name', 'Microsoft')) AS metadata,
  named_struct('hostname', lower(Computer)) AS device,
  named_struct(
    'user', named_struct('name', lower(SubjectUserName)),
    'process', named_struct(
      'name', lower(regexp_replace(ProcessName, '^.*\\', '')),
      'pid', ProcessId,
      'file', named_struct('path', ProcessName))) AS actor,
  named_struct(
    'path', concat(ObjectName, '\', ObjectValueName),
    'name', lower(ObjectValueName),
    'data', NewValue) AS reg_value
FROM windows
WHERE Channel IN ('Security', 'security') AND EventID = 4657;

-- OCSF 1009 Script Activity: Execute (1) from PowerShell script block logging.
CREATE VIEW powershell_script_activity AS
SELECT
  SystemTime AS time,
  1009 AS class_uid, 1 AS category_uid, 1 AS activity_id, 100901 AS type_uid, 1 AS severity_id,
  named_struct('product', named_struct('name', 'PowerShell', 'vendor_name', 'Microsoft')) AS metadata,
  named_struct('hostname', lower(Computer)) AS device,
  named_struct(
    'type', 'PowerShell',
    'uid', ScriptBlockId,
    'script_content', ScriptBlockText,
    'file', named_struct('path', nullif(Path, ''))) AS script
FROM windows
WHERE Channel = 'Microsoft-Windows-PowerShell/Operational' AND EventID = 4104;

-- OCSF 201004 Windows Service Activity (Windows extension): Create (1).
CREATE VIEW winsys_service_activity AS
SELECT
  SystemTime AS time,
  201004 AS class_uid, 1 AS category_uid, 1 AS activity_id, 20100401 AS type_uid, 1 AS severity_id,
  named_struct('product', named_struct('name', 'Service Control Manager', 'vendor_name', 'Microsoft')) AS metadata,
  named_struct('hostname', lower(Computer)) AS device,
  named_struct('user', named_struct('name', CAST(NULL AS STRING))) AS actor,
  named_struct('name', ServiceName, 'cmd_line', ImagePath, 'run_as', AccountName) AS win_service
FROM windows
WHERE Channel = 'System' AND EventID = 7045;

CREATE VIEW winsec_service_activity AS
SELECT
  SystemTime AS time,
  201004 AS class_uid, 1 AS category_uid, 1 AS activity_id, 20100401 AS type_uid, 1 AS severity_id,
  named_struct('product', named_struct('name', 'Windows Security', 'vendor_name', 'Microsoft')) AS metadata,
  named_struct('hostname', lower(Computer)) AS device,
  named_struct('user', named_struct('name', lower(SubjectUserName))) AS actor,
  named_struct('name', ServiceName, 'cmd_line', ServiceFileName, 'run_as', ServiceAccount) AS win_service
FROM windows
WHERE Channel IN ('Security', 'security') AND EventID = 4697;

-- OCSF 3002 Authentication: Logon (1). Status says whether it worked; logon types are those of Windows
-- (2 interactive, 3 network, 4 batch, 5 service, 7 unlock, 8 cleartext, 9 new credentials, 10 remote, 11 cached).
CREATE VIEW winsec_authentication AS
SELECT
  SystemTime AS time,
  3002 AS class_uid, 3 AS category_uid, 1 AS activity_id, 300201 AS type_uid, 1 AS severity_id,
  named_struct('product', named_struct('name', 'Windows Security', 'vendor_name', 'Microsoft')) AS metadata,
  CASE WHEN EventID = 4624 THEN 1 ELSE 2 END AS status_id,
  CASE WHEN EventID = 4624 THEN 'Success' ELSE 'Failure' END AS status,
  CASE WHEN EventID = 4624 THEN NULL ELSE coalesce(nullif(SubStatus, '0x0'), Status) END AS status_detail,
  named_struct('name', lower(TargetUserName), 'domain', TargetDomainName, 'uid', TargetUserSid,
    'email_addr', CAST(NULL AS STRING)) AS user,
  named_struct(
    'ip', CASE WHEN IpAddress IN ('-', '', '::1', '127.0.0.1') THEN NULL ELSE regexp_replace(IpAddress, '^::ffff:', '') END,
    'hostname', lower(nullif(WorkstationName, '-')),
    'country', CAST(NULL AS STRING)) AS src_endpoint,
  named_struct('hostname', lower(Computer)) AS dst_endpoint,
  named_struct('name', trim(LogonProcessName)) AS service,
  AuthenticationPackageName AS auth_protocol,
  CAST(LogonType AS BIGINT) AS logon_type_id,
  CAST(NULL AS BOOLEAN) AS is_mfa,
  CAST(NULL AS STRING) AS user_agent
FROM windows
WHERE Channel IN ('Security', 'security') AND EventID IN (4624, 4625);

-- OCSF 3001 Account Change, 3006 Group Management: accounts and groups of the domain or the machine.
CREATE VIEW winsec_account_change AS
SELECT
  SystemTime AS time,
  CASE WHEN EventID IN (4728, 4729, 4732, 4733, 4756, 4757) THEN 3006 ELSE 3001 END AS class_uid,
  3 AS category_uid,
  CASE EventID
    WHEN 4720 THEN 1 WHEN 4722 THEN 2 WHEN 4723 THEN 3 WHEN 4724 THEN 4 WHEN 4725 THEN 5 WHEN 4726 THEN 6
    WHEN 4740 THEN 9 WHEN 4728 THEN 3 WHEN 4732 THEN 3 WHEN 4756 THEN 3
    WHEN 4729 THEN 4 WHEN 4733 THEN 4 WHEN 4757 THEN 4 ELSE 99 END AS activity_id,
  1 AS severity_id,
  named_struct('product', named_struct('name', 'Windows Security', 'vendor_name', 'Microsoft')) AS metadata,
  CASE EventID
    WHEN 4720 THEN 'create user' WHEN 4722 THEN 'enable user' WHEN 4723 THEN 'change password'
    WHEN 4724 THEN 'reset password' WHEN 4725 THEN 'disable user' WHEN 4726 THEN 'delete user'
    WHEN 4740 THEN 'lock user' WHEN 4738 THEN 'change user' WHEN 4742 THEN 'change computer'
    WHEN 4729 THEN 'remove member' WHEN 4733 THEN 'remove member' WHEN 4757 THEN 'remove member'
    ELSE 'add member' END AS operation,
  named_struct('hostname', lower(Computer)) AS device,
  named_struct('user', named_struct('name', lower(SubjectUserName), 'domain', SubjectDomainName,
    'uid', SubjectUserSid)) AS actor,
  -- In group events the target is the group and the member is the account.
  named_struct(
    'name', CASE WHEN EventID IN (4728, 4729, 4732, 4733, 4756, 4757) THEN lower(nullif(MemberName, '-'))
                 ELSE lower(TargetUserName) END,
    'uid', CASE WHEN EventID IN (4728, 4729, 4732, 4733, 4756, 4757) THEN MemberSid ELSE TargetSid END) AS user,
  named_struct(
    'name', CASE WHEN EventID IN (4728, 4729, 4732, 4733, 4756, 4757) THEN TargetUserName END,
    'uid', CASE WHEN EventID IN (4728, 4729, 4732, 4733, 4756, 4757) THEN TargetSid END) AS "group"
FROM windows
WHERE Channel IN ('Security', 'security')
  AND EventID IN (4720, 4722, 4723, 4724, 4725, 4726, 4728, 4729, 4732, 4733, 4738, 4740, 4742, 4756, 4757);

-- OCSF 4001 Network Activity: Open (1) from Sysmon 3 and the Windows Filtering Platform (5156).
CREATE VIEW sysmon_network_activity AS
SELECT
  SystemTime AS time,
  4001 AS class_uid, 4 AS category_uid, 1 AS activity_id, 400101 AS type_uid, 1 AS severity_id,
  named_struct('product', named_struct('name', 'Sysmon', 'vendor_name', 'Microsoft')) AS metadata,
  named_struct('hostname', lower(Computer)) AS device,
  named_struct(
    'user', named_struct('name', lower(regexp_replace(User, '^.*\\', ''))),
    'process', named_struct('name', lower(regexp_replace(Image, '^.*\\', '')), 'file', named_struct('path', Image))
  ) AS actor,
  named_struct('ip', SourceIp, 'port', CAST(SourcePort AS BIGINT), 'hostname', nullif(SourceHostname, '-')) AS src_endpoint,
  named_struct('ip', DestinationIp, 'port', CAST(DestinationPort AS BIGINT), 'hostname', nullif(DestinationHostname, '-')) AS dst_endpoint,
  named_struct('protocol_name', lower(Protocol),
    'direction', CAST(CASE WHEN lower(Initiated) = 'true' THEN 'Outbound' ELSE 'Inbound' END AS STRING)) AS connection_info,
  named_struct('bytes_out', CAST(NULL AS BIGINT), 'bytes_in', CAST(NULL AS BIGINT)) AS traffic,
  'Allowed' AS disposition,
  CAST(NULL AS STRING) AS app_name
FROM windows
WHERE Channel = 'Microsoft-Windows-Sysmon/Operational' AND EventID = 3;

CREATE VIEW winsec_network_activity AS
SELECT
  SystemTime AS time,
  4001 AS class_uid, 4 AS category_uid,
  CASE WHEN EventID = 5156 THEN 1 ELSE 5 END AS activity_id,
  CASE WHEN EventID = 5156 THEN 400101 ELSE 400105 END AS type_uid,
  1 AS severity_id,
  named_struct('product', named_struct('name', 'Windows Security', 'vendor_name', 'Microsoft')) AS metadata,
  named_struct('hostname', lower(Computer)) AS device,
  named_struct(
    'user', named_struct('name', CAST(NULL AS STRING)),
    'process', named_struct('name', lower(regexp_replace(Application, '^.*\\', '')), 'file', named_struct('path', Application))
  ) AS actor,
  -- %%14592 is inbound, %%14593 is outbound; the source is always the one who opened the connection.
  named_struct(
    'ip', SourceAddress, 'port', CAST(SourcePort AS BIGINT), 'hostname', CAST(NULL AS STRING)) AS src_endpoint,
  named_struct(
    'ip', DestAddress, 'port', CAST(DestPort AS BIGINT), 'hostname', CAST(NULL AS STRING)) AS dst_endpoint,
  named_struct(
    'protocol_name', CASE Protocol WHEN '6' THEN 'tcp' WHEN '17' THEN 'udp' WHEN '1' THEN 'icmp' ELSE Protocol END,
    'direction', CAST(CASE WHEN Direction = '%%14592' THEN 'Inbound' ELSE 'Outbound' END AS STRING)) AS connection_info,
  named_struct('bytes_out', CAST(NULL AS BIGINT), 'bytes_in', CAST(NULL AS BIGINT)) AS traffic,
  CASE WHEN EventID = 5156 THEN 'Allowed' ELSE 'Blocked' END AS disposition,
  CAST(NULL AS STRING) AS app_name
FROM windows
WHERE Channel IN ('Security', 'security') AND EventID IN (5156, 5157);

-- OCSF 4003 DNS Activity: Query (1) as the endpoint asked it, with the process that asked.
CREATE VIEW sysmon_dns_activity AS
SELECT
  SystemTime AS time,
  4003 AS class_uid, 4 AS category_uid, 1 AS activity_id, 400301 AS type_uid, 1 AS severity_id,
  named_struct('product', named_struct('name', 'Sysmon', 'vendor_name', 'Microsoft')) AS metadata,
  named_struct('hostname', lower(Computer)) AS device,
  named_struct('process', named_struct('name', lower(regexp_replace(Image, '^.*\\', '')))) AS actor,
  named_struct('ip', CAST(NULL AS STRING)) AS src_endpoint,
  named_struct('hostname', lower(QueryName), 'type', CAST(NULL AS STRING)) AS query,
  QueryResults AS answers,
  CASE WHEN QueryStatus = '0' THEN 'NOERROR' WHEN QueryStatus = '9003' THEN 'NXDOMAIN' ELSE QueryStatus END AS rcode
FROM windows
WHERE Channel = 'Microsoft-Windows-Sysmon/Operational' AND EventID = 22;
