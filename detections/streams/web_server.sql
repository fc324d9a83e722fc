-- nginx access logs written as JSON with nginx's own variable names:
--   log_format json escape=json '{"time_iso8601":"$time_iso8601","remote_addr":"$remote_addr", ...}';

CREATE STREAM web_server (
  time_iso8601 TIMESTAMP,
  hostname STRING,
  server_name STRING,
  remote_addr STRING,
  http_x_forwarded_for STRING,
  remote_user STRING,
  request_method STRING,
  scheme STRING,
  host STRING,
  request_uri STRING,
  server_protocol STRING,
  status INT,
  body_bytes_sent BIGINT,
  request_length BIGINT,
  request_time DOUBLE,
  http_referer STRING,
  http_user_agent STRING,
  request_body STRING
) WITH (
  topic = 'logs.web.access',
  format = 'json',
  event_time = 'time_iso8601',
  time_zone = 'UTC',
  lateness = '30 seconds'
);

-- OCSF 4002 HTTP Activity. The source is the client that the nearest proxy names, where there is one.
CREATE VIEW web_http_activity AS
SELECT
  time_iso8601 AS time,
  4002 AS class_uid, 4 AS category_uid, 99 AS activity_id, 400299 AS type_uid, 1 AS severity_id,
  named_struct('product', named_struct('name', 'nginx', 'vendor_name', 'F5')) AS metadata,
  named_struct('user', named_struct('name', lower(nullif(nullif(remote_user, ''), '-')),
    'email_addr', CAST(NULL AS STRING))) AS actor,
  named_struct(
    'ip', coalesce(nullif(trim(regexp_replace(http_x_forwarded_for, '^.*,', '')), ''), remote_addr),
    'hostname', CAST(NULL AS STRING)) AS src_endpoint,
  named_struct('ip', CAST(NULL AS STRING), 'hostname', lower(coalesce(hostname, server_name))) AS dst_endpoint,
  named_struct(
    'http_method', request_method,
    'user_agent', http_user_agent,
    'referrer', http_referer,
    'url', named_struct('url_string', concat(coalesce(scheme, 'http'), '://', host, request_uri),
      'hostname', lower(host), 'path', request_uri, 'category', CAST(NULL AS STRING))) AS http_request,
  named_struct('code', CAST(status AS BIGINT), 'length', body_bytes_sent) AS http_response,
  named_struct('bytes_out', body_bytes_sent, 'bytes_in', request_length) AS traffic,
  'Allowed' AS disposition
FROM web_server;
