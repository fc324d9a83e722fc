//! A worker: every operator of the graph, for the partitions and key groups that it owns.
//!
//! A worker is one synchronous value. Batches, frames and barriers go in; frames for other workers, hits and late events
//! come out. Within a worker, items wait in one queue and are handled first in, first out, so that each edge keeps its
//! order. An operator with several inputs or senders holds back what comes behind a barrier until all have sent it.

mod epoch;
mod hurry;
mod idle;
mod late;
mod meter;
mod quarantine;
mod send;
mod source;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use crate::batch::{PartitionId, SourceBatch};
use crate::clock::{Judged, PartitionClock};
use crate::error::EngineError;
use crate::frame::{Frame, FrameBody};
use crate::graph::{NodeId, Spec};
use crate::late_events::LATE_EVENTS;
use crate::operator::{Operator, Outbox, build};
use crate::output::{Hit, LateEvent, StreamCounts};
use crate::program::{Program, consumers, sources};
use crate::rows::Rows;
use crate::snapshot::{Saved, SavedClocks, Scope, WorkerSnapshot};
use crate::table::TableVersion;
use crate::time::EventTime;
use meter::Meters;
pub use meter::{QueryMeter, Stopwatch};
pub use quarantine::OperatorFault;
use send::edge_target;
pub use source::record_uids;
use source::{SourceState, misfit, rows_of};

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
    /// Operators that failed, each with the number of barriers that it had passed.
    pub faults: Vec<(u64, OperatorFault)>,
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
    snapshots: BTreeMap<NodeId, Saved>,
    /// What this epoch's snapshot holds.
    scope: Scope,
    /// The clocks as they were at the barrier.
    clocks: SavedClocks,
    /// Which nodes only queries in quarantine need, at the latest barrier.
    unneeded: Vec<bool>,
    contains_faults: bool,
    meters: Meters,
}

struct NodeState {
    operator: Box<dyn Operator>,
    inputs: Vec<InputState>,
    watermark: EventTime,
    /// Whether all that it reads is idle.
    is_idle: bool,
    held: VecDeque<Arrival>,
    /// Barriers that the node has passed.
    barriers: u64,
    /// Whether it gets no rows.
    is_quarantined: bool,
    /// Whether its operator has another past than what was saved.
    is_renewed: bool,
    /// Whether its operator tells what waits as soon as it waits.
    is_in_a_hurry: bool,
}

/// One input of a node: a channel per sender.
struct InputState {
    channels: Vec<Channel>,
}

#[derive(Clone, Copy)]
struct Channel {
    watermark: EventTime,
    is_at_barrier: bool,
    /// Whether it holds nothing back, because nothing has come from there for long.
    is_idle: bool,
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
    Idle(bool),
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
            let schemas: Vec<_> = node.inputs.iter().map(|edge| Arc::clone(&graph.nodes[edge.from].schema)).collect();
            let channel = Channel { watermark: EventTime::MIN, is_at_barrier: false, is_idle: false };
            let inputs = node
                .inputs
                .iter()
                .map(|edge| InputState {
                    channels: vec![channel; if edge.exchange.is_some() { workers as usize } else { 1 }],
                })
                .collect();
            let operator = build(node, &schemas)?;
            nodes.push(NodeState {
                operator,
                inputs,
                watermark: EventTime::MIN,
                is_idle: false,
                held: VecDeque::new(),
                barriers: 0,
                is_quarantined: false,
                is_renewed: false,
                is_in_a_hurry: false,
            });
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
        let (consumers, unneeded) = (consumers(graph), vec![false; graph.nodes.len()]);
        let meters = Meters::new(graph.nodes.iter().map(|node| node.inputs.len()));
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
            scope: Scope::Whole,
            clocks: SavedClocks::new(),
            unneeded,
            contains_faults: false,
            meters,
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
    ///
    /// # Errors
    /// A saved row that is none of the stream.
    pub fn resume_partition(
        &mut self,
        stream: &str,
        partition: PartitionId,
        saved: (&WorkerSnapshot, PartitionId),
    ) -> Result<(), EngineError> {
        self.add_partition(stream, partition);
        let key = stream.to_lowercase();
        let (part, number) = saved;
        let clock = part.clocks(&key).find(|(saved, _)| **saved == number).map(|(_, clock)| clock);
        let Some((saved, source)) = clock.zip(self.sources.get_mut(&key)) else { return Ok(()) };
        let columns = &self.program.graph.nodes[source.node].schema;
        source.partitions.get_mut(&partition).map_or(Ok(()), |clock| saved.apply(clock, columns))
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
        let judged = clock.judge(rows, batch.late_us.as_deref())?;
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
        self.advance(stream, output)?;
        self.rest(stream, output)?;
        self.advance_late_events(output)
    }

