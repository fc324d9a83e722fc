//! Queries in quarantine: the operators that only they need get no rows and remember nothing, and all others go on. Such
//! an operator still passes watermarks and barriers, so nobody waits for it.
//!
//! Who goes into quarantine is decided outside, from what the operators remember and from their faults, and holds from a
//! barrier on. So all workers agree about the rows that each operator has seen.

use std::any::Any;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::{Worker, WorkerOutput};
use crate::error::EngineError;
use crate::graph::NodeId;
use crate::operator::{Operator, Outbox, build};

/// An operator that failed by itself. It has lost what it remembered and gets no more rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorFault {
    /// The queries that read it, by index. They have to go into quarantine.
    pub queries: BTreeSet<usize>,
    /// What it said.
    pub reason: String,
}

impl Worker {
    /// How many bytes each operator remembers, by its place in the graph. [`Program::state_bytes`](crate::Program::state_bytes)
    /// says who bears them.
    #[must_use]
    pub fn state_bytes(&self) -> Vec<usize> {
        self.nodes.iter().map(|node| node.operator.state_bytes()).collect()
    }

    /// From the next barrier on these queries are in quarantine. Call it right before [`Self::barrier`].
    pub fn quarantine(&mut self, queries: &BTreeSet<usize>) {
        self.unneeded = self.program.unneeded(queries);
    }

    /// These queries are in quarantine from the start on. Call it before [`Self::restore`].
    pub fn start_without(&mut self, queries: &BTreeSet<usize>) {
        self.quarantine(queries);
        self.nodes.iter_mut().zip(&self.unneeded).for_each(|(node, unneeded)| node.is_quarantined = *unneeded);
    }

    /// A fault of an operator becomes a part of the output, instead of an error that ends the worker.
    pub const fn contain_faults(&mut self) {
        self.contains_faults = true;
    }

    /// Whether a node goes into quarantine with the barrier that it has just been given.
    pub(super) fn is_to_go(&self, node: NodeId) -> bool {
        self.unneeded[node] && !self.nodes[node].is_quarantined
    }

    /// Replaces an operator by one that remembers nothing and gets no rows.
    pub(super) fn retire(&mut self, node: NodeId) -> Result<(), EngineError> {
        let graph = &self.program.graph.nodes;
        let inputs: Vec<_> = graph[node].inputs.iter().map(|edge| Arc::clone(&graph[edge.from].schema)).collect();
        let state = &mut self.nodes[node];
        state.operator = build(&graph[node], &inputs)?;
        (state.is_quarantined, state.is_renewed) = (true, true);
        Ok(())
    }

    /// Lets an operator work. Of one that fails nothing is put out.
    pub(super) fn work(
        &mut self,
        node: NodeId,
        work: impl FnOnce(&mut dyn Operator, &mut Outbox) -> Result<(), EngineError>,
        output: &mut WorkerOutput,
    ) -> Result<Outbox, EngineError> {
        let mut out = Outbox::default();
        let operator = self.nodes[node].operator.as_mut();
        if !self.contains_faults {
            work(operator, &mut out)?;
            return Ok(out);
        }
        // What a panic leaves behind in the operator goes with it.
        let reason = match catch_unwind(AssertUnwindSafe(|| work(operator, &mut out))) {
            Ok(Ok(())) => return Ok(out),
            Ok(Err(error)) => error.to_string(),
            Err(panic) => in_words(panic.as_ref()),
        };
        self.note_fault(node, reason, output)?;
        Ok(Outbox::default())
    }

    /// Takes an operator out whose rows could not be sent to it.
    pub(super) fn blame(
        &mut self,
        (node, error): (NodeId, EngineError),
        output: &mut WorkerOutput,
    ) -> Result<(), EngineError> {
        if self.contains_faults { self.note_fault(node, error.to_string(), output) } else { Err(error) }
    }

    /// Takes an operator out that has failed, and tells whose it was.
    pub(super) fn note_fault(
        &mut self,
        node: NodeId,
        reason: String,
        output: &mut WorkerOutput,
    ) -> Result<(), EngineError> {
        self.retire(node)?;
        let fault = OperatorFault { queries: self.program.queries_of(node), reason };
        output.faults.push((self.nodes[node].barriers, fault));
        Ok(())
    }
}

#[cfg(test)]
impl Worker {
    /// Puts another operator in the place of one.
    pub(crate) fn replace(&mut self, node: NodeId, operator: Box<dyn Operator>) {
        self.nodes[node].operator = operator;
    }
}

fn in_words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    format!("panicked: {}", text.unwrap_or_else(|| "without a word".to_owned()))
}
