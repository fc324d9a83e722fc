--! id          = "identity.privileged_group_member_added"
--! title       = "Account added to a privileged Windows group"
--! severity    = "high"
--! status      = "stable"
--! owner       = "identity-team"
--! description = """
--! A member joins a group that controls the domain or a machine. The groups are known by the last part of their
--! security identifier where Windows fixes it, and by name for the rest, so that a renamed or translated group counts."""
--! attack      = ["T1098.007", "T1136"]
--! entities    = { user = "actor_name", target_user = "member", group = "group_name", host = "host_name" }
--! risk_score  = 60
--! confidence  = 80
--! cooldown    = "10 minutes"
--! false_positives = ["planned changes by the identity team: match with the ticket"]
SELECT
  time,
  device.hostname AS host_name,
  actor.user.name AS actor_name,
  coalesce(user.name, user.uid) AS member,
  "group".name AS group_name,
  concat(actor.user.name, ' added ', coalesce(user.name, user.uid), ' to ', "group".name, ' on ', device.hostname) AS message
FROM account_change
WHERE class_uid = 3006
  AND operation = 'add member'
  AND (
    -- Domain, schema, enterprise and key admins, group policy owners; administrators, account, server, backup operators.
    regexp_like("group".uid, '^S-1-5-21-.*-(512|518|519|520|526|527)$|^S-1-5-32-(544|548|549|551)$')
    OR lower("group".name) IN ('dnsadmins', 'exchange windows permissions', 'organization management', 'exchange trusted subsystem', 'schema admins', 'enterprise admins', 'domain admins'))
