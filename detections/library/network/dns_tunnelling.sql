--! id          = "network.dns_tunnelling"
--! title       = "Data carried in the names of DNS queries"
--! severity    = "high"
--! status      = "test"
--! owner       = "network-security"
--! description = """
--! One client looks up very many different long names below one domain within five minutes: the names carry the data.
--! Content networks and anti-virus look-ups do the same with shorter names; the average length tells them apart."""
--! attack      = ["T1071.004", "T1048.003", "T1572"]
--! entities    = { src_ip = "src_ip", ip = "src_ip", domain = "domain" }
--! risk_score  = 70
--! confidence  = 60
--! cooldown    = "1 hour"
--! params      = { names = 100, length = 50 }
--! false_positives = ["reputation services that ask by DNS: except their domain"]
SELECT
  window_start,
  window_end,
  src_endpoint.ip AS src_ip,
  registered_domain(query.hostname) AS domain,
  count(DISTINCT query.hostname) AS names,
  count(*) AS queries,
  avg(length(query.hostname)) AS average_length,
  max(length(query.hostname)) AS longest,
  concat(src_endpoint.ip, ' looked up ', CAST(count(DISTINCT query.hostname) AS STRING), ' long names below ',
    registered_domain(query.hostname), ' within five minutes') AS message
FROM TUMBLE(dns_activity, time, INTERVAL '5 minutes')
WHERE src_endpoint.ip IS NOT NULL
  AND length(query.hostname) >= 30
  AND query.hostname NOT LIKE '%.arpa'
GROUP BY src_endpoint.ip, registered_domain(query.hostname), window_start, window_end
HAVING count(DISTINCT query.hostname) >= $names AND avg(length(query.hostname)) >= $length
