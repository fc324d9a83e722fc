//! Joins of two streams whose rows may lie only so far apart in time.
//!
//! Each side is remembered by key, in order of time, until the watermark says that nothing of the other side can match
//! it any more; a watermark costs what it forgets. A pair leaves when its later row comes, with the greater time. A row
//! that has or lacks a match (`EXISTS`, `NOT EXISTS`) is its own cause: it leaves at the first match under its own time,
//! for which the watermark is held back, or without one when the watermark passes its bound, under the bound's end.

mod side;

use std::sync::Arc;

use arrow::array::new_null_array;
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, TimestampMicrosecondArray, UInt64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, SchemaRef, UInt8Type};
use arrow::row::{RowConverter, SortField};
use datafusion::error::DataFusionError;

use self::side::{Entry, Key, Side};
use super::admit::{admitted, owned};
use super::stateless::conform;
use super::{Operator, Outbox};
use crate::error::EngineError;
use crate::graph::{JoinKind, JoinSpec};
use crate::identity::Uid;
use crate::rows::{Identity, Rows, batch_of, uid_array, uid_at};
use crate::snapshot::{Saved, Scope};
use crate::sql::total::{evaluate, evaluate_predicate};
use crate::table::TableVersion;
use crate::time::EventTime;

/// Pairs that are looked at together.
const PAIRS_MAX: usize = 8192;

/// A join of two streams.
pub(super) struct Join {
    spec: JoinSpec,
    output: SchemaRef,
    /// Keys of both sides, in the types of the first.
    keys: RowConverter,
    key_types: Vec<DataType>,
    /// The side whose rows are kept, then the other.
    sides: [Side; 2],
    watermark: EventTime,
}

/// Rows that came together with what was remembered of the other side, before the residual condition.
#[derive(Default)]
struct Pairs<'a> {
    rows: Vec<u64>,
    entries: Vec<&'a Entry>,
}

/// What arrived: the side it came from, its rows, and what is known of each.
struct Arrived<'r> {
    first: bool,
    rows: &'r Rows,
    is_matched: Vec<bool>,
}

impl Join {
    pub(super) fn new(spec: JoinSpec, inputs: &[SchemaRef], output: SchemaRef) -> Result<Self, EngineError> {
        let [left, right] = inputs else {
            return Err(DataFusionError::Internal("a join has two inputs".to_owned()).into());
        };
        let (first, second) = if spec.is_swapped { (right, left) } else { (left, right) };
        let key_types = spec.keys[0].iter().map(|key| key.data_type(first)).collect::<Result<Vec<_>, _>>()?;
        let keys = RowConverter::new(key_types.iter().cloned().map(SortField::new).collect())?;
        let sides = [Side::new(Arc::clone(first))?, Side::new(Arc::clone(second))?];
        Ok(Self { spec, output, keys, key_types, sides, watermark: EventTime::MIN })
    }

    /// The side that an input is.
    fn side_of(&self, input: usize) -> usize {
        if self.spec.is_swapped { 1 - input } else { input }
    }

    /// How long after its own time a row of a side may still be matched.
    fn reach(&self, side: usize) -> i64 {
        if side == 0 { self.spec.most_us } else { self.spec.least_us.saturating_neg() }
    }

    /// Whether no row that can match this one will come any more.
    fn is_past(&self, side: usize, time: i64) -> bool {
        self.watermark == EventTime::MAX || time.saturating_add(self.reach(side)) < self.watermark.0
    }

    /// The key of each row; `None` where a NULL matches nothing.
    fn keys_of(&self, side: usize, rows: &Rows, failures: &mut u64) -> Result<Vec<Option<Key>>, EngineError> {
        if self.key_types.is_empty() {
            let all = Key::from([].as_slice());
            return Ok(vec![Some(all); rows.len()]);
        }
        let values = self.spec.keys[side].iter().zip(&self.key_types).map(|(key, data_type)| {
            let values = evaluate(key.as_ref(), &rows.columns, failures)?;
            Ok(if values.data_type() == data_type { values } else { cast(&values, data_type)? })
        });
        let values = values.collect::<Result<Vec<ArrayRef>, EngineError>>()?;
        let encoded = self.keys.convert_columns(&values)?;
        let matches_nothing =
            |row: usize| !self.spec.null_equals_null && values.iter().any(|values| values.is_null(row));
        Ok((0..rows.len()).map(|row| (!matches_nothing(row)).then(|| Key::from(encoded.row(row).as_ref()))).collect())
    }

