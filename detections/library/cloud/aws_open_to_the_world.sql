--! id          = "cloud.aws_open_to_the_world"
--! title       = "AWS resource opened to the world or to another account"
--! severity    = "medium"
--! status      = "stable"
--! owner       = "cloud-security"
--! description = """
--! A security group lets every address in to an administrative port, or a disk or database snapshot is shared outside
--! the account. One way leads in, the other out."""
--! attack      = ["T1562.007", "T1537", "T1578"]
--! entities    = { user = "user_name", account = "account_id", resource = "resource", src_ip = "src_ip", ip = "src_ip" }
--! risk_score  = 50
--! confidence  = 70
--! cooldown    = "10 minutes"
--! false_positives = ["public services behind their own group: ports 80 and 443 are left out", "snapshots shared between accounts of the same organisation"]
SELECT
  eventTime AS time,
  lower(coalesce(userIdentity.userName, userIdentity.sessionContext.sessionIssuer.userName)) AS user_name,
  recipientAccountId AS account_id,
  sourceIPAddress AS src_ip,
  eventName AS operation,
  coalesce(requestParameters.groupId, requestParameters.snapshotId) AS resource,
  CASE WHEN eventName = 'AuthorizeSecurityGroupIngress'
       THEN coalesce(requestParameters.fromPort, requestParameters.ipPermissions.items[1]['fromPort']) END AS port,
  coalesce(requestParameters.createVolumePermission.add.items[1]['userId'],
    requestParameters.createVolumePermission.add.items[1]['group']) AS shared_with,
  concat(coalesce(userIdentity.userName, userIdentity.sessionContext.sessionIssuer.userName, 'somebody'), ' called ',
    eventName, ' on ', coalesce(requestParameters.groupId, requestParameters.snapshotId), ' in account ', recipientAccountId) AS message
FROM cloudtrail
WHERE errorCode IS NULL
  AND (
    (eventName = 'AuthorizeSecurityGroupIngress'
     -- Any network of length 0 is everybody, whatever address stands in front.
     AND (requestParameters.cidrIp LIKE '%/0'
          OR requestParameters.ipPermissions.items[1]['ipRanges']['items'][1]['cidrIp'] LIKE '%/0'
          OR requestParameters.ipPermissions.items[1]['ipv6Ranges']['items'][1]['cidrIpv6'] LIKE '%/0')
     AND coalesce(requestParameters.fromPort, requestParameters.ipPermissions.items[1]['fromPort'], 0) NOT IN (80, 443))
    OR (eventName = 'ModifySnapshotAttribute'
        AND (requestParameters.createVolumePermission.add.items[1]['userId'] <> recipientAccountId
             OR requestParameters.createVolumePermission.add.items[1]['group'] = 'all')))
