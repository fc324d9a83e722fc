-- Sign-ins of all applications, one JSON object per record.
CREATE STREAM signins (
  time        TIMESTAMP,
  user_name   STRING,
  src_ip      STRING,
  application STRING,
  status      STRING
) WITH (topic = 'logs.signins', format = 'json', event_time = 'time', lateness = '30 seconds');
