//! A worker: every operator of the graph, for the partitions and key groups that it owns.
//!
//! A worker is one synchronous value. Batches, frames and barriers go in; frames for other workers, hits and late events
//! come out. Within a worker, items wait in one queue and are handled first in, first out, so that each edge keeps its
//! order. An operator with several inputs or senders holds back what comes behind a barrier until all have sent it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryViewArray, UInt64Array};
use arrow::datatypes::TimestampMicrosecondType;

use crate::batch::{PartitionId, SourceBatch};
use crate::canonical::{encode_rows, key_group, owner};
use crate::catalog::{Stream, system};
use crate::clock::{Judged, PartitionClock};
use crate::error::EngineError;
use crate::frame::{Frame, FrameBody};
use crate::graph::{ExchangeKey, NodeId, Spec};
use crate::operator::{Operator, Outbox, build};
use crate::output::{Hit, LateEvent, LateReason, StreamCounts};
use crate::program::{Program, consumers, sources};
use crate::rows::{Identity, Rows, batch_of, uid_at};
use crate::snapshot::{SavedClock, SavedClocks, WorkerSnapshot};
use crate::sql::total::evaluate;
use crate::table::TableVersion;
use crate::time::EventTime;

/// What a worker hands out.
#[derive(Debug, Default)]
pub struct WorkerOutput {
    /// Frames for other workers, by receiver.
    pub frames: Vec<(u32, Frame)>,
    /// Hits in the order in which they were stated, each with the number of barriers that its query had passed.
    pub hits: Vec<(u64, Hit)>,
    /// Rows that stateful operators did not see, likewise.
    pub late: Vec<(u64, LateEvent)>,
    /// The worker's state at the end of an epoch, when the last operator has seen its barrier.
    pub snapshot: Option<(u64, WorkerSnapshot)>,
    /// Values that could not be computed and are NULL.
    pub failures: u64,
}

/// One worker of a program.
pub struct Worker {
    index: u32,
    workers: u32,
    program: Arc<Program>,
    nodes: Vec<NodeState>,
    consumers: Vec<Vec<(NodeId, usize)>>,
    sources: BTreeMap<String, SourceState>,
    queue: VecDeque<Arrival>,
    next_seq: HashMap<(u32, u32), u64>,
    epoch: u64,
    snapshots: BTreeMap<NodeId, Vec<arrow::array::RecordBatch>>,
    /// The clocks as they were at the barrier.
    clocks: SavedClocks,
}

struct SourceState {
    stream: Arc<Stream>,
    node: NodeId,
    partitions: BTreeMap<PartitionId, PartitionClock>,
    counts: StreamCounts,
}

struct NodeState {
    operator: Box<dyn Operator>,
    inputs: Vec<InputState>,
    watermark: EventTime,
    held: VecDeque<Arrival>,
    /// Barriers that the node has passed.
    barriers: u64,
}

/// One input of a node: a channel per sender.
struct InputState {
    channels: Vec<Channel>,
}

#[derive(Clone, Copy)]
struct Channel {
    watermark: EventTime,
    is_at_barrier: bool,
}

/// Something that reached an input of a node.
struct Arrival {
    node: NodeId,
    input: usize,
    sender: usize,
    item: Item,
}

enum Item {
    Rows(Box<Rows>),
    Watermark(EventTime),
    Barrier,
}

