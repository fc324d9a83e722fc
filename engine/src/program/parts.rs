//! Which nodes of the graph each query has a part in, for those who count by query.

use std::collections::BTreeSet;

use super::Program;
use crate::graph::{NodeId, Spec};

/// What a query has of the graph.
#[derive(Debug)]
pub(crate) struct QueryPart {
    /// Where the events of its streams enter.
    pub(crate) sources: Vec<NodeId>,
    /// The inputs by which rows come to its first nodes that remember anything.
    pub(crate) entrances: Vec<(NodeId, usize)>,
    /// Its nodes, each with the number of queries that have it.
    pub(crate) nodes: Vec<(NodeId, u64)>,
}

impl Program {
    /// The part of each query, in their order; an empty one where it did not compile.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &QueryPart> {
        self.parts.iter()
    }

    /// Works them out.
    pub(super) fn with_parts(mut self) -> Self {
        let mut readers = vec![0; self.graph.nodes.len()];
        self.queries.iter().flat_map(|query| &query.nodes).for_each(|node| readers[*node] += 1);
        self.parts = self.queries.iter().map(|query| self.part_of(&query.nodes, &readers)).collect();
        self
    }

    fn part_of(&self, nodes: &[NodeId], readers: &[u64]) -> QueryPart {
        let graph = &self.graph.nodes;
        let (mut sources, mut entrances) = (vec![], vec![]);
        // Nodes that remember, and those behind them. Inputs have smaller numbers than the nodes that read them.
        let mut behind = BTreeSet::new();
        for node in nodes {
            let fresh = graph[*node].inputs.iter().map(|edge| edge.from).enumerate();
            let fresh: Vec<usize> = fresh.filter(|(_, from)| !behind.contains(from)).map(|(input, _)| input).collect();
            if graph[*node].has_state() {
                entrances.extend(fresh.iter().map(|input| (*node, *input)));
            }
            if graph[*node].has_state() || fresh.len() < graph[*node].inputs.len() {
                behind.insert(*node);
            }
            if matches!(graph[*node].spec, Spec::Source(_)) {
                sources.push(*node);
            }
        }
        QueryPart { sources, entrances, nodes: nodes.iter().map(|node| (*node, readers[*node])).collect() }
    }
}
