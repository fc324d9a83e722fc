--! id          = "correlation.phishing_chain"
--! title       = "Phishing mail, click and code execution for one user"
--! severity    = "high"
--! status      = "stable"
--! owner       = "incident-response"
--! description = """
--! Three alerts that are everyday business alone tell one story when they concern the same user within an hour: a
--! phishing mail was delivered, the user visited a suspicious site, and a program of the user's started a script host.
--! A site that threat intelligence knows makes it critical, and the message says which."""
--! attack      = ["T1566", "T1204", "T1059"]
--! entities    = { user = "user_name", host = "host_name", domain = "domain", url = "url", sender = "sender" }
--! playbook    = "contain_phishing"
--! risk_score  = 90
--! confidence  = 90
--! params      = { known_bad = 80 }
--! false_positives = ["a phishing exercise that plays all three steps"]
SELECT
  window_start,
  window_end,
  "user" AS user_name,
  max(host) AS host_name,
  max(CASE WHEN detection = 'proxy.phishing_link_clicked' THEN domain END) AS domain,
  max(CASE WHEN detection = 'proxy.phishing_link_clicked' THEN url END) AS url,
  max(sender) AS sender,
  count(DISTINCT detection) AS steps,
  count(*) AS alerts,
  CASE
    WHEN max(CASE WHEN detection = 'proxy.phishing_link_clicked' THEN confidence END) >= $known_bad THEN 'critical'
    ELSE 'high'
  END AS severity,
  concat(
    CASE
      WHEN max(CASE WHEN detection = 'proxy.phishing_link_clicked' THEN confidence END) >= $known_bad
      THEN 'Critical because the site is known bad. ' ELSE ''
    END,
    max(CASE WHEN detection = 'mail.phishing_delivered' THEN message END), '. ',
    max(CASE WHEN detection = 'proxy.phishing_link_clicked' THEN message END), '. ',
    max(CASE WHEN detection = 'endpoint.script_host_from_user_application' THEN message END)) AS message
FROM TUMBLE(alerts, time, INTERVAL '1 hour')
WHERE detection IN (
    'mail.phishing_delivered', 'proxy.phishing_link_clicked', 'endpoint.script_host_from_user_application')
  AND "user" IS NOT NULL
GROUP BY "user", window_start, window_end
HAVING count(DISTINCT detection) >= 3
