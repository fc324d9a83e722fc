--! id          = "m365.inbox_rule_hides_mail"
--! title       = "Inbox rule that forwards, deletes or hides mail"
--! severity    = "high"
--! status      = "stable"
--! owner       = "mail-security"
--! description = """
--! A mailbox rule or mailbox setting forwards mail elsewhere, deletes it, or moves it to a folder where nobody looks:
--! what follows most takeovers of a mailbox, to read on and to keep the victim from seeing the answers."""
--! attack      = ["T1114.003", "T1564.008"]
--! entities    = { user = "user_name", src_ip = "src_ip", ip = "src_ip", email = "forward_to" }
--! risk_score  = 60
--! confidence  = 70
--! cooldown    = "10 minutes"
--! false_positives = ["people who sort newsletters into RSS or archive folders", "shared mailboxes that forward by design"]
WITH rules AS (
  SELECT
    CreationTime,
    lower(UserId) AS user_name,
    coalesce(ClientIP, ClientIPAddress) AS src_ip,
    Operation AS operation,
    lower(coalesce(Parameters, '')) AS parameters
  FROM m365_audit
  WHERE Operation IN ('New-InboxRule', 'Set-InboxRule', 'Set-Mailbox', 'UpdateInboxRules')
    AND (ResultStatus IS NULL OR lower(ResultStatus) NOT IN ('failed', 'false'))
)
SELECT
  CreationTime AS time,
  user_name,
  src_ip,
  operation,
  left(parameters, 400) AS parameters,
  nullif(regexp_replace(parameters,
    '^.*"(?:forwardto|redirectto|forwardasattachmentto|forwardingsmtpaddress)","value":"(?:smtp:)?([^"]+)".*$', '\1'),
    parameters) AS forward_to,
  concat(user_name, ' set up a rule that hides or forwards mail (', operation, ')') AS message
FROM rules
WHERE regexp_like(parameters, '"(forwardto|redirectto|forwardasattachmentto|forwardingsmtpaddress)","value":"[^"]*@')
   -- Deleting or marking as read is tidying, unless it picks words or the rule has no real name.
   OR (regexp_like(parameters, '"(deletemessage|markasread)","value":"true"')
       AND regexp_like(parameters, '"(subjectcontainswords|bodycontainswords|subjectorbodycontainswords)"|"name","value":"[^a-z0-9"]{1,3}"'))
   OR regexp_like(parameters, '"movetofolder","value":"[^"]*(rss|conversation history|archive|junk|deleted items|notes)')
