//! A shard: one thread that runs one worker of the engine.
//!
//! Its inbox never blocks a sender, since shards that wait for each other would wait for ever; what bounds it are the
//! bytes that sources may have on the way. At a barrier a shard reports what belongs to the epoch and goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::UnboundedSender;
use weir_connectors::decode::Rejected;
use weir_connectors::kafka::{KafkaError, SourceEvent};
use weir_connectors::position::TopicPartition;
use weir_connectors::source::SourceOutput;
use weir_connectors::state::{Ledger, Nulled, PartitionKey};
use weir_engine::{
    EventTime, Frame, Hit, LateEvent, OperatorFault, PartitionId, QueryMeter, Scope, TableVersion, Worker,
    WorkerOutput, WorkerSnapshot,
};

use super::coverage::{Begun, Taken};
use super::fast::Lane;
use super::vitals::stopwatch;

/// What a shard is told.
pub(super) enum Message {
    /// News of its source.
    Source(SourceEvent),
    /// Rows of another shard.
    Frame(Frame),
    /// All partitions that were there at the start have been announced.
    Begin,
    /// The epoch ends here; how much of the state is saved, and which detections are in quarantine from here on.
    Barrier(u64, Scope, Arc<BTreeSet<usize>>),
    /// Another version of a look-up table.
    Table(Arc<TableVersion>),
    /// There is nothing more to do.
    Stop,
}

/// What a shard tells.
pub(super) enum Report {
    /// Its part of an epoch.
    Part(Box<Part>),
    /// Its source has stopped as it was asked to.
    SourceStopped,
    /// Its source cannot go on.
    SourceFailed(KafkaError),
    /// It cannot go on itself.
    Failed(anyhow::Error),
}

/// What belongs to one epoch of one shard.
#[derive(Default)]
pub(super) struct Part {
    pub(super) shard: u32,
    pub(super) snapshot: Option<ShardSnapshot>,
    pub(super) hits: Vec<Hit>,
    pub(super) late: Vec<(LateEvent, Option<TopicPartition>)>,
    pub(super) rejected: Vec<Rejected>,
    pub(super) positions: BTreeMap<PartitionKey, i64>,
    /// Partitions announced in this epoch, and the offset at which each begins.
    pub(super) begun: BTreeMap<PartitionKey, Begun>,
    /// What was taken in of each partition.
    pub(super) taken: BTreeMap<PartitionKey, Taken>,
    /// What the operators of each detection did since this process started.
    pub(super) meters: Vec<QueryMeter>,
    /// What became of the records of each stream since this process started.
    pub(super) ledger: BTreeMap<String, Ledger>,
    /// Values that became NULL since this process started.
    pub(super) nulled: Nulled,
    /// Watermark of each stream on this shard.
    pub(super) watermarks: BTreeMap<String, EventTime>,
    /// What each operator remembers, in bytes.
    pub(super) state_bytes: Vec<usize>,
    /// Operators that failed.
    pub(super) faults: Vec<OperatorFault>,
    /// Whether anything happened that a restart would have to know.
    pub(super) is_dirty: bool,
}

/// The saved state of a shard: the engine's, and the names of the partitions whose clocks it has.
#[derive(Debug, Clone)]
pub(super) struct ShardSnapshot {
    pub(super) partitions: Vec<NamedPartition>,
    pub(super) worker: WorkerSnapshot,
}

/// A partition by the number it had, and by name.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct NamedPartition {
    pub(super) number: u32,
    pub(super) stream: String,
    pub(super) topic: String,
    pub(super) partition: i32,
}

impl ShardSnapshot {
    /// The state at the end of the last of these: the first is whole, the others say what changed.
    pub(super) fn fold(chain: Vec<Self>) -> anyhow::Result<Self> {
        let partitions = chain.last().map(|last| last.partitions.clone()).unwrap_or_default();
        let worker = WorkerSnapshot::fold(chain.into_iter().map(|one| one.worker))?;
        Ok(Self { partitions, worker })
    }

