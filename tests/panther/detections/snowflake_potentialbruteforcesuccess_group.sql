--! id       = "panther.snowflake.potentialbruteforcesuccess.group"
--! title    = "Five sign-ins fail from an address, and one succeeds"
--! severity = "high"
--! status   = "test"
--! owner    = "tests"
--! entities = { ip = "client_ip" }
SELECT time, tenant, "CLIENT_IP" AS client_ip,
  count(CASE WHEN rule_id = 'Snowflake.Stream.BruteForceByIp' THEN 1 END) OVER (
    PARTITION BY tenant, "CLIENT_IP" ORDER BY time RANGE INTERVAL '30 hours' PRECEDING) AS failures,
  count(CASE WHEN rule_id = 'Snowflake.Stream.LoginSuccess' THEN 1 END) OVER (
    PARTITION BY tenant, "CLIENT_IP" ORDER BY time RANGE INTERVAL '30 hours' PRECEDING) AS successes
FROM rule_match
WHERE rule_id IN ('Snowflake.Stream.BruteForceByIp', 'Snowflake.Stream.LoginSuccess')
QUALIFY failures >= 5 AND successes >= 1
