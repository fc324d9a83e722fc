--! id          = "correlation.risk_by_host"
--! title       = "Several weak signals on one host"
--! severity    = "high"
--! status      = "test"
--! owner       = "incident-response"
--! description = """
--! Adds up the risk of all alerts about a host within four hours. At least three different detections have to speak, so
--! that one chatty rule cannot reach the threshold by repeating itself."""
--! attack      = ["TA0002"]
--! entities    = { host = "host_name" }
--! risk_score  = 80
--! confidence  = 70
--! params      = { risk = 150, detections = 3 }
--! false_positives = ["red-team exercises", "a machine that is being re-installed or migrated"]
SELECT
  window_start,
  window_end,
  split_part(host, '.', 1) AS host_name,
  sum(risk_score) AS risk,
  count(DISTINCT detection) AS detections,
  count(*) AS alerts,
  concat(CAST(count(DISTINCT detection) AS STRING), ' detections spoke about ', split_part(host, '.', 1),
    ' with a total risk of ', CAST(sum(risk_score) AS STRING)) AS message
FROM TUMBLE(alerts, time, INTERVAL '4 hours')
WHERE host IS NOT NULL AND risk_score > 0
GROUP BY split_part(host, '.', 1), window_start, window_end
HAVING sum(risk_score) >= $risk AND count(DISTINCT detection) >= $detections
