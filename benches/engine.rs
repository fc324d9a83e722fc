//! How many events per second the engine takes: one filter, a hundred filters, windows that count by user, and sequences.
//!
//! Batches are made before the clock starts, and the answer is checked against a plain count. An engine is built anew for
//! every round, so that state is paid for as in a run.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryViewArray, Int64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray, new_null_array,
};
use arrow::datatypes::{DataType, Field, Schema};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use weir_engine::catalog::TIME_TYPE;
use weir_engine::{Engine, PartitionId, Place, Program, Published, Query, SourceBatch, Uid, parse_catalog};

const BATCHES: usize = 16;
const ROWS: usize = 4096;
const USERS: u64 = 2000;
/// One event per millisecond, so that a batch spans about four seconds.
const STEP_US: i64 = 1000;
const WINDOW_US: i64 = 10_000_000;

const STREAM: &str = "
CREATE STREAM signin (time TIMESTAMP, user_name STRING, status STRING, src_ip STRING, bytes BIGINT)
WITH (event_time = 'time', lateness = '1 second');";

/// A generator with a fixed start: every run measures the same events.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

struct Event {
    time: i64,
    user: String,
    status: &'static str,
    ip: String,
    bytes: i64,
}

fn events() -> Vec<Event> {
    let mut dice = Dice(7);
    let one = |at: i64| Event {
        // Some disorder, within the lateness.
        time: 1_577_934_240_000_000 + at * STEP_US - dice.roll(500) as i64 * STEP_US,
        user: format!("user{}@example.com", dice.roll(USERS)),
        status: if dice.roll(10) == 0 { "Failure" } else { "Success" },
        ip: format!("10.{}.{}.{}", dice.roll(256), dice.roll(256), dice.roll(256)),
        bytes: dice.roll(1_000_000) as i64,
    };
    (0..(BATCHES * ROWS) as i64).map(one).collect()
}

fn program(queries: &[String]) -> Arc<Program> {
    let (catalog, diagnostics) = parse_catalog(&[("bench.sql".to_owned(), STREAM.to_owned())]);
    assert_eq!(diagnostics, []);
    let query = |(index, sql): (usize, &String)| Query {
        id: format!("q{index}").into(),
        sql: sql.clone(),
        start: Place::START,
        params: BTreeMap::new(),
        allowed_lateness_us: 0,
        cooldown_us: None,
        cooldown_keys: vec![],
        exceptions: vec![],
        publish: vec![],
    };
    let queries = queries.iter().enumerate().map(query).collect();
    let (program, faults) = Program::compile(&catalog, &Published::default(), queries);
    assert_eq!(faults, []);
    Arc::new(program)
}

fn batch(program: &Program, events: &[Event]) -> SourceBatch {
    let (_, set) = program.columns("signin").expect("every query reads it");
    let times =
        || Arc::new(events.iter().map(|event| Some(event.time)).collect::<TimestampMicrosecondArray>()) as ArrayRef;
    let text = |of: &dyn Fn(&Event) -> String| -> ArrayRef {
        Arc::new(events.iter().map(|event| Some(of(event))).collect::<StringViewArray>())
    };
    let column = |name: &str| match name {
        "time" => times(),
        "user_name" => text(&|event| event.user.clone()),
        "status" => text(&|event| event.status.to_owned()),
        "src_ip" => text(&|event| event.ip.clone()),
        "bytes" => Arc::new(events.iter().map(|event| Some(event.bytes)).collect::<Int64Array>()) as ArrayRef,
        other => unreachable!("{other} is not declared"),
    };
    let raw: BinaryViewArray = events.iter().map(|event| Some(raw(event).into_bytes())).collect();
    let mut fields: Vec<Field> = set.columns.iter().map(|field| field.as_ref().clone()).collect();
    let mut columns: Vec<ArrayRef> = fields.iter().map(|field| column(field.name())).collect();
    fields.extend([
        Field::new("_time", TIME_TYPE, false),
        Field::new("_raw", DataType::BinaryView, false),
        Field::new("_arrival", TIME_TYPE, true),
    ]);
    columns.extend([times(), Arc::new(raw) as ArrayRef, new_null_array(&TIME_TYPE, events.len())]);
    let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("columns fit their fields");
    SourceBatch { stream: "signin".into(), partition: PartitionId(0), rows, late_us: None }
}

fn raw(event: &Event) -> String {
    format!("{} {} {} {} {}", event.time, event.user, event.status, event.ip, event.bytes)
}

