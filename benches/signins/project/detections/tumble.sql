--! id       = "bench.tumble"
--! title    = "Many failures of one user within five minutes"
--! severity = "low"
--! status   = "experimental"
SELECT user_name, window_start, window_end, count(*) AS failures
FROM TUMBLE(signin, time, INTERVAL '5 minutes')
WHERE status = 'Failure'
GROUP BY user_name, window_start, window_end
HAVING count(*) >= 4
