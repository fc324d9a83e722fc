//! The protocol in small, tried in every order: up to three starts of which two overlap, a death between any two steps, and
//! answers that get lost. What must hold is checked in every state that can be reached.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};

use super::*;

/// So often a process is started, in places for two.
const STARTS: u8 = 3;

/// Everything that outlives a process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct World {
    /// So many are committed at most.
    epochs: u64,
    /// The parts that each manifest names, as the epoch and the start that wrote them.
    manifests: BTreeMap<u64, BTreeSet<(u64, u8)>>,
    parts: BTreeSet<(u64, u8)>,
    /// Epochs whose outputs `read_committed` consumers see, in order, and the cursor in the same transactions.
    delivered: Vec<u64>,
    /// The start that may commit transactions.
    producer: u8,
    /// Epochs whose runs are journaled, and the note of it beside the manifests.
    runs: BTreeSet<u64>,
    note: Option<u64>,
    starts: u8,
    /// Whether two processes have run at once since this one started.
    has_overlapped: bool,
    processes: [Process; 2],
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
enum Process {
    #[default]
    Down,
    /// It has taken over the transactions.
    TakenOver {
        start: u8,
    },
    /// It has read the outputs' cursor.
    Asked {
        start: u8,
        delivered: u64,
    },
    Running(Running),
}

/// How far the next epoch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Step {
    Idle,
    Written,
    Created,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Running {
    start: u8,
    /// The last epoch that it knows to be committed.
    committed: u64,
    step: Step,
    /// The parts that its next manifest goes on from.
    chain: BTreeSet<(u64, u8)>,
    delivered: u64,
    is_sending: bool,
    handed_over: u64,
    has_journaled: bool,
}

impl World {
    /// All states that one step of process `at` may lead to.
    fn steps(&self, at: usize) -> Vec<Self> {
        match &self.processes[at] {
            Process::Down if self.starts < STARTS => {
                let start = self.starts + 1;
                // Initialising the transactions ends those of every earlier start.
                let has_overlapped = self.processes[1 - at] != Process::Down;
                let world = self.with(at, Process::TakenOver { start });
                vec![Self { starts: start, producer: start, has_overlapped, ..world }]
            }
            Process::Down => vec![],
            Process::TakenOver { start } => {
                let delivered = self.delivered.last().copied().unwrap_or(0);
                vec![self.with(at, Process::Asked { start: *start, delivered })]
            }
            Process::Asked { start, delivered } => vec![self.resumed(at, *start, *delivered)],
            Process::Running(running) => {
                let mut next = vec![self.with(at, Process::Down)];
                next.extend(self.epoch(at, running));
                next.extend(self.to_kafka(at, running));
                next.extend(self.to_playbooks(at, running));
                next.extend(self.retained(running));
                next
            }
        }
    }

    fn with(&self, at: usize, process: Process) -> Self {
        let mut world = self.clone();
        world.processes[at] = process;
        world
    }

    fn running(&self, at: usize, running: &Running, change: impl FnOnce(&mut Running)) -> Self {
        let mut running = running.clone();
        change(&mut running);
        self.with(at, Process::Running(running))
    }

    fn resumed(&self, at: usize, start: u8, delivered: u64) -> Self {
        let newest = self.manifests.last_key_value().map(|(epoch, _)| *epoch);
        let committed = newest.unwrap_or(0);
        assert!(!is_set_back(committed, delivered) && !is_set_back(committed, self.note.unwrap_or(0)), "{self:#?}");
        let oldest = self.manifests.first_key_value().map(|(epoch, _)| *epoch);
        let running = Running {
            start,
            committed,
            step: Step::Idle,
            chain: BTreeSet::new(),
            delivered,
            is_sending: false,
            handed_over: noted_cursor(self.note, oldest),
            has_journaled: false,
        };
        self.with(at, Process::Running(running))
    }

    /// Parts first, then the manifest, which only one can create; then a look at the one before it, which tells whether it
    /// was there before and is deleted.
    fn epoch(&self, at: usize, running: &Running) -> Vec<Self> {
        let epoch = running.committed + 1;
        let part = (epoch, running.start);
        match running.step {
            Step::Idle if epoch > self.epochs => vec![],
            Step::Idle => {
                let mut world = self.running(at, running, |running| running.step = Step::Written);
                world.parts.insert(part);
                vec![world]
            }
            Step::Written if self.manifests.contains_key(&epoch) => vec![self.with(at, Process::Down)],
            Step::Written => {
                let mut world = self.running(at, running, |running| {
                    running.chain.insert(part);
                    running.step = Step::Created;
                });
                let chain = running.chain.iter().copied().chain([part]).collect();
                world.manifests.insert(epoch, chain);
                vec![world]
            }
            Step::Created => {
                let is_overtaken = match epoch {
                    1 => self.newest() > 1,
                    _ => !self.manifests.contains_key(&(epoch - 1)),
                };
                if is_overtaken {
                    return vec![self.with(at, Process::Down)];
                }
                vec![self.running(at, running, |running| (running.committed, running.step) = (epoch, Step::Idle))]
            }
        }
    }

    fn newest(&self) -> u64 {
        self.manifests.last_key_value().map_or(0, |(epoch, _)| *epoch)
    }

