//! Alerts before their epoch ends: the copies of a detection with fast delivery, as the real process on a real broker sends
//! them. Epochs are so long here that only a stop ends one, so what comes earlier came without it.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::broker;
use crate::support::events::rfc3339;
use crate::support::http;
use crate::support::kafka::{self, Stored, Tail};
use crate::support::pipeline::Pipeline;
use crate::support::process::Running;

const PATIENCE: Duration = Duration::from_secs(120);
/// 2024-03-01: long past, so that no clock of a machine takes it for the future.
const BASE_US: i64 = 1_709_251_200_000_000;

const BLOCKED: &str = r#"--! id       = "test.blocked"
--! title    = "Account blocked"
--! severity = "low"
--! entities = { user = "user_name" }
--! cooldown = "1 minute"
--! delivery = "fast"
SELECT time, user_name, seq FROM signin WHERE status = 'Blocked'
"#;

/// The project, and the topic of its fast alerts.
struct Trial {
    address: String,
    pipeline: Pipeline,
    fast: String,
}

impl Trial {
    fn new(test: &str, epoch_ms: u64) -> Option<Self> {
        let address = broker::shared(test)?;
        let pipeline = Pipeline::new(&address);
        pipeline.create_topics(&address, 2);
        pipeline.configure("epoch_ms = 200", &format!("epoch_ms = {epoch_ms}\nidle_ms = 3600000"));
        let fast = format!("{}.fast", pipeline.alerts);
        let trial = Self { address, pipeline, fast };
        trial.deliver("fast");
        Some(trial)
    }

    /// Says how the alerts of locked accounts are delivered.
    fn deliver(&self, delivery: &str) {
        let text = self.pipeline.project.read("detections/locked.sql");
        let other: String = text
            .lines()
            .filter(|line| !line.starts_with("--! delivery"))
            .map(|line| {
                if line.starts_with("--! owner") {
                    format!("--! delivery = \"{delivery}\"\n{line}\n")
                } else {
                    format!("{line}\n")
                }
            })
            .collect();
        self.pipeline.project.write("detections/locked.sql", other);
    }

