//! What an epoch costs where much is remembered: saving what one second of events has changed, beside taking them in.
//!
//! ```text
//! cargo bench --bench checkpoint              # 10,000,000 keys
//! cargo bench --bench checkpoint -- 1000000   # so many keys
//! ```
//!
//! One worker remembers so many keys. Then events of keys at random come, about a second's worth between two epochs, as fast
//! as the worker takes them. Collecting what changed holds the worker up; `weir run` makes bytes of it on another thread, so
//! that the two are told apart. What was saved is put together at the end and must give what is remembered: as many hits as
//! the engine that went on.

#![expect(clippy::print_stdout, reason = "a benchmark prints what it has measured")]

#[path = "one_detection.rs"]
mod one_detection;

use std::env;
use std::sync::Arc;
use std::time::{Duration, Instant};

use one_detection::{engine, program};
use weir_engine::{Engine, Program, Scope, SourceBatch, WorkerSnapshot};

const ROWS: usize = 8192;
const EPOCHS: usize = 5;
const SECOND: Duration = Duration::from_secs(1);
const KINDS: [(&str, &str); 3] = [
    (
        "tumble",
        "SELECT user_name, window_start, count(*) AS n FROM TUMBLE(signin, time, INTERVAL '1 hour') \
         GROUP BY user_name, window_start, window_end HAVING count(*) > 30",
    ),
    (
        "sliding",
        "SELECT time, user_name, count(*) OVER (PARTITION BY user_name ORDER BY time RANGE INTERVAL '1 hour' PRECEDING) \
         AS n FROM signin QUALIFY n > 30",
    ),
    (
        "novelty",
        "SELECT time, user_name FROM (SELECT time, user_name, first_seen(user_name, INTERVAL '1 hour') AS is_new FROM signin) \
         WHERE is_new AND date_part('year', time) = 1970",
    ),
];

fn main() {
    let keys = env::args().skip(1).find(|argument| argument != "--bench");
    let keys: usize = keys.map_or(10_000_000, |keys| keys.parse().expect("a number of keys"));
    println!(
        "{:8} {:>9} {:>9} {:>13} {:>11} {:>10} {:>8} {:>8} {:>13}",
        "", "whole MB", "whole s", "events/epoch", "changes MB", "collect s", "cost", "bytes s", "put together"
    );
    for (name, sql) in KINDS {
        measure(name, sql, keys);
    }
}

fn measure(name: &str, sql: &str, keys: usize) {
    let program = program(sql.to_owned());
    let mut engine = engine(&program);
    let mut source = Source { program: Arc::clone(&program), keys, at: 0, seed: 7 };
    while source.at < keys {
        let batch = source.in_turn();
        engine.push(batch).expect("a batch of its own program");
    }
    let (mut chain, whole) = saved(&mut engine, Scope::Whole);
    let whole_bytes = chain[0].len();
    let (mut taken, mut saving, mut events, mut changed) = (Duration::ZERO, Spent::default(), 0, 0);
    for _ in 0..EPOCHS {
        let mut second = Duration::ZERO;
        while second < SECOND {
            let batch = source.at_random();
            let begun = Instant::now();
            engine.push(batch).expect("a batch of its own program");
            second += begun.elapsed();
            events += ROWS;
        }
        taken += second;
        let (parts, spent) = saved(&mut engine, Scope::Changes);
        saving.collecting += spent.collecting;
        saving.writing += spent.writing;
        changed += parts[0].len();
        chain.extend(parts);
    }
    let begun = Instant::now();
    let parts = chain.iter().map(|bytes| WorkerSnapshot::from_bytes(bytes).expect("own bytes"));
    let state = WorkerSnapshot::fold(parts).expect("a whole state and its changes");
    let folding = begun.elapsed();
    drop(chain);
    check(name, &program, engine, &state, &mut source);
    let mb = |bytes: usize| bytes as f64 / 1e6;
    println!(
        "{name:8} {:>9.0} {:>9.2} {:>13} {:>11.1} {:>10.3} {:>7.1}% {:>8.3} {:>11.1} s",
        mb(whole_bytes),
        (whole.collecting + whole.writing).as_secs_f64(),
        events / EPOCHS,
        mb(changed / EPOCHS),
        saving.collecting.as_secs_f64() / EPOCHS as f64,
        100.0 * saving.collecting.as_secs_f64() / taken.as_secs_f64(),
        saving.writing.as_secs_f64() / EPOCHS as f64,
        folding.as_secs_f64()
    );
}

/// What it took to save a state.
#[derive(Default)]
struct Spent {
    /// On the worker's thread.
    collecting: Duration,
    /// On another, in `weir run`.
    writing: Duration,
}

/// The state as bytes, and how long that took.
fn saved(engine: &mut Engine, scope: Scope) -> (Vec<Vec<u8>>, Spent) {
    let begun = Instant::now();
    let (_, saved) = engine.end_epoch(scope).expect("operators can be saved");
    let collecting = begun.elapsed();
    let begun = Instant::now();
    let bytes = saved.iter().map(|part| part.to_bytes().expect("bytes")).collect();
    (bytes, Spent { collecting, writing: begun.elapsed() })
}

/// The engine that went on and one that was restored say the same of what comes next.
fn check(name: &str, program: &Arc<Program>, mut on: Engine, state: &WorkerSnapshot, source: &mut Source) {
    let mut restored = engine(program);
    restored.restore(std::slice::from_ref(state)).expect("a state of its own program");
    let mut found = [0, 0];
    for _ in 0..20 {
        let batch = source.at_random();
        for (engine, found) in [&mut on, &mut restored].into_iter().zip(&mut found) {
            let hits = engine.push(batch.clone()).expect("a batch of its own program").hits;
            *found += hits.iter().map(|hit| hit.count).sum::<u64>();
        }
    }
    let (_, one) = on.snapshot().expect("operators can be saved");
    let (_, other) = restored.snapshot().expect("operators can be saved");
    // Put together, rows stand in one batch, however many they were saved in.
    let length = |parts: Vec<WorkerSnapshot>| {
        WorkerSnapshot::fold(parts).expect("a whole state").to_bytes().expect("bytes").len()
    };
    assert_eq!((found[0], length(one)), (found[1], length(other)), "{name}: what was saved is what is remembered");
}

/// Events a microsecond apart.
struct Source {
    program: Arc<Program>,
    keys: usize,
    at: usize,
    seed: u64,
}

impl Source {
    fn in_turn(&mut self) -> SourceBatch {
        let keys = self.keys;
        self.batch(|_, at| at % keys)
    }

    fn at_random(&mut self) -> SourceBatch {
        let keys = self.keys;
        self.batch(|seed, _| {
            // A linear congruential generator (Knuth's MMIX); its high bits are even enough.
            *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (*seed >> 33) as usize % keys
        })
    }

    fn batch(&mut self, key: impl Fn(&mut u64, usize) -> usize) -> SourceBatch {
        let range = self.at..self.at + ROWS;
        self.at = range.end;
        one_detection::batch(&self.program, range, |at| key(&mut self.seed, at))
    }
}
