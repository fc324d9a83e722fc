--! id       = "panther.aws.cloudtrail.ses.sesenumeration"
--! title    = "The four questions of somebody who wants to send mail"
--! severity = "high"
--! status   = "test"
--! owner    = "tests"
--! entities = { account = "account_region" }
SELECT window_end AS time, tenant, "p_alert_context.accountRegion" AS account_region
FROM HOP(rule_match, time, INTERVAL '24 hours', INTERVAL '36 hours')
WHERE "p_alert_context.accountRegion" IS NOT NULL
GROUP BY window_start, window_end, tenant, "p_alert_context.accountRegion"
HAVING count(*) FILTER (WHERE rule_id = 'AWS.CloudTrail.SES.CheckSESSendingEnabled') >= 1
  AND count(*) FILTER (WHERE rule_id = 'AWS.CloudTrail.SES.CheckSendQuota') >= 1
  AND count(*) FILTER (WHERE rule_id = 'AWS.CloudTrail.SES.ListIdentities') >= 1
  AND count(*) FILTER (WHERE rule_id = 'AWS.CloudTrail.SES.CheckIdentityVerifications') >= 1
