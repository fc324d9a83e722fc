//! What a join remembers of one side: rows by key and in order of time, encoded, so that nothing of the batches that
//! they came in stays alive.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, TimestampMicrosecondArray, UInt8Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::row::{RowConverter, SortField};

use crate::error::EngineError;
use crate::identity::Uid;
use crate::operator::bytes::{OWN_BYTES, of_box, of_table};
use crate::operator::ordered::id_of;
use crate::operator::stateless::conform;
use crate::rows::{Identity, Rows, batch_of, uid_array};
use crate::snapshot::{Change, Noted, Scope};

/// An encoded key.
pub(super) type Key = Arc<[u8]>;

/// A row that is remembered.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) time: i64,
    /// Tells rows of one time apart.
    number: u64,
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
    /// The bytes of keys and encoded rows, and how many entries there is room for.
    owned_bytes: usize,
    room: usize,
    /// How many rows were remembered so far.
    taken: u64,
    /// Rows that were remembered, or matched for the first time, since the side was saved last.
    noted: RefCell<Noted<Entry>>,
    /// Rows before this were forgotten since then.
    forgotten: Option<i64>,
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
            owned_bytes: 0,
            room: 0,
            taken: 0,
            noted: RefCell::default(),
            forgotten: None,
        })
    }

    pub(super) const fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The rows of a key in order of time.
    pub(super) fn entries(&self, key: &Key) -> Option<&VecDeque<Entry>> {
        self.by_key.get(key)
    }

    /// The bytes of everything that is remembered.
    pub(super) fn bytes(&self) -> usize {
        let table = of_table::<(Key, VecDeque<Entry>)>(self.by_key.capacity());
        let order = self.order.capacity() * size_of::<Reverse<(i64, Key)>>();
        table + order + self.room * size_of::<Entry>() + self.owned_bytes
    }

    /// Notes that a row has its first match.
    pub(super) fn matched(&self, entry: &Entry) {
        self.noted.borrow_mut().note(|| entry.clone());
    }

    /// Everything that is remembered.
    fn all(&self) -> impl Iterator<Item = &Entry> {
        self.by_key.values().chain([&self.without_key]).flatten()
    }

    /// What is remembered, or what has become of it, as section `side` of a state.
    pub(super) fn save(&mut self, scope: Scope, side: u8) -> Result<Vec<Change>, EngineError> {
        let (noted, forgotten) = (self.noted.get_mut().take(), self.forgotten.take());
        let section = i64::from(side);
        let mut changes = vec![];
        let entries: Vec<&Entry> = match scope {
            Scope::Whole => self.all().collect(),
            Scope::Changes => {
                changes.extend(forgotten.map(|before| Change::RemoveBelow { section, id: id_of(before, 0).to_vec() }));
                noted.iter().filter(|entry| forgotten.is_none_or(|before| entry.time >= before)).collect()
            }
        };
        if !entries.is_empty() {
            let ids = entries.iter().map(|entry| Some(id_of(entry.time, entry.number))).collect();
            changes.push(Change::Put { section, ids: Some(ids), rows: self.saved(&entries, side)? });
        }
        Ok(changes)
    }

    /// Rows as a batch: which side, whether a row has been matched, then the rows.
    fn saved(&self, entries: &[&Entry], side: u8) -> Result<RecordBatch, EngineError> {
        let matched: BooleanArray = entries.iter().map(|entry| Some(entry.is_matched.get())).collect();
        let rows = self.rows_of(entries)?.to_batch()?;
        let mut fields = vec![
            Arc::new(Field::new("side", DataType::UInt8, false)),
            Arc::new(Field::new("matched", DataType::Boolean, false)),
        ];
        fields.extend(rows.schema().fields().iter().cloned());
        let mut columns: Vec<ArrayRef> = vec![Arc::new(UInt8Array::from(vec![side; entries.len()])), Arc::new(matched)];
        columns.extend(rows.columns().iter().cloned());
        Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
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
                number: self.taken,
                uid: rows.uid(row),
                arrival: rows.arrival.is_valid(row).then(|| rows.arrival.value(row)),
                row: encoded.as_ref().map_or_else(Box::default, |encoded| encoded.row(row).as_ref().into()),
                is_matched: Cell::new(is_matched[row]),
            };
            self.taken += 1;
            self.noted.get_mut().note(|| entry.clone());
            self.owned_bytes += of_box(entry.row.len());
            let Some(key) = key else {
                let before = self.without_key.capacity();
                put(&mut self.without_key, entry);
                self.room += self.without_key.capacity() - before;
                continue;
            };
            let entries = self.by_key.entry(Arc::clone(&key)).or_default();
            if entries.is_empty() {
                self.owned_bytes += key_bytes(&key);
            }
            let before = entries.capacity();
            if put(entries, entry) == 0 {
                self.order.push(Reverse((time, key)));
            }
            self.room += entries.capacity() - before;
        }
        Ok(())
    }

    /// Forgets all rows before an instant, or all; gives those that have never been matched if they are wanted.
    pub(super) fn forget_before(&mut self, horizon: Option<i64>, wants_unmatched: bool) -> Vec<Entry> {
        let is_past = |time: i64| horizon.is_none_or(|horizon| time < horizon);
        self.forgotten = self.forgotten.max(Some(horizon.unwrap_or(i64::MAX)));
        let mut forgotten = vec![];
        let (owned_bytes, room) = (&mut self.owned_bytes, &mut self.room);
        let mut forget = |entries: &mut VecDeque<Entry>| {
            let before = entries.capacity();
            while let Some(entry) = entries.pop_front_if(|entry| is_past(entry.time)) {
                *owned_bytes -= of_box(entry.row.len());
                if wants_unmatched && !entry.is_matched.get() {
                    forgotten.push(entry);
                }
            }
            if entries.capacity() > 16 && entries.len() < entries.capacity() / 4 {
                entries.shrink_to(entries.len() * 2);
            }
            if entries.is_empty() {
                *entries = VecDeque::new();
            }
            *room -= before - entries.capacity();
        };
        let mut gone_bytes = 0;
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
                None => {
                    gone_bytes += key_bytes(&key);
                    self.by_key.remove(&key);
                }
            }
        }
        self.owned_bytes -= gone_bytes;
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

/// The bytes of a key, which the table and the order share.
fn key_bytes(key: &Key) -> usize {
    // Two counters stand before the bytes.
    2 * size_of::<usize>() + key.len() + OWN_BYTES
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
