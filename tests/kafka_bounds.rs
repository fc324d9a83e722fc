//! A detection that remembers too much is put into quarantine with an alert about it, and the process and all other
//! detections go on.

use std::time::Duration;

use crate::support::broker;
use crate::support::events::rfc3339;
use crate::support::kafka::{self, Stored, Tail};
use crate::support::pipeline::Pipeline;
use crate::support::process::Running;
use crate::support::rows::Alert;

const PATIENCE: Duration = Duration::from_secs(60);
const PARTITIONS: i32 = 2;
/// 2024-03-01, the beginning of a minute.
const BASE_US: i64 = 1_709_251_200_000_000;
/// Some 50 bytes each are far more than the megabyte that a detection may have.
const ADDRESSES: usize = 60_000;

/// Remembers every address of every user for a day.
const GREEDY: &str = r#"--! id       = "test.greedy"
--! title    = "Many addresses"
--! severity = "low"
--! entities = { user = "user_name" }
SELECT window_end AS time, user_name, count(DISTINCT src_ip) AS addresses
FROM TUMBLE(signin, time, INTERVAL '1 day')
GROUP BY window_start, window_end, user_name
HAVING count(DISTINCT src_ip) >= 3
"#;

struct House {
    address: String,
    pipeline: Pipeline,
    tail: Tail,
}

impl House {
    fn new(address: String) -> Self {
        let pipeline = Pipeline::new(&address);
        pipeline.create_topics(&address, PARTITIONS as usize);
        pipeline.project.write("detections/greedy.sql", GREEDY);
        pipeline.configure("parallelism = 2", "parallelism = 2\ndetection_memory_mb = 1");
        let tail = Tail::new(&address, &pipeline.alerts);
        Self { address, pipeline, tail }
    }

    /// So many sign-ins of a user in one second, from as many addresses.
    fn send(&self, second: i64, user: &str, status: &str, count: usize) {
        let time = rfc3339(BASE_US + second * 1_000_000);
        let json = |nth: usize| {
            let (one, two, three) = (nth / 65_536, nth / 256 % 256, nth % 256);
            format!(
                r#"{{"time":"{time}","seq":{nth},"user_name":"{user}","src_ip":"10.{one}.{two}.{three}","status":"{status}"}}"#
            )
        };
        let records: Vec<String> = (0..count).map(json).collect();
        let records = records.iter().enumerate().map(|(nth, json)| (nth as i32 % PARTITIONS, json.as_bytes()));
        kafka::produce(&self.address, &self.pipeline.topic, records);
    }

    /// Waits for an alert of a detection whose row has this value.
    fn hear(&mut self, weir: &mut Running, detection: &str, field: &str, value: &str) {
        let is_there = |records: &[Stored]| {
            records.iter().map(alert).any(|alert| alert.detection == detection && alert.field(field) == value)
        };
        let heard = self.tail.wait_until(PATIENCE, is_there);
        assert!(heard, "no alert of {detection} about {value}:\n{}", weir.printed());
    }
}

fn alert(record: &Stored) -> Alert {
    Alert::read(&serde_json::from_slice(&record.payload).expect("an alert is JSON"))
}

#[test]
fn a_detection_beyond_its_memory_goes_into_quarantine_and_nobody_else() {
    let Some(address) =
        broker::shared("kafka_bounds::a_detection_beyond_its_memory_goes_into_quarantine_and_nobody_else")
    else {
        return;
    };
    let mut house = House::new(address);
    let mut weir = house.pipeline.project.start(&["run"]);
    house.send(0, "ann", "Success", 3);
    house.hear(&mut weir, "test.greedy", "user_name", "ann");
    house.send(1, "mallory", "Success", ADDRESSES);
    house.hear(&mut weir, "weir.quarantine", "detection", "test.greedy");

    // The others go on. What is told of bob belongs to a later epoch, in which the detection is out.
    house.send(2, "bob", "Failure", 5);
    house.hear(&mut weir, "test.guessing", "user_name", "bob");
    house.send(3, "eve", "Success", 3);
    house.send(3, "eve", "Locked", 1);
    house.hear(&mut weir, "test.locked", "user_name", "eve");
    weir.kill();

    // A start with the same limit changes nothing.
    let mut weir = house.pipeline.project.start(&["run"]);
    weir.wait_for_line("stays in quarantine", PATIENCE);
    house.send(4, "fay", "Success", 3);
    house.send(4, "fay", "Locked", 1);
    house.hear(&mut weir, "test.locked", "user_name", "fay");
    let status = weir.terminate(PATIENCE);
    assert!(status.success(), "SIGTERM ends the process well, not with {status}:\n{}", weir.printed());

    // With a greater one it begins again, without what it counted.
    house.pipeline.configure("detection_memory_mb = 1", "detection_memory_mb = 64");
    let mut weir = house.pipeline.project.start(&["run"]);
    weir.wait_for_line("out of quarantine", PATIENCE);
    house.send(5, "gus", "Success", 3);
    house.hear(&mut weir, "test.greedy", "user_name", "gus");
    let status = weir.terminate(PATIENCE);
    assert!(status.success(), "SIGTERM ends the process well, not with {status}:\n{}", weir.printed());

    let alerts: Vec<Alert> = kafka::read_committed(&house.address, &house.pipeline.alerts).iter().map(alert).collect();
    let of = |detection: &str| alerts.iter().filter(|alert| alert.detection == detection).collect::<Vec<_>>();
    let [told] = of("weir.quarantine")[..] else { panic!("one alert about it: {:?}", of("weir.quarantine")) };
    let number = |field: &str| told.row[field].as_u64().expect("a number of bytes");
    assert_eq!(number("limit_bytes"), 1 << 20);
    assert!(number("state_bytes") > 1 << 20, "{told:?}");
    for user in ["eve", "fay"] {
        let is_about = |alert: &&&Alert| alert.field("user_name") == user;
        assert_eq!(of("test.greedy").iter().filter(is_about).count(), 0, "{user} came while it was out");
    }
}
