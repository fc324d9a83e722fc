-- Cisco IOS syslog, parsed by the collector into the fields of RFC 5424 and written as JSON (Vector's `syslog` source).
-- What happened is in the text of `message`; the views take it apart.

CREATE STREAM router (
  timestamp TIMESTAMP,
  hostname STRING,
  source_ip STRING,
  appname STRING,
  facility STRING,
  severity STRING,
  message STRING
) WITH (
  topic = 'logs.network.router',
  format = 'json',
  event_time = 'timestamp',
  time_zone = 'UTC',
  lateness = '1 minute'
);

-- OCSF 3002 Authentication: Logon (1) at the device, from %SEC_LOGIN-5-LOGIN_SUCCESS and %SEC_LOGIN-4-LOGIN_FAILED.
CREATE VIEW router_authentication AS
SELECT
  timestamp AS time,
  3002 AS class_uid, 3 AS category_uid, 1 AS activity_id, 300201 AS type_uid, 1 AS severity_id,
  named_struct('product', named_struct('name', 'IOS', 'vendor_name', 'Cisco')) AS metadata,
  CASE WHEN message LIKE '%LOGIN_SUCCESS%' THEN 1 ELSE 2 END AS status_id,
  CASE WHEN message LIKE '%LOGIN_SUCCESS%' THEN 'Success' ELSE 'Failure' END AS status,
  nullif(regexp_replace(message, '^.*\[Reason: ([^\]]*)\].*$', '\1'), message) AS status_detail,
  named_struct(
    'name', lower(nullif(nullif(regexp_replace(message, '^.*\[user: ([^\]]*)\].*$', '\1'), message), '')),
    'domain', CAST(NULL AS STRING), 'uid', CAST(NULL AS STRING), 'email_addr', CAST(NULL AS STRING)) AS user,
  named_struct(
    'ip', nullif(regexp_replace(message, '^.*\[Source: ([^\]]*)\].*$', '\1'), message),
    'hostname', CAST(NULL AS STRING), 'country', CAST(NULL AS STRING)) AS src_endpoint,
  named_struct('hostname', lower(hostname)) AS dst_endpoint,
  named_struct('name', CAST('ios' AS STRING)) AS service,
  nullif(regexp_replace(message, '^.*\[localport: ([^\]]*)\].*$', '\1'), message) AS auth_protocol,
  CAST(10 AS BIGINT) AS logon_type_id,
  CAST(NULL AS BOOLEAN) AS is_mfa,
  CAST(NULL AS STRING) AS user_agent
FROM router
WHERE message LIKE '%SEC_LOGIN-%';

-- OCSF 6003 API Activity: a change of the configuration, from %SYS-5-CONFIG_I and %PARSER-5-CFGLOG_LOGGEDCMD.
CREATE VIEW router_api_activity AS
SELECT
  timestamp AS time,
  6003 AS class_uid, 6 AS category_uid, 3 AS activity_id, 600303 AS type_uid, 1 AS severity_id,
  named_struct('product', named_struct('name', 'IOS', 'vendor_name', 'Cisco')) AS metadata,
  named_struct('user', named_struct(
    'name', lower(CASE WHEN message LIKE '%CFGLOG_LOGGEDCMD%'
      THEN nullif(regexp_replace(message, '^.*User:([^ ]*) .*$', '\1'), message)
      ELSE nullif(regexp_replace(message, '^.* by ([^ ]+) on .*$', '\1'), message) END),
    'uid', CAST(NULL AS STRING), 'type', CAST(NULL AS STRING), 'email_addr', CAST(NULL AS STRING)),
    'session', named_struct('is_mfa', CAST(NULL AS BOOLEAN))) AS actor,
  named_struct(
    'operation', coalesce(nullif(regexp_replace(message, '^.*logged command:(.*)$', '\1'), message), 'configure'),
    'service', named_struct('name', CAST('ios' AS STRING)),
    'response', named_struct('error', CAST(NULL AS STRING), 'message', message)) AS api,
  named_struct('ip', nullif(regexp_replace(message, '^.*\(([0-9A-Fa-f.:]+)\).*$', '\1'), message)) AS src_endpoint,
  named_struct('user_agent', CAST(NULL AS STRING)) AS http_request,
  named_struct('provider', CAST('Cisco' AS STRING), 'region', CAST(NULL AS STRING),
    'account', named_struct('uid', CAST(NULL AS STRING))) AS cloud,
  named_struct('name', lower(hostname), 'uid', CAST(NULL AS STRING), 'type', CAST('router' AS STRING)) AS resource,
  'Success' AS status
FROM router
WHERE message LIKE '%SYS-5-CONFIG_I%' OR message LIKE '%CFGLOG_LOGGEDCMD%';
