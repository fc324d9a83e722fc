//! A whole state out of an earlier one and the changes since.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use arrow::array::{Array, BinaryArray, BinaryBuilder, RecordBatch};
use arrow::compute::interleave_record_batch;

use super::{Change, Saved, WorkerSnapshot};
use crate::error::EngineError;
use crate::graph::StateName;

impl WorkerSnapshot {
    /// What a worker remembered at the end of the last of these snapshots: the first is whole, each further one says what
    /// changed since the one before.
    ///
    /// # Errors
    /// Changes that go with no whole state.
    pub fn fold(chain: impl IntoIterator<Item = Self>) -> Result<Self, EngineError> {
        let mut nodes: BTreeMap<StateName, Node> = BTreeMap::new();
        let mut clocks = None;
        for snapshot in chain {
            for (name, saved) in snapshot.nodes {
                match nodes.get_mut(&name) {
                    Some(node) if !saved.is_whole => node.apply(saved)?,
                    None if !saved.is_whole => {
                        // An operator that remembered nothing is not named.
                        let mut node = Node::default();
                        node.apply(saved)?;
                        nodes.insert(name, node);
                    }
                    _ => drop(nodes.insert(name, Node::of(saved)?)),
                }
            }
            clocks = Some(snapshot.clocks);
        }
        let clocks = clocks.ok_or_else(|| EngineError::Snapshot("there is no state to put together".to_owned()))?;
        let nodes = nodes.into_iter().map(|(name, node)| Ok((name, node.folded()?)));
        Ok(Self { nodes: nodes.collect::<Result<_, EngineError>>()?, clocks })
    }
}

/// The state of one operator while it is put together.
#[derive(Default)]
struct Node {
    /// Rows without ids.
    plain: Vec<Change>,
    sections: BTreeMap<i64, Section>,
    watermark: Option<i64>,
}

/// Rows by id. Most are as they came first, and what has become of the others is known by their ids.
struct Section {
    batches: Vec<RecordBatch>,
    /// The ids of the first batch.
    ids: BinaryArray,
    /// The rows of the first batch in the order of their ids, where that is not their own, and from where on they are
    /// remembered.
    order: Option<Vec<usize>>,
    first: usize,
    /// The batch of each other row, and its place there; nothing where it is forgotten.
    later: BTreeMap<Vec<u8>, Option<(usize, usize)>>,
}

impl Node {
    fn of(saved: Saved) -> Result<Self, EngineError> {
        let mut node = Self::default();
        node.apply(saved)?;
        Ok(node)
    }

    fn apply(&mut self, saved: Saved) -> Result<(), EngineError> {
        for change in saved.changes {
            match change {
                plain @ Change::Put { ids: None, .. } if saved.is_whole => self.plain.push(plain),
                Change::Put { ids: None, .. } => {
                    return Err(EngineError::Snapshot("rows without ids are no change of others".to_owned()));
                }
                Change::Put { section, ids: Some(ids), rows } => self.put(section, ids, rows),
                Change::PutLater { section, ids, rows } => self.put(section, ids, rows.made()?),
                Change::Remove { section, ids } => {
                    if let Some(section) = self.sections.get_mut(&section) {
                        section.later.extend(ids.iter().flatten().map(|id| (id.to_vec(), None)));
                    }
                }
                Change::RemoveBelow { section, id } => {
                    if let Some(section) = self.sections.get_mut(&section) {
                        section.remove_below(&id);
                    }
                }
                Change::Drop { section } => drop(self.sections.remove(&section)),
                Change::Watermark(watermark) => self.watermark = Some(watermark),
            }
        }
        Ok(())
    }

    fn put(&mut self, section: i64, ids: BinaryArray, rows: RecordBatch) {
        match self.sections.entry(section) {
            Entry::Occupied(mut section) => section.get_mut().put(&ids, rows),
            Entry::Vacant(section) => drop(section.insert(Section::of(ids, rows))),
        }
    }

    fn folded(self) -> Result<Saved, EngineError> {
        let mut changes = self.plain;
        for (section, rows) in self.sections {
            changes.push(rows.folded(section)?);
        }
        changes.extend(self.watermark.map(Change::Watermark));
        Ok(Saved { is_whole: true, changes })
    }
}

impl Section {
    fn of(ids: BinaryArray, rows: RecordBatch) -> Self {
        let is_in_order = (1..ids.len()).all(|row| ids.value(row - 1) < ids.value(row));
        let order = (!is_in_order).then(|| {
            let mut order: Vec<usize> = (0..ids.len()).collect();
            // Of two rows with one id the later one stays.
            order.sort_by(|one, other| ids.value(*one).cmp(ids.value(*other)).then(other.cmp(one)));
            order.dedup_by(|later, kept| ids.value(*later) == ids.value(*kept));
            order
        });
        Self { batches: vec![rows], ids, order, first: 0, later: BTreeMap::new() }
    }

    fn put(&mut self, ids: &BinaryArray, rows: RecordBatch) {
        let batch = self.batches.len();
        self.later.extend((0..ids.len()).map(|row| (ids.value(row).to_vec(), Some((batch, row)))));
        self.batches.push(rows);
    }

    fn remove_below(&mut self, id: &[u8]) {
        self.later = self.later.split_off(id);
        let (mut first, mut last) = (self.first, self.len());
        while first < last {
            let middle = first.midpoint(last);
            if self.ids.value(self.row(middle)) < id {
                first = middle + 1;
            } else {
                last = middle;
            }
        }
        self.first = first;
    }

    /// How many rows of the first batch there are.
    fn len(&self) -> usize {
        self.order.as_ref().map_or(self.ids.len(), Vec::len)
    }

    /// The row of the first batch that is so far in the order of ids.
    fn row(&self, place: usize) -> usize {
        self.order.as_ref().map_or(place, |order| order[place])
    }

    /// All rows in the order of their ids. There is a batch even if it is empty, so that a reader finds its place.
    fn folded(self, section: i64) -> Result<Change, EngineError> {
        if self.later.is_empty() && self.order.is_none() {
            let kept = self.ids.len() - self.first;
            let (ids, rows) = (self.ids.slice(self.first, kept), self.batches[0].slice(self.first, kept));
            return Ok(Change::Put { section, ids: Some(ids), rows });
        }
        let mut ids = BinaryBuilder::with_capacity(self.len() + self.later.len(), self.ids.value_data().len());
        let mut places = Vec::with_capacity(self.len() + self.later.len());
        let mut place = self.first;
        for (id, row) in &self.later {
            while place < self.len() && self.ids.value(self.row(place)) < id.as_slice() {
                ids.append_value(self.ids.value(self.row(place)));
                places.push((0, self.row(place)));
                place += 1;
            }
            if place < self.len() && self.ids.value(self.row(place)) == id.as_slice() {
                place += 1;
            }
            if let Some(row) = row {
                ids.append_value(id);
                places.push(*row);
            }
        }
        for place in place..self.len() {
            ids.append_value(self.ids.value(self.row(place)));
            places.push((0, self.row(place)));
        }
        let rows = if places.is_empty() {
            self.batches[0].slice(0, 0)
        } else {
            interleave_record_batch(&self.batches.iter().collect::<Vec<_>>(), &places)?
        };
        Ok(Change::Put { section, ids: Some(ids.finish()), rows })
    }
}
