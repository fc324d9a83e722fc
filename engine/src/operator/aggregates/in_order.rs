//! Values in the order of their rows, which is (time, uid): the first, the last, one at a place, or the first so many of
//! them; and different values in their own order. What is kept does not depend on the order in which rows come.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, FixedSizeBinaryArray, ListArray, TimestampMicrosecondArray, UInt32Array};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, TimestampMicrosecondType};
use arrow::row::{RowConverter, SortField};

use super::Arguments;
use crate::error::EngineError;
use crate::graph::{InOrder, Keep};
use crate::identity::Uid;
use crate::operator::bytes::of_box;
use crate::rows::{uid_array, uid_at};
use crate::sql::in_order::VALUES_MAX;

/// One aggregate that keeps values of rows, over all groups.
pub(in crate::operator) struct Ordered {
    spec: InOrder,
    converter: RowConverter,
    /// What is kept of each group, in order.
    groups: Vec<Vec<Entry>>,
    /// The bytes of all entries.
    entry_bytes: usize,
}

/// A value and its place: time, uid, and the value in Arrow's row encoding, which tells rows of equal cause apart.
type Entry = (i64, Uid, Box<[u8]>);

impl Ordered {
    pub(super) fn new(spec: InOrder, data_type: DataType) -> Result<Self, EngineError> {
        let converter = RowConverter::new(vec![SortField::new(data_type)])?;
        Ok(Self { spec, converter, groups: vec![], entry_bytes: 0 })
    }

    pub(super) fn bytes(&self) -> usize {
        self.converter.size() + self.groups.capacity() * size_of::<Vec<Entry>>() + self.entry_bytes
    }

    pub(super) fn update(&mut self, arguments: &Arguments, groups: &[u32], count: usize) -> Result<(), EngineError> {
        self.groups.resize(count, vec![]);
        let Some((times, uids)) = &arguments.order else { return Ok(()) };
        let values = &arguments.values[0];
        let encoded = self.converter.convert_columns(&arguments.values[..1])?;
        for (row, group) in groups.iter().enumerate() {
            if arguments.passes(row) && !(self.spec.ignores_nulls && values.is_null(row)) {
                let value = encoded.row(row);
                self.insert(*group as usize, times.value(row), uid_at(uids, row), value.as_ref());
            }
        }
        Ok(())
    }

    fn insert(&mut self, group: usize, time: i64, uid: Uid, value: &[u8]) {
        let kept = &mut self.groups[group];
        let most =
            self.spec.element.and_then(|place| usize::try_from(place).ok()).map_or(VALUES_MAX, |at| at.min(VALUES_MAX));
        let place = if self.spec.keep == Keep::Distinct { (0, Uid([0; 16])) } else { (time, uid) };
        let order = |entry: &Entry| (entry.0, entry.1, entry.2.as_ref()).cmp(&(place.0, place.1, value));
        let at = match (kept.binary_search_by(order), self.spec.keep) {
            (Ok(_), Keep::Distinct) => return,
            (Ok(at) | Err(at), _) => at,
        };
        let entry = || (place.0, place.1, Box::from(value));
        if self.spec.keep == Keep::Last {
            if at == kept.len() {
                self.entry_bytes -= kept.iter().map(weight).sum::<usize>();
                *kept = vec![entry()];
                self.entry_bytes += kept.iter().map(weight).sum::<usize>();
            }
        } else if at < most {
            let entry = entry();
            self.entry_bytes += weight(&entry);
            kept.insert(at, entry);
            while kept.len() > most {
                self.entry_bytes -= kept.pop().as_ref().map_or(0, weight);
            }
        }
    }

    /// Adds groups of another pane, each to the group it is paired with.
    pub(super) fn absorb(&mut self, other: &Self, pairs: impl Iterator<Item = (usize, usize)>, count: usize) {
        self.groups.resize(count, vec![]);
        for (from, to) in pairs {
            for (time, uid, value) in other.groups.get(from).into_iter().flatten() {
                self.insert(to, *time, *uid, value);
            }
        }
    }

