mod one_answer;

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BinaryViewArray, RecordBatch, TimestampMicrosecondArray};
use arrow::compute::cast;
use arrow::datatypes::{Field, Schema, TimestampMicrosecondType};
use serde_json::Value;
use weir_engine::catalog::{Stream, TIME_TYPE, system};
use weir_engine::{ColumnSet, TableVersion, Uid};

use super::{CaseResult, Decoded, Outside, check, run};
use crate::compile::{Compiled, Texts, compile};
use crate::rule_test;

const STREAM: &str = "\
CREATE STREAM signin (
  time TIMESTAMP, user STRING, src_ip STRING, status STRING
) WITH (topic = 'signin', format = 'json', event_time = 'time', lateness = '1 minute');
CREATE TABLE indicators (ip STRING, score BIGINT) WITH (location = 'indicators.csv', format = 'csv');
";

const FAILURE: &str = "\
--! id = \"identity.failure\"
--! title = \"Failed sign-in\"
--! severity = \"low\"
--! entities = { user = \"user\", src_ip = \"src_ip\" }
SELECT time, user, src_ip FROM signin WHERE status = 'Failure'
";

const GUESSING: &str = "\
--! id = \"identity.guessing\"
--! title = \"Password guessing\"
--! severity = \"high\"
--! entities = { user = \"user\" }
--! params = { failures = 3 }
SELECT window_start, window_end, user, count(*) AS failures
FROM TUMBLE(signin, time, INTERVAL '5 minutes')
WHERE status = 'Failure'
GROUP BY user, window_start, window_end
HAVING count(*) >= $failures
";

const KNOWN: &str = "\
--! id = \"identity.known\"
--! title = \"Sign-in from a known address\"
--! severity = \"medium\"
SELECT s.time, s.user, i.score, CASE WHEN i.score > 50 THEN 'critical' END AS severity
FROM signin s JOIN indicators i ON i.ip = s.src_ip
";

const CHAIN: &str = "\
--! id = \"correlation.chain\"
--! title = \"Several signals about one user\"
--! severity = \"critical\"
--! entities = { user = \"user_name\" }
SELECT window_start, window_end, \"user\" AS user_name, count(DISTINCT detection) AS detections
FROM TUMBLE(alerts, time, INTERVAL '1 hour')
GROUP BY \"user\", window_start, window_end
HAVING count(DISTINCT detection) >= 2
";

/// A decoder for tests: what Arrow makes of JSON, and the system columns beside it.
fn decode(stream: &Arc<Stream>, columns: &ColumnSet, records: &[String]) -> Result<Decoded, String> {
    let (mut good, mut rejected) = (Vec::new(), Vec::new());
    for record in records {
        match serde_json::from_str::<Value>(record) {
            Ok(value) => good.push((record, value)),
            Err(error) => rejected.push((record.clone(), error.to_string())),
        }
    }
    let values: Vec<_> = good.iter().map(|(_, value)| value).collect();
    let read = |fields: Vec<Arc<Field>>| {
        let schema = Arc::new(Schema::new(fields));
        let mut decoder = arrow::json::ReaderBuilder::new(Arc::clone(&schema)).build_decoder().expect("a schema");
        decoder.serialize(&values).expect("JSON of these types");
        decoder.flush().expect("JSON of these types").unwrap_or_else(|| RecordBatch::new_empty(schema))
    };
    let time = Arc::new(Field::new(&stream.event_time, TIME_TYPE, true));
    let times = read(vec![time]);
    let times = cast(times.column(0), &TIME_TYPE).expect("a time");
    let times: TimestampMicrosecondArray = times.as_primitive::<TimestampMicrosecondType>().clone();
    let raw = BinaryViewArray::from_iter_values(good.iter().map(|(record, _)| record.as_bytes()));
    let arrival = TimestampMicrosecondArray::new_null(good.len());

    let declared = read(columns.columns.iter().cloned().collect());
    let mut fields: Vec<_> = columns.columns.iter().cloned().collect();
    let mut arrays: Vec<ArrayRef> = declared.columns().to_vec();
    for (name, array, nullable) in [
        (system::TIME, Arc::new(times) as ArrayRef, false),
        (system::RAW, Arc::new(raw) as ArrayRef, false),
        (system::ARRIVAL, Arc::new(arrival) as ArrayRef, true),
    ] {
        fields.push(Arc::new(Field::new(name, array.data_type().clone(), nullable)));
        arrays.push(array);
    }
    let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).map_err(|error| error.to_string())?;
    Ok(Decoded { rows, rejected })
}

/// A stream, a table and some detections.
pub(in crate::rule_test) fn project() -> Compiled {
    project_with(&[])
}

/// The four detections above, and more.
fn project_with(more: &[String]) -> Compiled {
    let texts = [FAILURE, GUESSING, KNOWN, CHAIN].map(str::to_owned);
    let names = ["failure", "guessing", "known", "chain"].into_iter().map(str::to_owned);
    let names = names.chain((0..more.len()).map(|at| format!("more{at}")));
    let compiled = compile(
        &Texts {
            streams: vec![("streams/signin.sql".to_owned(), STREAM.to_owned())],
            detections: names.map(|name| format!("{name}.sql")).zip(texts.into_iter().chain(more.to_vec())).collect(),
            ..Texts::default()
        },
        None,
    );
    assert_eq!(compiled.diagnostics, []);
    compiled
}

/// No test has files beside it.
pub(in crate::rule_test) fn no_file(_: &str) -> Result<Vec<String>, String> {
    Err("it is not there".to_owned())
}

fn results_in(compiled: &Compiled, detection: &str, cases: &str) -> Vec<CaseResult> {
    let test = rule_test::parse(&format!("{detection}.test.yaml"), cases).expect("a good test");
    assert_eq!(check(&test, compiled, &no_file), []);
    let outside = Outside {
        decode: &decode,
        lines: &no_file,
        table: &|table| {
            let rows = RecordBatch::new_empty(table.schema());
            Ok(TableVersion { name: table.name.as_str().into(), version: Uid([0; 16]), rows })
        },
    };
    run(&test, compiled, &outside).expect("good SQL")
}

/// The problems of the only case, as text.
fn problems(detection: &str, case: &str) -> Vec<String> {
    problems_in(&project(), detection, case)
}

fn problems_in(compiled: &Compiled, detection: &str, case: &str) -> Vec<String> {
    let indented: String = case.lines().map(|line| format!("    {line}\n")).collect();
    let results = results_in(compiled, detection, &format!("cases:\n  - name: case\n{indented}"));
    results[0].problems.iter().map(ToString::to_string).collect()
}

#[test]
fn a_row_level_detection_fires_once_per_matching_event() {
    let case = "
given:
  signin:
    - { time: '2026-01-01T00:00:00Z', user: ann, src_ip: 10.0.0.1, status: Failure }
    - { time: '2026-01-01T00:00:01Z', user: bob, src_ip: 10.0.0.2, status: Success }
    - { time: '2026-01-01T00:00:02Z', user: bob, src_ip: 10.0.0.2, status: Failure }
expect:
  - { severity: low, time: '2026-01-01T00:00:00Z', data: { user: ann }, entities: { src_ip: 10.0.0.1 }, count: 1 }
  - { data: { user: bob } }";
    assert_eq!(problems("failure", case), Vec::<String>::new());
}

#[test]
fn a_window_fires_at_its_threshold_and_tells_the_final_count() {
    let case = "
given:
  signin:
    - repeat: 7
      every: 10s
      event: { time: '2026-01-01T00:00:00Z', user: ann, src_ip: '10.0.0.${i}', status: Failure }
    - repeat: 2
      every: 1s
      event: { time: '2026-01-01T00:01:10Z', user: bob, src_ip: 10.0.0.1, status: Failure }
expect:
  - severity: high
    time: '2026-01-01T00:05:00Z'
    data: { user: ann, failures: 7, window_start: '2026-01-01T00:00:00Z' }";
    assert_eq!(problems("guessing", case), Vec::<String>::new());
}

#[test]
fn equal_events_are_one_alert_that_counts_them() {
    let case = "
given:
  signin:
    - repeat: 3
      event: { time: '2026-01-01T00:00:00Z', user: ann, src_ip: 10.0.0.1, status: Failure }
expect:
  - { data: { user: ann }, count: 3 }";
    assert_eq!(problems("failure", case), Vec::<String>::new());
}

#[test]
fn a_wrong_expectation_is_told_with_both_values() {
    let case = "
given:
  signin: [ { time: '2026-01-01T00:00:00Z', user: ann, src_ip: 10.0.0.1, status: Failure } ]
expect:
  - { severity: high, data: { user: ann } }";
    let found = problems("failure", case);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].contains("severity  expected \"high\"\n            actual   \"Low\""), "{found:#?}");
}

