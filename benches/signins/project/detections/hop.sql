--! id       = "bench.hop"
--! title    = "Many failures of one user within any five minutes, seen every 30 seconds"
--! severity = "low"
--! status   = "experimental"
SELECT user_name, window_start, window_end, count(*) AS failures
FROM HOP(signin, time, INTERVAL '30 seconds', INTERVAL '5 minutes')
WHERE status = 'Failure'
GROUP BY user_name, window_start, window_end
HAVING count(*) >= 4
