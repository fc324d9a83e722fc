--! id          = "windows.offensive_script_block"
--! title       = "PowerShell script that looks like an attack tool"
--! severity    = "high"
--! status      = "stable"
--! owner       = "endpoint-security"
--! description = """
--! Script block logging shows what PowerShell really ran, after every layer of encoding is peeled off. Alerts on the
--! names of tool kits, on the tricks that blind the virus scanner and logging, on reading memory and the credential
--! vault, and on code that is loaded into memory from text."""
--! attack      = ["T1059.001", "T1562.001", "T1620", "T1555.004", "T1003"]
--! entities    = { host = "host_name", file = "script_file" }
--! risk_score  = 70
--! confidence  = 70
--! cooldown    = "30 minutes"
--! false_positives = ["security tools that carry the names in their signatures: except their path"]
SELECT
  time,
  device.hostname AS host_name,
  script.uid AS script_id,
  script.file.path AS script_file,
  left(script.script_content, 500) AS script_start,
  concat('Suspicious script on ', device.hostname, ': ', left(regexp_replace(script.script_content, '\s+', ' ', 'g'), 160)) AS message
FROM script_activity
WHERE regexp_like(script.script_content,
    'invoke-(mimikatz|dcsync|kerberoast|bloodhound|tokenmanipulation|reflectivepeinjection|shellcode|wmiexec|smbexec|psinject|ninjacopy|credentialinjection)|get-(keystrokes|gpppassword|vaultcredential|lsasecret)|sharphound|rubeus|powerview|out-minidump', 'i')
   OR regexp_like(script.script_content, 'amsiutils|amsiinitfailed|amsiscanbuffer|cachedgrouppolicysettings|scriptblocklogging.{0,40}(=|0)|etweventwrite', 'i')
   OR regexp_like(script.script_content, 'security\.credentials\.passwordvault.*(retrievepassword|retrieveall|findallby)', 'is')
   OR (regexp_like(script.script_content, 'virtualalloc|writeprocessmemory|createremotethread|minidumpwritedump|queueuserapc', 'i')
       AND regexp_like(script.script_content, 'getdelegateforfunctionpointer|definedynamicassembly|add-type|dllimport|frombase64string', 'i'))
   OR regexp_like(script.script_content, 'reflection\.assembly\]::load\(\s*(\[system\.)?\[?(convert|io\.|\$)', 'i')