#[test]
fn rows_of_a_table_can_be_given_and_raise_the_severity() {
    let case = "
given:
  signin:
    - { time: '2026-01-01T00:00:00Z', user: ann, src_ip: 10.0.0.1, status: Success }
    - { time: '2026-01-01T00:00:01Z', user: bob, src_ip: 10.0.0.2, status: Success }
    - { time: '2026-01-01T00:00:02Z', user: eve, src_ip: 10.0.0.3, status: Success }
tables:
  indicators: [ { ip: 10.0.0.1, score: 90 }, { ip: 10.0.0.2, score: 10 } ]
expect:
  - { severity: critical, data: { user: ann, score: 90 } }
  - { severity: medium, data: { user: bob } }";
    assert_eq!(problems("known", case), Vec::<String>::new());
}

#[test]
fn alerts_of_other_detections_are_correlated() {
    let case = "
given:
  signin:
    - { time: '2026-01-01T00:00:00Z', user: ann, src_ip: 10.0.0.1, status: Failure }
    - { time: '2026-01-01T00:00:10Z', user: ann, src_ip: 10.0.0.2, status: Failure }
    - { time: '2026-01-01T00:00:20Z', user: ann, src_ip: 10.0.0.3, status: Failure }
    - { time: '2026-01-01T00:00:30Z', user: bob, src_ip: 10.0.0.3, status: Failure }
expect:
  - { severity: critical, data: { user_name: ann, detections: 2 }, entities: { user: ann } }";
    assert_eq!(problems("chain", case), Vec::<String>::new());
}

