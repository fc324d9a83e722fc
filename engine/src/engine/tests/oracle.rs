//! The engine against a slow twin: DataFusion's batch over the same rows must give the last record of every alert.
//!
//! Events, queries and ways to run are drawn at random: ties, duplicates, NULLs, bursts, times at the edge of windows
//! and of lateness, jumps; several streams and partitions; filters, CASE, windows, look-ups and views; any cut into
//! batches, any order of partitions and frames, any number of workers, a restart half-way, a replay of the archive. `WEIR_PROPTEST_CASES` says
//! how many cases are tried.

mod drive;
mod events;
mod first_seen;
mod grammar;
mod joins;
mod over;
mod sequence;
mod twin;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::Config;

use self::drive::{Way, run};
use self::events::{Partition, TABLE_ROWS};
use self::grammar::Select;
use super::{published, query};
use crate::{Activity, Catalog, EventTime, Hit, LateReason, Program, Query, Uid, parse_catalog};

const STREAMS: &str = "
CREATE STREAM s (time TIMESTAMP, id STRING, k STRING, t STRING, n BIGINT, f DOUBLE, b BOOLEAN)
WITH (event_time = 'time', lateness = '10 seconds', future_guard = '10 minutes');
CREATE STREAM r (time TIMESTAMP, id STRING, k STRING, t STRING, n BIGINT, f DOUBLE, b BOOLEAN)
WITH (event_time = 'time', lateness = '3 seconds', future_guard = '10 minutes');
CREATE VIEW v AS
SELECT time, id, k, t, n, f, b FROM s WHERE b IS NOT FALSE
UNION ALL SELECT time, id, upper(k) AS k, 'r' AS t, n + 1 AS n, f, NOT b AS b FROM r;
CREATE VIEW w AS
SELECT time, id, k, CASE WHEN n > 1 THEN 'xbig' WHEN n <= 1 THEN 'small' END AS t, n, f, b FROM v WHERE k IS NOT NULL;
CREATE TABLE tab (key STRING, weight BIGINT, tag STRING) WITH (location = 'tab.csv', format = 'csv');
";

fn catalog() -> Catalog {
    let (catalog, diagnostics) = parse_catalog(&[("oracle.sql".to_owned(), STREAMS.to_owned())]);
    assert_eq!(diagnostics, []);
    catalog
}

