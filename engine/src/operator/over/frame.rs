//! One function over a frame that slides along each key.
//!
//! Rows come in the order of time, so what is too old for one key is too old for all: the entries of all keys wait in one
//! queue, and leave it at the front. An event costs the same however many keys are open and however long the frame is.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, TimestampMicrosecondArray, new_null_array};
use arrow::datatypes::{DataType, Field, Schema, TimestampMicrosecondType};

use super::SAVED_COLUMNS;
use super::keys::Keys;
use super::value::{Output, Prepared, Values};
use crate::catalog::TIME_TYPE;
use crate::error::EngineError;
use crate::graph::{OverFrame, OverFunction, OverKind};
use crate::rows::batch_of;
use crate::snapshot::{Change, Scope};

/// No entry.
pub(super) const NONE: u64 = u64::MAX;

/// The entries of one function, and what it makes of them per key.
pub(super) struct Sliding {
    kind: OverKind,
    frame: OverFrame,
    output: DataType,
    value_type: DataType,
    /// Number of the entry at the front of the queues.
    first: u64,
    times: VecDeque<i64>,
    keys: VecDeque<u32>,
    /// Whether the entry has a value that counts.
    counted: VecDeque<bool>,
    /// The next entry of the same key, where the order within a key matters.
    next: Option<VecDeque<u64>>,
    chains: Vec<Chain>,
    /// Entries that count, by key.
    counts: Vec<u32>,
    values: Values,
    /// What was saved last: the entries from the first number up to the second.
    saved: (u64, u64),
}

/// The entries of one key that are in its frame.
#[derive(Debug, Clone, Copy)]
struct Chain {
    head: u64,
    tail: u64,
    length: u32,
}

const EMPTY: Chain = Chain { head: NONE, tail: NONE, length: 0 };

/// The argument of a function for each row of a batch, and which rows count.
pub(super) struct Arguments {
    pub(super) value: Option<ArrayRef>,
    pub(super) keep: Option<BooleanArray>,
}

impl Sliding {
    pub(super) fn new(function: &OverFunction, value_type: DataType, output: DataType) -> Result<Self, EngineError> {
        let picks = matches!(function.kind, OverKind::First | OverKind::Last | OverKind::Nth(_) | OverKind::Lag(_));
        let is_linked = picks || function.frame.rows.is_some();
        Ok(Self {
            values: Values::new(&function.kind, &value_type, &output)?,
            kind: function.kind.clone(),
            frame: function.frame,
            output,
            value_type,
            first: 0,
            times: VecDeque::new(),
            keys: VecDeque::new(),
            counted: VecDeque::new(),
            next: is_linked.then(VecDeque::new),
            chains: vec![],
            counts: vec![],
            saved: (0, 0),
        })
    }

    /// The function's value for each row; `rows` are the time and key of each, in order of time.
    pub(super) fn process(
        &mut self,
        times: &[i64],
        numbers: &[u32],
        arguments: &Arguments,
        keys: &mut Keys,
    ) -> Result<ArrayRef, EngineError> {
        self.resize(keys.len());
        let prepared = self.values.prepare(arguments)?;
        let mut output = self.values.output(times.len())?;
        let mut at = 0;
        while at < times.len() {
            let time = times[at];
            self.expire(time.saturating_sub(self.frame.horizon_us), keys);
            let end = match self.frame.with_peers {
                true => at + times[at..].iter().take_while(|peer| **peer == time).count(),
                false => at + 1,
            };
            for (row, number) in (at..end).zip(&numbers[at..end]) {
                self.add(time, *number, row, arguments, &prepared, keys);
            }
            numbers[at..end].iter().for_each(|number| self.put(*number, &mut output));
            at = end;
        }
        self.values.finish(output, &self.output)
    }

    pub(super) fn bytes(&self) -> usize {
        let entry = size_of::<i64>() + size_of::<u32>() + size_of::<bool>();
        let links = self.next.as_ref().map_or(0, |next| next.capacity() * size_of::<u64>());
        let of_keys = self.chains.capacity() * size_of::<Chain>() + self.counts.capacity() * size_of::<u32>();
        self.times.capacity() * entry + links + of_keys + self.values.bytes()
    }