#[test]
fn a_late_event_is_seen_by_a_row_level_detection_and_not_by_a_window() {
    let events = "
given:
  signin:
    - { time: '2026-01-01T00:10:00Z', user: ann, src_ip: 10.0.0.1, status: Success }
    - repeat: 3
      every: 1s
      event: { time: '2026-01-01T00:00:00Z', user: ann, src_ip: 10.0.0.1, status: Failure }
late: 3";
    assert_eq!(problems("guessing", &format!("{events}\nexpect: []")), Vec::<String>::new());
    let seen = "expect: [ { late: true }, { late: true }, { late: true } ]";
    assert_eq!(problems("failure", &format!("{events}\n{seen}")), Vec::<String>::new());
}

#[test]
fn what_comes_late_is_a_stream_of_its_own() {
    let text = "\
--! id = \"weir.late\"
--! title = \"Events that come late\"
--! severity = \"low\"
SELECT stream, count(*) AS n, max(late_ms) AS worst FROM TUMBLE(late_events, time, INTERVAL '1 hour')
GROUP BY stream, window_start, window_end HAVING count(*) >= 2
";
    let case = "
given:
  signin:
    - { time: '2026-01-01T00:10:00Z', user: ann, src_ip: 10.0.0.1, status: Success }
    - { time: '2026-01-01T00:09:00Z', user: ann, src_ip: 10.0.0.1, status: Success }
    - { time: '2026-01-01T00:08:59Z', user: ann, src_ip: 10.0.0.1, status: Success }
    - { time: '2026-01-01T00:20:00Z', user: ann, src_ip: 10.0.0.1, status: Success }
    - { time: '2026-01-01T00:00:00Z', user: ann, src_ip: 10.0.0.1, status: Failure }
late: 2
expect:
  - { time: '2026-01-01T01:00:00Z', data: { stream: signin, n: 2, worst: 1200000 } }";
    let project = project_with(&[text.to_owned()]);
    assert_eq!(problems_in(&project, "more0", case), Vec::<String>::new());
    let given = "cases:\n  - { name: given, given: { late_events: [] }, expect: [] }\n";
    let test = rule_test::parse("more0.test.yaml", given).expect("a good test");
    let found: Vec<_> = check(&test, &project, &no_file).iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        ["more0.test.yaml:2:29: T006 `late_events` are made of what comes late, and cannot be given; \
          give events of a stream, one of them behind the others by more than its lateness"]
    );
}

