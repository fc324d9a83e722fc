--! id       = "panther.aws.sso.access.token.retrieved.by.unauthenticated.ip.group"
--! title    = "An access token is fetched from an address that did not ask to sign in"
--! severity = "high"
--! status   = "test"
--! owner    = "tests"
--! entities = { ip = "src_ip" }
SELECT a.time, a.tenant, a."sourceIPAddress" AS src_ip
FROM rule_match a
WHERE a.rule_id = 'Retrieve.SSO.access.token' AND NOT EXISTS (
  SELECT 1 FROM rule_match b
  WHERE b.rule_id = 'Sign-in.with.AWS.CLI.prompt' AND b.tenant = a.tenant
    AND b."sourceIPAddress" = a."sourceIPAddress"
    AND b.time BETWEEN a.time - INTERVAL '30 hours' AND a.time + INTERVAL '30 hours')
