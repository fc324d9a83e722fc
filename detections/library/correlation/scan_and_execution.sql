--! id          = "correlation.scan_and_execution"
--! title       = "Port scan and suspicious process on the same host"
--! severity    = "high"
--! status      = "stable"
--! owner       = "incident-response"
--! description = """
--! A port scan is noise and a suspicious process is a question; a host that does both within an hour is being used to
--! look for the next one."""
--! attack      = ["T1046", "T1059", "T1021"]
--! entities    = { host = "host_name", src_ip = "src_ip", user = "user_name" }
--! playbook    = "contain_host"
--! risk_score  = 80
--! confidence  = 90
--! false_positives = ["an authorised penetration test"]
SELECT
  window_start,
  window_end,
  split_part(host, '.', 1) AS host_name,
  max(src_ip) AS src_ip,
  max(CASE WHEN detection <> 'network.port_scan' THEN "user" END) AS user_name,
  count(*) AS alerts,
  count(DISTINCT detection) AS detections,
  concat(
    max(CASE WHEN detection = 'network.port_scan' THEN message END), '. ',
    max(CASE WHEN detection <> 'network.port_scan' THEN message END)) AS message
FROM TUMBLE(alerts, time, INTERVAL '1 hour')
WHERE host IS NOT NULL
  AND (detection = 'network.port_scan' OR detection LIKE 'endpoint.%' OR detection LIKE 'windows.%')
GROUP BY split_part(host, '.', 1), window_start, window_end
HAVING count(DISTINCT CASE WHEN detection = 'network.port_scan' THEN 'scan' ELSE 'process' END) >= 2
