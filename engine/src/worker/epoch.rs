//! The end of an epoch: barriers, saved state, and taking it up again.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{SourceState, Worker, WorkerOutput};
use crate::batch::PartitionId;
use crate::canonical::owner;
use crate::clock::PartitionClock;
use crate::error::EngineError;
use crate::graph::{NodeId, Spec};
use crate::program::Before;
use crate::snapshot::{Saved, SavedClock, SavedClocks, Scope, WorkerSnapshot};

impl Worker {
    /// Ends an epoch: everything pushed so far belongs to it. `scope` says what the snapshot holds; changes are of use to
    /// whoever has all snapshots since the last whole one.
    ///
    /// # Errors
    /// An operator that cannot save its state.
    pub fn barrier(&mut self, epoch: u64, scope: Scope, output: &mut WorkerOutput) -> Result<(), EngineError> {
        (self.epoch, self.scope) = (epoch, scope);
        // Batches of the next epoch may come before the last operator has been saved, and they move the clocks on.
        let saved = |source: &SourceState| {
            source.partitions.iter().map(|(partition, clock)| (*partition, SavedClock::of(clock))).collect()
        };
        self.clocks = self.sources.iter().map(|(name, source)| (name.clone(), saved(source))).collect();
        let nodes: Vec<NodeId> = self.sources.values().map(|source| source.node).chain(self.orphans()).collect();
        for node in nodes {
            self.snapshots.insert(node, Saved::default());
            self.nodes[node].barriers += 1;
            self.hand_on(node, &[], None, true, output)?;
        }
        self.run(output)?;
        self.close_epoch(output)
    }

    /// All senders have ended the epoch: let the operator end it and save it, hand the barrier on, take up what was held
    /// back.
    pub(super) fn pass_barrier(&mut self, node: NodeId, output: &mut WorkerOutput) -> Result<(), EngineError> {
        let out = self.work(node, |operator, out| operator.tell_what_waits(out), output)?;
        self.leave((node, 0), out, None, output)?;
        if self.is_to_go(node) {
            self.retire(node)?;
        }
        let snapshot = self.saved(node, output)?;
        let state = &mut self.nodes[node];
        state.barriers += 1;
        self.snapshots.insert(node, snapshot);
        state.inputs.iter_mut().flat_map(|input| &mut input.channels).for_each(|channel| channel.is_at_barrier = false);
        let held = std::mem::take(&mut state.held);
        self.hand_on(node, &[], None, true, output)?;
        for arrival in held.into_iter().rev() {
            self.queue.push_front(arrival);
        }
        self.close_epoch(output)
    }

    /// What an operator saves at the end of the epoch. One that cannot be saved has nothing to save afterwards.
    fn saved(&mut self, node: NodeId, output: &mut WorkerOutput) -> Result<Saved, EngineError> {
        let is_renewed = std::mem::take(&mut self.nodes[node].is_renewed);
        let scope = if is_renewed { Scope::Whole } else { self.scope };
        let mut saved = None;
        self.work(node, |operator, _| operator.save(scope).map(|state| saved = Some(state)), output)?;
        match saved {
            Some(saved) => Ok(saved),
            None => {
                self.nodes[node].is_renewed = false;
                self.nodes[node].operator.save(Scope::Whole)
            }
        }
    }

    /// Gives out the snapshot once every operator has been saved.
    fn close_epoch(&mut self, output: &mut WorkerOutput) -> Result<(), EngineError> {
        if self.snapshots.len() == self.nodes.len() {
            let nodes = std::mem::take(&mut self.snapshots);
            let clocks = std::mem::take(&mut self.clocks);
            output.snapshot = Some((self.epoch, self.snapshot_of(nodes, clocks)));
        }
        Ok(())
    }

    fn snapshot_of(&self, nodes: BTreeMap<NodeId, Saved>, clocks: SavedClocks) -> WorkerSnapshot {
        let graph = &self.program.graph.nodes;
        let is_news = |saved: &Saved| self.scope == Scope::Whole || !saved.is_nothing();
        let states = nodes.into_iter().map(|(node, saved)| (&graph[node], saved));
        let states = states.filter(|(node, saved)| node.has_state() && is_news(saved));
        WorkerSnapshot::new(states.map(|(node, saved)| (node.state, saved)), clocks)
    }

    /// Takes up this worker's share of a whole state, which any number of workers may have saved. Operators that mean the
    /// same as in the program that was saved go on; the others begin without state.
    ///
    /// # Errors
    /// A state that is not what its name says.
    pub fn restore(
        &mut self,
        parts: &[WorkerSnapshot],
        owns_partition: &dyn Fn(&str, PartitionId) -> bool,
    ) -> Result<(), EngineError> {
        let (index, workers, program) = (self.index, self.workers, Arc::clone(&self.program));
        let owns = move |group: u32| owner(group, workers) == index;
        for part in parts {
            for (node, spec) in program.graph.nodes.iter().enumerate() {
                let goes_on = spec.has_state() && !self.nodes[node].is_quarantined;
                if let Some(saved) = part.state_of(&spec.state).filter(|_| goes_on) {
                    let operator = &mut self.nodes[node].operator;
                    operator.restore(&saved.rows()?, &owns)?;
                    saved.watermark().into_iter().for_each(|watermark| operator.resume(watermark));
                }
            }
            for (name, source) in &mut self.sources {
                for (partition, saved) in part.clocks(name) {
                    if owns_partition(name, *partition) {
                        let mut clock = PartitionClock::new(source.stream.lateness_us, source.stream.future_guard_us);
                        saved.apply(&mut clock, &program.graph.nodes[source.node].schema)?;
                        source.partitions.insert(*partition, clock);
                    }
                }
            }
        }
        let before = Before::of(parts);
        for (node, spec) in program.graph.nodes.iter().enumerate() {
            if matches!(spec.spec, Spec::Emit(_)) && !program.counts_on(node, &before) {
                self.nodes[node].operator.counts_anew();
            }
        }
        Ok(())
    }
}
