//! What stands under a condition, past nodes that only name columns.

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::{Aggregate, Expr, Extension, Filter, LogicalPlan, Window};

use super::lower::Refusal;
use super::window_table::WindowTable;

/// The node of a kind that stands under aliases and plain projections of `plan`, and a condition over `plan` as one over
/// that node's output.
pub(super) fn over_node<'p, T>(
    plan: &'p LogicalPlan,
    condition: Expr,
    node: fn(&'p LogicalPlan) -> Option<&'p T>,
) -> Result<Option<(&'p T, Expr)>, Refusal> {
    let moved = |condition: Expr, by: &dyn Fn(usize) -> Expr| {
        condition.transform(|expr| {
            Ok(match &expr {
                Expr::Column(column) => match plan.schema().maybe_index_of_column(column) {
                    Some(index) => Transformed::yes(by(index)),
                    None => Transformed::no(expr),
                },
                _ => Transformed::no(expr),
            })
        })
    };
    if let Some(found) = node(plan) {
        return Ok(Some((found, condition)));
    }
    match plan {
        LogicalPlan::SubqueryAlias(alias) => {
            let columns = alias.input.schema().columns();
            let condition = moved(condition, &|index| Expr::Column(columns[index].clone()))?.data;
            over_node(&alias.input, condition, node)
        }
        LogicalPlan::Projection(projection) => {
            let condition = moved(condition, &|index| projection.expr[index].clone().unalias())?.data;
            over_node(&projection.input, condition, node)
        }
        _ => Ok(None),
    }
}

/// The node as an aggregate.
pub(super) fn aggregate(plan: &LogicalPlan) -> Option<&Aggregate> {
    match plan {
        LogicalPlan::Aggregate(aggregate) => Some(aggregate),
        _ => None,
    }
}

/// The node as window functions.
pub(super) fn window(plan: &LogicalPlan) -> Option<&Window> {
    match plan {
        LogicalPlan::Window(window) => Some(window),
        _ => None,
    }
}

/// The node as a filter.
pub(super) fn filter(plan: &LogicalPlan) -> Option<&Filter> {
    match plan {
        LogicalPlan::Filter(filter) => Some(filter),
        _ => None,
    }
}

/// The node as a window table.
pub(super) fn window_table(plan: &LogicalPlan) -> Option<&WindowTable> {
    match plan {
        LogicalPlan::Extension(Extension { node }) => node.as_any().downcast_ref(),
        _ => None,
    }
}
