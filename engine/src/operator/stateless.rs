//! Operators without memory: select, filter, project, union and the assignment of windows.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, TimestampMicrosecondArray, UInt64Array, new_null_array};
use arrow::compute::{cast, not, or};
use arrow::datatypes::SchemaRef;
use datafusion::physical_expr::PhysicalExpr;

use super::{Operator, Outbox};
use crate::catalog::TIME_TYPE;
use crate::error::EngineError;
use crate::identity::Uid;
use crate::rows::{Identity, Rows, batch_of, uid_array};
use crate::sql::total::{evaluate, evaluate_predicate};
use crate::sql::window_kind::WindowKind;
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

        fn state_bytes(&self) -> usize {
            0
        }

        fn save(&mut self, _scope: crate::snapshot::Scope) -> Result<crate::snapshot::Saved, EngineError> {
            Ok(crate::snapshot::Saved::default())
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
        if let Some(withdrawn) = &rows.withdrawn {
            // Whoever was told that it holds must hear that it does not.
            let withdrawn = or(withdrawn, &not(&keep)?)?;
            out.rows.push(Rows { withdrawn: Some(withdrawn), ..rows });
            return Ok(());
        }
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

/// Adds the ends of each row's window. A row that is in several windows becomes several rows, unless an aggregate reads
/// them: it has the windows from the rows' times, and the ends stay empty.
pub(super) struct AssignWindow {
    kind: WindowKind,
    expands: bool,
    schema: SchemaRef,
}

impl AssignWindow {
    pub(super) fn new(kind: WindowKind, expands: bool, schema: SchemaRef) -> Self {
        Self { kind, expands, schema }
    }

    /// One row per window, with an identity of its own.
    fn expanded(&self, rows: &Rows) -> Result<(Rows, Vec<(i64, i64)>), EngineError> {
        let mut origins: Vec<u64> = vec![];
        let mut windows: Vec<(i64, i64)> = vec![];
        for (row, time) in rows.time.values().iter().enumerate() {
            for window in self.kind.windows_of(*time) {
                origins.push(row as u64);
                windows.push(window);
            }
        }
        let uids: Vec<Uid> = origins
            .iter()
            .zip(&windows)
            .map(|(row, (start, end))| {
                let uid = rows.uid(*row as usize);
                Uid::of_cause([b"windowed row".as_slice(), &uid.0, &start.to_le_bytes(), &end.to_le_bytes()])
            })
            .collect();
        let expanded = rows.take(&UInt64Array::from(origins))?;
        Ok((Rows { identity: Identity::Uid(uid_array(uids.into_iter())), ..expanded }, windows))
    }
}

impl Operator for AssignWindow {
    fn rows(&mut self, _input: usize, rows: Rows, out: &mut Outbox) -> Result<(), EngineError> {
        let is_plain = matches!(self.kind, WindowKind::Tumble { .. });
        let (rows, ends): (Rows, [ArrayRef; 2]) = if is_plain {
            let ends: TimestampMicrosecondArray =
                rows.time.unary(|time| self.kind.first_end(time, i64::MIN).unwrap_or(time));
            let starts: TimestampMicrosecondArray = ends.unary(|end| self.kind.start_of(end));
            (rows, [Arc::new(starts), Arc::new(ends)])
        } else if self.expands {
            let (rows, windows) = self.expanded(&rows)?;
            let starts = windows.iter().map(|(start, _)| Some(*start)).collect::<TimestampMicrosecondArray>();
            let ends = windows.iter().map(|(_, end)| Some(*end)).collect::<TimestampMicrosecondArray>();
            (rows, [Arc::new(starts), Arc::new(ends)])
        } else {
            let empty = new_null_array(&TIME_TYPE, rows.len());
            (rows, [Arc::clone(&empty), empty])
        };
        if rows.is_empty() {
            return Ok(());
        }
        let mut columns = rows.columns.columns().to_vec();
        columns.extend(ends);
        let columns = batch_of(Arc::clone(&self.schema), columns, rows.len())?;
        out.rows.push(rows.with_columns(columns));
        Ok(())
    }

    without_memory!();
}
