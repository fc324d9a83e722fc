--! id          = "network.indicator_match"
--! title       = "Connection to a known bad address"
--! severity    = "medium"
--! status      = "stable"
--! owner       = "threat-intelligence"
--! description = """
--! A connection was allowed to an address that threat intelligence knew at that time. The severity follows the
--! indicator's confidence; scanners are known for what they send, not for what is sent to them, and count low."""
--! attack      = ["T1071", "TA0011"]
--! entities    = { dst_ip = "dst_ip", ip = "src_ip", src_ip = "src_ip", host = "host_name", user = "user_name" }
--! risk_score  = 60
--! cooldown    = "1 hour"
--! false_positives = ["shared hosting: an address of one bad site serves many good ones"]
SELECT
  n.time,
  n.src_endpoint.ip AS src_ip,
  coalesce(n.src_endpoint.hostname, CASE WHEN n.actor.process.name IS NOT NULL THEN n.device.hostname END) AS host_name,
  n.dst_endpoint.ip AS dst_ip,
  n.dst_endpoint.port AS dst_port,
  n.actor.user.name AS user_name,
  n.actor.process.name AS process_name,
  n.metadata.product.name AS seen_by,
  i.category AS category,
  i.source AS source,
  i.confidence AS confidence,
  CASE WHEN i.category = 'scanner' THEN 'low' WHEN i.confidence >= 80 THEN 'high' ELSE 'medium' END AS severity,
  concat(n.src_endpoint.ip, ' connected to ', n.dst_endpoint.ip, ', known for ', i.category, ' (', i.source,
    ', confidence ', CAST(i.confidence AS STRING), ')') AS message
FROM network_activity n
JOIN indicators i
  ON i.indicator = n.dst_endpoint.ip AND i.valid_from <= n.time AND n.time < i.valid_until
WHERE n.disposition = 'Allowed'
