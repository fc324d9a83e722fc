--! id          = "network.dns_indicator_match"
--! title       = "Name of a known bad domain looked up"
--! severity    = "medium"
--! status      = "stable"
--! owner       = "threat-intelligence"
--! description = """
--! A host asked for a name that threat intelligence knew at that time, itself or the domain it belongs to. The look-up
--! comes before any connection, and it is seen even where the connection is encrypted or goes through a tunnel."""
--! attack      = ["T1071.004", "T1568"]
--! entities    = { domain = "domain", ip = "src_ip", src_ip = "src_ip", host = "host_name" }
--! risk_score  = 50
--! cooldown    = "1 hour"
--! false_positives = ["mail gateways and link scanners that look up what they are sent: except their addresses"]
SELECT
  d.time,
  d.src_endpoint.ip AS src_ip,
  CASE WHEN d.src_endpoint.ip IS NULL THEN d.device.hostname END AS host_name,
  d.query.hostname AS domain,
  d.answers AS answers,
  d.actor.process.name AS process_name,
  d.metadata.product.name AS seen_by,
  coalesce(i.indicator, r.indicator) AS indicator,
  coalesce(i.category, r.category) AS category,
  coalesce(i.source, r.source) AS source,
  coalesce(i.confidence, r.confidence) AS confidence,
  CASE WHEN coalesce(i.confidence, r.confidence) >= 80 THEN 'high' ELSE 'medium' END AS severity,
  concat(coalesce(d.src_endpoint.ip, d.device.hostname), ' looked up ', d.query.hostname, ', known for ',
    coalesce(i.category, r.category), ' (', coalesce(i.source, r.source), ')') AS message
FROM dns_activity d
LEFT JOIN indicators i
  ON i.indicator = d.query.hostname AND i.valid_from <= d.time AND d.time < i.valid_until
-- Most indicators name the domain, most look-ups a name below it.
LEFT JOIN indicators r
  ON r.indicator = registered_domain(d.query.hostname) AND r.valid_from <= d.time AND d.time < r.valid_until
WHERE coalesce(i.indicator, r.indicator) IS NOT NULL
