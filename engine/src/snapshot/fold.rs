//! A whole state out of an earlier one and the changes since.

use std::collections::BTreeMap;

use arrow::array::{Array, BinaryArray, RecordBatch};
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

/// Rows by id: the batch each is in, and its place there.
#[derive(Default)]
struct Section {
    batches: Vec<RecordBatch>,
    rows: BTreeMap<Vec<u8>, (usize, usize)>,
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
                Change::Put { section, ids: Some(ids), rows } => {
                    self.sections.entry(section).or_default().put(&ids, rows);
                }
                Change::Remove { section, ids } => {
                    let rows = self.sections.get_mut(&section).map(|section| &mut section.rows);
                    if let Some(rows) = rows {
                        for id in ids.iter().flatten() {
                            rows.remove(id);
                        }
                    }
                }
                Change::RemoveBelow { section, id } => {
                    if let Some(section) = self.sections.get_mut(&section) {
                        section.rows = section.rows.split_off(&id);
                    }
                }
                Change::Drop { section } => drop(self.sections.remove(&section)),
                Change::Watermark(watermark) => self.watermark = Some(watermark),
            }
        }
        Ok(())
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
    fn put(&mut self, ids: &BinaryArray, rows: RecordBatch) {
        let batch = self.batches.len();
        self.rows.extend((0..ids.len()).map(|row| (ids.value(row).to_vec(), (batch, row))));
        self.batches.push(rows);
    }

    /// All rows in the order of their ids. There is a batch even if it is empty, so that a reader finds its place.
    fn folded(self, section: i64) -> Result<Change, EngineError> {
        let ids: BinaryArray = self.rows.keys().map(Some).collect();
        let places: Vec<(usize, usize)> = self.rows.into_values().collect();
        let rows = match (self.batches.first(), places.is_empty()) {
            (Some(first), true) => first.slice(0, 0),
            _ => interleave_record_batch(&self.batches.iter().collect::<Vec<_>>(), &places)?,
        };
        Ok(Change::Put { section, ids: Some(ids), rows })
    }
}
