//! The rows of one key and the matches among them, given in the order of (time, uid). It knows neither where rows come from
//! nor who waits for matches, so that a stream and a hunt get theirs from the same code.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, TimestampMicrosecondArray, UInt64Array};
use arrow::datatypes::SchemaRef;

use super::attempt::{Attempt, Found, Outcome, Search};
use crate::canonical::encode_rows;
use crate::error::EngineError;
use crate::graph::{Formula, SequenceSpec, Slot};
use crate::identity::Uid;
use crate::operator::stateless::conform;
use crate::rows::{Identity, Rows, batch_of, concat_arrays, uid_array};
use crate::sql::sequence::{Skip, Step};
use crate::sql::total::{evaluate, evaluate_predicate};
use crate::time::EventTime;

/// With so few rows behind it, a start is tried even if a row that every match has is not there yet: it may fail at once,
/// and then nothing waits.
const ROWS_TRIED_ANYWAY: usize = 32;

/// What is looked for, and what of it can be known before.
pub(super) struct Matcher {
    pub(super) spec: SequenceSpec,
    pub(super) input: SchemaRef,
    pub(super) output: SchemaRef,
    /// Per step, whether a way that failed from there once is remembered: where ways meet, if conditions do not look back.
    pub(super) forgets_at: Vec<bool>,
    /// The variables whose condition reads the row alone, or that have none, as bits.
    of_row: u64,
    /// Those of them of which every match has a row.
    needed: Vec<usize>,
}

/// The rows of one key that may still matter.
#[derive(Default)]
pub(super) struct Partition {
    pub(super) rows: VecDeque<Kept>,
    /// The first row that no match has been tried from to the end.
    pub(super) start: usize,
    /// The attempt from there, where one has begun.
    attempt: Option<Attempt>,
    /// How many rows are gone that stood before these.
    gone: usize,
    /// The bytes of the rows.
    row_bytes: usize,
    /// Per needed variable, how many rows there have been up to the last that matches it.
    seen: Vec<usize>,
}

/// A row in a chunk that it shares with others of its key.
#[derive(Clone)]
pub(super) struct Kept {
    pub(super) chunk: Arc<Rows>,
    pub(super) at: usize,
    pub(super) time: i64,
    /// The variables whose condition is known to hold or not, as bits, and those for which it holds.
    pub(super) known: u64,
    pub(super) holds: u64,
    /// Its share of the chunk's bytes.
    bytes: usize,
}

/// Matches on their way out, column by column.
#[derive(Default)]
pub(super) struct Matches {
    columns: Vec<Vec<ArrayRef>>,
    times: Vec<i64>,
    uids: Vec<Uid>,
    arrival: Vec<Option<i64>>,
}

impl Matcher {
    pub(super) fn new(spec: SequenceSpec, output: SchemaRef, input: SchemaRef) -> Self {
        let conditions = || spec.conditions.iter().flatten();
        let forgets = conditions().all(|formula| formula.is_of_place);
        let forgets_at = ways_to(&spec.steps).into_iter().map(|ways| forgets && ways > 1).collect();
        let is_of_row = |condition: &Option<Formula>| condition.as_ref().is_none_or(|formula| formula.is_of_row);
        let of_row: Vec<usize> =
            (0..spec.conditions.len()).filter(|variable| is_of_row(&spec.conditions[*variable])).collect();
        let needed = of_row.iter().copied().filter(|variable| is_needed(&spec.steps, *variable)).collect();
        let of_row = of_row.into_iter().fold(0, |bits, variable| bits | (1 << variable));
        Self { spec, input, output, forgets_at, of_row, needed }
    }