    /// The values of some groups: one each, or a list. A group of no row has NULL.
    pub(super) fn peek(&self, groups: &[u32]) -> Result<ArrayRef, EngineError> {
        let kept: Vec<&[Entry]> =
            groups.iter().map(|group| self.groups.get(*group as usize).map_or(&[][..], Vec::as_slice)).collect();
        if let Some(place) = self.spec.element {
            let told: Vec<Option<&Entry>> = kept.iter().map(|entries| at_place(entries, place)).collect();
            let values = self.decoded(told.iter().flatten().copied())?;
            let mut places = 0..;
            let places = told.iter().map(|entry| entry.and_then(|_| places.next()));
            return Ok(take(&values, &places.collect::<UInt32Array>(), None)?);
        }
        let values = self.decoded(kept.iter().copied().flatten())?;
        let nulls = NullBuffer::from_iter(kept.iter().map(|entries| !entries.is_empty()));
        Ok(Arc::new(listed(values, kept.iter().map(|entries| entries.len()), Some(nulls))?))
    }

    fn decoded<'a>(&self, entries: impl Iterator<Item = &'a Entry>) -> Result<ArrayRef, EngineError> {
        let parser = self.converter.parser();
        // A row belongs to the converter that made it; the bytes mean the same to all.
        let columns = self.converter.convert_rows(entries.map(|(_, _, value)| parser.parse(value)))?;
        columns.into_iter().next().ok_or_else(|| EngineError::Snapshot("a value has one column".to_owned()))
    }

    /// Three columns with a list for each of some groups: times, uids and values.
    pub(super) fn state(&mut self, groups: &[u32], count: usize) -> Result<Vec<ArrayRef>, EngineError> {
        self.groups.resize(count, vec![]);
        let lists = || groups.iter().map(|group| &self.groups[*group as usize]);
        let entries = || lists().flatten();
        let times: TimestampMicrosecondArray = entries().map(|(time, _, _)| Some(*time)).collect();
        let uids = uid_array(entries().map(|(_, uid, _)| *uid));
        let columns: [ArrayRef; 3] = [Arc::new(times), Arc::new(uids), self.decoded(entries())?];
        let list =
            |column| -> Result<ArrayRef, EngineError> { Ok(Arc::new(listed(column, lists().map(Vec::len), None)?)) };
        columns.into_iter().map(list).collect()
    }

    /// How many columns [`Self::state`] has.
    pub(super) const STATE_WIDTH: usize = 3;

    pub(super) fn merge(&mut self, state: &[ArrayRef], groups: &[u32], count: usize) -> Result<(), EngineError> {
        self.groups.resize(count, vec![]);
        let [times, uids, values] = [0, 1, 2].map(|column: usize| state[column].as_list::<i32>());
        for (row, group) in groups.iter().enumerate() {
            let (times, uids) = (times.value(row), uids.value(row));
            let times = times.as_primitive::<TimestampMicrosecondType>();
            let uids: &FixedSizeBinaryArray = uids.as_fixed_size_binary();
            let encoded = self.converter.convert_columns(&[values.value(row)])?;
            for (at, value) in encoded.iter().enumerate() {
                self.insert(*group as usize, times.value(at), uid_at(uids, at), value.as_ref());
            }
        }
        Ok(())
    }
}

/// The bytes of an entry.
const fn weight((_, _, value): &Entry) -> usize {
    size_of::<Entry>() + of_box(value.len())
}

/// The entry at a place, from one, or from the end if it is negative.
fn at_place(entries: &[Entry], place: i64) -> Option<&Entry> {
    let places = usize::try_from(place.unsigned_abs()).ok()?;
    entries.get(if place > 0 { places - 1 } else { entries.len().checked_sub(places)? })
}

fn listed(
    values: ArrayRef,
    lengths: impl Iterator<Item = usize>,
    nulls: Option<NullBuffer>,
) -> Result<ListArray, EngineError> {
    let field = Arc::new(Field::new_list_field(values.data_type().clone(), true));
    Ok(ListArray::try_new(field, OffsetBuffer::<i32>::from_lengths(lengths), values, nulls)?)
}
