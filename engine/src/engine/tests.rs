//! SQL in, events in, hits out: the meaning of the engine, through its border.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryViewArray, Int64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray, new_null_array,
};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use serde_json::Value;

mod allowed;
mod bytes;
mod cooldown;
mod edits;
mod epochs;
mod formats;
mod golden;
mod ids;
mod joins;
mod meters;
mod oracle;
mod over;
mod quarantine;
mod sequence;
mod sessions;
mod times;
mod windows;

use super::Engine;
use crate::catalog::TIME_TYPE;
use crate::{
    Activity, Catalog, ColumnSet, Exception, Hit, PartitionId, Place, Program, Published, PublishedValue, Query,
    ScalarValue, SourceBatch, TableVersion, Uid, parse_catalog,
};

const STREAMS: &str = "
CREATE STREAM signin (time TIMESTAMP, user_name STRING, Status STRING, src_ip STRING, bytes BIGINT)
WITH (event_time = 'time', lateness = '30 seconds');
CREATE VIEW failures AS SELECT time, user_name AS who, src_ip FROM signin WHERE status = 'Failure';
CREATE TABLE indicators (indicator STRING, source STRING) WITH (location = 'indicators.csv', format = 'csv');
CREATE TABLE leases (ip STRING, host STRING, valid_from TIMESTAMP, valid_to TIMESTAMP)
WITH (location = 'leases.csv', format = 'csv');
";

/// One event: seconds, then the fields.
fn event(seconds: i64, user: &str, status: &str, ip: &str, bytes: Option<i64>) -> Value {
    serde_json::json!({"time": seconds, "user_name": user, "Status": status, "src_ip": ip, "bytes": bytes})
}

fn column(set: &ColumnSet, events: &[Value]) -> Vec<ArrayRef> {
    let text = |event: &Value, name: &str| event.get(name).and_then(Value::as_str).map(str::to_owned);
    set.columns
        .iter()
        .map(|field| -> ArrayRef {
            let name = field.name();
            match field.data_type() {
                DataType::Int64 => Arc::new(events.iter().map(|event| event[name].as_i64()).collect::<Int64Array>()),
                DataType::Timestamp(_, _) => Arc::new(times(events)),
                _ => Arc::new(events.iter().map(|event| text(event, name)).collect::<StringViewArray>()),
            }
        })
        .collect()
}

fn times(events: &[Value]) -> TimestampMicrosecondArray {
    events.iter().map(|event| event["time"].as_i64().map(|seconds| seconds * 1_000_000)).collect()
}

fn batch(program: &Program, partition: u32, events: &[Value]) -> SourceBatch {
    let (_, set) = program.columns("signin").expect("the program reads signin");
    let mut fields: Vec<Field> = set.columns.iter().map(|field| field.as_ref().clone()).collect();
    fields.extend([
        Field::new("_time", TIME_TYPE, false),
        Field::new("_raw", DataType::BinaryView, false),
        Field::new("_arrival", TIME_TYPE, true),
    ]);
    let raw: BinaryViewArray = events.iter().map(|event| Some(event.to_string().into_bytes())).collect();
    let mut columns = column(set, events);
    columns.extend([Arc::new(times(events)) as ArrayRef, Arc::new(raw), new_null_array(&TIME_TYPE, events.len())]);
    let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("columns fit their fields");
    SourceBatch { stream: "signin".into(), partition: PartitionId(partition), rows, late_us: None }
}

fn query(id: &str, sql: &str) -> Query {
    Query {
        id: id.into(),
        sql: sql.to_owned(),
        start: Place::START,
        params: BTreeMap::from([("n".to_owned(), ScalarValue::Int64(Some(3)))]),
        allowed_lateness_us: 0,
        cooldown_us: None,
        cooldown_keys: vec![],
        exceptions: vec![],
        publish: vec![
            PublishedValue::Constant(ScalarValue::Utf8View(Some(id.to_owned()))),
            PublishedValue::Column { name: "who".to_owned(), default: ScalarValue::Utf8View(None) },
        ],
    }
}

