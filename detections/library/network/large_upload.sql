--! id          = "network.large_upload"
--! title       = "Large upload to one outside address"
--! severity    = "medium"
--! status      = "test"
--! owner       = "data-protection"
--! description = """
--! An internal address sends very much to one outside address within an hour, and more than it gets back. Sums what
--! firewalls and sensors measured for allowed connections."""
--! attack      = ["T1048", "T1567.002"]
--! entities    = { src_ip = "src_ip", ip = "src_ip", dst_ip = "dst_ip", host = "host_name" }
--! risk_score  = 40
--! confidence  = 50
--! cooldown    = "4 hours"
--! params      = { bytes = 2000000000 }
--! false_positives = ["backups to the cloud and video meetings: except their destinations"]
SELECT
  window_start,
  window_end,
  src_endpoint.ip AS src_ip,
  dst_endpoint.ip AS dst_ip,
  max(src_endpoint.hostname) AS host_name,
  sum(traffic.bytes_out) AS bytes_out,
  sum(traffic.bytes_in) AS bytes_in,
  count(*) AS connections,
  concat(src_endpoint.ip, ' sent ', CAST(sum(traffic.bytes_out) / 1000000 AS STRING), ' MB to ', dst_endpoint.ip,
    ' within an hour') AS message
FROM TUMBLE(network_activity, time, INTERVAL '1 hour')
WHERE disposition = 'Allowed'
  AND traffic.bytes_out > 0
  AND ip_in_private(src_endpoint.ip)
  AND NOT ip_in_private(dst_endpoint.ip)
GROUP BY src_endpoint.ip, dst_endpoint.ip, window_start, window_end
HAVING sum(traffic.bytes_out) >= $bytes AND sum(traffic.bytes_out) > sum(coalesce(traffic.bytes_in, 0))
