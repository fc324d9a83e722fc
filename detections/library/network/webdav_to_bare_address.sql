--! id          = "network.webdav_to_bare_address"
--! title       = "WebDAV to a server without a name"
--! severity    = "medium"
--! status      = "stable"
--! owner       = "network-security"
--! description = """
--! The WebDAV client of Windows talks to a server by its bare address and reads a program from it or writes an archive to
--! it. Tools are staged and data leaves this way, because to the user's programs it is an ordinary network drive."""
--! attack      = ["T1071.001", "T1105", "T1048.003"]
--! entities    = { src_ip = "src_ip", ip = "src_ip", dst_ip = "server", url = "url" }
--! risk_score  = 60
--! confidence  = 70
--! cooldown    = "1 hour"
--! false_positives = ["appliances that offer a WebDAV share by address"]
SELECT
  time,
  src_endpoint.ip AS src_ip,
  http_request.url.hostname AS server,
  http_request.http_method AS http_method,
  http_request.url.url_string AS url,
  http_request.user_agent AS user_agent,
  CASE WHEN http_request.http_method = 'PUT' THEN 'high' ELSE 'medium' END AS severity,
  concat(src_endpoint.ip, CASE WHEN http_request.http_method = 'PUT' THEN ' wrote ' ELSE ' read ' END,
    http_request.url.url_string, ' over WebDAV') AS message
FROM http_activity
WHERE regexp_like(http_request.user_agent, '^(microsoft-webdav-miniredir|davclnt)', 'i')
  AND regexp_like(http_request.url.hostname, '^[0-9]{1,3}(\.[0-9]{1,3}){3}$')
  AND ((http_request.http_method = 'PUT' AND regexp_like(http_request.url.path, '\.(7z|zip|rar|gz|tar|cab|iso|vhdx?|dmp|sql|bak)$', 'i'))
       OR (http_request.http_method = 'GET' AND regexp_like(http_request.url.path, '\.(exe|dll|scr|ps1|vbs|js|hta|bat|cmd|lnk|msi|cpl)$', 'i')))
