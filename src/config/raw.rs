//! `weir.toml` as it is written: every key optional, unknown keys refused, every value with its place in the text.

use std::collections::BTreeMap;
use std::ops::Range;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;

/// A value and where it stands in the text.
#[derive(Debug, Clone, Deserialize)]
#[serde(transparent)]
pub(super) struct At<T>(toml::Spanned<T>);

impl<T> At<T> {
    /// The value.
    pub(super) fn value(&self) -> &T {
        self.0.get_ref()
    }

    /// Its place, in bytes.
    pub(super) fn span(&self) -> Range<usize> {
        self.0.span()
    }
}

/// To an editor a value with a place is the value.
impl<T: JsonSchema> JsonSchema for At<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// A Weir project's `weir.toml`. Every key is optional. Relative paths are relative to the file; `${NAME}` in any text
/// reads the environment.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(title = "weir.toml")]
pub(super) struct RawConfig {
    pub(super) kafka: Option<RawKafka>,
    pub(super) alerts: RawAlerts,
    pub(super) dead_letters: RawDeadLetters,
    pub(super) archive: RawArchive,
    pub(super) state: RawState,
    pub(super) engine: RawEngine,
    pub(super) http: RawHttp,
    pub(super) playbooks: RawPlaybooks,
    /// How each responder is reached: `[responders.NAME]`, where `NAME` is the `id` of a file in `responders/`, with
    /// `base_url` (such as `https://edr.example.com`, in place of what the file says), and the settings that the file
    /// names, such as `EDR_TOKEN`. A value `file:PATH` is read from that file.
    #[schemars(with = "BTreeMap<String, BTreeMap<String, String>>")]
    pub(super) responders: BTreeMap<String, RawResponder>,
    pub(super) hunt: RawHunt,
}

/// The Kafka cluster that `weir run` reads from and writes to.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawKafka {
    /// Brokers to begin with, as `host:port`, separated by commas.
    pub(super) bootstrap_servers: Option<At<String>>,
    /// Consumer group, and prefix of transactional ids. Default: `weir`.
    pub(super) group: Option<At<String>>,
    /// Where to begin in a partition that has no cursor: `earliest`, `latest`, or a time in RFC 3339. Default: `earliest`.
    pub(super) start: Option<At<String>>,
    /// Settings of librdkafka, by its own names, such as `"security.protocol"`. A value `file:PATH` is read from that file.
    pub(super) client: BTreeMap<String, At<RawSetting>>,
}

/// A setting of librdkafka: it takes text, and numbers and booleans as text.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "a text, a number or a boolean")]
pub(super) enum RawSetting {
    Text(String),
    Integer(i64),
    Boolean(bool),
    Float(f64),
}

impl RawSetting {
    pub(super) fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Integer(number) => number.to_string(),
            Self::Boolean(flag) => flag.to_string(),
            Self::Float(number) => number.to_string(),
        }
    }
}

/// Where alerts go.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawAlerts {
    /// Kafka topic: one JSON record per alert record, the alert's id as its key. Default: `weir.alerts`.
    pub(super) topic: Option<At<String>>,
    /// Kafka topic: copies of the records of detections with `delivery = "fast"`, at once and at least once. Default: the
    /// name of `topic` and `.fast`.
    pub(super) fast_topic: Option<At<String>>,
}

/// Where rejected records go.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawDeadLetters {
    /// Kafka topic: one JSON record per rejected record, with reason, position and the raw bytes in base64.
    /// Default: `weir.dead-letters`.
    pub(super) topic: Option<At<String>>,
}

/// The Parquet tables that hunts read.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawArchive {
    /// A folder (`file:./archive`) or a bucket (`s3://`, `gs://`, `az://`). Default: `file:./archive`.
    pub(super) url: Option<At<String>>,
    /// Whether the raw bytes of every event are kept beside its columns. Default: false.
    pub(super) raw: Option<bool>,
    /// Settings of the object store, such as `aws_region`. A value `file:PATH` is read from that file.
    pub(super) options: BTreeMap<String, At<String>>,
}

