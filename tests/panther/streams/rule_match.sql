-- What a rule found in one event: the rule, and the fields that it reports under their own paths.
-- Each test of a correlation is a tenant of its own, so that all of them run at once.
CREATE STREAM rule_match (
  time TIMESTAMP, tenant STRING, rule_id STRING
) WITH (topic = 'rule-matches', format = 'json', event_time = 'time', columns = 'open', future_guard = '30 days');
