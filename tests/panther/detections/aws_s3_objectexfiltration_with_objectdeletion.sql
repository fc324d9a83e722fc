--! id       = "panther.aws.s3.objectexfiltration.with.objectdeletion"
--! title    = "Objects of a bucket are copied away and deleted in bulk"
--! severity = "high"
--! status   = "test"
--! owner    = "tests"
--! entities = { resource = "bucket" }
SELECT time, tenant, "p_alert_context.bucketName" AS bucket,
  count(CASE WHEN rule_id = 'AWS.S3.CopyObjectToExternalAccountBucket' THEN 1 END) OVER (
    PARTITION BY tenant, "p_alert_context.bucketName" ORDER BY time RANGE INTERVAL '30 hours' PRECEDING) AS copies,
  count(CASE WHEN rule_id = 'AWS.S3.DeleteObject' THEN 1 END) OVER (
    PARTITION BY tenant, "p_alert_context.bucketName" ORDER BY time RANGE INTERVAL '30 hours' PRECEDING) AS deletions
FROM rule_match
WHERE rule_id IN ('AWS.S3.CopyObjectToExternalAccountBucket', 'AWS.S3.DeleteObject')
QUALIFY copies >= 10 AND deletions >= 10
