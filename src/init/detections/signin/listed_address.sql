--! id       = "signin.listed_address"
--! title    = "Sign-in from an address that is known bad"
--! severity = "medium"
--! status   = "experimental"
--! owner    = "identity-team"
--! attack   = ["T1078"]
--! entities = { user = "user_name", src_ip = "src_ip" }
--! playbook = "tell_the_team"
-- A column named `severity` overrides the header for its row: success is worse than a try.
SELECT s.time,
       s.user_name,
       s.src_ip,
       b.reason,
       CASE WHEN s.status = 'Success' THEN 'high' ELSE 'low' END AS severity
FROM signin s
JOIN bad_addresses b ON b.ip = s.src_ip
