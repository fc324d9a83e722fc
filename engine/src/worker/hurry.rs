//! Queries that are in a hurry: what a cooldown of theirs cannot tell for certain yet is told as soon as it is there, and not
//! at the end of the epoch.
//!
//! That makes more records and no other answers: the last record of an id is the same, since what turns out otherwise is
//! said again.

use std::collections::BTreeSet;

use super::{Worker, WorkerOutput};
use crate::error::EngineError;
use crate::graph::{NodeId, Spec};
use crate::operator::{Operator, Outbox};
use crate::rows::Rows;

impl Worker {
    /// From now on these queries tell at once what would wait for the end of the epoch.
    pub fn hurry(&mut self, queries: &BTreeSet<usize>) {
        for node in &self.program.graph.nodes {
            let Spec::Sink(sink) = &node.spec else { continue };
            for before in &node.inputs {
                self.nodes[before.from].is_in_a_hurry = queries.contains(&sink.query);
            }
        }
    }

    /// Gives rows to an operator.
    pub(super) fn take(
        &mut self,
        node: NodeId,
        input: usize,
        rows: Rows,
        output: &mut WorkerOutput,
    ) -> Result<Outbox, EngineError> {
        let is_in_a_hurry = self.nodes[node].is_in_a_hurry;
        let work = |operator: &mut dyn Operator, out: &mut Outbox| {
            operator.rows(input, rows, out)?;
            if is_in_a_hurry { operator.tell_what_waits(out) } else { Ok(()) }
        };
        self.work(node, work, output)
    }
}
