//! `first_seen`: whether no earlier row of the same keys lies within an interval before a row.
//!
//! Resolving makes it a window function of the event time and the interval, partitioned by the keys. In a `WHERE` it sees
//! the rows for which the conditions without it hold; the plan says so by nodes ([`place`]). Live it is an operator
//! (`operator/over/first_seen.rs`); here is the same over rows that are there.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, TimestampMicrosecondType};
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, Result, ScalarValue, plan_err};
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::utils::{conjunction, split_conjunction, split_conjunction_owned};
use datafusion::logical_expr::{
    Expr, Filter, LogicalPlan, LogicalPlanBuilder, PartitionEvaluator, Signature, Volatility, WindowUDF, WindowUDFImpl,
    lit,
};

use super::window_table::interval_us;
use crate::catalog::TIME_TYPE;

/// What it is called.
pub(crate) const NAME: &str = "first_seen";

/// The function, to be registered.
pub(super) fn function() -> WindowUDF {
    WindowUDF::new_from_impl(FirstSeen { signature: Signature::variadic_any(Volatility::Immutable) })
}

/// Whether a call is one of it.
pub(super) fn is_first_seen(call: &WindowFunction) -> bool {
    call.fun.name() == NAME
}

/// How long a row is remembered, in microseconds: one that lies the interval or more before another is not seen by it.
pub(super) fn interval_of(call: &WindowFunction) -> Result<i64> {
    match call.params.args.get(1) {
        Some(interval) => interval_us(interval),
        None => plan_err!("`{NAME}` has no interval"),
    }
}

/// The same plan, where each `first_seen` of a `WHERE` has its node: above the other conditions, below what it decides.
pub(super) fn place(plan: LogicalPlan) -> Result<LogicalPlan> {
    let placed = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Filter(filter) if split_conjunction(&filter.predicate).into_iter().any(calls) => {
            Ok(Transformed::yes(placed(filter)?))
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(placed.data)
}

fn placed(filter: Filter) -> Result<LogicalPlan> {
    let columns: Vec<Expr> = filter.input.schema().columns().into_iter().map(Expr::Column).collect();
    let (said, others): (Vec<Expr>, Vec<Expr>) = split_conjunction_owned(filter.predicate).into_iter().partition(calls);
    let mut novel: Vec<Expr> = vec![];
    for call in said {
        if !novel.contains(&call) {
            novel.push(call);
        }
    }
    let mut rows = LogicalPlanBuilder::from(filter.input);
    if let Some(others) = conjunction(others) {
        rows = rows.filter(others)?;
    }
    let is_first = novel.iter().map(|call| Expr::Column(Column::new_unqualified(call.schema_name().to_string())));
    let is_first = conjunction(is_first).unwrap_or_else(|| lit(true));
    let seen = LogicalPlanBuilder::window_plan(rows.build()?, novel)?;
    LogicalPlanBuilder::from(seen).filter(is_first)?.project(columns)?.build()
}

fn calls(expr: &Expr) -> bool {
    matches!(expr, Expr::WindowFunction(call) if is_first_seen(call))
}

/// Shape: the event time, the interval, and where known the uid of each row.
#[derive(Debug, PartialEq, Eq, Hash)]
struct FirstSeen {
    signature: Signature,
}

impl WindowUDFImpl for FirstSeen {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn partition_evaluator(&self, _args: PartitionEvaluatorArgs<'_>) -> Result<Box<dyn PartitionEvaluator>> {
        Ok(Box::new(Partition))
    }

    fn field(&self, args: WindowUDFFieldArgs<'_>) -> Result<FieldRef> {
        Ok(Arc::new(Field::new(args.name(), DataType::Boolean, true)))
    }
}

/// The rows of one key, in the order of (time, uid).
#[derive(Debug)]
struct Partition;

impl PartitionEvaluator for Partition {
    fn evaluate_all(&mut self, values: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
        let [time, interval, uid @ ..] = values else { return plan_err!("`{NAME}` has no interval") };
        if rows == 0 {
            return Ok(Arc::new(BooleanArray::new_null(0)));
        }
        let interval = interval_us(&lit(ScalarValue::try_from_array(interval, 0)?))?;
        let time = cast(time, &TIME_TYPE)?;
        let time = time.as_primitive::<TimestampMicrosecondType>();
        let uid = uid.first().map(|uid| cast(uid, &DataType::Utf8View)).transpose()?;
        let identity = |row: usize| {
            let uid = uid.as_ref().filter(|uid| uid.is_valid(row)).map(|uid| uid.as_string_view().value(row));
            (time.value(row), uid)
        };
        let mut last: Option<(usize, bool)> = None;
        let is_first = |row: usize| {
            // Without a time a row is neither before nor behind another.
            if time.is_null(row) {
                return None;
            }
            let is_first = match last {
                // Rows of one record are one row.
                Some((before, is_first)) if identity(before) == identity(row) => is_first,
                Some((before, _)) => time.value(row).saturating_sub(time.value(before)) >= interval,
                None => true,
            };
            last = Some((row, is_first));
            Some(is_first)
        };
        Ok(Arc::new((0..rows).map(is_first).collect::<BooleanArray>()))
    }
}
