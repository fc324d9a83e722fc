//! Sequences of rows of one key: `MATCH_RECOGNIZE`. Sorting stands apart from matching: rows wait until they are strictly
//! below the watermark, and are then matched per partition in the order of (time, uid).
//!
//! State is bounded by `WITHIN`: a partition keeps the rows from its first undecided start on, which is decided when the
//! watermark is `WITHIN` behind it at the latest, and as many rows before it as `PREV` looks at. A partition whose rows
//! are all decided is gone. Partitions that time alone decides are found by their deadline, so that a watermark costs what
//! it decides, and not what is open.

mod attempt;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, TimestampMicrosecondArray, UInt8Array, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt8Type};

use self::attempt::{Attempt, Found, Outcome};
use super::admit::{admitted, owned};
use super::ordered::Ordered;
use super::stateless::conform;
use super::{Operator, Outbox};
use crate::canonical::encode_rows;
use crate::error::EngineError;
use crate::graph::{SequenceSpec, Slot};
use crate::identity::Uid;
use crate::rows::{Identity, Rows, batch_of, concat_arrays, uid_array};
use crate::sql::sequence::Skip;
use crate::sql::total::{evaluate, evaluate_predicate};
use crate::table::TableVersion;
use crate::time::EventTime;

/// Where a saved row stood: above the watermark, before the first undecided start of its partition, or behind it.
const WAITING: u8 = 0;
const BEFORE: u8 = 1;
const UNDECIDED: u8 = 2;

/// The operator.
pub(super) struct Sequence {
    spec: SequenceSpec,
    output: SchemaRef,
    input: SchemaRef,
    waiting: Ordered,
    partitions: HashMap<Vec<u8>, Partition>,
    /// Partitions by the instant at which time alone decides something of them.
    deadlines: BTreeMap<i64, BTreeSet<Vec<u8>>>,
    /// Times of undecided starts, with how many partitions have one.
    starts: BTreeMap<i64, usize>,
    watermark: EventTime,
}

/// The rows of one key that may still matter, in order.
#[derive(Default)]
struct Partition {
    rows: Vec<Kept>,
    /// The first row that no match has been tried from to the end.
    start: usize,
    deadline: Option<i64>,
    undecided: Option<i64>,
}

/// A row in a chunk that it shares with others of its key.
#[derive(Clone)]
struct Kept {
    chunk: Arc<Rows>,
    at: usize,
    time: i64,
    /// Which variables' conditions hold, of those that read the row alone.
    holds: u64,
}

/// Matches on their way out, column by column.
#[derive(Default)]
struct Matches {
    columns: Vec<Vec<ArrayRef>>,
    times: Vec<i64>,
    uids: Vec<Uid>,
    arrival: Vec<Option<i64>>,
}

impl Sequence {
    pub(super) fn new(spec: SequenceSpec, output: SchemaRef, input: SchemaRef) -> Self {
        Self {
            spec,
            output,
            input,
            waiting: Ordered::default(),
            partitions: HashMap::new(),
            deadlines: BTreeMap::new(),
            starts: BTreeMap::new(),
            watermark: EventTime::MIN,
        }
    }

    /// For each row the variables whose condition reads nothing else and holds.
    fn holds(&self, rows: &RecordBatch, failures: &mut u64) -> Result<Vec<u64>, EngineError> {
        let mut holds = vec![0_u64; rows.num_rows()];
        for (variable, condition) in self.spec.conditions.iter().enumerate() {
            let Some(formula) = condition else {
                holds.iter_mut().for_each(|bits| *bits |= 1 << variable);
                continue;
            };
            if !formula.is_of_row {
                continue;
            }
            let columns = formula.slots.iter().filter_map(|slot| match slot {
                Slot::Row(_, column) => Some(Arc::clone(rows.column(*column))),
                Slot::Aggregate(_) | Slot::Classifier | Slot::Time => None,
            });
            let columns = conform(&columns.collect::<Vec<_>>(), &formula.schema)?;
            let batch = batch_of(Arc::clone(&formula.schema), columns, rows.num_rows())?;
            let is_true = evaluate_predicate(formula.expr.as_ref(), &batch, failures)?;
            for (bits, is_true) in holds.iter_mut().zip(is_true.values().iter()) {
                *bits |= u64::from(is_true) << variable;
            }
        }
        Ok(holds)
    }

    /// Puts rows that are in order behind those of their keys; gives the keys.
    fn append(&mut self, rows: &Rows, failures: &mut u64) -> Result<BTreeSet<Vec<u8>>, EngineError> {
        let keys = self.keys(&rows.columns, failures)?;
        let holds = self.holds(&rows.columns, failures)?;
        let mut of_keys: BTreeMap<Vec<u8>, Vec<u64>> = BTreeMap::new();
        for (row, key) in encode_rows(&keys, rows.len())?.into_iter().enumerate() {
            of_keys.entry(key).or_default().push(row as u64);
        }
        let mut touched = BTreeSet::new();
        for (key, indices) in of_keys {
            let chunk = Arc::new(rows.take(&UInt64Array::from(indices.clone()))?.compacted()?);
            let kept = indices.iter().enumerate().map(|(at, row)| Kept {
                chunk: Arc::clone(&chunk),
                at,
                time: chunk.time.value(at),
                holds: holds[*row as usize],
            });
            self.partitions.entry(key.clone()).or_default().rows.extend(kept);
            touched.insert(key);
        }
        Ok(touched)
    }

