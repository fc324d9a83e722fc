-- Proofpoint Targeted Attack Protection, message events of the SIEM API, one per message: `status` is delivered or
-- blocked, `threatsInfoMap` holds what was found in it. Scores run from 0 to 100.

CREATE STREAM mail_gateway (
  messageTime TIMESTAMP,
  GUID STRING,
  QID STRING,
  type STRING,
  status STRING,
  sender STRING,
  senderIP STRING,
  fromAddress ARRAY<STRING>,
  headerFrom STRING,
  headerReplyTo STRING,
  replyToAddress ARRAY<STRING>,
  recipient ARRAY<STRING>,
  subject STRING,
  messageID STRING,
  messageSize BIGINT,
  spamScore INT,
  phishScore INT,
  impostorScore INT,
  malwareScore INT,
  quarantineFolder STRING,
  quarantineRule STRING,
  policyRoutes ARRAY<STRING>,
  messageParts ARRAY<STRUCT<
    contentType STRING, disposition STRING, filename STRING, md5 STRING, sha256 STRING, sandboxStatus STRING>>,
  threatsInfoMap ARRAY<STRUCT<
    threat STRING, threatID STRING, threatType STRING, threatStatus STRING, threatTime STRING, threatUrl STRING,
    classification STRING, campaignID STRING>>
) WITH (
  topic = 'logs.mail.gateway',
  format = 'json',
  event_time = 'messageTime',
  time_zone = 'UTC',
  lateness = '5 minutes'
);

-- OCSF 4009 Email Activity: Receive (2), inbound. The first recipient and the first threat stand for the message; the
-- threat is a URL, or the hash of an attachment.
CREATE VIEW mail_email_activity AS
SELECT
  messageTime AS time,
  4009 AS class_uid, 4 AS category_uid, 2 AS activity_id, 400902 AS type_uid,
  CASE WHEN greatest(phishScore, impostorScore, malwareScore) >= 80 THEN 4
       WHEN greatest(phishScore, impostorScore, malwareScore) >= 50 THEN 3 ELSE 1 END AS severity_id,
  named_struct('product', named_struct('name', 'Targeted Attack Protection', 'vendor_name', 'Proofpoint')) AS metadata,
  1 AS direction_id,
  named_struct(
    'uid', GUID,
    'message_uid', messageID,
    'from', lower(coalesce(fromAddress[1], sender)),
    'from_header', headerFrom,
    'reply_to', lower(replyToAddress[1]),
    'to', lower(recipient[1]),
    'recipients', lower(array_to_string(recipient, ', ')),
    'subject', subject,
    'size', messageSize) AS email,
  named_struct('ip', senderIP) AS src_endpoint,
  named_struct(
    'url_string', CASE WHEN lower(coalesce(threatsInfoMap[1]['threatType'], 'url')) = 'url' THEN threatsInfoMap[1]['threat'] END,
    'hostname', CASE WHEN lower(coalesce(threatsInfoMap[1]['threatType'], 'url')) = 'url'
      THEN lower(nullif(regexp_replace(threatsInfoMap[1]['threat'], '^(?:[a-zA-Z]+://)?([^/:?#]+).*$', '\1'), '')) END) AS url,
  named_struct(
    'name', messageParts[2]['filename'],
    'hashes', named_struct('sha256', lower(messageParts[2]['sha256']), 'md5', lower(messageParts[2]['md5']))) AS file,
  named_struct(
    'classification', lower(threatsInfoMap[1]['classification']),
    'type', lower(threatsInfoMap[1]['threatType']),
    'phish_score', CAST(phishScore AS BIGINT),
    'impostor_score', CAST(impostorScore AS BIGINT),
    'malware_score', CAST(malwareScore AS BIGINT),
    'spam_score', CAST(spamScore AS BIGINT)) AS verdict,
  CASE WHEN status = 'blocked' THEN 'Blocked' ELSE 'Delivered' END AS disposition
FROM mail_gateway
WHERE type IS NULL OR type = 'message';
