--! id          = "network.self_signed_tls_burst"
--! title       = "Many TLS sessions with a self-signed server"
--! severity    = "medium"
--! status      = "stable"
--! owner       = "network-security"
--! description = """
--! One client opens very many TLS sessions to one server whose certificate nobody but itself signed, within an hour.
--! Management pages of devices are self-signed too, but nobody reloads them hundreds of times: implants do."""
--! attack      = ["T1573.002", "T1071.001"]
--! entities    = { src_ip = "src_ip", ip = "src_ip", dst_ip = "dst_ip" }
--! risk_score  = 50
--! confidence  = 60
--! cooldown    = "4 hours"
--! params      = { sessions = 100 }
--! false_positives = ["agents of on-premises products with their own certificates: except their servers"]
SELECT
  window_start,
  window_end,
  coalesce("id.orig_h", id_orig_h) AS src_ip,
  coalesce("id.resp_h", id_resp_h) AS dst_ip,
  coalesce("id.resp_p", id_resp_p) AS dst_port,
  max(subject) AS certificate_subject,
  max(ja3) AS ja3,
  count(*) AS sessions,
  concat(coalesce("id.orig_h", id_orig_h), ' opened ', CAST(count(*) AS STRING), ' TLS sessions to ',
    coalesce("id.resp_h", id_resp_h), ', whose certificate is self-signed, within an hour') AS message
FROM TUMBLE(zeek, ts, INTERVAL '1 hour')
WHERE coalesce(_path, "@stream") = 'ssl' AND validation_status LIKE 'self signed certificate%'
GROUP BY coalesce("id.orig_h", id_orig_h), coalesce("id.resp_h", id_resp_h), coalesce("id.resp_p", id_resp_p),
  window_start, window_end
HAVING count(*) >= $sessions