#[test]
fn an_allowance_lets_late_events_count() {
    let text = "\
--! id = \"identity.few\"
--! title = \"Few failures\"
--! severity = \"low\"
--! allowed_lateness = \"10 minutes\"
SELECT user, count(*) AS failures FROM TUMBLE(signin, time, INTERVAL '5 minutes') WHERE status = 'Failure'
GROUP BY user, window_start, window_end HAVING count(*) <= 2
";
    let case = "
given:
  signin:
    - { time: '2026-01-01T00:00:00Z', user: ann, src_ip: 10.0.0.1, status: Failure }
    - { time: '2026-01-01T00:00:10Z', user: ann, src_ip: 10.0.0.1, status: Failure }
    - { time: '2026-01-01T00:07:00Z', user: bob, src_ip: 10.0.0.1, status: Failure }
    - { time: '2026-01-01T00:01:00Z', user: ann, src_ip: 10.0.0.1, status: Failure }
    - { time: '2026-01-01T00:02:00Z', user: bob, src_ip: 10.0.0.1, status: Failure }
    - { time: '2026-01-01T00:30:00Z', user: eve, src_ip: 10.0.0.1, status: Success }
    - { time: '2026-01-01T00:03:00Z', user: bob, src_ip: 10.0.0.1, status: Failure }
late: 3
expect:
  - { time: '2026-01-01T00:05:00Z', data: { user: bob, failures: 1 } }
  - { time: '2026-01-01T00:10:00Z', data: { user: bob, failures: 1 } }";
    assert_eq!(problems_in(&project_with(&[text.to_owned()]), "more0", case), Vec::<String>::new());
}

#[test]
fn what_response_did_can_be_given() {
    let fails = "\
--! id = \"response.isolation_fails\"
--! title = \"Isolations fail\"
--! severity = \"high\"
SELECT playbook, count(*) AS failures FROM TUMBLE(actions, time, INTERVAL '1 hour')
WHERE action = 'contain' AND status = 'failed' GROUP BY playbook, window_start, window_end HAVING count(*) >= 3
";
    let back = "\
--! id = \"response.back_again\"
--! title = \"Back after an incident\"
--! severity = \"high\"
SELECT s.time, s.user, c.uid AS case_uid FROM signin s JOIN cases c ON c.user = s.user
 AND s.time BETWEEN c.time AND c.time + INTERVAL '1 day'
WHERE c.change = 'case_closed' AND c.verdict = 'true_positive'
";
    let project = project_with(&[fails.to_owned(), back.to_owned()]);
    let failures = "
given:
  actions:
    - { time: '2026-01-01T00:00:00Z', playbook: contain_host, action: contain, target: ws1, status: failed }
    - { time: '2026-01-01T00:00:10Z', playbook: contain_host, action: contain, target: ws2, status: succeeded }
    - { time: '2026-01-01T00:00:20Z', playbook: contain_host, action: contain, target: ws3, status: failed }
    - { time: '2026-01-01T00:59:00Z', playbook: contain_host, action: contain, target: ws1, status: failed }
    - { time: '2026-01-01T01:00:00Z', playbook: contain_host, action: contain, target: ws1, status: failed }
expect:
  - { time: '2026-01-01T01:00:00Z', data: { playbook: contain_host, failures: 3 } }";
    assert_eq!(problems_in(&project, "more0", failures), Vec::<String>::new());
    let signs_in = "
given:
  cases:
    - { time: '2026-01-01T00:00:00Z', uid: c1, change: case_closed, verdict: true_positive, user: ann }
    - { time: '2026-01-01T00:00:00Z', uid: c2, change: case_closed, verdict: false_positive, user: bob }
  signin:
    - { time: '2025-12-31T23:59:00Z', user: ann, src_ip: 10.0.0.1, status: Success }
    - { time: '2026-01-01T08:00:00Z', user: ann, src_ip: 10.0.0.1, status: Success }
    - { time: '2026-01-01T08:00:00Z', user: bob, src_ip: 10.0.0.1, status: Success }
expect:
  - { time: '2026-01-01T08:00:00Z', data: { user: ann, case_uid: c1 } }";
    assert_eq!(problems_in(&project, "more1", signs_in), Vec::<String>::new());
}

#[test]
fn rejected_events_are_counted_and_shown() {
    let case = "
given:
  signin: [ '{ not json' ]
expect: []";
    let found = problems("failure", case);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].starts_with("0 rejected events were expected, 1 were rejected\n  "), "{found:#?}");
    assert!(found[0].ends_with(": { not json"), "{found:#?}");
    assert_eq!(problems("failure", &format!("{case}\nrejected: 1")), Vec::<String>::new());
}