impl Worker {
    /// A worker without state. Every look-up table of the program must be given.
    ///
    /// # Errors
    /// A table that is missing or whose rows do not fit.
    pub fn new(program: Arc<Program>, index: u32, workers: u32, tables: &[TableVersion]) -> Result<Self, EngineError> {
        let graph = &program.graph;
        let mut nodes = vec![];
        for node in &graph.nodes {
            let input = node.inputs.first().map(|edge| &graph.nodes[edge.from].schema);
            let channel = Channel { watermark: EventTime::MIN, is_at_barrier: false };
            let inputs = node
                .inputs
                .iter()
                .map(|edge| InputState {
                    channels: vec![channel; if edge.exchange.is_some() { workers as usize } else { 1 }],
                })
                .collect();
            let operator = build(node, input)?;
            nodes.push(NodeState { operator, inputs, watermark: EventTime::MIN, held: VecDeque::new(), barriers: 0 });
        }
        for name in program.tables() {
            if !tables.iter().any(|table| table.name.eq_ignore_ascii_case(name)) {
                return Err(EngineError::MissingTable(name.to_string()));
            }
        }
        let sources = sources(graph)
            .into_iter()
            .filter_map(|(name, node)| {
                let (stream, _) = program.columns(&name)?;
                let state = SourceState {
                    stream: Arc::clone(stream),
                    node,
                    partitions: BTreeMap::new(),
                    counts: StreamCounts::default(),
                };
                Some((name, state))
            })
            .collect();
        let consumers = consumers(graph);
        let mut worker = Self {
            index,
            workers,
            program,
            nodes,
            consumers,
            sources,
            queue: VecDeque::new(),
            next_seq: HashMap::new(),
            epoch: 0,
            snapshots: BTreeMap::new(),
            clocks: SavedClocks::new(),
        };
        tables.iter().try_for_each(|table| worker.set_table(table))?;
        worker.close_orphans()?;
        Ok(worker)
    }

    /// A node that nobody feeds (`FROM alerts` where no detection can be read) never holds anything back.
    fn close_orphans(&mut self) -> Result<(), EngineError> {
        let mut output = WorkerOutput::default();
        for node in self.orphans() {
            self.hand_on(node, &[], Some(EventTime::MAX), false, &mut output)?;
        }
        self.run(&mut output)
    }

    fn orphans(&self) -> Vec<NodeId> {
        let nodes = self.program.graph.nodes.iter().enumerate();
        nodes
            .filter(|(_, node)| node.inputs.is_empty() && !matches!(node.spec, Spec::Source(_)))
            .map(|(id, _)| id)
            .collect()
    }

    /// Swaps a look-up table. Call it only between epochs, so that one answer holds per version.
    ///
    /// # Errors
    /// Rows that do not fit.
    pub fn set_table(&mut self, table: &TableVersion) -> Result<(), EngineError> {
        self.nodes.iter_mut().try_for_each(|node| node.operator.table(table))
    }

    /// Whether any query reads a stream.
    #[must_use]
    pub fn reads(&self, stream: &str) -> bool {
        self.sources.contains_key(&stream.to_lowercase())
    }

    /// Announces a partition of a stream to this worker. A stream's watermark waits for all its partitions.
    pub fn add_partition(&mut self, stream: &str, partition: PartitionId) {
        if let Some(source) = self.sources.get_mut(&stream.to_lowercase()) {
            let stream = &source.stream;
            let clock = || PartitionClock::new(stream.lateness_us, stream.future_guard_us);
            source.partitions.entry(partition).or_insert_with(clock);
        }
    }

    /// Announces a partition that went by another number when its clock was saved.
    pub fn resume_partition(&mut self, stream: &str, partition: PartitionId, saved: (&WorkerSnapshot, PartitionId)) {
        self.add_partition(stream, partition);
        let key = stream.to_lowercase();
        let (part, number) = saved;
        let clock = part.clocks(&key).find(|(saved, _)| **saved == number).map(|(_, clock)| clock);
        let source = self.sources.get_mut(&key).and_then(|source| source.partitions.get_mut(&partition));
        if let (Some(saved), Some(clock)) = (clock, source) {
            saved.apply(clock);
        }
    }

    /// Takes a batch of one partition.
    ///
    /// # Errors
    /// A batch of another shape than the program's columns; nothing else that is in a batch.
    pub fn push(&mut self, batch: SourceBatch, output: &mut WorkerOutput) -> Result<(), EngineError> {
        let Some(source) = self.sources.get_mut(&batch.stream.to_lowercase()) else {
            return Err(misfit(&batch.stream, "no query reads it"));
        };
        let rows = rows_of(&batch, &source.stream, &self.program.graph.nodes[source.node].schema)?;
        source.counts.rows += rows.len() as u64;
        let clock = source
            .partitions
            .entry(batch.partition)
            .or_insert_with(|| PartitionClock::new(source.stream.lateness_us, source.stream.future_guard_us));
        let judged = clock.judge(rows, batch.late.as_deref())?;
        self.admit(&batch.stream, batch.partition, judged, output)
    }

