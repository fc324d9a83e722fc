//! What may fail around the pipeline: a broker that is not there, goes away or lacks a topic, a disk that cannot be
//! written. Weir says so, waits where waiting helps, and loses nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use crate::support::archive;
use crate::support::broker::{self, Broker};
use crate::support::events::rfc3339;
use crate::support::kafka::{self, Stored, Tail};
use crate::support::pipeline::Pipeline;
use crate::support::rows::Alert;
use crate::support::vendor::Vendor;

mod storage; // disks that are full, state that is damaged

const PATIENCE: Duration = Duration::from_secs(120);
/// 2024-03-01: long past, so that no clock of a machine takes it for the future.
const BASE_US: i64 = 1_709_251_200_000_000;

#[test]
fn a_broker_that_is_down_at_the_start_is_waited_for() {
    let Some(broker) = Broker::prepare("kafka_faults::a_broker_that_is_down_at_the_start_is_waited_for") else {
        return;
    };
    broker.start();
    let pipeline = Pipeline::new(&broker.address);
    pipeline.create_topics(&broker.address, 2);
    produce_locked(&broker.address, &pipeline, 0..100);
    broker.stop();

    let mut weir = pipeline.project.start(&["run"]);
    weir.wait_for_line(&broker.address, PATIENCE);
    assert!(weir.is_alive(), "it waits for the broker:\n{}", weir.printed());
    broker.start();
    let mut tail = Tail::new(&broker.address, &pipeline.alerts);
    assert!(tail.wait_until(PATIENCE, |records| locked(records).len() == 100), "{}", weir.printed());
    assert!(weir.terminate(PATIENCE).success(), "{}", weir.printed());
    assert_exactly(&broker.address, &pipeline, 0..100);
}

#[test]
fn a_broker_that_dies_and_returns_costs_and_doubles_no_alert() {
    let name = "kafka_faults::a_broker_that_dies_and_returns_costs_and_doubles_no_alert";
    let Some(broker) = Broker::prepare(name) else { return };
    broker.start();
    let pipeline = Pipeline::new(&broker.address);
    pipeline.create_topics(&broker.address, 2);

    let mut weir = pipeline.project.start(&["run"]);
    let mut tail = Tail::new(&broker.address, &pipeline.alerts);
    for round in 0..3 {
        produce_locked(&broker.address, &pipeline, round * 100..(round + 1) * 100);
        let arrived = tail.wait_until(PATIENCE, |records| locked(records).len() == (round as usize + 1) * 100);
        assert!(arrived, "round {round}:\n{}", weir.printed());
        broker.kill();
        broker.start();
    }
    assert!(weir.terminate(PATIENCE).success(), "{}", weir.printed());
    assert_exactly(&broker.address, &pipeline, 0..300);
}

#[test]
fn a_topic_that_does_not_exist_is_named() {
    let Some(address) = broker::shared("kafka_faults::a_topic_that_does_not_exist_is_named") else { return };
    let pipeline = Pipeline::new(&address);
    let mut weir = pipeline.project.start(&["run"]);
    assert_eq!(weir.wait(PATIENCE).code(), Some(3), "the outside lacks it:\n{}", weir.printed());
    weir.wait_for_line(&format!("no topic `{}`", pipeline.topic), PATIENCE);
}

#[test]
fn state_that_cannot_be_written_stops_the_start() {
    let Some(address) = broker::shared("kafka_faults::state_that_cannot_be_written_stops_the_start") else { return };
    let pipeline = Pipeline::new(&address);
    pipeline.create_topics(&address, 2);
    pipeline.configure("file:./state", "file:./weir.toml/state");
    let mut weir = pipeline.project.start(&["run"]);
    assert_eq!(weir.wait(PATIENCE).code(), Some(3), "{}", weir.printed());
    weir.wait_for_line("the state cannot be written", PATIENCE);
}

#[test]
fn an_archive_that_cannot_be_written_is_filled_later() {
    let Some(address) = broker::shared("kafka_faults::an_archive_that_cannot_be_written_is_filled_later") else {
        return;
    };
    let pipeline = Pipeline::new(&address);
    pipeline.create_topics(&address, 2);
    // A file stands where the folder should be; not even root can write below it.
    let obstacle = pipeline.project.write("obstacle", "");
    pipeline.configure("file:./archive", "file:./obstacle/archive");
    produce_locked(&address, &pipeline, 0..100);
    let mut weir = pipeline.project.start(&["run"]);
    weir.wait_for_line("the archive is behind", PATIENCE);
    let mut tail = Tail::new(&address, &pipeline.alerts);
    assert!(tail.wait_until(PATIENCE, |records| locked(records).len() == 100), "alerts go on:\n{}", weir.printed());
    assert!(weir.terminate(PATIENCE).success(), "{}", weir.printed());

    std::fs::remove_file(obstacle).expect("the obstacle can be removed");
    let mut weir = pipeline.project.start(&["run"]);
    weir.wait_for_line("running", PATIENCE);
    assert!(weir.terminate(PATIENCE).success(), "{}", weir.printed());
    assert_eq!(archive::rows(&pipeline.project.join("obstacle/archive/signin")).len(), 100);
    assert_exactly(&address, &pipeline, 0..100);
}

