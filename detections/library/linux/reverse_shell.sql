--! id          = "linux.reverse_shell"
--! title       = "Shell connected to the network"
--! severity    = "critical"
--! status      = "stable"
--! owner       = "endpoint-security"
--! description = """
--! A command line that joins a shell to a socket: bash and /dev/tcp, netcat with -e, socat, and the one-liners of Python,
--! Perl, PHP and Ruby. There is hardly an honest use."""
--! attack      = ["T1059.004", "T1071"]
--! entities    = { host = "host_name", user = "user_name", process = "process_name", command_line = "command_line" }
--! risk_score  = 90
--! confidence  = 90
--! cooldown    = "10 minutes"
--! false_positives = ["exercises and security courses"]
SELECT
  time,
  device.hostname AS host_name,
  coalesce(actor.user.name, process.user.name) AS user_name,
  process.user.name AS run_as,
  process.name AS process_name,
  process.cmd_line AS command_line,
  nullif(regexp_replace(process.cmd_line, '^.*?\b((?:[0-9]{1,3}\.){3}[0-9]{1,3})\b.*$', '\1'), process.cmd_line) AS peer,
  concat('Shell to the network on ', device.hostname, ' as ', coalesce(process.user.name, actor.user.name), ': ', left(process.cmd_line, 160)) AS message
FROM process_activity
WHERE regexp_like(process.cmd_line, '/dev/(tcp|udp)/[^/ ]+/[0-9]+')
   OR (process.name IN ('nc', 'ncat', 'netcat', 'nc.openbsd', 'nc.traditional') AND regexp_like(process.cmd_line, '\s(-e|-c|--exec|--sh-exec)\s*\S*(sh|bash|cmd)\b'))
   OR (process.name = 'socat' AND regexp_like(process.cmd_line, 'exec:.*(sh|bash)|(sh|bash).*(tcp|openssl)', 'i'))
   OR (regexp_like(process.name, '^(python|perl|php|ruby|lua|node)')
       AND regexp_like(process.cmd_line, 'socket', 'i')
       AND regexp_like(process.cmd_line, '/bin/(ba|da|z)?sh|pty\.spawn|subprocess|exec\s*[({"'']', 'i')
       AND regexp_like(process.cmd_line, 'connect|dup2|sockaddr', 'i'))
   OR regexp_like(process.cmd_line, 'mkfifo\s+\S+\s*;.*\|\s*(nc|ncat|telnet|openssl)\b')
