--! id          = "mail.phishing_delivered"
--! title       = "Phishing mail delivered"
--! severity    = "medium"
--! status      = "stable"
--! owner       = "mail-security"
--! description = """
--! The gateway scored a message as phishing, or classified a link in it as phishing, and delivered it all the same: the
--! score lay under the quarantine threshold, a rule let it pass, or the verdict came after delivery."""
--! attack      = ["T1566.002", "T1566.001"]
--! entities    = { user = "user_name", recipient = "user_name", sender = "sender", domain = "domain", url = "url", message_id = "message_id", subject = "subject" }
--! risk_score  = 30
--! confidence  = 50
--! cooldown    = "1 hour"
--! params      = { phish_score = 60 }
--! false_positives = [
--!   "phishing simulations ordered by the awareness team: except their sender or link domain",
--!   "newsletters with tracking links on young domains, which score high on their first days",
--! ]
SELECT
  e.time,
  e.email."to" AS user_name,
  e.email."from" AS sender,
  e.email.subject AS subject,
  e.email.message_uid AS message_id,
  e.url.url_string AS url,
  e.url.hostname AS domain,
  e.verdict.phish_score AS phish_score,
  e.verdict.classification AS classification,
  CASE WHEN coalesce(i.indicator, r.indicator) IS NOT NULL THEN 'high' ELSE 'medium' END AS severity,
  concat(
    'Mail "', e.email.subject, '" from ', e.email."from", ' reached ', e.email."to",
    ' with a phishing score of ', coalesce(CAST(e.verdict.phish_score AS STRING), 'nothing'),
    CASE
      WHEN coalesce(i.indicator, r.indicator) IS NOT NULL THEN concat('; ', coalesce(i.indicator, r.indicator),
        ' is known for ', coalesce(i.category, r.category), ' (', coalesce(i.source, r.source), ')')
      ELSE ''
    END
  ) AS message
FROM email_activity e
LEFT JOIN indicators i
  ON i.indicator = e.url.hostname AND i.valid_from <= e.time AND e.time < i.valid_until
-- Most indicators name the domain, most links a host below it.
LEFT JOIN indicators r
  ON r.indicator = registered_domain(e.url.hostname) AND r.valid_from <= e.time AND e.time < r.valid_until
WHERE e.disposition = 'Delivered'
  AND (e.verdict.phish_score >= $phish_score OR e.verdict.classification = 'phish')