fn published() -> Published {
    Published {
        name: "alerts".to_owned(),
        columns: vec![("detection".to_owned(), DataType::Utf8View), ("user".to_owned(), DataType::Utf8View)],
    }
}

fn catalog() -> Catalog {
    let (catalog, diagnostics) = parse_catalog(&[("streams.sql".to_owned(), STREAMS.to_owned())]);
    assert_eq!(diagnostics, []);
    catalog
}

fn compile(queries: Vec<Query>) -> Arc<Program> {
    let (program, faults) = Program::compile(&catalog(), &published(), queries);
    assert_eq!(faults, [], "the queries compile");
    Arc::new(program)
}

fn refused(sql: &str) -> (String, String) {
    let (_, faults) = Program::compile(&catalog(), &published(), vec![query("q", sql)]);
    let fault = faults.first().expect("the query is refused");
    let place = fault.diagnostic.span.map(|span| format!("{}:{}", span.start.line, span.start.column));
    (format!("{} {}", fault.diagnostic.code, place.unwrap_or_default()), fault.diagnostic.message.clone())
}

fn indicators() -> TableVersion {
    let rows = RecordBatch::try_from_iter([
        ("indicator", Arc::new(StringViewArray::from(vec!["6.6.6.6", "7.7.7.7"])) as ArrayRef),
        ("source", Arc::new(StringViewArray::from(vec!["misp", "misp"])) as ArrayRef),
    ])
    .expect("two columns of two rows");
    TableVersion { name: "indicators".into(), version: Uid::of_record("table", b"1"), rows }
}

/// One address that went from one host to another, with a gap, and one that a host keeps.
fn leases() -> TableVersion {
    let instants = |seconds: [Option<i64>; 3]| -> ArrayRef {
        let us = seconds.map(|seconds| seconds.map(|seconds| seconds * 1_000_000));
        Arc::new(TimestampMicrosecondArray::from(us.to_vec()))
    };
    let text = |values: [&str; 3]| Arc::new(StringViewArray::from(values.to_vec())) as ArrayRef;
    let rows = RecordBatch::try_from_iter([
        ("ip", text(["1.1.1.1", "1.1.1.1", "2.2.2.2"])),
        ("host", text(["old", "new", "kept"])),
        ("valid_from", instants([Some(0), Some(30), Some(5)])),
        ("valid_to", instants([Some(20), Some(40), None])),
    ])
    .expect("four columns of three rows");
    TableVersion { name: "leases".into(), version: Uid::of_record("table", b"2"), rows }
}

/// How the events of each partition are cut, and how many workers see them.
#[derive(Debug, Clone, Copy)]
struct Run {
    parallelism: usize,
    rows_per_batch: usize,
    restore_after: Option<usize>,
}

const RUNS: [Run; 5] = [
    Run { parallelism: 1, rows_per_batch: 1000, restore_after: None },
    Run { parallelism: 1, rows_per_batch: 1, restore_after: None },
    Run { parallelism: 2, rows_per_batch: 1, restore_after: None },
    Run { parallelism: 4, rows_per_batch: 2, restore_after: Some(3) },
    Run { parallelism: 1, rows_per_batch: 1, restore_after: Some(4) },
];

