//! Claims about the ledger, with minutes as arguments.

use serde_json::Value;
use weir_connectors::position::TopicPartition;
use weir_detections::compile::{Texts, compile};
use weir_engine::{EventTime, LateEvent, LateReason, PartitionId, Uid};

use super::*;

const STREAMS: &str = "\
CREATE STREAM signin (time TIMESTAMP, who STRING, address STRING) WITH (topic = 'signin', event_time = 'time');
CREATE STREAM proxy (time TIMESTAMP, url STRING) WITH (topic = 'proxy', event_time = 'time');
";
const NAMES: &str = "SELECT time, who FROM signin";
const ADDRESSES: &str = "SELECT time, address FROM signin";
const MINUTE: i64 = 1_000_000;

fn rules(detections: &[(&str, &str)]) -> Compiled {
    let text = |(id, sql): &(&str, &str)| {
        let header = format!("--! id = \"{id}\"\n--! title = \"T\"\n--! severity = \"low\"\n");
        (format!("detections/{id}.sql"), header + sql)
    };
    let texts = Texts {
        streams: vec![("streams/s.sql".to_owned(), STREAMS.to_owned())],
        detections: detections.iter().map(text).collect(),
        runbooks: vec![],
        exceptions: vec![],
    };
    let rules = compile(&texts, None);
    assert_eq!(rules.diagnostics, []);
    rules
}

fn ledger(kept: Coverage, detections: &[(&str, &str)]) -> CoverageLedger {
    CoverageLedger::new((kept, BTreeSet::new()), &rules(detections), Duration::from_secs(600))
}

fn key(stream: &str, partition: i32) -> PartitionKey {
    PartitionKey { stream: stream.to_owned(), topic: stream.to_owned(), partition }
}

/// A part in which these offsets of a partition of `signin` came, one event each but for those that were rejected.
fn part(partition: i32, offsets: (i64, i64), rejected: u64) -> Part {
    let events = (offsets.1 - offsets.0) as u64 - rejected;
    let times_us = Some((offsets.0 * SECOND_US, offsets.1 * SECOND_US));
    let values = [("who".to_owned(), events), ("address".to_owned(), events)].into();
    let taken = Taken { offsets: Some(offsets), events, rejected, times_us, values };
    Part { taken: [(key("signin", partition), taken)].into(), ..Part::default() }
}

fn begun(partition: i32, next: i64, earliest: i64) -> Part {
    Part { begun: [(key("signin", partition), Begun { next, earliest })].into(), ..Part::default() }
}

