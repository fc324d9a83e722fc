//! Sequences of rows of one key: `MATCH_RECOGNIZE`. Sorting stands apart from matching: rows wait until they are strictly
//! below the watermark, and are then matched per partition in the order of (time, uid).
//!
//! State is bounded by `WITHIN`: a partition keeps the rows from its first undecided start on, which is decided when the
//! watermark is `WITHIN` behind it at the latest, and as many rows before it as `PREV` looks at. A partition whose rows
//! are all decided is gone. Partitions that time alone decides are found by their deadline, so that a watermark costs what
//! it decides, and not what is open.

mod attempt;
mod matcher;
mod sorted;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, UInt8Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt8Type};

use self::matcher::{Kept, Matcher, Matches, Partition};
pub use self::sorted::SequenceRun;
use super::admit::{admitted, owned};
use super::bytes::{of_box, of_table, of_tree, shrink};
use super::ordered::Ordered;
use super::{Operator, Outbox};
use crate::error::EngineError;
use crate::graph::SequenceSpec;
use crate::rows::{Rows, batch_of};
use crate::snapshot::{Saved, Scope};
use crate::table::TableVersion;
use crate::time::EventTime;

/// Where a saved row stood: above the watermark, before the first undecided start of its partition, or behind it.
const WAITING: u8 = 0;
const BEFORE: u8 = 1;
const UNDECIDED: u8 = 2;

/// The operator.
pub(super) struct Sequence {
    matcher: Matcher,
    waiting: Ordered,
    partitions: HashMap<Vec<u8>, Open>,
    /// Partitions by the instant at which time alone decides something of them.
    deadlines: BTreeMap<i64, BTreeSet<Vec<u8>>>,
    /// Times of undecided starts, with how many partitions have one.
    starts: BTreeMap<i64, usize>,
    /// The bytes of all partitions.
    partition_bytes: usize,
    watermark: EventTime,
}

/// A partition, and where it stands in the indices.
#[derive(Default)]
struct Open {
    partition: Partition,
    deadline: Option<i64>,
    undecided: Option<i64>,
    /// Its bytes when it was put back last.
    bytes: usize,
}

impl Sequence {
    pub(super) fn new(spec: SequenceSpec, output: SchemaRef, input: SchemaRef) -> Self {
        Self {
            matcher: Matcher::new(spec, output, input),
            waiting: Ordered::default(),
            partitions: HashMap::new(),
            deadlines: BTreeMap::new(),
            starts: BTreeMap::new(),
            partition_bytes: 0,
            watermark: EventTime::MIN,
        }
    }

    /// Puts rows that are in order behind those of their keys; gives the keys.
    fn append(&mut self, rows: &Rows, failures: &mut u64) -> Result<BTreeSet<Vec<u8>>, EngineError> {
        let mut touched = BTreeSet::new();
        for (key, rows) in self.matcher.of_keys(rows, failures)? {
            let open = self.partitions.entry(key.clone()).or_default();
            self.matcher.append(&mut open.partition, rows);
            touched.insert(key);
        }
        Ok(touched)
    }

    /// Decides what can be decided of a partition.
    fn advance(&mut self, key: Vec<u8>, out: &mut Outbox, matches: &mut Matches) -> Result<(), EngineError> {
        let Some(mut open) = self.partitions.remove(&key) else { return Ok(()) };
        self.forget(&key, &mut open);
        let deadline = self.matcher.advance(&mut open.partition, self.watermark, matches, &mut out.failures)?;
        self.keep(key, open, deadline);
        Ok(())
    }

    /// Puts a partition back with the rows that may still matter.
    fn keep(&mut self, key: Vec<u8>, mut open: Open, deadline: Option<i64>) {
        self.matcher.trim(&mut open.partition, self.watermark);
        let Some(last) = open.partition.rows.back() else { return };
        let deadline = deadline.unwrap_or(last.time.saturating_add(self.matcher.spec.within_us));
        open.deadline = Some(deadline);
        open.undecided = open.partition.undecided();
        self.deadlines.entry(deadline).or_default().insert(key.clone());
        if let Some(start) = open.undecided {
            *self.starts.entry(start).or_default() += 1;
        }
        // The key stands in the index too.
        open.bytes = open.partition.held_bytes() + 2 * of_box(key.len());
        self.partition_bytes += open.bytes;
        self.partitions.insert(key, open);
    }

    /// Takes a partition off the indices.
    fn forget(&mut self, key: &[u8], open: &mut Open) {
        self.partition_bytes -= std::mem::take(&mut open.bytes);
        if let Some(deadline) = open.deadline.take()
            && let Some(keys) = self.deadlines.get_mut(&deadline)
        {
            keys.remove(key);
            if keys.is_empty() {
                self.deadlines.remove(&deadline);
            }
        }
        if let Some(start) = open.undecided.take()
            && let Some(count) = self.starts.get_mut(&start)
        {
            *count -= 1;
            if *count == 0 {
                self.starts.remove(&start);
            }
        }
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
        shrink(&mut self.partitions);
        out.rows.extend(self.matcher.output(matches)?);
        Ok(())
    }

