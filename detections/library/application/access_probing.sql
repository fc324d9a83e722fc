--! id          = "application.access_probing"
--! title       = "One user is refused at many different objects"
--! severity    = "medium"
--! status      = "test"
--! owner       = "application-security"
--! description = """
--! An application refuses one user at many different objects or addresses within ten minutes: somebody counts through
--! identifiers or tries what the account may do. A broken page asks for the same object again and again instead."""
--! attack      = ["T1190", "T1212"]
--! entities    = { user = "user_name", application = "application", src_ip = "src_ip", ip = "src_ip" }
--! risk_score  = 40
--! confidence  = 60
--! cooldown    = "1 hour"
--! params      = { objects = 25 }
--! false_positives = ["a role that lost rights while its users still have the old links"]
SELECT
  window_start,
  window_end,
  actor.user.name AS user_name,
  api.service.name AS application,
  max(src_endpoint.ip) AS src_ip,
  count(DISTINCT coalesce(resource.name, resource.uid)) AS objects,
  count(*) AS refusals,
  concat(actor.user.name, ' was refused at ', CAST(count(DISTINCT coalesce(resource.name, resource.uid)) AS STRING),
    ' different objects of ', api.service.name, ' within ten minutes') AS message
FROM TUMBLE(application_api_activity, time, INTERVAL '10 minutes')
WHERE status = 'Failure'
  AND regexp_like(coalesce(api.response.error, ''), 'denied|forbidden|unauthori[sz]ed|permission|403', 'i')
  AND actor.user.name IS NOT NULL
GROUP BY actor.user.name, api.service.name, window_start, window_end
HAVING count(DISTINCT coalesce(resource.name, resource.uid)) >= $objects
