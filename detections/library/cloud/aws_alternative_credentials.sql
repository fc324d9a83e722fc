--! id          = "cloud.aws_alternative_credentials"
--! title       = "New way to get AWS credentials set up"
--! severity    = "medium"
--! status      = "test"
--! owner       = "cloud-security"
--! description = """
--! Calls that hand out credentials which outlive the identity they came from: federation tokens with a policy of their
--! own, IAM Roles Anywhere trust anchors, SAML and OpenID providers. Deleting the first key does not end them."""
--! attack      = ["T1098.001", "T1550.001", "T1556"]
--! entities    = { user = "user_name", account = "account_id", src_ip = "src_ip", ip = "src_ip", resource = "resource" }
--! risk_score  = 40
--! confidence  = 60
--! cooldown    = "1 hour"
--! false_positives = ["the identity team introducing a federation: announced"]
SELECT
  time,
  actor.user.name AS user_name,
  cloud.account.uid AS account_id,
  src_endpoint.ip AS src_ip,
  api.operation AS operation,
  resource.name AS resource,
  concat(actor.user.name, ' called ', api.operation, ' in account ', cloud.account.uid) AS message
FROM api_activity
WHERE cloud.provider = 'AWS'
  AND status = 'Success'
  AND api.operation IN (
    'GetFederationToken', 'CreateTrustAnchor', 'CreateSAMLProvider', 'UpdateSAMLProvider', 'CreateOpenIDConnectProvider',
    'AddClientIDToOpenIDConnectProvider', 'UpdateOpenIDConnectProviderThumbprint')
