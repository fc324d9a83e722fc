//! What a query's alerts look like to the derived stream, as expressions over its output.

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::expr::Case;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, TryCast, lit};
use datafusion::physical_expr::PhysicalExpr;

use super::output_column;
use crate::query::PublishedValue;
use crate::sql::lower::{Refusal, physical};

/// A published column as an expression over a query's output.
pub(super) fn published_value(
    value: &PublishedValue,
    data_type: &DataType,
    schema: &SchemaRef,
) -> Result<Arc<dyn PhysicalExpr>, Refusal> {
    let dfschema = DFSchema::try_from(schema.as_ref().clone())?;
    let of = |name: &str| {
        output_column(schema, name)
            .map(|at| Expr::Column(datafusion::common::Column::new_unqualified(schema.field(at).name())))
    };
    let cast = |expr: Expr| Expr::TryCast(TryCast::new(Box::new(expr), data_type.clone()));
    let expr = match value {
        PublishedValue::Constant(value) => lit(value.clone()),
        PublishedValue::Column { name, default } => match of(name) {
            Some(column) => or_else(cast(column), default),
            None => lit(default.clone()),
        },
        PublishedValue::Mapped { name, values, default } => match of(name) {
            Some(column) => mapped(column, values, default),
            None => lit(default.clone()),
        },
    };
    physical(&cast(expr), &dfschema)
}

fn or_else(expr: Expr, default: &ScalarValue) -> Expr {
    let is_null = Expr::IsNull(Box::new(expr.clone()));
    Expr::Case(Case::new(None, vec![(Box::new(is_null), Box::new(lit(default.clone())))], Some(Box::new(expr))))
}

/// The constant that a text stands for, whatever its case.
fn mapped(column: Expr, values: &[(String, ScalarValue)], default: &ScalarValue) -> Expr {
    let text = Expr::TryCast(TryCast::new(Box::new(column), DataType::Utf8View));
    let lower = match crate::sql::functions::FUNCTIONS.scalar.get("lower") {
        Some(lower) => lower.call(vec![text]),
        None => text,
    };
    let lower = Expr::TryCast(TryCast::new(Box::new(lower), DataType::Utf8View));
    let whens = values
        .iter()
        .map(|(word, value)| {
            let word = lit(ScalarValue::Utf8View(Some(word.clone())));
            let equal = Expr::BinaryExpr(BinaryExpr::new(Box::new(lower.clone()), Operator::Eq, Box::new(word)));
            (Box::new(equal), Box::new(lit(value.clone())))
        })
        .collect::<Vec<_>>();
    if whens.is_empty() {
        return lit(default.clone());
    }
    Expr::Case(Case::new(None, whens, Some(Box::new(lit(default.clone())))))
}
