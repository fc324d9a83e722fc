--! id       = "bench.sliding"
--! title    = "Many failures of one user within five minutes of each"
--! severity = "low"
--! status   = "experimental"
SELECT time, user_name, src_ip, count(*) OVER (
  PARTITION BY user_name ORDER BY time RANGE INTERVAL '5 minutes' PRECEDING
) AS failures
FROM signin
WHERE status = 'Failure'
QUALIFY failures >= 4
