//! What was evaluated, as the real process on a real broker says it: the table `coverage` and the metrics hold every record
//! that was sent once, over a stop and a start, and a detection that comes later has a gap that others are told of.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::support::archive;
use crate::support::broker;
use crate::support::http::{self, Metrics};
use crate::support::kafka::{self, Tail};
use crate::support::pipeline::Pipeline;
use crate::support::process::Running;
use crate::support::rows::Alert;
use crate::support::signins::{Entry, generate, oracle};

const PATIENCE: Duration = Duration::from_secs(120);
const PARTITIONS: usize = 2;
const EVENTS: usize = 24_000;

const SUCCESS: &str = r#"--! id       = "test.success"
--! title    = "Signed in"
--! severity = "low"
SELECT time, user_name, seq FROM signin WHERE status = 'Success'
"#;

const GAPS: &str = r#"--! id       = "test.gaps"
--! title    = "Offsets that a detection has not seen"
--! severity = "low"
SELECT time, detection, stream, partition, first_offset, last_offset FROM coverage WHERE status = 'gap'
"#;

/// Waits until a line of the metrics has a value; gives the metrics of that moment.
fn wait_for(weir: &mut Running, address: &str, line: &str, wanted: f64) -> Metrics {
    http::wait_for(weir, address, PATIENCE, |metrics| metrics.value(line) == Some(wanted))
}

fn send(address: &str, topic: &str, partitions: &[Vec<Entry>], half: usize) {
    let records: Vec<(i32, Vec<u8>)> = partitions
        .iter()
        .enumerate()
        .flat_map(|(partition, entries)| {
            let (first, second) = entries.split_at(entries.len() / 2);
            [first, second][half].iter().map(move |entry| (partition as i32, entry.payload()))
        })
        .collect();
    kafka::produce(address, topic, records.iter().map(|(partition, payload)| (*partition, payload.as_slice())));
}

fn number(row: &Value, name: &str) -> i64 {
    row[name].as_i64().unwrap_or_else(|| panic!("a row without {name}: {row}"))
}

/// Checks the stretches of one detection: from the offset at which it began to the end, each once. Gives the sums of
/// events, late events and rejected records.
fn stretches(rows: &[Value], detection: &str, begins: &[i64], ends: &[i64]) -> (i64, i64, i64) {
    let mut sums = (0, 0, 0);
    let mut stretches: BTreeMap<i64, Vec<(i64, i64)>> = BTreeMap::new();
    for row in rows.iter().filter(|row| row["detection"] == detection && row["status"] == "covered") {
        let offsets = (number(row, "first_offset"), number(row, "last_offset"));
        stretches.entry(number(row, "partition")).or_default().push(offsets);
        sums.0 += number(row, "events");
        sums.1 += number(row, "late");
        sums.2 += number(row, "rejected");
    }
    for (partition, (begin, end)) in (0..).zip(begins.iter().zip(ends)) {
        let mut next = *begin;
        let stretches = stretches.get_mut(&partition).expect("something was evaluated of each partition");
        stretches.sort_unstable();
        for (first, last) in stretches {
            assert_eq!(*first, next, "{detection}, partition {partition}: each offset once");
            next = *last + 1;
        }
        assert_eq!(next, *end, "{detection}, partition {partition}: to the end");
    }
    sums
}

