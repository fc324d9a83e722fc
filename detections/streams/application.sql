-- Business applications that log JSON with the Elastic Common Schema (the ecs-logging libraries): field names are
-- dotted keys of a flat object, so they are quoted here. `event.action` names what happened.

CREATE STREAM application (
  "@timestamp" TIMESTAMP,
  "log.level" STRING,
  message STRING,
  "service.name" STRING,
  "service.environment" STRING,
  "host.hostname" STRING,
  "event.action" STRING,
  "event.outcome" STRING,
  "event.reason" STRING,
  "user.name" STRING,
  "user.email" STRING,
  "user.id" STRING,
  "user.roles" STRING,
  "source.ip" STRING,
  "source.geo.country_iso_code" STRING,
  "user_agent.original" STRING,
  "url.path" STRING,
  "error.type" STRING,
  "error.message" STRING,
  "trace.id" STRING,
  "labels.object" STRING,
  "labels.rows" BIGINT,
  "labels.mfa" BOOLEAN
) WITH (
  topic = 'logs.application',
  format = 'json',
  event_time = '@timestamp',
  time_zone = 'UTC',
  lateness = '30 seconds'
);

-- OCSF 3002 Authentication: Logon (1) at an application.
CREATE VIEW application_authentication AS
SELECT
  "@timestamp" AS time,
  3002 AS class_uid, 3 AS category_uid, 1 AS activity_id, 300201 AS type_uid, 1 AS severity_id,
  named_struct('product', named_struct('name', 'application', 'vendor_name', 'Elastic Common Schema')) AS metadata,
  CASE WHEN "event.outcome" = 'success' THEN 1 ELSE 2 END AS status_id,
  CASE WHEN "event.outcome" = 'success' THEN 'Success' ELSE 'Failure' END AS status,
  "event.reason" AS status_detail,
  named_struct('name', lower(coalesce("user.name", "user.email")), 'domain', CAST(NULL AS STRING), 'uid', "user.id",
    'email_addr', lower("user.email")) AS user,
  named_struct('ip', "source.ip", 'hostname', CAST(NULL AS STRING), 'country', "source.geo.country_iso_code") AS src_endpoint,
  named_struct('hostname', lower("host.hostname")) AS dst_endpoint,
  named_struct('name', "service.name") AS service,
  CAST(NULL AS STRING) AS auth_protocol,
  CAST(NULL AS BIGINT) AS logon_type_id,
  "labels.mfa" AS is_mfa,
  "user_agent.original" AS user_agent
FROM application
WHERE "event.action" IN ('login', 'user-login', 'authentication');

-- OCSF 6003 API Activity: what users do in an application.
CREATE VIEW application_api_activity AS
SELECT
  "@timestamp" AS time,
  6003 AS class_uid, 6 AS category_uid, 99 AS activity_id, 600399 AS type_uid, 1 AS severity_id,
  named_struct('product', named_struct('name', 'application', 'vendor_name', 'Elastic Common Schema')) AS metadata,
  named_struct(
    'user', named_struct('name', lower(coalesce("user.name", "user.email")), 'uid', "user.id", 'type', "user.roles",
      'email_addr', lower("user.email")),
    'session', named_struct('is_mfa', "labels.mfa")) AS actor,
  named_struct('operation', "event.action", 'service', named_struct('name', "service.name"),
    'response', named_struct('error', "error.type", 'message', "error.message")) AS api,
  named_struct('ip', "source.ip") AS src_endpoint,
  named_struct('user_agent', "user_agent.original") AS http_request,
  named_struct('provider', CAST(NULL AS STRING), 'region', CAST(NULL AS STRING),
    'account', named_struct('uid', CAST(NULL AS STRING))) AS cloud,
  named_struct('name', "labels.object", 'uid', "url.path", 'type', CAST(NULL AS STRING)) AS resource,
  CASE WHEN "event.outcome" = 'failure' THEN 'Failure' ELSE 'Success' END AS status
FROM application
WHERE "event.action" IS NOT NULL AND "event.action" NOT IN ('login', 'user-login', 'authentication');
