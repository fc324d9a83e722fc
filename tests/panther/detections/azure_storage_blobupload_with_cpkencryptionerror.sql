--! id       = "panther.azure.storage.blobupload.with.cpkencryptionerror"
--! title    = "A blob is uploaded and then cannot be read without a foreign key"
--! severity = "high"
--! status   = "test"
--! owner    = "tests"
--! entities = { file = "blob" }
SELECT a.time, a.tenant, a."p_alert_context.blob_path" AS blob
FROM rule_match a
WHERE a.rule_id = 'Azure.MonitorActivity.Storage.Blob.Uploaded' AND EXISTS (
  SELECT 1 FROM rule_match b
  WHERE b.rule_id = 'Azure.MonitorActivity.Storage.Blob.CPKEncryptionDetected' AND b.tenant = a.tenant
    AND b."p_alert_context.blob_path" = a."p_alert_context.blob_path"
    AND b.time BETWEEN a.time - INTERVAL '30 hours' AND a.time + INTERVAL '30 hours')