/// What must survive a restart.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawState {
    /// Manifests and snapshots: a folder or a bucket. Default: `file:./state`.
    pub(super) url: Option<At<String>>,
    /// Settings of the object store, such as `aws_region`. A value `file:PATH` is read from that file.
    pub(super) options: BTreeMap<String, At<String>>,
    /// The SQLite file with runs, cases and the audit trail. Default: `./weir.db`.
    pub(super) journal: Option<At<String>>,
}

/// Sizes and times of the dataflow.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawEngine {
    /// How often state is saved and output delivered, in milliseconds: 100 to 600000. Default: 1000.
    pub(super) epoch_ms: Option<At<u64>>,
    /// Shards, and threads to run them: 1 to 256. Default: the number of processors.
    pub(super) parallelism: Option<At<u64>>,
    /// Memory for the state of all detections together, in MiB: at least 64. Beyond it the largest are put into quarantine.
    /// Default: 2048.
    pub(super) memory_mb: Option<At<u64>>,
    /// Memory for the state of one detection, in MiB: at least 1. Beyond it the detection is put into quarantine. Default:
    /// as `memory_mb`.
    pub(super) detection_memory_mb: Option<At<u64>>,
    /// Bytes waiting between Kafka and the engine before partitions are paused, in MiB: 1 to 4096. Default: 64.
    pub(super) queue_mb: Option<At<u64>>,
    /// Silence after which a partition no longer holds the others, in milliseconds: at least 1000. Default: 30000.
    pub(super) idle_ms: Option<At<u64>>,
    /// Silence of a whole stream after which `coverage` tells that it is silent, in minutes: at least 1. Default: 1440.
    pub(super) silent_minutes: Option<At<u64>>,
}

/// Our own HTTP: metrics, health and API.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawHttp {
    /// Address and port to listen on, such as `127.0.0.1:7700`. Without it nothing listens.
    pub(super) listen: Option<At<String>>,
}

/// What playbooks may do.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawPlaybooks {
    /// `dry-run` shows what would be done, `live` does it. Default: `dry-run`.
    pub(super) mode: Option<RawMode>,
    pub(super) never_touch: RawNeverTouch,
    pub(super) limits: RawLimits,
}

/// Targets that no action may touch. They are checked before anything leaves.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawNeverTouch {
    /// Hosts by name; `dc-*` stands for all that begin so.
    pub(super) hosts: Vec<At<String>>,
    /// Accounts by name or mail address; `svc-*` stands for all that begin so.
    pub(super) users: Vec<At<String>>,
    /// Addresses and networks, such as `10.0.0.0/8`; whatever overlaps is refused.
    pub(super) networks: Vec<At<String>>,
    /// Domains, with all below and above them.
    pub(super) domains: Vec<At<String>>,
}

/// How much may happen. What goes beyond is refused and counted.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawLimits {
    /// Commands in an hour, over all playbooks. Default: 200.
    pub(super) per_hour: Option<At<u64>>,
    /// Commands of one playbook in an hour. Default: 60.
    pub(super) per_playbook_per_hour: Option<At<u64>>,
    /// Commands on one kind of target in an hour, by kind. Default: 20 for `device` and `account`, 100 for others.
    pub(super) per_kind_per_hour: BTreeMap<String, At<u64>>,
    /// Shortest prefix of an IPv4 network that may be acted on: 8 to 32. Default: 24.
    pub(super) ipv4_prefix_min: Option<At<u64>>,
    /// Shortest prefix of an IPv6 network that may be acted on: 16 to 128. Default: 48.
    pub(super) ipv6_prefix_min: Option<At<u64>>,
}

/// Whether actions leave the house.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RawMode {
    DryRun,
    Live,
}

/// How one responder is reached: texts by key. Which keys there are is up to its file.
pub(super) type RawResponder = BTreeMap<String, At<String>>;

/// Limits of hunts.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawHunt {
    /// Memory of one hunt, in MiB: at least 16. Default: 1024.
    pub(super) memory_mb: Option<At<u64>>,
    /// How long one hunt may take, in seconds: at least 1. Default: 600.
    pub(super) timeout_seconds: Option<At<u64>>,
}