fn run(program: &Arc<Program>, partitions: &[Vec<Value>], run: Run) -> Vec<Hit> {
    let engine = |parallelism: usize| {
        let mut engine =
            Engine::new(Arc::clone(program), parallelism, &[indicators(), leases()]).expect("tables are given");
        (0..partitions.len()).for_each(|partition| engine.add_partition("signin", PartitionId(partition as u32)));
        engine.start();
        engine
    };
    let mut at_work = engine(run.parallelism);
    let mut hits = vec![];
    let mut pushed = 0;
    let longest = partitions.iter().map(Vec::len).max().unwrap_or(0);
    for from in (0..longest).step_by(run.rows_per_batch) {
        for (partition, events) in partitions.iter().enumerate() {
            let until = events.len().min(from + run.rows_per_batch);
            if from < until {
                let batch = batch(program, partition as u32, &events[from..until]);
                hits.extend(at_work.push(batch).expect("a batch of its own program").hits);
                pushed += 1;
            }
        }
        if run.restore_after.is_some_and(|after| pushed >= after) && pushed < 1000 {
            let (outputs, saved) = at_work.snapshot().expect("operators can be saved");
            hits.extend(outputs.hits);
            let bytes: Vec<Vec<u8>> = saved.iter().map(|part| part.to_bytes().expect("bytes")).collect();
            let read: Vec<_> =
                bytes.iter().map(|bytes| crate::WorkerSnapshot::from_bytes(bytes).expect("own bytes")).collect();
            at_work = engine(3 - run.parallelism.min(2));
            at_work.restore(&read).expect("own snapshot");
            pushed = 1000;
        }
    }
    hits.extend(at_work.finish().expect("the end").hits);
    hits
}

/// The last record of each alert, as text, sorted.
fn last(hits: &[Hit]) -> Vec<String> {
    let mut last: BTreeMap<Uid, String> = BTreeMap::new();
    for hit in hits {
        last.insert(hit.uid, show(hit));
    }
    let mut shown: Vec<String> = last.into_values().collect();
    shown.sort();
    shown
}

fn show(hit: &Hit) -> String {
    let options = FormatOptions::default();
    let cells = hit
        .row
        .columns()
        .iter()
        .map(|column| ArrayFormatter::try_new(column, &options).expect("a printable column").value(0).to_string());
    let suppressed = if hit.suppressed_by.is_some() { " suppressed" } else { "" };
    let exception = hit.exception.as_ref().map(|name| format!(" hidden by {name}")).unwrap_or_default();
    format!("{} x{}{suppressed}{exception}", cells.collect::<Vec<_>>().join("|"), hit.count)
}

/// Checks that every way to run gives the expected last records.
fn check(queries: Vec<Query>, partitions: &[Vec<Value>], expected: &[&str]) {
    let program = compile(queries);
    for way in RUNS {
        let hits = run(&program, partitions, way);
        assert_eq!(last(&hits), expected, "run as {way:?}");
    }
}

fn failures(user: &str, from: i64, count: i64) -> Vec<Value> {
    (0..count).map(|n| event(from + n, user, "Failure", "1.1.1.1", Some(n))).collect()
}

#[test]
fn a_row_level_detection_fires_at_each_matching_event() {
    let events = vec![vec![event(10, "ann", "Failure", "1.1.1.1", None), event(11, "bob", "Success", "1.1.1.1", None)]];
    let sql = "SELECT time, USER_NAME FROM SignIn WHERE status = 'Failure'";
    check(vec![query("q", sql)], &events, &["1970-01-01T00:00:10|ann x1"]);
}

#[test]
fn equal_records_are_one_alert_with_a_count() {
    let twice = event(10, "ann", "Failure", "1.1.1.1", None);
    let events = vec![vec![twice.clone(), twice]];
    check(vec![query("q", "SELECT time, user_name FROM signin")], &events, &["1970-01-01T00:00:10|ann x2"]);
}

#[test]
fn a_threshold_fires_when_it_is_crossed_and_is_updated_at_the_close() {
    let sql = "SELECT who, count(*) AS n FROM TUMBLE(failures, time, INTERVAL '1 minute')
               GROUP BY who, window_start, window_end HAVING count(*) >= $n";
    let events = vec![failures("ann", 0, 5), failures("bob", 0, 2)];
    check(vec![query("q", sql)], &events, &["ann|5 x1"]);

    let program = compile(vec![query("q", sql)]);
    let hits = run(&program, &events, RUNS[1]);
    let said: Vec<(Activity, String)> = hits.iter().map(|hit| (hit.activity, show(hit))).collect();
    assert_eq!(said, [(Activity::Create, "ann|3 x1".to_owned()), (Activity::Update, "ann|5 x1".to_owned())]);
}

