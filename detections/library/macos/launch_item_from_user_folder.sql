--! id          = "macos.launch_item_from_user_folder"
--! title       = "Launch item that starts a program from an unusual folder"
--! severity    = "medium"
--! status      = "stable"
--! owner       = "endpoint-security"
--! description = """
--! A launch agent or daemon was registered whose program lies in a hidden folder, a temporary folder or the shared
--! folder, or is a script interpreter. Installed software starts from Applications or Library."""
--! attack      = ["T1543.001", "T1543.004"]
--! entities    = { host = "host_name", file = "file_path" }
--! risk_score  = 50
--! confidence  = 70
--! cooldown    = "30 minutes"
--! false_positives = ["developers' own agents: except the path"]
SELECT
  time,
  lower(host.hostname) AS host_name,
  event.btm_launch_item_add.item.item_type AS item_type,
  event.btm_launch_item_add.item.item_url AS item_url,
  event.btm_launch_item_add.executable_path AS file_path,
  process.executable.path AS set_by,
  CASE WHEN event.btm_launch_item_add.item.item_type = 'daemon' THEN 'high' ELSE 'medium' END AS severity,
  concat('A launch item on ', lower(host.hostname), ' starts ', event.btm_launch_item_add.executable_path) AS message
FROM macos_endpoint
WHERE event.btm_launch_item_add.executable_path IS NOT NULL
  AND NOT coalesce(event.btm_launch_item_add.item.managed, false)
  AND regexp_like(event.btm_launch_item_add.executable_path,
    '/\.[^/]+(/|$)|^(/private)?/(tmp|var/tmp|var/folders)/|^/Users/Shared/|/Downloads/|^(/usr)?/bin/(ba|z)?sh$|/(python3?|osascript|perl|ruby|curl|node)$')
