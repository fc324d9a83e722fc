//! `streams/*.sql`: what is read, and what is told at which place.

use arrow::datatypes::{DataType, Field, Fields};
use proptest::prelude::*;

use super::*;
use crate::catalog::{Format, Stream, TIME_TYPE, Table, TableFormat};

fn read(text: &str) -> (Catalog, Vec<Diagnostic>) {
    parse_catalog(&[("streams/a.sql".to_owned(), text.to_owned())])
}

fn told(diagnostics: &[Diagnostic]) -> String {
    diagnostics
        .iter()
        .map(|diagnostic| Diagnostic { file: None, ..diagnostic.clone() }.to_string())
        .collect::<Vec<_>>()
        .join("\n")
}

fn catalog(text: &str) -> Catalog {
    let (catalog, diagnostics) = read(text);
    assert!(diagnostics.is_empty(), "{text}\n{}", told(&diagnostics));
    catalog
}

fn stream(text: &str) -> Stream {
    catalog(text).streams().next().unwrap().as_ref().clone()
}

fn table(text: &str) -> Table {
    catalog(text).tables().next().unwrap().as_ref().clone()
}

fn refusal(text: &str) -> String {
    let (_, diagnostics) = read(text);
    assert!(!diagnostics.is_empty(), "accepted: {text}");
    told(&diagnostics)
}

/// The type of the column `x` when it is declared so.
fn typed(data_type: &str) -> DataType {
    stream(&format!("CREATE STREAM s (t TIMESTAMP, x {data_type}) WITH (event_time = t)")).columns[1]
        .data_type()
        .clone()
}

#[test]
fn a_stream_is_read_whole() {
    let stream = stream(
        "-- Sysmon, as winlogbeat sends it.
         CREATE STREAM Sysmon ( /* ; */
           UtcTime TIMESTAMP, Computer STRING, EventID INT, \"event.code\" STRING COMMENT 'code; quoted',
           user STRUCT<name STRING, id BIGINT>
         ) WITH (topic = 'logs.a, logs.b', format = 'json', event_time = 'utctime', time_zone = 'Europe/Berlin',
                 lateness = '1 hour 30 minutes', future_guard = '5 min', columns = 'open', event_id = 'user.ID', tenant = 'Computer');",
    );
    assert_eq!(stream.name, "Sysmon");
    let names: Vec<_> = stream.columns.iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["UtcTime", "Computer", "EventID", "event.code", "user"]);
    assert!(stream.columns.iter().all(|field| field.is_nullable()));
    assert_eq!(stream.topics, ["logs.a", "logs.b"]);
    assert_eq!(stream.format, Format::Json);
    assert_eq!(stream.event_time, "UtcTime");
    assert_eq!(stream.time_zone, chrono_tz::Europe::Berlin);
    assert_eq!(stream.lateness_us, 5_400_000_000);
    assert_eq!(stream.future_guard_us, 300_000_000);
    assert!(stream.open);
    assert_eq!(stream.event_id.as_deref(), Some("user.id"));
    assert_eq!(stream.tenant.as_deref(), Some("Computer"));
}

#[test]
fn what_is_not_said_has_a_default() {
    let stream = stream("CREATE STREAM s (time TIMESTAMP) WITH (event_time = time)");
    assert_eq!((stream.lateness_us, stream.future_guard_us, stream.open), (30_000_000, 3_600_000_000, false));
    assert_eq!((stream.time_zone, stream.topics.len()), (chrono_tz::UTC, 0));
    let table = table("CREATE TABLE t (ip STRING) WITH (location = 'x/a.CSV')");
    assert_eq!((table.format, table.refresh_us), (TableFormat::Csv, 900_000_000));
}