    fn keys(&self, rows: &RecordBatch, failures: &mut u64) -> Result<Vec<ArrayRef>, EngineError> {
        let keys = self.spec.keys.iter().map(|key| evaluate(key.as_ref(), rows, failures));
        Ok(keys.collect::<Result<_, _>>()?)
    }

    /// Decides what can be decided of a partition.
    fn advance(&mut self, key: Vec<u8>, out: &mut Outbox, matches: &mut Matches) -> Result<(), EngineError> {
        let Some(mut partition) = self.partitions.remove(&key) else { return Ok(()) };
        self.forget(&key, &mut partition);
        let mut deadline = None;
        while partition.start < partition.rows.len() {
            let attempt = Attempt::new(&self.spec, &self.input, &partition.rows, partition.start, self.watermark);
            match attempt.run(&mut out.failures)? {
                Outcome::Pending(until) => {
                    deadline = Some(until);
                    break;
                }
                Outcome::Nothing => partition.start += 1,
                Outcome::Match(found) => {
                    self.note(&partition.rows, partition.start, &found, matches)?;
                    partition.start = self.next_start(partition.start, &found.path);
                }
            }
        }
        self.keep(key, partition, deadline);
        Ok(())
    }

    fn next_start(&self, start: usize, path: &[usize]) -> usize {
        let target = match self.spec.skip {
            Skip::PastLastRow => Some(path.len()),
            Skip::ToNextRow => Some(1),
            Skip::ToFirst(variable) => path.iter().position(|of| *of == variable),
            Skip::ToLast(variable) => path.iter().rposition(|of| *of == variable),
        };
        start + target.unwrap_or(1).max(1)
    }

    /// Puts a partition back with the rows that may still matter.
    fn keep(&mut self, key: Vec<u8>, mut partition: Partition, deadline: Option<i64>) {
        let within = self.spec.within_us;
        let now = partition.rows.get(partition.start).map_or(self.watermark.0, |row| row.time);
        let earliest = partition.start.saturating_sub(self.spec.rows_before);
        let in_sight = |row: &Kept| now.saturating_sub(row.time) < within;
        let from = (earliest..partition.start).find(|row| in_sight(&partition.rows[*row])).unwrap_or(partition.start);
        partition.rows.drain(..from);
        partition.start -= from;
        let Some(last) = partition.rows.last() else { return };
        let deadline = deadline.unwrap_or(last.time.saturating_add(within));
        partition.deadline = Some(deadline);
        partition.undecided = partition.rows.get(partition.start).map(|row| row.time);
        self.deadlines.entry(deadline).or_default().insert(key.clone());
        if let Some(start) = partition.undecided {
            *self.starts.entry(start).or_default() += 1;
        }
        self.partitions.insert(key, partition);
    }

    /// Takes a partition off the indices.
    fn forget(&mut self, key: &[u8], partition: &mut Partition) {
        if let Some(deadline) = partition.deadline.take()
            && let Some(keys) = self.deadlines.get_mut(&deadline)
        {
            keys.remove(key);
            if keys.is_empty() {
                self.deadlines.remove(&deadline);
            }
        }
        if let Some(start) = partition.undecided.take()
            && let Some(count) = self.starts.get_mut(&start)
        {
            *count -= 1;
            if *count == 0 {
                self.starts.remove(&start);
            }
        }
    }

    /// Notes a match as a row of the output.
    fn note(&self, rows: &[Kept], start: usize, found: &Found, matches: &mut Matches) -> Result<(), EngineError> {
        let rows = &rows[start..start + found.path.len()];
        let Some(first) = rows.first() else { return Ok(()) };
        // What could not be computed was counted when the row came.
        let keys = self.keys(&first.chunk.columns.slice(first.at, 1), &mut 0)?;
        matches.columns.resize_with(self.output.fields().len(), Vec::new);
        let values = keys.into_iter().chain(found.measures.iter().cloned());
        matches.columns.iter_mut().zip(values).for_each(|(column, value)| column.push(value));
        matches.times.push(found.time);
        let uids: Vec<Uid> = rows.iter().map(|row| row.chunk.uid(row.at)).collect();
        let cause = std::iter::once(b"sequence".as_slice()).chain(uids.iter().map(|uid| uid.0.as_slice()));
        matches.uids.push(Uid::of_cause(cause));
        let arrivals = rows.iter().map(|row| {
            let arrival = &row.chunk.arrival;
            arrival.is_valid(row.at).then(|| arrival.value(row.at))
        });
        matches.arrival.push(arrivals.max().flatten());
        Ok(())
    }

