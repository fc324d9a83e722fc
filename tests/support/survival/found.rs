//! What came out of the process: alerts and dead letters as a reader of committed transactions sees them, the archive as
//! another program reads it, runs as they stand in the journal.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::Connection;
use serde_json::Value;

use super::oracle::count;
use super::{Facts, Outcome, Trial};
use crate::support::archive;
use crate::support::events::rfc3339;
use crate::support::kafka::{self, Stored};
use crate::support::rows::Alert;
use crate::support::signins::assert_maps;

/// The detections that ask for fast delivery.
const FAST: [&str; 2] = ["test.takeover", "test.blocked"];

/// What the last record of each alert says.
pub(crate) fn alerts(records: &[Stored]) -> Facts {
    let mut last: BTreeMap<String, Value> = BTreeMap::new();
    for record in records {
        let json: Value = serde_json::from_slice(&record.payload).expect("an alert is JSON");
        last.insert(Alert::read(&json).uid, json);
    }
    // Alerts about alerts name them by their id, and a story knows events by their number.
    let seq_of: BTreeMap<String, String> =
        last.iter().map(|(uid, json)| (uid.clone(), Alert::read(json).field("seq"))).collect();
    let seq_of = |uid: &str| seq_of.get(uid).cloned().unwrap_or_else(|| format!("no alert ({uid})"));
    let mut facts = Facts::new();
    for json in last.values() {
        let (about, what) = fact(&Alert::read(json), json, &seq_of);
        let before = facts.insert(about.clone(), what);
        assert_eq!(before, None, "two alerts of one cause: {about}");
    }
    facts
}

fn fact(alert: &Alert, json: &Value, seq_of: &dyn Fn(&str) -> String) -> (String, String) {
    let field = |name: &str| alert.field(name);
    let instant = || {
        let time = chrono::DateTime::parse_from_rfc3339(&field("time")).expect("the time of a row");
        rfc3339(time.timestamp_micros())
    };
    let name = alert.detection.as_str();
    let times = format!("{} times", alert.count);
    match name {
        "test.locked" => (format!("{name} {}", field("seq")), times),
        "test.guessing" | "test.takeover" => {
            (format!("{name} {} {}", field("user_name"), instant()), format!("{} failures", field("failures")))
        }
        "test.unlocked" => (format!("{name} {} {}", field("seq"), field("unlock_seq")), "paired".to_owned()),
        "test.unanswered" => (format!("{name} {}", field("seq")), "nobody came".to_owned()),
        "test.acted" => (format!("{name} {}", seq_of(&field("alert"))), "once".to_owned()),
        "test.blocked" => {
            let leader = json.pointer("/unmapped/weir/suppressed_by").and_then(Value::as_str);
            let what = match (json["status_id"].as_i64(), leader) {
                (Some(1), None) => times,
                (Some(3), Some(leader)) => format!("repeats {}", seq_of(leader)),
                (status, _) => format!("status {status:?}"),
            };
            (format!("{name} {}", field("seq")), what)
        }
        other => panic!("an alert of no detection of ours: {other}"),
    }
}

impl Trial {
    /// Compares all that came out with what must have.
    #[track_caller]
    pub(crate) fn assert_outcome(&self, address: &str, expected: &Outcome) {
        let records = kafka::read_committed(address, &self.pipeline.alerts);
        let found = self.found(address, &records);
        assert_maps("alerts", &found.alerts, &expected.alerts);
        assert_each_record_is_there_once(&records);
        self.assert_copies(address, &records);
        self.assert_archived_alerts(&records);
        assert_maps("dead letters", &found.dead, &expected.dead);
        assert_maps("archived dead letters", &self.archived_dead_letters(), &expected.dead);
        assert_maps("archived events", &found.archived, &expected.archived);
        assert_maps("late events", &found.late, &expected.late);
        assert_maps("runs", &found.runs, &expected.runs);
        assert_maps("ledger", &found.ledger, &expected.ledger);
        self.assert_actions();
        self.assert_told(expected.runs.len());
    }

    fn found(&self, address: &str, records: &[Stored]) -> Outcome {
        let mut outcome =
            Outcome { alerts: alerts(records), runs: self.runs(records), ledger: self.ledger(), ..Outcome::default() };
        for stream in ["signin", "unlock"] {
            for row in self.table(stream) {
                count(&mut outcome.archived, format!("{stream} {}", row["seq"]));
            }
        }
        for row in self.table("late_events") {
            let time = row["event_time"].as_str().expect("a late event has its time");
            let time = chrono::DateTime::parse_from_rfc3339(time).expect("a time of the archive");
            let stream = row["stream"].as_str().expect("a late event has its stream");
            count(&mut outcome.late, format!("{stream} {}", rfc3339(time.timestamp_micros())));
        }
        for record in kafka::read_committed(address, &self.pipeline.dead_letters) {
            let json: Value = serde_json::from_slice(&record.payload).expect("a dead letter is JSON");
            let raw = kafka::from_base64(json["raw"].as_str().expect("a dead letter has its bytes"));
            self.add_dead(&mut outcome.dead, &json, &raw);
        }
        outcome
    }

    fn archived_dead_letters(&self) -> Facts {
        let mut dead = Facts::new();
        for row in self.table("dead_letters") {
            let raw = archive::bytes(row["raw"].as_str().expect("a dead letter has its bytes"));
            self.add_dead(&mut dead, &row, &raw);
        }
        dead
    }

