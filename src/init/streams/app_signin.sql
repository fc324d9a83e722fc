-- Sign-ins of an application: one JSON object per record.
--
-- Declared columns are typed; further fields of the JSON are kept in `unmapped`. `event_time` names the column that says
-- when it happened, `lateness` how long stragglers are waited for.
CREATE STREAM app_signin (
  ts        TIMESTAMP,
  account   STRING,
  address   STRING,
  outcome   STRING,
  country   STRING
) WITH (topic = 'logs.app.signin', format = 'json', event_time = 'ts', lateness = '30 seconds');

-- Detections read this view, so that the next source of sign-ins is one more UNION ALL here and nothing elsewhere.
CREATE VIEW signin AS
SELECT ts AS time,
       account AS user_name,
       address AS src_ip,
       country,
       CASE WHEN outcome = 'ok' THEN 'Success' ELSE 'Failure' END AS status
FROM app_signin;

-- Addresses that are known bad. The file is read again when it changes.
CREATE TABLE bad_addresses (
  ip      STRING,
  reason  STRING
) WITH (location = 'tables/bad_addresses.csv', format = 'csv', refresh = '1 minute');
