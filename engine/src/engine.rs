//! All workers of a program in one synchronous value: what replays, rule tests and property tests run.
//!
//! Frames between workers are handed over at once, in the order in which they were sent, so the result depends on
//! nothing but the facts that were given.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::batch::{PartitionId, SourceBatch};
use crate::error::EngineError;
use crate::frame::Frame;
use crate::output::{Hit, LateEvent, StreamCounts};
use crate::program::Program;
use crate::snapshot::{Scope, WorkerSnapshot};
use crate::table::TableVersion;
use crate::worker::{Worker, WorkerOutput};

/// A program at work.
pub struct Engine {
    workers: Vec<Worker>,
    /// The worker of each partition; partitions are dealt out in the order in which they are first named.
    partitions: BTreeMap<(String, PartitionId), usize>,
    epoch: u64,
    failures: u64,
    has_started: bool,
}

/// What an engine hands out.
#[derive(Debug, Default)]
pub struct Outputs {
    /// Hits, in the order in which they were stated.
    pub hits: Vec<Hit>,
    /// Rows that stateful operators did not see.
    pub late: Vec<LateEvent>,
}

impl Engine {
    /// An engine without state.
    ///
    /// # Errors
    /// A look-up table that is missing or whose rows do not fit.
    pub fn new(program: Arc<Program>, parallelism: usize, tables: &[TableVersion]) -> Result<Self, EngineError> {
        let count = parallelism.clamp(1, crate::canonical::KEY_GROUPS as usize) as u32;
        let workers = (0..count)
            .map(|index| Worker::new(Arc::clone(&program), index, count, tables))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self { workers, partitions: BTreeMap::new(), epoch: 0, failures: 0, has_started: false })
    }

    /// Announces a partition; a stream waits for all its partitions.
    pub fn add_partition(&mut self, stream: &str, partition: PartitionId) {
        let worker = self.worker_of(stream, partition);
        self.workers[worker].add_partition(stream, partition);
    }

    /// Says that all partitions have been announced: a stream or worker without any holds nothing back from now on.
    /// Without this call nothing that waits for such a stream closes before [`Self::finish`].
    pub const fn start(&mut self) {
        self.has_started = true;
    }

    /// Takes a batch of one partition.
    ///
    /// # Errors
    /// A batch of another shape than the program's columns.
    pub fn push(&mut self, batch: SourceBatch) -> Result<Outputs, EngineError> {
        let worker = self.worker_of(&batch.stream, batch.partition);
        self.step(|engine, output| engine.workers[worker].push(batch, output), worker)
    }

    /// The end of a partition.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub fn end_partition(&mut self, stream: &str, partition: PartitionId) -> Result<Outputs, EngineError> {
        let worker = self.worker_of(stream, partition);
        self.step(|engine, output| engine.workers[worker].end_partition(stream, partition, output), worker)
    }

    /// A partition has been silent for so long that it does not hold the others back any more.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub fn idle_partition(&mut self, stream: &str, partition: PartitionId) -> Result<Outputs, EngineError> {
        let worker = self.worker_of(stream, partition);
        self.step(|engine, output| engine.workers[worker].idle_partition(stream, partition, output), worker)
    }

    /// The end of all input: windows close.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub fn finish(&mut self) -> Result<Outputs, EngineError> {
        let mut outputs = Outputs::default();
        for worker in 0..self.workers.len() {
            let more = self.step(|engine, output| engine.workers[worker].finish(output), worker)?;
            outputs.extend(more);
        }
        Ok(outputs)
    }

    /// Ends an epoch: what is stated with its end, and the state of all workers at this point.
    ///
    /// # Errors
    /// An operator that cannot save its state.
    pub fn snapshot(&mut self) -> Result<(Outputs, Vec<WorkerSnapshot>), EngineError> {
        self.end_epoch(Scope::Whole)
    }

    /// Ends an epoch: what is stated with its end, and the state of all workers, or what has changed of it since the epoch
    /// before.
    ///
    /// # Errors
    /// An operator that cannot save its state.
    pub fn end_epoch(&mut self, scope: Scope) -> Result<(Outputs, Vec<WorkerSnapshot>), EngineError> {
        self.epoch += 1;
        let epoch = self.epoch;
        let mut snapshots: Vec<Option<WorkerSnapshot>> = vec![None; self.workers.len()];
        let mut inbox = VecDeque::new();
        let mut outputs = Outputs::default();
        for worker in 0..self.workers.len() {
            let mut output = WorkerOutput::default();
            self.workers[worker].barrier(epoch, scope, &mut output)?;
            self.collect(worker, output, &mut inbox, &mut outputs, &mut snapshots);
        }
        self.deliver(inbox, &mut outputs, &mut snapshots)?;
        let snapshots = snapshots
            .into_iter()
            .map(|snapshot| {
                snapshot.ok_or_else(|| EngineError::Snapshot("a worker did not finish its epoch".to_owned()))
            })
            .collect::<Result<_, _>>()?;
        Ok((outputs, snapshots))
    }

    /// Takes up a state that any number of workers saved. Call it before any batch.
    ///
    /// # Errors
    /// A snapshot of another program or format.
    pub fn restore(&mut self, parts: &[WorkerSnapshot]) -> Result<(), EngineError> {
        let saved: Vec<(String, PartitionId)> = parts
            .iter()
            .flat_map(|part| part.partitions().map(|(stream, partition)| (stream.to_owned(), partition)))
            .collect();
        for (stream, partition) in &saved {
            self.worker_of(stream, *partition);
        }
        let partitions = self.partitions.clone();
        for (index, worker) in self.workers.iter_mut().enumerate() {
            let owns = |stream: &str, partition: PartitionId| {
                partitions.get(&(stream.to_lowercase(), partition)) == Some(&index)
            };
            worker.restore(parts, &owns)?;
        }
        Ok(())
    }

    /// What happened to the rows of each stream so far.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<String, StreamCounts> {
        let mut counts: BTreeMap<String, StreamCounts> = BTreeMap::new();
        for (stream, more) in self.workers.iter().flat_map(Worker::counts) {
            let sum = counts.entry(stream.to_owned()).or_default();
            sum.rows += more.rows;
            sum.on_time += more.on_time;
            sum.late += more.late;
        }
        counts
    }

    /// Values that could not be computed and are NULL.
    #[must_use]
    pub const fn failures(&self) -> u64 {
        self.failures
    }

    fn worker_of(&mut self, stream: &str, partition: PartitionId) -> usize {
        let next = self.partitions.len() % self.workers.len();
        *self.partitions.entry((stream.to_lowercase(), partition)).or_insert(next)
    }

    fn step(
        &mut self,
        act: impl FnOnce(&mut Self, &mut WorkerOutput) -> Result<(), EngineError>,
        worker: usize,
    ) -> Result<Outputs, EngineError> {
        let mut output = WorkerOutput::default();
        act(self, &mut output)?;
        let mut outputs = Outputs::default();
        let mut inbox = VecDeque::new();
        self.collect(worker, output, &mut inbox, &mut outputs, &mut []);
        if self.has_started {
            self.yield_idle_workers(&mut inbox, &mut outputs)?;
        }
        self.deliver(inbox, &mut outputs, &mut [])?;
        Ok(outputs)
    }

    /// Workers without a partition of a stream do not hold it back, once its partitions are known.
    fn yield_idle_workers(
        &mut self,
        inbox: &mut VecDeque<(u32, Frame)>,
        outputs: &mut Outputs,
    ) -> Result<(), EngineError> {
        for worker in 0..self.workers.len() {
            let mut output = WorkerOutput::default();
            self.workers[worker].without_partitions(&mut output)?;
            self.collect(worker, output, inbox, outputs, &mut []);
        }
        Ok(())
    }

    fn deliver(
        &mut self,
        mut inbox: VecDeque<(u32, Frame)>,
        outputs: &mut Outputs,
        snapshots: &mut [Option<WorkerSnapshot>],
    ) -> Result<(), EngineError> {
        while let Some((receiver, frame)) = inbox.pop_front() {
            let mut output = WorkerOutput::default();
            self.workers[receiver as usize].receive(frame, &mut output)?;
            self.collect(receiver as usize, output, &mut inbox, outputs, snapshots);
        }
        Ok(())
    }

    fn collect(
        &mut self,
        worker: usize,
        output: WorkerOutput,
        inbox: &mut VecDeque<(u32, Frame)>,
        outputs: &mut Outputs,
        snapshots: &mut [Option<WorkerSnapshot>],
    ) {
        inbox.extend(output.frames);
        outputs.hits.extend(output.hits.into_iter().map(|(_, hit)| hit));
        outputs.late.extend(output.late.into_iter().map(|(_, late)| late));
        self.failures += output.failures;
        if let (Some((_, snapshot)), Some(slot)) = (output.snapshot, snapshots.get_mut(worker)) {
            *slot = Some(snapshot);
        }
    }
}

impl Outputs {
    /// Adds what came later.
    pub fn extend(&mut self, more: Self) {
        self.hits.extend(more.hits);
        self.late.extend(more.late);
    }
}

#[cfg(test)]
mod tests;
