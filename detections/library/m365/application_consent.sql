--! id          = "m365.application_consent"
--! title       = "Application granted far-reaching rights by consent"
--! severity    = "medium"
--! status      = "stable"
--! owner       = "identity-team"
--! description = """
--! Somebody consented to an application, or gave it application rights, and the scopes read or send mail, read files, or
--! change the directory. Consent phishing needs no password and survives a password reset."""
--! attack      = ["T1528", "T1098.003"]
--! entities    = { user = "user_name", application = "application" }
--! risk_score  = 50
--! confidence  = 60
--! cooldown    = "10 minutes"
--! false_positives = ["administrators who introduce a reviewed application"]
WITH consents AS (
  SELECT
    CreationTime,
    lower(UserId) AS user_name,
    ObjectId AS application,
    Operation AS operation,
    ModifiedProperties AS granted
  FROM m365_audit
  WHERE Operation IN ('Consent to application.', 'Add delegated permission grant.', 'Add app role assignment to service principal.')
    AND (ResultStatus IS NULL OR ResultStatus = 'Success')
)
SELECT
  CreationTime AS time,
  user_name,
  application,
  operation,
  left(granted, 400) AS granted,
  CASE WHEN regexp_like(granted, 'RoleManagement\.ReadWrite|Directory\.ReadWrite|AppRoleAssignment\.ReadWrite|full_access_as_app', 'i')
       THEN 'high' ELSE 'medium' END AS severity,
  concat(user_name, ' gave the application ', application, ' rights over mail, files or the directory') AS message
FROM consents
WHERE regexp_like(granted,
  '\b(Mail\.(Read|ReadWrite|Send)|MailboxSettings\.ReadWrite|Files\.(Read|ReadWrite)\.All|Sites\.(Read|ReadWrite|FullControl)\.All|Directory\.ReadWrite|RoleManagement\.ReadWrite|AppRoleAssignment\.ReadWrite|full_access_as_app|EWS\.AccessAsUser)', 'i')
