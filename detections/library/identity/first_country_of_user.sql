--! id          = "identity.first_country_of_user"
--! title       = "First sign-in of a known user from a country"
--! severity    = "medium"
--! status      = "experimental"
--! owner       = "identity-team"
--! description = """
--! A user who has signed in before succeeds from a country from which they have not signed in for a month. Stolen
--! passwords and session tokens are mostly used from elsewhere; a user's very first sign-in says nothing of that kind and
--! is left out."""
--! attack      = ["T1078.004"]
--! entities    = { user = "user_name", src_ip = "src_ip", ip = "src_ip", country = "country", application = "application" }
--! risk_score  = 40
--! confidence  = 40
--! false_positives = ["travellers", "a mobile network or VPN that leaves in another country"]
WITH signed_in AS (
  SELECT
    time,
    lower(properties.userPrincipalName) AS user_name,
    properties.ipAddress AS src_ip,
    upper(properties.location.countryOrRegion) AS country,
    properties.appDisplayName AS application
  FROM azure_signin
  WHERE resultType = '0'
    AND properties.userPrincipalName IS NOT NULL
    AND properties.location.countryOrRegion <> ''
),
seen AS (
  SELECT
    time,
    user_name,
    src_ip,
    country,
    application,
    first_seen((user_name, country), INTERVAL '30 days') AS is_new_country,
    first_seen(user_name, INTERVAL '30 days') AS is_new_user
  FROM signed_in
)
SELECT
  time,
  user_name,
  src_ip,
  country,
  application,
  concat(user_name, ' signed in to ', coalesce(application, 'an application'), ' from ', country, ' (', src_ip,
    '), where they have not been seen for 30 days') AS message
FROM seen
WHERE is_new_country AND NOT is_new_user
