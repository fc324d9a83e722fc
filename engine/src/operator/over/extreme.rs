//! The least or greatest value of a key in its frame: a queue per key of the entries that may yet be it.

use std::collections::VecDeque;

use super::frame::NONE;
use super::value::Codec;
use crate::operator::bytes::of_box;

/// Entries that are no candidates any more have no value.
pub(super) struct Extreme {
    pub(super) codec: Codec,
    is_max: bool,
    entries: VecDeque<Candidate>,
    /// First and last candidate of each key; the first is the answer.
    ends: Vec<(u64, u64)>,
    /// The bytes of the encoded values.
    value_bytes: usize,
}

struct Candidate {
    bytes: Option<Box<[u8]>>,
    before: u64,
    after: u64,
}

impl Candidate {
    /// It is none any more; gives the bytes that are free by that.
    fn give_up(&mut self) -> usize {
        self.bytes.take().map_or(0, |bytes| of_box(bytes.len()))
    }
}

impl Extreme {
    pub(super) const fn new(codec: Codec, is_max: bool) -> Self {
        Self { codec, is_max, entries: VecDeque::new(), ends: vec![], value_bytes: 0 }
    }

    pub(super) fn held_bytes(&self) -> usize {
        let ends = self.ends.capacity() * size_of::<(u64, u64)>();
        self.entries.capacity() * size_of::<Candidate>() + ends + self.value_bytes
    }

    pub(super) fn resize(&mut self, keys: usize) {
        self.ends.resize(keys, (NONE, NONE));
    }

    pub(super) fn push(&mut self, key: u32, entry: u64, first: u64, bytes: Option<&[u8]>) {
        let Some(bytes) = bytes else {
            return self.entries.push_back(Candidate { bytes: None, before: NONE, after: NONE });
        };
        let (head, mut tail) = self.ends[key as usize];
        while tail != NONE {
            let last = &mut self.entries[(tail - first) as usize];
            let is_beaten =
                last.bytes.as_deref().is_none_or(|last| if self.is_max { last <= bytes } else { last >= bytes });
            if !is_beaten {
                last.after = entry;
                break;
            }
            self.value_bytes -= last.give_up();
            tail = last.before;
        }
        self.ends[key as usize] = (if tail == NONE { entry } else { head }, entry);
        self.value_bytes += of_box(bytes.len());
        self.entries.push_back(Candidate { bytes: Some(bytes.into()), before: tail, after: NONE });
    }

    /// An entry leaves its frame, the oldest of its key.
    pub(super) fn remove(&mut self, key: u32, entry: u64, at: usize) {
        let (head, tail) = self.ends[key as usize];
        if head != entry {
            return;
        }
        let after = self.entries[at].after;
        self.value_bytes -= self.entries[at].give_up();
        self.ends[key as usize] = if after == NONE { (NONE, NONE) } else { (after, tail) };
        if after != NONE {
            let next = at + (after - entry) as usize;
            self.entries[next].before = NONE;
        }
    }

    pub(super) fn pop_front(&mut self) {
        self.value_bytes -= self.entries.pop_front().map_or(0, |mut gone| gone.give_up());
    }

    pub(super) fn value(&self, key: u32, first: u64) -> Option<&[u8]> {
        let (head, _) = self.ends[key as usize];
        if head == NONE { None } else { self.entries[(head - first) as usize].bytes.as_deref() }
    }

    /// The value of an entry that may yet be the answer.
    pub(super) fn bytes(&self, at: usize) -> Option<&[u8]> {
        self.entries[at].bytes.as_deref()
    }
}
