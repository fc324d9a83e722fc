//! Ways to run a program: through the engine, or by workers whose frames arrive in any order that their edges allow.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use proptest::prelude::*;

use super::events::{Event, Partition, source_batch, table};
use super::twin::judged;
use crate::engine::tests::epochs::Epochs;
use crate::{
    Engine, Frame, Hit, LateEvent, Outputs, PartitionId, Program, Scope, SourceBatch, Worker, WorkerOutput,
    WorkerSnapshot,
};

/// How events are cut, in which order they come, and who does the work.
#[derive(Debug, Clone)]
pub(super) struct Way {
    workers: u32,
    /// Rows of each batch, over and over.
    cuts: Vec<usize>,
    /// Draws: which partition is next, which edge delivers next, and how often.
    draws: Vec<usize>,
    /// After how many batches everything stops, and how many workers go on.
    restart: Option<(usize, u32)>,
    /// Whether a partition is ended as soon as it has no more events.
    ends_early: bool,
    /// Whether frames wait on their edges and go through bytes, rather than arrive at once.
    is_scattered: bool,
}

pub(super) fn way() -> impl Strategy<Value = Way> {
    let workers = || prop::sample::select(vec![1_u32, 2, 4]);
    let cuts = prop::collection::vec(1_usize..8, 1..4);
    let draws = prop::collection::vec(0_usize..64, 1..8);
    let restart = prop::option::of((0_usize..12, workers()));
    (workers(), cuts, draws, restart, any::<bool>(), any::<bool>()).prop_map(
        |(workers, cuts, draws, restart, ends_early, is_scattered)| Way {
            workers,
            cuts,
            draws,
            restart,
            ends_early,
            is_scattered,
        },
    )
}