#[test]
fn flinks_watermark_gives_event_time_and_lateness() {
    let stream = stream(
        "CREATE STREAM s (meta ROW(time TIMESTAMP(3)), WATERMARK FOR Meta.Time AS meta.time - INTERVAL '30' SECOND)",
    );
    assert_eq!((stream.event_time.as_str(), stream.lateness_us), ("meta.time", 30_000_000));
    let stream = self::stream(
        "CREATE STREAM s (t TIMESTAMP, WATERMARK FOR t AS t - INTERVAL '2 minutes') WITH ('topic' = '^a[,b].*')",
    );
    assert_eq!((stream.lateness_us, stream.topics), (120_000_000, vec!["^a[,b].*".to_owned()]));
    assert_eq!(self::stream("CREATE STREAM s (t TIMESTAMP, WATERMARK FOR t AS t)").lateness_us, 0);
}

#[test]
fn types_are_arrow_types() {
    let text = || Field::new("name", DataType::Utf8View, true);
    let list = |item| DataType::List(std::sync::Arc::new(Field::new_list_field(item, true)));
    let cases = [
        ("STRING", DataType::Utf8View),
        ("varchar(255)", DataType::Utf8View),
        ("Text", DataType::Utf8View),
        ("TINYINT", DataType::Int8),
        ("SMALLINT", DataType::Int16),
        ("INTEGER", DataType::Int32),
        ("BIGINT", DataType::Int64),
        ("BIGINT UNSIGNED", DataType::UInt64),
        ("unsigned int", DataType::UInt32),
        ("REAL", DataType::Float32),
        ("DOUBLE PRECISION", DataType::Float64),
        ("BOOLEAN", DataType::Boolean),
        ("TIMESTAMP(6) WITH TIME ZONE", TIME_TYPE),
        ("TIMESTAMP WITHOUT TIME ZONE", TIME_TYPE),
        ("DATE", DataType::Date32),
        ("BINARY", DataType::BinaryView),
        ("ARRAY<STRING>", list(DataType::Utf8View)),
        ("INT[][]", list(list(DataType::Int32))),
        ("STRUCT<name STRING>[]", list(DataType::Struct(Fields::from(vec![text()])))),
        ("ROW(name STRING)", DataType::Struct(Fields::from(vec![text()]))),
        ("ARRAY<ARRAY<STRUCT<name: STRING>>>", list(list(DataType::Struct(Fields::from(vec![text()]))))),
        (
            "STRUCT<a STRUCT<b ARRAY<INT>>, type STRING>",
            DataType::Struct(Fields::from(vec![
                Field::new(
                    "a",
                    DataType::Struct(Fields::from(vec![Field::new("b", list(DataType::Int32), true)])),
                    true,
                ),
                Field::new("type", DataType::Utf8View, true),
            ])),
        ),
    ];
    for (written, expected) in cases {
        assert_eq!(typed(written), expected, "{written}");
    }
}

#[test]
fn words_of_sql_are_column_names() {
    let stream = stream(
        "CREATE STREAM s (user STRING, time TIMESTAMP, type STRING, name STRING, process STRING, date DATE, timestamp TIMESTAMP,
           \"group\" STRING, order STRING, select STRING, struct STRUCT<row INT>, watermark STRING, _path STRING) WITH (event_time = 'time')",
    );
    assert_eq!(stream.columns.len(), 13);
}

#[test]
fn a_view_keeps_its_text_and_its_place() {
    let text = "CREATE STREAM s (t TIMESTAMP) WITH (event_time = 't');\n\nCREATE VIEW v AS -- ä\n  SELECT t, 'ü;' AS x\n  FROM s -- end\n;";
    let catalog = catalog(text);
    let view = catalog.views().next().unwrap();
    assert_eq!(view.sql, "SELECT t, 'ü;' AS x\n  FROM s");
    assert_eq!(view.start, Place { line: 4, column: 3 });
    let view = self::catalog("/* é */ CREATE VIEW v AS SELECT 'é' AS x").views().next().unwrap().as_ref().clone();
    assert_eq!((view.sql.as_str(), view.start), ("SELECT 'é' AS x", Place { line: 1, column: 26 }));
}

