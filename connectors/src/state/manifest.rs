//! The manifest of an epoch: what it says, and how it is written so that damage is noticed.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use weir_engine::Uid;

use super::Coverage;

/// The format of manifests that this version writes.
pub const FORMAT_VERSION: u32 = 2;

/// A partition of a stream as it is called outside.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartitionKey {
    /// The stream.
    pub stream: String,
    /// Kafka topic, or the name of the file.
    pub topic: String,
    /// Kafka partition, or 0.
    pub partition: i32,
}

/// Everything that holds at the end of an epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The format this is written in.
    pub format_version: u32,
    /// The epoch, from 1.
    pub epoch: u64,
    /// The process that committed it; set by [`StateStore::commit`](super::StateStore::commit).
    pub writer: String,
    /// When it was committed, RFC 3339; for people only.
    pub created_at: String,
    /// The next offset of every partition.
    #[serde(with = "positions")]
    pub positions: BTreeMap<PartitionKey, i64>,
    /// The saved state: the parts of the first worker, then those of the next. Each worker's first part is whole, and the
    /// others say what changed with later epochs.
    pub snapshots: Vec<Part>,
    /// How many parts each worker has; one each where it does not say.
    pub chains: Vec<usize>,
    /// The version of every look-up table.
    pub tables: BTreeMap<String, Uid>,
    /// The detections that ran, by id, with the digest of their text.
    pub detections: BTreeMap<String, String>,
    /// What sinks have to deliver.
    pub outputs: Outputs,
    /// What became of all records since the beginning, by stream.
    pub ledger: BTreeMap<String, Ledger>,
    /// Values that became NULL since the beginning.
    #[serde(default)]
    pub nulled: Nulled,
    /// The detections that see no more events, by id.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub quarantined: BTreeMap<String, Quarantine>,
    /// What was evaluated and is not told yet.
    #[serde(default)]
    pub coverage: Coverage,
    /// The first epoch of which fast alerts were still on their way when this was written; `None` if none were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fast_from: Option<u64>,
}

/// Why and since when a detection sees no more events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quarantine {
    /// The digest of the text that it had; another text begins anew.
    pub digest: String,
    /// The epoch at whose end it was decided.
    pub epoch: u64,
    /// Why.
    pub reason: QuarantineReason,
}

/// Why a detection sees no more events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum QuarantineReason {
    /// It remembered more than a detection may.
    OwnState {
        /// So many bytes.
        bytes: u64,
        /// So many were allowed.
        limit: u64,
    },
    /// All detections together remembered more than they may, and it remembered the most.
    AllState {
        /// So many bytes were its own.
        bytes: u64,
        /// So many were allowed for all.
        limit: u64,
    },
    /// An operator of it failed.
    Fault {
        /// What the operator said.
        said: String,
        /// The version of Weir, since another one may have it mended.
        version: String,
    },
}

/// What became of the records of one stream. Nothing vanishes: `records = on_time + late + rejected`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ledger {
    /// Records read.
    pub records: u64,
    /// Events seen by everything.
    pub on_time: u64,
    /// Events seen by row-level detections only.
    pub late: u64,
    /// Records put aside as dead letters.
    pub rejected: u64,
}

impl Ledger {
    /// Whether every record is accounted for.
    #[must_use]
    pub const fn is_balanced(&self) -> bool {
        self.records == self.on_time + self.late + self.rejected
    }
}

/// Values that became NULL because row expressions are total: one bad value disables nothing, but it is counted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nulled {
    /// Values of records that did not fit the type of their column, by stream and column.
    pub misfits: BTreeMap<String, BTreeMap<String, u64>>,
    /// Values that could not be computed, such as a division by zero.
    pub failures: u64,
}

impl Nulled {
    /// Adds what somebody else counted.
    pub fn add(&mut self, more: &Self) {
        for (stream, columns) in &more.misfits {
            let sums = self.misfits.entry(stream.clone()).or_default();
            columns.iter().for_each(|(column, count)| *sums.entry(column.clone()).or_default() += count);
        }
        self.failures += more.failures;
    }
}

/// An object that a manifest names, with what proves that it is the one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Its path inside the state.
    pub path: String,
    /// Its BLAKE3 digest in hexadecimal digits.
    pub blake3: String,
    /// Its size.
    pub bytes: u64,
}

/// Named bytes that an epoch puts out; what they mean is between who writes and who delivers them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// For example `alerts`, `late_events` or `dead_letters`.
    pub name: String,
    /// How many records the bytes hold.
    pub records: u64,
    /// The records.
    pub body: Bytes,
}

/// The outputs of an epoch: one object and where each part begins in it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outputs {
    /// The object; `None` where there is nothing to deliver.
    pub part: Option<Part>,
    /// Its parts.
    pub parts: Vec<OutputPart>,
}

/// One named part of the outputs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputPart {
    /// Its name.
    pub name: String,
    /// Where it begins.
    pub offset: u64,
    /// Its size.
    pub bytes: u64,
    /// How many records it holds.
    pub records: u64,
}

