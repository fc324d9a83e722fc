//! Sequences against a slow twin: the preferred match from each row by the definition of the pattern, over the whole
//! partition at once. The twin knows no steps, no watermark and no waiting. A hunt over the same rows must give the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray};
use arrow::row::{OwnedRow, RowConverter, SortField};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, LogicalPlanBuilder, TableSource};
use datafusion::prelude::SessionContext;
use proptest::prelude::*;

use super::super::{published, query};
use super::events::{self, Event, Partition};
use super::{cases, catalog, drive, last_records, twin};
use crate::{BatchSequence, Program, Uid, plan_batch};

const NAMES: [&str; 4] = ["A", "B", "C", "D"];
/// The variable of the step that must be missing.
const MISSING: usize = 3;

#[derive(Debug, Clone)]
enum Pattern {
    Variable(usize),
    Concat(Vec<Pattern>),
    Either(Vec<Pattern>),
    Repeat { of: Box<Pattern>, least: usize, most: Option<usize>, is_reluctant: bool },
}

impl Pattern {
    fn text(&self) -> String {
        let all = |parts: &[Self], by: &str| parts.iter().map(Self::text).collect::<Vec<_>>().join(by);
        match self {
            Self::Variable(variable) => NAMES[*variable].to_owned(),
            Self::Concat(parts) => all(parts, " "),
            Self::Either(parts) => format!("({})", all(parts, " | ")),
            Self::Repeat { of, least, most, is_reluctant } => {
                let quantifier = match (least, most) {
                    (0, None) => "*".to_owned(),
                    (1, None) => "+".to_owned(),
                    (0, Some(1)) => "?".to_owned(),
                    (least, None) => format!("{{{least},}}"),
                    (least, Some(most)) if least == most => format!("{{{least}}}"),
                    (least, Some(most)) => format!("{{{least},{most}}}"),
                };
                format!("({}){quantifier}{}", of.text(), if *is_reluctant { "?" } else { "" })
            }
        }
    }

    fn is_nullable(&self) -> bool {
        match self {
            Self::Variable(_) => false,
            Self::Concat(parts) => parts.iter().all(Self::is_nullable),
            Self::Either(parts) => parts.iter().any(Self::is_nullable),
            Self::Repeat { of, least, .. } => *least == 0 || of.is_nullable(),
        }
    }

    fn has(&self, wanted: usize) -> bool {
        match self {
            Self::Variable(variable) => *variable == wanted,
            Self::Concat(parts) | Self::Either(parts) => parts.iter().any(|part| part.has(wanted)),
            Self::Repeat { of, .. } => of.has(wanted),
        }
    }
}

/// Conditions of a variable, in SQL and as what they mean.
#[derive(Debug, Clone, Copy)]
enum Condition {
    Anything,
    Above(i64),
    AboveLastA,
    NotBelowFirst,
    AbovePrevious,
    BelowNext,
    FewOfA,
    SmallSum,
    OverTheOneBefore,
}

impl Condition {
    fn text(self, own: usize) -> Option<String> {
        let own = NAMES[own];
        Some(match self {
            Self::Anything => return None,
            Self::Above(than) => format!("{own}.n > {than}"),
            Self::AboveLastA => "n > LAST(A.n, 0) + CASE WHEN count(A.*) > 0 THEN -1 ELSE 0 END".to_owned(),
            Self::NotBelowFirst => format!("{own}.N >= FIRST(n)"),
            Self::AbovePrevious => "n > PREV(n)".to_owned(),
            Self::BelowNext => format!("{own}.n < NEXT({own}.n)"),
            Self::FewOfA => "count(a.*) < 3".to_owned(),
            Self::SmallSum => "coalesce(sum(n), 0) < 7".to_owned(),
            Self::OverTheOneBefore => "n >= last(n, 1)".to_owned(),
        })
    }
}

#[derive(Debug, Clone)]
struct Sequence {
    pattern: Pattern,
    is_missing: bool,
    conditions: [Condition; 4],
    within_s: i64,
    skip: &'static str,
}

