//! `OVER`: functions over a frame that slides along each key. State is what the longest frame of each function holds;
//! what is older leaves with the watermark, and keys of which nothing is left leave too.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch, UInt64Array};
use arrow::compute::{concat_batches, filter_record_batch, take_record_batch};
use arrow::datatypes::{DataType, SchemaRef, TimestampMicrosecondType};

use super::admit::{admitted, owned};
use super::ordered::Ordered;
use super::{Operator, Outbox};
use crate::canonical::{encode_rows, key_group};
use crate::error::EngineError;
use crate::graph::{OverFunction, OverKind, OverSpec};
use crate::rows::{Rows, batch_of};
use crate::snapshot::{Change, Saved, Scope};
use crate::sql::total::{evaluate, evaluate_predicate};
use crate::table::TableVersion;
use crate::time::EventTime;

mod distinct;
mod extreme;
mod first_seen;
mod frame;
mod keys;
mod sum;
mod value;

use first_seen::FirstSeen;
use frame::{Arguments, Sliding};
use keys::Keys;

/// Columns of a saved entry before those of its key.
const SAVED_COLUMNS: usize = 3;

/// The rows of its input, in order, each with the values of the functions behind its columns.
pub(super) struct Over {
    spec: OverSpec,
    input: SchemaRef,
    output: SchemaRef,
    waiting: Ordered,
    keys: Keys,
    functions: Vec<Function>,
    /// Whether entries have other numbers than when they were saved last.
    is_renewed: bool,
    watermark: EventTime,
}

/// One function, and what it remembers of each key.
enum Function {
    Sliding(Box<Sliding>),
    FirstSeen(FirstSeen),
}

impl Function {
    fn new(spec: &OverFunction, value: DataType, output: DataType) -> Result<Self, EngineError> {
        Ok(match spec.kind {
            OverKind::FirstSeen => Self::FirstSeen(FirstSeen::new(spec.frame.horizon_us)),
            _ => Self::Sliding(Box::new(Sliding::new(spec, value, output)?)),
        })
    }

    /// The function's value for each row, which come in order.
    fn process(
        &mut self,
        rows: &Rows,
        numbers: &[u32],
        arguments: &Arguments,
        keys: &mut Keys,
    ) -> Result<ArrayRef, EngineError> {
        match self {
            Self::Sliding(function) => function.process(rows.time.values(), numbers, arguments, keys),
            Self::FirstSeen(function) => Ok(function.process(rows.time.values(), &rows.uids(), numbers, keys)),
        }
    }

    /// Lets go of what is before an instant.
    fn expire(&mut self, before: i64, keys: &mut Keys) {
        match self {
            Self::Sliding(function) => function.expire(before, keys),
            Self::FirstSeen(function) => function.expire(before, keys),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Sliding(function) => function.bytes(),
            Self::FirstSeen(function) => function.bytes(),
        }
    }

    /// What is remembered: three columns, the first of them a time, and those of the key.
    fn entries(&self, keys: &Keys) -> Result<RecordBatch, EngineError> {
        match self {
            Self::Sliding(function) => function.entries(keys),
            Self::FirstSeen(function) => function.entries(keys),
        }
    }

    /// The entries, or what has become of them, as a section of a state.
    fn save(&mut self, scope: Scope, section: i64, keys: &Keys) -> Result<Vec<Change>, EngineError> {
        match self {
            Self::Sliding(function) => function.save(scope, section, keys),
            Self::FirstSeen(function) => function.save(scope, section, keys),
        }
    }

    /// Takes up what was saved, in order of time, into a function that remembers nothing.
    fn load(&mut self, saved: &RecordBatch, keys: &mut Keys) -> Result<(), EngineError> {
        match self {
            Self::Sliding(function) => function.load(saved, keys),
            Self::FirstSeen(function) => function.load(saved, keys),
        }
    }
}

impl Over {
    pub(super) fn new(spec: OverSpec, output: SchemaRef, input: SchemaRef) -> Result<Self, EngineError> {
        let (keys, functions) = fresh(&spec, &output, &input)?;
        let (waiting, watermark) = (Ordered::default(), EventTime::MIN);
        Ok(Self { spec, input, output, waiting, keys, functions, is_renewed: false, watermark })
    }

    /// The rows with the values of the functions.
    fn process(&mut self, rows: Rows, failures: &mut u64) -> Result<Rows, EngineError> {
        let rows = ties_in_order(rows)?;
        let columns = self
            .spec
            .keys
            .iter()
            .map(|key| evaluate(key.as_ref(), &rows.columns, failures))
            .collect::<Result<Vec<ArrayRef>, _>>()?;
        let numbers = self.keys.number(&columns, rows.len())?;
        let mut columns = rows.columns.columns().to_vec();
        for (spec, function) in self.spec.functions.iter().zip(&mut self.functions) {
            let value = spec.arg.as_ref().map(|arg| evaluate(arg.as_ref(), &rows.columns, failures)).transpose()?;
            let keep = spec.filter.as_ref();
            let keep = keep.map(|keep| evaluate_predicate(keep.as_ref(), &rows.columns, failures)).transpose()?;
            let arguments = Arguments { value, keep };
            columns.push(function.process(&rows, &numbers, &arguments, &mut self.keys)?);
        }
        numbers.into_iter().for_each(|number| self.keys.release(number));
        let columns = super::stateless::conform(&columns, &self.output)?;
        let columns = batch_of(Arc::clone(&self.output), columns, rows.len())?;
        Ok(rows.with_columns(columns))
    }