#[test]
fn events_that_nobody_reads_do_not_make_a_quiet_case_pass() {
    let streams = format!("{STREAM}CREATE STREAM other (time TIMESTAMP) WITH (event_time = 'time', topic = 'x');");
    let texts = Texts {
        streams: vec![("streams/all.sql".to_owned(), streams)],
        detections: vec![("failure.sql".to_owned(), FAILURE.to_owned())],
        ..Texts::default()
    };
    let case = "cases:\n  - { name: quiet, given: { other: [ { time: '2026-01-01T00:00:00Z' } ] }, expect: [] }\n";
    let test = rule_test::parse("failure.test.yaml", case).expect("a good test");
    let outside = Outside { decode: &decode, lines: &|_| Ok(Vec::new()), table: &|_| Err("no table".to_owned()) };
    let compiled = compile(&texts, None);
    let results = run(&test, &compiled, &outside).expect("good SQL");
    assert_eq!(results[0].problems[0].to_string(), "the detection does not read `other`, so its events show nothing");
    let found: Vec<_> = check(&test, &compiled, &no_file).iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "failure.test.yaml:2:29: T006 the detection does not read `other`, so its events show nothing; it reads signin"
        ]
    );
}

#[test]
fn cooldown_folds_repeats_about_the_same_entities() {
    let texts = Texts {
        streams: vec![("streams/all.sql".to_owned(), STREAM.to_owned())],
        detections: vec![("failure.sql".to_owned(), FAILURE.replace("SELECT", "--! cooldown = \"1 hour\"\nSELECT"))],
        ..Texts::default()
    };
    let case = "
cases:
  - name: repeats are folded
    given:
      signin:
        - repeat: 5
          every: 1m
          event: { time: '2026-01-01T00:00:00Z', user: ann, src_ip: 10.0.0.1, status: Failure }
    expect:
      - { data: { user: ann }, count: 5, time: '2026-01-01T00:00:00Z' }
";
    let test = rule_test::parse("failure.test.yaml", case).expect("a good test");
    let outside = Outside { decode: &decode, lines: &|_| Ok(Vec::new()), table: &|_| Err("no table".to_owned()) };
    let results = run(&test, &compile(&texts, None), &outside).expect("good SQL");
    let problems: Vec<_> = results[0].problems.iter().map(ToString::to_string).collect();
    assert_eq!(problems, Vec::<String>::new());
}

#[test]
fn an_exception_hides_its_hits_and_nothing_else() {
    let exception = "- { name: scanner, detection: 'identity.*', where: \"SRC_IP = '10.0.0.9' AND user <> 'eve'\", \
                     owner: me, reason: ours, expires: 2026-06-30 }\n";
    let texts = Texts {
        streams: vec![("streams/all.sql".to_owned(), STREAM.to_owned())],
        detections: vec![("failure.sql".to_owned(), FAILURE.to_owned())],
        exceptions: vec![("exceptions/all.yaml".to_owned(), exception.to_owned())],
        ..Texts::default()
    };
    let compiled = compile(&texts, None);
    assert_eq!(compiled.diagnostics, []);
    let event = |user: &str, ip: &str| {
        let time = "2026-01-01T00:00:00Z";
        serde_json::json!({ "time": time, "user": user, "src_ip": ip, "status": "Failure" }).to_string()
    };
    let events = [event("ann", "10.0.0.9"), event("ann", "10.0.0.1"), event("eve", "10.0.0.9")];
    let (stream, columns) = compiled.program.streams().next().expect("it reads signin");
    let decoded = decode(stream, columns, &events).expect("good events");
    let mut engine = super::Engine::new(Arc::clone(&compiled.program), 1, &[]).expect("no tables");
    let batch = super::batch(&stream.name.as_str().into(), 0, decoded.rows);
    let mut hits = engine.push(batch).expect("a good batch").hits;
    hits.extend(engine.finish().expect("an end").hits);
    let told: std::collections::BTreeSet<_> = hits
        .iter()
        .map(|hit| {
            let alert = crate::ocsf(&compiled.detections[hit.query], hit);
            let who = alert["evidences"][0]["data"].clone();
            format!("{} {} {} {}", who["user"], who["src_ip"], alert["status"], alert["unmapped"]["weir"]["exception"])
        })
        .collect();
    let expected = [
        "\"ann\" \"10.0.0.1\" \"New\" null",
        "\"ann\" \"10.0.0.9\" \"Suppressed\" \"scanner\"",
        "\"eve\" \"10.0.0.9\" \"New\" null",
    ];
    assert_eq!(told.into_iter().collect::<Vec<_>>(), expected);
}
