-- Weir's window functions as DuckDB macros, so that a detection can be run in DuckDB over rows that lie there.
--
--     duckdb -init docs/macros.duckdb.sql
--     CREATE VIEW signin AS SELECT * FROM delta_scan('archive/signin');
--     SELECT user_name, count(*) FROM TUMBLE(signin, time, INTERVAL '5 minutes') GROUP BY user_name, window_start;
--
-- The cases of engine/golden that DuckDB can be asked must give the same rows there (tests/duckdb/compare.py, with the version
-- in the requirements.txt beside it). DuckDB knows no watermark: it takes every row of the table, late ones too.
--
-- To be written otherwise in DuckDB: `regexp_matches(x, 'p')` for `x ~ 'p'` (its own `~` wants all of the text to match),
-- TRY_CAST for CAST, and ESCAPE '\' where a pattern of LIKE has a backslash. It has no MATCH_RECOGNIZE, and of
-- docs/functions.md only what stands at the end of this file.

-- `/` between whole numbers is whole, and a division by zero is NULL, as in Weir.
SET integer_division = true;
SET error_on_division_by_zero = false;

-- Windows of one size, end to end. `shift` moves their edges, which otherwise lie at multiples of the size since 1970.
CREATE OR REPLACE MACRO tumble(stream, event_time, size, shift := INTERVAL '0 seconds') AS TABLE
SELECT *,
    time_bucket(size, event_time, TIMESTAMP '1970-01-01' + shift) AS window_start,
    time_bucket(size, event_time, TIMESTAMP '1970-01-01' + shift) + size AS window_end
FROM query_table(stream);

-- Windows of one size that begin every `slide`. A row is in each that holds it.
CREATE OR REPLACE MACRO hop(stream, event_time, slide, size, shift := INTERVAL '0 seconds') AS TABLE
SELECT *, window_start + size AS window_end
FROM (
    SELECT *, unnest(generate_series(
        time_bucket(slide, event_time - size, TIMESTAMP '1970-01-01' + shift),
        time_bucket(slide, event_time, TIMESTAMP '1970-01-01' + shift),
        slide)) AS window_start
    FROM query_table(stream)
)
WHERE event_time < window_start + size;

-- Windows that begin together and grow by `step` up to `size`. A row is in each that ends behind it.
CREATE OR REPLACE MACRO cumulate(stream, event_time, step, size, shift := INTERVAL '0 seconds') AS TABLE
SELECT *
FROM (
    SELECT *, unnest(generate_series(window_start + step, window_start + size, step)) AS window_end
    FROM (
        SELECT *, time_bucket(size, event_time, TIMESTAMP '1970-01-01' + shift) AS window_start
        FROM query_table(stream)
    )
)
WHERE event_time < window_end;

-- Windows that go on as long as rows come, for each of up to three keys: a window is over `gap` behind its last row.
CREATE OR REPLACE MACRO session(stream, event_time, gap, key_1 := NULL, key_2 := NULL, key_3 := NULL) AS TABLE
SELECT * EXCLUDE (session_begins, session_number),
    min(event_time) OVER (PARTITION BY key_1, key_2, key_3, session_number) AS window_start,
    max(event_time) OVER (PARTITION BY key_1, key_2, key_3, session_number) + gap AS window_end
FROM (
    SELECT *, count_if(session_begins) OVER (PARTITION BY key_1, key_2, key_3 ORDER BY event_time) AS session_number
    FROM (
        SELECT *, coalesce(event_time - lag(event_time) OVER (PARTITION BY key_1, key_2, key_3 ORDER BY event_time) >= gap, true)
            AS session_begins
        FROM query_table(stream)
    )
);

-- The start of the span of `size` that a time lies in.
CREATE OR REPLACE MACRO date_bin(size, event_time, origin := TIMESTAMP '1970-01-01') AS
    time_bucket(size, event_time, origin);

-- Whether a regular expression is found anywhere in a text.
CREATE OR REPLACE MACRO regexp_like(text, pattern, flags := '') AS regexp_matches(text, pattern, flags);

-- A field of JSON in a text, without the quotes of a string.
CREATE OR REPLACE MACRO json_get(text, path) AS
    CASE WHEN json_valid(text) THEN json_extract_string(text, '$.' || path) END;

-- Whether a domain is `suffix` or below it.
CREATE OR REPLACE MACRO domain_suffix(domain, suffix) AS
    rtrim(lower(domain), '.') = rtrim(lower(suffix), '.')
    OR ends_with(rtrim(lower(domain), '.'), '.' || rtrim(lower(suffix), '.'));

-- Shannon entropy of a text in bits per character.
CREATE OR REPLACE MACRO entropy(text) AS list_entropy(string_split(text, ''));