#[test]
fn an_archive_that_goes_away_while_running_is_caught_up_and_holds_no_alert() {
    let name = "kafka_faults::an_archive_that_goes_away_while_running_is_caught_up_and_holds_no_alert";
    let Some(address) = broker::shared(name) else { return };
    let pipeline = Pipeline::new(&address);
    pipeline.create_topics(&address, 2);
    produce_locked(&address, &pipeline, 0..100);
    let mut tail = Tail::new(&address, &pipeline.alerts);
    let mut weir = pipeline.project.start(&["run"]);
    assert!(tail.wait_until(PATIENCE, |records| locked(records).len() == 100), "{}", weir.printed());
    // An orderly stop leaves nothing to be archived.
    assert!(weir.terminate(PATIENCE).success(), "{}", weir.printed());

    let mut weir = pipeline.project.start(&["run"]);
    weir.wait_for_line("running", PATIENCE);
    let (folder, away) = (pipeline.project.join("archive"), pipeline.project.join("archive.away"));
    std::fs::rename(&folder, &away).expect("the archive can be moved");
    std::fs::write(&folder, "").expect("a file can stand in its place");
    produce_locked(&address, &pipeline, 100..200);
    weir.wait_for_line("the archive is behind", PATIENCE);
    assert!(tail.wait_until(PATIENCE, |records| locked(records).len() == 200), "alerts go on:\n{}", weir.printed());
    std::fs::remove_file(&folder).expect("the file can be removed");
    std::fs::rename(&away, &folder).expect("the archive can be moved back");
    assert!(weir.terminate(PATIENCE).success(), "{}", weir.printed());
    assert_eq!(archive::rows(&folder.join("signin")).len(), 200);
    assert_exactly(&address, &pipeline, 0..200);
}

#[test]
fn a_responder_that_hangs_holds_no_alert_and_no_stop_and_is_told_after_the_next_start() {
    let name = "kafka_faults::a_responder_that_hangs_holds_no_alert_and_no_stop_and_is_told_after_the_next_start";
    let Some(address) = broker::shared(name) else { return };
    let vendor = Vendor::hanging();
    let pipeline = Pipeline::new(&address);
    pipeline.create_topics(&address, 2);
    let responder = format!(
        "id: chat\nbase_url: http://{}\nidempotency_header: Idempotency-Key\ntimeout: 10 minutes\noperations:\n  \
         - {{ does: notify, post: /say, body: {{ text: '${{message.text}}' }} }}\n",
        vendor.address
    );
    pipeline.project.write("responders/chat.yaml", responder);
    pipeline.project.write(
        "playbooks/tell.yaml",
        "id: tell\nwhen: alert.detection = 'test.locked'\nsteps:\n  - notify: ${alert.entities.user} is locked\n    \
         timeout: 20 minutes\n",
    );
    pipeline.configure("[http]", "[playbooks]\nmode = \"live\"\n[http]");
    produce_locked(&address, &pipeline, 0..20);
    let mut weir = pipeline.project.start(&["run"]);
    let mut tail = Tail::new(&address, &pipeline.alerts);
    assert!(tail.wait_until(PATIENCE, |records| locked(records).len() == 20), "alerts go on:\n{}", weir.printed());
    assert!(weir.terminate(PATIENCE).success(), "a responder holds no stop:\n{}", weir.printed());
    let hung: BTreeSet<String> = vendor.requests().into_iter().map(|request| request.key).collect();
    assert!(!hung.is_empty(), "it was asked:\n{}", weir.printed());

    vendor.heal();
    let mut weir = pipeline.project.start(&["run"]);
    weir.wait_for_lines("run ended", 20, PATIENCE);
    weir.wait_for_line("INFO running", PATIENCE);
    assert!(weir.terminate(PATIENCE).success(), "{}", weir.printed());
    let mut answered: BTreeMap<String, usize> = BTreeMap::new();
    for request in vendor.requests().into_iter().filter(|request| request.is_answered) {
        *answered.entry(request.key).or_default() += 1;
    }
    assert!(answered.len() == 20 && answered.values().all(|times| *times == 1), "each is told once: {answered:?}");
    assert!(hung.iter().all(|key| answered.contains_key(key)), "what hung is told under its own key");
    pipeline.project.weir(&["case", "audit"]).expect_code(0);
    assert_exactly(&address, &pipeline, 0..20);
}

/// Locked accounts with these numbers, over both partitions.
fn produce_locked(address: &str, pipeline: &Pipeline, numbers: Range<i64>) {
    let records: Vec<(i32, Vec<u8>)> = numbers
        .map(|seq| {
            let time = rfc3339(BASE_US + seq * 1_000_000);
            let json = format!(r#"{{"time":"{time}","seq":{seq},"user_name":"user{seq}","status":"Locked"}}"#);
            ((seq % 2) as i32, json.into_bytes())
        })
        .collect();
    let records = records.iter().map(|(partition, payload)| (*partition, payload.as_slice()));
    kafka::produce(address, &pipeline.topic, records);
}

/// The numbers that alerts were created for.
fn locked(records: &[Stored]) -> BTreeSet<String> {
    records.iter().map(|record| read(record).field("seq")).collect()
}

fn read(record: &Stored) -> Alert {
    Alert::read(&serde_json::from_slice(&record.payload).expect("an alert is JSON"))
}

#[track_caller]
fn assert_exactly(address: &str, pipeline: &Pipeline, numbers: Range<i64>) {
    let records = kafka::read_committed(address, &pipeline.alerts);
    assert_eq!(records.len(), numbers.clone().count(), "one record for each alert");
    assert_eq!(locked(&records), numbers.map(|seq| seq.to_string()).collect());
}
