//! `first_value`, `last_value`, `nth_value` and `array_agg` of a window, by the order of events: (time, uid).
//!
//! Live they keep values with their places. In batch they become DataFusion's own with `ORDER BY` written out, and lists
//! are cut to the length that they have live.

use std::sync::Arc;

use datafusion::common::{DFSchema, Result, ScalarValue, plan_err};
use datafusion::logical_expr::expr::{AggregateFunction, AggregateFunctionParams, NullTreatment, Sort};
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan, LogicalPlanBuilder, lit};

use super::functions::FUNCTIONS;
use super::lower::{Refusal, column_index};
use super::under;
use crate::error::codes;
use crate::graph::{InOrder, Keep};

/// How many values `array_agg` keeps of a group: the first so many in their order.
pub(crate) const VALUES_MAX: usize = 1_000;

/// Functions that go by the order of events, at least with some arguments.
pub(super) const FUNCTIONS_KEPT: &[&str] = &["array_agg", "first_value", "last_value", "nth_value"];

/// What a function keeps; `None` if it does not go by the order of events.
pub(super) fn kept(function: &AggregateFunction) -> Option<InOrder> {
    let AggregateFunctionParams { args, distinct, null_treatment, .. } = &function.params;
    let list = if *distinct { Keep::Distinct } else { Keep::All };
    let (keep, element) = match (function.func.name(), args.get(1)) {
        ("first_value", None) if !distinct => (Keep::First, Some(1)),
        ("last_value", None) if !distinct => (Keep::Last, Some(1)),
        // This is also what `array_agg(x)[n]` is planned as.
        ("nth_value", Some(Expr::Literal(ScalarValue::Int64(Some(place)), _))) if *place != 0 => (list, Some(*place)),
        ("array_agg", None) => (list, None),
        _ => return None,
    };
    Some(InOrder { keep, ignores_nulls: *null_treatment == Some(NullTreatment::IgnoreNulls), element })
}

/// Refuses another order than that of events, by the event time in column `time`; of different values, another than their
/// own.
pub(super) fn check_order(
    function: &AggregateFunction,
    keep: Keep,
    input: &DFSchema,
    time: Option<usize>,
) -> std::result::Result<(), Refusal> {
    let AggregateFunctionParams { args, order_by, .. } = &function.params;
    let fits = |sort: &Sort| match keep {
        Keep::Distinct => args.first() == Some(&sort.expr),
        _ => time.is_some() && column_index(&sort.expr, input) == time,
    };
    if order_by.is_empty() || (order_by.len() == 1 && order_by.iter().all(|sort| sort.asc && fits(sort))) {
        return Ok(());
    }
    let name = function.func.name();
    let hint = match keep {
        Keep::Distinct => "write array_agg(DISTINCT x), whose values stand in their own order".to_owned(),
        _ => format!("write {name}(x ORDER BY time) with the event time, from the first to the last; or min or max"),
    };
    let message = format!("`{name}` with an ORDER BY of its own goes by another order than that of events");
    Err(Refusal::new(codes::UNSUPPORTED, message, hint))
}

/// An aggregate per window with the order of events written out and its lists cut; `None` if nothing of it goes by that
/// order, or if it has no window.
pub(super) fn to_batch(aggregate: &Aggregate) -> Result<Option<LogicalPlan>> {
    let calls = aggregate.aggr_expr.iter().map(|expr| call(expr).and_then(|call| Some((call, kept(call)?))));
    let calls = calls.collect::<Vec<_>>();
    if calls.iter().all(Option::is_none) {
        return Ok(None);
    }
    let Some(time) = time_of(aggregate)? else { return Ok(None) };
    let names: Vec<String> = aggregate.aggr_expr.iter().map(|expr| expr.schema_name().to_string()).collect();
    let mut exprs = vec![];
    for ((expr, call), name) in aggregate.aggr_expr.iter().zip(&calls).zip(&names) {
        exprs.push(match call {
            Some((call, kept)) => in_order(call, *kept, &time)?.alias(name),
            None => expr.clone(),
        });
    }
    let plan = Aggregate::try_new(Arc::clone(&aggregate.input), aggregate.group_expr.clone(), exprs)?;
    let plan = LogicalPlan::Aggregate(plan);
    let columns = plan.schema().columns();
    let groups = columns.len() - calls.len();
    let mut told: Vec<Expr> = columns[..groups].iter().cloned().map(Expr::Column).collect();
    for ((column, call), name) in columns[groups..].iter().zip(&calls).zip(&names) {
        let column = Expr::Column(column.clone());
        told.push(match call {
            Some((_, kept)) if is_list(kept.keep) => of_list(column, kept.element)?.alias(name),
            _ => column,
        });
    }
    Ok(Some(LogicalPlanBuilder::from(plan).project(told)?.build()?))
}