    /// What is still needed once workers have taken up the state.
    pub(super) fn without_state(self) -> Self {
        Self { worker: self.worker.without_state(), ..self }
    }

    pub(super) fn to_bytes(&self) -> anyhow::Result<Vec<u8>> {
        let names = serde_json::to_vec(&self.partitions)?;
        let mut bytes = (names.len() as u64).to_le_bytes().to_vec();
        bytes.extend(names);
        bytes.extend(self.worker.to_bytes()?);
        Ok(bytes)
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> anyhow::Result<Self> {
        let (length, rest) = bytes.split_at_checked(8).context("a snapshot is shorter than its header")?;
        let mut eight = [0; 8];
        eight.copy_from_slice(length);
        let length = usize::try_from(u64::from_le_bytes(eight))?;
        let (names, worker) = rest.split_at_checked(length).context("a snapshot ends within its header")?;
        Ok(Self { partitions: serde_json::from_slice(names)?, worker: WorkerSnapshot::from_bytes(worker)? })
    }
}

/// One shard at work.
pub(super) struct Shard {
    pub(super) index: u32,
    pub(super) worker: Worker,
    pub(super) inbox: Receiver<Message>,
    pub(super) peers: Vec<Sender<Message>>,
    pub(super) reports: UnboundedSender<Report>,
    /// What the partitions of this shard had as clocks when the state was saved.
    pub(super) saved: Arc<Vec<ShardSnapshot>>,
    /// Where hits leave early, where any do.
    fast: Option<Lane>,
    state: State,
}

/// What the shard itself remembers.
#[derive(Default)]
struct State {
    places: BTreeMap<(String, PartitionId), TopicPartition>,
    positions: BTreeMap<PartitionKey, i64>,
    rejected_total: BTreeMap<String, u64>,
    /// Events of streams that no detection reads; they are for the archive only.
    unread_total: BTreeMap<String, u64>,
    nulled_total: Nulled,
    /// Barriers that have passed completely.
    barriers: u64,
    /// The parts of epochs that are not complete, oldest first; the last one collects.
    open: Part,
    next: Part,
    is_at_barrier: bool,
}

impl Shard {
    pub(super) fn new(
        index: u32,
        mut worker: Worker,
        inbox: Receiver<Message>,
        peers: Vec<Sender<Message>>,
        reports: UnboundedSender<Report>,
        saved: Arc<Vec<ShardSnapshot>>,
        fast: Option<Lane>,
    ) -> Self {
        worker.time_by(stopwatch);
        fast.iter().for_each(|fast| worker.hurry(fast.queries()));
        Self { index, worker, inbox, peers, reports, saved, fast, state: State::default() }
    }

    /// Works until told to stop.
    pub(super) fn run(mut self) {
        while let Ok(message) = self.inbox.recv() {
            if matches!(message, Message::Stop) {
                return;
            }
            if let Err(error) = self.handle(message) {
                self.report(Report::Failed(error.context(format!("shard {} cannot go on", self.index))));
                return;
            }
        }
    }

    fn handle(&mut self, message: Message) -> anyhow::Result<()> {
        let mut output = WorkerOutput::default();
        match message {
            Message::Source(event) => self.source(event, &mut output)?,
            Message::Frame(frame) => self.worker.receive(frame, &mut output)?,
            Message::Begin => self.worker.without_partitions(&mut output)?,
            Message::Barrier(epoch, scope, quarantined) => {
                self.worker.quarantine(&quarantined);
                self.barrier(epoch, scope, &mut output)?;
            }
            Message::Table(table) => self.worker.set_table(&table)?,
            Message::Stop => {}
        }
        self.hand_out(output)
    }

    fn source(&mut self, event: SourceEvent, output: &mut WorkerOutput) -> anyhow::Result<()> {
        match event {
            SourceEvent::Partition { streams, partition, place, next, earliest } => {
                for stream in streams {
                    self.announce(&stream, partition, &place, Begun { next, earliest })?;
                }
            }
            SourceEvent::Batch { outputs, permit } => {
                for part in outputs {
                    self.batch(part, output)?;
                }
                drop(permit);
            }
            SourceEvent::Idle { streams, partition } => {
                for stream in streams {
                    self.worker.idle_partition(&stream, partition, output)?;
                }
                self.part().is_dirty = true;
            }
            SourceEvent::Failed(error) => self.report(Report::SourceFailed(error)),
            SourceEvent::Stopped => self.report(Report::SourceStopped),
        }
        Ok(())
    }