    /// The rows by key, ready for their partitions.
    pub(super) fn of_keys(&self, rows: &Rows, failures: &mut u64) -> Result<BTreeMap<Vec<u8>, Vec<Kept>>, EngineError> {
        let keys = self.keys(&rows.columns, failures)?;
        let holds = self.holds(&rows.columns, failures)?;
        let mut of_keys: BTreeMap<Vec<u8>, Vec<u64>> = BTreeMap::new();
        for (row, key) in encode_rows(&keys, rows.len())?.into_iter().enumerate() {
            of_keys.entry(key).or_default().push(row as u64);
        }
        let kept = |(key, indices): (Vec<u8>, Vec<u64>)| {
            let chunk = Arc::new(rows.take(&UInt64Array::from(indices.clone()))?.compacted()?);
            let bytes = chunk.bytes() / indices.len().max(1);
            let kept = indices.iter().enumerate().map(|(at, row)| Kept {
                chunk: Arc::clone(&chunk),
                at,
                time: chunk.time.value(at),
                known: self.of_row,
                holds: holds[*row as usize],
                bytes,
            });
            Ok((key, kept.collect()))
        };
        of_keys.into_iter().map(kept).collect()
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

    fn keys(&self, rows: &RecordBatch, failures: &mut u64) -> Result<Vec<ArrayRef>, EngineError> {
        let keys = self.spec.keys.iter().map(|key| evaluate(key.as_ref(), rows, failures));
        Ok(keys.collect::<Result<_, _>>()?)
    }

    /// Puts rows behind those of their key.
    pub(super) fn append(&self, partition: &mut Partition, rows: Vec<Kept>) {
        partition.seen.resize(self.needed.len(), 0);
        for row in rows {
            partition.row_bytes += row.bytes;
            partition.rows.push_back(row.clone());
            let count = partition.gone + partition.rows.len();
            let needed = partition.seen.iter_mut().zip(&self.needed);
            needed.filter(|(_, variable)| row.holds & (1 << **variable) != 0).for_each(|(seen, _)| *seen = count);
        }
    }

    /// Decides what can be decided; gives the instant at which time alone decides more, if anything is open.
    pub(super) fn advance(
        &self,
        partition: &mut Partition,
        watermark: EventTime,
        matches: &mut Matches,
        failures: &mut u64,
    ) -> Result<Option<i64>, EngineError> {
        while partition.start < partition.rows.len() {
            match self.attempt(partition, watermark, failures)? {
                Outcome::Pending(until) => return Ok(Some(until)),
                Outcome::Nothing => partition.start += 1,
                Outcome::Match(found) => {
                    self.note(partition, &found, matches)?;
                    partition.start += self.rows_skipped(&found.path);
                }
            }
            partition.attempt = None;
        }
        Ok(None)
    }

    fn attempt(
        &self,
        partition: &mut Partition,
        watermark: EventTime,
        failures: &mut u64,
    ) -> Result<Outcome, EngineError> {
        if partition.attempt.is_none() && self.lacks_rows(partition) {
            let limit = partition.rows[partition.start].time.saturating_add(self.spec.within_us);
            return Ok(if watermark.0 < limit { Outcome::Pending(limit) } else { Outcome::Nothing });
        }
        let attempt = partition.attempt.get_or_insert_default();
        Search::new(self, &mut partition.rows, partition.start, watermark, attempt).run(failures)
    }

    /// Whether a variable that every match needs has no row yet, where trying all the same would cost.
    fn lacks_rows(&self, partition: &Partition) -> bool {
        let before = partition.gone + partition.start;
        partition.rows.len() - partition.start > ROWS_TRIED_ANYWAY && partition.seen.iter().any(|seen| *seen <= before)
    }

    fn rows_skipped(&self, path: &[usize]) -> usize {
        let target = match self.spec.skip {
            Skip::PastLastRow => Some(path.len()),
            Skip::ToNextRow => Some(1),
            Skip::ToFirst(variable) => path.iter().position(|of| *of == variable),
            Skip::ToLast(variable) => path.iter().rposition(|of| *of == variable),
        };
        target.unwrap_or(1).max(1)
    }

    /// Drops the rows that can no longer matter: those before the first undecided start, but for what `PREV` looks at.
    pub(super) fn trim(&self, partition: &mut Partition, watermark: EventTime) {
        let within = self.spec.within_us;
        let now = partition.rows.get(partition.start).map_or(watermark.0, |row| row.time);
        let earliest = partition.start.saturating_sub(self.spec.rows_before);
        let in_sight = |row: &Kept| now.saturating_sub(row.time) < within;
        let from = (earliest..partition.start).find(|row| in_sight(&partition.rows[*row])).unwrap_or(partition.start);
        partition.row_bytes -= partition.rows.drain(..from).map(|row| row.bytes).sum::<usize>();
        partition.start -= from;
        partition.gone += from;
    }

    /// Notes a match as a row of the output.
    fn note(&self, partition: &Partition, found: &Found, matches: &mut Matches) -> Result<(), EngineError> {
        let rows = || partition.rows.range(partition.start..partition.start + found.path.len());
        let Some(first) = rows().next() else { return Ok(()) };
        // What could not be computed was counted when the row came.
        let keys = self.keys(&first.chunk.columns.slice(first.at, 1), &mut 0)?;
        matches.columns.resize_with(self.output.fields().len(), Vec::new);
        let values = keys.into_iter().chain(found.measures.iter().cloned());
        matches.columns.iter_mut().zip(values).for_each(|(column, value)| column.push(value));
        matches.times.push(found.time);
        let uids: Vec<Uid> = rows().map(|row| row.chunk.uid(row.at)).collect();
        let cause = std::iter::once(b"sequence".as_slice()).chain(uids.iter().map(|uid| uid.0.as_slice()));
        matches.uids.push(Uid::of_cause(cause));
        let arrivals = rows().map(|row| {
            let arrival = &row.chunk.arrival;
            arrival.is_valid(row.at).then(|| arrival.value(row.at))
        });
        matches.arrival.push(arrivals.max().flatten());
        Ok(())
    }

    /// The matches as rows; `None` for none.
    pub(super) fn output(&self, matches: Matches) -> Result<Option<Rows>, EngineError> {
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

impl Partition {
    /// The time of the first row that no match has been tried from to the end.
    pub(super) fn undecided(&self) -> Option<i64> {
        self.rows.get(self.start).map(|row| row.time)
    }

    /// The bytes of its rows and of its attempt, without walking through either.
    pub(super) fn held_bytes(&self) -> usize {
        let attempt = self.attempt.as_ref().map_or(0, Attempt::held_bytes);
        self.row_bytes + self.rows.capacity() * size_of::<Kept>() + attempt
    }

    /// Roughly the bytes of its rows, and of what the attempt remembers.
    pub(super) fn bytes(&self) -> usize {
        let mut chunks: Vec<&Arc<Rows>> = self.rows.iter().map(|row| &row.chunk).collect();
        chunks.dedup_by(|one, other| Arc::ptr_eq(one, other));
        let of_rows = chunks.into_iter().map(|chunk| chunk.columns.get_array_memory_size()).sum::<usize>();
        let of_attempt = self.attempt.as_ref().map_or(0, Attempt::bytes);
        of_rows + self.rows.len() * size_of::<Kept>() + of_attempt
    }
}

/// The steps that may come directly behind a step.
fn behind(steps: &[Step], step: usize) -> Vec<usize> {
    match steps[step] {
        Step::Row(_) | Step::Missing(_) => vec![step + 1],
        Step::Either(preferred, other) => vec![preferred, other],
        Step::Jump(to) => vec![to],
        Step::Done => vec![],
    }
}

/// In how many ways each step is come to.
fn ways_to(steps: &[Step]) -> Vec<usize> {
    let mut ways = vec![0; steps.len()];
    for step in 0..steps.len() {
        behind(steps, step).into_iter().for_each(|next| ways[next] += 1);
    }
    ways
}

/// Whether no match is without a row of a variable.
fn is_needed(steps: &[Step], variable: usize) -> bool {
    let mut reached = vec![false; steps.len()];
    let mut open = vec![0];
    while let Some(step) = open.pop() {
        if !std::mem::replace(&mut reached[step], true) && steps[step] != Step::Row(variable) {
            open.extend(behind(steps, step));
        }
    }
    let is_done = |step: usize| reached[step] && steps[step] == Step::Done;
    !(0..steps.len()).any(is_done)
}
