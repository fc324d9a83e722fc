--! id          = "network.ids_alert_on_asset"
--! title       = "Intrusion signature against a known machine"
--! severity    = "medium"
--! status      = "stable"
--! owner       = "network-security"
--! description = """
--! The sensor raised a signature of high severity and let the traffic pass, and one of the two ends is a machine of ours
--! (see the table `assets`). How much that machine matters decides the severity. Signatures about the other machines of
--! the Internet among themselves do not concern anybody here."""
--! attack      = ["T1190", "T1203"]
--! entities    = { src_ip = "src_ip", dst_ip = "dst_ip", ip = "asset_ip", host = "host_name" }
--! risk_score  = 40
--! confidence  = 50
--! cooldown    = "1 hour"
--! false_positives = ["signatures that the site's own scanner sets off: its address is left out by the table"]
SELECT
  f.time,
  f.src_endpoint.ip AS src_ip,
  f.dst_endpoint.ip AS dst_ip,
  a.ip AS asset_ip,
  a.hostname AS host_name,
  a.owner AS asset_owner,
  a.role AS asset_role,
  f.finding_info.title AS signature,
  f.finding_info.category AS category,
  CASE WHEN a.criticality = 'high' THEN 'high' ELSE 'medium' END AS severity,
  concat('"', f.finding_info.title, '" against ', a.hostname, ' (', a.role, ') from ', f.src_endpoint.ip) AS message
FROM detection_finding f
JOIN assets a ON a.ip = f.dst_endpoint.ip
WHERE f.severity_id >= 4
  AND f.disposition = 'Allowed'
  AND NOT coalesce(a.is_scanner, false)
