//! One attempt to match a pattern from one row on: the preferred way first, going back where it fails.
//!
//! What a way needs and time may still bring leaves the attempt pending, since a way that is preferred to all others
//! could still come. An attempt over more rows goes the same way as far as it went, so the answer does not depend on
//! when it was tried.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringViewArray, TimestampMicrosecondArray, new_null_array};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, SchemaRef};

use super::Kept;
use crate::error::EngineError;
use crate::graph::{Formula, SequenceSpec, Slot};
use crate::operator::stateless::conform;
use crate::rows::batch_of;
use crate::sql::sequence::{Base, Designator, Step};
use crate::sql::total::evaluate;
use crate::time::EventTime;

/// The most steps from one start. A start that needs more has no match, and is counted as a failure: the pattern goes
/// back too often over its rows.
const STEPS_PER_START_MAX: usize = 100_000;

/// What came of an attempt.
pub(super) enum Outcome {
    Nothing,
    Match(Found),
    /// Rows that may still come decide it, or this instant.
    Pending(i64),
}

/// A match.
pub(super) struct Found {
    /// The variable of each of its rows.
    pub(super) path: Vec<usize>,
    /// The time of its last row, or the deadline of what is missing.
    pub(super) time: i64,
    /// One value per measure.
    pub(super) measures: Vec<ArrayRef>,
}

/// A value that may have to wait for rows.
enum Value<T> {
    Known(T),
    Pending(i64),
}

pub(super) struct Attempt<'a> {
    spec: &'a SequenceSpec,
    input: &'a SchemaRef,
    rows: &'a [Kept],
    start: usize,
    /// The first instant that is too late for a row of the match.
    limit: i64,
    watermark: EventTime,
    steps: usize,
    failures: u64,
}

/// The row at hand, and the variables of the rows of the match before it.
#[derive(Clone, Copy)]
struct Place<'a> {
    row: usize,
    variable: usize,
    before: &'a [usize],
    time: i64,
}

impl<'a> Attempt<'a> {
    pub(super) fn new(
        spec: &'a SequenceSpec,
        input: &'a SchemaRef,
        rows: &'a [Kept],
        start: usize,
        watermark: EventTime,
    ) -> Self {
        let limit = rows[start].time.saturating_add(spec.within_us);
        Self { spec, input, rows, start, limit, watermark, steps: 0, failures: 0 }
    }

    /// Tries. Failures are counted once it is decided.
    pub(super) fn run(mut self, failures: &mut u64) -> Result<Outcome, EngineError> {
        let outcome = self.search()?;
        if !matches!(outcome, Outcome::Pending(_)) {
            *failures += self.failures;
        }
        Ok(outcome)
    }

    fn search(&mut self) -> Result<Outcome, EngineError> {
        // A way that has failed from a step and a row on fails again, unless conditions look back at how it came there.
        let forgets = self.spec.conditions.iter().flatten().all(|formula| formula.is_of_place);
        let mut tried: HashSet<(usize, usize)> = HashSet::new();
        let mut path: Vec<usize> = vec![];
        let mut ways = vec![(0_usize, 0_usize)];
        while let Some((mut step, length)) = ways.pop() {
            path.truncate(length);
            loop {
                self.steps += 1;
                if self.steps > STEPS_PER_START_MAX {
                    self.failures += 1;
                    return Ok(Outcome::Nothing);
                }
                if forgets && !tried.insert((step, path.len())) {
                    break;
                }
                match self.spec.steps[step] {
                    Step::Jump(to) => step = to,
                    Step::Either(preferred, other) => {
                        ways.push((other, path.len()));
                        step = preferred;
                    }
                    Step::Row(variable) => match self.takes(variable, &path)? {
                        Value::Pending(until) => return Ok(Outcome::Pending(until)),
                        Value::Known(false) => break,
                        Value::Known(true) => {
                            path.push(variable);
                            step += 1;
                        }
                    },
                    Step::Missing(variable) => match self.follows(variable, &path)? {
                        Value::Pending(until) => return Ok(Outcome::Pending(until)),
                        Value::Known(true) => break,
                        Value::Known(false) => step += 1,
                    },
                    Step::Done => return self.complete(path),
                }
            }
        }
        Ok(Outcome::Nothing)
    }

    /// Whether the next row is there, in time, and matches a variable.
    fn takes(&mut self, variable: usize, path: &[usize]) -> Result<Value<bool>, EngineError> {
        let row = self.start + path.len();
        match self.rows.get(row) {
            None if self.watermark.0 < self.limit => Ok(Value::Pending(self.limit)),
            None => Ok(Value::Known(false)),
            Some(kept) if kept.time >= self.limit => Ok(Value::Known(false)),
            Some(_) => self.holds(variable, row, path),
        }
    }

    /// Whether any later row in time matches a variable.
    fn follows(&mut self, variable: usize, path: &[usize]) -> Result<Value<bool>, EngineError> {
        let from = self.start + path.len();
        for row in from..self.rows.len() {
            if self.rows[row].time >= self.limit {
                return Ok(Value::Known(false));
            }
            self.steps += 1;
            match self.holds(variable, row, path)? {
                Value::Known(false) => {}
                decided => return Ok(decided),
            }
        }
        Ok(if self.watermark.0 < self.limit { Value::Pending(self.limit) } else { Value::Known(false) })
    }

