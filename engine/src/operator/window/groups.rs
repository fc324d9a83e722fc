//! The groups of one stretch of time, and what each has been told.

use arrow::array::{Array, ArrayRef, BinaryArray, TimestampMicrosecondArray};
use arrow::row::{Row, Rows as EncodedRows};
use hashbrown::HashTable;

use super::form::Share;
use crate::error::EngineError;
use crate::operator::aggregates::GroupAggregate;

/// Groups by their key.
pub(super) struct Groups {
    pub(super) keys: EncodedRows,
    index: HashTable<u32>,
    pub(super) aggregates: Vec<GroupAggregate>,
    pub(super) arrival: Vec<Option<i64>>,
    /// Whether rows were added to each group since it was saved last, and to any.
    is_touched: Vec<bool>,
    has_touched: bool,
}

impl Groups {
    /// No groups yet.
    pub(super) fn new(keys: EncodedRows, aggregates: Vec<GroupAggregate>) -> Self {
        Self { keys, index: HashTable::new(), aggregates, arrival: vec![], is_touched: vec![], has_touched: false }
    }

    pub(super) fn len(&self) -> usize {
        self.arrival.len()
    }

    /// The bytes that all of it takes.
    pub(super) fn bytes(&self) -> usize {
        let aggregates = self.aggregates.iter().map(GroupAggregate::bytes).sum::<usize>();
        let of_groups = self.arrival.capacity() * size_of::<Option<i64>>() + self.is_touched.capacity();
        size_of::<Self>() + self.keys.size() + self.index.allocation_size() + of_groups + aggregates
    }

    /// The group of a key, if it is there.
    pub(super) fn find(&self, key: Row<'_>) -> Option<u32> {
        self.index.find(hash_of(key), |group| self.keys.row(*group as usize) == key).copied()
    }

    /// The group of a key, which is new if it was not there.
    pub(super) fn find_or_add(&mut self, key: Row<'_>) -> u32 {
        self.find(key).unwrap_or_else(|| {
            let group = self.arrival.len() as u32;
            self.keys.push(key);
            self.arrival.push(None);
            let known = &self.keys;
            self.index.insert_unique(hash_of(key), group, |group| hash_of(known.row(*group as usize)));
            group
        })
    }

    /// The group of each row, new groups added.
    fn of_rows(&mut self, keys: &EncodedRows) -> Vec<u32> {
        keys.iter().map(|key| self.find_or_add(key)).collect()
    }

    /// Adds rows; gives the group of each.
    pub(super) fn add(&mut self, share: &Share) -> Result<Vec<u32>, EngineError> {
        let groups = self.of_rows(&share.keys);
        self.note_arrival(&groups, &share.arrival);
        let total = self.len();
        for (aggregate, arguments) in self.aggregates.iter_mut().zip(&share.arguments) {
            aggregate.update(arguments, &groups, total)?;
        }
        self.is_touched.resize(total, false);
        groups.iter().for_each(|group| self.is_touched[*group as usize] = true);
        self.has_touched |= !groups.is_empty();
        Ok(groups)
    }

    /// The groups that rows were added to since this was last asked.
    pub(super) fn take_touched(&mut self) -> Vec<u32> {
        if !std::mem::take(&mut self.has_touched) {
            return vec![];
        }
        let touched = (0..).zip(&self.is_touched).filter(|(_, is_touched)| **is_touched).map(|(group, _)| group);
        let touched = touched.collect();
        self.is_touched.fill(false);
        touched
    }

    /// The encoded keys of some groups, which tell them apart within a pane.
    pub(super) fn ids(&self, groups: &[u32]) -> BinaryArray {
        groups.iter().map(|group| Some(self.keys.row(*group as usize).data())).collect()
    }

    /// Adds what was saved of some groups: their keys and latest arrivals, and the state of each aggregate. Gives the
    /// group of each row.
    pub(super) fn merge(
        &mut self,
        keys: &EncodedRows,
        arrival: &TimestampMicrosecondArray,
        states: &[ArrayRef],
    ) -> Result<Vec<u32>, EngineError> {
        let groups = self.of_rows(keys);
        self.note_arrival(&groups, arrival);
        let (total, mut at) = (self.len(), 0);
        for aggregate in &mut self.aggregates {
            let width = aggregate.state_width()?;
            aggregate.merge(&states[at..at + width], &groups, total)?;
            at += width;
        }
        Ok(groups)
    }

    /// Merges groups of another stretch: `from` there is `to` here.
    pub(super) fn absorb(&mut self, other: &mut Self, from: &[u32]) -> Result<(), EngineError> {
        let to: Vec<u32> = from.iter().map(|group| self.find_or_add(other.keys.row(*group as usize))).collect();
        let count = self.len();
        for (into, aggregate) in self.aggregates.iter_mut().zip(&mut other.aggregates) {
            into.absorb(aggregate, from, &to, count)?;
        }
        for (from, to) in from.iter().zip(to) {
            let latest = &mut self.arrival[to as usize];
            *latest = (*latest).max(other.arrival[*from as usize]);
        }
        Ok(())
    }

    /// Remembers the latest arrival of each group's rows.
    fn note_arrival(&mut self, groups: &[u32], arrival: &TimestampMicrosecondArray) {
        if arrival.null_count() == arrival.len() {
            return;
        }
        for (row, group) in groups.iter().enumerate() {
            if arrival.is_valid(row) {
                let latest = &mut self.arrival[*group as usize];
                *latest = (*latest).max(Some(arrival.value(row)));
            }
        }
    }
}

fn hash_of(key: Row<'_>) -> u64 {
    xxhash_rust::xxh3::xxh3_64(key.as_ref())
}
