//! How many different values a key has in its frame.

use std::collections::VecDeque;

use hashbrown::HashTable;

use super::value::Codec;
use crate::operator::bytes::of_box;

/// No value.
const NONE: u32 = u32::MAX;

/// Different values of all keys, each with the number of its entries.
pub(super) struct Distinct {
    pub(super) codec: Codec,
    /// The value of each entry.
    entries: VecDeque<u32>,
    seen: HashTable<u32>,
    values: Vec<Value>,
    /// The bytes of the encoded values.
    value_bytes: usize,
    free: Vec<u32>,
    counts: Vec<i64>,
}

#[derive(Debug, Default)]
struct Value {
    key: u32,
    bytes: Box<[u8]>,
    entries: u32,
}

fn hash_of(key: u32, bytes: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64_with_seed(bytes, u64::from(key))
}

impl Distinct {
    pub(super) fn new(codec: Codec) -> Self {
        let (entries, seen) = (VecDeque::new(), HashTable::new());
        Self { codec, entries, seen, values: vec![], value_bytes: 0, free: vec![], counts: vec![] }
    }

    pub(super) fn held_bytes(&self) -> usize {
        let numbers = (self.entries.capacity() + self.free.capacity()) * size_of::<u32>();
        let values = self.values.capacity() * size_of::<Value>() + self.value_bytes;
        numbers + values + self.seen.allocation_size() + self.counts.capacity() * size_of::<i64>()
    }

    pub(super) fn resize(&mut self, keys: usize) {
        self.counts.resize(keys, 0);
    }

    pub(super) fn count(&self, key: u32) -> i64 {
        self.counts[key as usize]
    }

    pub(super) fn push(&mut self, key: u32, bytes: Option<&[u8]>) {
        let Some(bytes) = bytes else { return self.entries.push_back(NONE) };
        let hash = hash_of(key, bytes);
        let values = &self.values;
        let is_same = |at: &u32| values[*at as usize].key == key && values[*at as usize].bytes.as_ref() == bytes;
        if let Some(at) = self.seen.find(hash, is_same) {
            self.values[*at as usize].entries += 1;
            return self.entries.push_back(*at);
        }
        let at = self.free.pop().unwrap_or_else(|| {
            self.values.push(Value::default());
            self.values.len() as u32 - 1
        });
        self.values[at as usize] = Value { key, bytes: bytes.into(), entries: 1 };
        self.value_bytes += of_box(bytes.len());
        let values = &self.values;
        self.seen.insert_unique(hash, at, |at| hash_of(values[*at as usize].key, &values[*at as usize].bytes));
        self.counts[key as usize] += 1;
        self.entries.push_back(at);
    }

    pub(super) fn remove(&mut self, key: u32, at: usize) {
        let number = self.entries[at];
        let value = &mut self.values[number as usize];
        value.entries -= 1;
        if value.entries > 0 {
            return;
        }
        let bytes = std::mem::take(&mut value.bytes);
        self.value_bytes -= of_box(bytes.len());
        if let Ok(entry) = self.seen.find_entry(hash_of(key, &bytes), |at| *at == number) {
            entry.remove();
        }
        self.free.push(number);
        self.counts[key as usize] -= 1;
    }

    pub(super) fn pop_front(&mut self) {
        self.entries.pop_front();
    }

    /// The value of an entry.
    pub(super) fn bytes(&self, at: usize) -> Option<&[u8]> {
        let number = self.entries[at];
        (number != NONE).then(|| self.values[number as usize].bytes.as_ref())
    }
}
