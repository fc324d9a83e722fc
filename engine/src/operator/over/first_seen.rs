//! When each key was last seen. One entry per key, which leaves once it is older than the interval.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, FixedSizeBinaryArray, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, TimestampMicrosecondType};

use super::SAVED_COLUMNS;
use super::keys::Keys;
use crate::catalog::TIME_TYPE;
use crate::error::EngineError;
use crate::identity::Uid;
use crate::operator::bytes::of_tree;
use crate::rows::{batch_of, uid_array, uid_at};
use crate::snapshot::{Change, Noted, Scope};

/// The last row of each key.
pub(super) struct FirstSeen {
    /// A row that is older than another by more than this is not seen by it.
    horizon_us: i64,
    entries: Vec<Option<Entry>>,
    /// Every key that has an entry, by a time that is not behind the entry's own.
    by_time: BTreeSet<(i64, u32)>,
    /// Keys that were seen, and encoded keys that were forgotten, since the last save.
    seen: Noted<u32>,
    forgotten: Noted<Box<[u8]>>,
}

/// The last row of a key.
#[derive(Debug, Clone, Copy)]
struct Entry {
    time: i64,
    uid: Uid,
    /// What was said of it, which is said again of another row of the same record.
    is_first: bool,
}

impl FirstSeen {
    pub(super) const fn new(horizon_us: i64) -> Self {
        Self { horizon_us, entries: vec![], by_time: BTreeSet::new(), seen: Noted::new(), forgotten: Noted::new() }
    }

