//! A project that is edited while it runs, and while it does not: what was counted goes on, nothing is said twice, and a
//! mistake stops nothing.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::kafka::{alert, assert_each_alert_is_created_once, dead_letter, produce, read_archive};
use crate::support::archive;
use crate::support::broker;
use crate::support::events::rfc3339;
use crate::support::kafka::{self, Stored, Tail};
use crate::support::pipeline::Pipeline;
use crate::support::process::Running;
use crate::support::rows::{Alert, last_by_uid};
use crate::support::signins::{assert_same, generate, oracle, outcome_of_alerts};

const PATIENCE: Duration = Duration::from_secs(60);
const PARTITIONS: usize = 2;
/// 2024-03-01, the beginning of a minute.
const BASE_US: i64 = 1_709_251_200_000_000;

const SUCCESS: &str = r#"--! id       = "test.success"
--! title    = "Signed in"
--! severity = "low"
--! entities = { user = "user_name" }
SELECT time, user_name, seq FROM signin WHERE status = 'Success'
"#;

const AWAY: &str = "
CREATE STREAM away (time TIMESTAMP) WITH (topic = 'weir.test.away', format = 'json', event_time = 'time');
";

const TELL: &str = "
id: tell
name: Tell
steps:
  - notify: \"${alert.title}\"
";

/// A pipeline at work, and what it was given.
struct House {
    address: String,
    pipeline: Pipeline,
    http: String,
    tail: Tail,
    sent: usize,
}

impl House {
    fn new(address: String) -> Self {
        let pipeline = Pipeline::new(&address);
        pipeline.create_topics(&address, PARTITIONS);
        pipeline.project.write("responders/chat.yaml", include_str!("../playbooks/responders/chat.yaml"));
        let probe = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let http = probe.local_addr().expect("a bound port has an address").to_string();
        pipeline.configure("127.0.0.1:0", &http);
        let tail = Tail::new(&address, &pipeline.alerts);
        Self { address, pipeline, http, tail, sent: 0 }
    }

