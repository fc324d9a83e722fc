//! What operators say they remember, held against what they save: the same rows and groups in another form.

use super::*;

/// How far the bytes in memory and the bytes that are saved may lie apart, either way.
const FACTOR: usize = 6;
const KEYS: i64 = 4000;

const WINDOW: &str =
    "SELECT user_name AS who, {} AS n FROM TUMBLE(signin, time, INTERVAL '1 day') GROUP BY user_name, window_end";

fn over(function: &str) -> String {
    format!(
        "SELECT time, user_name AS who, {function} OVER (PARTITION BY user_name ORDER BY time RANGE INTERVAL '1 day' PRECEDING) AS n FROM signin"
    )
}

fn signins(from: i64, keys: i64) -> Vec<Value> {
    let ip = |key: i64| format!("10.{}.{}.{}", key / 65_536, key / 256 % 256, key % 256);
    let one = |key: i64| event(from + key % 60, &format!("user number {key}"), "Failure", &ip(key), Some(key));
    (0..keys).map(one).collect()
}

/// The state of a query after so many keys, after the same again, and after the watermark has passed all of it; with the
/// bytes that were saved of the first.
fn measured(text: &str) -> ([usize; 3], usize) {
    let program = compile(vec![query("q", text)]);
    let mut engine = Engine::new(Arc::clone(&program), 1, &[]).expect("no tables are read");
    engine.add_partition("signin", PartitionId(0));
    engine.start();
    let sum = |engine: &Engine| engine.workers[0].state_bytes().into_iter().sum::<usize>();
    let push = |engine: &mut Engine, events: &[Value]| {
        for events in events.chunks(500) {
            engine.push(batch(&program, 0, events)).expect("a batch");
        }
    };
    let empty: usize = saved(&mut engine);
    push(&mut engine, &signins(0, KEYS));
    let (first, bytes) = (sum(&engine), saved(&mut engine) - empty);
    push(&mut engine, &signins(60, 2 * KEYS)[KEYS as usize..]);
    let second = sum(&engine);
    engine.finish().expect("the end");
    ([first, second, sum(&engine)], bytes)
}

fn saved(engine: &mut Engine) -> usize {
    let (_, parts) = engine.snapshot().expect("operators can be saved");
    parts.iter().map(|part| part.to_bytes().expect("bytes").len()).sum()
}

fn check(text: &str) {
    let ([first, second, last], saved) = measured(text);
    assert!(first <= FACTOR * saved && saved <= FACTOR * first, "{first} bytes in memory, {saved} saved: {text}");
    assert!(second > first * 3 / 2, "{first} bytes, and with twice as many keys {second}: {text}");
    assert!(last < first / 4, "{first} bytes, and {last} when all is over: {text}");
}

#[test]
fn windows_tell_the_bytes_of_their_groups_whatever_they_aggregate() {
    let aggregates = [
        "count(*)",
        "count(DISTINCT src_ip)",
        "sum(bytes)",
        "max(src_ip)",
        "array_agg(src_ip ORDER BY time)",
        "approx_distinct(src_ip)",
        "stddev(bytes)",
    ];
    aggregates.iter().for_each(|aggregate| check(&WINDOW.replace("{}", aggregate)));
    check(
        "SELECT user_name AS who, count(*) AS n FROM HOP(signin, time, INTERVAL '1 hour', INTERVAL '1 day') GROUP BY user_name, window_end HAVING count(*) >= 1",
    );
    check(
        "SELECT user_name AS who, count(*) AS n FROM SESSION(signin, time, INTERVAL '1 day', user_name) GROUP BY user_name, window_end",
    );
}

#[test]
fn frames_that_slide_tell_the_bytes_of_their_entries_and_keys() {
    let functions =
        ["count(*)", "count(DISTINCT src_ip)", "sum(bytes)", "avg(bytes)", "max(src_ip)", "first_value(src_ip)"];
    functions.iter().for_each(|function| check(&over(function)));
    check("SELECT time, user_name AS who FROM signin WHERE first_seen((user_name, src_ip), INTERVAL '1 day')");
}

#[test]
fn joins_and_sequences_tell_the_bytes_of_the_rows_that_wait() {
    check(
        "SELECT s.time, s.user_name AS who FROM signin s WHERE s.status = 'Failure' AND NOT EXISTS (
         SELECT 1 FROM signin g WHERE g.status = 'Success' AND g.user_name = s.user_name
         AND g.time BETWEEN s.time AND s.time + INTERVAL '1 day')",
    );
    check(
        "SELECT * FROM signin MATCH_RECOGNIZE (PARTITION BY user_name ORDER BY time
         MEASURES last(b.time) AS time, last(b.src_ip) AS ip PATTERN (a b) WITHIN INTERVAL '1 day'
         DEFINE a AS a.status = 'Failure', b AS b.status = 'Success')",
    );
}

#[test]
fn hits_that_are_remembered_are_told_too() {
    check("SELECT time, user_name AS who FROM signin");
    let cooling = Query {
        cooldown_us: Some(86_400_000_000),
        cooldown_keys: vec!["who".to_owned()],
        ..query("q", "SELECT time, user_name AS who FROM signin")
    };
    let program = compile(vec![cooling]);
    let mut engine = Engine::new(Arc::clone(&program), 1, &[]).expect("no tables are read");
    engine.add_partition("signin", PartitionId(0));
    engine.start();
    let empty = saved(&mut engine);
    engine.push(batch(&program, 0, &signins(0, KEYS))).expect("a batch");
    let bytes: usize = engine.workers[0].state_bytes().into_iter().sum();
    let saved = saved(&mut engine) - empty;
    assert!(bytes > saved && bytes < 20 * saved, "every hit is rows of its own: {bytes} bytes, {saved} saved");
}