impl Sequence {
    fn sql(&self) -> String {
        let missing = if self.is_missing { " D{0}" } else { "" };
        let used = |variable: usize| self.pattern.has(variable) || (self.is_missing && variable == MISSING);
        let defines = (0..4).filter(|variable| used(*variable)).filter_map(|variable| {
            Some(format!("{} AS {}", NAMES[variable], self.conditions[variable].text(variable)?))
        });
        let defines: Vec<String> = defines.collect();
        let defines = if defines.is_empty() { "A AS true".to_owned() } else { defines.join(", ") };
        format!(
            "SELECT m.time, m.k, f, l, cb, total, cl, p FROM s MATCH_RECOGNIZE (PARTITION BY k ORDER BY time
             MEASURES MATCH_TIME() AS time, FIRST(n) AS f, FINAL LAST(a.n) AS l, count(B.n) AS cb, sum(n) AS total,
             CLASSIFIER() AS cl, PREV(FIRST(n)) AS p
             ONE ROW PER MATCH AFTER MATCH SKIP {} PATTERN ({}{missing}) WITHIN INTERVAL '{} seconds' DEFINE {defines}) AS m",
            self.skip,
            self.pattern.text(),
            self.within_s,
        )
    }
}

fn pattern() -> impl Strategy<Value = Pattern> {
    let leaf = (0_usize..3).prop_map(Pattern::Variable);
    leaf.prop_recursive(3, 8, 3, |inner| {
        let several = prop::collection::vec(inner.clone(), 2..4);
        let most = prop::option::of(0_usize..3);
        prop_oneof![
            3 => several.clone().prop_map(Pattern::Concat),
            1 => several.prop_map(Pattern::Either),
            4 => (inner, 0_usize..3, most, any::<bool>()).prop_map(|(of, least, more, is_reluctant)| {
                let of = if of.is_nullable() { Pattern::Variable(1) } else { of };
                let most = more.map(|more| (least + more).max(1));
                Pattern::Repeat { of: Box::new(of), least, most, is_reluctant }
            }),
        ]
    })
}

fn sequence() -> impl Strategy<Value = Sequence> {
    let condition = prop_oneof![
        2 => Just(Condition::Anything),
        4 => (-2_i64..4).prop_map(Condition::Above),
        1 => Just(Condition::AboveLastA),
        1 => Just(Condition::NotBelowFirst),
        1 => Just(Condition::AbovePrevious),
        1 => Just(Condition::BelowNext),
        1 => Just(Condition::FewOfA),
        1 => Just(Condition::SmallSum),
        1 => Just(Condition::OverTheOneBefore),
    ];
    let conditions = [condition.clone(), condition.clone(), condition.clone(), condition];
    let within = prop::sample::select(vec![1_i64, 3, 5, 12]);
    let skip = prop::sample::select(vec!["PAST LAST ROW", "TO NEXT ROW", "TO FIRST b", "TO LAST A", "TO B"]);
    (pattern(), prop::bool::weighted(0.3), conditions, within, skip).prop_map(
        |(pattern, is_missing, conditions, within_s, skip)| {
            let mut parts = vec![];
            if !pattern.has(0) || pattern.is_nullable() {
                parts.push(Pattern::Variable(0));
            }
            let lacks_b = !pattern.has(1);
            parts.push(pattern);
            if lacks_b {
                let of = Box::new(Pattern::Variable(1));
                parts.push(Pattern::Repeat { of, least: 0, most: Some(1), is_reluctant: false });
            }
            Sequence { pattern: Pattern::Concat(parts), is_missing, conditions, within_s, skip }
        },
    )
}

/// One partition of the twin, in order.
struct Matching<'a> {
    sequence: &'a Sequence,
    rows: &'a [(Event, Uid)],
}

