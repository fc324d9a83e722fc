//! Saved state: what a worker remembers at the end of an epoch, or what has changed of it since the epoch before.
//!
//! Operators have names that also say which state still means the same after an edit. A state is
//! the whole of one epoch and the changes of those behind it, put together by [`WorkerSnapshot::fold`].

mod bytes;
mod fold;
mod saved;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use arrow::datatypes::SchemaRef;

use crate::batch::PartitionId;
use crate::clock::{Held, PartitionClock};
use crate::error::EngineError;
use crate::graph::StateName;
use crate::rows::refit;
pub(crate) use bytes::{read_batches, write_batch};
pub use saved::Scope;
pub(crate) use saved::{Change, Later, Noted, Saved};

/// The state of one worker, or what has changed of it.
#[derive(Debug, Clone, Default)]
pub struct WorkerSnapshot {
    /// Every operator that can remember, whether it does or not; of changes, those that have some.
    nodes: BTreeMap<StateName, Saved>,
    clocks: SavedClocks,
}

/// The clocks of all partitions, by lower-case stream name.
pub(crate) type SavedClocks = BTreeMap<String, BTreeMap<PartitionId, SavedClock>>;

/// The clock of one partition.
#[derive(Debug, Clone)]
pub(crate) struct SavedClock {
    greatest: Option<i64>,
    has_ended: bool,
    held: Option<Held>,
}

impl WorkerSnapshot {
    pub(crate) fn new(nodes: impl Iterator<Item = (StateName, Saved)>, clocks: SavedClocks) -> Self {
        Self { nodes: nodes.collect(), clocks }
    }

    /// The state that an operator of that name goes on with: its own, or that of one that remembers the same.
    pub(crate) fn state_of(&self, name: &StateName) -> Option<&Saved> {
        let alike = || self.nodes.iter().find(|(saved, _)| saved.kept == name.kept).map(|(_, state)| state);
        self.nodes.get(name).or_else(alike)
    }

    /// The names of all operators that can remember.
    pub(crate) fn names(&self) -> impl Iterator<Item = &StateName> {
        self.nodes.keys()
    }

    pub(crate) fn clocks(&self, stream: &str) -> impl Iterator<Item = (&PartitionId, &SavedClock)> {
        self.clocks.get(stream).into_iter().flatten()
    }

    /// Whether whoever has all snapshots before would miss something without this one. An operator that always says
    /// everything says it again.
    #[must_use]
    pub fn has_changes(&self) -> bool {
        self.nodes.values().any(|saved| !saved.is_whole && !saved.is_nothing())
    }

    /// The clocks alone: what is still needed once operators have taken up their state.
    #[must_use]
    pub fn without_state(self) -> Self {
        Self { nodes: BTreeMap::new(), ..self }
    }

    /// The partitions whose clocks were saved.
    pub fn partitions(&self) -> impl Iterator<Item = (&str, PartitionId)> {
        self.clocks.iter().flat_map(|(stream, clocks)| clocks.keys().map(|partition| (stream.as_str(), *partition)))
    }

    /// The same with other numbers for partitions, which are stable for one run of the program only. Partitions for
    /// which `number` is `None` are forgotten.
    #[must_use]
    pub fn renumbered(mut self, number: &dyn Fn(&str, PartitionId) -> Option<PartitionId>) -> Self {
        for (stream, partitions) in &mut self.clocks {
            let old = std::mem::take(partitions);
            *partitions = old.into_iter().filter_map(|(id, clock)| Some((number(stream, id)?, clock))).collect();
        }
        self
    }
}

impl SavedClock {
    pub(crate) fn of(clock: &PartitionClock) -> Self {
        Self { greatest: clock.greatest, has_ended: clock.has_ended, held: clock.held.clone() }
    }

    /// Sets a clock to where this one stood; `columns` are those that are decoded of its stream now.
    pub(crate) fn apply(&self, clock: &mut PartitionClock, columns: &SchemaRef) -> Result<(), EngineError> {
        let held = |held: &Held| -> Result<Held, EngineError> {
            let row = held.row.clone().with_columns(refit(&held.row.columns, columns)?);
            Ok(Held { row, ..held.clone() })
        };
        clock.held = self.held.as_ref().map(held).transpose()?;
        clock.greatest = self.greatest;
        clock.has_ended = self.has_ended;
        Ok(())
    }
}