    /// Matches rows with what is remembered of the other side; what leaves goes to `out`.
    fn probe(&self, arrived: &mut Arrived<'_>, keys: &[Option<Key>], out: &mut Outbox) -> Result<(), EngineError> {
        let mut pairs = Pairs::default();
        let other = &self.sides[usize::from(arrived.first)];
        for (row, key) in keys.iter().enumerate() {
            let Some(entries) = key.as_ref().and_then(|key| other.entries(key)) else { continue };
            let time = arrived.rows.time.value(row);
            let (least, most) = (self.spec.least_us, self.spec.most_us);
            let (from, until) = if arrived.first {
                (time.saturating_add(least), time.saturating_add(most))
            } else {
                (time.saturating_sub(most), time.saturating_sub(least))
            };
            let start = entries.partition_point(|entry| entry.time < from);
            for entry in entries.range(start..).take_while(|entry| entry.time <= until) {
                // One match is enough for these.
                let is_settled = self.keeps_first_only()
                    && if arrived.first { arrived.is_matched[row] } else { entry.is_matched.get() };
                if is_settled {
                    continue;
                }
                pairs.rows.push(row as u64);
                pairs.entries.push(entry);
                if pairs.rows.len() >= PAIRS_MAX {
                    self.settle(arrived, std::mem::take(&mut pairs), out)?;
                }
            }
        }
        self.settle(arrived, pairs, out)
    }

    const fn keeps_first_only(&self) -> bool {
        matches!(self.spec.kind, JoinKind::Semi | JoinKind::Anti)
    }

    /// Decides which pairs match, notes it, and puts out what that makes.
    fn settle(&self, arrived: &mut Arrived<'_>, pairs: Pairs<'_>, out: &mut Outbox) -> Result<(), EngineError> {
        if pairs.rows.is_empty() {
            return Ok(());
        }
        let here = arrived.rows.take(&UInt64Array::from(pairs.rows.clone()))?;
        let there = self.sides[usize::from(arrived.first)].rows_of(&pairs.entries)?;
        let (first, second) = if arrived.first { (&here, &there) } else { (&there, &here) };
        let holds = self.holds(first, second, &mut out.failures)?;
        let mut newly_matched = vec![];
        for (at, _) in holds.iter().enumerate().filter(|(_, holds)| *holds == Some(true)) {
            let was_matched = if arrived.first {
                std::mem::replace(&mut arrived.is_matched[pairs.rows[at] as usize], true)
            } else {
                pairs.entries[at].is_matched.replace(true)
            };
            if !was_matched {
                newly_matched.push(at as u64);
                // Whether a row was matched matters to these kinds alone.
                if !arrived.first && self.spec.kind != JoinKind::Inner {
                    self.sides[0].matched(pairs.entries[at]);
                }
            }
        }
        match self.spec.kind {
            JoinKind::Anti => {}
            JoinKind::Semi if newly_matched.is_empty() => {}
            JoinKind::Semi => out.rows.push(self.kept(first.take(&UInt64Array::from(newly_matched))?)?),
            JoinKind::Inner | JoinKind::Left if holds.true_count() == 0 => {}
            JoinKind::Inner | JoinKind::Left => {
                out.rows.push(self.pairs(&first.filter(&holds)?, &second.filter(&holds)?)?);
            }
        }
        Ok(())
    }