    pub(super) fn bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Option<Entry>>() + of_tree::<(i64, u32)>(self.by_time.len())
    }

    /// Whether each row is the first of its key; the rows come in the order of (time, uid).
    pub(super) fn process(
        &mut self,
        times: &[i64],
        uids: &FixedSizeBinaryArray,
        numbers: &[u32],
        keys: &mut Keys,
    ) -> ArrayRef {
        let rows = times.iter().zip(numbers).enumerate();
        let is_first: BooleanArray =
            rows.map(|(row, (time, key))| Some(self.see(*key, *time, uid_at(uids, row), keys))).collect();
        Arc::new(is_first)
    }

    fn see(&mut self, key: u32, time: i64, uid: Uid, keys: &mut Keys) -> bool {
        let is_first = match self.entries.get(key as usize).copied().flatten() {
            Some(entry) if (entry.time, entry.uid) == (time, uid) => entry.is_first,
            Some(entry) => time.saturating_sub(entry.time) > self.horizon_us,
            None => true,
        };
        self.set(key, Entry { time, uid, is_first }, keys);
        is_first
    }

    fn set(&mut self, key: u32, entry: Entry, keys: &mut Keys) {
        self.seen.note(|| key);
        if self.entries.len() < keys.len() {
            self.entries.resize(keys.len(), None);
        }
        if self.entries[key as usize].replace(entry).is_none() {
            self.by_time.insert((entry.time, key));
            keys.retain(key);
        }
    }

    /// Lets go of the keys that were last seen before an instant.
    pub(super) fn expire(&mut self, before: i64, keys: &mut Keys) {
        while let Some((time, key)) = self.by_time.first().copied().filter(|(time, _)| *time < before) {
            self.by_time.remove(&(time, key));
            match self.entries[key as usize] {
                Some(entry) if entry.time >= before => drop(self.by_time.insert((entry.time, key))),
                _ => {
                    self.forgotten.note(|| keys.encoded(key).into());
                    self.entries[key as usize] = None;
                    keys.release(key);
                }
            }
        }
    }

    /// The entries of all keys.
    pub(super) fn entries(&self, keys: &Keys) -> Result<RecordBatch, EngineError> {
        self.rows_of(&self.entries_of(0..self.entries.len() as u32), keys)
    }

    /// The entries, or what has become of them, by their keys.
    pub(super) fn save(&mut self, scope: Scope, section: i64, keys: &Keys) -> Result<Vec<Change>, EngineError> {
        let (mut seen, forgotten) = (self.seen.take(), self.forgotten.take());
        let mut changes = vec![];
        let entries = if scope == Scope::Whole {
            self.entries_of(0..self.entries.len() as u32)
        } else {
            if !forgotten.is_empty() {
                changes.push(Change::Remove { section, ids: forgotten.iter().map(Some).collect() });
            }
            seen.sort_unstable();
            seen.dedup();
            self.entries_of(seen.into_iter())
        };
        if scope == Scope::Whole || !entries.is_empty() {
            let ids = entries.iter().map(|(key, _)| Some(keys.encoded(*key))).collect();
            changes.push(Change::Put { section, ids: Some(ids), rows: self.rows_of(&entries, keys)? });
        }
        Ok(changes)
    }

    fn entries_of(&self, keys: impl Iterator<Item = u32>) -> Vec<(u32, Entry)> {
        keys.filter_map(|key| Some((key, (*self.entries.get(key as usize)?)?))).collect()
    }

    /// Entries as rows: time, what was said, uid, key columns.
    fn rows_of(&self, entries: &[(u32, Entry)], keys: &Keys) -> Result<RecordBatch, EngineError> {
        let key_columns = keys.columns(entries.iter().map(|(key, _)| *key))?;
        let mut fields = vec![
            Field::new("time", TIME_TYPE, false),
            Field::new("first", DataType::Boolean, false),
            Field::new("uid", DataType::FixedSizeBinary(16), false),
        ];
        fields.extend(key_columns.iter().map(|key| Field::new("key", key.data_type().clone(), true)));
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(entries.iter().map(|(_, entry)| Some(entry.time)).collect::<TimestampMicrosecondArray>()),
            Arc::new(entries.iter().map(|(_, entry)| Some(entry.is_first)).collect::<BooleanArray>()),
            Arc::new(uid_array(entries.iter().map(|(_, entry)| entry.uid))),
        ];
        columns.extend(key_columns);
        Ok(batch_of(Arc::new(Schema::new(fields)), columns, entries.len())?)
    }

    /// Takes up entries of keys that have none.
    pub(super) fn load(&mut self, entries: &RecordBatch, keys: &mut Keys) -> Result<(), EngineError> {
        let numbers = keys.number(&entries.columns()[SAVED_COLUMNS..], entries.num_rows())?;
        let times = entries.column(0).as_primitive::<TimestampMicrosecondType>();
        let (is_first, uids) = (entries.column(1).as_boolean(), entries.column(2).as_fixed_size_binary());
        for (row, key) in numbers.into_iter().enumerate() {
            let entry = Entry { time: times.value(row), uid: uid_at(uids, row), is_first: is_first.value(row) };
            self.set(key, entry, keys);
            keys.release(key);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::StringArray;

    use super::*;

    fn keys() -> Keys {
        Keys::new(&[DataType::Utf8]).expect("a key of text")
    }

    /// What is said of one row of a key; its number makes its uid.
    fn see(seen: &mut FirstSeen, keys: &mut Keys, key: &str, time: i64, number: u8) -> bool {
        let columns: Vec<ArrayRef> = vec![Arc::new(StringArray::from(vec![key]))];
        let numbers = keys.number(&columns, 1).expect("a key");
        let uids = uid_array([Uid([number; 16])].into_iter());
        let said = seen.process(&[time], &uids, &numbers, keys);
        numbers.into_iter().for_each(|number| keys.release(number));
        said.as_boolean().value(0)
    }

    #[test]
    fn a_key_has_one_entry_however_often_it_is_seen_and_none_once_it_is_forgotten() {
        let (mut seen, mut keys) = (FirstSeen::new(9), keys());
        for time in 0..1000 {
            assert_eq!(see(&mut seen, &mut keys, "often", time, 1), time == 0);
        }
        assert!(see(&mut seen, &mut keys, "once", 995, 1));
        seen.expire(994, &mut keys);
        assert_eq!(seen.entries(&keys).expect("entries").num_rows(), 2);
        seen.expire(996, &mut keys);
        assert_eq!((seen.entries(&keys).expect("entries").num_rows(), keys.open()), (1, 1));
        seen.expire(1000, &mut keys);
        assert_eq!((seen.entries(&keys).expect("entries").num_rows(), keys.open()), (0, 0));
        assert!(seen.by_time.is_empty());
    }

    #[test]
    fn what_was_saved_goes_on_as_if_nothing_had_happened() {
        let (mut seen, mut keys_before) = (FirstSeen::new(9), keys());
        assert!(see(&mut seen, &mut keys_before, "a", 0, 1));
        assert!(!see(&mut seen, &mut keys_before, "a", 5, 2));
        assert!(see(&mut seen, &mut keys_before, "b", 7, 3));
        let saved = seen.entries(&keys_before).expect("entries");
        let (mut seen, mut keys) = (FirstSeen::new(9), keys());
        seen.load(&saved, &mut keys).expect("the same entries");
        assert!(!see(&mut seen, &mut keys, "a", 5, 2), "another row of the record that was not the first");
        assert!(see(&mut seen, &mut keys, "b", 7, 3), "another row of the record that was");
        assert!(!see(&mut seen, &mut keys, "a", 14, 4));
        assert!(see(&mut seen, &mut keys, "b", 17, 5));
    }
}
