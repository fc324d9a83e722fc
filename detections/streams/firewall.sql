-- FortiGate traffic logs with the field names of FortiOS, as JSON. `eventtime` is the epoch in nanoseconds.

CREATE STREAM firewall (
  eventtime TIMESTAMP,
  devname STRING,
  devid STRING,
  logid STRING,
  type STRING,
  subtype STRING,
  level STRING,
  action STRING,
  policyid INT,
  policyname STRING,
  srcip STRING,
  srcport INT,
  srcname STRING,
  srcintf STRING,
  srccountry STRING,
  dstip STRING,
  dstport INT,
  dstname STRING,
  dstintf STRING,
  dstcountry STRING,
  proto INT,
  service STRING,
  app STRING,
  user STRING,
  sentbyte BIGINT,
  rcvdbyte BIGINT,
  duration BIGINT,
  sessionid STRING
) WITH (
  topic = 'logs.network.firewall',
  format = 'json',
  event_time = 'eventtime',
  time_zone = 'UTC',
  lateness = '30 seconds'
);

-- OCSF 4001 Network Activity: Traffic (6) where the firewall let it pass, Refuse (5) where it did not.
CREATE VIEW firewall_network_activity AS
SELECT
  eventtime AS time,
  4001 AS class_uid, 4 AS category_uid,
  CASE WHEN action IN ('deny', 'ip-conn', 'dns', 'blocked') THEN 5 ELSE 6 END AS activity_id,
  CASE WHEN action IN ('deny', 'ip-conn', 'dns', 'blocked') THEN 400105 ELSE 400106 END AS type_uid,
  1 AS severity_id,
  named_struct('product', named_struct('name', 'FortiGate', 'vendor_name', 'Fortinet')) AS metadata,
  named_struct('hostname', lower(devname)) AS device,
  named_struct(
    'user', named_struct('name', lower(f."user")),
    'process', named_struct('name', CAST(NULL AS STRING), 'file', named_struct('path', CAST(NULL AS STRING)))) AS actor,
  named_struct('ip', srcip, 'port', CAST(srcport AS BIGINT), 'hostname', lower(srcname)) AS src_endpoint,
  named_struct('ip', dstip, 'port', CAST(dstport AS BIGINT), 'hostname', lower(dstname)) AS dst_endpoint,
  named_struct(
    'protocol_name', CASE proto WHEN 6 THEN 'tcp' WHEN 17 THEN 'udp' WHEN 1 THEN 'icmp' ELSE CAST(proto AS STRING) END,
    'direction', CAST(NULL AS STRING)) AS connection_info,
  named_struct('bytes_out', sentbyte, 'bytes_in', rcvdbyte) AS traffic,
  CASE WHEN action IN ('deny', 'ip-conn', 'dns', 'blocked') THEN 'Blocked' ELSE 'Allowed' END AS disposition,
  coalesce(app, service) AS app_name
FROM firewall f
WHERE type = 'traffic';
