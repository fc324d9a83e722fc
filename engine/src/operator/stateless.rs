//! Operators without memory: select, filter, project, union and the assignment of windows.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, TimestampMicrosecondArray};
use arrow::compute::cast;
use arrow::datatypes::SchemaRef;
use datafusion::physical_expr::PhysicalExpr;

use super::{Operator, Outbox};
use crate::error::EngineError;
use crate::rows::{Rows, batch_of};
use crate::sql::total::{evaluate, evaluate_predicate};
use crate::sql::window_table::WindowKind;
use crate::table::TableVersion;
use crate::time::EventTime;

/// Implements the memory of an operator that has none.
macro_rules! without_memory {
    () => {
        fn watermark(&mut self, _watermark: EventTime, _out: &mut Outbox) -> Result<(), EngineError> {
            Ok(())
        }

        fn table(&mut self, _table: &TableVersion) -> Result<(), EngineError> {
            Ok(())
        }

        fn snapshot(&mut self) -> Result<Vec<RecordBatch>, EngineError> {
            Ok(vec![])
        }

        fn restore(&mut self, _state: &[RecordBatch], _owns: &dyn Fn(u32) -> bool) -> Result<(), EngineError> {
            Ok(())
        }
    };
}
pub(super) use without_memory;

/// The same rows under the node's own schema: a source, or one branch of a union.
pub(super) struct Rename {
    schema: SchemaRef,
}

impl Rename {
    pub(super) fn new(schema: SchemaRef) -> Self {
        Self { schema }
    }
}

impl Operator for Rename {
    fn rows(&mut self, _input: usize, rows: Rows, out: &mut Outbox) -> Result<(), EngineError> {
        let columns = conform(rows.columns.columns(), &self.schema)?;
        let columns = batch_of(Arc::clone(&self.schema), columns, rows.len())?;
        out.rows.push(rows.with_columns(columns));
        Ok(())
    }

    without_memory!();
}

/// Columns of the input by index.
pub(super) struct Select {
    columns: Vec<usize>,
    schema: SchemaRef,
}

impl Select {
    pub(super) fn new(columns: Vec<usize>, schema: SchemaRef) -> Self {
        Self { columns, schema }
    }
}

impl Operator for Select {
    fn rows(&mut self, _input: usize, rows: Rows, out: &mut Outbox) -> Result<(), EngineError> {
        let columns = self.columns.iter().map(|index| Arc::clone(rows.columns.column(*index))).collect();
        let columns = batch_of(Arc::clone(&self.schema), columns, rows.len())?;
        out.rows.push(rows.with_columns(columns));
        Ok(())
    }

    without_memory!();
}

/// Rows for which a predicate is TRUE.
pub(super) struct Filter {
    predicate: Arc<dyn PhysicalExpr>,
}

impl Filter {
    pub(super) fn new(predicate: Arc<dyn PhysicalExpr>) -> Self {
        Self { predicate }
    }
}

impl Operator for Filter {
    fn rows(&mut self, _input: usize, rows: Rows, out: &mut Outbox) -> Result<(), EngineError> {
        let keep = evaluate_predicate(self.predicate.as_ref(), &rows.columns, &mut out.failures)?;
        if keep.true_count() > 0 {
            out.rows.push(rows.filter(&keep)?);
        }
        Ok(())
    }

    without_memory!();
}

/// One expression per output column.
pub(super) struct Project {
    exprs: Vec<Arc<dyn PhysicalExpr>>,
    schema: SchemaRef,
}

impl Project {
    pub(super) fn new(exprs: Vec<Arc<dyn PhysicalExpr>>, schema: SchemaRef) -> Self {
        Self { exprs, schema }
    }
}

impl Operator for Project {
    fn rows(&mut self, _input: usize, rows: Rows, out: &mut Outbox) -> Result<(), EngineError> {
        let columns = project(&self.exprs, &self.schema, &rows.columns, &mut out.failures)?;
        out.rows.push(rows.with_columns(columns));
        Ok(())
    }

    without_memory!();
}

/// Evaluates one expression per column of `schema`.
pub(super) fn project(
    exprs: &[Arc<dyn PhysicalExpr>],
    schema: &SchemaRef,
    input: &RecordBatch,
    failures: &mut u64,
) -> Result<RecordBatch, EngineError> {
    let columns = exprs.iter().map(|expr| evaluate(expr.as_ref(), input, failures)).collect::<Result<Vec<_>, _>>()?;
    Ok(batch_of(Arc::clone(schema), conform(&columns, schema)?, input.num_rows())?)
}

/// The columns in the types that a schema promises. Planner and kernels differ at times in the kind of text they mean.
pub(super) fn conform(columns: &[ArrayRef], schema: &SchemaRef) -> Result<Vec<ArrayRef>, EngineError> {
    columns
        .iter()
        .zip(schema.fields())
        .map(|(column, field)| {
            if column.data_type() == field.data_type() {
                Ok(Arc::clone(column))
            } else {
                Ok(cast(column, field.data_type())?)
            }
        })
        .collect()
}

/// Adds the ends of each row's window.
pub(super) struct AssignWindow {
    kind: WindowKind,
    schema: SchemaRef,
}

impl AssignWindow {
    pub(super) fn new(kind: WindowKind, schema: SchemaRef) -> Self {
        Self { kind, schema }
    }
}

impl Operator for AssignWindow {
    fn rows(&mut self, _input: usize, rows: Rows, out: &mut Outbox) -> Result<(), EngineError> {
        let starts: TimestampMicrosecondArray = rows.time.unary(|time| self.kind.start_of(time));
        let ends: TimestampMicrosecondArray = starts.unary(|start| self.kind.end_of(start));
        let mut columns = rows.columns.columns().to_vec();
        columns.extend([Arc::new(starts) as ArrayRef, Arc::new(ends) as ArrayRef]);
        let columns = batch_of(Arc::clone(&self.schema), columns, rows.len())?;
        out.rows.push(rows.with_columns(columns));
        Ok(())
    }

    without_memory!();
}