impl Matching<'_> {
    fn n(&self, row: usize) -> Option<i64> {
        self.rows[row].0.n
    }

    fn within(&self) -> i64 {
        self.sequence.within_s * 1_000_000
    }

    fn near(&self, row: usize, other: Option<usize>) -> Option<usize> {
        let other = other.filter(|other| *other < self.rows.len())?;
        ((self.rows[row].0.time - self.rows[other].0.time).abs() < self.within()).then_some(other)
    }

    /// Whether a row matches a variable behind a path that began at `start`.
    fn holds(&self, variable: usize, row: usize, start: usize, path: &[usize]) -> bool {
        let mut mapped: Vec<(usize, usize)> = path.iter().enumerate().map(|(at, of)| (start + at, *of)).collect();
        mapped.push((row, variable));
        let of_a: Vec<usize> = mapped.iter().filter(|(_, of)| *of == 0).map(|(row, _)| *row).collect();
        let n = self.n(row);
        let above = |other: Option<i64>| n.zip(other).is_some_and(|(n, other)| n > other);
        let not_below = |other: Option<i64>| n.zip(other).is_some_and(|(n, other)| n >= other);
        match self.sequence.conditions[variable] {
            Condition::Anything => true,
            Condition::Above(than) => above(Some(than)),
            Condition::AboveLastA => above(of_a.last().and_then(|row| self.n(*row)).map(|n| n - 1)),
            Condition::NotBelowFirst => not_below(self.n(mapped[0].0)),
            Condition::AbovePrevious => above(self.near(row, row.checked_sub(1)).and_then(|row| self.n(row))),
            Condition::BelowNext => {
                let next = self.near(row, Some(row + 1)).and_then(|row| self.n(row));
                n.zip(next).is_some_and(|(n, next)| n < next)
            }
            Condition::FewOfA => of_a.len() < 3,
            Condition::SmallSum => mapped.iter().filter_map(|(row, _)| self.n(*row)).sum::<i64>() < 7,
            Condition::OverTheOneBefore => {
                not_below(mapped.len().checked_sub(2).and_then(|before| self.n(mapped[before].0)))
            }
        }
    }

    /// Whether the pattern and what follows it match behind a path; the path is then the whole match.
    fn go(
        &self,
        pattern: &Pattern,
        start: usize,
        path: &mut Vec<usize>,
        then: &mut dyn FnMut(&mut Vec<usize>) -> bool,
    ) -> bool {
        match pattern {
            Pattern::Variable(variable) => {
                let row = start + path.len();
                let is_in_time =
                    row < self.rows.len() && self.rows[row].0.time - self.rows[start].0.time < self.within();
                if !is_in_time || !self.holds(*variable, row, start, path) {
                    return false;
                }
                path.push(*variable);
                if then(path) {
                    return true;
                }
                path.pop();
                false
            }
            Pattern::Concat(parts) => match parts.split_first() {
                None => then(path),
                Some((first, rest)) => {
                    let rest = Pattern::Concat(rest.to_vec());
                    self.go(first, start, path, &mut |path| self.go(&rest, start, path, then))
                }
            },
            Pattern::Either(parts) => parts.iter().any(|part| self.go(part, start, path, then)),
            Pattern::Repeat { of, least, most, is_reluctant } => {
                let rest = Pattern::Repeat {
                    of: of.clone(),
                    least: least.saturating_sub(1),
                    most: most.map(|most| most.saturating_sub(1)),
                    is_reluctant: *is_reluctant,
                };
                let may_go_on = *most != Some(0);
                if *least > 0 {
                    return self.go(of, start, path, &mut |path| self.go(&rest, start, path, then));
                }
                if *is_reluctant && then(path) {
                    return true;
                }
                if may_go_on && self.go(of, start, path, &mut |path| self.go(&rest, start, path, then)) {
                    return true;
                }
                !*is_reluctant && then(path)
            }
        }
    }

    fn is_missing(&self, start: usize, path: &[usize]) -> bool {
        let later = (start + path.len()..self.rows.len())
            .filter(|row| self.rows[*row].0.time - self.rows[start].0.time < self.within());
        !later.into_iter().any(|row| self.holds(MISSING, row, start, path))
    }

    fn matches(&self) -> Vec<(usize, Vec<usize>)> {
        let mut found = vec![];
        let mut start = 0;
        while start < self.rows.len() {
            let mut path = vec![];
            let is_match = self.go(&self.sequence.pattern, start, &mut path, &mut |path| {
                !self.sequence.is_missing || self.is_missing(start, path)
            });
            if !is_match {
                start += 1;
                continue;
            }
            let first_b = path.iter().position(|of| *of == 1);
            let last = |wanted: usize| path.iter().rposition(|of| *of == wanted);
            let by = match self.sequence.skip {
                "PAST LAST ROW" => Some(path.len()),
                "TO NEXT ROW" => Some(1),
                "TO FIRST b" => first_b,
                "TO LAST A" => last(0),
                _ => last(1),
            };
            let next = start + by.unwrap_or(1).max(1);
            found.push((start, path));
            start = next;
        }
        found
    }
}

