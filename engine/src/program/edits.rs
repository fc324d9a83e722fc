//! What a query goes on with where another program ran before.

use std::collections::HashSet;

use super::Program;
use crate::graph::{NodeId, StateName};
use crate::identity::Uid;
use crate::snapshot::WorkerSnapshot;

/// What becomes of the state of a query when its program takes the place of another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Continuation {
    /// Nothing about it is different.
    Same,
    /// It counts nothing, so there is nothing to lose.
    Stateless,
    /// All that it counts goes on; what it says of that is different.
    Restated,
    /// Something begins without state, although it was there to be gone on with.
    Anew(Reason),
}

/// Why an operator does not go on with a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It does what it did, to other rows.
    OtherRows,
    /// Nobody did what it does.
    OtherOperator,
}

impl Program {
    /// What each query goes on with, given what the workers of the program before have saved.
    #[must_use]
    pub fn continuations(&self, saved: &[WorkerSnapshot]) -> Vec<Continuation> {
        let before = Before::of(saved);
        self.queries.iter().map(|query| self.continuation(&query.nodes, &before)).collect()
    }

    fn continuation(&self, nodes: &[NodeId], before: &Before) -> Continuation {
        let nodes = || nodes.iter().map(|node| &self.graph.nodes[*node]);
        if nodes().filter(|node| node.has_state()).all(|node| before.names.contains(&node.state)) {
            return Continuation::Same;
        }
        let mut counting = nodes().filter(|node| node.counts()).map(|node| &node.state).peekable();
        if counting.peek().is_none() {
            return Continuation::Stateless;
        }
        match counting.find(|state| !before.has(state)) {
            None => Continuation::Restated,
            Some(state) if before.own.contains(&state.own) => Continuation::Anew(Reason::OtherRows),
            Some(_) => Continuation::Anew(Reason::OtherOperator),
        }
    }

    /// Whether everything that counts before a node goes on.
    pub(crate) fn counts_on(&self, node: NodeId, before: &Before) -> bool {
        self.graph.counting(node).into_iter().all(|node| before.has(&self.graph.nodes[node].state))
    }
}

/// The names of what was saved.
pub(crate) struct Before {
    names: HashSet<StateName>,
    kept: HashSet<Uid>,
    own: HashSet<Uid>,
}

impl Before {
    /// Those in the parts of all workers.
    pub(crate) fn of(parts: &[WorkerSnapshot]) -> Self {
        let names: HashSet<StateName> = parts.iter().flat_map(WorkerSnapshot::names).copied().collect();
        let (kept, own) = names.iter().map(|name| (name.kept, name.own)).unzip();
        Self { names, kept, own }
    }

    /// Whether a state that an operator of this name can go on with is among them.
    fn has(&self, name: &StateName) -> bool {
        self.kept.contains(&name.kept)
    }
}
