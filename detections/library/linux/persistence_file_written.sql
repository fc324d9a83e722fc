--! id          = "linux.persistence_file_written"
--! title       = "File that starts programs or opens access was written"
--! severity    = "medium"
--! status      = "stable"
--! owner       = "endpoint-security"
--! description = """
--! Writes to the files through which a system starts programs or lets people in: authorised SSH keys, cron tables,
--! systemd units, shell profiles, sudoers, PAM, and the library preload list. The preload list and PAM are high."""
--! attack      = ["T1098.004", "T1053.003", "T1543.002", "T1546.004", "T1548.003", "T1574.006"]
--! entities    = { host = "host_name", user = "user_name", file = "file_path", process = "process_name" }
--! risk_score  = 40
--! confidence  = 60
--! cooldown    = "30 minutes"
--! false_positives = ["configuration management: except its process", "package managers are left out"]
SELECT
  time,
  device.hostname AS host_name,
  actor.user.name AS user_name,
  actor.process.name AS process_name,
  file.path AS file_path,
  CASE WHEN regexp_like(file.path, '^/etc/(ld\.so\.preload|pam\.d/|sudoers)|/pam_[^/]+\.so$') THEN 'high' ELSE 'medium' END AS severity,
  concat(actor.process.name, ' on ', device.hostname, ' wrote ', file.path) AS message
FROM file_activity
WHERE activity_id IN (1, 3, 5)
  AND regexp_like(file.path, '/\.ssh/authorized_keys2?$|^/etc/(cron[^/]*(/|$)|ld\.so\.preload$|sudoers(\.d/|$)|pam\.d/|systemd/system/|profile(\.d/|$)|rc\.local$|init\.d/)|^/var/spool/cron/|^/(usr/)?lib/systemd/system/|/\.(bashrc|bash_profile|profile|zshrc)$|/pam_[^/]+\.so$')
  AND coalesce(actor.process.name, '') NOT IN ('dpkg', 'apt', 'apt-get', 'rpm', 'yum', 'dnf', 'zypper', 'pacman', 'snapd', 'unattended-upgr', 'useradd')