    /// No partition of this worker will send anything more, whatever is announced or not.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub fn finish(&mut self, output: &mut WorkerOutput) -> Result<(), EngineError> {
        let mut streams: Vec<(String, Vec<PartitionId>)> = self
            .sources
            .iter()
            .map(|(name, source)| (name.clone(), source.partitions.keys().copied().collect()))
            .collect();
        // What the others hold to the end may turn out to be late.
        streams.sort_by_key(|(name, _)| name == LATE_EVENTS);
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
            .filter(|(name, source)| *name != LATE_EVENTS && source.partitions.is_empty())
            .map(|(name, _)| name.clone())
            .collect();
        empty.iter().try_for_each(|stream| self.emit_watermark(stream, EventTime::MAX, output))?;
        self.advance_late_events(output)
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
            FrameBody::Idle(is_idle) => Item::Idle(is_idle),
        };
        self.queue.push_back(Arrival { node, input, sender: frame.worker as usize, item });
        self.run(output)
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
        let key = stream.to_lowercase();
        let Some(source) = self.sources.get_mut(&key) else { return Ok(()) };
        let rows: usize = judged.parts.iter().map(Rows::len).sum();
        source.counts.late += judged.late.len() as u64;
        source.counts.on_time += (rows - judged.late.len()) as u64;
        let node = source.node;
        self.rest(stream, output)?;
        self.report_late(&key, partition, &judged, output)?;
        self.meters.count(node, 0, rows);
        for part in judged.parts {
            let mut out = Outbox::default();
            self.nodes[node].operator.rows(0, part, &mut out)?;
            self.hand_on(node, &out.rows, None, false, output)?;
        }
        self.run(output)?;
        self.advance(stream, output)?;
        self.advance_late_events(output)
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
        let mut lap = self.meters.lap();
        while let Some(arrival) = self.queue.pop_front() {
            let node = arrival.node;
            self.handle(arrival, output)?;
            lap = self.meters.spent(node, lap);
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
        match item {
            Item::Rows(rows) => {
                if rows.is_empty() || state.is_quarantined {
                    return Ok(());
                }
                self.meters.count(node, input, rows.len());
                let out = self.take(node, input, *rows, output)?;
                self.leave((node, input), out, None, output)
            }
            Item::Watermark(watermark) => {
                let channel = &mut state.inputs[input].channels[sender];
                channel.watermark = channel.watermark.max(watermark);
                self.pass_watermark((node, input), output)
            }
            Item::Idle(is_idle) => {
                state.inputs[input].channels[sender].is_idle = is_idle;
                self.pass_watermark((node, input), output)
            }
            Item::Barrier => {
                state.inputs[input].channels[sender].is_at_barrier = true;
                if state.is_aligned() { self.pass_barrier(node, output) } else { Ok(()) }
            }
        }
    }

    /// Hands on what an operator put out when something came by one of its inputs.
    fn leave(
        &mut self,
        (node, input): (NodeId, usize),
        out: Outbox,
        watermark: Option<EventTime>,
        output: &mut WorkerOutput,
    ) -> Result<(), EngineError> {
        output.failures += out.failures;
        let barriers = self.nodes[node].barriers;
        output.hits.extend(out.hits.into_iter().map(|hit| (barriers, hit)));
        for rows in &out.idle {
            self.note_idle((node, input), rows, output);
        }
        self.hand_on(node, &out.rows, watermark, false, output)
    }
}

impl NodeState {
    fn is_aligned(&self) -> bool {
        self.inputs.iter().flat_map(|input| &input.channels).all(|channel| channel.is_at_barrier)
    }
}