    /// Whether a variable's condition is TRUE for a row that would follow the path.
    fn holds(&mut self, variable: usize, row: usize, path: &[usize]) -> Result<Value<bool>, EngineError> {
        let formula = match &self.spec.conditions[variable] {
            Some(formula) if !formula.is_of_row => formula,
            _ => return Ok(Value::Known(self.rows[row].holds & (1 << variable) != 0)),
        };
        let place = Place { row, variable, before: path, time: self.rows[row].time };
        Ok(match self.value(formula, place)? {
            Value::Known(value) => {
                let value = value.as_boolean_opt();
                Value::Known(value.is_some_and(|value| value.is_valid(0) && value.value(0)))
            }
            Value::Pending(until) => Value::Pending(until),
        })
    }

    fn complete(&mut self, path: Vec<usize>) -> Result<Outcome, EngineError> {
        let Some((variable, before)) = path.split_last() else { return Ok(Outcome::Nothing) };
        let row = self.start + before.len();
        let is_missing = self.spec.steps.iter().any(|step| matches!(step, Step::Missing(_)));
        let time = if is_missing { self.limit } else { self.rows[row].time };
        let place = Place { row, variable: *variable, before, time };
        let mut measures = Vec::with_capacity(self.spec.measures.len());
        for formula in &self.spec.measures {
            match self.value(formula, place)? {
                Value::Known(value) => measures.push(value),
                Value::Pending(until) => return Ok(Outcome::Pending(until)),
            }
        }
        Ok(Outcome::Match(Found { path, time, measures }))
    }

    /// The value of a formula at a place, as an array of one.
    fn value(&mut self, formula: &Formula, place: Place<'_>) -> Result<Value<ArrayRef>, EngineError> {
        let mut columns = Vec::with_capacity(formula.slots.len());
        for (slot, field) in formula.slots.iter().zip(formula.schema.fields()) {
            match self.fill(*slot, field.data_type(), place)? {
                Value::Known(value) => columns.push(value),
                Value::Pending(until) => return Ok(Value::Pending(until)),
            }
        }
        let batch = batch_of(Arc::clone(&formula.schema), conform(&columns, &formula.schema)?, 1)?;
        let value = evaluate(formula.expr.as_ref(), &batch, &mut self.failures)?;
        Ok(Value::Known(conform_one(value, &formula.data_type)?))
    }

    fn fill(&mut self, slot: Slot, data_type: &DataType, place: Place<'_>) -> Result<Value<ArrayRef>, EngineError> {
        Ok(Value::Known(match slot {
            Slot::Classifier => {
                Arc::new(StringViewArray::from(vec![Some(self.spec.variables[place.variable].as_ref())])) as ArrayRef
            }
            Slot::Time => Arc::new(TimestampMicrosecondArray::from(vec![place.time])),
            Slot::Aggregate(index) => self.aggregate(index, place)?,
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
    fn row(&self, designator: Designator, place: Place<'_>) -> Value<Option<usize>> {
        let base = match designator.base {
            Base::Current => Some(place.row),
            Base::First(of, nth) => self.rows_of(of, place).nth(nth),
            Base::Last(of, nth) => self.rows_of(of, place).rev().nth(nth),
        };
        let Some(base) = base else { return Value::Known(None) };
        let is_in_sight = |row: &usize| {
            let apart = self.rows[*row].time.saturating_sub(self.rows[base].time).saturating_abs();
            apart < self.spec.within_us
        };
        let Some(row) = base.checked_add_signed(designator.offset as isize) else { return Value::Known(None) };
        let until = self.rows[base].time.saturating_add(self.spec.within_us);
        if row >= self.rows.len() && self.watermark.0 < until {
            return Value::Pending(until);
        }
        Value::Known(Some(row).filter(|row| *row < self.rows.len()).filter(is_in_sight))
    }

    /// The rows of a variable, or of all, the one at hand last.
    fn rows_of(&self, of: Option<usize>, place: Place<'_>) -> impl DoubleEndedIterator<Item = usize> {
        let start = self.start;
        let before = place.before.iter().enumerate().map(move |(index, variable)| (start + index, *variable));
        let rows = before.chain(std::iter::once((place.row, place.variable)));
        rows.filter(move |(_, variable)| of.is_none_or(|of| of == *variable)).map(|(row, _)| row)
    }

    fn aggregate(&mut self, index: usize, place: Place<'_>) -> Result<ArrayRef, EngineError> {
        let aggregate = &self.spec.aggregates[index];
        let rows: Vec<RecordBatch> = self
            .rows_of(aggregate.of, place)
            .map(|row| self.rows[row].chunk.columns.slice(self.rows[row].at, 1))
            .collect();
        self.steps += rows.len();
        let mut accumulator = aggregate.function.create_accumulator()?;
        if !rows.is_empty() {
            let batch = concat_batches(self.input, &rows)?;
            let args = aggregate.args.iter().map(|arg| evaluate(arg.as_ref(), &batch, &mut self.failures));
            accumulator.update_batch(&args.collect::<Result<Vec<_>, _>>()?)?;
        }
        Ok(accumulator.evaluate()?.to_array_of_size(1)?)
    }
}

fn conform_one(value: ArrayRef, data_type: &DataType) -> Result<ArrayRef, EngineError> {
    if value.data_type() == data_type { Ok(value) } else { Ok(arrow::compute::cast(&value, data_type)?) }
}
