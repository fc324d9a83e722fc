--! id       = "panther.aws.s3.disable.security.controls"
--! title    = "Logging, versioning and MFA delete of a bucket are turned off"
--! severity = "high"
--! status   = "test"
--! owner    = "tests"
--! entities = { resource = "bucket" }
SELECT time, tenant, "p_alert_context.bucketName" AS bucket,
  count(CASE WHEN rule_id = 'AWS.S3.DisableBucketLogging' THEN 1 END) OVER (
    PARTITION BY tenant, "p_alert_context.bucketName" ORDER BY time RANGE INTERVAL '30 hours' PRECEDING) AS logging,
  count(CASE WHEN rule_id = 'AWS.S3.SuspendVersioning' THEN 1 END) OVER (
    PARTITION BY tenant, "p_alert_context.bucketName" ORDER BY time RANGE INTERVAL '30 hours' PRECEDING) AS versioning,
  count(CASE WHEN rule_id = 'AWS.S3.DisableMfaDelete' THEN 1 END) OVER (
    PARTITION BY tenant, "p_alert_context.bucketName" ORDER BY time RANGE INTERVAL '30 hours' PRECEDING) AS mfa_delete
FROM rule_match
WHERE rule_id IN ('AWS.S3.DisableBucketLogging', 'AWS.S3.SuspendVersioning', 'AWS.S3.DisableMfaDelete')
QUALIFY logging >= 1 AND versioning >= 1 AND mfa_delete >= 1