/// What happens to a program, one after the other.
enum Step {
    Push(SourceBatch),
    End(&'static str, PartitionId),
    Restart(u32),
}

/// Runs a program over all events; gives hits in the order in which they left, and late events.
pub(super) fn run(program: &Arc<Program>, partitions: &[Partition], way: &Way) -> (Vec<Hit>, Vec<LateEvent>) {
    let read: Vec<&Partition> =
        partitions.iter().filter(|partition| program.columns(partition.stream).is_some()).collect();
    let steps = steps(program, &read, way);
    let outputs =
        if way.is_scattered { scattered(program, &read, way, &steps) } else { in_engine(program, &read, way, steps) };
    (outputs.hits, outputs.late)
}

fn steps(program: &Program, partitions: &[&Partition], way: &Way) -> Vec<Step> {
    let mut steps = vec![];
    let mut at = vec![0; partitions.len()];
    let (mut cuts, mut draws) = (way.cuts.iter().cycle(), way.draws.iter().cycle());
    let mut pushed = 0;
    loop {
        if way.restart.is_some_and(|(after, _)| after == pushed) {
            steps.extend(way.restart.map(|(_, workers)| Step::Restart(workers)));
        }
        let open: Vec<usize> =
            (0..partitions.len()).filter(|index| at[*index] < partitions[*index].events.len()).collect();
        if open.is_empty() {
            return steps;
        }
        let index = open[draws.next().copied().unwrap_or(0) % open.len()];
        let partition = partitions[index];
        let until = partition.events.len().min(at[index] + cuts.next().copied().unwrap_or(1));
        steps.push(Step::Push(source_batch(program, partition, &partition.events[at[index]..until])));
        at[index] = until;
        pushed += 1;
        if way.ends_early && until == partition.events.len() {
            steps.push(Step::End(partition.stream, PartitionId(partition.number)));
        }
    }
}

fn through_bytes(snapshots: &[WorkerSnapshot]) -> Vec<WorkerSnapshot> {
    let bytes = snapshots.iter().map(|snapshot| snapshot.to_bytes().expect("bytes"));
    bytes.map(|bytes| WorkerSnapshot::from_bytes(&bytes).expect("own bytes")).collect()
}

fn in_engine(program: &Arc<Program>, partitions: &[&Partition], way: &Way, steps: Vec<Step>) -> Outputs {
    let started = |workers: u32| {
        let mut engine = Engine::new(Arc::clone(program), workers as usize, &[table()]).expect("tables are given");
        partitions.iter().for_each(|of| engine.add_partition(of.stream, PartitionId(of.number)));
        engine
    };
    let mut engine = started(way.workers);
    engine.start();
    let mut outputs = Outputs::default();
    let mut epochs = way.restart.map(|_| Epochs::default());
    for (number, step) in steps.into_iter().enumerate() {
        let ends_epoch = number % 3 == 0 || matches!(step, Step::Restart(_));
        if let Some(epochs) = epochs.as_mut().filter(|_| ends_epoch) {
            outputs.extend(epochs.end(&mut engine));
        }
        match step {
            Step::Push(batch) => outputs.extend(engine.push(batch).expect("a batch of its own program")),
            Step::End(stream, number) => outputs.extend(engine.end_partition(stream, number).expect("an end")),
            Step::Restart(workers) => {
                let saved = epochs.take().expect("a run that is restarted ends epochs").state();
                engine = started(workers);
                engine.restore(&saved).expect("own snapshot");
                engine.start();
            }
        }
    }
    outputs.extend(engine.finish().expect("the end"));
    outputs
}

/// Runs a program as a replay of the archive does: every stream in the order of time and uid, in batches of five, and what
/// was late is known to be.
pub(super) fn from_archive(program: &Arc<Program>, partitions: &[Partition]) -> Vec<Hit> {
    let mut engine = Engine::new(Arc::clone(program), 1, &[table()]).expect("tables are given");
    let streams: Vec<&'static str> =
        ["r", "s"].into_iter().filter(|stream| program.columns(stream).is_some()).collect();
    streams.iter().for_each(|stream| engine.add_partition(stream, PartitionId(0)));
    engine.start();
    let mut hits = vec![];
    for stream in streams {
        let mut rows: Vec<(Event, i64)> = partitions
            .iter()
            .filter(|partition| partition.stream == stream)
            .flat_map(|partition| {
                let verdicts = partition.events.iter().cloned().zip(judged(partition));
                verdicts.map(|(event, late)| (event, late.map_or(0, |_| i64::MAX))).collect::<Vec<_>>()
            })
            .collect();
        rows.sort_by_key(|(event, _)| (event.time, event.uid(stream)));
        let partition = Partition { stream, number: 0, events: vec![] };
        for rows in rows.chunks(5) {
            let (events, late_us): (Vec<Event>, Vec<i64>) = rows.iter().cloned().unzip();
            let batch = SourceBatch { late_us: Some(late_us), ..source_batch(program, &partition, &events) };
            hits.extend(engine.push(batch).expect("a batch of its own program").hits);
        }
    }
    hits.extend(engine.finish().expect("the end").hits);
    hits
}

/// Workers, and frames under way between them.
struct Cluster {
    workers: Vec<Worker>,
    /// Frames in order, by edge, sender and receiver.
    under_way: BTreeMap<(u32, u32, u32), VecDeque<Vec<u8>>>,
    draws: Vec<usize>,
    drawn: usize,
    /// What came out, with the number of barriers before it.
    hits: Vec<(u64, Hit)>,
    late: Vec<(u64, LateEvent)>,
    snapshots: Vec<WorkerSnapshot>,
    owners: BTreeMap<(&'static str, PartitionId), usize>,
}

fn scattered(program: &Arc<Program>, partitions: &[&Partition], way: &Way, steps: &[Step]) -> Outputs {
    let mut cluster = Cluster::new(program, partitions, way.workers, &way.draws);
    cluster.on_each(|worker, output| worker.without_partitions(output));
    for (at, step) in steps.iter().enumerate() {
        match step {
            Step::Push(batch) => cluster.push(batch.clone()),
            Step::End(stream, number) => {
                let owner = cluster.owners[&(*stream, *number)];
                cluster.on(owner, |worker, output| worker.end_partition(stream, *number, output));
            }
            Step::Restart(workers) => {
                let saved = cluster.crash(&steps[at + 1..]);
                let (hits, late) = (cluster.hits, cluster.late);
                cluster = Cluster::new(program, partitions, *workers, &way.draws);
                (cluster.hits, cluster.late) = (hits, late);
                cluster.restore(&saved);
                cluster.on_each(|worker, output| worker.without_partitions(output));
            }
        }
        let some = cluster.draw() % 6;
        cluster.deliver(some);
    }
    cluster.on_each(|worker, output| worker.finish(output));
    cluster.deliver(usize::MAX);
    Outputs {
        hits: cluster.hits.into_iter().map(|(_, hit)| hit).collect(),
        late: cluster.late.into_iter().map(|(_, late)| late).collect(),
    }
}

impl Cluster {
    fn new(program: &Arc<Program>, partitions: &[&Partition], workers: u32, draws: &[usize]) -> Self {
        let owners: BTreeMap<_, _> = partitions
            .iter()
            .enumerate()
            .map(|(index, of)| ((of.stream, PartitionId(of.number)), index % workers as usize))
            .collect();
        let mut all: Vec<Worker> = (0..workers)
            .map(|index| Worker::new(Arc::clone(program), index, workers, &[table()]).expect("tables are given"))
            .collect();
        owners.iter().for_each(|((stream, number), owner)| all[*owner].add_partition(stream, *number));
        Self {
            workers: all,
            under_way: BTreeMap::new(),
            draws: draws.to_vec(),
            drawn: 0,
            hits: vec![],
            late: vec![],
            snapshots: vec![],
            owners,
        }
    }