    /// The end of a partition: nothing more will come.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub fn end_partition(
        &mut self,
        stream: &str,
        partition: PartitionId,
        output: &mut WorkerOutput,
    ) -> Result<(), EngineError> {
        self.add_partition(stream, partition);
        let Some(source) = self.sources.get_mut(&stream.to_lowercase()) else { return Ok(()) };
        let judged = source.partitions.get_mut(&partition).map(PartitionClock::end).unwrap_or_default();
        self.admit(stream, partition, judged, output)
    }

    /// A partition has been silent for so long that it does not hold the others back any more.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub fn idle_partition(
        &mut self,
        stream: &str,
        partition: PartitionId,
        output: &mut WorkerOutput,
    ) -> Result<(), EngineError> {
        self.add_partition(stream, partition);
        if let Some(clock) =
            self.sources.get_mut(&stream.to_lowercase()).and_then(|source| source.partitions.get_mut(&partition))
        {
            clock.is_idle = true;
        }
        self.advance(stream, output)
    }

    /// No partition of this worker will send anything more, whatever is announced or not.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub fn finish(&mut self, output: &mut WorkerOutput) -> Result<(), EngineError> {
        let streams: Vec<(String, Vec<PartitionId>)> = self
            .sources
            .iter()
            .map(|(name, source)| (name.clone(), source.partitions.keys().copied().collect()))
            .collect();
        for (stream, partitions) in streams {
            for partition in partitions {
                self.end_partition(&stream, partition, output)?;
            }
            self.emit_watermark(&stream, EventTime::MAX, output)?;
        }
        Ok(())
    }

    /// This worker has no partition of a stream now, so it does not hold the others back.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub fn without_partitions(&mut self, output: &mut WorkerOutput) -> Result<(), EngineError> {
        let empty: Vec<String> = self
            .sources
            .iter()
            .filter(|(_, source)| source.partitions.is_empty())
            .map(|(name, _)| name.clone())
            .collect();
        empty.iter().try_for_each(|stream| self.emit_watermark(stream, EventTime::MAX, output))
    }

    /// Takes a frame of another worker.
    ///
    /// # Errors
    /// A frame that does not fit the graph.
    pub fn receive(&mut self, frame: Frame, output: &mut WorkerOutput) -> Result<(), EngineError> {
        let (node, input) = edge_target(&self.program, frame.edge)
            .ok_or_else(|| EngineError::Snapshot(format!("a frame for edge {}, which does not exist", frame.edge)))?;
        let item = match frame.body {
            FrameBody::Data(batch) => Item::Rows(Box::new(Rows::from_batch(&batch)?)),
            FrameBody::Watermark(watermark) => Item::Watermark(watermark),
            FrameBody::Barrier => Item::Barrier,
        };
        self.queue.push_back(Arrival { node, input, sender: frame.worker as usize, item });
        self.run(output)
    }

    /// Ends an epoch: everything pushed so far belongs to it.
    ///
    /// # Errors
    /// An operator that cannot save its state.
    pub fn barrier(&mut self, epoch: u64, output: &mut WorkerOutput) -> Result<(), EngineError> {
        self.epoch = epoch;
        // Batches of the next epoch may come before the last operator has been saved, and they move the clocks on.
        let saved = |source: &SourceState| {
            source.partitions.iter().map(|(partition, clock)| (*partition, SavedClock::of(clock))).collect()
        };
        self.clocks = self.sources.iter().map(|(name, source)| (name.clone(), saved(source))).collect();
        let nodes: Vec<NodeId> = self.sources.values().map(|source| source.node).chain(self.orphans()).collect();
        for node in nodes {
            self.snapshots.insert(node, vec![]);
            self.nodes[node].barriers += 1;
            self.hand_on(node, &[], None, true, output)?;
        }
        self.run(output)?;
        self.close_epoch(output)
    }

    /// What happened to the rows of each stream so far.
    pub fn counts(&self) -> impl Iterator<Item = (&str, StreamCounts)> {
        self.sources.values().map(|source| (source.stream.name.as_str(), source.counts))
    }

    /// The watermark of each stream, as this worker's partitions have it.
    pub fn watermarks(&self) -> impl Iterator<Item = (&str, EventTime)> {
        self.sources.values().map(|source| (source.stream.name.as_str(), source.watermark()))
    }

    fn admit(
        &mut self,
        stream: &str,
        partition: PartitionId,
        judged: Judged,
        output: &mut WorkerOutput,
    ) -> Result<(), EngineError> {
        let Some(source) = self.sources.get_mut(&stream.to_lowercase()) else { return Ok(()) };
        let rows: usize = judged.parts.iter().map(Rows::len).sum();
        source.counts.late += judged.late.len() as u64;
        source.counts.on_time += (rows - judged.late.len()) as u64;
        let name: Arc<str> = source.stream.name.as_str().into();
        let node = source.node;
        let barriers = self.nodes[node].barriers;
        output.late.extend(judged.late.iter().map(|(part, row, reason)| {
            let event = LateEvent {
                stream: Arc::clone(&name),
                partition: Some(partition),
                uid: judged.parts[*part].uid(*row),
                time: EventTime(judged.parts[*part].time.value(*row)),
                reason: *reason,
            };
            (barriers, event)
        }));
        for part in judged.parts {
            let mut out = Outbox::default();
            self.nodes[node].operator.rows(part, &mut out)?;
            self.hand_on(node, &out.rows, None, false, output)?;
        }
        self.run(output)?;
        self.advance(stream, output)
    }

    /// Hands on a stream's watermark if it has moved.
    fn advance(&mut self, stream: &str, output: &mut WorkerOutput) -> Result<(), EngineError> {
        let Some(source) = self.sources.get(&stream.to_lowercase()) else { return Ok(()) };
        let watermark = source.watermark();
        self.emit_watermark(stream, watermark, output)
    }

    fn emit_watermark(
        &mut self,
        stream: &str,
        watermark: EventTime,
        output: &mut WorkerOutput,
    ) -> Result<(), EngineError> {
        let Some(source) = self.sources.get(&stream.to_lowercase()) else { return Ok(()) };
        let node = source.node;
        if watermark > self.nodes[node].watermark {
            self.nodes[node].watermark = watermark;
            self.hand_on(node, &[], Some(watermark), false, output)?;
            self.run(output)?;
        }
        Ok(())
    }

    /// Works off the queue.
    fn run(&mut self, output: &mut WorkerOutput) -> Result<(), EngineError> {
        while let Some(arrival) = self.queue.pop_front() {
            self.handle(arrival, output)?;
        }
        Ok(())
    }

    fn handle(&mut self, arrival: Arrival, output: &mut WorkerOutput) -> Result<(), EngineError> {
        let Arrival { node, input, sender, item } = arrival;
        let state = &mut self.nodes[node];
        if state.inputs[input].channels[sender].is_at_barrier {
            state.held.push_back(Arrival { node, input, sender, item });
            return Ok(());
        }
        let mut out = Outbox::default();
        match item {
            Item::Rows(rows) => {
                if !rows.is_empty() {
                    state.operator.rows(*rows, &mut out)?;
                }
                self.leave(node, out, None, output)
            }
            Item::Watermark(watermark) => {
                let channel = &mut state.inputs[input].channels[sender];
                channel.watermark = channel.watermark.max(watermark);
                let merged = state.merged_watermark();
                if merged <= state.watermark {
                    return Ok(());
                }
                state.watermark = merged;
                state.operator.watermark(merged, &mut out)?;
                self.leave(node, out, Some(merged), output)
            }
            Item::Barrier => {
                state.inputs[input].channels[sender].is_at_barrier = true;
                if state.is_aligned() { self.pass_barrier(node, output) } else { Ok(()) }
            }
        }
    }

    /// All senders have ended the epoch: save the operator, hand the barrier on, take up what was held back.
    fn pass_barrier(&mut self, node: NodeId, output: &mut WorkerOutput) -> Result<(), EngineError> {
        let state = &mut self.nodes[node];
        let snapshot = state.operator.snapshot()?;
        state.barriers += 1;
        self.snapshots.insert(node, snapshot);
        state.inputs.iter_mut().flat_map(|input| &mut input.channels).for_each(|channel| channel.is_at_barrier = false);
        let held = std::mem::take(&mut state.held);
        self.hand_on(node, &[], None, true, output)?;
        for arrival in held.into_iter().rev() {
            self.queue.push_front(arrival);
        }
        self.close_epoch(output)
    }

    /// Gives out the snapshot once every operator has been saved.
    fn close_epoch(&mut self, output: &mut WorkerOutput) -> Result<(), EngineError> {
        if self.snapshots.len() == self.nodes.len() {
            let nodes = std::mem::take(&mut self.snapshots);
            let clocks = std::mem::take(&mut self.clocks);
            output.snapshot = Some((self.epoch, self.snapshot_of(nodes, clocks)));
        }
        Ok(())
    }

    fn snapshot_of(
        &self,
        nodes: BTreeMap<NodeId, Vec<arrow::array::RecordBatch>>,
        clocks: SavedClocks,
    ) -> WorkerSnapshot {
        let names = |node: &NodeId| self.program.graph.nodes[*node].fingerprint.clone();
        let states =
            nodes.into_iter().filter(|(_, state)| !state.is_empty()).map(|(node, state)| (names(&node), state));
        WorkerSnapshot::new(states, clocks)
    }

    /// Takes up this worker's share of a snapshot, which any number of workers may have made.
    ///
    /// # Errors
    /// A snapshot of another program or format.
    pub fn restore(
        &mut self,
        parts: &[WorkerSnapshot],
        owns_partition: &dyn Fn(&str, PartitionId) -> bool,
    ) -> Result<(), EngineError> {
        let (index, workers) = (self.index, self.workers);
        let owns = move |group: u32| owner(group, workers) == index;
        for part in parts {
            for (node, spec) in self.program.graph.nodes.iter().enumerate() {
                if let Some(state) = part.node(&spec.fingerprint) {
                    self.nodes[node].operator.restore(state, &owns)?;
                }
            }
            for (name, source) in &mut self.sources {
                for (partition, saved) in part.clocks(name) {
                    if owns_partition(name, *partition) {
                        let mut clock = PartitionClock::new(source.stream.lateness_us, source.stream.future_guard_us);
                        saved.apply(&mut clock);
                        source.partitions.insert(*partition, clock);
                    }
                }
            }
        }
        Ok(())
    }

    /// Hands on what an operator put out.
    fn leave(
        &mut self,
        node: NodeId,
        out: Outbox,
        watermark: Option<EventTime>,
        output: &mut WorkerOutput,
    ) -> Result<(), EngineError> {
        output.failures += out.failures;
        let barriers = self.nodes[node].barriers;
        output.hits.extend(out.hits.into_iter().map(|hit| (barriers, hit)));
        for rows in &out.idle {
            self.note_idle(node, rows, output);
        }
        self.hand_on(node, &out.rows, watermark, false, output)
    }

    fn note_idle(&mut self, node: NodeId, rows: &Rows, output: &mut WorkerOutput) {
        let stream = self.stream_behind(node);
        let uids = rows.uids();
        let barriers = self.nodes[node].barriers;
        output.late.extend((0..rows.len()).map(|row| {
            let event = LateEvent {
                stream: Arc::clone(&stream),
                partition: None,
                uid: uid_at(&uids, row),
                time: EventTime(rows.time.value(row)),
                reason: LateReason::Idle,
            };
            (barriers, event)
        }));
    }

    /// The first stream that feeds a node.
    fn stream_behind(&self, node: NodeId) -> Arc<str> {
        let mut at = node;
        loop {
            let spec = &self.program.graph.nodes[at];
            match (&spec.spec, spec.inputs.first()) {
                (Spec::Source(stream), _) => return stream.name.as_str().into(),
                (_, Some(edge)) => at = edge.from,
                (_, None) => return Arc::from("alerts"),
            }
        }
    }

    /// Sends rows, then a watermark, then a barrier to everyone who reads a node.
    fn hand_on(
        &mut self,
        node: NodeId,
        rows: &[Rows],
        watermark: Option<EventTime>,
        is_barrier: bool,
        output: &mut WorkerOutput,
    ) -> Result<(), EngineError> {
        for at in 0..self.consumers[node].len() {
            let (to, input) = self.consumers[node][at];
            let exchange = self.program.graph.nodes[to].inputs[input].exchange.clone();
            for rows in rows {
                match &exchange {
                    Some(key) if self.workers > 1 => self.exchange(to, input, key, rows, output)?,
                    Some(_) => self.arrive(to, input, self.index as usize, Item::Rows(Box::new(rows.clone()))),
                    None => self.arrive(to, input, 0, Item::Rows(Box::new(rows.clone()))),
                }
            }
            if let Some(watermark) = watermark {
                self.control(to, input, exchange.is_some(), watermark, output);
            }
            if is_barrier {
                self.control_barrier(to, input, exchange.is_some(), output);
            }
        }
        Ok(())
    }

    fn arrive(&mut self, node: NodeId, input: usize, sender: usize, item: Item) {
        self.queue.push_back(Arrival { node, input, sender, item });
    }

    fn control(
        &mut self,
        to: NodeId,
        input: usize,
        is_exchange: bool,
        watermark: EventTime,
        output: &mut WorkerOutput,
    ) {
        let own = if is_exchange { self.index as usize } else { 0 };
        self.arrive(to, input, own, Item::Watermark(watermark));
        if is_exchange {
            self.broadcast(to, input, &FrameBody::Watermark(watermark), output);
        }
    }

    fn control_barrier(&mut self, to: NodeId, input: usize, is_exchange: bool, output: &mut WorkerOutput) {
        let own = if is_exchange { self.index as usize } else { 0 };
        self.arrive(to, input, own, Item::Barrier);
        if is_exchange {
            self.broadcast(to, input, &FrameBody::Barrier, output);
        }
    }

    fn broadcast(&mut self, to: NodeId, input: usize, body: &FrameBody, output: &mut WorkerOutput) {
        let own = self.index;
        for receiver in (0..self.workers).filter(|receiver| *receiver != own) {
            let frame = self.frame(receiver, to, input, body.clone());
            output.frames.push((receiver, frame));
        }
    }

    fn frame(&mut self, receiver: u32, to: NodeId, input: usize, body: FrameBody) -> Frame {
        let edge = edge_id(&self.program, to, input);
        let seq = self.next_seq.entry((edge, receiver)).or_default();
        let frame = Frame { worker: self.index, edge, epoch: self.epoch, seq: *seq, body };
        *seq += 1;
        frame
    }

    /// Sends each row to the worker that owns its key group.
    fn exchange(
        &mut self,
        to: NodeId,
        input: usize,
        key: &ExchangeKey,
        rows: &Rows,
        output: &mut WorkerOutput,
    ) -> Result<(), EngineError> {
        let groups: Vec<u32> = match key {
            ExchangeKey::Identity => {
                let uids = rows.uids();
                (0..rows.len()).map(|row| key_group(&uid_at(&uids, row).0)).collect()
            }
            ExchangeKey::Columns(keys) => {
                let keys = keys
                    .iter()
                    .map(|key| evaluate(key.as_ref(), &rows.columns, &mut output.failures))
                    .collect::<Result<Vec<ArrayRef>, _>>()?;
                encode_rows(&keys, rows.len())?.iter().map(|key| key_group(key)).collect()
            }
        };
        let rows = rows.clone().identified();
        for receiver in 0..self.workers {
            let indices: UInt64Array = groups
                .iter()
                .enumerate()
                .filter(|(_, group)| owner(**group, self.workers) == receiver)
                .map(|(row, _)| row as u64)
                .collect();
            if indices.is_empty() {
                continue;
            }
            let share = rows.take(&indices)?;
            if receiver == self.index {
                self.arrive(to, input, receiver as usize, Item::Rows(Box::new(share)));
            } else {
                let frame = self.frame(receiver, to, input, FrameBody::Data(share.to_batch()?));
                output.frames.push((receiver, frame));
            }
        }
        Ok(())
    }
}

