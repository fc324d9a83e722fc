--! id          = "proxy.phishing_link_clicked"
--! title       = "Visit to a phishing or suspicious site"
--! severity    = "medium"
--! status      = "stable"
--! owner       = "network-security"
--! description = """
--! The proxy let a user reach a site that it files under phishing or under domains seen for the first time, or that
--! threat intelligence knows. Alone it says that somebody clicked; with the mail before and the process after, that
--! the click worked (see correlation.phishing_chain)."""
--! attack      = ["T1204.001", "T1566.002"]
--! entities    = { user = "user_name", src_ip = "src_ip", src_host = "src_host", domain = "domain", url = "url", user_agent = "user_agent" }
--! risk_score  = 40
--! cooldown    = "30 minutes"
--! false_positives = [
--!   "a vendor's new domain in its first days",
--!   "analysts who visit such sites on purpose: except their accounts or their sandbox's address",
--! ]
SELECT
  h.time,
  coalesce(h.actor.user.email_addr, h.actor.user.name) AS user_name,
  h.src_endpoint.ip AS src_ip,
  h.src_endpoint.hostname AS src_host,
  h.http_request.url.hostname AS domain,
  h.http_request.url.url_string AS url,
  h.http_request.url.category AS category,
  h.http_request.user_agent AS user_agent,
  h.http_request.http_method AS http_method,
  -- The indicator's confidence goes with the alert, so that a correlation can tell a known site from a guess.
  coalesce(i.confidence, r.confidence, 40) AS confidence,
  CASE WHEN coalesce(i.indicator, r.indicator) IS NOT NULL THEN 'high' ELSE 'medium' END AS severity,
  concat(
    coalesce(h.actor.user.email_addr, h.actor.user.name), ' visited ', h.http_request.url.hostname,
    CASE
      WHEN coalesce(i.indicator, r.indicator) IS NOT NULL THEN concat(
        ', known for ', coalesce(i.category, r.category), ' (', coalesce(i.source, r.source), ', confidence ',
        CAST(coalesce(i.confidence, r.confidence) AS STRING), ')')
      ELSE concat(', filed under ', h.http_request.url.category)
    END) AS message
FROM http_activity h
LEFT JOIN indicators i
  ON i.indicator = h.http_request.url.hostname AND i.valid_from <= h.time AND h.time < i.valid_until
-- Most indicators name the domain, most visits a host below it.
LEFT JOIN indicators r
  ON r.indicator = registered_domain(h.http_request.url.hostname) AND r.valid_from <= h.time AND h.time < r.valid_until
WHERE h.disposition = 'Allowed'
  AND h.actor.user.name IS NOT NULL
  AND (
    coalesce(i.indicator, r.indicator) IS NOT NULL
    OR lower(h.http_request.url.category) IN (
      'phishing', 'newly registered domains', 'newly registered and observed domains', 'newly revived domains',
      'suspicious destination', 'spyware or adware', 'malicious content'))