#[test]
fn mistakes_are_told_at_their_place() {
    let cases = [
        (
            "CREATE STREAM s (t TIMESTAMP)",
            "1:15: D010 the stream `s` does not say which column is the event time; add WITH (event_time = 't')",
        ),
        (
            "CREATE STREAM s (t TIMESTAMP) WITH (event_tme = 't', event_time = 't')",
            "1:37: D020 there is no option `event_tme`; did you mean `event_time`?",
        ),
        (
            "CREATE STREAM s (time TIMESTAMP) WITH (event_time = 'tme')",
            "1:53: D004 `event_time` names `tme`, which is not a column; did you mean `time`?",
        ),
        (
            "CREATE STREAM s (t STRING) WITH (event_time = 't')",
            "1:47: D006 the event time `t` is STRING, not TIMESTAMP",
        ),
        (
            "CREATE STREAM s (t TIMESTAMP, x STRNG) WITH (event_time = 't')",
            "1:33: D006 there is no type `STRNG`; did you mean `STRING`?",
        ),
        (
            "CREATE STREAM s (t TIMESTAMP, x JSON) WITH (event_time = 't')",
            "1:33: D006 there is no type `JSON`; write STRING",
        ),
        ("CREATE STREAM s (t TIMESTAMP, x MAP<STRING, INT>) WITH (event_time = 't')", "1:33: D006"),
        ("CREATE STREAM s (t TIMESTAMP, t INT) WITH (event_time = 't')", "1:31: D019 there are two columns `t`"),
        ("CREATE STREAM s (t TIMESTAMP, _time INT) WITH (event_time = 't')", "1:31: D019 `_time` is reserved"),
        ("CREATE STREAM s (t TIMESTAMP, unmapped STRING) WITH (event_time = 't')", "1:31: D019 `unmapped` is reserved"),
        ("CREATE STREAM s (t TIMESTAMP, a.b STRING) WITH (event_time = 't')", "1:31: D019"),
        ("CREATE STREAM s (t TIMESTAMP NOT NULL) WITH (event_time = 't')", "1:30: D016"),
        (
            "CREATE STREAM s (t TIMESTAMP x INT) WITH (event_time = 't')",
            "1:30: D001 expected `,` or `)` in the list of columns, found `x`; is a comma missing before `x`?",
        ),
        ("CREATE STREAM s (t TIMESTAMP,) WITH (event_time = 't')", "1:30: D001 the list of columns ends with a comma"),
        ("CREATE STREAM s (t TIMESTAMP", "1:29: D001"),
        ("CREATE STREAM s ('t' TIMESTAMP) WITH (event_time = 't')", "1:18: D001"),
        ("CREATE STREAM s WITH (event_time = 't')", "1:17: D001 expected `(` and the columns, found `WITH`"),
        ("CREATE STREAM (t TIMESTAMP)", "1:15: D001 expected a name"),
        ("CREATE STREAM a.b (t TIMESTAMP)", "1:16: D001"),
        ("CREATE STREAM _s (t TIMESTAMP) WITH (event_time = 't')", "1:15: D019"),
        (
            "CREATE STREAM s (t TIMESTAMP) WITH (event_time = 't', lateness = '30 secnds')",
            "1:66: D020 lateness: `30 secnds` is not a duration",
        ),
        (
            "CREATE STREAM s (t TIMESTAMP) WITH (event_time = 't', time_zone = 'Europe/Berln')",
            "1:67: D020 there is no time zone `Europe/Berln`; did you mean `Europe/Berlin`?",
        ),
        (
            "CREATE STREAM s (t TIMESTAMP) WITH (event_time = 't', format = 'jsn')",
            "1:64: D020 `jsn` is not a value of `format`; did you mean `json`?",
        ),
        (
            "CREATE STREAM s (t TIMESTAMP) WITH (event_time = 't', columns = 'opn')",
            "1:65: D020 `opn` is not a value of `columns`; did you mean `open`?",
        ),
        ("CREATE STREAM s (t TIMESTAMP) WITH (event_time = 't', topic = '^a(')", "1:63: D020"),
        ("CREATE STREAM s (t TIMESTAMP) WITH (event_time = 't', topic = 'a b')", "1:63: D020"),
        ("CREATE STREAM s (t TIMESTAMP) WITH (event_time = 't', event_id = 'idd')", "1:66: D004"),
        (
            "CREATE STREAM s (t TIMESTAMP) WITH (event_time = 't', event_time = 't')",
            "1:55: D020 the option `event_time` is given twice",
        ),
        ("CREATE STREAM s (t TIMESTAMP) WITH (event_time 't')", "1:48: D001"),
        ("CREATE STREAM s (t TIMESTAMP, WATERMARK FOR t AS t) WITH (event_time = 't')", "1:72: D020"),
        ("CREATE STREAM s (t TIMESTAMP, WATERMARK FOR t AS u)", "1:50: D020"),
        (
            "CREATE STREAM s (t TIMESTAMP) WITH (event_time = 't') extra",
            "1:55: D001 expected `;` or the end of the file, found `extra`",
        ),
        ("CREATE TABLE t (ip STRING)", "1:14: D020 the table `t` does not say where its rows are"),
        ("CREATE TABLE t (ip STRING) WITH (location = 'a.xlsx')", "1:45: D020"),
        ("CREATE TABLE t (ip STRING) WITH (location = 'a.csv', refresh = 'often')", "1:64: D020"),
        ("CREATE TABLE t (ip STRING) WITH (location = 'a.csv', topic = 'x')", "1:54: D020 there is no option `topic`"),
        ("CREATE TABLE t WITH (location = 'a.csv')", "1:16: D001"),
        ("CREATE VIEW v SELECT 1", "1:15: D001 expected AS and a SELECT"),
        ("CREATE VIEW v AS", "1:17: D001"),
        ("CREATE VIEW v (a) AS SELECT 1", "1:15: D016"),
        ("CREATE OR REPLACE VIEW v AS SELECT 1", "1:8: D016"),
        ("CREATE TABLE IF NOT EXISTS t (a INT)", "1:14: D016"),
        (
            "CREATE STREEM s (t TIMESTAMP)",
            "1:8: D001 expected STREAM, VIEW or TABLE after CREATE, found `STREEM`; did you mean `STREAM`?",
        ),
        (
            "CRATE STREAM s (t TIMESTAMP)",
            "1:1: D002 only CREATE STREAM, CREATE VIEW and CREATE TABLE belong here, not `CRATE`; did you mean `CREATE`?",
        ),
        ("SELECT 1", "1:1: D002"),
        ("DROP TABLE x", "1:1: D002"),
        ("CREATE VIEW v AS SELECT 'x", "1:25: D001 unterminated string literal"),
    ];
    for (text, expected) in cases {
        let refused = refusal(text);
        assert!(refused.contains(expected), "{text}\nexpected {expected}\ngot      {refused}");
        assert_eq!(refused.lines().count(), 1, "one mistake, one diagnostic: {text}\n{refused}");
    }
}

