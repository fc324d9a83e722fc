//! What the state of an operator is called in a snapshot, so that another program can tell what it may go on with.

use arrow::datatypes::Schema;
use serde::{Deserialize, Serialize};

use super::{Edge, Graph, Node, NodeId, Spec, key_name};
use crate::identity::Uid;

/// The name of an operator's state. It does not depend on the operator's place in the graph, so queries may come and go
/// beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct StateName {
    /// A hash of all that the state depends on: where it is equal, the state means the same.
    pub(crate) kept: Uid,
    /// A hash of all that the operator and those before it do: where it is equal, nothing at all is different.
    pub(crate) exact: Uid,
    /// A hash of what the operator itself remembers, whatever comes to it.
    pub(crate) own: Uid,
}

/// What the state of an operator depends on.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Meaning<'a> {
    /// All that the operator does, and all that comes to it.
    Whole,
    /// What is said here, and all that comes to it.
    Of(&'a str),
    /// What is said here, wherever it comes from.
    Alone(&'a str),
}

impl StateName {
    /// The name of the state of a node that does `what` to its inputs.
    pub(super) fn new(
        graph: &Graph,
        (what, meaning): (&str, Meaning<'_>),
        inputs: &[Edge],
        schema: Option<&Schema>,
    ) -> Self {
        let columns = schema.map(columns_in_words).unwrap_or_default();
        let hash = |text: &str, of_input: &dyn Fn(&Self) -> Uid| {
            let inputs: Vec<(Uid, String)> =
                inputs.iter().map(|edge| (of_input(&graph.nodes[edge.from].state), key_name(edge))).collect();
            let inputs = inputs.iter().flat_map(|(uid, key)| [uid.0.as_slice(), key.as_bytes()]);
            Uid::of_cause([text.as_bytes(), columns.as_bytes()].into_iter().chain(inputs))
        };
        let (Meaning::Of(text) | Meaning::Alone(text)) = meaning else {
            let own = Uid::of_cause([what.as_bytes()]);
            return Self { kept: hash(what, &|input| input.kept), exact: hash(what, &|input| input.exact), own };
        };
        let own = Uid::of_cause([text.as_bytes()]);
        let kept = if matches!(meaning, Meaning::Alone(_)) { own } else { hash(text, &|input| input.kept) };
        Self { kept, exact: hash(what, &|input| input.exact), own }
    }
}

fn columns_in_words(schema: &Schema) -> String {
    let columns = schema.fields().iter().map(|field| format!("{}: {}", field.name(), field.data_type()));
    columns.collect::<Vec<_>>().join(", ")
}

impl Node {
    /// Whether it remembers anything from one batch to the next.
    pub(crate) const fn has_state(&self) -> bool {
        self.counts() || matches!(self.spec, Spec::Emit(_) | Spec::Cooldown(_))
    }

    /// Whether what it says of a row depends on rows that came before.
    pub(crate) const fn counts(&self) -> bool {
        matches!(self.spec, Spec::Window(_) | Spec::Over(_) | Spec::Join(_) | Spec::Sequence(_))
    }
}

impl Graph {
    /// The nodes that count, from `node` back to the streams and to the alerts of other queries.
    pub(crate) fn counting(&self, node: NodeId) -> Vec<NodeId> {
        let mut found = vec![];
        let mut open = vec![node];
        while let Some(at) = open.pop() {
            let node = &self.nodes[at];
            if node.counts() && !found.contains(&at) {
                found.push(at);
            }
            // What other queries publish is theirs.
            if !matches!(node.spec, Spec::Publish(_)) {
                open.extend(node.inputs.iter().map(|edge| edge.from));
            }
        }
        found.sort_unstable();
        found
    }
}