impl SourceState {
    fn watermark(&self) -> EventTime {
        let active = self.partitions.values().filter(|clock| !clock.is_idle);
        let idle = self.partitions.values().filter(|clock| clock.is_idle).map(PartitionClock::watermark).max();
        active.map(PartitionClock::watermark).min().or(idle).unwrap_or(EventTime::MIN)
    }
}

impl NodeState {
    fn merged_watermark(&self) -> EventTime {
        let channels = self.inputs.iter().flat_map(|input| &input.channels);
        channels.map(|channel| channel.watermark).min().unwrap_or(EventTime::MIN)
    }

    fn is_aligned(&self) -> bool {
        self.inputs.iter().flat_map(|input| &input.channels).all(|channel| channel.is_at_barrier)
    }
}

/// Edges are numbered over all inputs of all nodes.
fn edge_id(program: &Program, node: NodeId, input: usize) -> u32 {
    let before: usize = program.graph.nodes[..node].iter().map(|node| node.inputs.len()).sum();
    (before + input) as u32
}

fn edge_target(program: &Program, edge: u32) -> Option<(NodeId, usize)> {
    let mut left = edge as usize;
    for (node, spec) in program.graph.nodes.iter().enumerate() {
        if left < spec.inputs.len() {
            return Some((node, left));
        }
        left -= spec.inputs.len();
    }
    None
}

