//! Where `allowed_lateness` applies: windows directly over a stream, whose results go straight to alerts. Anything in
//! between would have to take back what it was told.

use crate::error::{Diagnostic, codes};
use crate::graph::{Graph, NodeId, Spec};

/// Refuses an allowance that the query behind a node cannot keep. The allowance stands outside of the query's text, so the
/// diagnostic has no place in it.
pub(super) fn check(graph: &Graph, node: NodeId) -> Result<(), Diagnostic> {
    if leads_to_windows(graph, node) {
        return Ok(());
    }
    let message = "`allowed_lateness` applies to TUMBLE, HOP and CUMULATE directly over a stream, and their results must \
                   go straight to the alert";
    let hint = "remove it, or let a detection of its own read the window; its alerts can be joined by another one";
    Err(Diagnostic::error(codes::UNSUPPORTED, message).hint(hint))
}

/// Whether nothing but conditions and expressions stands over windows that go by time.
fn leads_to_windows(graph: &Graph, node: NodeId) -> bool {
    let node = &graph.nodes[node];
    let all = |check: fn(&Graph, NodeId) -> bool| node.inputs.iter().all(|edge| check(graph, edge.from));
    match &node.spec {
        Spec::Select(_) | Spec::Filter(_) | Spec::Project(_) | Spec::Union => all(leads_to_windows),
        Spec::Window(window) => window.allowed_us > 0 && all(leads_to_streams),
        _ => false,
    }
}

/// Whether every row is one of a stream, whatever was looked up beside it.
fn leads_to_streams(graph: &Graph, node: NodeId) -> bool {
    let node = &graph.nodes[node];
    match &node.spec {
        Spec::Source(_) => true,
        Spec::Select(_)
        | Spec::Filter(_)
        | Spec::Project(_)
        | Spec::Union
        | Spec::Lookup(_)
        | Spec::AssignWindow { .. } => {
            !node.inputs.is_empty() && node.inputs.iter().all(|edge| leads_to_streams(graph, edge.from))
        }
        _ => false,
    }
}
