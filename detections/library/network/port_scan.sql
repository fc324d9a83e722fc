--! id          = "network.port_scan"
--! title       = "Port scan by one source"
--! severity    = "low"
--! status      = "stable"
--! owner       = "network-security"
--! description = """
--! One source tries many ports and is refused: within five minutes it meets many different pairs of destination and
--! port that a firewall blocks or that never answer. Allowed traffic does not count, so a busy client is no scanner."""
--! attack      = ["T1046"]
--! entities    = { src_ip = "src_ip", ip = "src_ip", host = "host_name", src_host = "host_name" }
--! risk_score  = 30
--! confidence  = 50
--! cooldown    = "1 hour"
--! params      = { targets = 25 }
--! false_positives = [
--!   "vulnerability scanners and monitoring: except their addresses (see exceptions/)",
--!   "a client whose firewall rule was just removed",
--! ]
SELECT
  window_start,
  window_end,
  src_endpoint.ip AS src_ip,
  max(src_endpoint.hostname) AS host_name,
  count(DISTINCT concat(dst_endpoint.ip, ' ', CAST(dst_endpoint.port AS STRING))) AS targets,
  count(DISTINCT dst_endpoint.port) AS ports,
  count(DISTINCT dst_endpoint.ip) AS hosts,
  count(*) AS attempts,
  concat(src_endpoint.ip, ' was refused at ',
    CAST(count(DISTINCT dst_endpoint.port) AS STRING), ' ports of ',
    CAST(count(DISTINCT dst_endpoint.ip) AS STRING), ' host(s) within five minutes') AS message
FROM TUMBLE(network_activity, time, INTERVAL '5 minutes')
WHERE disposition = 'Blocked'
  AND src_endpoint.ip IS NOT NULL
  AND dst_endpoint.port IS NOT NULL
  -- Broadcast, multicast and link-local chatter is refused everywhere and means nothing.
  AND NOT (cidr_match(dst_endpoint.ip, '224.0.0.0/3') OR cidr_match(dst_endpoint.ip, '169.254.0.0/16')
    OR cidr_match(dst_endpoint.ip, 'ff00::/8') OR cidr_match(dst_endpoint.ip, 'fe80::/10') OR dst_endpoint.ip LIKE '%.255')
GROUP BY src_endpoint.ip, window_start, window_end
HAVING count(DISTINCT concat(dst_endpoint.ip, ' ', CAST(dst_endpoint.port AS STRING))) >= $targets
