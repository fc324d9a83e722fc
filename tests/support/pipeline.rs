//! The project of the Kafka tests: sign-ins come in, locked accounts and guessed passwords go out.

use super::kafka;
use super::project::Project;

const STREAM: &str = "
CREATE STREAM signin (
  time TIMESTAMP, seq BIGINT, user_name STRING, src_ip STRING, status STRING
) WITH (topic = '$TOPIC', format = 'json', event_time = 'time', lateness = '10 seconds');
";

/// Looks at single rows.
const LOCKED: &str = r#"--! id       = "test.locked"
--! title    = "Account locked"
--! severity = "medium"
--! status   = "stable"
--! owner    = "tests"
--! entities = { user = "user_name" }
SELECT time, user_name, seq FROM signin WHERE status = 'Locked'
"#;

/// Counts in windows.
const GUESSING: &str = r#"--! id       = "test.guessing"
--! title    = "Many failures of one user"
--! severity = "high"
--! status   = "stable"
--! owner    = "tests"
--! entities = { user = "user_name" }
SELECT window_end AS time, user_name, count(*) AS failures
FROM TUMBLE(signin, time, INTERVAL '1 minute')
WHERE status = 'Failure'
GROUP BY window_start, window_end, user_name
HAVING count(*) >= 5
"#;

const CONFIG: &str = r#"
[kafka]
bootstrap_servers = "$ADDRESS"
group = "$GROUP"
start = "earliest"
[alerts]
topic = "$ALERTS"
[dead_letters]
topic = "$DEAD_LETTERS"
[archive]
url = "file:./archive"
[state]
url = "file:./state"
journal = "./weir.db"
[engine]
epoch_ms = 200
parallelism = 2
[http]
listen = "127.0.0.1:0"
"#;

/// The same project without a broker: an empty configuration, for replays.
pub(crate) fn offline() -> Project {
    Project::new(&[
        ("weir.toml", ""),
        ("streams/signin.sql", &STREAM.replace("$TOPIC", "signin")),
        ("detections/locked.sql", LOCKED),
        ("detections/guessing.sql", GUESSING),
    ])
}

/// A project folder on a broker, with topics that nobody else uses.
pub(crate) struct Pipeline {
    pub(crate) project: Project,
    pub(crate) topic: String,
    pub(crate) alerts: String,
    pub(crate) dead_letters: String,
}

impl Pipeline {
    /// Names the topics and writes the project; nothing is said to the broker yet.
    pub(crate) fn new(address: &str) -> Self {
        let topic = kafka::unique("signin");
        let alerts = kafka::unique("alerts");
        let dead_letters = kafka::unique("dead-letters");
        let config = CONFIG
            .replace("$ADDRESS", address)
            .replace("$GROUP", &kafka::unique("weir"))
            .replace("$ALERTS", &alerts)
            .replace("$DEAD_LETTERS", &dead_letters);
        let project = offline();
        project.write("weir.toml", config);
        project.write("streams/signin.sql", STREAM.replace("$TOPIC", &topic));
        Self { project, topic, alerts, dead_letters }
    }

    pub(crate) fn create_topics(&self, address: &str, partitions: usize) {
        kafka::create_topic(address, &self.topic, partitions as i32);
        kafka::create_topic(address, &self.alerts, 3);
        kafka::create_topic(address, &self.dead_letters, 1);
    }

    /// Replaces a text of `weir.toml`.
    pub(crate) fn configure(&self, text: &str, other: &str) {
        let config = self.project.read("weir.toml");
        assert!(config.contains(text), "{text} is not in weir.toml");
        self.project.write("weir.toml", config.replace(text, other));
    }
}