#[test]
fn what_was_evaluated_adds_up_to_what_was_sent() {
    let Some(address) = broker::shared("kafka_coverage::what_was_evaluated_adds_up_to_what_was_sent") else { return };
    let partitions = generate(20_240_302, EVENTS, PARTITIONS);
    let expected = oracle(&partitions);
    let (dead, late) = (expected.dead.len() as i64, expected.late as i64);
    assert!(dead > 3 && late > 3, "the events are worth a test: {dead} dead, {late} late");
    let sent: Vec<i64> = partitions.iter().map(|entries| entries.len() as i64).collect();
    let half: Vec<i64> = sent.iter().map(|sent| sent / 2).collect();
    let total: i64 = sent.iter().sum();

    let pipeline = Pipeline::new(&address);
    pipeline.create_topics(&address, PARTITIONS);
    let listen = http::free_address();
    pipeline.configure("127.0.0.1:0", &listen);
    let project = &pipeline.project;

    send(&address, &pipeline.topic, &partitions, 0);
    let mut weir = project.start(&["run"]);
    weir.wait_for_line("running", PATIENCE);
    let read = half.iter().sum::<i64>() as f64;
    wait_for(&mut weir, &listen, "weir_read_records_total", read);
    assert!(weir.terminate(PATIENCE).success(), "SIGTERM ends the process well:\n{}", weir.printed());

    // Two detections come later: one that reads the stream, and one that reads what is told of that.
    project.write("detections/success.sql", SUCCESS);
    project.write("detections/gaps.sql", GAPS);
    let mut tail = Tail::new(&address, &pipeline.alerts);
    let mut weir = project.start(&["run"]);
    weir.wait_for_line("running", PATIENCE);
    let gaps_of = |records: &[kafka::Stored]| -> BTreeMap<String, String> {
        let alerts = records.iter().map(|record| serde_json::from_slice(&record.payload).expect("an alert is JSON"));
        let alerts = alerts.map(|json: Value| Alert::read(&json)).filter(|alert| alert.detection == "test.gaps");
        let words = |alert: &Alert| {
            let offsets = format!("{} to {}", alert.field("first_offset"), alert.field("last_offset"));
            (alert.field("partition"), format!("{} {offsets}", alert.field("detection")))
        };
        alerts.map(|alert| words(&alert)).collect()
    };
    let gaps = (0..).zip(&half).map(|(at, half): (i32, _)| (at.to_string(), format!("test.success 0 to {}", half - 1)));
    let gaps: BTreeMap<String, String> = gaps.collect();
    assert!(tail.wait_until(PATIENCE, |records| gaps_of(records) == gaps), "no alert of the gaps:\n{}", weir.printed());

    send(&address, &pipeline.topic, &partitions, 1);
    let text = wait_for(&mut weir, &listen, "weir_read_records_total", total as f64 - read);
    let events = |detection: &str| format!("weir_detection_events_total{{detection=\"{detection}\"}}");
    let counted = total as f64 - read - later_dead(&expected.dead, &half);
    let text = match text.value(&events("test.locked")) == Some(counted) {
        true => text,
        false => wait_for(&mut weir, &listen, &events("test.locked"), counted),
    };
    assert_eq!(text.value(&events("test.success")), Some(counted), "{text}");
    assert_eq!(text.value(&events("test.gaps")), Some(PARTITIONS as f64), "one row per partition:\n{text}");
    for (metric, detection) in [
        ("weir_detection_seconds_total", "test.guessing"),
        ("weir_detection_rows_total", "test.guessing"),
        ("weir_detection_state_bytes", "test.locked"),
        ("weir_detection_fired_timestamp_seconds", "test.locked"),
    ] {
        let found = text.value(&format!("{metric}{{detection=\"{detection}\"}}"));
        assert!(found > Some(0.0), "{metric} of {detection} is {found:?}:\n{text}");
    }
    let lag = format!("weir_consumer_lag_records{{topic=\"{}\",partition=\"1\"}}", pipeline.topic);
    wait_for(&mut weir, &listen, &lag, 0.0);
    assert!(text.value("weir_watermark_lag_seconds{stream=\"signin\"}") > Some(86_400.0), "of 2024:\n{text}");
    assert!(weir.terminate(PATIENCE).success(), "SIGTERM ends the process well:\n{}", weir.printed());

    let rows = archive::rows(&project.join("archive/coverage"));
    for detection in ["test.locked", "test.guessing"] {
        let sums = stretches(&rows, detection, &[0, 0], &sent);
        assert_eq!(sums, (total - dead, late, dead), "{detection}: events, late, rejected");
    }
    let (events, _, rejected) = stretches(&rows, "test.success", &half, &sent);
    assert_eq!(events + rejected, total - read as i64, "test.success has seen the second half");
    let hunted = project.weir(&[
        "hunt",
        "--format",
        "csv",
        "SELECT sum(events) + sum(rejected) AS n FROM coverage WHERE detection = 'test.locked' AND status = 'covered'",
    ]);
    assert_eq!(hunted.expect_code(0).stdout, format!("n\n{total}\n"));
}

/// How many of the records behind the first halves are none.
fn later_dead(dead: &BTreeMap<(i64, i64), Vec<u8>>, half: &[i64]) -> f64 {
    dead.keys().filter(|(partition, offset)| *offset >= half[*partition as usize]).count() as f64
}