    /// A process whose first epoch, in which its partitions begin, is over; the next ends with a stop.
    fn start(&self) -> Running {
        let before = self.epochs();
        let mut weir = self.pipeline.project.start(&["run"]);
        weir.wait_for_line("running", PATIENCE);
        if before == 0 {
            let deadline = Instant::now() + PATIENCE;
            while self.epochs() == 0 {
                assert!(Instant::now() < deadline, "no first epoch:\n{}", weir.printed());
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        weir
    }

    /// How many manifests there are.
    fn epochs(&self) -> usize {
        std::fs::read_dir(self.pipeline.project.join("state/manifests")).map_or(0, Iterator::count)
    }

    /// Locked accounts with these numbers, over both partitions.
    fn lock(&self, numbers: Range<i64>) {
        self.produce(numbers.map(|seq| (seq, format!("user{seq}"), "Locked", (seq % 2) as i32)));
    }

    /// Events with a number, a user, a status and a partition; the number is their second too.
    fn produce(&self, events: impl Iterator<Item = (i64, String, &'static str, i32)>) {
        let record = |(seq, user, status, partition): (i64, String, &str, i32)| {
            let time = rfc3339(BASE_US + seq * 1_000_000);
            let json = format!(r#"{{"time":"{time}","seq":{seq},"user_name":"{user}","status":"{status}"}}"#);
            (partition, json.into_bytes())
        };
        let records: Vec<_> = events.map(record).collect();
        let records = records.iter().map(|(partition, payload)| (*partition, payload.as_slice()));
        kafka::produce(&self.address, &self.pipeline.topic, records);
    }

    fn exact(&self) -> Vec<Stored> {
        kafka::read_committed(&self.address, &self.pipeline.alerts)
    }

    fn copies(&self) -> Vec<Stored> {
        kafka::read_committed(&self.address, &self.fast)
    }
}

/// Key and bytes of each record, in any order.
fn told(records: &[Stored]) -> BTreeSet<(Option<Vec<u8>>, Vec<u8>)> {
    records.iter().map(|record| (record.key.clone(), record.payload.clone())).collect()
}

fn field<'a>(json: &'a Value, pointer: &str) -> &'a Value {
    json.pointer(pointer).unwrap_or_else(|| panic!("no {pointer} in {json}"))
}

#[test]
fn a_fast_alert_is_there_before_its_epoch_is_committed_and_the_exact_one_follows_with_the_same_bytes() {
    let name =
        "kafka_fast::a_fast_alert_is_there_before_its_epoch_is_committed_and_the_exact_one_follows_with_the_same_bytes";
    let Some(trial) = Trial::new(name, 600_000) else { return };
    let mut weir = trial.start();
    let begun = trial.epochs();
    // The process makes the topic by itself.
    weir.wait_for_line(&trial.fast, PATIENCE);
    trial.lock(0..20);
    let mut tail = Tail::new(&trial.address, &trial.fast);
    let arrived = tail.wait_until(PATIENCE, |records| told(records).len() == 20);
    assert!(arrived, "no fast alerts:\n{}", weir.printed());
    assert_eq!(trial.epochs(), begun, "no epoch was committed since");
    assert_eq!(trial.exact(), [], "the exact ones are not there yet");

    assert!(weir.terminate(PATIENCE).success(), "{}", weir.printed());
    let exact = trial.exact();
    assert_eq!(exact.len(), 20, "each alert is there once");
    let copies = trial.copies();
    assert_eq!(copies.len(), 20, "without a death each copy is sent once");
    assert_eq!(told(&copies), told(&exact), "a copy has the key and the bytes of its record");
    for record in &copies {
        let json: Value = serde_json::from_slice(&record.payload).expect("an alert is JSON");
        assert_eq!(field(&json, "/finding_info/analytic/uid"), "test.locked", "others do not ask for it");
        assert_eq!(field(&json, "/finding_info/uid").as_str().map(str::as_bytes), record.key.as_deref());
    }
}

#[test]
fn a_cooldown_holds_back_no_fast_alert_and_tells_what_it_looks_like() {
    let name = "kafka_fast::a_cooldown_holds_back_no_fast_alert_and_tells_what_it_looks_like";
    let Some(trial) = Trial::new(name, 600_000) else { return };
    trial.pipeline.project.write("detections/blocked.sql", BLOCKED);
    let mut weir = trial.start();
    weir.wait_for_line(&trial.fast, PATIENCE);
    // Nothing comes behind them, so that their order is not certain as long as the process runs.
    trial.produce([30, 31].map(|seq| (seq, "ann".to_owned(), "Blocked", 0)).into_iter());
    let mut tail = Tail::new(&trial.address, &trial.fast);
    assert!(tail.wait_until(PATIENCE, |records| records.len() == 2), "no fast alerts:\n{}", weir.printed());
    assert_eq!(trial.exact(), [], "the exact ones are not there yet");
    let copies: Vec<Value> = trial
        .copies()
        .iter()
        .map(|record| serde_json::from_slice(&record.payload).expect("an alert is JSON"))
        .collect();
    let seconds = |json: &Value| field(json, "/evidences/0/data/seq").as_i64();
    let of = |seq: i64| copies.iter().find(|json| seconds(json) == Some(seq)).expect("each has a copy");
    assert_eq!(field(of(30), "/status"), "Provisional");
    assert_eq!(field(of(31), "/status"), "Suppressed");
    assert_eq!(field(of(31), "/unmapped/weir/suppressed_by"), field(of(30), "/finding_info/uid"));
    assert!(weir.terminate(PATIENCE).success(), "{}", weir.printed());
    assert_eq!(told(&trial.exact()), told(&trial.copies()), "the exact ones are the same records");
}

#[test]
fn delivery_is_edited_while_the_pipeline_runs() {
    let Some(trial) = Trial::new("kafka_fast::delivery_is_edited_while_the_pipeline_runs", 200) else { return };
    trial.deliver("exact");
    let mut exact = Tail::new(&trial.address, &trial.pipeline.alerts);
    let mut weir = trial.start();
    let mut lock = |weir: &mut Running, numbers: Range<i64>| {
        let until = numbers.end as usize;
        trial.lock(numbers);
        let arrived = exact.wait_until(PATIENCE, |records| told(records).len() == until);
        assert!(arrived, "no {until} exact alerts:\n{}", weir.printed());
    };
    lock(&mut weir, 0..10);
    for (edits, delivery) in [(1, "fast"), (2, "exact")] {
        trial.deliver(delivery);
        weir.hang_up();
        weir.wait_for_lines("running with what was edited", edits, PATIENCE);
        lock(&mut weir, edits as i64 * 10..(edits as i64 + 1) * 10);
    }
    assert!(weir.terminate(PATIENCE).success(), "{}", weir.printed());
    let records = trial.exact();
    assert_eq!(records.len(), 30, "each alert is there once");
    let is_second = |record: &&Stored| {
        let json: Value = serde_json::from_slice(&record.payload).expect("an alert is JSON");
        (10..20).contains(&field(&json, "/evidences/0/data/seq").as_i64().expect("a number"))
    };
    let second: Vec<Stored> = records.iter().filter(is_second).cloned().collect();
    assert_eq!(told(&trial.copies()), told(&second), "only those in between left early");
}

#[test]
fn a_death_before_the_commit_repeats_fast_alerts_and_no_exact_one() {
    let Some(trial) = Trial::new("kafka_fast::a_death_before_the_commit_repeats_fast_alerts_and_no_exact_one", 600_000)
    else {
        return;
    };
    let mut weir = trial.start();
    weir.wait_for_line(&trial.fast, PATIENCE);
    trial.lock(0..20);
    let mut tail = Tail::new(&trial.address, &trial.fast);
    assert!(tail.wait_until(PATIENCE, |records| told(records).len() == 20), "{}", weir.printed());
    weir.kill();
    assert_eq!(trial.exact(), [], "the exact ones died with their epoch");

    let mut weir = trial.start();
    trial.lock(20..30);
    let again = tail.wait_until(PATIENCE, |records| told(records).len() == 30 && records.len() >= 50);
    assert!(again, "what was read again is sent again:\n{}", weir.printed());
    assert!(weir.terminate(PATIENCE).success(), "{}", weir.printed());
    let (exact, copies) = (trial.exact(), trial.copies());
    assert_eq!(exact.len(), 30, "each alert is there once");
    assert_eq!(told(&copies), told(&exact), "the same alerts, at least once each");
}

#[test]
fn a_fast_topic_that_is_gone_or_takes_nothing_holds_back_no_exact_alert_and_is_counted() {
    let name = "kafka_fast::a_fast_topic_that_is_gone_or_takes_nothing_holds_back_no_exact_alert_and_is_counted";
    let Some(trial) = Trial::new(name, 200) else { return };
    let listen = http::free_address();
    trial.pipeline.configure("127.0.0.1:0", &listen);
    // No alert is as small as that.
    kafka::create_topic_with(&trial.address, &trial.fast, 1, &[("max.message.bytes", "100")]);
    let outcome = |outcome: &str| format!("weir_fast_alerts_total{{detection=\"test.locked\",outcome=\"{outcome}\"}}");
    let mut weir = trial.start();
    trial.lock(0..20);
    let mut tail = Tail::new(&trial.address, &trial.pipeline.alerts);
    assert!(tail.wait_until(PATIENCE, |records| records.len() == 20), "exact alerts go on:\n{}", weir.printed());
    http::wait_for(&mut weir, &listen, PATIENCE, |metrics| metrics.value(&outcome("too_large")) == Some(20.0));
    weir.wait_for_line("fast alerts were left", PATIENCE);

    kafka::delete_topic(&trial.address, &trial.fast);
    trial.lock(20..40);
    assert!(tail.wait_until(PATIENCE, |records| records.len() == 40), "exact alerts go on:\n{}", weir.printed());
    // Whether the brokers say so or say nothing is a matter of when they are asked.
    http::wait_for(&mut weir, &listen, PATIENCE, |metrics| {
        let left = ["no_answer", "refused"].map(|reason| metrics.value(&outcome(reason)).unwrap_or_default());
        left.iter().sum::<f64>() == 20.0
    });
    let metrics = http::metrics(&listen);
    assert_eq!(metrics.value(&outcome("sent")), Some(0.0));
    assert_eq!(metrics.value(&outcome("queue_full")), Some(0.0));
    assert!(weir.terminate(PATIENCE).success(), "{}", weir.printed());
    assert_eq!(trial.exact().len(), 40, "each alert is there once");
}
