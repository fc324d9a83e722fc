//! Count of different values.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, new_empty_array};
use arrow::datatypes::{DataType, Field};
use arrow::row::{RowConverter, Rows as EncodedRows, SortField};
use hashbrown::HashTable;

use super::Arguments;
use crate::error::EngineError;

/// Different values per group: one table over all groups, values in Arrow's row encoding.
pub(in crate::operator) struct CountDistinct {
    converter: RowConverter,
    data_type: DataType,
    values: EncodedRows,
    owners: Vec<u32>,
    /// The value of the same group that came before each value, so that a group's values are a list.
    earlier: Vec<Option<u32>>,
    /// The last value of each group.
    latest: Vec<Option<u32>>,
    seen: HashTable<u32>,
    counts: Vec<i64>,
}

impl CountDistinct {
    pub(super) fn new(data_type: DataType) -> Result<Self, EngineError> {
        let converter = RowConverter::new(vec![SortField::new(data_type.clone())])?;
        let values = converter.empty_rows(0, 0);
        Ok(Self {
            converter,
            data_type,
            values,
            owners: vec![],
            earlier: vec![],
            latest: vec![],
            seen: HashTable::new(),
            counts: vec![],
        })
    }

    pub(super) fn update(&mut self, arguments: &Arguments, groups: &[u32], count: usize) -> Result<(), EngineError> {
        self.resize(count);
        let encoded = self.converter.convert_columns(&arguments.values[..1])?;
        for (row, group) in groups.iter().enumerate() {
            if arguments.counts(row) {
                self.insert(*group, encoded.row(row));
            }
        }
        Ok(())
    }

    pub(super) fn bytes(&self) -> usize {
        let of_values = self.owners.capacity() * size_of::<u32>() + self.earlier.capacity() * size_of::<Option<u32>>();
        let of_groups = self.latest.capacity() * size_of::<Option<u32>>() + self.counts.capacity() * size_of::<i64>();
        self.converter.size() + self.values.size() + self.seen.allocation_size() + of_values + of_groups
    }

    fn resize(&mut self, count: usize) {
        self.counts.resize(count, 0);
        self.latest.resize(count, None);
    }

    pub(super) fn count_of(&self, group: u32) -> i64 {
        self.counts.get(group as usize).copied().unwrap_or(0)
    }

    /// The places of a group's values.
    fn values_of(&self, group: usize) -> impl Iterator<Item = u32> + '_ {
        let latest = self.latest.get(group).copied().flatten();
        std::iter::successors(latest, |at| self.earlier[*at as usize])
    }

    /// Adds groups of another pane, each to the group it is paired with.
    pub(super) fn absorb(&mut self, other: &Self, pairs: impl Iterator<Item = (usize, usize)>, count: usize) {
        self.resize(count);
        let parser = self.converter.parser();
        for (from, to) in pairs {
            for at in other.values_of(from) {
                // A row belongs to the converter that made it; the bytes mean the same to all.
                self.insert(to as u32, parser.parse(other.values.row(at as usize).as_ref()));
            }
        }
    }

    fn insert(&mut self, group: u32, value: arrow::row::Row<'_>) {
        let hash = hash_of(group, value.as_ref());
        let (values, owners) = (&self.values, &self.owners);
        let is_same = |at: &u32| owners[*at as usize] == group && values.row(*at as usize) == value;
        if self.seen.find(hash, is_same).is_some() {
            return;
        }
        let at = self.owners.len() as u32;
        self.values.push(value);
        self.owners.push(group);
        self.earlier.push(self.latest[group as usize].replace(at));
        self.counts[group as usize] += 1;
        let (values, owners) = (&self.values, &self.owners);
        self.seen.insert_unique(hash, at, |at| hash_of(owners[*at as usize], values.row(*at as usize).as_ref()));
    }

    /// One list of values for each of some groups.
    pub(super) fn state(&mut self, groups: &[u32], count: usize) -> Result<ArrayRef, EngineError> {
        self.resize(count);
        let places = groups.iter().flat_map(|group| self.values_of(*group as usize));
        let rows = places.map(|at| self.values.row(at as usize));
        let decoded = self.converter.convert_rows(rows)?;
        let values = decoded.into_iter().next().unwrap_or_else(|| new_empty_array(&self.data_type));
        let lengths = groups.iter().map(|group| self.counts[*group as usize] as usize);
        let field = Arc::new(Field::new_list_field(values.data_type().clone(), true));
        let offsets = arrow::buffer::OffsetBuffer::<i32>::from_lengths(lengths);
        Ok(Arc::new(arrow::array::ListArray::try_new(field, offsets, values, None)?))
    }

    pub(super) fn merge(&mut self, state: &ArrayRef, groups: &[u32], count: usize) -> Result<(), EngineError> {
        let lists = state.as_list::<i32>();
        self.resize(count);
        for (row, group) in groups.iter().enumerate() {
            let encoded = self.converter.convert_columns(&[lists.value(row)])?;
            encoded.iter().for_each(|value| self.insert(*group, value));
        }
        Ok(())
    }
}

fn hash_of(group: u32, value: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64_with_seed(value, u64::from(group))
}