    fn draw(&mut self) -> usize {
        self.drawn += 1;
        self.draws[self.drawn % self.draws.len()] + self.drawn
    }

    fn on(
        &mut self,
        worker: usize,
        act: impl FnOnce(&mut Worker, &mut WorkerOutput) -> Result<(), crate::EngineError>,
    ) {
        let mut output = WorkerOutput::default();
        act(&mut self.workers[worker], &mut output).expect("facts that fit");
        for (receiver, frame) in output.frames {
            let bytes = frame.to_bytes().expect("a frame has bytes");
            self.under_way.entry((frame.edge, frame.worker, receiver)).or_default().push_back(bytes);
        }
        self.hits.extend(output.hits);
        self.late.extend(output.late);
        self.snapshots.extend(output.snapshot.map(|(_, snapshot)| snapshot));
    }

    fn on_each(&mut self, act: impl Fn(&mut Worker, &mut WorkerOutput) -> Result<(), crate::EngineError>) {
        (0..self.workers.len()).for_each(|worker| self.on(worker, &act));
    }

    /// Delivers up to so many frames, each the first of an edge that is drawn.
    fn deliver(&mut self, count: usize) {
        for _ in 0..count {
            let waiting: Vec<(u32, u32, u32)> =
                self.under_way.iter().filter(|(_, frames)| !frames.is_empty()).map(|(edge, _)| *edge).collect();
            if waiting.is_empty() {
                return;
            }
            let edge = waiting[self.draw() % waiting.len()];
            let bytes = self.under_way.get_mut(&edge).and_then(VecDeque::pop_front).expect("a frame is waiting");
            let frame = Frame::from_bytes(&bytes).expect("own bytes");
            self.on(edge.2 as usize, |worker, output| worker.receive(frame, output));
        }
    }

    fn push(&mut self, batch: SourceBatch) {
        let owner = self.owners[&(if &*batch.stream == "s" { "s" } else { "r" }, batch.partition)];
        self.on(owner, |worker, output| worker.push(batch, output));
    }

    /// Ends an epoch, works on into the next while others have not ended it, and loses all that came after the barrier.
    fn crash(&mut self, ahead: &[Step]) -> Vec<WorkerSnapshot> {
        let count = self.workers.len();
        let first = self.draw();
        for worker in (0..count).map(|offset| (first + offset) % count) {
            self.on(worker, |worker, output| worker.barrier(1, Scope::Whole, output));
            let owned = |batch: &SourceBatch| {
                let mut of_worker = self.owners.iter().filter(|(_, owner)| **owner == worker);
                of_worker.any(|((stream, number), _)| *stream == &*batch.stream && *number == batch.partition)
            };
            let next = ahead.iter().find_map(|step| match step {
                Step::Push(batch) if owned(batch) => Some(batch.clone()),
                _ => None,
            });
            next.into_iter().for_each(|batch| self.push(batch));
            let some = self.draw() % 4;
            self.deliver(some);
        }
        self.deliver(usize::MAX);
        self.hits.retain(|(barriers, _)| *barriers == 0);
        self.late.retain(|(barriers, _)| *barriers == 0);
        let saved = through_bytes(&self.snapshots);
        assert_eq!(saved.len(), count, "every worker ends its epoch");
        saved
    }

    fn restore(&mut self, saved: &[WorkerSnapshot]) {
        let owners = self.owners.clone();
        for (index, worker) in self.workers.iter_mut().enumerate() {
            let owns = |stream: &str, partition: PartitionId| {
                owners.iter().any(|((of, number), owner)| *of == stream && *number == partition && *owner == index)
            };
            worker.restore(saved, &owns).expect("own snapshot");
        }
    }
}