    /// For which pairs the residual condition is TRUE.
    fn holds(&self, first: &Rows, second: &Rows, failures: &mut u64) -> Result<BooleanArray, EngineError> {
        let Some(residual) = &self.spec.residual else { return Ok(BooleanArray::from(vec![true; first.len()])) };
        let columns = self.in_order(first.columns.columns(), second.columns.columns());
        let columns = conform(&columns, &self.spec.pair_schema)?;
        let batch = batch_of(Arc::clone(&self.spec.pair_schema), columns, first.len())?;
        Ok(evaluate_predicate(residual.as_ref(), &batch, failures)?)
    }

    /// The columns of both sides in the order of the inputs.
    fn in_order(&self, first: &[ArrayRef], second: &[ArrayRef]) -> Vec<ArrayRef> {
        let (left, right) = if self.spec.is_swapped { (second, first) } else { (first, second) };
        left.iter().chain(right).cloned().collect()
    }

    /// Pairs as rows of the output.
    fn pairs(&self, first: &Rows, second: &Rows) -> Result<Rows, EngineError> {
        let (one, other) = (first.uids(), second.uids());
        let (left, right) = if self.spec.is_swapped { (&other, &one) } else { (&one, &other) };
        let causes = (0..first.len()).map(|row| Uid::of_pair(&uid_at(left, row).0, &uid_at(right, row).0));
        let later = |one: &TimestampMicrosecondArray, other: &TimestampMicrosecondArray| {
            let both = one.iter().zip(other.iter());
            both.map(|(one, other)| one.max(other)).collect::<TimestampMicrosecondArray>()
        };
        let columns = conform(&self.in_order(first.columns.columns(), second.columns.columns()), &self.output)?;
        Ok(Rows {
            columns: batch_of(Arc::clone(&self.output), columns, first.len())?,
            time: later(&first.time, &second.time),
            identity: Identity::Uid(uid_array(causes)),
            arrival: later(&first.arrival, &second.arrival),
            late_us: None,
            provisional: None,
            withdrawn: None,
        })
    }

    /// Rows of the first side under the output's schema.
    fn kept(&self, rows: Rows) -> Result<Rows, EngineError> {
        let columns = conform(rows.columns.columns(), &self.output)?;
        let columns = batch_of(Arc::clone(&self.output), columns, rows.len())?;
        Ok(rows.with_columns(columns))
    }

    /// Rows of the first side that have no match and will have none.
    fn unmatched(&self, rows: Rows) -> Result<Rows, EngineError> {
        let wait = self.spec.most_us.max(0);
        let time = rows.time.iter().map(|time| time.map(|time| time.saturating_add(wait)));
        let rows = Rows { time: time.collect(), ..rows };
        if self.spec.kind == JoinKind::Anti {
            return self.kept(rows);
        }
        let of_second = self.sides[1].schema().fields();
        let nulls: Vec<ArrayRef> =
            of_second.iter().map(|field| new_null_array(field.data_type(), rows.len())).collect();
        let columns = conform(&self.in_order(rows.columns.columns(), &nulls), &self.output)?;
        let uids = rows.uids();
        let causes = (0..rows.len()).map(|row| {
            let uid = uid_at(&uids, row).0;
            let (left, right): (&[u8], &[u8]) = if self.spec.is_swapped { (&[], &uid) } else { (&uid, &[]) };
            Uid::of_pair(left, right)
        });
        Ok(Rows {
            columns: batch_of(Arc::clone(&self.output), columns, rows.len())?,
            identity: Identity::Uid(uid_array(causes)),
            ..rows
        })
    }

    const fn keeps_unmatched(&self) -> bool {
        matches!(self.spec.kind, JoinKind::Left | JoinKind::Anti)
    }

