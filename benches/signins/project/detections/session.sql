--! id       = "bench.session"
--! title    = "Many sign-ins of one user without a minute of silence"
--! severity = "low"
--! status   = "experimental"
SELECT user_name, window_start, window_end, count(*) AS signins
FROM SESSION(signin, time, INTERVAL '1 minute', user_name)
GROUP BY user_name, window_start, window_end
HAVING count(*) >= 6
