--! id       = "panther.okta.login.without.push.group"
--! title    = "A sign-in at the identity provider that no browser extension saw"
--! severity = "high"
--! status   = "test"
--! owner    = "tests"
--! entities = { user = "email" }
SELECT a.time, a.tenant, a."actor.alternateId" AS email
FROM rule_match a
WHERE a.rule_id = 'Okta.Login.Success' AND NOT EXISTS (
  SELECT 1 FROM rule_match b
  WHERE b.rule_id = 'Push.Security.Authorized.IdP.Login' AND b.tenant = a.tenant
    AND b."new.email" = a."actor.alternateId"
    AND b.time BETWEEN a.time - INTERVAL '30 hours' AND a.time + INTERVAL '30 hours')
