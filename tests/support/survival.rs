//! A project in which everything that must survive a death is at work: windows, sequences, joins, absence, a cooldown, late
//! events, dead letters, the archive, playbooks and a detection that reads what they did.
//!
//! [`story`] makes the events, [`oracle`] says what must come out of them, [`found`] reads what did.

pub(crate) mod found;
pub(crate) mod oracle;
pub(crate) mod story;

use std::collections::BTreeMap;

use super::kafka::{self, Writer};
use super::pipeline::Pipeline;
use super::vendor::Vendor;
use story::{Portion, SIGNIN_PARTITIONS, UNLOCK_PARTITIONS};

const UNLOCK: &str = "
CREATE STREAM unlock (
  time TIMESTAMP, seq BIGINT, user_name STRING, src_ip STRING, status STRING
) WITH (topic = '$TOPIC', format = 'json', event_time = 'time', lateness = '10 seconds');
";

/// What comes to the detections of [`Pipeline`], by file: id, further lines of the header, and the SQL.
const DETECTIONS: [(&str, &str, &str); 5] = [
    (
        "takeover",
        "--! delivery = \"fast\"\n",
        "SELECT time, user_name, failures FROM signin MATCH_RECOGNIZE (
           PARTITION BY user_name ORDER BY time
           MEASURES s.time AS time, count(f.*) AS failures
           ONE ROW PER MATCH AFTER MATCH SKIP PAST LAST ROW
           PATTERN (f{3} s) WITHIN INTERVAL '2 minutes'
           DEFINE f AS f.status = 'Failure', s AS s.status = 'Success'
         ) AS m",
    ),
    (
        "unlocked",
        "",
        "SELECT u.time AS time, s.user_name AS user_name, s.seq AS seq, u.seq AS unlock_seq
         FROM signin s JOIN unlock u ON s.user_name = u.user_name
           AND u.time BETWEEN s.time AND s.time + INTERVAL '60 seconds'
         WHERE s.status = 'Locked'",
    ),
    (
        "unanswered",
        "",
        "SELECT s.time AS time, s.user_name AS user_name, s.seq AS seq FROM signin s
         WHERE s.status = 'Locked' AND NOT EXISTS (SELECT 1 FROM unlock u
           WHERE u.user_name = s.user_name AND u.time BETWEEN s.time AND s.time + INTERVAL '60 seconds')",
    ),
    (
        "blocked",
        "--! cooldown = \"1 minute\"\n--! delivery = \"fast\"\n",
        "SELECT time, user_name, seq FROM signin WHERE status = 'Blocked'",
    ),
    ("acted", "", "SELECT time, alert, status FROM actions WHERE status = 'succeeded'"),
];

const RESPONDER: &str = "
id: chat
base_url: http://$VENDOR
idempotency_header: Idempotency-Key
operations:
  - { does: notify, post: /say, body: { text: '${message.text}' } }
";

const PLAYBOOK: &str = "
id: tell
when: alert.detection = 'test.locked'
steps:
  - notify: ${alert.entities.user} is locked
";

/// The project on a broker, and a way to feed it.
pub(crate) struct Trial {
    pub(crate) pipeline: Pipeline,
    unlock: String,
    writer: Writer,
    vendor: Vendor,
}

/// What came out, or must: each fact by its name.
#[derive(Default, Debug, PartialEq)]
pub(crate) struct Outcome {
    /// The last record of each alert.
    pub(crate) alerts: Facts,
    /// How often each event is in the archive.
    pub(crate) archived: Facts,
    /// How often each event was late.
    pub(crate) late: Facts,
    /// The bytes of each dead letter, by its place.
    pub(crate) dead: Facts,
    /// What became of the playbook, by the event whose alert started it.
    pub(crate) runs: Facts,
    /// Records on time, late and rejected, by stream.
    pub(crate) ledger: Facts,
}

/// What is the case, by what it is about.
pub(crate) type Facts = BTreeMap<String, String>;

impl Trial {
    pub(crate) fn new(address: &str) -> Self {
        let pipeline = Pipeline::new(address);
        pipeline.create_topics(address, SIGNIN_PARTITIONS);
        let unlock = kafka::unique("unlock");
        kafka::create_topic(address, &unlock, UNLOCK_PARTITIONS as i32);
        let project = &pipeline.project;
        project.write("streams/unlock.sql", UNLOCK.replace("$TOPIC", &unlock));
        for (name, header, sql) in DETECTIONS {
            let user = if name == "acted" { "" } else { "--! entities = { user = \"user_name\" }\n" };
            let text = format!(
                "--! id = \"test.{name}\"\n--! title = \"{name}\"\n--! severity = \"medium\"\n--! status = \"stable\"\n\
                 --! owner = \"tests\"\n{header}{user}{sql}\n"
            );
            project.write(&format!("detections/{name}.sql"), text);
        }
        let vendor = Vendor::answering();
        project.write("responders/chat.yaml", RESPONDER.replace("$VENDOR", &vendor.address.to_string()));
        project.write("playbooks/tell.yaml", PLAYBOOK);
        pipeline.configure("[http]", "[playbooks]\nmode = \"live\"\n[http]");
        // Silence is a matter of the wall's clock, and must decide nothing here however long a machine takes.
        pipeline.configure("epoch_ms = 200", "epoch_ms = 150\nidle_ms = 3600000");
        Self { pipeline, unlock, writer: Writer::new(address), vendor }
    }

    /// The number of shards of the next process.
    pub(crate) fn set_parallelism(&self, shards: u64) {
        let config = self.pipeline.project.read("weir.toml");
        let line = config.lines().find(|line| line.starts_with("parallelism")).expect("parallelism is in weir.toml");
        self.pipeline.configure(line, &format!("parallelism = {shards}"));
    }

    /// Changes the text of a detection and nothing of what it finds.
    pub(crate) fn edit(&self, nth: u64) {
        let text = self.pipeline.project.read("detections/locked.sql");
        let line = text.lines().find(|line| line.starts_with("--! title")).expect("a detection has its title");
        let other = text.replace(line, &format!("--! title = \"Account locked, text {nth}\""));
        self.pipeline.project.write("detections/locked.sql", other);
    }

    /// Writes some events to the broker.
    pub(crate) fn feed(&self, portion: &Portion<'_>) {
        self.writer.write(&self.pipeline.topic, portion.signins());
        self.writer.write(&self.unlock, portion.unlocks());
    }
}
