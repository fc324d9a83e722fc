--! id       = "panther.aws.console.sign_in.without.okta"
--! title    = "A console sign-in without a redirect by the identity provider"
--! severity = "high"
--! status   = "test"
--! owner    = "tests"
--! entities = { user = "user_name" }
SELECT a.time, a.tenant, a."userIdentity.userName" AS user_name
FROM rule_match a
WHERE a.rule_id = 'AWS.Console.Sign-In' AND NOT EXISTS (
  SELECT 1 FROM rule_match b
  WHERE b.rule_id = 'Okta.SSO.to.AWS' AND b.tenant = a.tenant
    AND b."p_alert_context.actor" = a."userIdentity.userName"
    AND b.time BETWEEN a.time - INTERVAL '30 hours' AND a.time + INTERVAL '30 hours')