#[test]
fn an_average_beside_a_threshold_does_not_make_it_wait() {
    let sql =
        "SELECT who, count(*) AS n, avg(CAST(src_ip AS DOUBLE)) AS a FROM TUMBLE(failures, time, INTERVAL '1 minute')
               GROUP BY who, window_start, window_end HAVING count(*) >= $n";
    let events = vec![(0..5).map(|at| event(at, "ann", "Failure", &at.to_string(), None)).collect()];
    let hits = run(&compile(vec![query("q", sql)]), &events, RUNS[1]);
    let said: Vec<(Activity, String)> = hits.iter().map(|hit| (hit.activity, show(hit))).collect();
    assert_eq!(said, [(Activity::Create, "ann|3|1.0 x1".to_owned()), (Activity::Update, "ann|5|2.0 x1".to_owned())]);
}

#[test]
fn windows_keep_every_kind_of_aggregate() {
    let sql =
        "SELECT user_name, count(bytes) AS c, sum(bytes) AS s, min(bytes) AS lo, max(src_ip) AS hi, avg(bytes) AS a,
               count(DISTINCT src_ip) AS ips, count(*) FILTER (WHERE status = 'Success') AS ok
               FROM TUMBLE(signin, time, INTERVAL '10 seconds') GROUP BY user_name, window_start";
    let events = vec![
        vec![event(1, "ann", "Failure", "1.1.1.1", Some(4)), event(2, "ann", "Success", "2.2.2.2", Some(2))],
        vec![event(3, "ann", "Failure", "1.1.1.1", None), event(12, "ann", "Failure", "9.9.9.9", Some(7))],
    ];
    check(vec![query("q", sql)], &events, &["ann|1|7|7|9.9.9.9|7.0|1|0 x1", "ann|2|6|2|2.2.2.2|3.0|2|1 x1"]);
}

#[test]
fn a_late_event_is_seen_by_rows_and_not_by_windows() {
    let events = vec![vec![
        event(0, "ann", "Failure", "1.1.1.1", None),
        event(100, "ann", "Failure", "1.1.1.1", None),
        event(5, "ann", "Failure", "1.1.1.1", None),
    ]];
    let windowed =
        "SELECT who, count(*) AS n FROM TUMBLE(failures, time, INTERVAL '1 minute') GROUP BY who, window_start";
    check(vec![query("w", windowed)], &events, &["ann|1 x1", "ann|1 x1"]);
    let rows = "SELECT time FROM failures";
    let expected = ["1970-01-01T00:00:00 x1", "1970-01-01T00:00:05 x1", "1970-01-01T00:01:40 x1"];
    check(vec![query("r", rows)], &events, &expected);
}

#[test]
fn a_table_raises_what_a_row_says() {
    let sql = "SELECT s.time, s.user_name, CASE WHEN i.indicator IS NOT NULL THEN 'critical' END AS severity, i.source
               FROM signin s LEFT JOIN indicators i ON s.src_ip = i.indicator";
    let events = vec![vec![event(1, "ann", "Failure", "6.6.6.6", None), event(2, "bob", "Failure", "1.1.1.1", None)]];
    let expected = ["1970-01-01T00:00:01|ann|critical|misp x1", "1970-01-01T00:00:02|bob|| x1"];
    check(vec![query("q", sql)], &events, &expected);
    let only = "SELECT time, user_name FROM signin WHERE src_ip IN (SELECT indicator FROM indicators)";
    check(vec![query("q", only)], &events, &["1970-01-01T00:00:01|ann x1"]);
}

