--! id       = "identity.password_guessing"
--! title    = "Many failed sign-ins of one user"
--! severity = "medium"
--! status   = "stable"
--! owner    = "platform-team"
--! attack   = ["T1110.001"]
--! entities = { user = "user_name" }
--! params   = { failures = 5 }
--! false_positives = ["a user who has just changed the password and forgot a device"]
SELECT window_end AS time, user_name, count(*) AS failures
FROM TUMBLE(signins, time, INTERVAL '5 minutes')
WHERE status = 'Failure'
GROUP BY window_start, window_end, user_name
HAVING count(*) >= $failures
