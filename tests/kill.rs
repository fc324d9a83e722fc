//! Sudden deaths: the real process on a real broker is killed again and again, at any moment and at every named point, while
//! events come in. What came out in the end must be exactly what an obvious program computes from the same events.
//!
//! `WEIR_TEST_KILLS` says how often it is killed at random, `WEIR_TEST_SEED` repeats the story and the plan of a run; the
//! moments of a machine cannot be repeated.

use std::os::unix::process::ExitStatusExt as _;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use weir_connectors::failpoint;

use crate::support::broker;
use crate::support::events::Seed;
use crate::support::kafka::Tail;
use crate::support::process::Running;
use crate::support::survival::oracle::oracle;
use crate::support::survival::story::{Payloads, tell};
use crate::support::survival::{Outcome, Trial, found};

const PATIENCE: Duration = Duration::from_secs(120);
const KILLS: u64 = 6;
/// Less would not be worth a test.
const EVENTS_MIN: usize = 8_000;
/// How long a process lives at most once it runs.
const LIFE_MS: u64 = 1_200;
/// Between two pieces of the events.
const PAUSE: Duration = Duration::from_millis(300);
/// Pieces for each life, and events in a piece; a life that is longer takes from those behind it.
const PIECES: usize = 6;
const PIECE_EVENTS: usize = 70;
/// What would take longer than a life is hurried, and no copy of an alert is left because the machine is slow.
const HURRIED: &str =
    "archive.period_ms=150,archive.files_max=2,epoch.parts_max=3,retention.period_ms=400,fast.timeout_ms=120000";
/// The signal that a process sends itself at a failpoint.
const ABORTED: i32 = 6;

#[test]
fn deaths_at_any_moment_lose_and_double_nothing() {
    let Some(address) = broker::shared("kill::deaths_at_any_moment_lose_and_double_nothing") else { return };
    let kills = number("WEIR_TEST_KILLS").unwrap_or(KILLS);
    let mut lives = Lives::new(&address, kills as usize);
    for kill in 0..kills {
        let shards = lives.choose_parallelism();
        lives.live(HURRIED, |weir, seed, trial| {
            // Some die before they run, and some while another pipeline takes the place of the first.
            if !seed.once_in(4) {
                weir.wait_for_line("running", PATIENCE);
                if seed.once_in(3) {
                    trial.edit(kill);
                    weir.hang_up();
                }
            }
            std::thread::sleep(Duration::from_millis(seed.below(LIFE_MS)));
            assert!(weir.is_alive(), "life {kill} with {shards} shards ended by itself:\n{}", weir.printed());
            weir.kill();
        });
    }
    lives.end();
}

#[test]
fn a_death_at_every_point_loses_and_doubles_nothing() {
    let Some(address) = broker::shared("kill::a_death_at_every_point_loses_and_doubles_nothing") else { return };
    let mut lives = Lives::new(&address, failpoint::POINTS.len() + 1);
    // There is something to take over.
    lives.live(HURRIED, |weir, _, _| {
        weir.wait_for_line("running", PATIENCE);
        std::thread::sleep(Duration::from_millis(LIFE_MS));
        weir.kill();
    });
    for point in failpoint::POINTS {
        let shards = lives.choose_parallelism();
        // A process takes over once.
        let nth = if point.starts_with("resume.") { 1 } else { 1 + lives.seed.below(3) };
        lives.live(&format!("{HURRIED},{point}={nth}"), |weir, _, _| {
            let status = weir.wait(PATIENCE);
            let is_reached = status.signal() == Some(ABORTED);
            assert!(is_reached, "{point} with {shards} shards: {status}\n{}", weir.printed());
        });
    }
    lives.end();
}

/// One life after the other of the same pipeline.
struct Lives {
    address: String,
    trial: Trial,
    seed: Seed,
    payloads: Payloads,
    expected: Outcome,
    /// The events come in so many pieces.
    pieces: usize,
    /// The next of them.
    next: usize,
}

impl Lives {
    fn new(address: &str, lives: usize) -> Self {
        let pieces = PIECES * (lives + 1);
        let number = number("WEIR_TEST_SEED").unwrap_or_else(|| u64::from(uuid::Uuid::new_v4().as_fields().0));
        eprintln!("WEIR_TEST_SEED={number} tells the same story");
        let story = tell(number, EVENTS_MIN.max(pieces * PIECE_EVENTS));
        let expected = oracle(&story);
        assert_worth_a_test(&expected);
        let payloads = Payloads::of(&story);
        let (trial, seed) = (Trial::new(address), Seed::new(number ^ 1));
        Self { address: address.to_owned(), trial, seed, payloads, expected, pieces, next: 0 }
    }

    /// Sometimes state is taken over by another number of shards.
    fn choose_parallelism(&mut self) -> u64 {
        let shards = if self.seed.once_in(3) { 1 + self.seed.below(3) } else { 2 };
        self.trial.set_parallelism(shards);
        shards
    }

    /// A process that lives as long as `life` lets it, while events come in.
    fn live(&mut self, points: &str, life: impl FnOnce(&mut Running, &mut Seed, &Trial)) {
        let (trial, payloads, pieces) = (&self.trial, &self.payloads, self.pieces);
        let mut weir = trial.pipeline.project.start_with(&["run"], failpoint::VARIABLE, points);
        let (alive, ended) = channel::<()>();
        let seed = &mut self.seed;
        self.next = std::thread::scope(|scope| {
            let mut next = self.next;
            let feeder = scope.spawn(move || {
                while next < pieces {
                    trial.feed(&payloads.portion(next, pieces));
                    next += 1;
                    if ended.recv_timeout(PAUSE) == Err(RecvTimeoutError::Disconnected) {
                        break;
                    }
                }
                next
            });
            life(&mut weir, seed, trial);
            drop(alive);
            feeder.join().expect("events can be fed")
        });
    }

    /// The last life finds all that is left, goes on until nothing is left to do, and is stopped in order.
    fn end(mut self) {
        for piece in self.next..self.pieces {
            self.trial.feed(&self.payloads.portion(piece, self.pieces));
        }
        self.next = self.pieces;
        let mut tail = Tail::new(&self.address, &self.trial.pipeline.alerts);
        let expected = std::mem::take(&mut self.expected);
        self.live(HURRIED, |weir, _, _| {
            weir.wait_for_line("running", PATIENCE);
            // Where this never comes, the comparison says what is different.
            let _complete = tail.wait_until(PATIENCE, |records| found::alerts(records) == expected.alerts);
            let status = weir.terminate(PATIENCE);
            assert!(status.success(), "SIGTERM ends the process well, not with {status}:\n{}", weir.printed());
        });
        self.trial.assert_outcome(&self.address, &expected);
    }
}

#[track_caller]
fn assert_worth_a_test(expected: &Outcome) {
    let alerts = |name: &str| expected.alerts.keys().filter(|about| about.starts_with(name)).count();
    for name in ["locked", "guessing", "takeover", "unlocked", "unanswered", "blocked", "acted"] {
        assert!(alerts(&format!("test.{name} ")) > 10, "few alerts of {name}");
    }
    assert!(expected.alerts.values().any(|what| what.starts_with("repeats")), "a cooldown folds");
    assert!(expected.late.len() > 10 && expected.dead.len() > 10, "some events are late, some are none");
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|error| panic!("{variable}={text}: {error}")))
}
