--! id       = "signin.repeated_failures"
--! title    = "Many failed sign-ins of one account"
--! severity = "medium"
--! status   = "experimental"
--! owner    = "identity-team"
--! attack   = ["T1110.001"]
--! entities = { user = "user_name", src_ip = "src_ip" }
--! cooldown = "1 hour"
--! playbook = "tell_the_team"
--! params   = { failures = 5 }
--! false_positives = ["a service whose password was changed"]
SELECT window_end AS time,
       user_name,
       src_ip,
       count(*) AS failures
FROM TUMBLE(signin, time, INTERVAL '5 minutes')
WHERE status = 'Failure'
GROUP BY window_start, window_end, user_name, src_ip
HAVING count(*) >= $failures
