--! id          = "m365.mass_download"
--! title       = "Mass download from SharePoint or OneDrive"
--! severity    = "medium"
--! status      = "stable"
--! owner       = "data-protection"
--! description = """
--! One user downloads or synchronises very many different files within ten minutes. A new device that synchronises its
--! folders does the same, so the alert carries how many sites were touched and from where."""
--! attack      = ["T1530", "T1567"]
--! entities    = { user = "user_name", src_ip = "src_ip", ip = "src_ip" }
--! risk_score  = 40
--! confidence  = 50
--! cooldown    = "4 hours"
--! params      = { files = 200 }
--! false_positives = ["the first synchronisation of a new device", "migration tools: except their account"]
SELECT
  window_start,
  window_end,
  lower(UserId) AS user_name,
  max(ClientIP) AS src_ip,
  count(DISTINCT ObjectId) AS files,
  count(DISTINCT SiteUrl) AS sites,
  concat(lower(UserId), ' downloaded ', CAST(count(DISTINCT ObjectId) AS STRING), ' files of ',
    CAST(count(DISTINCT SiteUrl) AS STRING), ' sites within ten minutes') AS message
FROM TUMBLE(m365_audit, CreationTime, INTERVAL '10 minutes')
WHERE Operation IN ('FileDownloaded', 'FileSyncDownloadedFull') AND UserId IS NOT NULL
GROUP BY lower(UserId), window_start, window_end
HAVING count(DISTINCT ObjectId) >= $files
