//! The real process on a real broker: events over 6 partitions, interrupted half-way and started again, must give exactly
//! what an obvious program computes from the same records.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::support::archive;
use crate::support::broker;
use crate::support::kafka::{self, Stored, Tail};
use crate::support::pipeline::Pipeline;
use crate::support::process::Running;
use crate::support::project::Project;
use crate::support::rows::{Alert, Summary, last_by_uid, ndjson};
use crate::support::signins::{Entry, Outcome, assert_same, assert_same_alerts, generate, oracle, outcome_of_alerts};

mod s3; // the same with state and archive in a bucket

const PARTITIONS: usize = 6;
const PATIENCE: Duration = Duration::from_secs(180);

#[test]
fn a_stop_and_a_start_lose_and_double_nothing() {
    let Some(address) = broker::shared("kafka::a_stop_and_a_start_lose_and_double_nothing") else { return };
    interrupted(&address, 200_000, |weir| {
        let status = weir.terminate(PATIENCE);
        assert!(status.success(), "SIGTERM ends the process well, not with {status}:\n{}", weir.printed());
    });
}

#[test]
fn a_sudden_death_loses_and_doubles_nothing() {
    let Some(address) = broker::shared("kafka::a_sudden_death_loses_and_doubles_nothing") else { return };
    interrupted(&address, 60_000, Running::kill);
}

fn interrupted(address: &str, events: usize, interrupt: impl FnOnce(&mut Running)) {
    interrupted_in(&Pipeline::new(address), address, events, interrupt, || {});
}

/// Runs the process over the first half of the events, interrupts it before it is through, and lets a second process
/// do the rest. `fetch` brings the archive into the project, where it is somewhere else.
fn interrupted_in(
    pipeline: &Pipeline,
    address: &str,
    events: usize,
    interrupt: impl FnOnce(&mut Running),
    fetch: impl FnOnce(),
) {
    let partitions = generate(20_240_301, events, PARTITIONS);
    let expected = oracle(&partitions);
    assert!(expected.guessing.len() > 10 && expected.locked.len() > 40, "the events are worth a test");
    assert!(expected.late > 100 && expected.dead.len() > 20, "the events are worth a test");

    pipeline.create_topics(address, PARTITIONS);
    let Pipeline { project, topic, alerts, dead_letters } = pipeline;
    // The second half is written after the stop, so that the stop is half-way however fast the machine is.
    let ids = expected.guessing.len() + expected.locked.len();
    let mut tail = Tail::new(address, alerts);
    produce(address, topic, partitions.iter().map(|entries| &entries[..entries.len() / 2]));
    let mut first = project.start(&["run"]);
    let some = tail.wait_until(PATIENCE, |records| last_by_uid(records.iter().map(alert)).len() >= ids / 5);
    assert!(some, "no alerts in {PATIENCE:?}:\n{}", first.printed());
    interrupt(&mut first);
    produce(address, topic, partitions.iter().map(|entries| &entries[entries.len() / 2..]));
    let mut second = project.start(&["run"]);
    // Where this never comes, the comparison below says what is different.
    let _complete = tail.wait_until(PATIENCE, |records| {
        let found = outcome_of_alerts(records.iter().map(alert));
        found.guessing == expected.guessing && found.locked == expected.locked
    });
    let status = second.terminate(PATIENCE);
    assert!(status.success(), "SIGTERM ends the process well, not with {status}:\n{}", second.printed());

    let records = kafka::read_committed(address, alerts);
    assert_each_alert_is_created_once(&records);
    let mut found = outcome_of_alerts(records.iter().map(alert));
    fetch();
    read_archive(project, &mut found);
    assert_same(&found, &expected);
    let letters = kafka::read_committed(address, dead_letters);
    assert_eq!(letters.len(), expected.dead.len(), "each dead letter is in the topic once");
    let letters: BTreeMap<_, _> = letters.iter().map(dead_letter).collect();
    assert!(letters == expected.dead, "each dead letter has its position and its bytes");
    replay_archive(project, &expected);
}

/// The archive holds all that a replay needs to come to the same alerts, late events included.
fn replay_archive(project: &Project, expected: &Outcome) {
    let replayed = project.weir(&["replay", "--archive", "--alerts", "replayed.ndjson"]).expect_code(0);
    let alerts = ndjson(&project.read("replayed.ndjson"));
    assert_same_alerts(&outcome_of_alerts(alerts.iter().map(Alert::read)), expected);
    let summary = Summary::read(&replayed.stderr);
    assert_eq!(summary.events(), expected.archived.values().sum::<usize>());
    assert_eq!(summary.late(), expected.late);
}

pub(crate) fn produce<'a>(address: &str, topic: &str, partitions: impl Iterator<Item = &'a [Entry]>) {
    let records: Vec<(i32, Vec<u8>)> = partitions
        .enumerate()
        .flat_map(|(partition, entries)| entries.iter().map(move |entry| (partition as i32, entry.payload())))
        .collect();
    kafka::produce(address, topic, records.iter().map(|(partition, payload)| (*partition, payload.as_slice())));
}

pub(crate) fn alert(record: &Stored) -> Alert {
    let json = serde_json::from_slice(&record.payload).expect("an alert is JSON");
    let alert = Alert::read(&json);
    assert_eq!(record.key.as_deref(), Some(alert.uid.as_bytes()), "the key of an alert is its id");
    alert
}

pub(crate) fn assert_each_alert_is_created_once(records: &[Stored]) {
    let mut created = BTreeSet::new();
    for alert in records.iter().map(alert).filter(|alert| alert.activity == 1) {
        assert!(created.insert(alert.uid.clone()), "{} was created twice", alert.uid);
    }
}

pub(crate) fn read_archive(project: &Project, outcome: &mut Outcome) {
    for row in archive::rows(&project.join("archive/signin")) {
        let seq = row["seq"].as_u64().unwrap_or_else(|| panic!("a row without its number: {row}"));
        *outcome.archived.entry(seq as usize).or_default() += 1;
    }
    outcome.late = archive::rows(&project.join("archive/late_events")).len();
    for row in archive::rows(&project.join("archive/dead_letters")) {
        let number = |name: &str| row[name].as_i64().unwrap_or_else(|| panic!("a dead letter without {name}: {row}"));
        let raw = row["raw"].as_str().unwrap_or_else(|| panic!("a dead letter without its bytes: {row}"));
        outcome.dead.insert((number("partition"), number("offset")), archive::bytes(raw));
    }
}

/// Position and raw bytes of a record of the dead-letter topic.
pub(crate) fn dead_letter(record: &Stored) -> ((i64, i64), Vec<u8>) {
    let json: serde_json::Value = serde_json::from_slice(&record.payload).expect("a dead letter is JSON");
    let number = |name: &str| json[name].as_i64().unwrap_or_else(|| panic!("a dead letter without {name}: {json}"));
    assert!(json["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "a dead letter without reason: {json}");
    let raw = json["raw"].as_str().unwrap_or_else(|| panic!("a dead letter without its bytes: {json}"));
    ((number("partition"), number("offset")), kafka::from_base64(raw))
}
