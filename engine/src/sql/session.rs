//! Lowering of `SESSION`: whose sessions they are, and what may stand between them and the `GROUP BY` that reads them.
//!
//! A session is made of all rows of its relation, so nothing may take rows away before it is known; and it may last for
//! ever, so nothing may be remembered of each of its rows.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchemaRef, ScalarValue};
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions;

use super::aggregate::KEEPING_ALL;
use super::lower::{Lowered, Lowering, Refusal, column_index, names};
use super::total::total_condition;
use super::under;
use super::window_columns::WindowColumns;
use super::window_kind::Windows;
use super::window_table::WindowTable;
use crate::error::codes;
use crate::graph::{Edge, Spec};

/// Rows for an aggregate over sessions: the columns that hold the ends are there and empty.
pub(super) fn assigned(
    lowering: &mut Lowering<'_>,
    below: Lowered,
    windows: Windows,
    schema: SchemaRef,
) -> Result<Lowered, Refusal> {
    let width = schema.fields().len() - 2;
    let columns = schema.fields()[..width].iter().enumerate();
    let mut exprs: Vec<Arc<dyn PhysicalExpr>> = vec![];
    for (at, field) in columns {
        exprs.push(Arc::new(expressions::Column::new(field.name(), at)));
    }
    exprs.resize(width + 2, expressions::lit(ScalarValue::TimestampMicrosecond(None, None)));
    let what = format!("assign {windows}");
    let node = lowering.graph.add(&what, Spec::Project(exprs), vec![Edge::local(below.node)], schema);
    let mut fixed = below.fixed.clone();
    fixed.extend([true, false]);
    let window =
        WindowColumns { windows, starts: vec![width], ends: vec![width + 1], is_hollow: true, conditions: vec![] };
    Ok(Lowered { node, window: Some(window), fixed, ..below })
}

/// What is said of rows that are to carry the ends of their session.
pub(super) fn not_grouped() -> Refusal {
    Refusal::new(
        codes::UNSUPPORTED,
        "the ends of a session are known when it is over, so its rows cannot carry them",
        "aggregate: SELECT who, window_start, count(*) FROM SESSION(stream, time, gap, who) GROUP BY who, window_start, window_end",
    )
    .about("SESSION")
}

/// Refuses conditions that take rows away from sessions.
pub(super) fn refuse_fewer_rows(below: &Lowered, conditions: &[Expr]) -> Result<(), Refusal> {
    if conditions.is_empty() || !is_sessions(below) {
        return Ok(());
    }
    Err(fewer_rows(&format!("`{}` behind SESSION", names(conditions))))
}

/// Refuses look-ups between sessions and their aggregate.
pub(super) fn refuse_lookup(below: &Lowered) -> Result<(), Refusal> {
    if is_sessions(below) { Err(fewer_rows("a JOIN behind SESSION")) } else { Ok(()) }
}

/// Refuses a union of sessions, which are none of their union.
pub(super) fn refuse_union(input: &Lowered) -> Result<(), Refusal> {
    if !is_sessions(input) {
        return Ok(());
    }
    Err(Refusal::new(
        codes::UNSUPPORTED,
        "a UNION of sessions under one GROUP BY has no sessions of its own",
        "union the streams first, and read SESSION from the union",
    )
    .about("UNION"))
}

fn fewer_rows(what: &str) -> Refusal {
    Refusal::new(
        codes::UNSUPPORTED,
        format!("{what} would leave out rows after they have made the session, which does not run on a stream"),
        "choose the rows first: WITH x AS (SELECT ... WHERE ...) SELECT ... FROM SESSION(x, time, gap, who); or say it of each \
         aggregate: count(*) FILTER (WHERE ...)",
    )
    .about("SESSION")
}

fn is_sessions(lowered: &Lowered) -> bool {
    lowered.window.as_ref().is_some_and(|window| window.windows.is_sessions())
}

