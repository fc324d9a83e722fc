--! id          = "linux.binary_padding"
--! title       = "Bytes appended to a program with dd"
--! severity    = "low"
--! status      = "test"
--! owner       = "endpoint-security"
--! description = """
--! dd reads a few bytes of zero or random and appends them somewhere: a program padded this way has a new hash and slips
--! past lists of known ones. Whole disks and large files are written with large blocks."""
--! attack      = ["T1027.001"]
--! entities    = { host = "host_name", user = "user_name", command_line = "command_line" }
--! risk_score  = 20
--! confidence  = 40
--! cooldown    = "1 hour"
--! false_positives = ["scripts that make small test files"]
SELECT
  time,
  device.hostname AS host_name,
  actor.user.name AS user_name,
  process.name AS process_name,
  process.cmd_line AS command_line,
  concat(coalesce(actor.user.name, 'somebody'), ' on ', device.hostname, ' padded a file: ', left(process.cmd_line, 160)) AS message
FROM process_activity
WHERE process.name = 'dd'
  AND regexp_like(process.cmd_line, 'if=/dev/(zero|u?random)')
  AND regexp_like(process.cmd_line, '\bbs=([0-9]{1,3}|1k)\b', 'i')
  AND regexp_like(process.cmd_line, '\bcount=[0-9]{1,3}\b')
