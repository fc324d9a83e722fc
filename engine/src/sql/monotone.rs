//! Conditions that, once true for a group, stay true while its window fills.

use datafusion::logical_expr::expr::{AggregateFunction, Alias};
use datafusion::logical_expr::{Aggregate, BinaryExpr, Cast, Expr, Operator, TryCast};

/// Whether `having` can only turn from false to true as rows are added: count, count distinct, max and sums of
/// unsigned values above a constant, min below one, and conditions on the group itself, joined by AND and OR.
pub(super) fn is_monotone(having: &Expr, aggregate: &Aggregate) -> bool {
    match having {
        Expr::Alias(Alias { expr, .. }) => is_monotone(expr, aggregate),
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And | Operator::Or, right }) => {
            is_monotone(left, aggregate) && is_monotone(right, aggregate)
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let grows = |direction: Direction, op: &Operator| {
                matches!(
                    (direction, op),
                    (Direction::Up, Operator::Gt | Operator::GtEq) | (Direction::Down, Operator::Lt | Operator::LtEq)
                )
            };
            match (direction(left, aggregate), direction(right, aggregate)) {
                (Some(Direction::Constant), Some(Direction::Constant)) => true,
                (Some(moving), Some(Direction::Constant)) => grows(moving, op),
                (Some(Direction::Constant), Some(moving)) => op.swap().is_some_and(|op| grows(moving, &op)),
                _ => false,
            }
        }
        other => direction(other, aggregate) == Some(Direction::Constant),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    /// The same for the whole life of the group.
    Constant,
    /// Never falls.
    Up,
    /// Never rises.
    Down,
}

fn direction(expr: &Expr, aggregate: &Aggregate) -> Option<Direction> {
    match expr {
        Expr::Literal(..) => Some(Direction::Constant),
        Expr::Alias(Alias { expr, .. }) | Expr::Cast(Cast { expr, .. }) | Expr::TryCast(TryCast { expr, .. }) => {
            direction(expr, aggregate)
        }
        Expr::Column(column) => {
            let place = aggregate.schema.maybe_index_of_column(column)?;
            match place.checked_sub(aggregate.group_expr.len()) {
                None => Some(Direction::Constant),
                Some(index) => direction_of_aggregate(aggregate.aggr_expr.get(index)?, aggregate),
            }
        }
        other => {
            let columns = other.column_refs();
            let only_groups = columns.iter().all(|column| {
                aggregate.schema.maybe_index_of_column(column).is_some_and(|at| at < aggregate.group_expr.len())
            });
            only_groups.then_some(Direction::Constant)
        }
    }
}

fn direction_of_aggregate(expr: &Expr, aggregate: &Aggregate) -> Option<Direction> {
    let AggregateFunction { func, params } = match expr {
        Expr::Alias(alias) => return direction_of_aggregate(&alias.expr, aggregate),
        Expr::AggregateFunction(function) => function,
        _ => return None,
    };
    match func.name() {
        "count" | "max" => Some(Direction::Up),
        "min" => Some(Direction::Down),
        "sum" if !params.distinct => is_unsigned(params.args.first()?, aggregate).then_some(Direction::Up),
        _ => None,
    }
}

fn is_unsigned(expr: &Expr, aggregate: &Aggregate) -> bool {
    match expr {
        Expr::Cast(Cast { expr, .. }) | Expr::TryCast(TryCast { expr, .. }) => is_unsigned(expr, aggregate),
        other => datafusion::logical_expr::ExprSchemable::get_type(other, aggregate.input.schema())
            .is_ok_and(|data_type| data_type.is_unsigned_integer()),
    }
}
