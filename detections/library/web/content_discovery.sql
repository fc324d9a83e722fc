--! id          = "web.content_discovery"
--! title       = "Search for hidden pages of a web server"
--! severity    = "low"
--! status      = "stable"
--! owner       = "application-security"
--! description = """
--! One client asks for very many different pages that do not exist within five minutes: a tool walks through a list of
--! names. Followed by answers, it found something."""
--! attack      = ["T1595.003"]
--! entities    = { src_ip = "src_ip", ip = "src_ip", host = "host_name" }
--! playbook    = "block_scanner"
--! risk_score  = 20
--! confidence  = 70
--! cooldown    = "2 hours"
--! params      = { pages = 60 }
--! false_positives = ["search engines after a site was rebuilt", "the site's own scanner: except its address"]
SELECT
  window_start,
  window_end,
  src_endpoint.ip AS src_ip,
  dst_endpoint.hostname AS host_name,
  count(DISTINCT http_request.url.path) AS pages,
  count(*) AS requests,
  max(http_request.user_agent) AS user_agent,
  concat(src_endpoint.ip, ' asked ', dst_endpoint.hostname, ' for ',
    CAST(count(DISTINCT http_request.url.path) AS STRING), ' pages that do not exist within five minutes') AS message
FROM TUMBLE(http_activity, time, INTERVAL '5 minutes')
WHERE http_response.code IN (400, 401, 403, 404, 405) AND src_endpoint.ip IS NOT NULL
GROUP BY src_endpoint.ip, dst_endpoint.hostname, window_start, window_end
HAVING count(DISTINCT http_request.url.path) >= $pages
