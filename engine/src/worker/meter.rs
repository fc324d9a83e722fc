//! What the operators of a worker have done, counted by node and told by query.
//!
//! What several queries share is split evenly among them: of a filter that three of them need, each has a third of the
//! time. So the sum over all queries is what was spent, and a query is cheaper where others ask the same.

use super::Worker;
use crate::graph::NodeId;

/// Nanoseconds since some instant. The engine knows no clock; whoever wants to know where the time goes lends it one, and
/// nothing that it says depends on it.
pub type Stopwatch = fn() -> u64;

/// What the operators of one query did on one worker since it began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueryMeter {
    /// Events of the streams that it reads.
    pub events: u64,
    /// Rows that passed its row-level part: what came to its first operators that remember anything, which for a row-level
    /// query is the one that gives hits their identity.
    pub rows: u64,
    /// Nanoseconds that its operators took; 0 without a stopwatch.
    pub nanos: u64,
}

impl QueryMeter {
    /// Adds what another worker did.
    pub const fn add(&mut self, more: &Self) {
        self.events += more.events;
        self.rows += more.rows;
        self.nanos += more.nanos;
    }
}

/// What one node did.
#[derive(Debug, Clone, Default)]
struct NodeMeter {
    /// Rows that came, by input; of a node where events enter, those.
    rows: Vec<u64>,
    nanos: u64,
}

/// The meters of all nodes.
#[derive(Debug, Default)]
pub(super) struct Meters {
    nodes: Vec<NodeMeter>,
    stopwatch: Option<Stopwatch>,
}

impl Meters {
    /// One meter per node, which has so many inputs.
    pub(super) fn new(inputs: impl Iterator<Item = usize>) -> Self {
        let node = |inputs: usize| NodeMeter { rows: vec![0; inputs.max(1)], ..NodeMeter::default() };
        Self { nodes: inputs.map(node).collect(), stopwatch: None }
    }

    /// Rows that came by an input of a node.
    pub(super) fn count(&mut self, node: NodeId, input: usize, rows: usize) {
        self.nodes[node].rows[input] += rows as u64;
    }

    /// The begin of a lap; 0 without a stopwatch.
    pub(super) fn lap(&self) -> u64 {
        self.stopwatch.map_or(0, |now| now())
    }

    /// The time since `begin` was spent on a node. Gives the begin of the next lap.
    pub(super) fn spent(&mut self, node: NodeId, begin: u64) -> u64 {
        let end = self.lap();
        self.nodes[node].nanos += end.saturating_sub(begin);
        end
    }
}

impl Worker {
    /// Lends it a clock, by which it tells where the time goes.
    pub const fn time_by(&mut self, stopwatch: Stopwatch) {
        self.meters.stopwatch = Some(stopwatch);
    }

    /// What the operators of each query did on this worker, in the order of the queries.
    pub fn meters(&self) -> impl Iterator<Item = QueryMeter> {
        let meters = &self.meters.nodes;
        self.program.parts().map(move |part| {
            let nanos = |(node, readers): &(NodeId, u64)| meters[*node].nanos / readers;
            QueryMeter {
                events: part.sources.iter().map(|node| meters[*node].rows[0]).sum(),
                rows: part.entrances.iter().map(|(node, input)| meters[*node].rows[*input]).sum(),
                nanos: part.nodes.iter().map(nanos).sum(),
            }
        })
    }
}
