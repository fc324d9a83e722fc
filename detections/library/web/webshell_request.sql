--! id          = "web.webshell_request"
--! title       = "Script called in an upload folder"
--! severity    = "high"
--! status      = "test"
--! owner       = "application-security"
--! description = """
--! A script below a folder that is meant for uploads or pictures is called and answers: what a web shell looks like from
--! outside. A command in the query raises the severity."""
--! attack      = ["T1505.003", "T1190"]
--! entities    = { src_ip = "src_ip", ip = "src_ip", host = "host_name", url = "url" }
--! risk_score  = 60
--! confidence  = 70
--! cooldown    = "1 hour"
--! false_positives = ["applications that keep scripts next to their media: except the path"]
SELECT
  time,
  src_endpoint.ip AS src_ip,
  dst_endpoint.hostname AS host_name,
  http_request.http_method AS http_method,
  http_request.url.url_string AS url,
  http_request.user_agent AS user_agent,
  http_response.code AS code,
  CASE WHEN regexp_like(http_request.url.path, '[?&](cmd|exec|command|c|execute|shell)=|whoami|/etc/passwd|ipconfig|net(\+|%20)user', 'i')
       THEN 'critical' ELSE 'high' END AS severity,
  concat(src_endpoint.ip, ' called ', http_request.url.path, ' on ', dst_endpoint.hostname) AS message
FROM http_activity
WHERE regexp_like(http_request.url.path, '/(uploads?|images?|img|media|avatars?|files|tmp|temp|attachments|wp-content/uploads)/[^?]*\.(php[0-9]?|phtml|phar|jsp|jspx|aspx?|ashx|cfm|cgi)([/?;]|$)', 'i')
  AND http_response.code BETWEEN 200 AND 299
  AND http_request.http_method IN ('GET', 'POST')
