//! Hits as rows of the derived stream behind `FROM alerts`. Each id is delivered once.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StringViewArray};
use arrow::datatypes::{SchemaRef, UInt8Type};

use super::emit::HIT_COLUMNS;
use super::stateless::{conform, project, without_memory};
use super::{Operator, Outbox};
use crate::error::EngineError;
use crate::graph::PublishSpec;
use crate::rows::{Rows, batch_of};
use crate::table::TableVersion;
use crate::time::EventTime;

/// Turns the hits of one query into rows of the derived stream.
pub(super) struct Publish {
    spec: PublishSpec,
    schema: SchemaRef,
}

impl Publish {
    pub(super) fn new(spec: PublishSpec, schema: SchemaRef) -> Self {
        Self { spec, schema }
    }
}

impl Operator for Publish {
    fn rows(&mut self, _input: usize, rows: Rows, out: &mut Outbox) -> Result<(), EngineError> {
        let width = rows.columns.num_columns() - HIT_COLUMNS;
        let activity = rows.columns.column(width).as_primitive::<UInt8Type>();
        let is_final = rows.columns.column(width + 1).as_boolean();
        let exception = rows.columns.column(width + 4);
        let due: BooleanArray = (0..rows.len())
            .map(|row| {
                let is_due = if self.spec.at_create { activity.value(row) == 1 } else { is_final.value(row) };
                Some(is_due && exception.is_null(row))
            })
            .collect();
        let rows = rows.filter(&due)?;
        if rows.is_empty() {
            return Ok(());
        }
        let leading = rows.columns.columns()[..width].to_vec();
        let row = batch_of(Arc::clone(&self.spec.row_schema), leading, rows.len())?;
        let further = Arc::new(arrow::datatypes::Schema::new(self.schema.fields()[2..].to_vec()));
        let published = project(&self.spec.columns, &further, &row, &mut out.failures)?;
        let uids = rows.uids();
        let uid: StringViewArray =
            (0..rows.len()).map(|row| Some(crate::rows::uid_at(&uids, row).to_string())).collect();
        let mut columns: Vec<ArrayRef> = vec![Arc::new(rows.time.clone()), Arc::new(uid)];
        columns.extend(published.columns().iter().cloned());
        let columns = batch_of(Arc::clone(&self.schema), conform(&columns, &self.schema)?, rows.len())?;
        out.rows.push(rows.with_columns(columns));
        Ok(())
    }

    without_memory!();
}