    fn output(&self, matches: Matches) -> Result<Option<Rows>, EngineError> {
        let count = matches.times.len();
        if count == 0 {
            return Ok(None);
        }
        let columns = matches.columns.iter().map(|values| concat_arrays(values)).collect::<Result<Vec<_>, _>>()?;
        let columns = conform(&columns, &self.output)?;
        Ok(Some(Rows {
            columns: batch_of(Arc::clone(&self.output), columns, count)?,
            time: TimestampMicrosecondArray::from(matches.times),
            identity: Identity::Uid(uid_array(matches.uids.into_iter())),
            arrival: TimestampMicrosecondArray::from(matches.arrival),
            late_us: None,
            provisional: None,
            withdrawn: None,
        }))
    }
}

impl Operator for Sequence {
    fn rows(&mut self, _input: usize, rows: Rows, out: &mut Outbox) -> Result<(), EngineError> {
        self.waiting.push(admitted(rows, self.watermark, out)?)
    }

    fn watermark(&mut self, watermark: EventTime, out: &mut Outbox) -> Result<(), EngineError> {
        self.watermark = self.watermark.max(watermark);
        let mut touched = match self.waiting.release(self.watermark)? {
            Some(rows) => self.append(&rows, &mut out.failures)?,
            None => BTreeSet::new(),
        };
        touched.extend(self.deadlines.range(..=self.watermark.0).flat_map(|(_, keys)| keys).cloned());
        let mut matches = Matches::default();
        for key in touched {
            self.advance(key, out, &mut matches)?;
        }
        out.rows.extend(self.output(matches)?);
        Ok(())
    }

    /// A match is not older than its first row, which is one of the undecided starts or comes later.
    fn forwards(&self, watermark: EventTime) -> EventTime {
        self.starts.first_key_value().map_or(watermark, |(start, _)| watermark.min(EventTime(*start)))
    }

    fn table(&mut self, _table: &TableVersion) -> Result<(), EngineError> {
        Ok(())
    }

    /// Batches of rows, each with where it stood in front.
    fn snapshot(&mut self) -> Result<Vec<RecordBatch>, EngineError> {
        let mut batches = vec![];
        for rows in self.waiting.snapshot()? {
            batches.push(with_places(&rows, vec![WAITING; rows.num_rows()])?);
        }
        let mut keys: Vec<&Vec<u8>> = self.partitions.keys().collect();
        keys.sort_unstable();
        let (mut parts, mut places) = (vec![], vec![]);
        for partition in keys.into_iter().filter_map(|key| self.partitions.get(key)) {
            for (index, row) in partition.rows.iter().enumerate() {
                parts.push(row.chunk.slice(row.at, 1));
                places.push(if index < partition.start { BEFORE } else { UNDECIDED });
            }
        }
        if !parts.is_empty() {
            batches.push(with_places(&Rows::concat(&parts)?.to_batch()?, places)?);
        }
        Ok(batches)
    }

    fn restore(&mut self, state: &[RecordBatch], owns: &dyn Fn(u32) -> bool) -> Result<(), EngineError> {
        for batch in state {
            let places = batch.column(0).as_primitive::<UInt8Type>();
            let rows = Rows::from_batch(&batch.project(&(1..batch.num_columns()).collect::<Vec<_>>())?)?;
            let of = |place: u8| places.iter().map(|at| Some(at == Some(place))).collect();
            self.waiting.push(owned(&rows.filter(&of(WAITING))?, &self.spec.keys, owns)?)?;
            let before = owned(&rows.filter(&of(BEFORE))?, &self.spec.keys, owns)?;
            let undecided = owned(&rows.filter(&of(UNDECIDED))?, &self.spec.keys, owns)?;
            // What could not be computed was counted when the rows came first.
            let mut touched = self.append(&before, &mut 0)?;
            for key in &touched {
                if let Some(partition) = self.partitions.get_mut(key) {
                    partition.start = partition.rows.len();
                }
            }
            touched.extend(self.append(&undecided, &mut 0)?);
            for key in touched {
                if let Some(partition) = self.partitions.remove(&key) {
                    let start = partition.rows.get(partition.start).map(|row| row.time);
                    self.keep(key, partition, start.map(|start| start.saturating_add(self.spec.within_us)));
                }
            }
        }
        Ok(())
    }
}

fn with_places(rows: &RecordBatch, places: Vec<u8>) -> Result<RecordBatch, EngineError> {
    let place = Arc::new(Field::new("place", DataType::UInt8, false));
    let fields: Vec<_> = std::iter::once(place).chain(rows.schema().fields().iter().cloned()).collect();
    let mut columns: Vec<ArrayRef> = vec![Arc::new(UInt8Array::from(places))];
    columns.extend(rows.columns().iter().cloned());
    Ok(batch_of(Arc::new(Schema::new(fields)), columns, rows.num_rows())?)
}
