--! id          = "windows.child_of_signed_binary"
--! title       = "Unexpected child of a signed Windows program"
--! severity    = "high"
--! status      = "stable"
--! owner       = "endpoint-security"
--! description = """
--! Compiled help, mshta, wmic, regsvr32, InstallUtil, Register-CimProvider and the WMI provider host start a shell or
--! another program. These parents show something or register something; a child means that they ran code. The child of
--! wmiprvse.exe was started over WMI, often from another machine."""
--! attack      = ["T1218", "T1047", "T1059"]
--! entities    = { host = "host_name", user = "user_name", process = "process_name", command_line = "command_line" }
--! risk_score  = 60
--! confidence  = 70
--! cooldown    = "10 minutes"
--! false_positives = ["management agents that start programs over WMI: except their command lines"]
SELECT
  time,
  device.hostname AS host_name,
  coalesce(process.user.name, actor.user.name) AS user_name,
  process.name AS process_name,
  process.cmd_line AS command_line,
  process.parent_process.name AS parent_name,
  concat(process.parent_process.name, ' on ', device.hostname, ' started ', process.name, ': ', left(process.cmd_line, 160)) AS message
FROM process_activity
WHERE (process.parent_process.name IN ('hh.exe', 'mshta.exe', 'wmic.exe', 'regsvr32.exe', 'installutil.exe', 'register-cimprovider.exe', 'cmstp.exe', 'odbcconf.exe')
       AND process.name NOT IN ('werfault.exe', 'conhost.exe', 'consent.exe', 'mshta.exe', 'regsvr32.exe'))
   OR (process.parent_process.name = 'wmiprvse.exe'
       AND process.name IN ('powershell.exe', 'pwsh.exe', 'cmd.exe', 'whoami.exe', 'mshta.exe', 'rundll32.exe', 'regsvr32.exe',
                            'wscript.exe', 'cscript.exe', 'certutil.exe', 'net.exe', 'nltest.exe'))
   OR (process.parent_process.name = 'wsmprovhost.exe'
       AND process.name IN ('cmd.exe', 'powershell.exe', 'whoami.exe', 'net.exe', 'mshta.exe', 'rundll32.exe', 'regsvr32.exe'))