    fn resize(&mut self, keys: usize) {
        if self.counts.len() < keys {
            self.counts.resize(keys, 0);
            self.values.resize(keys);
            if self.next.is_some() {
                self.chains.resize(keys, EMPTY);
            }
        }
    }

    /// Lets go of the entries before an instant.
    pub(super) fn expire(&mut self, before: i64, keys: &mut Keys) {
        while self.times.front().is_some_and(|time| *time < before) {
            let Some(key) = self.keys.front().copied() else { return };
            match &self.next {
                Some(next) if self.chains[key as usize].head == self.first => {
                    let after = next.front().copied().unwrap_or(NONE);
                    self.leave_chain(key, after);
                    self.retract(key, self.first);
                }
                // It has left its frame before.
                Some(_) => {}
                None => self.retract(key, self.first),
            }
            self.times.pop_front();
            self.keys.pop_front();
            self.counted.pop_front();
            self.next.as_mut().map(VecDeque::pop_front);
            self.values.pop_front();
            self.first += 1;
            keys.release(key);
        }
    }

    fn leave_chain(&mut self, key: u32, after: u64) {
        let chain = &mut self.chains[key as usize];
        chain.length -= 1;
        *chain = if chain.length == 0 { EMPTY } else { Chain { head: after, ..*chain } };
    }

    /// Takes an entry out of what its key's value is made of.
    fn retract(&mut self, key: u32, entry: u64) {
        let at = (entry - self.first) as usize;
        if self.counted[at] {
            self.counts[key as usize] -= 1;
            self.values.remove(key, entry, at, self.counts[key as usize] == 0);
        }
    }

    fn add(&mut self, time: i64, key: u32, row: usize, arguments: &Arguments, prepared: &Prepared, keys: &mut Keys) {
        let is_counted = arguments.counts(row, self.values.counts_nulls());
        if self.next.is_none() && !is_counted {
            return;
        }
        let entry = self.first + self.times.len() as u64;
        self.times.push_back(time);
        self.keys.push_back(key);
        self.counted.push_back(is_counted);
        keys.retain(key);
        self.values.push(key, entry, self.first, row, is_counted, prepared);
        self.counts[key as usize] += u32::from(is_counted);
        let Some(next) = &mut self.next else { return };
        next.push_back(NONE);
        let chain = &mut self.chains[key as usize];
        match chain.length {
            0 => chain.head = entry,
            _ => next[(chain.tail - self.first) as usize] = entry,
        }
        chain.tail = entry;
        chain.length += 1;
        if let Some(rows) = self.frame.rows
            && u64::from(chain.length) > rows.saturating_add(1)
        {
            let head = chain.head;
            let after = next[(head - self.first) as usize];
            self.leave_chain(key, after);
            self.retract(key, head);
        }
    }

    fn put(&self, key: u32, output: &mut Output) {
        let count = self.counts[key as usize];
        let entry = match &self.kind {
            OverKind::First => Some(self.chains[key as usize].head),
            OverKind::Last => Some(self.chains[key as usize].tail),
            OverKind::Nth(nth) => self.nth(key, *nth),
            OverKind::Lag(_) => {
                let chain = self.chains[key as usize];
                (Some(u64::from(chain.length) - 1) == self.frame.rows).then_some(chain.head)
            }
            _ => None,
        };
        self.values.put(key, count, entry.map(|entry| (entry - self.first) as usize), self.first, output);
    }

    /// The `nth` entry of a key's frame, from one.
    fn nth(&self, key: u32, nth: u64) -> Option<u64> {
        let chain = self.chains[key as usize];
        if nth == 0 || nth > u64::from(chain.length) {
            return None;
        }
        let next = self.next.as_ref()?;
        (1..nth).try_fold(chain.head, |entry, _| next.get((entry - self.first) as usize).copied())
    }

