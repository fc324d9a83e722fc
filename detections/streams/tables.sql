-- What is known beside the events. Locations are relative to the project folder; a table is read again when its file
-- changes and swaps whole.

-- Indicators of compromise, lower case. `confidence` runs from 0 to 100.
CREATE TABLE indicators (
  indicator STRING,
  type STRING,
  category STRING,
  confidence BIGINT,
  source STRING,
  valid_from TIMESTAMP,
  valid_until TIMESTAMP
) WITH (location = 'tables/indicators.csv', format = 'csv', refresh = '1 minute');

-- Machines: who owns them and how much they matter. `hostname` is lower case.
CREATE TABLE assets (
  hostname STRING,
  ip STRING,
  owner STRING,
  role STRING,
  criticality STRING,
  is_scanner BOOLEAN
) WITH (location = 'tables/assets.csv', format = 'csv', refresh = '5 minutes');

-- People and service accounts, by their sign-in name in lower case.
CREATE TABLE identities (
  email STRING,
  account STRING,
  display_name STRING,
  department STRING,
  manager STRING,
  is_privileged BOOLEAN,
  is_service BOOLEAN
) WITH (location = 'tables/identities.csv', format = 'csv', refresh = '5 minutes');
