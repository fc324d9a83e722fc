//! What is counted by query: rows, and where the time goes.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::QueryMeter;

const FAILURES: &str = "SELECT time, who FROM failures";
const BY_WHO: &str = "SELECT who, count(*) AS n FROM TUMBLE(failures, time, INTERVAL '1 hour')
                      GROUP BY who, window_start, window_end HAVING count(*) >= $n";
const JOINED: &str =
    "SELECT f.time, f.who FROM failures f JOIN signin s ON s.user_name = f.who AND s.status = 'Success'
                      AND s.time BETWEEN f.time AND f.time + INTERVAL '1 minute'";

/// A clock that goes on by a microsecond whenever it is looked at.
fn ticks() -> u64 {
    static TICKS: AtomicU64 = AtomicU64::new(0);
    TICKS.fetch_add(1000, Ordering::Relaxed)
}

/// What queries did of five events, three failures of two users among them, over so many workers.
fn meters(queries: &[&str], parallelism: usize) -> Vec<QueryMeter> {
    let named = queries.iter().enumerate().map(|(at, sql)| query(&format!("q{at}"), sql));
    let program = compile(named.collect());
    let mut engine = Engine::new(Arc::clone(&program), parallelism, &[]).expect("an engine");
    engine.workers.iter_mut().for_each(|worker| worker.time_by(ticks));
    engine.add_partition("signin", PartitionId(0));
    engine.start();
    let events = [("ann", "Failure"), ("ann", "Success"), ("bob", "Failure"), ("ann", "Failure"), ("cid", "Success")];
    let events = (1..).zip(events).map(|(at, (user, status))| event(at, user, status, "1.1.1.1", None));
    engine.push(batch(&program, 0, &events.collect::<Vec<_>>())).expect("a batch");
    let mut sums = vec![QueryMeter::default(); queries.len()];
    for worker in &engine.workers {
        sums.iter_mut().zip(worker.meters()).for_each(|(sum, more)| sum.add(&more));
    }
    sums
}

#[test]
fn rows_are_those_behind_the_conditions_on_single_events() {
    for parallelism in [1, 3] {
        let [failures, by_who, joined] = meters(&[FAILURES, BY_WHO, JOINED], parallelism)[..] else { panic!() };
        assert_eq!((failures.events, failures.rows), (5, 3), "three failures");
        assert_eq!((by_who.events, by_who.rows), (5, 3), "those of all users");
        // Three failures and two successes came to the join.
        assert_eq!((joined.events, joined.rows), (5, 5));
        for meter in [failures, by_who, joined] {
            assert!(meter.nanos > 0, "{meter:?}");
        }
    }
}

#[test]
fn what_queries_share_is_split_among_them() {
    let alone = meters(&[BY_WHO], 1)[0];
    let [one, other] = meters(&[BY_WHO, BY_WHO], 1)[..] else { panic!() };
    assert_eq!((one.events, one.rows), (alone.events, alone.rows), "each has seen all rows");
    assert!(one.nanos > 0 && one.nanos == other.nanos, "half of the time is that of each");
}