    /// The entries that are in a frame.
    pub(super) fn entries(&self, keys: &Keys) -> Result<RecordBatch, EngineError> {
        self.rows_of(&self.in_frame(self.first), keys)
    }

    /// The entries that are in a frame, or what has become of them, by their numbers. What has left the frame of its key
    /// goes with time only; it leaves the frame again when it is taken up.
    pub(super) fn save(&mut self, scope: Scope, section: i64, keys: &Keys) -> Result<Vec<Change>, EngineError> {
        let (first, end) = (self.first, self.first + self.times.len() as u64);
        let (first_before, end_before) = std::mem::replace(&mut self.saved, (first, end));
        let mut changes = vec![];
        if scope == Scope::Changes && first > first_before {
            changes.push(Change::RemoveBelow { section, id: first.to_be_bytes().to_vec() });
        }
        let kept = self.in_frame(if scope == Scope::Whole { first } else { end_before.max(first) });
        if scope == Scope::Whole || !kept.is_empty() {
            let ids = kept.iter().map(|at| Some((first + *at as u64).to_be_bytes())).collect();
            changes.push(Change::Put { section, ids: Some(ids), rows: self.rows_of(&kept, keys)? });
        }
        Ok(changes)
    }

    /// The places of entries that are in a frame, from a number on.
    fn in_frame(&self, from: u64) -> Vec<usize> {
        let is_in_frame = |at: &usize| {
            let chain = self.chains.get(self.keys[*at] as usize);
            self.next.is_none() || chain.is_some_and(|chain| chain.length > 0 && chain.head <= self.first + *at as u64)
        };
        ((from - self.first) as usize..self.times.len()).filter(is_in_frame).collect()
    }

    /// Entries as rows: time, whether it counts, value, key columns.
    fn rows_of(&self, kept: &[usize], keys: &Keys) -> Result<RecordBatch, EngineError> {
        let key_columns = keys.columns(kept.iter().map(|at| self.keys[*at]))?;
        let value = match self.values.save(kept)? {
            Some(value) => value,
            None => new_null_array(&self.value_type, kept.len()),
        };
        let mut fields = vec![
            Field::new("time", TIME_TYPE, false),
            Field::new("counted", DataType::Boolean, false),
            Field::new("value", value.data_type().clone(), true),
        ];
        fields.extend(key_columns.iter().map(|key| Field::new("key", key.data_type().clone(), true)));
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(kept.iter().map(|at| Some(self.times[*at])).collect::<TimestampMicrosecondArray>()),
            Arc::new(kept.iter().map(|at| Some(self.counted[*at])).collect::<BooleanArray>()),
            value,
        ];
        columns.extend(key_columns);
        Ok(batch_of(Arc::new(Schema::new(fields)), columns, kept.len())?)
    }

    /// Takes up entries in order of time, into a function that has none.
    pub(super) fn load(&mut self, entries: &RecordBatch, keys: &mut Keys) -> Result<(), EngineError> {
        let rows = entries.num_rows();
        let numbers = keys.number(&entries.columns()[SAVED_COLUMNS..], rows)?;
        self.resize(keys.len());
        let times = entries.column(0).as_primitive::<TimestampMicrosecondType>();
        let has_value = !matches!(self.kind, OverKind::Count | OverKind::RowNumber);
        let arguments = Arguments {
            value: has_value.then(|| Arc::clone(entries.column(2))),
            keep: Some(entries.column(1).as_boolean().clone()),
        };
        let prepared = self.values.prepare(&arguments)?;
        for (row, number) in numbers.iter().enumerate() {
            self.add(times.value(row), *number, row, &arguments, &prepared, keys);
            keys.release(*number);
        }
        Ok(())
    }
}

impl Arguments {
    fn counts(&self, row: usize, nulls_too: bool) -> bool {
        self.keep.as_ref().is_none_or(|keep| keep.value(row))
            && (nulls_too || self.value.as_ref().is_none_or(|value| value.is_valid(row)))
    }
}
