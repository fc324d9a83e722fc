//! One attempt to match a pattern from one row on: the preferred way first, going back where it fails.
//!
//! What a way needs and time may still bring leaves the attempt pending, since a way that is preferred to all others
//! could still come. It remembers where it stood and goes on there, so that a row that comes costs what it adds. An attempt
//! that begins anew over more rows goes the same way as far as it went, so the answer does not depend on when it was tried.

mod values;

use std::collections::{HashSet, VecDeque};

use arrow::array::{Array, ArrayRef, AsArray};
use datafusion::common::ScalarValue;

use self::values::{Place, Value};
use super::matcher::{Kept, Matcher};
use crate::error::EngineError;
use crate::sql::sequence::Step;
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

/// How far an attempt has come. Rows are counted from its start.
#[derive(Default)]
pub(super) struct Attempt {
    /// The step at hand.
    step: usize,
    /// The variables of the rows so far.
    path: Vec<usize>,
    /// The rows of each variable among them.
    of_variables: Vec<Vec<usize>>,
    /// What is not tried yet, the preferred last: a step, and how many rows there are before it.
    ways: Vec<(usize, usize)>,
    /// Steps with the rows before them, from which a way has failed.
    tried: HashSet<(usize, usize)>,
    /// How many rows have been looked at for what must be missing.
    looked_at: usize,
    /// The states of each aggregate that conditions speak of, behind each of its rows.
    running: Vec<Vec<Vec<ScalarValue>>>,
    steps: usize,
    failures: u64,
}

impl Attempt {
    /// Roughly the bytes of what it remembers.
    pub(super) fn bytes(&self) -> usize {
        let rows = self.path.len() * 2 * size_of::<usize>();
        let ways = (self.ways.len() + 2 * self.tried.len()) * size_of::<(usize, usize)>();
        let states = self.running.iter().map(|states| states.iter().map(ScalarValue::size_of_vec).sum::<usize>());
        rows + ways + states.sum::<usize>()
    }

    /// The same without looking at single states: a state is taken for one number.
    pub(super) fn held_bytes(&self) -> usize {
        let rows = self.path.capacity() * 2 * size_of::<usize>();
        let ways = (self.ways.capacity() + 2 * self.tried.capacity()) * size_of::<(usize, usize)>();
        let states = self.running.iter().map(Vec::capacity).sum::<usize>();
        rows + ways + states * (size_of::<Vec<ScalarValue>>() + size_of::<ScalarValue>())
    }

    fn take(&mut self, variable: usize) {
        if self.of_variables.len() <= variable {
            self.of_variables.resize_with(variable + 1, Vec::new);
        }
        self.of_variables[variable].push(self.path.len());
        self.path.push(variable);
    }

    /// Gives up all rows behind the first `length`.
    fn go_back(&mut self, length: usize, matcher: &Matcher) {
        while self.path.len() > length
            && let Some(variable) = self.path.pop()
        {
            self.of_variables[variable].pop();
        }
        for (states, aggregate) in self.running.iter_mut().zip(&matcher.spec.aggregates) {
            states.truncate(aggregate.of.map_or(length, |of| self.of_variables.get(of).map_or(0, Vec::len)));
        }
    }
}

/// An attempt at work.
pub(super) struct Search<'a> {
    matcher: &'a Matcher,
    rows: &'a mut VecDeque<Kept>,
    start: usize,
    /// The first instant that is too late for a row of the match.
    limit: i64,
    watermark: EventTime,
    attempt: &'a mut Attempt,
}

impl<'a> Search<'a> {
    pub(super) fn new(
        matcher: &'a Matcher,
        rows: &'a mut VecDeque<Kept>,
        start: usize,
        watermark: EventTime,
        attempt: &'a mut Attempt,
    ) -> Self {
        let limit = rows[start].time.saturating_add(matcher.spec.within_us);
        Self { matcher, rows, start, limit, watermark, attempt }
    }

    /// Goes on as far as the rows allow. Failures are counted once it is decided.
    pub(super) fn run(mut self, failures: &mut u64) -> Result<Outcome, EngineError> {
        let outcome = self.search()?;
        if !matches!(outcome, Outcome::Pending(_)) {
            *failures += self.attempt.failures;
        }
        Ok(outcome)
    }

    fn search(&mut self) -> Result<Outcome, EngineError> {
        while self.attempt.steps <= STEPS_PER_START_MAX {
            let goes_on = match self.matcher.spec.steps[self.attempt.step] {
                Step::Jump(to) => self.go_to(to),
                Step::Either(preferred, other) => {
                    self.attempt.ways.push((other, self.attempt.path.len()));
                    self.go_to(preferred)
                }
                Step::Row(variable) => match self.takes(variable)? {
                    Value::Pending(until) => return Ok(Outcome::Pending(until)),
                    Value::Known(false) => false,
                    Value::Known(true) => {
                        self.attempt.take(variable);
                        self.go_to(self.attempt.step + 1)
                    }
                },
                Step::Missing(variable) => match self.follows(variable)? {
                    Value::Pending(until) => return Ok(Outcome::Pending(until)),
                    Value::Known(true) => false,
                    Value::Known(false) => self.go_to(self.attempt.step + 1),
                },
                Step::Done => return self.complete(),
            };
            if !goes_on && !self.turn() {
                return Ok(Outcome::Nothing);
            }
        }
        self.attempt.failures += 1;
        Ok(Outcome::Nothing)
    }

