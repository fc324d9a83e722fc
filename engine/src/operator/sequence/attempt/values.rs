//! Values of conditions and measures: which rows they speak of, and what is computed from them.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringViewArray, TimestampMicrosecondArray, new_null_array};
use arrow::compute::concat_batches;
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Accumulator;

use super::Search;
use crate::error::EngineError;
use crate::graph::{Formula, SequenceAggregate, Slot};
use crate::operator::stateless::conform;
use crate::rows::batch_of;
use crate::sql::sequence::{Base, Designator};
use crate::sql::total::evaluate;

/// A value that may have to wait for rows.
pub(super) enum Value<T> {
    Known(T),
    Pending(i64),
}

/// The row at hand, behind those of the path.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) row: usize,
    pub(super) variable: usize,
    pub(super) time: i64,
    /// Whether this is the last row of a match.
    pub(super) is_complete: bool,
}

impl Search<'_> {
    /// The value of a formula at a place, as an array of one.
    pub(super) fn value(&mut self, formula: &Formula, place: Place) -> Result<Value<ArrayRef>, EngineError> {
        let mut columns = Vec::with_capacity(formula.slots.len());
        for (slot, field) in formula.slots.iter().zip(formula.schema.fields()) {
            match self.fill(*slot, field.data_type(), place)? {
                Value::Known(value) => columns.push(value),
                Value::Pending(until) => return Ok(Value::Pending(until)),
            }
        }
        let batch = batch_of(Arc::clone(&formula.schema), conform(&columns, &formula.schema)?, 1)?;
        let value = evaluate(formula.expr.as_ref(), &batch, &mut self.attempt.failures)?;
        Ok(Value::Known(conform_one(value, &formula.data_type)?))
    }

    fn fill(&mut self, slot: Slot, data_type: &DataType, place: Place) -> Result<Value<ArrayRef>, EngineError> {
        Ok(Value::Known(match slot {
            Slot::Classifier => {
                Arc::new(StringViewArray::from(vec![Some(self.matcher.spec.variables[place.variable].as_ref())]))
                    as ArrayRef
            }
            Slot::Time => Arc::new(TimestampMicrosecondArray::from(vec![place.time])),
            Slot::Aggregate(index) if place.is_complete => self.aggregate(index, place)?,
            Slot::Aggregate(index) => self.running(index, place)?,
            Slot::Row(designator, column) => match self.row(designator, place) {
                Value::Pending(until) => return Ok(Value::Pending(until)),
                Value::Known(None) => new_null_array(data_type, 1),
                Value::Known(Some(row)) => {
                    let kept = &self.rows[row];
                    kept.chunk.columns.column(column).slice(kept.at, 1)
                }
            },
        }))
    }

    /// The row that is meant, if there is one.
    fn row(&self, designator: Designator, place: Place) -> Value<Option<usize>> {
        let base = match designator.base {
            Base::Current => Some(place.row),
            Base::First(of, nth) => self.nth(of, nth, place),
            Base::Last(of, nth) => {
                self.count(of, place).checked_sub(nth + 1).and_then(|position| self.nth(of, position, place))
            }
        };
        let Some(base) = base else { return Value::Known(None) };
        let within_us = self.matcher.spec.within_us;
        let is_in_sight = |row: &usize| {
            let apart = self.rows[*row].time.saturating_sub(self.rows[base].time).saturating_abs();
            apart < within_us
        };
        let Some(row) = base.checked_add_signed(designator.offset as isize) else { return Value::Known(None) };
        let until = self.rows[base].time.saturating_add(within_us);
        if row >= self.rows.len() && self.watermark.0 < until {
            return Value::Pending(until);
        }
        Value::Known(Some(row).filter(|row| *row < self.rows.len()).filter(is_in_sight))
    }

    /// How many rows of a variable, or of all, are on the path.
    fn before(&self, of: Option<usize>) -> usize {
        let attempt = &self.attempt;
        of.map_or(attempt.path.len(), |of| attempt.of_variables.get(of).map_or(0, Vec::len))
    }

    /// How many there are with the row at hand.
    fn count(&self, of: Option<usize>, place: Place) -> usize {
        self.before(of) + usize::from(of.is_none_or(|of| of == place.variable))
    }

    /// The n-th row of a variable, or of all, the one at hand last.
    fn nth(&self, of: Option<usize>, nth: usize, place: Place) -> Option<usize> {
        let before = self.before(of);
        if nth < before {
            return Some(self.start + of.map_or(nth, |of| self.attempt.of_variables[of][nth]));
        }
        (nth < self.count(of, place)).then_some(place.row)
    }

    /// The rows of a variable, or of all, from one to another.
    fn batch(&self, of: Option<usize>, which: Range<usize>, place: Place) -> Result<RecordBatch, EngineError> {
        let rows = which.filter_map(|nth| self.nth(of, nth, place));
        let rows: Vec<RecordBatch> = rows.map(|row| self.rows[row].chunk.columns.slice(self.rows[row].at, 1)).collect();
        match &rows[..] {
            [one] => Ok(one.clone()),
            several => Ok(concat_batches(&self.matcher.input, several)?),
        }
    }

    /// An aggregate over all rows of a match.
    fn aggregate(&mut self, index: usize, place: Place) -> Result<ArrayRef, EngineError> {
        let matcher = self.matcher;
        let aggregate = &matcher.spec.aggregates[index];
        let count = self.count(aggregate.of, place);
        self.attempt.steps += count;
        let mut accumulator = aggregate.function.create_accumulator()?;
        if count > 0 {
            let rows = self.batch(aggregate.of, 0..count, place)?;
            self.feed(accumulator.as_mut(), aggregate, &rows)?;
        }
        Ok(accumulator.evaluate()?.to_array_of_size(1)?)
    }

    /// An aggregate over the rows so far, from its state behind the last of them.
    fn running(&mut self, index: usize, place: Place) -> Result<ArrayRef, EngineError> {
        let matcher = self.matcher;
        let aggregate = &matcher.spec.aggregates[index];
        self.attempt.steps += 1;
        if self.attempt.running.len() < matcher.spec.aggregates.len() {
            self.attempt.running.resize_with(matcher.spec.aggregates.len(), Vec::new);
        }
        let before = self.before(aggregate.of);
        for nth in self.attempt.running[index].len()..before {
            let mut accumulator = resumed(aggregate, self.attempt.running[index].last())?;
            let row = self.batch(aggregate.of, nth..nth + 1, place)?;
            self.feed(accumulator.as_mut(), aggregate, &row)?;
            self.attempt.running[index].push(accumulator.state()?);
        }
        let mut accumulator = resumed(aggregate, self.attempt.running[index].last())?;
        if self.count(aggregate.of, place) > before {
            let row = self.batch(aggregate.of, before..before + 1, place)?;
            self.feed(accumulator.as_mut(), aggregate, &row)?;
        }
        Ok(accumulator.evaluate()?.to_array_of_size(1)?)
    }

    fn feed(
        &mut self,
        accumulator: &mut dyn Accumulator,
        aggregate: &SequenceAggregate,
        rows: &RecordBatch,
    ) -> Result<(), EngineError> {
        let args = aggregate.args.iter().map(|arg| evaluate(arg.as_ref(), rows, &mut self.attempt.failures));
        Ok(accumulator.update_batch(&args.collect::<Result<Vec<_>, _>>()?)?)
    }
}

/// An accumulator that goes on from a state.
fn resumed(
    aggregate: &SequenceAggregate,
    state: Option<&Vec<ScalarValue>>,
) -> Result<Box<dyn Accumulator>, EngineError> {
    let mut accumulator = aggregate.function.create_accumulator()?;
    if let Some(state) = state {
        let state = state.iter().map(|value| value.to_array_of_size(1)).collect::<Result<Vec<_>, _>>()?;
        accumulator.merge_batch(&state)?;
    }
    Ok(accumulator)
}

fn conform_one(value: ArrayRef, data_type: &DataType) -> Result<ArrayRef, EngineError> {
    if value.data_type() == data_type { Ok(value) } else { Ok(arrow::compute::cast(&value, data_type)?) }
}