/// The records that the alerts must end with.
fn expected(sequence: &Sequence, partitions: &[Partition]) -> BTreeMap<Uid, String> {
    let mut of_keys: BTreeMap<Option<&str>, Vec<(Event, Uid)>> = BTreeMap::new();
    for partition in partitions.iter().filter(|partition| partition.stream == "s") {
        for (event, late) in partition.events.iter().zip(twin::judged(partition)) {
            if late.is_none() {
                of_keys.entry(event.k).or_default().push((event.clone(), event.uid("s")));
            }
        }
    }
    let mut records: BTreeMap<Uid, (OwnedRow, u64, RecordBatch)> = BTreeMap::new();
    for (key, rows) in &mut of_keys {
        rows.sort_by_key(|(event, uid)| (event.time, *uid));
        let matching = Matching { sequence, rows };
        for (start, path) in matching.matches() {
            let taken = &rows[start..start + path.len()];
            let cause = std::iter::once(b"sequence".as_slice()).chain(taken.iter().map(|(_, uid)| uid.0.as_slice()));
            let uid = Uid::of_cause([b"q0".as_slice(), &Uid::of_cause(cause).0]);
            let time = match sequence.is_missing {
                true => taken[0].0.time + matching.within(),
                false => taken[taken.len() - 1].0.time,
            };
            let of =
                |wanted: usize| taken.iter().zip(&path).filter(move |(_, of)| **of == wanted).map(|(row, _)| row.0.n);
            let sum = taken.iter().filter_map(|row| row.0.n).reduce(|sum, n| sum + n);
            let before = matching.near(start, start.checked_sub(1)).and_then(|row| matching.n(row));
            let number = |value: Option<i64>| -> ArrayRef { Arc::new(Int64Array::from(vec![value])) };
            let text = |value: Option<&str>| -> ArrayRef { Arc::new(StringViewArray::from(vec![value])) };
            let row = RecordBatch::try_from_iter_with_nullable([
                ("time", Arc::new(TimestampMicrosecondArray::from(vec![time])) as ArrayRef, true),
                ("k", text(*key), true),
                ("f", number(taken[0].0.n), true),
                ("l", number(of(0).next_back().flatten()), true),
                ("cb", number(Some(of(1).flatten().count() as i64)), true),
                ("total", number(sum), true),
                ("cl", text(path.last().map(|variable| NAMES[*variable])), true),
                ("p", number(before), true),
            ])
            .expect("one row");
            // Matches of one cause are one alert; of what they say the least is kept.
            let types = row.columns().iter().map(|column| SortField::new(column.data_type().clone())).collect();
            let converter = RowConverter::new(types).expect("columns that can be sorted");
            let said = converter.convert_columns(row.columns()).expect("one row").row(0).owned();
            let record = records.entry(uid).or_insert_with(|| (said.clone(), 0, row.clone()));
            record.1 += 1;
            if said.row() < record.0.row() {
                (record.0, record.2) = (said, row);
            }
        }
    }
    records.into_iter().map(|(uid, (_, count, row))| (uid, twin::show(&row, 0, count, false, None))).collect()
}

