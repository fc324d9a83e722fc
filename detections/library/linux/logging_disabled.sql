--! id          = "linux.logging_disabled"
--! title       = "Logging or protection of a Linux host switched off"
--! severity    = "high"
--! status      = "stable"
--! owner       = "endpoint-security"
--! description = """
--! Commands that stop the audit system, the system log, SELinux or the firewall, flush their rules, or shred history and
--! logs."""
--! attack      = ["T1562.001", "T1562.012", "T1562.004", "T1070.002", "T1070.003"]
--! entities    = { host = "host_name", user = "user_name", process = "process_name", command_line = "command_line" }
--! risk_score  = 60
--! confidence  = 80
--! cooldown    = "10 minutes"
--! false_positives = ["image builds and firewall changes by configuration management"]
SELECT
  time,
  device.hostname AS host_name,
  actor.user.name AS user_name,
  process.user.name AS run_as,
  process.name AS process_name,
  process.cmd_line AS command_line,
  concat(actor.user.name, ' on ', device.hostname, ' ran: ', left(process.cmd_line, 160)) AS message
FROM process_activity
WHERE (process.name = 'auditctl' AND regexp_like(process.cmd_line, '\s-e\s*0\b|\s-D\b'))
   OR (process.name IN ('systemctl', 'service', 'chkconfig', 'update-rc.d')
       AND regexp_like(process.cmd_line, '\b(stop|disable|mask|kill)\b')
       AND regexp_like(process.cmd_line, '\b(auditd|rsyslog|syslog-ng|systemd-journald|firewalld|ufw|auditbeat|falcon-sensor|mdatp|wazuh-agent|osqueryd)\b'))
   OR (process.name = 'setenforce' AND regexp_like(process.cmd_line, '\b(0|permissive)\b', 'i'))
   OR (process.name IN ('iptables', 'ip6tables', 'nft') AND regexp_like(process.cmd_line, '\s(-F|--flush)\b|flush\s+ruleset'))
   OR (process.name = 'ufw' AND regexp_like(process.cmd_line, '\bdisable\b'))
   OR (process.name IN ('shred', 'rm', 'truncate', 'ln') AND regexp_like(process.cmd_line, '/var/log/(audit|auth\.log|secure|syslog|wtmp|btmp|lastlog|messages)|\.bash_history'))
