//! The total order (time, uid) on the batch side. DataFusion breaks ties as it likes; a stream does not. So the rows below a
//! function that depends on how ties are broken get their uids (`identified`), and the function sorts by them too.

mod picked;

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::Transformed;
use datafusion::logical_expr::expr::{Sort, WindowFunction};
use datafusion::logical_expr::{
    Aggregate, Expr, LogicalPlan, LogicalPlanBuilder, Window, WindowFrame, WindowFrameUnits,
};

use super::first_seen;
use super::identified::identified;
use super::in_order;
use picked::Picked;

/// The same plan, with the same columns, where functions that depend on the order of rows see them in the total order.
pub(super) fn in_total_order(plan: LogicalPlan) -> Result<LogicalPlan> {
    let plan = plan.transform_up_with_subqueries(|node| match &node {
        LogicalPlan::Window(window) => Ok(Transformed::yes(of_window(window)?)),
        LogicalPlan::Aggregate(aggregate) if in_order::is_ordered(aggregate) => {
            Ok(Transformed::yes(of_groups(aggregate)?))
        }
        _ => Ok(Transformed::no(node)),
    })?;
    Ok(plan.data)
}

/// The functions of one node sort by the same, so those that sort by the uid too have a node of their own.
fn of_window(window: &Window) -> Result<LogicalPlan> {
    let Some((mut plan, uid)) = identified(&window.input)? else { return Ok(LogicalPlan::Window(window.clone())) };
    let (mut sorted, mut others) = (vec![], vec![]);
    for function in &window.window_expr {
        match with_ties_broken(function.clone(), &uid)? {
            (function, true) => sorted.push(function),
            (function, false) => others.push(function),
        }
    }
    for functions in [sorted, others] {
        if !functions.is_empty() {
            plan = LogicalPlan::Window(Window::try_new(functions, Arc::new(plan))?);
        }
    }
    LogicalPlanBuilder::from(plan).project(window.schema.columns().into_iter().map(Expr::Column))?.build()
}

fn of_groups(aggregate: &Aggregate) -> Result<LogicalPlan> {
    let (input, uid) = match identified(&aggregate.input)? {
        Some((plan, uid)) => (Arc::new(plan), Some(uid)),
        None => (Arc::clone(&aggregate.input), None),
    };
    let functions = aggregate.aggr_expr.iter().cloned();
    let functions = functions.map(|function| in_order::with_ties_broken(function, uid.as_ref())).collect();
    Ok(LogicalPlan::Aggregate(Aggregate::try_new(input, aggregate.group_expr.clone(), functions)?))
}

/// A function of a window, under the same name, that sees rows of one time in the order of their uid; and whether it now
/// sorts by it.
fn with_ties_broken(function: Expr, uid: &Expr) -> Result<(Expr, bool)> {
    let name = function.schema_name().to_string();
    let (inner, name) = match function {
        Expr::Alias(alias) => (*alias.expr, alias.name),
        other => (other, name),
    };
    let Expr::WindowFunction(call) = inner else { return Ok((inner.alias(name), false)) };
    let (call, sorts) = sorted(*call, uid)?;
    Ok((Expr::WindowFunction(Box::new(call)).alias(name), sorts))
}

/// The call that sees rows in the total order, where there is an order and it matters for ties; and whether it now sorts
/// by the uid.
fn sorted(mut call: WindowFunction, uid: &Expr) -> Result<(WindowFunction, bool)> {
    let Some(last) = call.params.order_by.last().cloned() else { return Ok((call, false)) };
    let by_uid = Sort { expr: uid.clone(), ..last };
    let (name, by_rows) = (call.fun.name().to_owned(), call.params.window_frame.units == WindowFrameUnits::Rows);
    match name.as_str() {
        "rank" | "dense_rank" | "percent_rank" | "cume_dist" => return Ok((call, false)),
        first_seen::NAME => call.params.args.push(uid.clone()),
        // They have no frame, and one of an interval allows no second column.
        "lag" | "lead" | "row_number" | "ntile" => call.params.window_frame = WindowFrame::new(Some(false)),
        _ if by_rows => {}
        _ => {
            return Ok(match Picked::of(&call, by_uid.asc) {
                Some(picked) => (picked.call(call, uid)?, false),
                None => (call, false),
            });
        }
    }
    call.params.order_by.push(by_uid);
    Ok((call, true))
}