/// The rows that a hunt finds: its plan up to the sequence, sorted as the sequence asks, and matched a few rows at a time.
fn hunted(sql: &str, partitions: &[Partition], rows_per_batch: usize) -> Vec<String> {
    let source = |name: &str| -> Option<Arc<dyn TableSource>> {
        let rows = (name == "s").then(|| twin::rows_of(name, partitions, true))?;
        let table = MemTable::try_new(rows.schema(), vec![vec![rows]]).expect("rows of one schema");
        Some(provider_as_source(Arc::new(table)))
    };
    let plan = plan_batch(&catalog(), sql, &BTreeMap::new(), &source).expect("what runs live runs in batch");
    let mut found = None;
    plan.apply(|node| {
        if let LogicalPlan::Extension(Extension { node }) = node {
            found = Some((BatchSequence::of(node.as_ref())?, node.inputs()[0].clone()));
        }
        Ok(TreeNodeRecursion::Continue)
    })
    .expect("a sequence has a physical form");
    let (Some(sequence), input) = found.expect("the plan has a sequence") else { panic!("a node of another kind") };
    let columns = input.schema().columns();
    let by = sequence.order().map(|place| Expr::Column(columns[place].clone()).sort(true, true));
    let sorted = LogicalPlanBuilder::from(input).sort(by).expect("columns").build().expect("a plan");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let rows = runtime.block_on(async { SessionContext::new().execute_logical_plan(sorted).await?.collect().await });
    let mut run = sequence.begin();
    let mut matches = vec![];
    for batch in rows.expect("rows") {
        for from in (0..batch.num_rows()).step_by(rows_per_batch) {
            let part = batch.slice(from, rows_per_batch.min(batch.num_rows() - from));
            matches.extend(run.push(&part).expect("rows of its input"));
        }
    }
    matches.extend(run.finish().expect("the end"));
    // The key comes first there, and second in the SELECT.
    let order = [1, 0, 2, 3, 4, 5, 6, 7];
    let of_select = matches.iter().map(|batch| batch.project(&order).expect("eight columns"));
    let text = |batch: RecordBatch| -> Vec<String> {
        (0..batch.num_rows()).map(|row| twin::show(&batch, row, 1, false, None)).collect()
    };
    of_select.flat_map(text).collect()
}

/// Matches of one cause are one alert, which keeps what the least of them says; a hunt gives each.
fn check_hunted(hunted: &[String], expected: &BTreeMap<Uid, String>) -> Result<(), TestCaseError> {
    let mut count = 0;
    for record in expected.values() {
        let (row, times) = record.rsplit_once(" x").expect("a record has a count");
        count += times.parse::<usize>().expect("a number");
        prop_assert!(hunted.contains(&format!("{row} x1")), "{} is not among {:?}", record, hunted);
    }
    prop_assert_eq!(hunted.len(), count, "{:?} of {:?}", hunted, expected);
    Ok(())
}

fn check(sequence: &Sequence, partitions: &[Partition], ways: &[drive::Way]) -> Result<(), TestCaseError> {
    let sql = sequence.sql();
    let (program, faults) = Program::compile(&catalog(), &published(), vec![query("q0", &sql)]);
    prop_assert_eq!(faults, vec![], "{}", sql);
    let program = Arc::new(program);
    let expected = expected(sequence, partitions);
    let got = last_records(&drive::from_archive(&program, partitions), 0, true);
    prop_assert_eq!(&got, &expected, "{}\nfrom the archive", sql);
    for rows_per_batch in [1, 4, usize::MAX] {
        check_hunted(&hunted(&sql, partitions, rows_per_batch), &expected)?;
    }
    for way in ways {
        let got = last_records(&drive::run(&program, partitions, way).0, 0, true);
        prop_assert_eq!(&got, &expected, "{}\nrun as {:?}", sql, way);
    }
    Ok(())
}

proptest! {
    #![proptest_config(cases(150))]

    #[test]
    fn sequences_are_those_of_the_definition(
        sequence in sequence(),
        partitions in events::partitions(),
        ways in prop::collection::vec(drive::way(), 3),
    ) {
        check(&sequence, &partitions, &ways)?;
    }
}

/// An oracle that never sees anything agrees with everything.
#[test]
fn the_sequences_are_not_empty() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut some, mut long, mut missing) = (0, 0, 0);
    for _ in 0..200 {
        let (sequence, partitions) =
            (sequence(), events::partitions()).new_tree(&mut runner).expect("a case").current();
        let rows: Vec<_> = expected(&sequence, &partitions).into_values().collect();
        some += usize::from(!rows.is_empty());
        long += usize::from(rows.len() > 3);
        missing += usize::from(sequence.is_missing && !rows.is_empty());
    }
    assert!(some > 80 && long > 20 && missing > 15, "too rarely seen: {some} {long} {missing}");
}
