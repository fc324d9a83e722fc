--! id          = "windows.remote_execution_service"
--! title       = "Service installed to run a command"
--! severity    = "high"
--! status      = "stable"
--! owner       = "endpoint-security"
--! description = """
--! Tools that run commands on another machine install a service there for a moment: PsExec and its copies by name, others
--! with a command interpreter, an encoded command, an administrative share or a random name in the Windows folder as the
--! service's program."""
--! attack      = ["T1569.002", "T1543.003", "T1021.002"]
--! entities    = { host = "host_name", user = "user_name", service = "service_name", command_line = "command_line" }
--! risk_score  = 70
--! confidence  = 80
--! cooldown    = "10 minutes"
--! false_positives = ["administrators who use PsExec: except their jump hosts, or better, replace the tool"]
SELECT
  time,
  device.hostname AS host_name,
  actor.user.name AS user_name,
  win_service.name AS service_name,
  win_service.cmd_line AS command_line,
  win_service.run_as AS run_as,
  concat('Service "', left(win_service.name, 60), '" on ', device.hostname, ' runs: ', left(win_service.cmd_line, 160)) AS message
FROM service_activity
WHERE regexp_like(win_service.name, '^(psexesvc|paexec|csexecsvc|remcomsvc|winexesvc|btobto|kmserve)', 'i')
   OR regexp_like(win_service.cmd_line, '(psexesvc|paexec|remcomsvc|winexesvc)[^\\]*\.exe', 'i')
   OR regexp_like(win_service.cmd_line, '(%comspec%|\bcmd(\.exe)?\b)\s.*/[qbc]\b|\bpowershell(\.exe)?\b|\bpwsh(\.exe)?\b|\\\\\.\\pipe\\|\\admin\$\\|\\\\127\.0\.0\.1\\', 'i')
   -- %SystemRoot%\duKhLYUX.exe: eight letters, directly in the Windows folder.
   OR regexp_like(win_service.cmd_line, '^(%systemroot%|c:\\windows)\\[a-zA-Z]{8}\.exe$', 'i')
