//! Windows that allow for late events, against the definition: an event counts if it is no further behind the greatest earlier
//! time of its own partition than the stream's lateness and the allowance together.

use std::collections::BTreeMap;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use serde_json::Value;

use super::{RUNS, compile, event, query, run};
use crate::{Activity, Hit, Query, Uid};

/// The lateness of `signin`, in seconds.
const LATENESS: i64 = 30;

fn allowing(seconds: i64, sql: &str) -> Query {
    Query { allowed_lateness_us: seconds * 1_000_000, ..query("q", sql) }
}

fn seen(seconds: i64, who: &str, number: i64) -> Value {
    event(seconds, who, "Success", "1.1.1.1", Some(number))
}

/// Who, and how many.
fn cells(hit: &Hit) -> (String, i64) {
    let who = hit.row.column(0).as_string_view().value(0).to_owned();
    (who, hit.row.column(1).as_primitive::<Int64Type>().value(0))
}

fn per_minute(having: &str) -> String {
    format!(
        "SELECT user_name AS who, count(*) AS n FROM TUMBLE(signin, time, INTERVAL '1 minute')
         GROUP BY user_name, window_start, window_end {having}"
    )
}

/// Two events of ann, one that closes their minute, two late ones, one that ends the allowance, and one that is too late.
fn story() -> Vec<Vec<Value>> {
    let times = [(5, "ann"), (20, "ann"), (100, "zed"), (50, "ann"), (55, "bob"), (200, "zed"), (58, "ann")];
    vec![(0..).zip(times).map(|(number, (time, who))| seen(time, who, number)).collect()]
}

#[test]
fn a_revision_creates_updates_and_withdraws() {
    let one_by_one = RUNS[1];
    let told = |having: &str| -> Vec<(Activity, String, i64)> {
        let hits = run(&compile(vec![allowing(60, &per_minute(having))]), &story(), one_by_one);
        let of_first_minute = hits.iter().filter(|hit| hit.time.0 == 60_000_000);
        of_first_minute.map(|hit| (hit.activity, cells(hit))).map(|(activity, (who, n))| (activity, who, n)).collect()
    };
    let ann = |activity, n| (activity, "ann".to_owned(), n);
    let bob = (Activity::Create, "bob".to_owned(), 1);
    assert_eq!(told(""), [ann(Activity::Create, 2), ann(Activity::Update, 3), bob.clone()]);
    assert_eq!(told("HAVING count(*) <= 2"), [ann(Activity::Create, 2), ann(Activity::Withdraw, 2), bob]);
    assert_eq!(told("HAVING count(*) >= 3"), [ann(Activity::Create, 3)]);
    // What was never told is not taken back.
    assert_eq!(told("HAVING count(*) > 3"), []);
}

#[test]
fn explain_says_how_long_a_window_is_kept() {
    let program = compile(vec![allowing(60, &per_minute(""))]);
    let explained = program.explain(0).expect("it compiled");
    assert!(
        explained.contains("open window of 1 min; dropped when it closes, 1 min later for late events"),
        "{explained}"
    );
}

#[test]
fn those_who_read_its_alerts_hear_of_each_once_and_of_none_that_is_taken_back() {
    let reader = "SELECT \"user\", count(*) AS n FROM TUMBLE(alerts, time, INTERVAL '1 hour')
                  GROUP BY \"user\", window_start, window_end";
    let program = compile(vec![allowing(60, &per_minute("HAVING count(*) <= 2")), query("reader", reader)]);
    for way in RUNS {
        let hits = run(&program, &story(), way);
        let last: BTreeMap<Uid, &Hit> = hits.iter().filter(|hit| hit.query == 1).map(|hit| (hit.uid, hit)).collect();
        let mut read: Vec<_> = last.into_values().map(cells).collect();
        read.sort();
        assert_eq!(read, [("bob".to_owned(), 1), ("zed".to_owned(), 2)], "run as {way:?}");
    }
}

/// Numbers that look random and are the same in every run.
struct Draws(u64);