fn misfit(stream: &str, reason: impl Into<String>) -> EngineError {
    EngineError::Batch { stream: stream.to_owned(), reason: reason.into() }
}

/// A batch as rows of the source node.
fn rows_of(batch: &SourceBatch, stream: &Stream, schema: &arrow::datatypes::SchemaRef) -> Result<Rows, EngineError> {
    let rows = &batch.rows;
    let named = |name: &str| rows.column_by_name(name);
    let required = |name: &str| named(name).ok_or_else(|| misfit(&batch.stream, format!("column `{name}` is missing")));
    let time = required(system::TIME)?
        .as_primitive_opt::<TimestampMicrosecondType>()
        .ok_or_else(|| misfit(&batch.stream, "`_time` is not a timestamp in microseconds"))?
        .clone();
    if time.null_count() > 0 {
        return Err(misfit(&batch.stream, "`_time` has NULLs"));
    }
    let arrival = match named(system::ARRIVAL) {
        Some(arrival) => arrival.as_primitive::<TimestampMicrosecondType>().clone(),
        None => crate::rows::no_arrival(rows.num_rows()),
    };
    let columns = schema.fields().iter().map(|field| required(field.name()).cloned()).collect::<Result<Vec<_>, _>>()?;
    let columns = columns
        .iter()
        .zip(schema.fields())
        .map(|(column, field)| {
            if column.data_type() == field.data_type() {
                return Ok(Arc::clone(column));
            }
            let reason = format!("`{}` is {}, not {}", field.name(), column.data_type(), field.data_type());
            Err(misfit(&batch.stream, reason))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let identity = match named("_uid") {
        Some(uids) => Identity::Uid(uids.as_fixed_size_binary().clone()),
        None => Identity::Raw { stream: stream.name.as_str().into(), bytes: identity_bytes(batch)? },
    };
    let columns = batch_of(Arc::clone(schema), columns, rows.num_rows())?;
    Ok(Rows { columns, time, identity, arrival, late: None, provisional: None })
}

/// The uids of decoded records of a stream (see [`Uid::of_record`](crate::Uid::of_record)), for those who keep all rows.
///
/// # Errors
/// A batch without raw bytes.
pub fn record_uids(batch: &SourceBatch) -> Result<arrow::array::FixedSizeBinaryArray, EngineError> {
    let bytes = identity_bytes(batch)?;
    let uid = |raw: Option<&[u8]>| crate::Uid::of_record(&batch.stream, raw.unwrap_or_default());
    Ok(crate::rows::uid_array(bytes.iter().map(uid)))
}

/// What a row's uid is hashed from: the sender's own id where there is one, else the raw bytes.
fn identity_bytes(batch: &SourceBatch) -> Result<BinaryViewArray, EngineError> {
    let raw = batch
        .rows
        .column_by_name(system::RAW)
        .and_then(|raw| raw.as_binary_view_opt())
        .ok_or_else(|| misfit(&batch.stream, "`_raw` is missing or not BinaryView"))?;
    let Some(ids) = batch.rows.column_by_name("_event_id").and_then(|ids| ids.as_string_view_opt()) else {
        return Ok(raw.clone());
    };
    Ok((0..raw.len())
        .map(|row| Some(if ids.is_valid(row) { ids.value(row).as_bytes() } else { raw.value(row) }))
        .collect())
}
