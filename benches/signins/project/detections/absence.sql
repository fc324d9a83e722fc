--! id       = "bench.absence"
--! title    = "Failure in payroll that no success of the user follows within ten minutes"
--! severity = "low"
--! status   = "experimental"
SELECT failed.time, failed.user_name, failed.src_ip
FROM signin failed
WHERE failed.status = 'Failure' AND failed.app = 'payroll' AND NOT EXISTS (
  SELECT 1 FROM signin ok
  WHERE ok.user_name = failed.user_name AND ok.status = 'Success'
    AND ok.time BETWEEN failed.time AND failed.time + INTERVAL '10 minutes'
)
