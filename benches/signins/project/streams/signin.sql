CREATE STREAM signin (
  time TIMESTAMP, user_name STRING, src_ip STRING, app STRING, status STRING, country STRING, user_agent STRING
) WITH (topic = 'signin', format = 'json', event_time = 'time', lateness = '5 seconds');