    fn announce(
        &mut self,
        stream: &str,
        partition: PartitionId,
        place: &TopicPartition,
        begun: Begun,
    ) -> anyhow::Result<()> {
        let key = key_of(stream, place);
        let saved = self.saved.iter().find_map(|part| {
            let is_same = |saved: &&NamedPartition| {
                saved.stream.eq_ignore_ascii_case(stream)
                    && *saved.topic == *place.topic
                    && saved.partition == place.partition
            };
            part.partitions.iter().find(is_same).map(|saved| (part, PartitionId(saved.number)))
        });
        match saved {
            Some((part, number)) => self.worker.resume_partition(stream, partition, (&part.worker, number))?,
            None => {
                self.worker.add_partition(stream, partition);
                self.part().begun.insert(key.clone(), begun);
                self.part().is_dirty = true;
            }
        }
        self.state.places.insert((stream.to_lowercase(), partition), place.clone());
        self.state.positions.insert(key, begun.next);
        Ok(())
    }

    fn batch(&mut self, batch: SourceOutput, output: &mut WorkerOutput) -> anyhow::Result<()> {
        let stream = Arc::clone(&batch.batch.stream);
        let key = key_of(&stream, &batch.partition);
        let first = self.state.positions.insert(key.clone(), batch.next);
        let taken = self.part().taken.entry(key).or_default();
        taken.add(first.unwrap_or(batch.next), &batch);
        *self.state.rejected_total.entry(stream.to_string()).or_default() += batch.rejected.len() as u64;
        self.count_misfits(&stream, &batch.misfits);
        let part = self.part();
        part.is_dirty = true;
        part.rejected.extend(batch.rejected);
        let rows = batch.batch.rows.num_rows();
        if !self.worker.reads(&stream) {
            *self.state.unread_total.entry(stream.to_string()).or_default() += rows as u64;
        } else if rows > 0 {
            self.worker.push(batch.batch, output)?;
        }
        Ok(())
    }

    fn count_misfits(&mut self, stream: &str, misfits: &[(Arc<str>, u64)]) {
        if misfits.is_empty() {
            return;
        }
        let sums = self.state.nulled_total.misfits.entry(stream.to_owned()).or_default();
        for (column, count) in misfits {
            let sum = sums.entry(column.to_string()).or_insert_with(|| {
                tracing::warn!(stream, %column, "values do not fit the column: they are NULL there and kept in `unmapped`");
                0
            });
            *sum += count;
        }
    }

    /// What arrives from the source belongs to the epoch behind the barrier that this shard has seen last.
    fn part(&mut self) -> &mut Part {
        if self.state.is_at_barrier { &mut self.state.next } else { &mut self.state.open }
    }

    fn barrier(&mut self, epoch: u64, scope: Scope, output: &mut WorkerOutput) -> anyhow::Result<()> {
        let rejected = &self.state.rejected_total;
        let part = &mut self.state.open;
        part.shard = self.index;
        part.positions = self.state.positions.clone();
        part.ledger = self
            .worker
            .counts()
            .map(|(stream, counts)| {
                let rejected = rejected.get(stream).copied().unwrap_or(0);
                let records = counts.rows + rejected;
                let (on_time, late) = (counts.on_time, counts.late);
                (stream.to_owned(), Ledger { records, on_time, late, rejected })
            })
            .collect();
        for (stream, rows) in &self.state.unread_total {
            let rejected = rejected.get(stream).copied().unwrap_or(0);
            let ledger = Ledger { records: rows + rejected, on_time: *rows, late: 0, rejected };
            part.ledger.insert(stream.clone(), ledger);
        }
        part.nulled = self.state.nulled_total.clone();
        part.watermarks = self.worker.watermarks().map(|(stream, time)| (stream.to_owned(), time)).collect();
        self.state.is_at_barrier = true;
        self.worker.barrier(epoch, scope, output)?;
        Ok(())
    }

