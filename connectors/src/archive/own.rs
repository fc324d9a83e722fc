//! The streams that Weir makes itself, read back for replays: their tables hold rows and no records, so what a source
//! batch has beside its columns is made here.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryViewArray, FixedSizeBinaryArray, RecordBatch, new_null_array};
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use arrow::error::ArrowError;
use datafusion::prelude::lit;
use futures::StreamExt;
use futures::stream::BoxStream;
use weir_engine::catalog::{TIME_TYPE, system};
use weir_engine::late_events::LATE_EVENTS;
use weir_engine::{ColumnSet, EventTime, LateReason, Stream, Uid};

use super::ArchiveError;
use super::replay::{ArchiveReader, parse_uid, scan_error};
use super::schema::{UID, conform_array, exact, time_range};
use super::tables::{TableSpec, late_events};

impl ArchiveReader {
    /// The rows of a stream that Weir makes itself, from `from` up to, and without, `to`, in the order of time.
    ///
    /// Shape: as [`scan`](Self::scan), up to `_uid`.
    ///
    /// # Errors
    /// The table cannot be read.
    pub async fn scan_own(
        &self,
        stream: &Arc<Stream>,
        from: Option<EventTime>,
        to: Option<EventTime>,
        columns: &ColumnSet,
    ) -> Result<BoxStream<'static, Result<RecordBatch, ArchiveError>>, ArchiveError> {
        let is_late = stream.name == LATE_EVENTS;
        let spec = if is_late { late_events() } else { TableSpec::of_own(stream) };
        let context = self.context(&spec.name)?;
        let provider = self.archive.provider(&spec).await?;
        let time = stream.event_time.as_str();
        let mut wanted = exact(time).is_not_null().and(time_range(time, from, to));
        if is_late {
            // What came behind a silence was late for operators and not for its clock, and no detection was told.
            wanted = wanted.and(exact("reason").not_eq(lit(LateReason::Idle.as_str())));
        }
        let mut order = vec![exact(time).sort(true, true)];
        order.extend(stream.event_id.iter().map(|id| exact(id).sort(true, true)));
        let rows = async { context.read_table(provider)?.filter(wanted)?.sort(order)?.execute_stream().await };
        let rows = scan_error(&spec.name, rows.await)?;
        let (stream, columns, table) = (Arc::clone(stream), columns.clone(), spec.name);
        let batches = rows.map(move |batch| {
            let batch = scan_error(&table, batch)?;
            let source = |source| ArchiveError::Rows { table: table.clone(), source };
            source_rows(&batch, &stream, &columns).map_err(source)
        });
        Ok(batches.boxed())
    }
}

/// Rows of the table as a source batch.
fn source_rows(batch: &RecordBatch, stream: &Stream, set: &ColumnSet) -> Result<RecordBatch, ArrowError> {
    let rows = batch.num_rows();
    let column = |name: &str, data_type: &DataType| match batch.column_by_name(name) {
        Some(column) => conform_array(column, data_type),
        None => Ok(new_null_array(data_type, rows)),
    };
    let mut fields: Vec<FieldRef> = set.columns.iter().cloned().collect();
    let mut columns =
        fields.iter().map(|field| column(field.name(), field.data_type())).collect::<Result<Vec<_>, _>>()?;
    let raw: ArrayRef = Arc::new(std::iter::repeat_n(Some(b""), rows).collect::<BinaryViewArray>());
    let further = [
        (system::TIME, column(&stream.event_time, &TIME_TYPE)?),
        (system::RAW, raw),
        (system::ARRIVAL, new_null_array(&TIME_TYPE, rows)),
        (UID, Arc::new(uids(batch, stream)?)),
    ];
    for (name, values) in further {
        let is_known = [system::TIME, system::RAW].contains(&name);
        fields.push(Arc::new(Field::new(name, values.data_type().clone(), !is_known)));
        columns.push(values);
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

/// The identity of each row: as the engine has it for late events, and of the row's own id for the others.
fn uids(batch: &RecordBatch, stream: &Stream) -> Result<FixedSizeBinaryArray, ArrowError> {
    let id = stream.event_id.as_deref().and_then(|id| batch.column_by_name(id));
    let id = id.ok_or_else(|| ArrowError::SchemaError(format!("`{}` has no id", stream.name)))?;
    let texts = conform_array(id, &DataType::Utf8View)?;
    let uid = |text: Option<&str>| {
        let text = text.ok_or_else(|| ArrowError::ParseError(format!("a row of `{}` has no id", stream.name)))?;
        match stream.name == LATE_EVENTS {
            true => parse_uid(text),
            false => Ok(Uid::of_record(&stream.name, text.as_bytes())),
        }
    };
    let uids = texts.as_string_view().iter().map(uid).collect::<Result<Vec<_>, _>>()?;
    FixedSizeBinaryArray::try_from_iter(uids.into_iter().map(|uid| uid.0))
}
