//! The keys of `PARTITION BY`: each has a small number for as long as something is remembered of it.

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, SortField};
use hashbrown::HashTable;

use crate::error::EngineError;
use crate::operator::bytes::of_box;

/// Open keys by number. A number is given again once nothing uses it.
pub(super) struct Keys {
    converter: RowConverter,
    width: usize,
    /// Hash and number of each open key.
    numbers: HashTable<(u32, u32)>,
    encoded: Vec<Box<[u8]>>,
    /// The bytes of all of these.
    encoded_bytes: usize,
    uses: Vec<u32>,
    free: Vec<u32>,
}

impl Keys {
    pub(super) fn new(types: &[DataType]) -> Result<Self, EngineError> {
        let converter = RowConverter::new(types.iter().cloned().map(SortField::new).collect())?;
        let (encoded, uses, free) = (vec![], vec![], vec![]);
        Ok(Self { converter, width: types.len(), numbers: HashTable::new(), encoded, encoded_bytes: 0, uses, free })
    }

    /// All numbers are below this.
    pub(super) fn len(&self) -> usize {
        self.uses.len()
    }

    /// The bytes of all keys.
    pub(super) fn bytes(&self) -> usize {
        let numbers = self.numbers.allocation_size() + (self.uses.capacity() + self.free.capacity()) * size_of::<u32>();
        numbers + self.encoded.capacity() * size_of::<Box<[u8]>>() + self.encoded_bytes
    }

    /// How many keys are open.
    pub(super) fn open(&self) -> usize {
        self.numbers.len()
    }

    /// The number of each row's key, used once per row until [`Self::release`].
    pub(super) fn number(&mut self, columns: &[ArrayRef], rows: usize) -> Result<Vec<u32>, EngineError> {
        if self.width == 0 {
            return Ok((0..rows).map(|_| self.number_of(&[])).collect());
        }
        let rows = self.converter.convert_columns(columns)?;
        Ok(rows.iter().map(|key| self.number_of(key.as_ref())).collect())
    }

    fn number_of(&mut self, key: &[u8]) -> u32 {
        let hash = xxhash_rust::xxh3::xxh3_64(key) as u32;
        let encoded = &self.encoded;
        let is_same = |entry: &(u32, u32)| entry.0 == hash && encoded[entry.1 as usize].as_ref() == key;
        if let Some((_, number)) = self.numbers.find(spread(hash), is_same) {
            self.uses[*number as usize] += 1;
            return *number;
        }
        let number = self.free.pop().unwrap_or_else(|| {
            self.encoded.push(Box::default());
            self.uses.push(0);
            self.uses.len() as u32 - 1
        });
        self.encoded[number as usize] = key.into();
        self.encoded_bytes += of_box(key.len());
        self.uses[number as usize] = 1;
        self.numbers.insert_unique(spread(hash), (hash, number), |entry| spread(entry.0));
        number
    }

    /// Uses a key once more.
    pub(super) fn retain(&mut self, number: u32) {
        self.uses[number as usize] += 1;
    }

    /// Ends one use of a key; the last one forgets it.
    pub(super) fn release(&mut self, number: u32) {
        let uses = &mut self.uses[number as usize];
        *uses -= 1;
        if *uses > 0 {
            return;
        }
        let key = std::mem::take(&mut self.encoded[number as usize]);
        self.encoded_bytes -= of_box(key.len());
        let hash = xxhash_rust::xxh3::xxh3_64(&key) as u32;
        if let Ok(entry) = self.numbers.find_entry(spread(hash), |entry| entry.1 == number) {
            entry.remove();
        }
        self.free.push(number);
    }

    /// The key of a number, encoded.
    pub(super) fn encoded(&self, number: u32) -> &[u8] {
        &self.encoded[number as usize]
    }

    /// The key columns of some numbers.
    pub(super) fn columns(&self, numbers: impl Iterator<Item = u32>) -> Result<Vec<ArrayRef>, EngineError> {
        let parser = self.converter.parser();
        let rows = numbers.map(|number| parser.parse(&self.encoded[number as usize]));
        Ok(self.converter.convert_rows(rows)?)
    }
}

/// The table looks at the highest bits of a hash too.
const fn spread(hash: u32) -> u64 {
    (hash as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}
