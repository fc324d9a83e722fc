--! id          = "web.jndi_lookup_in_request"
--! title       = "JNDI look-up in a web request"
--! severity    = "high"
--! status      = "stable"
--! owner       = "application-security"
--! description = """
--! A request carries `${jndi:` or one of its disguises in address, user agent, referrer or body: an attempt to make a
--! Java application load code (CVE-2021-44228). The attempt says nothing about success; look for a shell below the
--! server's Java process and for its connections to LDAP and RMI ports."""
--! attack      = ["T1190"]
--! entities    = { src_ip = "src_ip", ip = "src_ip", host = "host_name", url = "url", user_agent = "user_agent" }
--! risk_score  = 50
--! confidence  = 80
--! cooldown    = "1 hour"
--! false_positives = ["vulnerability scanners: except their addresses"]
WITH requests AS (
  SELECT
    time,
    src_endpoint.ip AS src_ip,
    dst_endpoint.hostname AS host_name,
    http_request.url.url_string AS url,
    http_request.user_agent AS user_agent,
    http_response.code AS code,
    -- Percent signs and look-ups that only hide letters are taken away before looking.
    regexp_replace(
      regexp_replace(
        lower(concat(http_request.url.url_string, ' ', coalesce(http_request.user_agent, ''), ' ', coalesce(http_request.referrer, ''))),
        '%24%7b', '${', 'g'),
      '\$\{(?:lower|upper|env:[^:}]*|sys:[^:}]*|::-|[^}:]*:-):?-?([a-z:/]+)\}', '\1', 'g') AS text
  FROM http_activity
)
SELECT
  time,
  src_ip,
  host_name,
  url,
  user_agent,
  code,
  nullif(regexp_replace(text, '^.*jndi:[a-z]+:/+([^/:}\s]+).*$', '\1'), text) AS callback,
  concat(src_ip, ' sent a JNDI look-up to ', host_name) AS message
FROM requests
WHERE regexp_like(text, '\$\{\s*jndi\s*:|jndi:(ldap|ldaps|rmi|dns|iiop|corba|nds|http)s?:')
