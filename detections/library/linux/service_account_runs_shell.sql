--! id          = "linux.service_account_runs_shell"
--! title       = "Service account of a server runs a shell or a download tool"
--! severity    = "high"
--! status      = "stable"
--! owner       = "endpoint-security"
--! description = """
--! The account of a web, application or database server starts a shell, a download tool or a discovery command. Servers
--! answer requests; after an exploited flaw, such as a JNDI look-up or a web shell, they do this."""
--! attack      = ["T1190", "T1505.003", "T1059.004"]
--! entities    = { host = "host_name", user = "user_name", process = "process_name", command_line = "command_line" }
--! risk_score  = 60
--! confidence  = 70
--! cooldown    = "30 minutes"
--! false_positives = ["start scripts and health checks of the service: except their command line", "applications that call convert, git or mail through a shell"]
SELECT
  time,
  device.hostname AS host_name,
  process.user.name AS user_name,
  process.name AS process_name,
  process.cmd_line AS command_line,
  process.working_directory AS working_directory,
  process.parent_process.name AS parent_name,
  concat(process.user.name, ' on ', device.hostname, ' ran: ', left(process.cmd_line, 160)) AS message
FROM process_activity
WHERE process.user.name IN (
    'www-data', 'apache', 'nginx', 'httpd', 'tomcat', 'tomcat8', 'tomcat9', 'jboss', 'wildfly', 'jetty', 'weblogic', 'solr',
    'elasticsearch', 'confluence', 'jira', 'postgres', 'mysql', 'redis', 'nobody')
  AND (
    (process.name IN ('sh', 'bash', 'dash', 'zsh', 'ksh')
     AND regexp_like(process.cmd_line, '\s-i\b|\s-c\b.*(curl|wget|nc |ncat|python|perl|base64|/tmp/|/dev/shm|chmod|id\b|whoami|uname)', 'i'))
    OR process.name IN ('curl', 'wget', 'nc', 'ncat', 'netcat', 'socat', 'whoami', 'id', 'chattr', 'crontab', 'nmap', 'base64'))
