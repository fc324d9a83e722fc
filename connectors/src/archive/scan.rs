//! A table of the archive as a relation of the engine: the declared columns in their declared types.
//!
//! Conditions go down into the files. A time in the engine has no zone and in the file it is UTC, so a comparison of a
//! time with a constant is handed down with the constant in UTC; anything else about times is left to be judged above.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::datasource::MemTable;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{CastExpr, Column, Literal};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::scalar::ScalarValue;
use deltalake_core::DeltaTable;

use super::ArchiveError;
use super::schema::{engine_type, holds_time, with_further};
use super::tables::TableSpec;

/// The relation of a table that exists.
pub(super) async fn provider(spec: &TableSpec, table: DeltaTable) -> Result<Arc<dyn TableProvider>, ArchiveError> {
    let failed = |source| ArchiveError::Scan { table: spec.name.clone(), source: Box::new(source) };
    let stored = table.table_provider().await.map_err(failed)?;
    let stored_schema = stored.schema();
    let further = stored_schema.fields().iter().map(|field| {
        let data_type = engine_type(field.data_type());
        Arc::new(Field::new(field.name(), data_type, true)) as FieldRef
    });
    let schema = with_further(&shown(spec), further);
    Ok(Arc::new(ArchiveScan { stored, schema }))
}

/// The relation of a table that was never written.
pub(super) fn empty(spec: &TableSpec) -> Result<Arc<dyn TableProvider>, ArchiveError> {
    let day = Arc::new(Field::new(super::schema::DAY, DataType::Date32, true));
    let schema = with_further(&shown(spec), [day]);
    let table = MemTable::try_new(schema, vec![vec![]])
        .map_err(|source| ArchiveError::Scan { table: spec.name.clone(), source: Box::new(source) })?;
    Ok(Arc::new(table))
}

/// The declared columns as hunts see them: uids are text there, as they are in every alert.
fn shown(spec: &TableSpec) -> arrow::datatypes::Fields {
    let show = |field: &FieldRef| match field.data_type() {
        DataType::FixedSizeBinary(16) => Arc::new(Field::new(field.name(), DataType::Utf8View, true)),
        _ => Arc::new(field.as_ref().clone().with_nullable(true)),
    };
    spec.columns.iter().map(show).collect()
}

/// A stored table under the engine's types.
struct ArchiveScan {
    stored: Arc<dyn TableProvider>,
    schema: SchemaRef,
}

impl fmt::Debug for ArchiveScan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ArchiveScan").field("schema", &self.schema).finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for ArchiveScan {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let wanted: Vec<&FieldRef> = match projection {
            Some(projection) => projection.iter().map(|at| &self.schema.fields()[*at]).collect(),
            None => self.schema.fields().iter().collect(),
        };
        let stored = self.stored.schema();
        let mut read: Vec<usize> = wanted.iter().filter_map(|field| stored.index_of(field.name()).ok()).collect();
        read.sort_unstable();
        read.dedup();
        let below: Vec<Expr> = filters.iter().filter_map(|filter| self.below(filter)).collect();
        let limit = limit.filter(|_| below.len() == filters.len());
        let input = self.stored.scan(session, Some(&read), &below, limit).await?;
        let columns: Vec<_> =
            wanted.into_iter().map(|field| output(field, &input.schema())).collect::<Result<_, _>>()?;
        Ok(Arc::new(ProjectionExec::try_new(columns, input)?))
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> DataFusionResult<Vec<TableProviderFilterPushDown>> {
        filters
            .iter()
            .map(|filter| match self.below(filter) {
                Some(below) => {
                    let answers = self.stored.supports_filters_pushdown(&[&below])?;
                    // Even what the table judges exactly is judged again above, on the converted values.
                    Ok(match answers.first() {
                        Some(TableProviderFilterPushDown::Unsupported) | None => {
                            TableProviderFilterPushDown::Unsupported
                        }
                        Some(_) => TableProviderFilterPushDown::Inexact,
                    })
                }
                None => Ok(TableProviderFilterPushDown::Unsupported),
            })
            .collect()
    }
}

