--! id          = "application.mass_export"
--! title       = "Unusually large export from an application"
--! severity    = "medium"
--! status      = "test"
--! owner       = "data-protection"
--! description = """
--! One user exports or prints more records within an hour than work explains. Works for every application that logs
--! `event.action` and the number of rows in `labels.rows`."""
--! attack      = ["T1213", "T1005"]
--! entities    = { user = "user_name", application = "application", src_ip = "src_ip" }
--! risk_score  = 40
--! confidence  = 50
--! cooldown    = "4 hours"
--! params      = { rows = 50000 }
--! false_positives = ["month-end reports: except the accounts that make them"]
SELECT
  window_start,
  window_end,
  lower(coalesce("user.email", "user.name")) AS user_name,
  "service.name" AS application,
  max("source.ip") AS src_ip,
  sum("labels.rows") AS exported_rows,
  count(*) AS exports,
  concat(lower(coalesce("user.email", "user.name")), ' exported ', CAST(sum("labels.rows") AS STRING), ' rows from ',
    "service.name", ' within an hour') AS message
FROM TUMBLE(application, "@timestamp", INTERVAL '1 hour')
WHERE "event.action" IN ('export', 'download', 'report-export', 'bulk-read', 'print')
  AND "labels.rows" > 0
  AND coalesce("event.outcome", 'success') = 'success'
GROUP BY lower(coalesce("user.email", "user.name")), "service.name", window_start, window_end
HAVING sum("labels.rows") >= $rows
