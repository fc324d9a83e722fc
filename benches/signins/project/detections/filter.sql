--! id       = "bench.filter"
--! title    = "Sign-in from an unexpected country"
--! severity = "low"
--! status   = "experimental"
SELECT time, user_name, src_ip FROM signin WHERE country = 'KP' AND status = 'Failure'
