//! Who bears the memory that operators take, and which queries have more than they may.
//!
//! The rule: the queries that read an operator bear equal shares of it. A query that is in quarantine reads nothing, so the
//! others bear what it leaves them.

use std::collections::BTreeSet;

use super::Program;
use crate::graph::Spec;

/// How much may be remembered, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateBudget {
    /// By each query.
    pub of_each: usize,
    /// By all queries together.
    pub of_all: usize,
}

/// A limit of a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// That of each query.
    Each,
    /// That of all queries together.
    All,
}

/// A query that has to go, so that the others can stay within the budget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excess {
    /// The query, by its index.
    pub query: usize,
    /// Its share of the bytes.
    pub bytes: usize,
    /// The limit that was reached.
    pub limit: Limit,
}

impl Program {
    /// The bytes that each query bears, where all workers together remember `of_nodes`
    /// ([`Worker::state_bytes`](crate::Worker::state_bytes)). Those in quarantine bear none.
    #[must_use]
    pub fn state_bytes(&self, of_nodes: &[usize], quarantined: &BTreeSet<usize>) -> Vec<usize> {
        let readers = self.readers(quarantined);
        let share = |node: &usize| of_nodes.get(*node).map_or(0, |bytes| bytes / readers[*node].max(1));
        let bears = |(index, query): (usize, &super::Compiled)| {
            if quarantined.contains(&index) { 0 } else { query.nodes.iter().map(share).sum() }
        };
        self.queries.iter().enumerate().map(bears).collect()
    }

    /// The queries that have to go for the rest to be within the budget: those above their own limit, and then the largest
    /// until all others fit. What a query leaves to those that share its operators is theirs from then on.
    #[must_use]
    pub fn excess(&self, of_nodes: &[usize], quarantined: &BTreeSet<usize>, budget: StateBudget) -> Vec<Excess> {
        let mut gone = quarantined.clone();
        let mut excess = vec![];
        loop {
            let bytes = self.state_bytes(of_nodes, &gone);
            let largest = bytes.iter().enumerate().max_by_key(|(index, bytes)| (**bytes, std::cmp::Reverse(*index)));
            let Some((query, largest)) = largest.filter(|(_, bytes)| **bytes > 0) else { return excess };
            let limit = if *largest > budget.of_each {
                Limit::Each
            } else if bytes.iter().sum::<usize>() > budget.of_all {
                Limit::All
            } else {
                return excess;
            };
            excess.push(Excess { query, bytes: *largest, limit });
            gone.insert(query);
        }
    }

    /// How many queries that are not in quarantine read each node.
    fn readers(&self, quarantined: &BTreeSet<usize>) -> Vec<usize> {
        let mut readers = vec![0; self.graph.nodes.len()];
        let active = self.queries.iter().enumerate().filter(|(index, _)| !quarantined.contains(index));
        active.flat_map(|(_, query)| &query.nodes).for_each(|node| readers[*node] += 1);
        readers
    }

    /// The queries that read a node.
    pub(crate) fn queries_of(&self, node: usize) -> BTreeSet<usize> {
        let reads = |(_, query): &(usize, &super::Compiled)| query.nodes.contains(&node);
        self.queries.iter().enumerate().filter(reads).map(|(index, _)| index).collect()
    }

    /// Which nodes nobody needs while some queries are in quarantine. Streams are read on, for their clocks.
    pub(crate) fn unneeded(&self, quarantined: &BTreeSet<usize>) -> Vec<bool> {
        let before = self.readers(&BTreeSet::new());
        let readers = self.readers(quarantined);
        let nodes = self.graph.nodes.iter().zip(before.iter().zip(readers));
        nodes.map(|(node, (before, now))| *before > 0 && now == 0 && !matches!(node.spec, Spec::Source(_))).collect()
    }
}