/// Refuses a `GROUP BY` that does not go by the keys of its sessions, and by nothing else.
pub(super) fn check_keys(aggregate: &Aggregate, window: &WindowColumns) -> Result<(), Refusal> {
    let input = aggregate.input.schema();
    let Some((table, _)) = at_session(&aggregate.input, Expr::Literal(ScalarValue::Null, None))? else {
        return Err(not_grouped());
    };
    let of_table = |expr: Expr| normal(expr, table.input.schema());
    let keys = table.keys.iter().cloned().map(of_table).collect::<Result<Vec<_>, _>>()?;
    let is_end = |column: usize| window.starts.contains(&column) || window.ends.contains(&column);
    let mut grouped = vec![];
    for expr in aggregate.group_expr.iter().filter(|expr| !column_index(expr, input).is_some_and(is_end)) {
        let Some((_, below)) = at_session(&aggregate.input, expr.clone().unalias())? else { return Err(not_grouped()) };
        let below = of_table(below)?;
        if !keys.contains(&below) {
            let expr = expr.clone().unalias();
            return Err(Refusal::new(
                codes::UNSUPPORTED,
                format!("`{expr}` is in GROUP BY and no key of SESSION, so one session would fall apart into groups"),
                format!("make it a key, so that the sessions are its own: SESSION(stream, time, gap, {expr})"),
            )
            .about("SESSION"));
        }
        grouped.push(below);
    }
    match keys.iter().position(|key| !grouped.contains(key)) {
        None => Ok(()),
        Some(missing) => {
            let key = &table.keys[missing];
            Err(Refusal::new(
                codes::UNSUPPORTED,
                format!(
                    "`{key}` is a key of SESSION and not in GROUP BY, so sessions of different keys would be one group"
                ),
                format!("add {key} to GROUP BY, or take it from SESSION"),
            )
            .about("SESSION"))
        }
    }
}

/// The table that makes the sessions, past conditions on their ends and nodes that only name columns; and an expression
/// over `plan` as one over that table.
fn at_session(plan: &LogicalPlan, expr: Expr) -> Result<Option<(&WindowTable, Expr)>, Refusal> {
    if let Some(found) = under::over_node(plan, expr.clone(), under::window_table)? {
        return Ok(Some(found));
    }
    match under::over_node(plan, expr, under::filter)? {
        Some((filter, expr)) => at_session(&filter.input, expr),
        None => Ok(None),
    }
}

/// An expression in the form that equal ones have: in its simplest terms, and with the places of its columns for their
/// names, which may be written with their relation or without.
fn normal(expr: Expr, input: &DFSchemaRef) -> Result<Expr, Refusal> {
    let simplifier = ExprSimplifier::new(SimplifyContext::builder().with_schema(Arc::clone(input)).build());
    // The optimiser gives a key that it has simplified the name that it had before.
    let expr = expr.unalias_nested().data;
    let expr = simplifier.simplify(total_condition(simplifier.coerce(expr, input)?, input)?)?;
    let placed = expr.transform(|expr| {
        Ok(match &expr {
            Expr::Column(column) => match input.maybe_index_of_column(column) {
                Some(index) => Transformed::yes(Expr::Column(Column::new_unqualified(index.to_string()))),
                None => Transformed::no(expr),
            },
            _ => Transformed::no(expr),
        })
    });
    Ok(placed?.data)
}

/// Refuses aggregates that remember more the longer a session lasts.
pub(super) fn refuse_growing(aggregate: &Aggregate) -> Result<(), Refusal> {
    aggregate.aggr_expr.iter().try_for_each(|expr| {
        let Expr::AggregateFunction(AggregateFunction { func, params }) = expr.clone().unalias() else { return Ok(()) };
        // Of values in order there is a greatest number.
        let is_bounded = matches!(func.name(), "min" | "max" | "array_agg" | "nth_value");
        if !KEEPING_ALL.contains(&func.name()) && (!params.distinct || is_bounded) {
            return Ok(());
        }
        Err(Refusal::new(
            codes::UNBOUNDED,
            format!("unbounded state: `{expr}` remembers more the longer a session lasts, and a session has no greatest length"),
            "write approx_distinct(x), which has a fixed size and is all but exact for small counts; or read FROM TUMBLE or HOP, \
             whose windows end",
        )
        .about(func.name()))
    })
}

/// Whether a condition on groups of sessions reads an end, which moves as long as rows come.
pub(super) fn reads_end(condition: &Expr, aggregate: &Aggregate, ends: &[usize]) -> bool {
    let columns = condition.column_refs();
    let places = columns.into_iter().filter_map(|column| aggregate.schema.maybe_index_of_column(column));
    places.into_iter().any(|place| ends.contains(&place))
}
