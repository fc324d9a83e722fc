-- One view per OCSF class: what detections read. A new log source adds its own views in its own file and one line
-- here. All branches of a class have the same columns, of the same types, in the same order. The views it unites are plain
-- SELECTs: a union of unions plans less well.

-- 1001 File System Activity
CREATE VIEW file_activity AS
SELECT * FROM sysmon_file_activity
UNION ALL SELECT * FROM linux_file_activity
UNION ALL SELECT * FROM macos_file_activity
UNION ALL SELECT * FROM edr_file_activity;

-- 1005 Module Activity
CREATE VIEW module_activity AS
SELECT * FROM sysmon_module_activity;

-- 1007 Process Activity: Launch
CREATE VIEW process_activity AS
SELECT * FROM sysmon_process_activity
UNION ALL SELECT * FROM winsec_process_activity
UNION ALL SELECT * FROM linux_process_activity
UNION ALL SELECT * FROM macos_process_activity
UNION ALL SELECT * FROM edr_process_activity;

-- 1007 Process Activity: Open and Inject, with the process that did it as `actor.process`
CREATE VIEW process_access AS
SELECT * FROM sysmon_process_access;

-- 1009 Script Activity
CREATE VIEW script_activity AS
SELECT * FROM powershell_script_activity;

-- 201002 Registry Value Activity
CREATE VIEW registry_value_activity AS
SELECT * FROM sysmon_registry_value_activity
UNION ALL SELECT * FROM winsec_registry_value_activity
UNION ALL SELECT * FROM edr_registry_value_activity;

-- 2004 Detection Finding of other products; Weir's own are the stream `alerts`
CREATE VIEW detection_finding AS
SELECT * FROM ids_detection_finding
UNION ALL SELECT * FROM zeek_detection_finding
UNION ALL SELECT * FROM edr_detection_finding;

-- 3001 Account Change and 3006 Group Management
CREATE VIEW account_change AS
SELECT * FROM winsec_account_change;

-- 3002 Authentication
CREATE VIEW authentication AS
SELECT * FROM winsec_authentication
UNION ALL SELECT * FROM linux_authentication
UNION ALL SELECT * FROM macos_authentication
UNION ALL SELECT * FROM edr_authentication
UNION ALL SELECT * FROM azure_authentication
UNION ALL SELECT * FROM m365_authentication
UNION ALL SELECT * FROM cloudtrail_authentication
UNION ALL SELECT * FROM router_authentication
UNION ALL SELECT * FROM application_authentication;

-- 4001 Network Activity
CREATE VIEW network_activity AS
SELECT * FROM firewall_network_activity
UNION ALL SELECT * FROM ids_network_activity
UNION ALL SELECT * FROM zeek_network_activity
UNION ALL SELECT * FROM sysmon_network_activity
UNION ALL SELECT * FROM winsec_network_activity
UNION ALL SELECT * FROM edr_network_activity;

-- 4002 HTTP Activity
CREATE VIEW http_activity AS
SELECT * FROM proxy_http_activity
UNION ALL SELECT * FROM web_http_activity
UNION ALL SELECT * FROM ids_http_activity
UNION ALL SELECT * FROM zeek_http_activity;

-- 4003 DNS Activity
CREATE VIEW dns_activity AS
SELECT * FROM resolver_dns_activity
UNION ALL SELECT * FROM zeek_dns_activity
UNION ALL SELECT * FROM ids_dns_activity
UNION ALL SELECT * FROM sysmon_dns_activity;

-- 4009 Email Activity
CREATE VIEW email_activity AS
SELECT * FROM mail_email_activity;

-- 6003 API Activity
CREATE VIEW api_activity AS
SELECT * FROM cloudtrail_api_activity
UNION ALL SELECT * FROM azure_api_activity
UNION ALL SELECT * FROM m365_api_activity
UNION ALL SELECT * FROM router_api_activity
UNION ALL SELECT * FROM application_api_activity;

-- 201004 Windows Service Activity
CREATE VIEW service_activity AS
SELECT * FROM winsys_service_activity
UNION ALL SELECT * FROM winsec_service_activity;