    fn to_kafka(&self, at: usize, running: &Running) -> Vec<Self> {
        let Some(epoch) = due(running.delivered, running.committed) else { return vec![] };
        if !running.is_sending {
            return match self.manifests.contains_key(&epoch) {
                true => vec![self.running(at, running, |running| running.is_sending = true)],
                false => vec![self.stuck(at, epoch)],
            };
        }
        if self.producer != running.start {
            return vec![self.with(at, Process::Down)];
        }
        let mut done = self.running(at, running, |running| (running.delivered, running.is_sending) = (epoch, false));
        done.delivered.push(epoch);
        // An answer that does not come ends the process.
        let aborted = self.running(at, running, |running| running.is_sending = false);
        vec![done.with(at, Process::Down), done, aborted]
    }

    fn to_playbooks(&self, at: usize, running: &Running) -> Vec<Self> {
        let Some(epoch) = due(running.handed_over, running.committed) else { return vec![] };
        if !running.has_journaled {
            if !self.manifests.contains_key(&epoch) {
                return vec![self.stuck(at, epoch)];
            }
            let mut world = self.running(at, running, |running| running.has_journaled = true);
            world.runs.insert(epoch);
            return vec![world];
        }
        let mut world =
            self.running(at, running, |running| (running.handed_over, running.has_journaled) = (epoch, false));
        world.note = Some(epoch);
        vec![world]
    }

    /// While an older process does not know yet that it was overtaken, it may deliver and delete what this one still wanted
    /// to deliver. Then this one ends, and the next start knows. Nobody else may miss anything.
    fn stuck(&self, at: usize, epoch: u64) -> Self {
        assert!(self.has_overlapped, "a process lacks epoch {epoch}: {self:#?}");
        self.with(at, Process::Down)
    }

    /// The oldest manifest goes first, then parts that none names any more. The newest two always stay.
    fn retained(&self, running: &Running) -> Vec<Self> {
        let needed = needed_from(running.committed, [running.delivered, running.handed_over].into_iter());
        let from = needed.min(self.newest().saturating_sub(1));
        let mut next = vec![];
        if let Some((epoch, _)) = self.manifests.first_key_value().filter(|(epoch, _)| **epoch < from) {
            let mut world = self.clone();
            world.manifests.remove(epoch);
            next.push(world);
        } else {
            let needed = |part: &(u64, u8)| self.manifests.values().any(|parts| parts.contains(part));
            let old = self.parts.iter().find(|part| part.0 < from && !needed(part));
            next.extend(old.map(|part| {
                let mut world = self.clone();
                world.parts.remove(part);
                world
            }));
        }
        next
    }

    fn check(&self) {
        let in_order = self.delivered.iter().copied().eq(1..=self.delivered.len() as u64);
        assert!(in_order, "each epoch is delivered once and in order: {self:#?}");
        assert!(self.delivered.len() as u64 <= self.newest(), "only what is committed is delivered: {self:#?}");
        // One that a process which was overtaken created again is never read.
        let newest = self.manifests.last_key_value().into_iter().flat_map(|(_, parts)| parts);
        assert!(newest.into_iter().all(|part| self.parts.contains(part)), "what a start reads is whole: {self:#?}");
    }

    /// What is left when all processes are dead, and one more has taken over.
    fn taken_over(&self) -> Self {
        let start = STARTS + 1;
        let processes = [Process::TakenOver { start }, Process::Down];
        Self { starts: start, producer: start, has_overlapped: false, processes, ..self.clone() }
    }

    /// An undisturbed process brings everything to its end.
    fn check_recovery(&self) {
        let mut world = self.clone();
        let is_done = |world: &Self| {
            matches!(&world.processes[0], Process::Running(running)
            if running.delivered == world.newest() && running.handed_over == world.newest())
        };
        for _ in 0..100 {
            if is_done(&world) {
                break;
            }
            let next = match &world.processes[0] {
                Process::Running(running) => {
                    // Of the ways that delivery may go, the one in which it works.
                    let kafka = world.to_kafka(0, running);
                    let works = kafka.into_iter().find(|next| matches!(next.processes[0], Process::Running(_)));
                    works.or_else(|| world.to_playbooks(0, running).into_iter().next())
                }
                _ => world.steps(0).into_iter().next(),
            };
            world = next.expect("a process that is not done has a next step");
        }
        assert!(is_done(&world), "all is delivered in the end: {self:#?}");
        world.check();
        assert!((1..=world.newest()).all(|epoch| world.runs.contains(&epoch)), "every run was started: {self:#?}");
    }
}

fn try_everything(epochs: u64) -> usize {
    let begin = World { epochs, ..World::default() };
    let mut seen = HashSet::from([begin.clone()]);
    let mut open = VecDeque::from([begin]);
    let mut recovered = HashSet::new();
    while let Some(world) = open.pop_front() {
        world.check();
        let taken_over = world.taken_over();
        if !recovered.contains(&taken_over) {
            taken_over.check_recovery();
            recovered.insert(taken_over);
        }
        for next in (0..2).flat_map(|at| world.steps(at)) {
            if !seen.contains(&next) {
                seen.insert(next.clone());
                open.push_back(next);
            }
        }
    }
    seen.len()
}

#[test]
fn nothing_is_lost_or_doubled_in_any_order_of_two_processes_and_their_deaths() {
    let epochs = std::env::var("WEIR_MODEL_EPOCHS").ok().and_then(|epochs| epochs.parse().ok());
    let states = try_everything(epochs.unwrap_or(2));
    assert!(states > 10_000, "{states} states");
}
