//! State that earlier versions saved is taken up as if this one had saved it. `engine/fixtures/state-N` was written in
//! format N by the test below it, run with `WEIR_WRITE_FIXTURES=N` when the format was new; no file of it is ever changed.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;

use super::{batch, compile, event, indicators, leases, query, show};
use crate::{Engine, Hit, PartitionId, Program, Query, WorkerSnapshot};

const SELECTS: [(&str, &str); 9] = [
    (
        "threshold",
        "SELECT user_name, count(*) AS n, sum(bytes) AS sent, count(DISTINCT src_ip) AS ips, min(src_ip) AS least, \
         array_agg(src_ip) AS all_ips, avg(bytes) AS mean \
         FROM TUMBLE(signin, time, INTERVAL '5 minutes') GROUP BY window_start, window_end, user_name HAVING count(*) >= 3",
    ),
    (
        "hops",
        "SELECT user_name, count(*) AS n FROM HOP(signin, time, INTERVAL '1 minute', INTERVAL '3 minutes') \
         GROUP BY window_start, window_end, user_name HAVING count(*) >= 3",
    ),
    (
        "session",
        "SELECT user_name, count(*) AS n FROM SESSION(signin, time, INTERVAL '2 minutes', user_name) \
         GROUP BY window_start, window_end, user_name HAVING count(*) >= 3",
    ),
    (
        "sliding",
        "SELECT time, user_name, count(*) OVER (PARTITION BY user_name ORDER BY time RANGE INTERVAL '5 minutes' PRECEDING) AS n \
         FROM signin QUALIFY n >= 3",
    ),
    ("novelty", "SELECT time, user_name FROM signin WHERE first_seen((user_name, src_ip), INTERVAL '1 hour')"),
    (
        "join",
        "SELECT a.time, a.user_name, b.src_ip FROM signin a JOIN signin b ON a.user_name = b.user_name \
         AND b.time BETWEEN a.time AND a.time + INTERVAL '5 minutes' AND a.status = 'Failure' AND b.status = 'Success'",
    ),
    (
        "absence",
        "SELECT a.time, a.user_name FROM signin a WHERE a.status = 'Failure' AND NOT EXISTS (SELECT 1 FROM signin b \
         WHERE b.user_name = a.user_name AND b.status = 'Success' AND b.time BETWEEN a.time AND a.time + INTERVAL '30 seconds')",
    ),
    (
        "sequence",
        "SELECT * FROM signin MATCH_RECOGNIZE (PARTITION BY user_name ORDER BY time \
         MEASURES last(s.time) AS time, count(f.*) AS n AFTER MATCH SKIP PAST LAST ROW PATTERN (f{2,} s) WITHIN INTERVAL '5 minutes' \
         DEFINE f AS f.status = 'Failure', s AS s.status = 'Success')",
    ),
    ("repeats", "SELECT time, user_name AS who FROM signin WHERE status = 'Failure'"),
];

fn program() -> Arc<Program> {
    let queries = SELECTS.map(|(id, sql)| {
        let cooled = id == "repeats";
        Query {
            cooldown_us: cooled.then_some(600_000_000),
            cooldown_keys: if cooled { vec!["who".to_owned()] } else { vec![] },
            publish: vec![],
            ..query(id, sql)
        }
    });
    compile(queries.to_vec())
}

/// The first part is saved, the second comes afterwards.
fn events() -> [Vec<Value>; 2] {
    let one = |at: i64| {
        let user = ["ann", "bob", "carl", "dora"][(at % 4) as usize];
        let status = if at % 7 < 5 { "Failure" } else { "Success" };
        event(at * 9, user, status, ["1.1.1.1", "2.2.2.2", "3.3.3.3"][(at % 3) as usize], Some(at))
    };
    [(0..12).map(one).collect(), (12..90).map(one).collect()]
}

fn engine(program: &Arc<Program>, parallelism: usize) -> Engine {
    let mut engine =
        Engine::new(Arc::clone(program), parallelism, &[indicators(), leases()]).expect("tables are given");
    engine.add_partition("signin", PartitionId(0));
    engine.start();
    engine
}

fn saved_now(program: &Arc<Program>) -> Vec<Vec<u8>> {
    let mut engine = engine(program, 2);
    engine.push(batch(program, 0, &events()[0])).expect("a batch of its own program");
    let (_, saved) = engine.snapshot().expect("operators can be saved");
    saved.iter().map(|part| part.to_bytes().expect("bytes")).collect()
}

/// What is told after the state was taken up.
fn told(program: &Arc<Program>, saved: &[Vec<u8>], parallelism: usize) -> BTreeSet<String> {
    let mut engine = engine(program, parallelism);
    let parts = saved.iter().map(|bytes| WorkerSnapshot::from_bytes(bytes).expect("a format that is known"));
    engine.restore(&parts.collect::<Vec<_>>()).expect("a state of this program");
    let mut hits = engine.push(batch(program, 0, &events()[1])).expect("a batch of its own program").hits;
    hits.extend(engine.finish().expect("the end").hits);
    let shown = |hit: &Hit| format!("{} {} {}", SELECTS[hit.query].0, hit.uid, show(hit));
    hits.iter().map(shown).collect()
}

fn folder(format: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(format!("state-{format}"))
}

#[test]
fn state_of_every_format_is_taken_up() {
    let program = program();
    if let Ok(format) = std::env::var("WEIR_WRITE_FIXTURES") {
        std::fs::create_dir_all(folder(&format)).expect("a folder");
        for (worker, bytes) in saved_now(&program).iter().enumerate() {
            std::fs::write(folder(&format).join(format!("{worker}.bin")), bytes).expect("a file");
        }
    }
    let expected = told(&program, &saved_now(&program), 1);
    let without = told(&program, &[], 1);
    for (id, _) in SELECTS {
        let of = |told: &BTreeSet<String>| told.iter().filter(|line| line.starts_with(id)).cloned().collect::<Vec<_>>();
        assert!(!of(&expected).is_empty() && of(&expected) != of(&without), "the state of {id} makes a difference");
    }
    for format in ["2", "3"] {
        let saved: Vec<Vec<u8>> =
            ["0.bin", "1.bin"].map(|name| std::fs::read(folder(format).join(name)).expect(name)).to_vec();
        for parallelism in [1, 3] {
            assert_eq!(told(&program, &saved, parallelism), expected, "format {format}, {parallelism} workers");
        }
    }
}
