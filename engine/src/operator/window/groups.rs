//! The groups of one stretch of time, and what each has been told.

use arrow::array::{Array, ArrayRef, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::row::{Row, RowConverter, Rows as EncodedRows, SortField};
use hashbrown::HashTable;

use crate::error::EngineError;
use crate::graph::{AggregateSpec, WindowSpec};
use crate::operator::aggregates::GroupAggregate;

/// Groups by their key.
pub(super) struct Groups {
    pub(super) keys: EncodedRows,
    index: HashTable<u32>,
    pub(super) aggregates: Vec<GroupAggregate>,
    pub(super) arrival: Vec<Option<i64>>,
}

/// What all groups of an operator have in common.
pub(super) struct Form {
    aggregates: Vec<(AggregateSpec, DataType)>,
    input: SchemaRef,
    pub(super) converter: RowConverter,
    pub(super) key_types: Vec<DataType>,
}

impl Form {
    pub(super) fn new(spec: &WindowSpec, output: &Schema, input: SchemaRef) -> Result<Self, EngineError> {
        let key_types = spec.keys.iter().map(|(expr, _)| expr.data_type(&input)).collect::<Result<Vec<_>, _>>()?;
        let converter = RowConverter::new(key_types.iter().cloned().map(SortField::new).collect())?;
        let first = output.fields().len() - spec.aggregates.len();
        let types = output.fields()[first..].iter().map(|field| field.data_type().clone());
        Ok(Self { aggregates: spec.aggregates.iter().cloned().zip(types).collect(), input, converter, key_types })
    }

    /// No groups yet.
    pub(super) fn groups(&self) -> Result<Groups, EngineError> {
        let of = |(spec, output): &(AggregateSpec, DataType)| GroupAggregate::new(spec, output, &self.input);
        let aggregates = self.aggregates.iter().map(of).collect::<Result<Vec<_>, _>>()?;
        Ok(Groups { keys: self.converter.empty_rows(0, 0), index: HashTable::new(), aggregates, arrival: vec![] })
    }

    /// Keys as rows that [`Groups`] takes.
    pub(super) fn encode(&self, keys: &[ArrayRef], rows: usize) -> Result<EncodedRows, EngineError> {
        if !keys.is_empty() {
            return Ok(self.converter.convert_columns(keys)?);
        }
        let mut encoded = self.converter.empty_rows(rows, 0);
        let parser = self.converter.parser();
        (0..rows).for_each(|_| encoded.push(parser.parse(&[])));
        Ok(encoded)
    }
}

impl Groups {
    pub(super) fn len(&self) -> usize {
        self.arrival.len()
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
    pub(super) fn of_rows(&mut self, keys: &EncodedRows) -> Vec<u32> {
        keys.iter().map(|key| self.find_or_add(key)).collect()
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
    pub(super) fn note_arrival(&mut self, groups: &[u32], arrival: &TimestampMicrosecondArray) {
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