fn cases(few: u32) -> Config {
    let wanted = std::env::var("WEIR_PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    Config { cases: wanted.unwrap_or(few), max_shrink_iters: 2000, ..Config::default() }
}

/// Alerts that a record told as new, and that turned out to be repeats. Late events are told at once, and what is late in
/// one partition may be on time in another.
fn wrongly_new(hits: &[Hit], of: usize) -> BTreeSet<Uid> {
    let is_new = |hit: &&Hit| !hit.provisional && !hit.late && hit.suppressed_by.is_none();
    let last: BTreeMap<Uid, &Hit> = hits.iter().map(|hit| (hit.uid, hit)).collect();
    let told = hits.iter().filter(|hit| hit.query == of).filter(is_new).map(|hit| hit.uid);
    told.filter(|uid| last[uid].suppressed_by.is_some()).collect()
}

/// The last record of each alert, as text; the first of each must be a create, and no other.
fn last_records(hits: &[Hit], of: usize, is_row_level: bool) -> BTreeMap<Uid, String> {
    let mut last: BTreeMap<Uid, &Hit> = BTreeMap::new();
    for hit in hits.iter().filter(|hit| hit.query == of) {
        let before = last.insert(hit.uid, hit);
        assert_eq!(hit.activity == Activity::Create, before.is_none(), "one create, and it comes first: {hit:?}");
        assert!(before.is_none_or(|before| before.count <= hit.count), "a count never falls: {hit:?}");
    }
    assert!(last.values().all(|hit| !hit.provisional), "everything is settled at the end");
    last.into_iter()
        .map(|(uid, hit)| (uid, twin::show(&hit.row, 0, hit.count, is_row_level && hit.late, hit.suppressed_by)))
        .collect()
}

/// The time of each alert.
fn times(hits: &[Hit]) -> BTreeMap<Uid, EventTime> {
    hits.iter().map(|hit| (hit.uid, hit.time)).collect()
}

fn asked(index: usize, select: &Select) -> Query {
    let (cooldown_us, cooldown_keys) = match &select.cooldown {
        Some((period, keys)) => (Some(*period), keys.iter().map(|key| (*key).to_owned()).collect()),
        None => (None, vec![]),
    };
    Query { cooldown_us, cooldown_keys, ..query(&format!("q{index}"), &select.sql) }
}

fn check(selects: &[Select], partitions: &[Partition], ways: &[Way]) -> Result<(), TestCaseError> {
    let catalog = catalog();
    let queries = selects.iter().enumerate().map(|(index, select)| asked(index, select)).collect();
    let (program, faults) = Program::compile(&catalog, &published(), queries);
    prop_assert_eq!(faults, vec![], "the queries compile");
    let program = Arc::new(program);
    let expected: Vec<BTreeMap<Uid, String>> = selects
        .iter()
        .enumerate()
        .map(|(index, select)| twin::records(&catalog, &program, index, select, partitions))
        .collect();
    let read = |stream: &str| program.columns(stream).is_some();
    let mut expected_late = twin::late_events(partitions.iter().filter(|partition| read(partition.stream)));
    expected_late.sort();
    let replayed = drive::from_archive(&program, partitions);
    let times = times(&replayed);
    for (index, select) in selects.iter().enumerate() {
        let got = last_records(&replayed, index, select.groups.is_none());
        prop_assert_eq!(&got, &expected[index], "{}\nfrom the archive", select.sql);
    }
    for way in ways {
        let (hits, mut late) = run(&program, partitions, way);
        prop_assert_eq!(&self::times(&hits), &times, "times of hits, run as {:?}", way);
        late.sort_by_key(|late| (late.stream.to_string(), late.partition, late.time, late.uid, late.reason));
        let late: Vec<_> = late
            .into_iter()
            .map(|late| (late.stream.to_string(), late.partition, late.time, late.uid, late.reason))
            .collect();
        prop_assert_eq!(&late, &expected_late, "late events, run as {:?}", way);
        for (index, select) in selects.iter().enumerate() {
            let got = last_records(&hits, index, select.groups.is_none());
            prop_assert_eq!(&got, &expected[index], "{}\nrun as {:?}", select.sql, way);
            prop_assert_eq!(wrongly_new(&hits, index), BTreeSet::new(), "{}\nrun as {:?}", select.sql, way);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(cases(120))]

    #[test]
    fn every_way_to_run_gives_the_answer_of_batch(
        selects in prop::collection::vec(grammar::select(), 1..3),
        partitions in events::partitions(),
        ways in prop::collection::vec(drive::way(), 2),
    ) {
        check(&selects, &partitions, &ways)?;
    }
}

proptest! {
    #![proptest_config(cases(80))]

    /// Thresholds fire early and are corrected at the close, so they get cases of their own.
    #[test]
    fn thresholds_give_the_answer_of_batch(
        select in grammar::threshold(),
        partitions in events::partitions(),
        ways in prop::collection::vec(drive::way(), 3),
    ) {
        check(&[select], &partitions, &ways)?;
    }
}

proptest! {
    #![proptest_config(cases(120))]

    /// Values in the order of events, however they come, and sketches.
    #[test]
    fn values_in_order_give_the_answer_of_batch(
        select in grammar::in_order(),
        partitions in events::partitions(),
        ways in prop::collection::vec(drive::way(), 3),
    ) {
        check(&[select], &partitions, &ways)?;
    }
}

proptest! {
    #![proptest_config(cases(120))]

    /// Sessions, of which the events themselves say when they begin and end.
    #[test]
    fn sessions_give_the_answer_of_batch(
        select in grammar::of_sessions(),
        partitions in events::partitions(),
        ways in prop::collection::vec(drive::way(), 3),
    ) {
        check(&[select], &partitions, &ways)?;
    }
}

proptest! {
    #![proptest_config(cases(60))]

    /// Whatever comes first, what is told as new stays so.
    #[test]
    fn repeats_are_suppressed_as_if_in_order(
        select in grammar::cooling(),
        partitions in events::partitions(),
        ways in prop::collection::vec(drive::way(), 3),
    ) {
        check(&[select], &partitions, &ways)?;
    }
}

proptest! {
    #![proptest_config(cases(120))]

    /// Frames that slide.
    #[test]
    fn sliding_frames_give_the_answer_of_batch(
        selects in prop::collection::vec(over::select(), 1..3),
        partitions in events::partitions(),
        ways in prop::collection::vec(drive::way(), 2),
    ) {
        check(&selects, &partitions, &ways)?;
    }
}

proptest! {
    #![proptest_config(cases(120))]

    /// Frames of so many rows, earlier rows, and numbers of rows.
    #[test]
    fn counted_frames_give_the_answer_of_batch(
        selects in prop::collection::vec(over::select_counted(), 1..3),
        partitions in events::partitions(),
        ways in prop::collection::vec(drive::way(), 2),
    ) {
        check(&selects, &partitions, &ways)?;
    }
}

proptest! {
    #![proptest_config(cases(120))]

    /// What was not seen before.
    #[test]
    fn novelty_gives_the_answer_of_batch(
        selects in prop::collection::vec(first_seen::select(), 1..3),
        partitions in events::partitions(),
        ways in prop::collection::vec(drive::way(), 2),
    ) {
        check(&selects, &partitions, &ways)?;
    }
}

proptest! {
    #![proptest_config(cases(80))]

    /// What was not seen before, under windows and joins and over them.
    #[test]
    fn composed_novelty_gives_the_answer_of_batch(
        select in first_seen::select_composed(),
        partitions in events::partitions(),
        ways in prop::collection::vec(drive::way(), 2),
    ) {
        check(&[select], &partitions, &ways)?;
    }
}

proptest! {
    #![proptest_config(cases(150))]

    #[test]
    fn joins_give_the_answer_of_batch(
        select in joins::select(),
        partitions in events::partitions(),
        ways in prop::collection::vec(drive::way(), 3),
    ) {
        check(&[select], &partitions, &ways)?;
    }
}

/// An oracle that never sees anything agrees with everything.
#[test]
fn the_cases_are_not_empty() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for _ in 0..100 {
        let drawn = (grammar::threshold(), events::partitions(), drive::way()).new_tree(&mut runner);
        let (select, partitions, way) = drawn.expect("a case").current();
        let (program, _) = Program::compile(&catalog(), &published(), vec![query("q0", &select.sql)]);
        let (hits, late) = run(&Arc::new(program), &partitions, &way);
        let mut note = |what, is_so: bool| *seen.entry(what).or_default() += usize::from(is_so);
        note("hits", !hits.is_empty());
        note("updates", hits.iter().any(|hit| hit.activity == Activity::Update));
        note("counts", hits.iter().any(|hit| hit.count > 1));
        note("late", late.iter().any(|late| late.reason == LateReason::Lateness));
        note("future", late.iter().any(|late| late.reason == LateReason::Future));
    }
    let few: Vec<_> = [("hits", 30), ("updates", 4), ("counts", 2), ("late", 40), ("future", 3)]
        .into_iter()
        .filter(|(what, least)| seen.get(what).is_none_or(|count| count < least))
        .collect();
    assert_eq!(few, [], "too rarely seen; all that was seen: {seen:?}");
}

/// Of a hundred cases, how many have hits.
fn cases_with_hits(select: impl Strategy<Value = Select>) -> usize {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let cases = (select, events::partitions(), drive::way());
    let has_hits = |_: &i32| {
        let (select, partitions, way) = cases.new_tree(&mut runner).expect("a case").current();
        let (program, _) = Program::compile(&catalog(), &published(), vec![query("q0", &select.sql)]);
        !run(&Arc::new(program), &partitions, &way).0.is_empty()
    };
    (0..100).filter(has_hits).count()
}

/// Joins that never find anything agree with everything too.
#[test]
fn the_joins_are_not_empty() {
    let with_hits = cases_with_hits(joins::select());
    assert!(with_hits >= 50, "{with_hits} of 100 cases have hits");
}

/// And so does novelty that never is.
#[test]
fn the_novelty_is_not_empty() {
    let with_hits = cases_with_hits(first_seen::select());
    assert!(with_hits >= 70, "{with_hits} of 100 cases have hits");
    let with_hits = cases_with_hits(first_seen::select_composed());
    assert!(with_hits >= 30, "{with_hits} of 100 composed cases have hits");
}

#[test]
fn the_table_has_what_is_hard_about_tables() {
    let keys: Vec<Option<&str>> = TABLE_ROWS.iter().map(|(key, _, _)| *key).collect();
    assert!(keys.contains(&None), "a NULL key");
    assert!(keys.iter().filter(|key| **key == Some("a")).count() > 1, "a key with two rows");
}