#[test]
fn a_table_is_asked_for_the_instant_of_the_event() {
    let seen = |seconds: i64, ip: &str| event(seconds, "ann", "Success", ip, None);
    let of_first = [0, 19, 20, 29, 30, 39, 40].map(|seconds| seen(seconds, "1.1.1.1"));
    let of_second = [4, 5, 4000].map(|seconds| seen(seconds, "2.2.2.2"));
    let sql = "SELECT e.time, e.src_ip AS ip, l.host
               FROM signin e JOIN leases FOR SYSTEM_TIME AS OF e.time AS l ON l.ip = e.src_ip";
    let found = [
        "1970-01-01T00:00:00|1.1.1.1|old x1",
        "1970-01-01T00:00:05|2.2.2.2|kept x1",
        "1970-01-01T00:00:19|1.1.1.1|old x1",
        "1970-01-01T00:00:30|1.1.1.1|new x1",
        "1970-01-01T00:00:39|1.1.1.1|new x1",
        "1970-01-01T01:06:40|2.2.2.2|kept x1",
    ];
    check(vec![query("q", sql)], &[of_first.to_vec(), of_second.to_vec()], &found);
}

#[test]
fn alerts_are_a_stream_of_their_own() {
    let one = query("one", "SELECT time, who FROM failures WHERE src_ip = '1.1.1.1'");
    let two = query(
        "two",
        "SELECT who, count(*) AS n FROM TUMBLE(failures, time, INTERVAL '1 minute')
               GROUP BY who, window_start HAVING count(*) >= 3",
    );
    let both = query(
        "both",
        "SELECT user, count(DISTINCT detection) AS kinds FROM TUMBLE(alerts, time, INTERVAL '1 hour')
               GROUP BY user, window_start HAVING count(DISTINCT detection) >= 2",
    );
    let events = vec![failures("ann", 0, 3), vec![event(1, "bob", "Failure", "1.1.1.1", None)]];
    let program = compile(vec![both, one, two]);
    for way in RUNS {
        let hits = run(&program, &events, way);
        let both: Vec<Hit> = hits.into_iter().filter(|hit| hit.query == 0).collect();
        assert_eq!(last(&both), ["ann|2 x1"], "run as {way:?}");
    }
}

#[test]
fn repeats_are_folded_into_the_alert_they_repeat() {
    let sql = "SELECT time, who FROM failures";
    let cooling = Query { cooldown_us: Some(10_000_000), cooldown_keys: vec!["who".to_owned()], ..query("q", sql) };
    let events = vec![
        vec![event(0, "ann", "Failure", "1.1.1.1", None), event(9, "ann", "Failure", "1.1.1.1", None)],
        vec![event(4, "ann", "Failure", "1.1.1.1", None), event(10, "ann", "Failure", "1.1.1.1", None)],
    ];
    let expected = [
        "1970-01-01T00:00:00|ann x3",
        "1970-01-01T00:00:04|ann x1 suppressed",
        "1970-01-01T00:00:09|ann x1 suppressed",
        "1970-01-01T00:00:10|ann x1",
    ];
    check(vec![cooling], &events, &expected);
}

#[test]
fn an_exception_hides_a_hit_and_says_so() {
    let exceptions = vec![Exception { name: "known".into(), condition: "WHO = 'ann'".to_owned() }];
    let hiding = Query { exceptions, ..query("q", "SELECT time, who FROM failures") };
    check(vec![hiding], &[failures("ann", 0, 1)], &["1970-01-01T00:00:00|ann x1 hidden by known"]);
}

#[test]
fn hostile_values_are_null_and_never_an_error() {
    let sql = "SELECT time, CAST(user_name AS BIGINT) AS n, 10 / bytes AS d, to_timestamp(src_ip) AS t FROM signin";
    let events =
        vec![vec![event(1, "4624x", "", "no time", Some(0)), event(2, "7", "", "2020-01-01T00:00:00Z", Some(5))]];
    let expected = ["1970-01-01T00:00:01||| x1", "1970-01-01T00:00:02|7|2|2020-01-01T00:00:00 x1"];
    check(vec![query("q", sql)], &events, &expected);
}

