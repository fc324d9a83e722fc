-- Resolver queries and answers collected over dnstap (BIND, Unbound, PowerDNS, CoreDNS) by DNS-collector in its flat
-- JSON form: dotted keys, so quoted here.

CREATE STREAM dns (
  "dnstap.timestamp-rfc3339ns" TIMESTAMP,
  "dnstap.identity" STRING,
  "dnstap.operation" STRING,
  "network.query-ip" STRING,
  "network.query-port" STRING,
  "network.response-ip" STRING,
  "network.protocol" STRING,
  "dns.qname" STRING,
  "dns.qtype" STRING,
  "dns.rcode" STRING,
  "dns.length" INT,
  "dns.resource-records.an.0.rdata" STRING,
  "dns.resource-records.an.0.rdatatype" STRING,
  "dns.resource-records.an.0.ttl" INT
) WITH (
  topic = 'logs.network.dns',
  format = 'json',
  event_time = 'dnstap.timestamp-rfc3339ns',
  time_zone = 'UTC',
  lateness = '30 seconds'
);

-- OCSF 4003 DNS Activity: Query (1), with what was answered.
CREATE VIEW resolver_dns_activity AS
SELECT
  "dnstap.timestamp-rfc3339ns" AS time,
  4003 AS class_uid, 4 AS category_uid, 1 AS activity_id, 400301 AS type_uid, 1 AS severity_id,
  named_struct('product', named_struct('name', 'dnstap', 'vendor_name', 'DNS-collector')) AS metadata,
  named_struct('hostname', lower("dnstap.identity")) AS device,
  named_struct('process', named_struct('name', CAST(NULL AS STRING))) AS actor,
  named_struct('ip', "network.query-ip") AS src_endpoint,
  named_struct('hostname', lower(trim(TRAILING '.' FROM "dns.qname")), 'type', "dns.qtype") AS query,
  nullif("dns.resource-records.an.0.rdata", '-') AS answers,
  "dns.rcode" AS rcode
FROM dns
WHERE "dnstap.operation" IN ('CLIENT_RESPONSE', 'RESOLVER_RESPONSE');
