//! Row expressions are total: a value that cannot be computed is NULL, and one hostile value never fails a batch.
//!
//! In the plan, casts become `TRY_CAST`, divisors become `NULLIF(divisor, 0)`, and functions that refuse some values give
//! NULL for these. What remains is caught at evaluation: the batch is halved until the rows that fail are alone, and those
//! are NULL. All of these are counted, except casts: a text that is no number is an answer of `CAST`.

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, new_null_array};
use arrow::compute::prep_null_mask_filter;
use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator, TryCast, lit};
use datafusion::physical_expr::PhysicalExpr;

use super::nulled::{self, Divisor};
use crate::rows::concat_arrays;

/// The same plan with total row expressions.
pub(crate) fn totalize(plan: LogicalPlan) -> Result<LogicalPlan> {
    let plan = plan.transform_up_with_subqueries(|node| {
        let schema = merged_input_schema(&node);
        let names: Vec<String> = match &node {
            // The name of an output column must survive the rewriting of the expression that makes it.
            LogicalPlan::Projection(_) | LogicalPlan::Aggregate(_) | LogicalPlan::Window(_) => {
                node.expressions().iter().map(|expr| expr.schema_name().to_string()).collect()
            }
            _ => vec![],
        };
        let mut index = 0;
        let rewritten = node.map_expressions(|expr| {
            let total = expr.transform_up(|expr| total_expr(expr, &schema))?;
            let name = names.get(index);
            index += 1;
            Ok(match name {
                Some(name) if total.transformed && total.data.schema_name().to_string() != *name => {
                    total.update_data(|expr| alias_as(expr, name))
                }
                _ => total,
            })
        })?;
        if rewritten.transformed { rewritten.map_data(LogicalPlan::recompute_schema) } else { Ok(rewritten) }
    })?;
    Ok(plan.data)
}

/// One condition, made total.
pub(crate) fn total_condition(expr: Expr, schema: &datafusion::common::DFSchema) -> Result<Expr> {
    Ok(expr.transform_up(|expr| total_expr(expr, schema))?.data)
}

fn alias_as(expr: Expr, name: &str) -> Expr {
    match expr {
        Expr::Alias(alias) => Expr::Alias(alias),
        other => other.alias(name),
    }
}

fn merged_input_schema(node: &LogicalPlan) -> datafusion::common::DFSchema {
    let mut schema = datafusion::common::DFSchema::empty();
    for input in node.inputs() {
        schema.merge(input.schema());
    }
    if node.inputs().is_empty() {
        schema.merge(node.schema());
    }
    schema
}

fn total_expr(expr: Expr, schema: &datafusion::common::DFSchema) -> Result<Transformed<Expr>> {
    Ok(match expr {
        Expr::Cast(cast) => Transformed::yes(Expr::TryCast(TryCast { expr: cast.expr, field: cast.field })),
        Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::Divide | Operator::Modulo), right })
            if !is_nonzero_literal(&right) && right.get_type(schema).is_ok_and(|divisor| divisor.is_numeric()) =>
        {
            let zero = ScalarValue::new_zero(&right.get_type(schema)?)?;
            let divisor = non_zero(*right, lit(zero))?;
            Transformed::yes(Expr::BinaryExpr(BinaryExpr { left, op, right: Box::new(divisor) }))
        }
        Expr::ScalarFunction(call) => match super::total_function::total_call(&call) {
            Some(total) => Transformed::yes(total),
            None => Transformed::no(Expr::ScalarFunction(call)),
        },
        other => Transformed::no(other),
    })
}

fn non_zero(divisor: Expr, zero: Expr) -> Result<Expr> {
    super::functions::FUNCTIONS
        .scalar
        .get("nullif")
        .map(|nullif| Divisor::of(nullif).call(vec![divisor, zero]))
        .ok_or_else(|| datafusion::error::DataFusionError::Plan("nullif is not registered".to_owned()))
}

fn is_nonzero_literal(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(value, _) => {
            !value.is_null() && ScalarValue::new_zero(&value.data_type()).is_ok_and(|zero| *value != zero)
        }
        Expr::TryCast(TryCast { expr, .. }) => is_nonzero_literal(expr),
        _ => false,
    }
}

/// The values of an expression over a batch; rows for which it fails are NULL. `failures` counts them.
pub(crate) fn evaluate(expr: &dyn PhysicalExpr, batch: &RecordBatch, failures: &mut u64) -> Result<ArrayRef> {
    // What an earlier evaluation counted and then failed is counted again where it succeeds.
    nulled::take();
    let whole = expr.evaluate(batch).and_then(|value| value.into_array(batch.num_rows()));
    match whole {
        Ok(values) => {
            *failures += nulled::take();
            Ok(values)
        }
        Err(_) if batch.num_rows() > 1 => {
            let half = batch.num_rows() / 2;
            let first = evaluate(expr, &batch.slice(0, half), failures)?;
            let second = evaluate(expr, &batch.slice(half, batch.num_rows() - half), failures)?;
            Ok(concat_arrays(&[first, second])?)
        }
        Err(_) => {
            *failures += batch.num_rows() as u64;
            Ok(new_null_array(&expr.data_type(&batch.schema())?, batch.num_rows()))
        }
    }
}

/// The rows for which a predicate is TRUE.
pub(crate) fn evaluate_predicate(
    expr: &dyn PhysicalExpr,
    batch: &RecordBatch,
    failures: &mut u64,
) -> Result<BooleanArray> {
    let values = evaluate(expr, batch, failures)?;
    let values = if values.data_type() == &DataType::Boolean {
        values
    } else {
        new_null_array(&DataType::Boolean, batch.num_rows())
    };
    let values = arrow::array::AsArray::as_boolean(&values);
    Ok(if values.null_count() > 0 { prep_null_mask_filter(values) } else { values.clone() })
}