/// The rest of a condition still counts where a function refuses a value, or a sender could choose values that hide.
#[test]
fn a_value_that_a_function_refuses_hides_nothing() {
    let sql = "SELECT time, chr(bytes) AS c, coalesce(factorial(bytes), -1) AS f, date_part('year', to_timestamp(src_ip)) AS y
               FROM signin WHERE chr(bytes) = 'a' OR factorial(bytes) = 6 OR user_name LIKE '%evil%'";
    let events = vec![vec![
        event(1, "evil", "", "no time", Some(-1)),
        event(2, "good", "", "no time", Some(-1)),
        event(3, "good", "", "2020-01-01T00:00:00Z", Some(97)),
    ]];
    let expected = ["1970-01-01T00:00:01||-1| x1", "1970-01-01T00:00:03|a|-1|2020 x1"];
    check(vec![query("q", sql)], &events, &expected);
}

/// A division by zero and a refused code point are counted, once each however the events arrive; a failed cast is an answer.
#[test]
fn what_cannot_be_computed_is_counted() {
    let sql = "SELECT time, CAST(user_name AS BIGINT) AS n, 10 / bytes AS d, chr(bytes + 50) AS c FROM signin";
    counts_two_failures(sql, [Some(0), Some(-60), Some(5), None]);
}

/// An overflow ends the evaluation of the whole batch; the zero that was met before it is not counted again.
#[test]
fn what_is_computed_again_is_counted_once() {
    let cube = ["CAST(bytes AS DECIMAL(38, 0))"; 3].join(" * ");
    let sql = format!("SELECT time, (10 / bytes IS NULL) OR ({cube} > 0) AS x FROM signin");
    counts_two_failures(&sql, [Some(0), Some(5), Some(i64::MAX), Some(7)]);
}

fn counts_two_failures(sql: &str, bytes: [Option<i64>; 4]) {
    let program = compile(vec![query("q", sql)]);
    let events = bytes.map(|bytes| event(1, "x", "", "", bytes));
    for rows in 1..=events.len() {
        let mut engine = Engine::new(Arc::clone(&program), 1, &[indicators(), leases()]).expect("an engine");
        engine.add_partition("signin", PartitionId(0));
        engine.start();
        for events in events.chunks(rows) {
            engine.push(batch(&program, 0, events)).expect("a batch");
        }
        assert_eq!(engine.failures(), 2, "{rows} rows in a batch");
    }
}

#[test]
fn what_cannot_run_is_refused_with_code_place_and_reason() {
    let cases = [
        ("SELECT user_name, count(*) FROM signin GROUP BY user_name", "D012 1:40"),
        ("SELECT DISTINCT user_name FROM signin", "D012 1:8"),
        ("SELECT time FROM sigin", "D003 1:18"),
        ("SELECT time, user_nam FROM signin", "D004 1:14"),
        ("SELECT user_name FROM signin", "D010 1:1"),
        ("SELECT source FROM indicators", "D010 1:1"),
        ("SELECT time FROM signin ORDER BY time", "D013 1:25"),
        ("SELECT time FROM signin; DROP TABLE x", "D002 1:26"),
        ("SELECT time FROM signin WHERE bytes LIKE TIMESTAMP '2020-01-01T00:00:00'", "D006 1:31"),
        ("SELECT time, frobnicate(bytes) FROM signin", "D007 1:14"),
        ("SELECT a.time FROM signin a JOIN signin b ON a.user_name = b.user_name", "D012 1:29"),
    ];
    let got: Vec<String> = cases.iter().map(|(sql, _)| refused(sql).0).collect();
    let expected: Vec<&str> = cases.iter().map(|(_, expected)| *expected).collect();
    assert_eq!(got, expected);
}
