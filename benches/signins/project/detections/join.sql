--! id       = "bench.join"
--! title    = "Success in payroll within 20 seconds of a failure of the same user"
--! severity = "low"
--! status   = "experimental"
SELECT ok.time, ok.user_name, failed.time AS failed_at, failed.src_ip
FROM signin ok
JOIN signin failed
  ON failed.user_name = ok.user_name AND failed.time BETWEEN ok.time - INTERVAL '20 seconds' AND ok.time
WHERE ok.status = 'Success' AND ok.app = 'payroll' AND failed.status = 'Failure'
