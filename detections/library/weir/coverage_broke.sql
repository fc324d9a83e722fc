--! id          = "weir.coverage_broke"
--! title       = "Detections have lost sight of a log source"
--! severity    = "high"
--! status      = "test"
--! owner       = "platform"
--! description = """
--! A stream from which events came has sent nothing for longer than `[engine] silent_minutes`, or a column that most events
--! had a value in is suddenly empty. Whoever stops a sensor or breaks its log format goes unseen from then on, and so does
--! everybody else: the detections that read it are blind, and they say nothing about that themselves."""
--! attack      = ["T1562.006"]
--! entities    = { resource = "stream" }
--! cooldown    = "4 hours"
--! false_positives = ["a log source that was switched off on purpose", "a new version of a sensor that names its fields differently"]
SELECT
  window_end AS time,
  stream,
  status,
  detail,
  count(DISTINCT detection) AS detections,
  min(detection) AS first_detection,
  CASE status WHEN 'silent' THEN concat(stream, ' has fallen silent: ', detail)
    ELSE concat(stream, ' has lost a column: ', detail) END AS message
FROM TUMBLE(coverage, time, INTERVAL '1 minute')
WHERE status IN ('silent', 'nulls')
GROUP BY window_start, window_end, stream, status, detail
HAVING count(*) >= 1
