//! Records in: one thread that polls the client, decodes, and hands on batches of one partition at a time.
//!
//! A batch closes at 8,192 rows, 1 MiB or 5 ms. Between this thread and the engine lies a bounded number of bytes
//! ([`Budget`]); when they are used up, the thread stops polling and then pauses the partitions, so that neither the
//! client's queues nor ours grow. Brokers that go away are waited for; only what cannot mend itself ends the thread.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use weir_engine::{ColumnSet, PartitionId, Stream};

use super::KafkaError;
use super::budget::{Budget, Permit};
use super::reader::Reader;
use super::settings::{KafkaSettings, Start};
use crate::decode::Limits;
use crate::position::{Positions, TopicPartition};
use crate::source::SourceOutput;

/// A stream to read, and the columns of it that somebody needs.
#[derive(Debug, Clone)]
pub struct StreamInput {
    /// The stream; its topics and patterns say what is read.
    pub stream: Arc<Stream>,
    /// The columns to decode.
    pub columns: ColumnSet,
}

/// Which part of all partitions a source reads, where several sources share the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// The number of this source, from 0.
    pub index: u32,
    /// How many sources there are.
    pub of: u32,
}

impl Share {
    /// Whether a partition is this source's. Every source finds the same answer, whatever order it meets partitions in.
    pub(super) fn contains(self, place: &TopicPartition) -> bool {
        let hash = blake3::hash(place.to_string().as_bytes());
        let [a, b, c, d, ..] = *hash.as_bytes();
        u32::from_le_bytes([a, b, c, d]) % self.of.max(1) == self.index
    }
}

/// How to read.
#[derive(Debug, Clone)]
pub struct SourceOptions {
    /// How to reach the cluster.
    pub settings: KafkaSettings,
    /// What to read.
    pub streams: Vec<StreamInput>,
    /// Where to go on; partitions that are not in it begin at `start`.
    pub positions: Positions,
    /// Where to begin in a partition without a position.
    pub start: Start,
    /// Bytes that may wait for the engine.
    pub budget: Budget,
    /// A partition that is read to its end and silent for so long is idle.
    pub idle_after: Duration,
    /// How often new topics and partitions are looked for.
    pub discover_every: Duration,
    /// How long to wait for a broker at the start.
    pub patience: Duration,
    /// How long a record may wait for others to make a batch.
    pub linger: Duration,
    /// Which partitions are this source's.
    pub share: Share,
    /// Limits of records and batches.
    pub limits: Limits,
}

impl SourceOptions {
    /// The usual values for everything that has one.
    #[must_use]
    pub fn new(settings: KafkaSettings, streams: Vec<StreamInput>) -> Self {
        Self {
            settings,
            streams,
            positions: Positions::default(),
            start: Start::Earliest,
            budget: Budget::new(64 << 20),
            idle_after: Duration::from_secs(30),
            discover_every: Duration::from_secs(30),
            patience: Duration::from_secs(30),
            linger: Duration::from_millis(5),
            share: Share { index: 0, of: 1 },
            limits: Limits::default(),
        }
    }
}

/// What a source tells. Events of one partition come in its order.
#[derive(Debug)]
pub enum SourceEvent {
    /// A partition will be read from an offset on. Comes before everything else about the partition.
    Partition {
        /// The streams that it feeds.
        streams: Vec<Arc<str>>,
        /// Its number in batches.
        partition: PartitionId,
        /// Its name.
        place: TopicPartition,
        /// The first offset to be read.
        next: i64,
        /// The first offset that the broker still has.
        earliest: i64,
    },
    /// A stretch of one partition: one output per stream that reads it, to be taken together or not at all.
    Batch {
        /// The outputs.
        outputs: Vec<SourceOutput>,
        /// The bytes they take; keep it as long as them.
        permit: Permit,
    },
    /// A partition is read to its end and has been silent. The next batch of it ends that.
    Idle {
        /// The streams that it feeds.
        streams: Vec<Arc<str>>,
        /// Its number in batches.
        partition: PartitionId,
    },
    /// The source cannot go on. The last event.
    Failed(KafkaError),
    /// The source was stopped, and everything it had read was told. The last event.
    Stopped,
}

/// What a source counted since it began.
#[derive(Debug, Default)]
pub struct Counts {
    /// Records taken.
    pub records: AtomicU64,
    /// Their bytes.
    pub bytes: AtomicU64,
    /// Times that no broker could be reached.
    pub outages: AtomicU64,
    /// Other errors that the client mended by itself.
    pub errors: AtomicU64,
    /// Times that partitions were paused because the engine was behind.
    pub pauses: AtomicU64,
    /// Records that the brokers have and that were not read yet, as of the last statistics.
    pub lag: AtomicU64,
    /// The same by partition.
    pub lags: Mutex<Vec<(TopicPartition, u64)>>,
    /// Partitions that are read.
    pub partitions: AtomicU64,
}

/// A running source. Dropping it stops the thread without waiting for it.
#[derive(Debug)]
pub struct KafkaSource {
    is_stopping: Arc<AtomicBool>,
    commits: Sender<Positions>,
    counts: Arc<Counts>,
    thread: Option<JoinHandle<()>>,
}

impl KafkaSource {
    /// Reaches the cluster, finds the partitions and where each begins, and starts to read. Blocks until then.
    ///
    /// # Errors
    /// A cluster that cannot be reached in time or refuses us, a topic that does not exist, a position that was lost.
    pub fn start(options: SourceOptions, events: Sender<SourceEvent>) -> Result<Self, KafkaError> {
        let (commits, wanted_commits) = mpsc::channel();
        let (is_stopping, counts) = (Arc::new(AtomicBool::new(false)), Arc::new(Counts::default()));
        let mut reader = Reader::open(options, events, Arc::clone(&counts), Arc::clone(&is_stopping), wanted_commits)?;
        let name = format!("kafka-{}", reader.share().index);
        let thread = std::thread::Builder::new().name(name).spawn(move || reader.run());
        // A process that cannot start one thread cannot do anything else either.
        let thread = thread.expect("a thread can be started");
        Ok(Self { is_stopping, commits, counts, thread: Some(thread) })
    }

    /// Commits positions to the consumer group, for tools that show lag. Weir itself never reads them.
    pub fn commit(&self, positions: Positions) {
        if self.commits.send(positions).is_err() {
            tracing::debug!(target: "weir::kafka", "the source has ended; its group's positions stay as they are");
        }
    }

    /// What was counted so far.
    #[must_use]
    pub fn counts(&self) -> &Arc<Counts> {
        &self.counts
    }

    /// Stops reading, tells what was read and waits for the thread. [`SourceEvent::Stopped`] is the last event.
    pub fn stop(mut self) {
        self.is_stopping.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!(target: "weir::kafka", "the thread that reads from Kafka panicked");
        }
    }
}

impl Drop for KafkaSource {
    fn drop(&mut self) {
        self.is_stopping.store(true, Ordering::Relaxed);
    }
}
