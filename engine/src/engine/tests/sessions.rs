//! Sessions: what is said of them, when, and what they remember.

use super::*;
use crate::EventTime;

const PER_WHO: &str =
    "SELECT who, window_start AS ws, count(*) AS n FROM SESSION(failures, time, INTERVAL '1 minute', who)
                       GROUP BY who, window_start, window_end HAVING count(*) >= 2";

fn failed(at: i64) -> Value {
    event(at, "ann", "Failure", "1.1.1.1", None)
}

fn hits(sql: &str, times: &[i64]) -> Vec<Hit> {
    run(&compile(vec![query("q", sql)]), &[times.iter().copied().map(failed).collect()], RUNS[1])
}

/// Activities, rows and times in the order in which they left, one event at a time.
fn said(sql: &str, times: &[i64]) -> Vec<(Activity, String, i64)> {
    hits(sql, times).iter().map(|hit| (hit.activity, show(hit), hit.time.0 / 1_000_000)).collect()
}

#[test]
fn a_session_fires_when_its_threshold_is_crossed_and_its_start_is_certain() {
    // The watermark is 30 seconds behind: at 39 an event of 9 could still come, at 40 no more.
    let expected = [
        (Activity::Create, "ann|1970-01-01T00:00:10|4 x1".to_owned(), 100),
        (Activity::Update, "ann|1970-01-01T00:00:10|5 x1".to_owned(), 120),
    ];
    assert_eq!(said(PER_WHO, &[10, 20, 39, 40, 60]), expected);
}

#[test]
fn a_session_whose_start_is_certain_fires_at_the_event_that_crosses_its_threshold() {
    let sql = PER_WHO.replace(">= 2", ">= 4");
    let expected = [
        (Activity::Create, "ann|1970-01-01T00:00:10|4 x1".to_owned(), 150),
        (Activity::Update, "ann|1970-01-01T00:00:10|5 x1".to_owned(), 151),
    ];
    assert_eq!(said(&sql, &[10, 50, 70, 90, 91]), expected);
}

#[test]
fn a_session_whose_start_moves_back_fires_with_the_start_that_is_certain() {
    let expected = [(Activity::Create, "ann|1970-01-01T00:00:05|4 x1".to_owned(), 96)];
    assert_eq!(said(PER_WHO, &[30, 5, 20, 36]), expected);
}

#[test]
fn an_alert_ends_with_its_session_even_if_nothing_else_of_it_changes() {
    let sql = "SELECT who, min(time) AS first FROM SESSION(failures, time, INTERVAL '1 minute', who)
               GROUP BY who, window_start, window_end HAVING count(*) >= 2";
    let first = "ann|1970-01-01T00:00:10 x1".to_owned();
    let expected = [(Activity::Create, first.clone(), 101), (Activity::Update, first, 150)];
    assert_eq!(said(sql, &[10, 41, 90]), expected);
}

#[test]
fn a_threshold_is_crossed_across_many_gaps() {
    let sql = PER_WHO.replace(">= 2", ">= 20").replace("1 minute", "10 seconds");
    let times: Vec<i64> = (0..25).map(|step| step * 9).collect();
    let expected = [
        (Activity::Create, "ann|1970-01-01T00:00:00|20 x1".to_owned(), 181),
        (Activity::Update, "ann|1970-01-01T00:00:00|25 x1".to_owned(), 226),
    ];
    assert_eq!(said(&sql, &times), expected);
}

#[test]
fn what_a_session_remembers_does_not_grow_with_its_length() {
    let sql = "SELECT count(*) AS n, max(bytes) AS most FROM SESSION(signin, time, INTERVAL '15 seconds') GROUP BY window_start";
    let program = compile(vec![query("q", sql)]);
    let remembered = |events: i64| {
        let mut engine = Engine::new(Arc::clone(&program), 1, &[]).expect("no tables are read");
        engine.add_partition("signin", PartitionId(0));
        engine.start();
        for at in 0..events {
            let pushed = engine.push(batch(&program, 0, &[failed(at * 10)])).expect("a batch of its own program");
            assert!(pushed.hits.is_empty(), "the session is not over");
        }
        let (_, saved) = engine.snapshot().expect("operators can be saved");
        saved.iter().map(|part| part.to_bytes().expect("bytes").len()).sum::<usize>()
    };
    // The last event is at 400 and at 19990 seconds, which lie alike in their slices.
    let (soon, later) = (remembered(41), remembered(2000));
    assert!(soon.abs_diff(later) < 10, "numbers may have more digits: {soon} and {later}");
}

#[test]
fn a_session_is_over_when_the_watermark_has_passed_its_last_event_by_the_gap() {
    let sql =
        "SELECT who, count(*) AS n FROM SESSION(failures, time, INTERVAL '1 minute', who) GROUP BY who, window_end";
    let program = compile(vec![query("q", sql)]);
    let mut engine = Engine::new(Arc::clone(&program), 1, &[]).expect("no tables are read");
    engine.add_partition("signin", PartitionId(0));
    engine.start();
    let mut push = |at: i64, who: &str| {
        let event = event(at, who, "Failure", "1.1.1.1", None);
        engine.push(batch(&program, 0, &[event])).expect("a batch of its own program").hits
    };
    assert!(push(10, "ann").is_empty());
    assert!(push(99, "bob").is_empty(), "69 is 59 behind the last event of ann");
    let over = push(100, "bob");
    assert_eq!(
        over.iter().map(|hit| (show(hit), hit.time)).collect::<Vec<_>>(),
        [("ann|1 x1".to_owned(), EventTime(70_000_000))]
    );
}

#[test]
fn explain_says_what_a_session_remembers_and_when_it_speaks() {
    let told = |sql: &str| compile(vec![query("q", sql)]).explain(0).expect("it compiled");
    let early = told(PER_WHO);
    assert!(early.contains("window session 1 min"), "{early}");
    assert!(early.contains("dropped when the session is over, after 1 min without an event"), "{early}");
    assert!(
        early.contains("when the threshold is crossed and the watermark has reached the session's start"),
        "{early}"
    );
    assert!(early.contains("without an event; at least 64 bytes per entry"), "{early}");
    let late = told(&PER_WHO.replace(">= 2", "= 2"));
    assert!(late.contains("when the watermark has passed the session's last event by its gap"), "{late}");
}
