-- Suricata EVE JSON: alerts and protocol records of one sensor share the file; `event_type` says which is which.

CREATE STREAM ids (
  timestamp TIMESTAMP,
  event_type STRING,
  flow_id BIGINT,
  in_iface STRING,
  host STRING,
  src_ip STRING,
  src_port INT,
  dest_ip STRING,
  dest_port INT,
  proto STRING,
  app_proto STRING,
  alert STRUCT<action STRING, gid BIGINT, signature_id BIGINT, rev BIGINT, signature STRING, category STRING, severity INT>,
  http STRUCT<hostname STRING, url STRING, http_user_agent STRING, http_method STRING, http_refer STRING, status INT, length BIGINT>,
  dns STRUCT<type STRING, rrname STRING, rrtype STRING, rcode STRING>,
  tls STRUCT<sni STRING, subject STRING, issuerdn STRING, version STRING, fingerprint STRING>,
  flow STRUCT<pkts_toserver BIGINT, pkts_toclient BIGINT, bytes_toserver BIGINT, bytes_toclient BIGINT, state STRING>
) WITH (
  topic = 'logs.network.suricata',
  format = 'json',
  event_time = 'timestamp',
  time_zone = 'UTC',
  lateness = '1 minute'
);

-- OCSF 4001 Network Activity: Traffic (6) from flow records.
CREATE VIEW ids_network_activity AS
SELECT
  timestamp AS time,
  4001 AS class_uid, 4 AS category_uid, 6 AS activity_id, 400106 AS type_uid, 1 AS severity_id,
  named_struct('product', named_struct('name', 'Suricata', 'vendor_name', 'OISF')) AS metadata,
  named_struct('hostname', lower(host)) AS device,
  named_struct(
    'user', named_struct('name', CAST(NULL AS STRING)),
    'process', named_struct('name', CAST(NULL AS STRING), 'file', named_struct('path', CAST(NULL AS STRING)))) AS actor,
  named_struct('ip', src_ip, 'port', CAST(src_port AS BIGINT), 'hostname', CAST(NULL AS STRING)) AS src_endpoint,
  named_struct('ip', dest_ip, 'port', CAST(dest_port AS BIGINT), 'hostname', CAST(NULL AS STRING)) AS dst_endpoint,
  named_struct('protocol_name', lower(proto), 'direction', CAST(NULL AS STRING)) AS connection_info,
  named_struct('bytes_out', flow.bytes_toserver, 'bytes_in', flow.bytes_toclient) AS traffic,
  'Allowed' AS disposition,
  app_proto AS app_name
FROM ids
WHERE event_type = 'flow';

-- OCSF 4002 HTTP Activity.
CREATE VIEW ids_http_activity AS
SELECT
  timestamp AS time,
  4002 AS class_uid, 4 AS category_uid, 99 AS activity_id, 400299 AS type_uid, 1 AS severity_id,
  named_struct('product', named_struct('name', 'Suricata', 'vendor_name', 'OISF')) AS metadata,
  named_struct('user', named_struct('name', CAST(NULL AS STRING), 'email_addr', CAST(NULL AS STRING))) AS actor,
  named_struct('ip', src_ip, 'hostname', CAST(NULL AS STRING)) AS src_endpoint,
  named_struct('ip', dest_ip, 'hostname', lower(http.hostname)) AS dst_endpoint,
  named_struct(
    'http_method', http.http_method,
    'user_agent', http.http_user_agent,
    'referrer', http.http_refer,
    'url', named_struct('url_string', concat('http://', http.hostname, http.url), 'hostname', lower(http.hostname),
      'path', http.url, 'category', CAST(NULL AS STRING))) AS http_request,
  named_struct('code', CAST(http.status AS BIGINT), 'length', http.length) AS http_response,
  named_struct('bytes_out', CAST(NULL AS BIGINT), 'bytes_in', http.length) AS traffic,
  'Allowed' AS disposition
FROM ids
WHERE event_type = 'http';

-- OCSF 4003 DNS Activity: Query (1), seen on the wire.
CREATE VIEW ids_dns_activity AS
SELECT
  timestamp AS time,
  4003 AS class_uid, 4 AS category_uid, 1 AS activity_id, 400301 AS type_uid, 1 AS severity_id,
  named_struct('product', named_struct('name', 'Suricata', 'vendor_name', 'OISF')) AS metadata,
  named_struct('hostname', lower(host)) AS device,
  named_struct('process', named_struct('name', CAST(NULL AS STRING))) AS actor,
  named_struct('ip', src_ip) AS src_endpoint,
  named_struct('hostname', lower(dns.rrname), 'type', dns.rrtype) AS query,
  CAST(NULL AS STRING) AS answers,
  dns.rcode AS rcode
FROM ids
WHERE event_type = 'dns' AND dns.type IN ('query', 'request');

-- OCSF 2004 Detection Finding: what the sensor's own signatures say. Severity 1 of Suricata is its highest.
CREATE VIEW ids_detection_finding AS
SELECT
  timestamp AS time,
  2004 AS class_uid, 2 AS category_uid, 1 AS activity_id, 200401 AS type_uid,
  CASE alert.severity WHEN 1 THEN 4 WHEN 2 THEN 3 WHEN 3 THEN 2 ELSE 1 END AS severity_id,
  named_struct('product', named_struct('name', 'Suricata', 'vendor_name', 'OISF')) AS metadata,
  named_struct('title', alert.signature, 'uid', CAST(alert.signature_id AS STRING), 'category', alert.category) AS finding_info,
  named_struct('hostname', CAST(NULL AS STRING)) AS device,
  named_struct('user', named_struct('name', CAST(NULL AS STRING))) AS actor,
  named_struct('ip', src_ip) AS src_endpoint,
  named_struct('ip', dest_ip) AS dst_endpoint,
  CASE WHEN alert.action = 'blocked' THEN 'Blocked' ELSE 'Allowed' END AS disposition
FROM ids
WHERE event_type = 'alert';
