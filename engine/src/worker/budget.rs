//! What the worker's operators remember, in bytes.

use super::Worker;

impl Worker {
    /// How many bytes each operator remembers, by its place in the graph.
    #[must_use]
    pub fn state_bytes(&self) -> Vec<usize> {
        self.nodes.iter().map(|node| node.operator.state_bytes()).collect()
    }
}