impl ArchiveScan {
    /// The condition in terms of the stored columns, where it can be put so.
    fn below(&self, filter: &Expr) -> Option<Expr> {
        let stored = self.stored.schema();
        let mut differs = false;
        for column in filter.column_refs() {
            let here = stored.field_with_name(&column.name).ok()?;
            let above = self.schema.field_with_name(&column.name).ok()?;
            differs |= here.data_type() != above.data_type();
            if here.data_type() != above.data_type() && !is_instant(here.data_type()) {
                return None;
            }
            if holds_time(above.data_type()) && !is_instant(above.data_type()) {
                return None;
            }
        }
        if differs { in_utc(filter) } else { Some(filter.clone()) }
    }
}

/// What stands in one column of the result.
fn output(field: &Field, input: &Schema) -> DataFusionResult<(Arc<dyn PhysicalExpr>, String)> {
    let name = field.name().clone();
    let Ok(at) = input.index_of(&name) else {
        let null = ScalarValue::try_from(field.data_type())?;
        return Ok((Arc::new(Literal::new(null)), name));
    };
    let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new(&name, at));
    if input.field(at).data_type() == field.data_type() {
        return Ok((column, name));
    }
    Ok((Arc::new(CastExpr::new(column, field.data_type().clone(), None)), name))
}

const fn is_instant(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Timestamp(..))
}

/// The condition with its instants in UTC, if it only compares columns with constants.
fn in_utc(filter: &Expr) -> Option<Expr> {
    let plain = |expr: &Expr| matches!(expr, Expr::Column(_) | Expr::Literal(..));
    let is_plain = match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And | Operator::Or, right }) => {
            in_utc(left).is_some() && in_utc(right).is_some()
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => op.supports_propagation() && plain(left) && plain(right),
        Expr::Between(between) => plain(&between.expr) && plain(&between.low) && plain(&between.high),
        Expr::InList(list) => plain(&list.expr) && list.list.iter().all(plain),
        Expr::IsNull(inner) | Expr::IsNotNull(inner) => plain(inner),
        _ => false,
    };
    if !is_plain {
        return None;
    }
    let utc = |expr: Expr| match expr {
        Expr::Literal(value, metadata) => {
            let value = match value {
                ScalarValue::TimestampMicrosecond(us, None) => {
                    ScalarValue::TimestampMicrosecond(us, Some("UTC".into()))
                }
                // Only microseconds are stored, and a bound between two of them has no equal there.
                ScalarValue::TimestampSecond(..)
                | ScalarValue::TimestampMillisecond(..)
                | ScalarValue::TimestampNanosecond(..) => {
                    return Err(DataFusionError::Plan("another unit of time".to_owned()));
                }
                other => other,
            };
            Ok(Transformed::yes(Expr::Literal(value, metadata)))
        }
        other => Ok(Transformed::no(other)),
    };
    filter.clone().transform(utc).ok().map(|transformed| transformed.data)
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::{col, lit};

    use super::*;

    #[test]
    fn only_plain_comparisons_of_times_go_down() {
        let bound = || lit(ScalarValue::TimestampMicrosecond(Some(5), None));
        let plain = col("t").gt_eq(bound()).and(col("t").lt(bound()));
        let below = in_utc(&plain).unwrap().to_string();
        assert_eq!(below.matches("TimestampMicrosecond(5, Some(\"UTC\"))").count(), 2, "{below}");
        assert!(in_utc(&col("t").in_list(vec![bound()], false)).is_some());
        assert!(in_utc(&(col("t") + lit(1)).gt(bound())).is_none());
        assert!(in_utc(&col("t").gt(lit(ScalarValue::TimestampNanosecond(Some(5), None)))).is_none());
    }
}
