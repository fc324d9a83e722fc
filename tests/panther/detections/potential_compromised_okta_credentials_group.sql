--! id       = "panther.potential.compromised.okta.credentials.group"
--! title    = "A sign-in that no browser extension saw, and a phishing page"
--! severity = "high"
--! status   = "test"
--! owner    = "tests"
--! entities = { user = "email" }
SELECT a.time, a.tenant, a."actor.alternateId" AS email
FROM rule_match a JOIN rule_match b
  ON b.tenant = a.tenant AND b."new.employee.email" = a."actor.alternateId"
  AND b.time BETWEEN a.time - INTERVAL '30 hours' AND a.time + INTERVAL '30 hours'
WHERE a.rule_id = 'Okta.Login.Without.Push.Marker'
  AND b.rule_id = 'Push.Security.Phishing.Attack'
