//! When a cooldown can be certain that no earlier hit of the same entities will come.

use std::collections::BTreeSet;

use datafusion::physical_expr::expressions::Column;

use crate::graph::{Graph, JoinKind, NodeId, Spec, WindowSpec};
use crate::sql::window_kind::{WindowKind, Windows};

/// How far rows of a node with the same values in `columns` are apart in time at least. Of windows whose groups these columns
/// tell apart, each has one row at its end, and ends are a step apart; of anything else nothing is known.
pub(super) fn grain_us(graph: &Graph, node: NodeId, columns: &[usize]) -> i64 {
    let node = &graph.nodes[node];
    let below = |columns: &[usize]| node.inputs.first().map_or(0, |edge| grain_us(graph, edge.from, columns));
    match &node.spec {
        Spec::Filter(_) => below(columns),
        Spec::Select(selected) => {
            let columns = columns.iter().filter_map(|column| selected.get(*column).copied());
            below(&columns.collect::<Vec<_>>())
        }
        Spec::Project(exprs) => {
            let exprs = columns.iter().filter_map(|column| exprs.get(*column));
            let columns = exprs.filter_map(|expr| expr.downcast_ref::<Column>()).map(Column::index);
            below(&columns.collect::<Vec<_>>())
        }
        Spec::Window(window) => of_window(window, columns),
        _ => 0,
    }
}

fn of_window(window: &WindowSpec, columns: &[usize]) -> i64 {
    let columns: BTreeSet<&usize> = columns.iter().collect();
    match window.windows {
        Windows::Fixed(kind) if window.keys.iter().all(|(_, place)| columns.contains(place)) => match kind {
            WindowKind::Tumble { size_us, .. } => size_us,
            WindowKind::Hop { slide_us, .. } => slide_us,
            WindowKind::Cumulate { step_us, .. } => step_us,
        },
        _ => 0,
    }
}

/// Whether rows come out of a node in the order of time if they came into its streams so.
pub(super) fn comes_in_order(graph: &Graph, node: NodeId) -> bool {
    let node = &graph.nodes[node];
    let is_kept = match &node.spec {
        Spec::Source(_)
        | Spec::Select(_)
        | Spec::Filter(_)
        | Spec::Project(_)
        | Spec::Union
        | Spec::Lookup(_)
        | Spec::AssignWindow { .. }
        | Spec::Over(_) => true,
        Spec::Join(join) => join.kind == JoinKind::Inner,
        _ => false,
    };
    is_kept && node.inputs.iter().all(|edge| comes_in_order(graph, edge.from))
}
