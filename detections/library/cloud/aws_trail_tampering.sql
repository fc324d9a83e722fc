--! id          = "cloud.aws_trail_tampering"
--! title       = "AWS logging or monitoring switched off"
--! severity    = "high"
--! status      = "stable"
--! owner       = "cloud-security"
--! description = """
--! A call that stops or removes what the defenders see: CloudTrail trails and event data stores, VPC flow logs, GuardDuty
--! detectors, AWS Config recorders, Security Hub, CloudWatch log groups. Failed attempts count with less severity."""
--! attack      = ["T1562.008"]
--! entities    = { user = "user_name", src_ip = "src_ip", ip = "src_ip", account = "account_id", resource = "resource" }
--! risk_score  = 70
--! confidence  = 80
--! cooldown    = "10 minutes"
--! false_positives = ["infrastructure as code that rebuilds an environment: except its role in those accounts"]
SELECT
  time,
  actor.user.name AS user_name,
  actor.user.uid AS user_arn,
  src_endpoint.ip AS src_ip,
  cloud.account.uid AS account_id,
  cloud.region AS region,
  api.operation AS operation,
  resource.name AS resource,
  http_request.user_agent AS user_agent,
  CASE WHEN status = 'Success' THEN 'high' ELSE 'medium' END AS severity,
  concat(actor.user.name, ' called ', api.operation, ' in account ', cloud.account.uid,
    CASE WHEN status = 'Failure' THEN concat(' and was refused: ', api.response.error) ELSE '' END) AS message
FROM api_activity
WHERE cloud.provider = 'AWS'
  AND api.operation IN (
    'StopLogging', 'DeleteTrail', 'UpdateTrail', 'PutEventSelectors', 'DeleteEventDataStore', 'DeleteFlowLogs',
    'DeleteDetector', 'UpdateDetector', 'DisassociateFromMasterAccount', 'StopMonitoringMembers', 'DeleteMembers',
    'StopConfigurationRecorder', 'DeleteConfigurationRecorder', 'DeleteDeliveryChannel', 'DisableSecurityHub',
    'DeleteLogGroup', 'DeleteLogStream', 'DisableAlarmActions')
  AND api.service.name IN (
    'cloudtrail.amazonaws.com', 'ec2.amazonaws.com', 'guardduty.amazonaws.com', 'config.amazonaws.com',
    'securityhub.amazonaws.com', 'logs.amazonaws.com', 'monitoring.amazonaws.com')
