//! Saved rows of a `SELECT` that was edited since.

use arrow::array::{Array, ArrayRef, RecordBatch, new_null_array};
use arrow::datatypes::SchemaRef;

use crate::error::EngineError;
use crate::rows::batch_of;

/// The same rows under another schema: columns by name, NULL in those that are new or have another type now.
pub(super) fn refit(rows: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, EngineError> {
    if rows.schema().fields() == schema.fields() {
        return Ok(rows.clone());
    }
    let column = |name: &str| rows.schema().index_of(name).ok().map(|at| rows.column(at));
    let columns = schema.fields().iter().map(|field| -> ArrayRef {
        let saved = column(field.name()).filter(|saved| saved.data_type() == field.data_type());
        saved.cloned().unwrap_or_else(|| new_null_array(field.data_type(), rows.num_rows()))
    });
    Ok(batch_of(schema.clone(), columns.collect(), rows.num_rows())?)
}