    /// Frames to peers, hits and late events to the epoch they belong to, and the part itself once it is complete.
    fn hand_out(&mut self, output: WorkerOutput) -> anyhow::Result<()> {
        self.state.nulled_total.failures += output.failures;
        for (receiver, frame) in output.frames {
            if self.peers[receiver as usize].send(Message::Frame(frame)).is_err() {
                anyhow::bail!("shard {receiver} has gone");
            }
        }
        let passed = self.state.barriers;
        for (barriers, hit) in output.hits {
            self.fast.iter().for_each(|fast| fast.offer(&hit));
            let part = if barriers > passed { &mut self.state.next } else { &mut self.state.open };
            part.is_dirty = true;
            part.hits.push(hit);
        }
        for (barriers, late) in output.late {
            let place = late
                .partition
                .and_then(|partition| self.state.places.get(&(late.stream.to_lowercase(), partition)).cloned());
            let part = if barriers > passed { &mut self.state.next } else { &mut self.state.open };
            part.late.push((late, place));
        }
        for (barriers, fault) in output.faults {
            let part = if barriers > passed { &mut self.state.next } else { &mut self.state.open };
            part.faults.push(fault);
        }
        if let Some((_, snapshot)) = output.snapshot {
            self.complete(snapshot)?;
        }
        Ok(())
    }

    fn complete(&mut self, worker: WorkerSnapshot) -> anyhow::Result<()> {
        let partitions = self.state.places.iter().map(|((stream, number), place)| NamedPartition {
            number: number.0,
            stream: stream.clone(),
            topic: place.topic.to_string(),
            partition: place.partition,
        });
        let snapshot = ShardSnapshot { partitions: partitions.collect(), worker };
        let mut part = std::mem::take(&mut self.state.open);
        part.meters = self.worker.meters().collect();
        self.state.open = std::mem::take(&mut self.state.next);
        self.state.barriers += 1;
        self.state.is_at_barrier = false;
        part.state_bytes = self.worker.state_bytes();
        part.is_dirty |= snapshot.worker.has_changes();
        part.snapshot = Some(snapshot);
        self.report(Report::Part(Box::new(part)));
        Ok(())
    }

    fn report(&self, report: Report) {
        if self.reports.send(report).is_err() {
            tracing::debug!(shard = self.index, "nobody waits for reports any more");
        }
    }
}

/// A partition of a stream as the manifest has it.
pub(super) fn key_of(stream: &str, place: &TopicPartition) -> PartitionKey {
    PartitionKey { stream: stream.to_owned(), topic: place.topic.to_string(), partition: place.partition }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn snapshot() -> Vec<u8> {
        let partition = NamedPartition { number: 7, stream: "s".to_owned(), topic: "t".to_owned(), partition: 3 };
        ShardSnapshot { partitions: vec![partition], worker: WorkerSnapshot::default() }.to_bytes().unwrap()
    }

    #[test]
    fn a_snapshot_without_its_end_is_refused() {
        let bytes = snapshot();
        assert_eq!(ShardSnapshot::from_bytes(&bytes).unwrap().partitions[0].number, 7);
        assert!((0..bytes.len()).all(|length| ShardSnapshot::from_bytes(&bytes[..length]).is_err()));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_no_snapshot_and_absurd_lengths_take_no_room(
            bytes in proptest::collection::vec(any::<u8>(), 0..256),
            length in any::<u64>(),
        ) {
            prop_assert!(ShardSnapshot::from_bytes(&bytes).is_err());
            let mut absurd = snapshot();
            let own = u64::from_le_bytes(absurd[..8].try_into().unwrap());
            absurd[..8].copy_from_slice(&length.to_le_bytes());
            prop_assert_eq!(ShardSnapshot::from_bytes(&absurd).is_ok(), length == own);
        }
    }
}