    /// Gives memory back once most keys have gone.
    fn shrink(&mut self) -> Result<(), EngineError> {
        if self.keys.len() < 1024 || self.keys.open() > self.keys.len() / 4 {
            return Ok(());
        }
        let saved =
            self.functions.iter().map(|function| function.entries(&self.keys)).collect::<Result<Vec<_>, _>>()?;
        (self.keys, self.functions) = fresh(&self.spec, &self.output, &self.input)?;
        self.is_renewed = true;
        for (function, saved) in self.functions.iter_mut().zip(&saved) {
            function.load(saved, &mut self.keys)?;
        }
        Ok(())
    }

    /// The entries of a saved function whose keys belong to this worker.
    fn owned_entries(batch: &RecordBatch, owns: &dyn Fn(u32) -> bool) -> Result<RecordBatch, EngineError> {
        let keys = &batch.columns()[SAVED_COLUMNS..];
        let owned: BooleanArray =
            encode_rows(keys, batch.num_rows())?.iter().map(|key| Some(owns(key_group(key)))).collect();
        Ok(filter_record_batch(batch, &owned)?)
    }
}

fn fresh(spec: &OverSpec, output: &SchemaRef, input: &SchemaRef) -> Result<(Keys, Vec<Function>), EngineError> {
    let types = spec.keys.iter().map(|key| key.data_type(input)).collect::<Result<Vec<_>, _>>()?;
    let width = input.fields().len();
    let functions = spec
        .functions
        .iter()
        .enumerate()
        .map(|(at, function)| {
            let value = function.arg.as_ref().map_or(Ok(DataType::Boolean), |arg| arg.data_type(input))?;
            Function::new(function, value, output.field(width + at).data_type().clone())
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok((Keys::new(&types)?, functions))
}

/// One record may come as several rows, by a join or a `UNION`; what they say puts them in order.
fn ties_in_order(rows: Rows) -> Result<Rows, EngineError> {
    let uids = rows.uids();
    let is_tie =
        |row: &usize| rows.time.value(*row - 1) == rows.time.value(*row) && uids.value(*row - 1) == uids.value(*row);
    if !(1..rows.len()).any(|row| is_tie(&row)) {
        return Ok(rows);
    }
    let encoded = encode_rows(rows.columns.columns(), rows.len())?;
    let mut order: Vec<u64> = (0..rows.len() as u64).collect();
    order.sort_by(|one, other| {
        let place = |row: &u64| (rows.time.value(*row as usize), uids.value(*row as usize), &encoded[*row as usize]);
        place(one).cmp(&place(other))
    });
    Ok(rows.take(&UInt64Array::from(order))?)
}

impl Operator for Over {
    fn rows(&mut self, _input: usize, rows: Rows, out: &mut Outbox) -> Result<(), EngineError> {
        self.waiting.push(admitted(rows, self.watermark, out)?)
    }

    fn watermark(&mut self, watermark: EventTime, out: &mut Outbox) -> Result<(), EngineError> {
        self.watermark = self.watermark.max(watermark);
        if let Some(rows) = self.waiting.release(self.watermark)? {
            let rows = self.process(rows, &mut out.failures)?;
            out.rows.push(rows);
        }
        for (spec, function) in self.spec.functions.iter().zip(&mut self.functions) {
            function.expire(self.watermark.0.saturating_sub(spec.frame.horizon_us), &mut self.keys);
        }
        self.shrink()
    }

    fn table(&mut self, _table: &TableVersion) -> Result<(), EngineError> {
        Ok(())
    }

    fn state_bytes(&self) -> usize {
        self.waiting.bytes() + self.keys.bytes() + self.functions.iter().map(Function::bytes).sum::<usize>()
    }

    /// One section per function, then the rows that wait.
    fn save(&mut self, scope: Scope) -> Result<Saved, EngineError> {
        let scope = if std::mem::take(&mut self.is_renewed) { Scope::Whole } else { scope };
        let mut changes = vec![];
        let waiting = self.functions.len() as i64;
        for (section, function) in (0..).zip(&mut self.functions) {
            changes.extend(function.save(scope, section, &self.keys)?);
        }
        changes.extend(self.waiting.save(scope, waiting)?);
        Ok(Saved::of(scope, changes))
    }

    fn restore(&mut self, state: &[RecordBatch], owns: &dyn Fn(u32) -> bool) -> Result<(), EngineError> {
        let (entries, waiting) = state
            .split_at_checked(self.functions.len())
            .ok_or_else(|| EngineError::Snapshot("the state of an OVER lacks a function".to_owned()))?;
        let known =
            self.functions.iter().map(|function| function.entries(&self.keys)).collect::<Result<Vec<_>, _>>()?;
        (self.keys, self.functions) = fresh(&self.spec, &self.output, &self.input)?;
        for ((function, known), saved) in self.functions.iter_mut().zip(&known).zip(entries) {
            let saved = Self::owned_entries(saved, owns)?;
            let all = concat_batches(&known.schema(), [known, &saved])?;
            // Entries of one key come from one part, so a stable order by time keeps theirs.
            let times = all.column(0).as_primitive::<TimestampMicrosecondType>();
            let mut order: Vec<u64> = (0..all.num_rows() as u64).collect();
            order.sort_by_key(|row| times.value(*row as usize));
            function.load(&take_record_batch(&all, &UInt64Array::from(order))?, &mut self.keys)?;
        }
        for batch in waiting {
            self.waiting.push(owned(&Rows::from_batch(batch)?, &self.spec.keys, owns)?)?;
        }
        Ok(())
    }
}