/// All batches through a new engine; gives the number of different alerts.
fn run(program: &Arc<Program>, batches: Vec<SourceBatch>) -> usize {
    let mut engine = Engine::new(Arc::clone(program), 1, &[]).expect("no tables are needed");
    engine.add_partition("signin", PartitionId(0));
    engine.start();
    let mut hits = vec![];
    for batch in batches {
        hits.extend(engine.push(batch).expect("a batch of its own program").hits);
    }
    hits.extend(engine.finish().expect("the end").hits);
    hits.iter().map(|hit| hit.uid).collect::<std::collections::BTreeSet<_>>().len()
}

fn measure(c: &mut Criterion, name: &str, queries: &[String], expected: usize) {
    let program = program(queries);
    let events = events();
    let batches: Vec<SourceBatch> = events.chunks(ROWS).map(|events| batch(&program, events)).collect();
    assert_eq!(run(&program, batches.clone()), expected, "{name} gives what a plain count gives");
    let mut group = c.benchmark_group("engine");
    group.sample_size(20).throughput(Throughput::Elements(events.len() as u64));
    group.bench_function(name, |bencher| {
        bencher.iter_batched(|| batches.clone(), |batches| run(&program, batches), BatchSize::LargeInput);
    });
    group.finish();
}

fn scan(c: &mut Criterion) {
    let rare = |user: usize| {
        format!("SELECT time, user_name FROM signin WHERE status = 'Failure' AND user_name = 'user{user}@example.com'")
    };
    let matching = |user: usize| {
        let name = format!("user{user}@example.com");
        events().iter().filter(|event| event.status == "Failure" && event.user == name).count()
    };
    measure(c, "scan_one_filter", &[rare(7)], matching(7));
    let hundred: Vec<String> = (0..100).map(rare).collect();
    measure(c, "scan_a_hundred_filters", &hundred, (0..100).map(matching).sum());
}

fn window(c: &mut Criterion) {
    let sql = |least: u32| {
        format!(
            "SELECT user_name, count(*) AS n, sum(bytes) AS total FROM TUMBLE(signin, time, INTERVAL '10 seconds')
             GROUP BY user_name, window_start, window_end HAVING count(*) >= {least}"
        )
    };
    let groups = |least: u32| {
        let mut counts: BTreeMap<(String, i64), u32> = BTreeMap::new();
        for event in events() {
            *counts.entry((event.user, event.time.div_euclid(WINDOW_US))).or_default() += 1;
        }
        counts.into_values().filter(|count| *count >= least).count()
    };
    measure(c, "window_count_by_user", &[sql(1)], groups(1));
    measure(c, "window_rare_threshold", &[sql(15)], groups(15));
}

fn sequence(c: &mut Criterion) {
    let guessed = "SELECT * FROM signin MATCH_RECOGNIZE (PARTITION BY user_name ORDER BY time
        MEASURES s.time AS time, count(f.*) AS failures
        PATTERN (f{2,} s) WITHIN INTERVAL '10 seconds' DEFINE f AS f.status = 'Failure', s AS s.status = 'Success')";
    measure(c, "sequence_by_user", &[guessed.to_owned()], sequences_by_user());
    // One key whose matches wait for a step that never comes.
    let waiting = |last: &str| {
        format!(
            "WITH failed AS (SELECT time, bytes FROM signin WHERE status = 'Failure')
             SELECT * FROM failed MATCH_RECOGNIZE (ORDER BY time MEASURES s.time AS time, count(f.*) AS failures
             PATTERN (f+ s) WITHIN INTERVAL '1 minute' DEFINE f AS f.bytes >= 0, s AS {last})"
        )
    };
    measure(c, "sequence_waits", &[waiting("s.bytes < 0")], 0);
    measure(c, "sequence_waits_looking_back", &[waiting("s.bytes < FIRST(f.bytes) - 1000000")], 0);
}

/// At least two failures in a row and then a success, within ten seconds, told plainly.
fn sequences_by_user() -> usize {
    let mut users: BTreeMap<String, Vec<(i64, Uid, bool)>> = BTreeMap::new();
    for event in events() {
        let uid = Uid::of_record("signin", raw(&event).as_bytes());
        users.entry(event.user).or_default().push((event.time, uid, event.status == "Failure"));
    }
    let mut found = 0;
    for rows in users.values_mut() {
        rows.sort();
        let mut start = 0;
        while start < rows.len() {
            let in_time = |row: &usize| rows[*row].0 - rows[start].0 < WINDOW_US;
            let failures = (start..rows.len()).take_while(|row| in_time(row) && rows[*row].2).count();
            let next = start + failures;
            let is_match = failures >= 2 && next < rows.len() && in_time(&next);
            found += usize::from(is_match);
            start = if is_match { next + 1 } else { start + 1 };
        }
    }
    found
}

criterion_group!(benches, scan, window, sequence);
criterion_main!(benches);
