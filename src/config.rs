//! `weir.toml`: what it means. [`raw`] is what was written; here it has real types and was checked once.
//!
//! Each part of the program receives its own section by value. The environment is read here and nowhere else.

mod raw;
mod read;
mod resolve;
mod secret;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use url::Url;
use weir_connectors::kafka::{KafkaSettings, Start};
use weir_engine::{Diagnostic, Span};
use weir_playbooks::guard::Rules;
use weir_playbooks::run::Mode;

pub(crate) use read::Environment;
pub(crate) use secret::Secret;

/// The name of the file.
pub(crate) const FILE: &str = "weir.toml";

/// Every code `weir.toml` can be refused with.
pub(crate) mod codes {
    /// The text is not TOML.
    pub(crate) const SYNTAX: &str = "C001";
    /// A key that does not exist.
    pub(crate) const UNKNOWN_KEY: &str = "C002";
    /// A value of the wrong type, out of range, or malformed.
    pub(crate) const BAD_VALUE: &str = "C003";
    /// A variable of the environment that is not set.
    pub(crate) const NOT_SET: &str = "C004";
    /// A secret file that cannot be read.
    pub(crate) const SECRET_FILE: &str = "C005";
    /// A setting of librdkafka that it refuses or that Weir sets itself.
    pub(crate) const KAFKA_SETTING: &str = "C006";
    /// A file of the project that cannot be read.
    pub(crate) const UNREADABLE: &str = "C010";
    /// A detection that names a playbook which does not exist.
    pub(crate) const UNKNOWN_PLAYBOOK: &str = "C012";
    /// A section for a responder that does not exist.
    pub(crate) const UNKNOWN_RESPONDER: &str = "C013";
    /// A detection whose alerts have no topic to go to.
    pub(crate) const NO_FAST_TOPIC: &str = "C014";
    /// A folder that is not a project.
    pub(crate) const NOT_A_PROJECT: &str = "C011";
}

/// What the values of the outside are needed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Nothing will be connected to: a variable or secret file that is missing is a warning.
    Texts,
    /// Everything must be there.
    Everything,
}

/// A project's configuration.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// The Kafka cluster; `None` where the file has no `[kafka]`.
    pub(crate) kafka: Option<KafkaConfig>,
    /// Topic of the alerts.
    pub(crate) alerts_topic: String,
    /// Topic of fast alerts; `None` where none is named and none can be made of that of the alerts.
    pub(crate) fast_topic: Option<String>,
    /// Topic of the rejected records.
    pub(crate) dead_letters_topic: String,
    /// The Parquet tables.
    pub(crate) archive: ArchiveConfig,
    /// Manifests, snapshots and journal.
    pub(crate) state: StateConfig,
    /// Sizes and times of the dataflow.
    pub(crate) engine: EngineConfig,
    /// Where our own HTTP listens, if it does.
    pub(crate) http: Option<SocketAddr>,
    /// What playbooks may do.
    pub(crate) playbooks: PlaybooksConfig,
    /// How responders are reached, by name.
    pub(crate) responders: BTreeMap<String, ResponderConfig>,
    /// Limits of hunts.
    pub(crate) hunt: HuntConfig,
}

/// The Kafka cluster that is read from and written to.
#[derive(Debug, Clone)]
pub(crate) struct KafkaConfig {
    /// Servers, group and client settings, checked; `None` where the diagnostics say what is wrong with them.
    pub(crate) settings: Option<KafkaSettings>,
    /// Where to begin in a partition that has no cursor.
    pub(crate) start: Start,
}

/// The Parquet tables.
#[derive(Debug, Clone)]
pub(crate) struct ArchiveConfig {
    /// Folder or bucket.
    pub(crate) url: Url,
    /// Whether the raw bytes of every event are kept.
    pub(crate) raw: bool,
    /// Settings of the object store.
    pub(crate) options: BTreeMap<String, Secret>,
}

/// What must survive a restart.
#[derive(Debug, Clone)]
pub(crate) struct StateConfig {
    /// Manifests and snapshots.
    pub(crate) url: Url,
    /// Settings of the object store.
    pub(crate) options: BTreeMap<String, Secret>,
    /// The SQLite file with runs, cases and the audit trail.
    pub(crate) journal: PathBuf,
}

/// Sizes and times of the dataflow.
#[derive(Debug, Clone)]
pub(crate) struct EngineConfig {
    /// The span between two barriers.
    pub(crate) epoch: Duration,
    /// Shards, and threads to run them.
    pub(crate) parallelism: usize,
    /// Memory for the state of all detections.
    pub(crate) memory_bytes: usize,
    /// Memory for the state of one detection.
    pub(crate) detection_memory_bytes: usize,
    /// Bytes waiting between Kafka and the engine before partitions are paused.
    pub(crate) queue_bytes: usize,
    /// Silence after which a partition no longer holds the others.
    pub(crate) idle: Duration,
    /// Silence of a whole stream after which its coverage is told to be broken.
    pub(crate) silent_after: Duration,
}

/// What playbooks may do.
#[derive(Debug, Clone)]
pub(crate) struct PlaybooksConfig {
    /// Whether actions leave the house.
    pub(crate) mode: Mode,
    /// What is never touched, and how much may happen in an hour.
    pub(crate) guard: Rules,
}

/// How one responder is reached.
#[derive(Debug, Clone)]
pub(crate) struct ResponderConfig {
    /// Where its API is, in place of what its file says.
    pub(crate) base_url: Option<Url>,
    /// Settings that its file names, such as `EDR_TOKEN`.
    pub(crate) settings: BTreeMap<String, Secret>,
    /// Where the section begins to say something.
    pub(crate) span: Option<Span>,
}

/// Limits of hunts.
#[derive(Debug, Clone)]
pub(crate) struct HuntConfig {
    /// Memory of one hunt.
    pub(crate) memory_bytes: usize,
    /// How long one hunt may take.
    pub(crate) timeout: Duration,
}

impl Config {
    /// Reads the text of a `weir.toml` that lies in the folder `dir`. The configuration holds a default wherever the
    /// diagnostics have an error, so that the rest of a project can be checked all the same.
    pub(crate) fn read(text: &str, dir: &Path, environment: Environment<'_>, need: Need) -> (Self, Vec<Diagnostic>) {
        let (raw, mut diagnostics) = read::read(text, environment, need == Need::Everything);
        let config = resolve::resolve(&raw, text, dir, need, &mut diagnostics);
        diagnostics.sort_by_key(|diagnostic| diagnostic.span);
        let diagnostics = diagnostics.into_iter().map(|diagnostic| diagnostic.in_file(FILE)).collect();
        (config, diagnostics)
    }

    /// What a responder's file gets for a setting that it names: the key of its section, else the environment.
    pub(crate) fn responder_setting(&self, responder: &str, name: &str) -> Option<String> {
        let configured = self.responders.get(responder).and_then(|section| section.settings.get(name));
        configured.map(|secret| secret.expose().to_owned()).or_else(|| variable(name))
    }
}

/// Settings of an object store, as it takes them.
pub(crate) fn exposed(options: &BTreeMap<String, Secret>) -> BTreeMap<String, String> {
    options.iter().map(|(key, value)| (key.clone(), value.expose().to_owned())).collect()
}

/// A variable of the environment; the only place where it is read for values.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The JSON Schema of the file.
pub(crate) fn schema() -> schemars::Schema {
    schemars::schema_for!(raw::RawConfig)
}