const fn is_list(keep: Keep) -> bool {
    matches!(keep, Keep::All | Keep::Distinct)
}

/// Whether an aggregate of batch goes by an order in which ties have to be broken.
pub(super) fn is_ordered(aggregate: &Aggregate) -> bool {
    aggregate.aggr_expr.iter().filter_map(call).any(has_ties)
}

fn has_ties(call: &AggregateFunction) -> bool {
    let names = ["first_value", "last_value", "nth_value", "array_agg"];
    names.contains(&call.func.name()) && !call.params.distinct && !call.params.order_by.is_empty()
}

/// The same aggregate of batch, under the same name, with rows that its order does not tell apart in the order of their uid,
/// and rows of one uid in that of their values.
pub(super) fn with_ties_broken(expr: Expr, uid: Option<&Expr>) -> Expr {
    let Some(found) = call(&expr).filter(|call| has_ties(call)) else { return expr };
    let further = uid.into_iter().chain(found.params.args.first()).map(|by| by.clone().sort(true, true));
    let order_by = found.params.order_by.iter().cloned().chain(further).collect();
    let params = AggregateFunctionParams { order_by, ..found.params.clone() };
    let name = expr.schema_name().to_string();
    Expr::AggregateFunction(AggregateFunction { func: Arc::clone(&found.func), params }).alias(name)
}

fn call(expr: &Expr) -> Option<&AggregateFunction> {
    match expr {
        Expr::Alias(alias) => call(&alias.expr),
        Expr::AggregateFunction(function) => Some(function),
        _ => None,
    }
}

/// The event time of an aggregate per window, as its input has it.
fn time_of(aggregate: &Aggregate) -> Result<Option<Expr>> {
    for expr in &aggregate.group_expr {
        if let Expr::ScalarFunction(bin) = expr.clone().unalias()
            && let ("date_bin", [_, time]) = (bin.func.name(), bin.args.as_slice())
        {
            return Ok(Some(time.clone()));
        }
    }
    let mut below = aggregate.input.as_ref();
    let table = loop {
        match (under::window_table(below), below) {
            (Some(table), _) => break table,
            (None, LogicalPlan::Filter(_) | LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_)) => {
                below = below.inputs()[0];
            }
            _ => return Ok(None),
        }
    };
    let Expr::Column(time) = &table.time else { return Ok(None) };
    let named = aggregate.input.schema().columns().into_iter().filter(|column| column.name == time.name);
    match named.collect::<Vec<_>>().as_slice() {
        [column] => Ok(Some(Expr::Column(column.clone()))),
        _ => plan_err!("the order of events is not known here; select the event time `{}` too", time.name),
    }
}

/// The same call in the order of events; where values are listed, the list of them.
fn in_order(call: &AggregateFunction, kept: InOrder, time: &Expr) -> Result<Expr> {
    let Some(value) = call.params.args.first() else { return plan_err!("`{}` takes a value", call.func.name()) };
    let order_by = match kept.keep {
        Keep::Distinct => vec![value.clone().sort(true, true)],
        _ if call.params.order_by.is_empty() => vec![time.clone().sort(true, true)],
        _ => call.params.order_by.clone(),
    };
    let func =
        if is_list(kept.keep) { FUNCTIONS.aggregate.get("array_agg").cloned() } else { Some(Arc::clone(&call.func)) };
    let Some(func) = func else { return plan_err!("array_agg is not registered") };
    let params = AggregateFunctionParams { args: vec![value.clone()], order_by, ..call.params.clone() };
    Ok(Expr::AggregateFunction(AggregateFunction { func, params }))
}

/// As much of a list as is kept live, or one element of that.
fn of_list(list: Expr, element: Option<i64>) -> Result<Expr> {
    let function = |name: &str| match FUNCTIONS.scalar.get(name) {
        Some(function) => Ok(Arc::clone(function)),
        None => plan_err!("{name} is not registered"),
    };
    let kept = function("array_slice")?.call(vec![list, lit(1_i64), lit(VALUES_MAX as i64)]);
    Ok(match element {
        Some(place) => function("array_element")?.call(vec![kept, lit(place)]),
        None => kept,
    })
}