    /// A match is not older than its first row, which is one of the undecided starts or comes later.
    fn forwards(&self, watermark: EventTime) -> EventTime {
        self.starts.first_key_value().map_or(watermark, |(start, _)| watermark.min(EventTime(*start)))
    }

    fn table(&mut self, _table: &TableVersion) -> Result<(), EngineError> {
        Ok(())
    }

    fn state_bytes(&self) -> usize {
        let indices = of_tree::<(i64, BTreeSet<Vec<u8>>)>(self.deadlines.len())
            + of_tree::<Vec<u8>>(self.partitions.len())
            + of_tree::<(i64, usize)>(self.starts.len());
        let table = of_table::<(Vec<u8>, Open)>(self.partitions.capacity());
        self.waiting.bytes() + self.partition_bytes + indices + table
    }

    /// Batches of rows, each with where it stood in front. How far an attempt has come follows from the rows.
    fn save(&mut self, _scope: Scope) -> Result<Saved, EngineError> {
        let mut batches = vec![];
        for rows in self.waiting.batches()? {
            batches.push(with_places(&rows, vec![WAITING; rows.num_rows()])?);
        }
        let mut keys: Vec<&Vec<u8>> = self.partitions.keys().collect();
        keys.sort_unstable();
        let (mut parts, mut places) = (vec![], vec![]);
        for open in keys.into_iter().filter_map(|key| self.partitions.get(key)) {
            let Partition { rows, start, .. } = &open.partition;
            parts.extend(stretches(rows.iter()));
            places.extend((0..rows.len()).map(|row| if row < *start { BEFORE } else { UNDECIDED }));
        }
        if !parts.is_empty() {
            batches.push(with_places(&Rows::concat(&parts)?.to_batch()?, places)?);
        }
        Ok(Saved::whole(batches))
    }

    fn restore(&mut self, state: &[RecordBatch], owns: &dyn Fn(u32) -> bool) -> Result<(), EngineError> {
        for batch in state {
            let places = batch.column(0).as_primitive::<UInt8Type>();
            let rows = Rows::from_batch(&batch.project(&(1..batch.num_columns()).collect::<Vec<_>>())?)?;
            let of = |place: u8| places.iter().map(|at| Some(at == Some(place))).collect();
            let owned = |rows: &Rows| owned(rows, &self.matcher.spec.keys, owns);
            let (waiting, before) = (owned(&rows.filter(&of(WAITING))?)?, owned(&rows.filter(&of(BEFORE))?)?);
            let undecided = owned(&rows.filter(&of(UNDECIDED))?)?;
            self.waiting.push(waiting)?;
            // What could not be computed was counted when the rows came first.
            let mut touched = self.append(&before, &mut 0)?;
            for key in &touched {
                if let Some(Open { partition, .. }) = self.partitions.get_mut(key) {
                    partition.start = partition.rows.len();
                }
            }
            touched.extend(self.append(&undecided, &mut 0)?);
            for key in touched {
                if let Some(open) = self.partitions.remove(&key) {
                    let within_us = self.matcher.spec.within_us;
                    let deadline = open.partition.undecided().map(|start| start.saturating_add(within_us));
                    self.keep(key, open, deadline);
                }
            }
        }
        Ok(())
    }
}

/// Rows that stand behind each other in one chunk, without a copy.
fn stretches<'a>(rows: impl Iterator<Item = &'a Kept>) -> Vec<Rows> {
    let mut stretches: Vec<(&Kept, usize)> = vec![];
    for row in rows {
        match stretches.last_mut() {
            Some((first, count)) if Arc::ptr_eq(&first.chunk, &row.chunk) && first.at + *count == row.at => *count += 1,
            _ => stretches.push((row, 1)),
        }
    }
    stretches.into_iter().map(|(first, count)| first.chunk.slice(first.at, count)).collect()
}

fn with_places(rows: &RecordBatch, places: Vec<u8>) -> Result<RecordBatch, EngineError> {
    let place = Arc::new(Field::new("place", DataType::UInt8, false));
    let fields: Vec<_> = std::iter::once(place).chain(rows.schema().fields().iter().cloned()).collect();
    let mut columns: Vec<ArrayRef> = vec![Arc::new(UInt8Array::from(places))];
    columns.extend(rows.columns().iter().cloned());
    Ok(batch_of(Arc::new(Schema::new(fields)), columns, rows.num_rows())?)
}
