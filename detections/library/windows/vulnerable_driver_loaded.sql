--! id          = "windows.vulnerable_driver_loaded"
--! title       = "Vulnerable or badly signed driver loaded"
--! severity    = "high"
--! status      = "stable"
--! owner       = "endpoint-security"
--! description = """
--! A driver was loaded that attackers bring along because it lets any program read and write the kernel, or one whose
--! signature is missing, revoked or expired. From there they end security products and open protected processes."""
--! attack      = ["T1068", "T1562.001", "T1014"]
--! entities    = { host = "host_name", file = "driver_path", hash = "sha256" }
--! risk_score  = 70
--! confidence  = 70
--! cooldown    = "1 hour"
--! false_positives = ["tuning and overclocking tools of the maker of the machine: except by hash", "test machines of driver developers"]
SELECT
  time,
  device.hostname AS host_name,
  module.file.name AS driver_name,
  module.file.path AS driver_path,
  module.file.hashes.sha256 AS sha256,
  module.file.signature.subject AS signer,
  module.file.signature.state AS signature_state,
  concat('The driver ', module.file.path, ' was loaded on ', device.hostname, '; signed by ',
    coalesce(nullif(module.file.signature.subject, ''), 'nobody'), ' (', coalesce(module.file.signature.state, 'unknown'), ')') AS message
FROM module_activity
WHERE module.type = 'driver'
  AND (
    module.file.name IN (
      'zam64.sys', 'zamguard64.sys', 'rtcore64.sys', 'rtcore32.sys', 'dbutil_2_3.sys', 'dbutildrv2.sys', 'gdrv.sys', 'iqvw64e.sys',
      'kprocesshacker.sys', 'mhyprot2.sys', 'aswarpot.sys', 'truesight.sys', 'winring0x64.sys', 'asrdrv101.sys', 'capcom.sys',
      'physmem.sys', 'elrawdsk.sys', 'viragt64.sys', 'bs_def64.sys', 'nvflash.sys', 'gmer64.sys', 'echo_driver.sys')
    OR module.file.signature.is_signed = false
    OR lower(module.file.signature.state) IN ('revoked', 'expired', 'invalid', 'errorbadsignature', 'errordigest'))