impl Draws {
    fn below(&mut self, bound: i64) -> i64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % bound as u64) as i64
    }
}

/// Events in one to three partitions, a third of them up to two minutes behind.
fn events(seed: u64) -> Vec<Vec<Value>> {
    let mut draws = Draws(seed);
    let partitions = 1 + draws.below(3);
    let partition = |partition: i64, draws: &mut Draws| {
        let mut clock = 0;
        let event = |number: i64| {
            clock += draws.below(15);
            let behind = if draws.below(3) == 0 { draws.below(120) } else { 0 };
            let who = ["ann", "bob", "eve"][draws.below(3) as usize];
            seen((clock - behind).max(0), who, partition * 1000 + number)
        };
        (0..25).map(event).collect()
    };
    (0..partitions).map(|number| partition(number, &mut draws)).collect()
}

/// Times and names of the events of a partition that count.
fn counted(partition: &[Value], allowance: i64) -> Vec<(i64, String)> {
    let mut greatest = i64::MIN / 2;
    let mut counted = vec![];
    for event in partition {
        let time = event["time"].as_i64().expect("a time");
        let late = greatest - LATENESS - time;
        if late <= 0 {
            greatest = greatest.max(time);
        }
        if late <= allowance {
            counted.push((time, event["user_name"].as_str().expect("a name").to_owned()));
        }
    }
    counted
}

/// A kind of windows: its text, and the ends of all of them that hold a time.
type Kind = (&'static str, fn(i64) -> Vec<i64>);

const KINDS: [Kind; 3] = [
    ("TUMBLE(signin, time, INTERVAL '1 minute')", |time| vec![time - time % 60 + 60]),
    ("HOP(signin, time, INTERVAL '20 seconds', INTERVAL '1 minute')", |time| {
        (0..3).map(|step| time - time % 20 + 20 * (step + 1)).collect()
    }),
    ("CUMULATE(signin, time, INTERVAL '20 seconds', INTERVAL '1 minute')", |time| {
        let start = time - time % 60;
        (1..=3).map(|step| start + 20 * step).filter(|end| *end > time).collect()
    }),
];

/// A condition: its text, and what it says.
type Having = (&'static str, fn(i64) -> bool);

const HAVING: [Having; 4] = [
    ("", |_| true),
    ("HAVING count(*) >= 3", |n| n >= 3),
    ("HAVING count(*) = 2", |n| n == 2),
    ("HAVING count(*) < 3", |n| n < 3),
];

#[test]
fn windows_agree_with_the_definition_however_they_are_run() {
    for (kind, ends) in KINDS {
        for (having, holds) in HAVING {
            for allowance in [1, 20, 90] {
                let sql = format!(
                    "SELECT user_name AS who, count(*) AS n FROM {kind} GROUP BY user_name, window_start, window_end {having}"
                );
                let program = compile(vec![allowing(allowance, &sql)]);
                for seed in 0..8 {
                    let partitions = events(seed);
                    let mut expected: BTreeMap<(i64, String), i64> = BTreeMap::new();
                    for (time, who) in partitions.iter().flat_map(|partition| counted(partition, allowance)) {
                        for end in ends(time) {
                            *expected.entry((end, who.clone())).or_default() += 1;
                        }
                    }
                    expected.retain(|_, n| holds(*n));
                    for way in RUNS {
                        let hits = run(&program, &partitions, way);
                        let last: BTreeMap<Uid, &Hit> = hits.iter().map(|hit| (hit.uid, hit)).collect();
                        let hold = last.into_values().filter(|hit| hit.activity != Activity::Withdraw);
                        let found: BTreeMap<(i64, String), i64> = hold
                            .map(|hit| (hit.time.0 / 1_000_000, cells(hit)))
                            .map(|(end, (who, n))| ((end, who), n))
                            .collect();
                        assert_eq!(found, expected, "{sql} allowing {allowance} s over {seed}, run as {way:?}");
                    }
                }
            }
        }
    }
}
