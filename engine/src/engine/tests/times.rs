//! Absurd times: what they do to windows, to row-level queries and to the clock of their partition. `docs/time.md` says the same
//! in words.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use serde_json::Value;

use super::{batch, check, compile, event, indicators, leases, query};
use crate::engine::Engine;
use crate::{LateReason, PartitionId, Program, Query, SourceBatch};

/// An ordinary instant, in seconds; a minute begins with it.
const NOW: i64 = 1_800_000_000;
/// Ten years.
const FAR: i64 = 315_360_000;
/// The guard of `signin`, which does not name one.
const GUARD: i64 = 3_600;

/// What came of some events, in seconds behind [`NOW`].
#[derive(Debug, PartialEq, Eq)]
struct Told {
    /// What windows did not see, and why.
    late: Vec<(i64, LateReason)>,
    /// What a row-level query saw.
    rows: Vec<i64>,
    /// How many events each minute had, by its end.
    counted: Vec<(i64, i64)>,
}

/// Events of one partition, each with its time and the arrival, where that is known; whole, one by one, and stopped and
/// restored behind each of them.
fn told(events: &[(i64, Option<i64>)]) -> Told {
    let whole = told_in(events, events.len(), None);
    assert_eq!(told_in(events, 1, None), whole, "one by one");
    for behind in 0..events.len() {
        assert_eq!(told_in(events, 1, Some(behind)), whole, "restored behind event {behind}");
    }
    whole
}

fn minutes() -> Query {
    query(
        "minutes",
        "SELECT window_end AS time, count(*) AS n FROM TUMBLE(signin, time, INTERVAL '1 minute')
         GROUP BY window_start, window_end",
    )
}

fn started(program: &Arc<Program>) -> Engine {
    let mut engine = Engine::new(Arc::clone(program), 1, &[indicators(), leases()]).expect("tables are given");
    engine.add_partition("signin", PartitionId(0));
    engine.start();
    engine
}

fn told_in(events: &[(i64, Option<i64>)], rows_per_batch: usize, restored_behind: Option<usize>) -> Told {
    let rows = query("rows", "SELECT time, user_name AS who FROM signin");
    let program = compile(vec![rows, minutes()]);
    let mut engine = started(&program);
    let mut outputs = Vec::new();
    for (at, part) in events.chunks(rows_per_batch).enumerate() {
        let numbered = (0..).zip(part).map(|(n, (time, _))| {
            let number = (at * rows_per_batch) as i64 + n;
            event(NOW + time, "ann", "Success", "1.1.1.1", Some(number))
        });
        let batch = batch(&program, 0, &numbered.collect::<Vec<Value>>());
        outputs.push(engine.push(arrived(batch, part)).expect("a batch of its own program"));
        if restored_behind == Some(at) {
            let (told, saved) = engine.snapshot().expect("operators can be saved");
            outputs.push(told);
            engine = started(&program);
            engine.restore(&saved).expect("own snapshot");
        }
    }
    outputs.push(engine.finish().expect("the end"));

    let seconds = |us: i64| us / 1_000_000 - NOW;
    let late = outputs.iter().flat_map(|output| &output.late);
    let late = late.map(|late| (seconds(late.time.0), late.reason)).collect();
    let hits = || outputs.iter().flat_map(|output| &output.hits);
    let time = |row: &RecordBatch| seconds(row.column(0).as_primitive::<TimestampMicrosecondType>().value(0));
    let mut rows: Vec<_> = hits().filter(|hit| hit.query == 0).map(|hit| time(&hit.row)).collect();
    rows.sort_unstable();
    let counted = hits().filter(|hit| hit.query == 1);
    let mut counted: Vec<_> =
        counted.map(|hit| (time(&hit.row), hit.row.column(1).as_primitive::<Int64Type>().value(0))).collect();
    counted.sort_unstable();
    Told { late, rows, counted }
}

/// The batch with the arrival of each of its rows.
fn arrived(batch: SourceBatch, events: &[(i64, Option<i64>)]) -> SourceBatch {
    let arrivals = events.iter().map(|(_, arrival)| arrival.map(|arrival| (NOW + arrival) * 1_000_000));
    let arrivals: ArrayRef = Arc::new(arrivals.collect::<TimestampMicrosecondArray>());
    let schema = batch.rows.schema();
    let columns = schema.fields().iter().zip(batch.rows.columns()).map(|(field, column)| match field.name().as_str() {
        "_arrival" => Arc::clone(&arrivals),
        _ => Arc::clone(column),
    });
    let rows = RecordBatch::try_new(Arc::clone(&schema), columns.collect()).expect("the same columns");
    SourceBatch { rows, ..batch }
}

