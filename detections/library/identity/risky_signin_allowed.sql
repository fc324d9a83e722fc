--! id          = "identity.risky_signin_allowed"
--! title       = "High-risk sign-in was let in"
--! severity    = "high"
--! status      = "stable"
--! owner       = "identity-team"
--! description = """
--! Entra ID rated the sign-in as high risk while it happened, and it succeeded: conditional access did not ask for more
--! or got it. For privileged people (see the table `identities`) it is critical."""
--! attack      = ["T1078.004"]
--! entities    = { user = "user_name", src_ip = "src_ip", ip = "src_ip", country = "country", application = "application" }
--! playbook    = "contain_account"
--! risk_score  = 70
--! confidence  = 70
--! cooldown    = "1 hour"
--! false_positives = ["travellers on anonymising networks"]
WITH risky AS (
  SELECT
    time,
    lower(properties.userPrincipalName) AS user_name,
    properties.ipAddress AS src_ip,
    properties.location.countryOrRegion AS country,
    properties.appDisplayName AS application,
    properties.authenticationRequirement AS authentication_requirement
  FROM azure_signin
  WHERE resultType = '0'
    AND properties.riskLevelDuringSignIn = 'high'
    AND coalesce(properties.riskState, '') NOT IN ('dismissed', 'confirmedSafe', 'remediated')
)
SELECT
  r.time,
  r.user_name,
  r.src_ip,
  r.country,
  r.application,
  r.authentication_requirement,
  i.department,
  CASE WHEN i.is_privileged THEN 'critical' ELSE 'high' END AS severity,
  concat(r.user_name, ' signed in to ', r.application, ' from ', r.src_ip, ' at high risk',
    CASE WHEN i.is_privileged THEN '; the account is privileged' ELSE '' END) AS message
FROM risky r
LEFT JOIN identities i ON i.email = r.user_name
