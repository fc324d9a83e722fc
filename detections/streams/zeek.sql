-- Zeek's logs in one stream, JSON. The log's name is in `_path` (json-streaming-logs, Corelight) or `@stream`
-- (shippers that rename), and the connection's tuple in "id.orig_h" or id_orig_h; the views take either.

CREATE STREAM zeek (
  ts TIMESTAMP,
  _path STRING,
  "@stream" STRING,
  _system_name STRING,
  "@system" STRING,
  uid STRING,
  "id.orig_h" STRING,
  "id.orig_p" INT,
  "id.resp_h" STRING,
  "id.resp_p" INT,
  id_orig_h STRING,
  id_orig_p INT,
  id_resp_h STRING,
  id_resp_p INT,
  proto STRING,
  service STRING,
  duration DOUBLE,
  orig_bytes BIGINT,
  resp_bytes BIGINT,
  conn_state STRING,
  history STRING,
  -- dns
  query STRING,
  qtype_name STRING,
  rcode_name STRING,
  answers ARRAY<STRING>,
  -- http
  method STRING,
  host STRING,
  uri STRING,
  referrer STRING,
  user_agent STRING,
  status_code INT,
  request_body_len BIGINT,
  response_body_len BIGINT,
  username STRING,
  resp_mime_types ARRAY<STRING>,
  -- ssl
  version STRING,
  server_name STRING,
  subject STRING,
  issuer STRING,
  validation_status STRING,
  established BOOLEAN,
  ja3 STRING,
  ja3s STRING,
  -- smb_files, smb_mapping, dce_rpc
  action STRING,
  path STRING,
  name STRING,
  share_type STRING,
  endpoint STRING,
  operation STRING,
  named_pipe STRING,
  -- kerberos
  request_type STRING,
  client STRING,
  success BOOLEAN,
  error_msg STRING,
  cipher STRING,
  -- files
  fuid STRING,
  source STRING,
  mime_type STRING,
  filename STRING,
  md5 STRING,
  sha1 STRING,
  sha256 STRING,
  tx_hosts ARRAY<STRING>,
  rx_hosts ARRAY<STRING>,
  -- notice
  note STRING,
  msg STRING,
  sub STRING,
  src STRING,
  dst STRING
) WITH (
  topic = 'logs.network.zeek',
  format = 'json',
  event_time = 'ts',
  time_zone = 'UTC',
  lateness = '10 minutes'
);

-- OCSF 4001 Network Activity: Traffic (6). States that never got an answer count as refused.
CREATE VIEW zeek_network_activity AS
SELECT
  ts AS time,
  4001 AS class_uid, 4 AS category_uid,
  CASE WHEN conn_state IN ('S0', 'REJ', 'RSTOS0', 'RSTRH', 'SH', 'SHR') THEN 5 ELSE 6 END AS activity_id,
  CASE WHEN conn_state IN ('S0', 'REJ', 'RSTOS0', 'RSTRH', 'SH', 'SHR') THEN 400105 ELSE 400106 END AS type_uid,
  1 AS severity_id,
  named_struct('product', named_struct('name', 'Zeek', 'vendor_name', 'Zeek')) AS metadata,
  named_struct('hostname', lower(coalesce(_system_name, "@system"))) AS device,
  named_struct(
    'user', named_struct('name', CAST(NULL AS STRING)),
    'process', named_struct('name', CAST(NULL AS STRING), 'file', named_struct('path', CAST(NULL AS STRING)))) AS actor,
  named_struct('ip', coalesce("id.orig_h", id_orig_h), 'port', CAST(coalesce("id.orig_p", id_orig_p) AS BIGINT),
    'hostname', CAST(NULL AS STRING)) AS src_endpoint,
  named_struct('ip', coalesce("id.resp_h", id_resp_h), 'port', CAST(coalesce("id.resp_p", id_resp_p) AS BIGINT),
    'hostname', CAST(NULL AS STRING)) AS dst_endpoint,
  named_struct('protocol_name', proto, 'direction', CAST(NULL AS STRING)) AS connection_info,
  named_struct('bytes_out', orig_bytes, 'bytes_in', resp_bytes) AS traffic,
  CASE WHEN conn_state IN ('S0', 'REJ', 'RSTOS0', 'RSTRH', 'SH', 'SHR') THEN 'Blocked' ELSE 'Allowed' END AS disposition,
  service AS app_name
FROM zeek
WHERE coalesce(_path, "@stream") = 'conn';

-- OCSF 4002 HTTP Activity.
CREATE VIEW zeek_http_activity AS
SELECT
  ts AS time,
  4002 AS class_uid, 4 AS category_uid, 99 AS activity_id, 400299 AS type_uid, 1 AS severity_id,
  named_struct('product', named_struct('name', 'Zeek', 'vendor_name', 'Zeek')) AS metadata,
  named_struct('user', named_struct('name', lower(username), 'email_addr', CAST(NULL AS STRING))) AS actor,
  named_struct('ip', coalesce("id.orig_h", id_orig_h), 'hostname', CAST(NULL AS STRING)) AS src_endpoint,
  named_struct('ip', coalesce("id.resp_h", id_resp_h), 'hostname', lower(host)) AS dst_endpoint,
  named_struct(
    'http_method', method,
    'user_agent', user_agent,
    'referrer', referrer,
    'url', named_struct('url_string', concat('http://', host, uri), 'hostname', lower(host), 'path', uri,
      'category', CAST(NULL AS STRING))) AS http_request,
  named_struct('code', CAST(status_code AS BIGINT), 'length', response_body_len) AS http_response,
  named_struct('bytes_out', request_body_len, 'bytes_in', response_body_len) AS traffic,
  'Allowed' AS disposition
FROM zeek
WHERE coalesce(_path, "@stream") = 'http';

-- OCSF 4003 DNS Activity: Query (1), with what was answered.
CREATE VIEW zeek_dns_activity AS
SELECT
  ts AS time,
  4003 AS class_uid, 4 AS category_uid, 1 AS activity_id, 400301 AS type_uid, 1 AS severity_id,
  named_struct('product', named_struct('name', 'Zeek', 'vendor_name', 'Zeek')) AS metadata,
  named_struct('hostname', lower(coalesce(_system_name, "@system"))) AS device,
  named_struct('process', named_struct('name', CAST(NULL AS STRING))) AS actor,
  named_struct('ip', coalesce("id.orig_h", id_orig_h)) AS src_endpoint,
  named_struct('hostname', lower(query), 'type', qtype_name) AS query,
  CAST(array_to_string(answers, ';') AS STRING) AS answers,
  rcode_name AS rcode
FROM zeek
WHERE coalesce(_path, "@stream") = 'dns';

-- OCSF 2004 Detection Finding: Zeek's own notices.
CREATE VIEW zeek_detection_finding AS
SELECT
  ts AS time,
  2004 AS class_uid, 2 AS category_uid, 1 AS activity_id, 200401 AS type_uid,
  3 AS severity_id,
  named_struct('product', named_struct('name', 'Zeek', 'vendor_name', 'Zeek')) AS metadata,
  named_struct('title', note, 'uid', note, 'category', msg) AS finding_info,
  named_struct('hostname', CAST(NULL AS STRING)) AS device,
  named_struct('user', named_struct('name', CAST(NULL AS STRING))) AS actor,
  named_struct('ip', coalesce(src, "id.orig_h", id_orig_h)) AS src_endpoint,
  named_struct('ip', coalesce(dst, "id.resp_h", id_resp_h)) AS dst_endpoint,
  'Allowed' AS disposition
FROM zeek
WHERE coalesce(_path, "@stream") = 'notice';
