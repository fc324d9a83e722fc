--! id          = "windows.domain_discovery_burst"
--! title       = "Several discovery commands in a row"
--! severity    = "medium"
--! status      = "stable"
--! owner       = "endpoint-security"
--! description = """
--! One user runs several different commands that ask who is here and what there is (whoami, net, nltest, ipconfig,
--! systeminfo, quser, arp, dsquery ...) on one host within five minutes. One of them is help-desk work, four are somebody
--! finding out where they landed."""
--! attack      = ["T1087", "T1069", "T1016", "T1033", "T1082", "T1482"]
--! entities    = { host = "host_name", user = "user_name" }
--! risk_score  = 40
--! confidence  = 60
--! cooldown    = "1 hour"
--! params      = { commands = 4 }
--! false_positives = ["logon scripts and inventory agents: except their parent process", "administrators at work"]
SELECT
  window_start,
  window_end,
  device.hostname AS host_name,
  actor.user.name AS user_name,
  count(DISTINCT process.name) AS commands,
  count(*) AS starts,
  max(process.parent_process.name) AS parent_name,
  concat(actor.user.name, ' ran ', CAST(count(DISTINCT process.name) AS STRING), ' different discovery commands on ',
    device.hostname, ' within five minutes') AS message
FROM TUMBLE(process_activity, time, INTERVAL '5 minutes')
WHERE process.name IN (
    'whoami.exe', 'net.exe', 'nltest.exe', 'ipconfig.exe', 'systeminfo.exe', 'quser.exe', 'qwinsta.exe', 'arp.exe',
    'route.exe', 'netstat.exe', 'nbtstat.exe', 'tasklist.exe', 'dsquery.exe', 'adfind.exe', 'hostname.exe', 'klist.exe',
    'cmdkey.exe', 'gpresult.exe', 'wmic.exe')
  AND actor.user.name IS NOT NULL
  -- Agents run as the machine itself and take stock all the time.
  AND actor.user.name NOT LIKE '%$' AND actor.user.name <> 'system'
GROUP BY device.hostname, actor.user.name, window_start, window_end
HAVING count(DISTINCT process.name) >= $commands