#[test]
fn one_bad_statement_hides_no_other() {
    let (catalog, diagnostics) = read(
        "CREATE STREAM a (t TIMESTAMP, x STRNG, y INTT, z STRING) WITH (event_time = 't', tpic = 'x');
         CREATE STREAM b (t TIMESTAMP) WITH (event_time = 't');
         CREATE VIEW c AS SELECT * FROM b; FROB;
         CREATE TABLE d (x INT WITH (location = 'x.csv');
         CREATE TABLE e (x INT) WITH (location = 'x.csv');
         CREATE VIEW f AS SELECT 'unfinished",
    );
    let names: Vec<_> = catalog.names().filter(|name| !catalog.is_own(name)).collect();
    assert_eq!(names, ["b", "c", "e"]);
    let codes: Vec<_> =
        diagnostics.iter().map(|diagnostic| (diagnostic.span.unwrap().start.line, diagnostic.code)).collect();
    assert_eq!(codes, [(1, "D006"), (1, "D006"), (1, "D020"), (3, "D002"), (4, "D001"), (6, "D001")]);
}

#[test]
fn the_name_of_a_stream_that_weir_makes_is_taken() {
    let text = "CREATE STREAM Late_Events (t TIMESTAMP) WITH (event_time = 't');";
    let taken =
        "1:15: D018 there is already a stream `late_events`; Weir makes this stream itself; choose another name";
    assert_eq!(refusal(text), taken);
    let own = Stream::own("actions", vec![Field::new("time", TIME_TYPE, true)], 0, "time");
    let text = "CREATE VIEW actions AS SELECT 1 AS x";
    let (catalog, diagnostics) = parse_catalog_beside(&[own], &[("streams/a.sql".to_owned(), text.to_owned())]);
    assert!(
        told(&diagnostics).contains("D018 there is already a stream `actions`; Weir makes"),
        "{}",
        told(&diagnostics)
    );
    assert_eq!((catalog.streams().count(), catalog.own_streams().count()), (0, 2));
}

#[test]
fn a_second_object_of_one_name_is_told_where_the_first_is() {
    let first = "\n  CREATE STREAM Logs (t TIMESTAMP) WITH (event_time = 't');";
    let second = "CREATE VIEW logs AS SELECT 1 AS x";
    let (_, diagnostics) = parse_catalog(&[
        ("streams/a.sql".to_owned(), first.to_owned()),
        ("streams/b.sql".to_owned(), second.to_owned()),
    ]);
    assert_eq!(
        diagnostics[0].to_string(),
        "streams/b.sql:1:13: D018 there is already a stream `Logs`, created at streams/a.sql:2:17; \
         streams, views and tables share one set of names, compared without case"
    );
}

#[test]
fn durations_are_whole_numbers_with_units() {
    let cases = [
        ("30 seconds", 30_000_000),
        ("5 min", 300_000_000),
        ("1 hour", 3_600_000_000),
        ("2 days", 172_800_000_000),
        ("100ms", 100_000),
        ("1h30m", 5_400_000_000),
        ("0 s", 0),
        ("7 us", 7),
        ("1 WEEK", 604_800_000_000),
    ];
    for (text, expected) in cases {
        assert_eq!(crate::sql::parse_duration_us(text), Ok(expected), "{text}");
    }
    for text in [
        "",
        "5",
        "minutes",
        "-5 minutes",
        "5 minuets",
        "1.5 hours",
        "99999999999999999999 s",
        "9223372036854775807 days",
        "5 minutes ago",
        "٣ s",
    ] {
        assert!(crate::sql::parse_duration_us(text).is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC{0,120}") {
        drop(read(&text));
        drop(read(&format!("CREATE STREAM s ({text}")));
        drop(crate::sql::parse_duration_us(&text));
    }

    #[test]
    fn no_list_of_words_makes_the_reader_panic(words in proptest::collection::vec(word(), 0..30)) {
        drop(read(&words.join(" ")));
        drop(read(&format!("CREATE STREAM s ({}", words.join(" "))));
        drop(read(&format!("CREATE TABLE s (x INT) WITH ({}", words.join(""))));
    }
}

fn word() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(vec![
        "CREATE",
        "STREAM",
        "TABLE",
        "VIEW",
        "s",
        "(",
        ")",
        "<",
        ">",
        ">>",
        "[",
        "]",
        ",",
        ";",
        "STRING",
        "INT",
        "STRUCT",
        "ARRAY",
        "ROW",
        "TIMESTAMP",
        "UNSIGNED",
        "WATERMARK",
        "FOR",
        "AS",
        "-",
        "INTERVAL",
        "'5 s'",
        "WITH",
        "=",
        "'t'",
        "t",
        "\"q\"",
        "\"\"",
        "''",
        ".",
        "topic",
        "event_time",
        "lateness",
        "location",
        "'a.csv'",
        "SELECT",
        "COMMENT",
        "NOT",
        "NULL",
        "\n",
        "é",
        "1",
        "--",
        "/*",
        "*/",
    ])
}