    /// Goes to a step; false if a way has failed from there before. It fails again, unless conditions look back at how it
    /// came there.
    fn go_to(&mut self, step: usize) -> bool {
        let attempt = &mut *self.attempt;
        attempt.step = step;
        attempt.steps += 1;
        attempt.looked_at = 0;
        !self.matcher.forgets_at[step] || attempt.tried.insert((step, attempt.path.len()))
    }

    /// Goes back to the last way that has not been tried.
    fn turn(&mut self) -> bool {
        while let Some((step, length)) = self.attempt.ways.pop() {
            self.attempt.go_back(length, self.matcher);
            if self.go_to(step) {
                return true;
            }
        }
        false
    }

    /// Whether the next row is there, in time, and matches a variable.
    fn takes(&mut self, variable: usize) -> Result<Value<bool>, EngineError> {
        let row = self.start + self.attempt.path.len();
        match self.rows.get(row) {
            None if self.watermark.0 < self.limit => Ok(Value::Pending(self.limit)),
            None => Ok(Value::Known(false)),
            Some(kept) if kept.time >= self.limit => Ok(Value::Known(false)),
            Some(_) => self.holds(variable, row),
        }
    }

    /// Whether any later row in time matches a variable.
    fn follows(&mut self, variable: usize) -> Result<Value<bool>, EngineError> {
        loop {
            let row = self.start + self.attempt.path.len() + self.attempt.looked_at;
            match self.rows.get(row) {
                None if self.watermark.0 < self.limit => return Ok(Value::Pending(self.limit)),
                None => return Ok(Value::Known(false)),
                Some(kept) if kept.time >= self.limit => return Ok(Value::Known(false)),
                Some(_) => {}
            }
            match self.holds(variable, row)? {
                Value::Known(false) => {
                    self.attempt.steps += 1;
                    self.attempt.looked_at += 1;
                }
                decided => return Ok(decided),
            }
        }
    }

    /// Whether a variable's condition is TRUE for a row that would follow the path.
    fn holds(&mut self, variable: usize, row: usize) -> Result<Value<bool>, EngineError> {
        let matcher = self.matcher;
        let bit = 1_u64 << variable;
        let kept = &self.rows[row];
        let formula = match &matcher.spec.conditions[variable] {
            Some(formula) if kept.known & bit == 0 => formula,
            _ => return Ok(Value::Known(kept.holds & bit != 0)),
        };
        let place = Place { row, variable, time: kept.time, is_complete: false };
        let value = match self.undisturbed(|search| search.value(formula, place))? {
            Value::Known(value) => value,
            Value::Pending(until) => return Ok(Value::Pending(until)),
        };
        let holds = value.as_boolean_opt().is_some_and(|value| value.is_valid(0) && value.value(0));
        if formula.is_of_place {
            let kept = &mut self.rows[row];
            kept.known |= bit;
            kept.holds |= if holds { bit } else { 0 };
        }
        Ok(Value::Known(holds))
    }

    /// Computes something that may turn out to be pending, and then has cost nothing.
    fn undisturbed<T>(
        &mut self,
        compute: impl FnOnce(&mut Self) -> Result<Value<T>, EngineError>,
    ) -> Result<Value<T>, EngineError> {
        let (steps, failures) = (self.attempt.steps, self.attempt.failures);
        let value = compute(self)?;
        if matches!(value, Value::Pending(_)) {
            (self.attempt.steps, self.attempt.failures) = (steps, failures);
        }
        Ok(value)
    }

    fn complete(&mut self) -> Result<Outcome, EngineError> {
        // Measures speak of the last row as the one at hand, which stands behind the path.
        let Some(variable) = self.attempt.path.last().copied() else { return Ok(Outcome::Nothing) };
        let path = self.attempt.path.clone();
        self.attempt.go_back(path.len() - 1, self.matcher);
        let row = self.start + path.len() - 1;
        let is_missing = self.matcher.spec.steps.iter().any(|step| matches!(step, Step::Missing(_)));
        let time = if is_missing { self.limit } else { self.rows[row].time };
        let place = Place { row, variable, time, is_complete: true };
        match self.undisturbed(|search| search.measures(place))? {
            Value::Known(measures) => Ok(Outcome::Match(Found { path, time, measures })),
            Value::Pending(until) => {
                self.attempt.take(variable);
                Ok(Outcome::Pending(until))
            }
        }
    }

    fn measures(&mut self, place: Place) -> Result<Value<Vec<ArrayRef>>, EngineError> {
        let matcher = self.matcher;
        let mut measures = Vec::with_capacity(matcher.spec.measures.len());
        for formula in &matcher.spec.measures {
            match self.value(formula, place)? {
                Value::Known(value) => measures.push(value),
                Value::Pending(until) => return Ok(Value::Pending(until)),
            }
        }
        Ok(Value::Known(measures))
    }
}