    /// Events of one second each, from `second` of the minute on.
    fn send(&mut self, second: i64, events: &[(&str, &str)]) {
        let mut records = vec![];
        for (nth, (user, status)) in (0_i64..).zip(events) {
            let time = rfc3339(BASE_US + (second + nth) * 1_000_000);
            let seq = self.sent;
            let json = format!(r#"{{"time":"{time}","seq":{seq},"user_name":"{user}","status":"{status}"}}"#);
            records.push(((self.sent % PARTITIONS) as i32, json));
            self.sent += 1;
        }
        let records = records.iter().map(|(partition, json)| (*partition, json.as_bytes()));
        kafka::produce(&self.address, &self.pipeline.topic, records);
    }

    fn fail(&mut self, second: i64, user: &str, times: usize) {
        self.send(second, &vec![(user, "Failure"); times]);
    }

    fn edit(&self, text: &str, other: &str) {
        let guessing = self.pipeline.project.read("detections/guessing.sql");
        assert!(guessing.contains(text), "{text} is not in {guessing}");
        self.pipeline.project.write("detections/guessing.sql", guessing.replace(text, other));
    }

    /// Waits for an alert of a detection about a user.
    fn hear(&mut self, weir: &mut Running, detection: &str, user: &str) {
        let is_there = |records: &[Stored]| {
            let is_it = |alert: &Alert| alert.detection == detection && alert.field("user_name") == user;
            records.iter().map(alert).any(|alert| is_it(&alert))
        };
        let heard = self.tail.wait_until(PATIENCE, is_there);
        assert!(heard, "no alert of {detection} about {user}:\n{}", weir.printed());
    }

    /// Waits until a number of the metrics is this.
    fn metric(&self, name: &str, value: u64) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut stream = TcpStream::connect(&self.http).expect("the HTTP server answers");
            stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").expect("a request can be sent");
            let mut text = String::new();
            stream.read_to_string(&mut text).expect("an answer of text");
            if text.contains(&format!("{name} {value}\n")) {
                return;
            }
            assert!(Instant::now() < deadline, "{name} is not {value}:\n{text}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

#[test]
fn edits_keep_what_was_counted_and_say_nothing_twice() {
    let Some(address) = broker::shared("kafka_edits::edits_keep_what_was_counted_and_say_nothing_twice") else {
        return;
    };
    let mut house = House::new(address);
    let mut weir = house.pipeline.project.start(&["run"]);
    house.fail(0, "ann", 4);
    house.fail(4, "bob", 5);
    house.send(9, &[("ann", "Locked")]);
    house.hear(&mut weir, "test.guessing", "bob");
    house.hear(&mut weir, "test.locked", "ann");

    // A lower threshold: ann's fifth failure comes behind it, and bob's alert is there already.
    house.edit("count(*) >= 5", "count(*) >= 3");
    weir.hang_up();
    weir.wait_for_line("edited: counts kept, its threshold or columns changed", PATIENCE);
    weir.wait_for_lines("running with what was edited", 1, PATIENCE);
    house.fail(10, "ann", 1);
    house.fail(11, "bob", 1);
    house.hear(&mut weir, "test.guessing", "ann");

    // A mistake is told, and what ran runs on.
    house.edit("user_name, count", "user_nam, count");
    weir.wait_for_line("`user_nam`", PATIENCE);
    weir.wait_for_line("what ran before runs on", PATIENCE);
    house.metric("weir_edits_total{outcome=\"taken\"}", 1);
    house.metric("weir_edits_total{outcome=\"refused\"}", 1);

    // So it does where a topic is not there, which is known only when it is to be read.
    house.edit("user_nam, count", "user_name, count");
    house.pipeline.project.write("streams/away.sql", AWAY);
    weir.wait_for_line("what was edited cannot start", PATIENCE);
    house.fail(12, "cid", 3);
    house.hear(&mut weir, "test.guessing", "cid");
    house.metric("weir_edits_total{outcome=\"refused\"}", 2);

    // One detection goes, another comes, and so does a playbook. The folder is looked at without being told.
    let project = &house.pipeline.project;
    std::fs::remove_file(project.join("detections/locked.sql")).expect("the detection is there");
    project.write("detections/success.sql", SUCCESS);
    project.write("playbooks/tell.yaml", TELL);
    project.write("weir.toml", project.read("weir.toml").replace("epoch_ms = 200", "epoch_ms = 250"));
    std::fs::remove_file(project.join("streams/away.sql")).expect("the stream is there");
    weir.wait_for_lines("running with what was edited", 2, PATIENCE);
    weir.wait_for_line("new: it has nothing to count", PATIENCE);
    weir.wait_for_line("removed: its state is dropped", PATIENCE);
    weir.wait_for_line("what it says holds from the next start on", PATIENCE);
    house.send(15, &[("dot", "Locked"), ("dot", "Success"), ("eve", "Failure")]);
    house.hear(&mut weir, "test.success", "dot");
    assert!(weir.terminate(PATIENCE).success(), "SIGTERM ends the process well:\n{}", weir.printed());

    // An edit between two processes: eve's second failure is enough.
    house.edit("count(*) >= 3", "count(*) >= 2");
    let mut weir = house.pipeline.project.start(&["run"]);
    weir.wait_for_line("edited: counts kept, its threshold or columns changed", PATIENCE);
    house.fail(18, "eve", 1);
    house.hear(&mut weir, "test.guessing", "eve");
    house.send(120, &[("end", "Success"), ("end", "Success"), ("end", "Success"), ("end", "Success")]);
    // Bob's window closes with one more than he was told of.
    let bob = |records: &[Stored]| {
        last_by_uid(records.iter().map(alert))
            .values()
            .any(|alert| alert.field("user_name") == "bob" && alert.field("failures") == "6")
    };
    assert!(house.tail.wait_until(PATIENCE, bob), "no update about bob:\n{}", weir.printed());
    assert!(weir.terminate(PATIENCE).success(), "SIGTERM ends the process well:\n{}", weir.printed());
    compare(&house);
}

/// Edits that change nothing of what is expected, each in the middle of events that flow.
#[test]
fn edits_under_load_lose_and_double_nothing() {
    let Some(address) = broker::shared("kafka_edits::edits_under_load_lose_and_double_nothing") else { return };
    let partitions = generate(20_240_302, 60_000, 6);
    let expected = oracle(&partitions);
    let Pipeline { project, topic, alerts, dead_letters } = Pipeline::new(&address);
    for (topic, partitions) in [(&topic, 6), (&alerts, 3), (&dead_letters, 1)] {
        kafka::create_topic(&address, topic, partitions);
    }
    let quarter = |nth: usize| {
        let of = move |entries: usize| entries * nth / 4..entries * (nth + 1) / 4;
        produce(&address, &topic, partitions.iter().map(|entries| &entries[of(entries.len())]));
    };
    let never = SUCCESS.replace("'Success'", "'Never'");
    let edits: [&dyn Fn(); 3] = [
        &|| drop(project.write("detections/never.sql", &never)),
        &|| {
            let guessing = project.read("detections/guessing.sql");
            project.write("detections/guessing.sql", guessing.replace("Many failures", "So many failures"));
        },
        &|| std::fs::remove_file(project.join("detections/never.sql")).expect("the detection is there"),
    ];
    quarter(0);
    let mut weir = project.start(&["run"]);
    weir.wait_for_line("INFO running", PATIENCE);
    for (nth, edit) in (1..).zip(edits) {
        quarter(nth);
        edit();
        weir.hang_up();
        weir.wait_for_lines("running with what was edited", nth, PATIENCE);
    }
    let mut tail = Tail::new(&address, &alerts);
    // Where this never comes, the comparison below says what is different.
    let _complete = tail.wait_until(PATIENCE, |records| {
        let found = outcome_of_alerts(records.iter().map(alert));
        found.guessing == expected.guessing && found.locked == expected.locked
    });
    assert!(weir.terminate(PATIENCE).success(), "SIGTERM ends the process well:\n{}", weir.printed());
    let records = kafka::read_committed(&address, &alerts);
    assert_each_alert_is_created_once(&records);
    let mut found = outcome_of_alerts(records.iter().map(alert));
    read_archive(&project, &mut found);
    assert_same(&found, &expected);
    let letters: BTreeMap<_, _> = kafka::read_committed(&address, &dead_letters).iter().map(dead_letter).collect();
    assert!(letters == expected.dead, "each dead letter has its position and its bytes");
}

/// What a reader of the texts expects, by detection and user: failures, or how many alerts.
fn compare(house: &House) {
    let records = kafka::read_committed(&house.address, &house.pipeline.alerts);
    assert_each_alert_is_created_once(&records);
    let (mut failures, mut others) = (BTreeMap::new(), BTreeMap::<_, u64>::new());
    for alert in last_by_uid(records.iter().map(alert)).values() {
        let user = alert.field("user_name");
        if alert.detection == "test.guessing" {
            assert_eq!(failures.insert(user, alert.field("failures")), None, "two alerts of one window: {alert:?}");
        } else {
            *others.entry((alert.detection.clone(), user)).or_default() += 1;
        }
    }
    let expected = [("ann", "5"), ("bob", "6"), ("cid", "3"), ("eve", "2")];
    assert_eq!(failures, expected.map(|(user, failures)| (user.to_owned(), failures.to_owned())).into());
    let expected = [("test.locked", "ann", 1), ("test.success", "dot", 1), ("test.success", "end", 4)];
    assert_eq!(others, expected.map(|(id, user, alerts)| ((id.to_owned(), user.to_owned()), alerts)).into());

    let mut archived: Vec<u64> = archive::rows(&house.pipeline.project.join("archive/signin"))
        .iter()
        .map(|row| row["seq"].as_u64().expect("a row has its number"))
        .collect();
    archived.sort_unstable();
    assert_eq!(archived, (0..house.sent as u64).collect::<Vec<_>>(), "every event is in the archive once");
}