    /// Remembers rows that may still be matched, and puts out those that can have no match any more.
    fn remember(&mut self, arrived: &Arrived<'_>, keys: Vec<Option<Key>>, out: &mut Outbox) -> Result<(), EngineError> {
        let side = usize::from(!arrived.first);
        let keeps_unmatched = arrived.first && self.keeps_unmatched();
        let mut waiting = vec![];
        let mut alone = vec![];
        for (row, key) in keys.into_iter().enumerate() {
            let is_done = arrived.is_matched[row] && self.keeps_first_only();
            if is_done || (key.is_none() && !keeps_unmatched) {
                continue;
            }
            if !self.is_past(side, arrived.rows.time.value(row)) {
                waiting.push((row, key));
            } else if keeps_unmatched && !arrived.is_matched[row] {
                alone.push(row as u64);
            }
        }
        self.sides[side].insert(arrived.rows, waiting, &arrived.is_matched)?;
        if !alone.is_empty() {
            out.rows.push(self.unmatched(arrived.rows.take(&UInt64Array::from(alone))?)?);
        }
        Ok(())
    }
}

impl Operator for Join {
    fn rows(&mut self, input: usize, rows: Rows, out: &mut Outbox) -> Result<(), EngineError> {
        let rows = admitted(rows, self.watermark, out)?;
        if rows.is_empty() {
            return Ok(());
        }
        let rows = rows.identified();
        let side = self.side_of(input);
        let keys = self.keys_of(side, &rows, &mut out.failures)?;
        let mut arrived = Arrived { first: side == 0, is_matched: vec![false; rows.len()], rows: &rows };
        self.probe(&mut arrived, &keys, out)?;
        self.remember(&arrived, keys, out)
    }

    fn watermark(&mut self, watermark: EventTime, out: &mut Outbox) -> Result<(), EngineError> {
        self.watermark = self.watermark.max(watermark);
        for side in 0..2 {
            let horizon = match self.watermark {
                EventTime::MAX => None,
                EventTime(time) => Some(time.saturating_sub(self.reach(side))),
            };
            let keeps_unmatched = side == 0 && self.keeps_unmatched();
            let forgotten = self.sides[side].forget_before(horizon, keeps_unmatched);
            if !forgotten.is_empty() {
                let rows = self.sides[side].rows_of(&forgotten.iter().collect::<Vec<_>>())?;
                out.rows.push(self.unmatched(rows)?);
            }
        }
        Ok(())
    }

    /// A row that leaves at its first match may be as old as the bound allows.
    fn forwards(&self, watermark: EventTime) -> EventTime {
        match self.spec.kind {
            JoinKind::Semi if watermark != EventTime::MAX => watermark.before(self.spec.most_us.max(0)),
            _ => watermark,
        }
    }

    fn table(&mut self, _table: &TableVersion) -> Result<(), EngineError> {
        Ok(())
    }

    fn state_bytes(&self) -> usize {
        self.sides.iter().map(Side::bytes).sum()
    }

    /// One section per side.
    fn save(&mut self, scope: Scope) -> Result<Saved, EngineError> {
        let [first, second] = &mut self.sides;
        let mut changes = first.save(scope, 0)?;
        changes.extend(second.save(scope, 1)?);
        Ok(Saved::of(scope, changes))
    }

    fn restore(&mut self, state: &[RecordBatch], owns: &dyn Fn(u32) -> bool) -> Result<(), EngineError> {
        for batch in state.iter().filter(|batch| batch.num_rows() > 0) {
            let side = usize::from(batch.column(0).as_primitive::<UInt8Type>().value(0));
            let (matched, unmatched) =
                (batch.column(1).as_boolean(), arrow::compute::not(batch.column(1).as_boolean())?);
            let rows = Rows::from_batch(&batch.project(&(2..batch.num_columns()).collect::<Vec<_>>())?)?;
            for (is_matched, which) in [(true, matched), (false, &unmatched)] {
                let rows = owned(&rows.filter(which)?, &self.spec.keys[side], owns)?;
                // What could not be computed was counted when the row came first.
                let mut failures = 0;
                let keys = self.keys_of(side, &rows, &mut failures)?;
                let all = keys.into_iter().enumerate().collect();
                self.sides[side].insert(&rows, all, &vec![is_matched; rows.len()])?;
            }
        }
        Ok(())
    }
}