/// The last epoch a sink has delivered.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cursor {
    epoch: u64,
    /// Proves epoch and sink; earlier versions wrote none.
    #[serde(default)]
    blake3: Option<String>,
}

impl Cursor {
    pub(crate) fn encode(sink: &str, epoch: u64) -> Result<Vec<u8>, String> {
        serde_json::to_vec(&Self { epoch, blake3: Some(Self::digest(sink, epoch)) }).map_err(|error| error.to_string())
    }

    pub(crate) fn decode(sink: &str, bytes: &[u8]) -> Result<u64, String> {
        let cursor: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if cursor.blake3.is_some_and(|digest| digest != Self::digest(sink, cursor.epoch)) {
            return Err("its epoch does not fit its digest".to_owned());
        }
        Ok(cursor.epoch)
    }

    fn digest(sink: &str, epoch: u64) -> String {
        blake3::hash(format!("{sink} {epoch}").as_bytes()).to_hex().to_string()
    }
}

/// A manifest as it lies in the store: its text, and the digest of exactly that text.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed<T> {
    blake3: String,
    manifest: T,
}

impl Manifest {
    /// An empty manifest of an epoch, to be filled in.
    #[must_use]
    pub fn new(epoch: u64) -> Self {
        Self {
            format_version: FORMAT_VERSION,
            epoch,
            writer: String::new(),
            created_at: chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
            positions: BTreeMap::new(),
            snapshots: Vec::new(),
            chains: Vec::new(),
            tables: BTreeMap::new(),
            detections: BTreeMap::new(),
            outputs: Outputs::default(),
            ledger: BTreeMap::new(),
            nulled: Nulled::default(),
            quarantined: BTreeMap::new(),
            coverage: Coverage::default(),
            fast_from: None,
        }
    }

    /// The parts of each worker's state.
    ///
    /// # Errors
    /// A manifest whose numbers do not add up.
    pub(crate) fn snapshot_chains(&self) -> Result<Vec<&[Part]>, String> {
        if self.chains.is_empty() {
            return Ok(self.snapshots.chunks(1).collect());
        }
        let mut rest = self.snapshots.as_slice();
        let mut chains = Vec::with_capacity(self.chains.len());
        for length in &self.chains {
            let (chain, others) = rest.split_at_checked(*length).ok_or("it names too few parts of its state")?;
            chains.push(chain);
            rest = others;
        }
        if rest.is_empty() { Ok(chains) } else { Err("it names more parts of its state than it counts".to_owned()) }
    }

    /// Every object it names.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &Part> {
        self.snapshots.iter().chain(&self.outputs.part)
    }

    pub(crate) fn encode(&self) -> Result<Vec<u8>, String> {
        let seal = || {
            let manifest = serde_json::value::to_raw_value(self)?;
            let blake3 = blake3::hash(manifest.get().as_bytes()).to_hex().to_string();
            serde_json::to_vec(&Sealed { blake3, manifest })
        };
        seal().map_err(|error| error.to_string())
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, String> {
        let sealed: Sealed<Box<RawValue>> = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let text = sealed.manifest.get();
        if blake3::hash(text.as_bytes()).to_hex().as_str() != sealed.blake3 {
            return Err("its text does not fit its digest".to_owned());
        }
        // A newer format may have other keys, so its version is read before they are judged.
        #[derive(Deserialize)]
        struct Format {
            format_version: u32,
        }
        let format: Format = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if format.format_version > FORMAT_VERSION {
            return Ok(Self { format_version: format.format_version, ..Self::new(0) });
        }
        serde_json::from_str(text).map_err(|error| error.to_string())
    }
}

impl Part {
    pub(crate) fn of(path: String, bytes: &[u8]) -> Self {
        Self { path, blake3: blake3::hash(bytes).to_hex().to_string(), bytes: bytes.len() as u64 }
    }

    pub(crate) fn verify(&self, bytes: &[u8]) -> Result<(), String> {
        if bytes.len() as u64 != self.bytes {
            return Err(format!("it has {} bytes, its manifest says {}", bytes.len(), self.bytes));
        }
        if blake3::hash(bytes).to_hex().as_str() != self.blake3 {
            return Err("its content does not fit the digest in its manifest".to_owned());
        }
        Ok(())
    }
}

/// Positions as a list, since keys of JSON objects are text only.
mod positions {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::PartitionKey;

    #[derive(Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Entry {
        stream: String,
        topic: String,
        partition: i32,
        next_offset: i64,
    }

    pub(super) fn serialize<S: Serializer>(map: &BTreeMap<PartitionKey, i64>, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(map.iter().map(|(key, next)| Entry {
            stream: key.stream.clone(),
            topic: key.topic.clone(),
            partition: key.partition,
            next_offset: *next,
        }))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<PartitionKey, i64>, D::Error> {
        let entries = Vec::<Entry>::deserialize(from)?;
        let key = |entry: Entry| {
            let Entry { stream, topic, partition, next_offset } = entry;
            (PartitionKey { stream, topic, partition }, next_offset)
        };
        Ok(entries.into_iter().map(key).collect())
    }
}
