-- Zscaler Internet Access web logs from the Nanolog Streaming Service, JSON feed, with its field names.

CREATE STREAM proxy (
  datetime TIMESTAMP,
  action STRING,
  reason STRING,
  protocol STRING,
  requestmethod STRING,
  url STRING,
  hostname STRING,
  refererURL STRING,
  useragent STRING,
  status INT,
  user STRING,
  department STRING,
  location STRING,
  ClientIP STRING,
  clientpublicIP STRING,
  serverip STRING,
  requestsize BIGINT,
  responsesize BIGINT,
  contenttype STRING,
  filetype STRING,
  filename STRING,
  urlcategory STRING,
  urlsupercategory STRING,
  urlclass STRING,
  threatname STRING,
  threatclass STRING,
  pagerisk INT,
  appname STRING,
  appclass STRING,
  deviceowner STRING,
  devicehostname STRING
) WITH (
  topic = 'logs.network.proxy',
  format = 'json',
  event_time = 'datetime',
  time_zone = 'UTC',
  lateness = '1 minute'
);

-- OCSF 4002 HTTP Activity.
CREATE VIEW proxy_http_activity AS
SELECT
  datetime AS time,
  4002 AS class_uid, 4 AS category_uid, 99 AS activity_id, 400299 AS type_uid, 1 AS severity_id,
  named_struct('product', named_struct('name', 'Internet Access', 'vendor_name', 'Zscaler')) AS metadata,
  named_struct('user', named_struct(
    'name', lower(p."user"),
    'email_addr', CASE WHEN p."user" LIKE '%@%' THEN lower(p."user") END)) AS actor,
  named_struct('ip', ClientIP, 'hostname', lower(devicehostname)) AS src_endpoint,
  named_struct('ip', serverip, 'hostname', lower(hostname)) AS dst_endpoint,
  named_struct(
    'http_method', requestmethod,
    'user_agent', useragent,
    'referrer', refererURL,
    'url', named_struct('url_string', url, 'hostname', lower(hostname),
      'path', nullif(regexp_replace(url, '^(?:[a-zA-Z]+://)?[^/]+', ''), ''), 'category', urlcategory)) AS http_request,
  named_struct('code', CAST(status AS BIGINT), 'length', responsesize) AS http_response,
  named_struct('bytes_out', requestsize, 'bytes_in', responsesize) AS traffic,
  CASE WHEN lower(action) LIKE 'block%' THEN 'Blocked' ELSE 'Allowed' END AS disposition
FROM proxy p;