/// Events whose arrival is not known.
fn unknown(times: impl IntoIterator<Item = i64>) -> Vec<(i64, Option<i64>)> {
    times.into_iter().map(|time| (time, None)).collect()
}

#[test]
fn one_record_from_the_future_is_set_aside_when_sixteen_others_do_not_bear_it_out() {
    let others = || 2..=17;
    let told = told(&unknown([0, 1, FAR].into_iter().chain(others())));
    assert_eq!(told.late, [(FAR, LateReason::Future)]);
    assert_eq!(told.rows, (0..=17).chain([FAR]).collect::<Vec<_>>(), "a row-level query sees it");
    assert_eq!(told.counted, [(60, 18)], "the minute stayed open");
}

#[test]
fn end_of_input_bears_out_a_jump() {
    let told = told(&unknown([0, FAR].into_iter().chain(1..=15)));
    assert_eq!(told.late, []);
    assert_eq!(told.counted, [(60, 16), (FAR + 60, 1)]);
}

#[test]
fn one_of_the_next_sixteen_records_bears_out_a_jump_and_the_clock_follows() {
    let borne_out_by = |second: i64| told(&unknown([0].into_iter().chain([FAR]).chain(1..=15).chain([second, 16])));
    let behind = (16, LateReason::Lateness);
    let ahead = borne_out_by(FAR + 1);
    assert_eq!(ahead.late, [behind], "what comes behind the jump is late");
    assert_eq!((ahead.rows.len(), ahead.counted), (19, vec![(60, 16), (FAR + 60, 2)]));
    let at_the_guard = borne_out_by(FAR - GUARD);
    assert_eq!(at_the_guard.late, [(FAR - GUARD, LateReason::Lateness), behind], "so is what bears it out from so far");
    assert_eq!(at_the_guard.counted, [(60, 16), (FAR + 60, 1)]);
    let further_behind = told(&unknown([0, FAR, FAR - GUARD - 1, 1]));
    assert_eq!(further_behind.late, [(FAR, LateReason::Future)], "the nearer jump waits instead");
}

#[test]
fn of_two_jumps_the_nearer_waits() {
    let told = told(&unknown([0, 10 * FAR, FAR, 1, FAR + 1, 2]));
    assert_eq!(told.late, [(10 * FAR, LateReason::Future), (2, LateReason::Lateness)]);
    assert_eq!(told.counted, [(60, 2), (FAR + 60, 2)]);
}

#[test]
fn jump_no_further_than_the_guard_is_believed_at_once() {
    let told = told(&unknown([0, GUARD, 1]));
    assert_eq!(told.late, [(1, LateReason::Lateness)]);
}

#[test]
fn record_from_the_past_is_late_moves_nothing_and_is_seen_by_rows() {
    for past in [-FAR, -NOW] {
        let told = told(&unknown([0, past, 1]));
        assert_eq!(told.late, [(past, LateReason::Lateness)]);
        assert_eq!(told.rows, [past, 0, 1]);
        assert_eq!(told.counted, [(60, 2)]);
    }
}

#[test]
fn time_zero_at_the_beginning_does_no_harm() {
    let told = told(&unknown([-NOW, 0, 1, 2]));
    assert_eq!(told.late, [], "the jump from 1970 to today is borne out by the next record");
    assert_eq!(told.counted, [(60 - NOW, 1), (60, 3)]);
}

#[test]
fn first_record_is_believed_where_its_arrival_is_not_known() {
    let told = told(&unknown([FAR, 0, 1]));
    assert_eq!(told.late, [(0, LateReason::Lateness), (1, LateReason::Lateness)]);
    assert_eq!(told.rows, [0, 1, FAR]);
}

#[test]
fn arrival_tells_at_once_what_is_from_the_future() {
    let told = told(&[(FAR, Some(0)), (0, Some(0)), (GUARD + 1, Some(0)), (GUARD, Some(0)), (FAR, Some(FAR))]);
    assert_eq!(told.late, [(FAR, LateReason::Future), (GUARD + 1, LateReason::Future)]);
    assert_eq!(told.counted, [(60, 1), (GUARD + 60, 1), (FAR + 60, 1)], "an arrival in ten years is believed");
}

#[test]
fn partition_that_went_into_the_future_closes_no_window_of_another() {
    let at = |times: [i64; 3]| times.map(|time| event(NOW + time, "ann", "Success", "1.1.1.1", Some(time))).to_vec();
    let partitions = [at([0, FAR, FAR + 1]), at([1, 2, 3])];
    check(vec![minutes()], &partitions, &["2027-01-15T08:01:00|4 x1", "2037-01-12T08:01:00|2 x1"]);
}
