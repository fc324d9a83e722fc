//! What an event costs, and what is remembered, with few and many open keys and with few and many windows per event.
//!
//! ```text
//! cargo bench --bench keys                  # 10 to 10,000,000 keys
//! cargo bench --bench keys -- 1000 200000   # so many keys
//! ```
//!
//! Every measurement is a process of its own, because memory that was freed once is used again. Only the engine's work is
//! timed, not the making of events. All keys are open until the end; exactly three of them cross the threshold in each
//! window, and anything else ends the measurement.

#![expect(clippy::print_stdout, reason = "a benchmark prints what it has measured")]

#[path = "one_detection.rs"]
mod one_detection;

use std::time::{Duration, Instant};
use std::{env, fs, process};

use one_detection::{batch, engine, program};

const ROWS: usize = 8192;
const EVENTS: usize = 4_000_000;
/// Keys that get one event more than all others.
const LOUD: usize = 3;
/// What is measured.
struct Kind {
    name: &'static str,
    /// A query that finds the keys with more than so many events, once in each window.
    sql: fn(usize) -> String,
    /// The windows that each event is in.
    windows: usize,
    /// With more keys the end, where every window states each of them, takes longer than everything before.
    keys_max: usize,
}

const KINDS: [Kind; 6] = [
    Kind {
        name: "tumble",
        sql: |n| grouped("TUMBLE(signin, time, INTERVAL '1 hour')", n),
        windows: 1,
        keys_max: usize::MAX,
    },
    Kind {
        name: "hop",
        sql: |n| grouped("HOP(signin, time, INTERVAL '1 hour', INTERVAL '10 hours')", n),
        windows: 10,
        keys_max: 1_000_000,
    },
    Kind {
        name: "hop",
        sql: |n| grouped("HOP(signin, time, INTERVAL '1 hour', INTERVAL '100 hours')", n),
        windows: 100,
        keys_max: 1_000,
    },
    Kind {
        name: "hop",
        sql: |n| grouped("HOP(signin, time, INTERVAL '1 hour', INTERVAL '1000 hours')", n),
        windows: 1000,
        keys_max: 1_000,
    },
    Kind {
        name: "session",
        sql: |n| grouped("SESSION(signin, time, INTERVAL '1 hour', user_name)", n),
        windows: 1,
        keys_max: usize::MAX,
    },
    Kind { name: "sliding", sql: sliding, windows: 1, keys_max: usize::MAX },
];

fn sliding(more_than: usize) -> String {
    format!(
        "SELECT time, user_name, count(*) OVER (PARTITION BY user_name ORDER BY time RANGE INTERVAL '1 hour' PRECEDING) \
         AS n FROM signin QUALIFY n > {more_than}"
    )
}

fn grouped(window: &str, more_than: usize) -> String {
    format!(
        "SELECT user_name, window_start, count(*) AS n FROM {window} \
         GROUP BY user_name, window_start, window_end HAVING count(*) > {more_than}"
    )
}

fn main() {
    let arguments: Vec<String> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [kind, keys, "measure"] = arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        let (kind, keys) = (kind.parse().expect("a kind"), keys.parse().expect("a number of keys"));
        let Measured { ns_per_event, bytes } = measure(kind, keys);
        println!("{ns_per_event} {bytes}");
        return;
    }
    let number = |argument: &String| match argument.parse() {
        Ok(keys) if keys > LOUD => keys,
        _ => panic!("`{argument}` is no number of keys above {LOUD}: cargo bench --bench keys -- 1000 100000"),
    };
    let asked: Vec<usize> = arguments.iter().map(number).collect();
    let keys = if asked.is_empty() { vec![10, 1_000, 100_000, 1_000_000, 10_000_000] } else { asked };
    println!("{:8} {:>8} {:>10} {:>10} {:>14} {:>14}", "", "windows", "keys", "ns/event", "to the first", "bytes/key");
    let mut first = None;
    for (kind, Kind { name, windows, keys_max, .. }) in KINDS.iter().enumerate() {
        for keys in keys.iter().filter(|keys| **keys <= *keys_max) {
            let Measured { ns_per_event, bytes } = apart(kind, *keys);
            let ratio = ns_per_event / *first.get_or_insert(ns_per_event);
            let per_key = bytes / *keys as f64;
            // With few keys the program itself is larger than what it remembers.
            let per_key = if *keys < 100_000 { "-".to_owned() } else { format!("{per_key:.0}") };
            println!("{name:8} {windows:>8} {keys:>10} {ns_per_event:>10.0} {ratio:>14.2} {per_key:>14}");
        }
    }
}

struct Measured {
    ns_per_event: f64,
    /// What the process grew by.
    bytes: f64,
}

/// One measurement in a process of its own.
fn apart(kind: usize, keys: usize) -> Measured {
    let this = env::current_exe().expect("the path of this program");
    let output = process::Command::new(this).args([&kind.to_string(), &keys.to_string(), "measure"]).output();
    let output = output.expect("this program starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let numbers: Vec<f64> = text.split_whitespace().filter_map(|number| number.parse().ok()).collect();
    let [ns_per_event, bytes] = numbers[..] else {
        panic!("{} with {keys} keys: {}", KINDS[kind].name, String::from_utf8_lossy(&output.stderr))
    };
    Measured { ns_per_event, bytes }
}

fn measure(kind: usize, keys: usize) -> Measured {
    let Kind { name, sql, windows, .. } = KINDS[kind];
    let each = EVENTS.div_ceil(keys);
    let events = each * keys + LOUD;
    let program = program(sql(each));
    let mut engine = engine(&program);
    let before = resident();
    let (mut spent, mut found) = (Duration::ZERO, 0);
    for from in (0..events).step_by(ROWS) {
        let batch = batch(&program, from..events.min(from + ROWS), |at| at % keys);
        let begun = Instant::now();
        let outputs = engine.push(batch).expect("a batch of its own program");
        spent += begun.elapsed();
        found += outputs.hits.len();
    }
    let bytes = resident() - before;
    found += engine.finish().expect("the end").hits.len();
    assert_eq!(found, LOUD * windows, "{name}: three keys cross the threshold in each window");
    Measured { ns_per_event: spent.as_nanos() as f64 / events as f64, bytes }
}

/// Bytes of this process in memory.
fn resident() -> f64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux tells what a process takes");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    let kib: f64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib * 1024.0
}