/// The rows in words: detection, partition, status, offsets, events, late, rejected.
fn told(rows: &[Vec<u8>]) -> Vec<String> {
    let words = |row: &Vec<u8>| {
        let row: Value = serde_json::from_slice(row).unwrap();
        let names = ["detection", "partition", "status", "first_offset", "last_offset", "events", "late", "rejected"];
        let word = |value: &Value| match value {
            Value::Null => "-".to_owned(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        names.map(|name| word(&row[name])).join(" ")
    };
    rows.iter().map(words).collect()
}

#[test]
fn a_minute_is_told_once_when_it_is_over_and_its_stretches_add_up() {
    let mut ledger = ledger(Coverage::default(), &[("a", NAMES), ("b", ADDRESSES)]);
    let now = MINUTE * 60;
    assert_eq!(
        told(&ledger.close(now, &[begun(0, 5, 5), begun(1, 0, 0)], false)),
        ["a 0 gap 0 4 - - -", "b 0 gap 0 4 - - -"]
    );
    assert_eq!(told(&ledger.close(now + 1, &[part(0, (5, 9), 1), part(1, (0, 2), 0)], false)), [""; 0]);
    assert!(!ledger.is_due(now + 59, false));
    let late = LateEvent {
        stream: "signin".into(),
        partition: Some(PartitionId(0)),
        uid: Uid::of_record("signin", b"1"),
        time: EventTime(0),
        against: EventTime(SECOND_US),
        reason: LateReason::Lateness,
    };
    let mut second = part(0, (9, 12), 0);
    second.late.push((late, Some(TopicPartition { topic: "signin".into(), partition: 0 })));
    assert_eq!(told(&ledger.close(now + 59, &[second], false)), [""; 0]);
    assert!(ledger.is_due(now + 60, false));
    let rows = ledger.close(now + 60, &[part(1, (2, 3), 0)], false);
    let covered =
        ["a 0 covered 5 11 6 1 1", "b 0 covered 5 11 6 1 1", "a 1 covered 0 1 2 0 0", "b 1 covered 0 1 2 0 0"];
    assert_eq!(told(&rows), covered, "what comes in the next minute is not in it");
    let first: Value = serde_json::from_slice(&rows[0]).unwrap();
    assert_eq!(first["time"], "1971-11-26T10:40:00.000000Z", "the minute by the clock on the wall");
    assert_eq!(first["uid"], "coverage-2");
    assert_eq!(first["first_event_time"], "1970-01-01T00:00:05.000000Z");
    assert_eq!(first["last_event_time"], "1970-01-01T00:00:12.000000Z");
    assert_eq!(told(&ledger.close(now + 61, &[], true)), ["a 1 covered 2 2 1 0 0", "b 1 covered 2 2 1 0 0"]);
    assert!(!ledger.is_due(now + 600, false), "nothing is open, and nothing was heard of long enough ago");
}

#[test]
fn a_crash_within_a_minute_neither_loses_nor_doubles_it() {
    let mut first = ledger(Coverage::default(), &[("a", NAMES)]);
    first.close(MINUTE * 60, &[begun(0, 0, 0), part(0, (0, 3), 0)], false);
    let saved = serde_json::to_vec(first.kept()).unwrap();
    let mut second = ledger(serde_json::from_slice(&saved).unwrap(), &[("a", NAMES)]);
    assert_eq!(told(&second.close(MINUTE * 60 + 30, &[part(0, (3, 4), 0)], false)), ["a 0 covered 0 2 3 0 0"]);
    assert_eq!(told(&second.close(MINUTE * 60 + 31, &[], true)), ["a 0 covered 3 3 1 0 0"]);
}

#[test]
fn a_detection_that_comes_later_has_a_gap_before_it() {
    let mut first = ledger(Coverage::default(), &[("a", NAMES)]);
    first.close(MINUTE * 60, &[begun(0, 10, 4), part(0, (10, 20), 0)], true);
    let mut second = ledger(first.kept().clone(), &[("a", NAMES), ("b", ADDRESSES)]);
    assert_eq!(
        told(&second.close(MINUTE * 60, &[part(0, (20, 21), 0)], true)),
        ["b 0 gap 10 19 - - -", "a 0 covered 20 20 1 0 0", "b 0 covered 20 20 1 0 0",]
    );
    // Offsets that no process was given, as after a state that was taken back by hand.
    let mut third = ledger(second.kept().clone(), &[("b", ADDRESSES)]);
    assert_eq!(
        told(&third.close(MINUTE * 60, &[part(0, (25, 26), 0)], true)),
        ["b 0 gap 21 24 - - -", "b 0 covered 25 25 1 0 0",]
    );
}

#[test]
fn what_comes_while_a_detection_is_in_quarantine_is_a_gap_for_it_alone() {
    let detections = [("a", NAMES), ("b", ADDRESSES)];
    let now = MINUTE * 60;
    let mut first = ledger(Coverage::default(), &detections);
    first.close(now, &[begun(0, 0, 0), part(0, (0, 3), 0)], false);
    first.quarantine(["a".to_owned()].into());
    let rows = first.close(now + 1, &[part(0, (3, 5), 0)], false);
    assert_eq!(told(&rows), ["a 0 covered 0 2 3 0 0", "b 0 covered 0 2 3 0 0"], "what was open before");
    // The next process begins behind a crash, and lets it out.
    let kept = (first.kept().clone(), ["a".to_owned()].into());
    let mut second = CoverageLedger::new(kept, &rules(&detections), Duration::from_secs(600));
    second.quarantine(BTreeSet::new());
    let rows = second.close(now + 2, &[part(0, (5, 6), 0)], false);
    assert_eq!(told(&rows), ["a 0 gap 3 4 - - -", "b 0 covered 3 4 2 0 0"]);
    let gap: Value = serde_json::from_slice(&rows[0]).unwrap();
    assert_eq!(gap["detail"], "the detection is in quarantine");
    assert_eq!(told(&second.close(now + 3, &[], true)), ["a 0 covered 5 5 1 0 0", "b 0 covered 5 5 1 0 0"]);
}

#[test]
fn offsets_before_the_beginning_are_gaps_with_a_reason() {
    let mut ledger = ledger(Coverage::default(), &[("a", NAMES)]);
    let rows = ledger.close(MINUTE * 60, &[begun(0, 10, 4)], false);
    assert_eq!(told(&rows), ["a 0 gap 0 3 - - -", "a 0 gap 4 9 - - -"]);
    let details: Vec<Value> =
        rows.iter().map(|row| serde_json::from_slice::<Value>(row).unwrap()["detail"].take()).collect();
    assert_eq!(details, ["the broker had deleted them", "[kafka] start lies behind them"]);
}

#[test]
fn a_stream_that_falls_silent_is_told_once_until_it_comes_back() {
    let mut first = ledger(Coverage::default(), &[("a", NAMES), ("p", "SELECT time, url FROM proxy")]);
    let now = MINUTE * 60;
    first.close(now, &[begun(0, 0, 0), part(0, (0, 1), 0)], false);
    assert!(first.is_due(now + 600, false));
    let rows = first.close(now + 600, &[], false);
    assert_eq!(told(&rows), ["a 0 covered 0 0 1 0 0", "a - silent - - - - -"], "proxy was never heard of");
    assert!(!first.is_due(now + 6000, false));
    assert_eq!(told(&first.close(now + 6000, &[part(0, (1, 2), 0)], true)), ["a 0 covered 1 1 1 0 0"]);
    // While no process runs nothing can be heard.
    let mut second = ledger(first.kept().clone(), &[("a", NAMES)]);
    assert_eq!(told(&second.close(now + 60_000, &[], false)), [""; 0]);
    assert_eq!(told(&second.close(now + 60_600, &[], false)), ["a - silent - - - - -"]);
}

#[test]
fn a_column_that_is_suddenly_empty_is_told_to_those_who_read_it() {
    let mut ledger = ledger(Coverage::default(), &[("a", NAMES), ("b", ADDRESSES)]);
    let now = MINUTE * 60;
    let breaks = |rows: Vec<Vec<u8>>| -> Vec<String> {
        told(&rows).into_iter().filter(|row| !row.contains("covered")).collect()
    };
    let emptied = |offsets| {
        let mut part = part(0, offsets, 0);
        part.taken.get_mut(&key("signin", 0)).unwrap().values.insert("address".to_owned(), 0);
        part
    };
    assert_eq!(breaks(ledger.close(now, &[begun(0, 0, 0), part(0, (0, 100), 0)], false)), [""; 0]);
    assert_eq!(breaks(ledger.close(now + 60, &[emptied((100, 199))], false)), [""; 0]);
    assert_eq!(breaks(ledger.close(now + 120, &[emptied((199, 299))], false)), [""; 0], "99 events are too few");
    assert_eq!(breaks(ledger.close(now + 180, &[emptied((299, 499))], false)), ["b - nulls - - - - -"]);
    assert_eq!(breaks(ledger.close(now + 240, &[part(0, (499, 599), 0)], false)), [""; 0], "it was told");
    assert_eq!(breaks(ledger.close(now + 300, &[], true)), [""; 0], "it is back");
}