    fn add_dead(&self, dead: &mut Facts, letter: &Value, raw: &[u8]) {
        let stream = if letter["topic"] == self.pipeline.topic.as_str() { "signin" } else { "unlock" };
        let about = format!("{stream} {} {}", letter["partition"], letter["offset"]);
        let before = dead.insert(about.clone(), format!("{raw:02x?}"));
        assert_eq!(before, None, "a dead letter is there twice: {about}");
    }

    /// How each run ended, by the number of the event whose alert it was started for.
    fn runs(&self, records: &[Stored]) -> Facts {
        let mut seq_of = BTreeMap::new();
        for record in records {
            let alert = Alert::read(&serde_json::from_slice(&record.payload).expect("an alert is JSON"));
            seq_of.insert(alert.uid.clone(), alert.field("seq"));
        }
        let journal = self.journal();
        let mut statement = journal.prepare("SELECT alert, status FROM runs").expect("the journal has runs");
        let rows = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)));
        let mut runs = Facts::new();
        for row in rows.expect("runs can be read") {
            let (alert, status) = row.expect("a run can be read");
            let before = runs.insert(seq_of.get(&alert).cloned().unwrap_or(alert.clone()), status);
            assert_eq!(before, None, "two runs for one alert: {alert}");
        }
        runs
    }

    /// The archive has each change of an action once, as the journal has it.
    fn assert_actions(&self) {
        let archived: Vec<String> = self.table("actions").iter().map(|row| row["change_id"].to_string()).collect();
        let changes: i64 = self
            .journal()
            .query_row("SELECT count(*) FROM changes WHERE stream = 'actions'", [], |row| row.get(0))
            .expect("changes can be counted");
        assert_eq!(archived.len() as i64, changes, "rows of `actions` for the changes in the journal");
        assert_eq!(archived.iter().collect::<BTreeSet<_>>().len(), archived.len(), "no change is archived twice");
    }

    /// The vendor has heard of each run, under one key however often a death made it ask again.
    fn assert_told(&self, runs: usize) {
        let requests = self.vendor.requests();
        assert!(requests.iter().all(|request| !request.key.is_empty()), "each request has its key");
        assert_eq!(requests.iter().map(|request| &request.key).collect::<BTreeSet<_>>().len(), runs, "requests by key");
    }

    /// Each record of the detections with fast delivery has left early too, at least once, and there is no other alert.
    fn assert_copies(&self, address: &str, records: &[Stored]) {
        let copies = kafka::read_committed(address, &format!("{}.fast", self.pipeline.alerts));
        let read = |record: &Stored| Alert::read(&serde_json::from_slice(&record.payload).expect("an alert is JSON"));
        let is_fast = |record: &&Stored| FAST.contains(&read(record).detection.as_str());
        let exact: Vec<&Stored> = records.iter().filter(is_fast).collect();
        let uids = |records: &[&Stored]| records.iter().map(|record| read(record).uid).collect::<BTreeSet<_>>();
        assert_eq!(uids(&copies.iter().collect::<Vec<_>>()), uids(&exact), "fast alerts");
        let sent: BTreeSet<&[u8]> = copies.iter().map(|record| record.payload.as_slice()).collect();
        for record in exact {
            assert!(sent.contains(record.payload.as_slice()), "a record never left early: {:?}", read(record));
        }
    }

    /// The table `alerts` holds what the topic holds.
    fn assert_archived_alerts(&self, records: &[Stored]) {
        let mut sent = Facts::new();
        for record in records {
            count(&mut sent, String::from_utf8(record.payload.clone()).expect("an alert is UTF-8"));
        }
        let mut archived = Facts::new();
        for row in self.table("alerts") {
            count(&mut archived, row["record"].as_str().expect("an archived alert has its record").to_owned());
        }
        assert_maps("archived alerts", &archived, &sent);
    }

    /// What the newest manifest counts.
    fn ledger(&self) -> Facts {
        let folder = self.pipeline.project.join("state/manifests");
        let names = std::fs::read_dir(folder).expect("there are manifests");
        let mut files: Vec<_> = names.map(|entry| entry.expect("a manifest").path()).collect();
        files.retain(|file| file.extension().is_some_and(|ending| ending == "json"));
        let newest = files.iter().max().expect("there is a manifest");
        let text = std::fs::read_to_string(newest).expect("a manifest can be read");
        let sealed: Value = serde_json::from_str(&text).expect("a manifest is JSON");
        let streams = sealed["manifest"]["ledger"].as_object().expect("a ledger is by stream");
        let of_kafka = streams.iter().filter(|(stream, _)| ["signin", "unlock"].contains(&stream.as_str()));
        of_kafka
            .map(|(stream, of)| {
                let what = format!("{} on time, {} late, {} rejected", of["on_time"], of["late"], of["rejected"]);
                (stream.clone(), what)
            })
            .collect()
    }

    fn table(&self, name: &str) -> Vec<Value> {
        archive::rows(&self.pipeline.project.join(&format!("archive/{name}")))
    }

    fn journal(&self) -> Connection {
        Connection::open(self.pipeline.project.join("weir.db")).expect("the journal can be opened")
    }
}

/// No alert is created twice, and no record was delivered twice.
fn assert_each_record_is_there_once(records: &[Stored]) {
    let (mut created, mut delivered) = (BTreeSet::new(), BTreeSet::new());
    for record in records {
        let alert = Alert::read(&serde_json::from_slice(&record.payload).expect("an alert is JSON"));
        assert!(alert.activity != 1 || created.insert(alert.uid.clone()), "{} was created twice", alert.uid);
        assert!(delivered.insert(&record.payload), "a record is there twice: {alert:?}");
    }
}
