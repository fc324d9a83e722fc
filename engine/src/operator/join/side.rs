//! What a join remembers of one side: rows by key and in order of time, encoded, so that nothing of the batches that
//! they came in stays alive.

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;

use arrow::array::{Array, TimestampMicrosecondArray};
use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, SortField};

use crate::error::EngineError;
use crate::identity::Uid;
use crate::operator::stateless::conform;
use crate::rows::{Identity, Rows, batch_of, uid_array};

/// An encoded key.
pub(super) type Key = Arc<[u8]>;

/// A row that is remembered.
pub(super) struct Entry {
    pub(super) time: i64,
    uid: Uid,
    arrival: Option<i64>,
    row: Box<[u8]>,
    pub(super) is_matched: Cell<bool>,
}

/// The rows of one side.
pub(super) struct Side {
    schema: SchemaRef,
    converter: RowConverter,
    by_key: HashMap<Key, VecDeque<Entry>>,
    /// Rows that match nothing because their key has a NULL, and wait only to be told so.
    without_key: VecDeque<Entry>,
    /// When the first row of a key was, or may have been.
    order: BinaryHeap<Reverse<(i64, Key)>>,
}

impl Side {
    pub(super) fn new(schema: SchemaRef) -> Result<Self, EngineError> {
        let fields = schema.fields().iter().map(|field| SortField::new(field.data_type().clone())).collect();
        Ok(Self {
            converter: RowConverter::new(fields)?,
            schema,
            by_key: HashMap::new(),
            without_key: VecDeque::new(),
            order: BinaryHeap::new(),
        })
    }

    pub(super) const fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The rows of a key in order of time.
    pub(super) fn entries(&self, key: &Key) -> Option<&VecDeque<Entry>> {
        self.by_key.get(key)
    }

    /// Everything that is remembered.
    pub(super) fn all(&self) -> impl Iterator<Item = &Entry> {
        self.by_key.values().chain([&self.without_key]).flatten()
    }

    /// Remembers some of these rows under their keys.
    pub(super) fn insert(
        &mut self,
        rows: &Rows,
        which: Vec<(usize, Option<Key>)>,
        is_matched: &[bool],
    ) -> Result<(), EngineError> {
        if which.is_empty() {
            return Ok(());
        }
        let encoded = self.encoded(rows)?;
        for (row, key) in which {
            let time = rows.time.value(row);
            let entry = Entry {
                time,
                uid: rows.uid(row),
                arrival: rows.arrival.is_valid(row).then(|| rows.arrival.value(row)),
                row: encoded.as_ref().map_or_else(Box::default, |encoded| encoded.row(row).as_ref().into()),
                is_matched: Cell::new(is_matched[row]),
            };
            let Some(key) = key else {
                put(&mut self.without_key, entry);
                continue;
            };
            let entries = self.by_key.entry(Arc::clone(&key)).or_default();
            if put(entries, entry) == 0 {
                self.order.push(Reverse((time, key)));
            }
        }
        Ok(())
    }

    /// Forgets all rows before an instant, or all; gives those that have never been matched if they are wanted.
    pub(super) fn forget_before(&mut self, horizon: Option<i64>, wants_unmatched: bool) -> Vec<Entry> {
        let is_past = |time: i64| horizon.is_none_or(|horizon| time < horizon);
        let mut forgotten = vec![];
        let mut forget = |entries: &mut VecDeque<Entry>| {
            while let Some(entry) = entries.pop_front_if(|entry| is_past(entry.time)) {
                if wants_unmatched && !entry.is_matched.get() {
                    forgotten.push(entry);
                }
            }
            if entries.capacity() > 16 && entries.len() < entries.capacity() / 4 {
                entries.shrink_to(entries.len() * 2);
            }
        };
        forget(&mut self.without_key);
        while let Some(Reverse((time, _))) = self.order.peek() {
            if !is_past(*time) {
                break;
            }
            let Some(Reverse((_, key))) = self.order.pop() else { break };
            let Some(entries) = self.by_key.get_mut(&key) else { continue };
            forget(entries);
            match entries.front().map(|entry| entry.time) {
                Some(next) => self.order.push(Reverse((next, key))),
                None => drop(self.by_key.remove(&key)),
            }
        }
        if self.by_key.len() < self.by_key.capacity() / 4 {
            self.by_key.shrink_to(self.by_key.len() * 2);
            self.order.shrink_to(self.order.len() * 2);
        }
        forgotten
    }

    /// Remembered rows as they were.
    pub(super) fn rows_of(&self, entries: &[&Entry]) -> Result<Rows, EngineError> {
        let count = entries.len();
        let columns = if self.schema.fields().is_empty() {
            vec![]
        } else {
            let parser = self.converter.parser();
            self.converter.convert_rows(entries.iter().map(|entry| parser.parse(&entry.row)))?
        };
        Ok(Rows {
            columns: batch_of(Arc::clone(&self.schema), conform(&columns, &self.schema)?, count)?,
            time: entries.iter().map(|entry| Some(entry.time)).collect::<TimestampMicrosecondArray>(),
            identity: Identity::Uid(uid_array(entries.iter().map(|entry| entry.uid))),
            arrival: entries.iter().map(|entry| entry.arrival).collect::<TimestampMicrosecondArray>(),
            late_us: None,
            provisional: None,
            withdrawn: None,
        })
    }

    /// `None` where there are no columns to encode.
    fn encoded(&self, rows: &Rows) -> Result<Option<arrow::row::Rows>, EngineError> {
        if self.schema.fields().is_empty() {
            return Ok(None);
        }
        let columns = conform(rows.columns.columns(), &self.schema)?;
        Ok(Some(self.converter.convert_columns(&columns)?))
    }
}

/// Puts a row in its place, behind those of the same time; says which place that is.
fn put(entries: &mut VecDeque<Entry>, entry: Entry) -> usize {
    let place = match entries.back() {
        Some(last) if last.time > entry.time => entries.partition_point(|other| other.time <= entry.time),
        _ => entries.len(),
    };
    entries.insert(place, entry);
    place
}
