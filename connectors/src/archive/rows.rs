//! Rows of the tables that are no streams, from what the other rooms say.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryViewArray, BooleanArray, FixedSizeBinaryArray, Int32Array, Int64Array, RecordBatch,
    StringViewArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::error::ArrowError;
use serde_json::{Map, Value};
use weir_engine::catalog::system;
use weir_engine::{ColumnSet, EngineError, EventTime, SourceBatch, Stream, Uid, record_uids};

use super::schema::UID;
use super::tables::{TableSpec, dead_letters, late_events};
use crate::decode::EVENT_ID;

/// What has to be decoded of a stream so that its events can be archived: everything it declares, and where each event
/// came from.
#[must_use]
pub fn event_columns(stream: &Stream) -> ColumnSet {
    let archived = TableSpec::of_stream(stream);
    // The time, the arrival and the raw bytes are in every source batch, and the identity is made of them.
    let given = [system::TIME, system::ARRIVAL, system::RAW, UID];
    let columns = archived.columns.iter().filter(|field| !given.contains(&field.name().as_str()));
    ColumnSet { columns: columns.cloned().collect() }
}

/// The rows of a stream's table, from decoded events: with their identity, and with their raw bytes only if those are to
/// be kept.
///
/// # Errors
/// The batch has no raw bytes to make identities of.
pub fn event_rows(batch: &SourceBatch, keeps_raw: bool) -> Result<RecordBatch, EngineError> {
    let uids: ArrayRef = match batch.rows.column_by_name(UID) {
        Some(uids) => Arc::clone(uids),
        None => Arc::new(record_uids(batch)?),
    };
    let is_kept = |name: &str| match name {
        system::RAW => keeps_raw,
        // The sender's own id has gone into the identity.
        UID | EVENT_ID => false,
        _ => true,
    };
    let rows = &batch.rows;
    let kept = rows.schema_ref().fields().iter().zip(rows.columns()).filter(|(field, _)| is_kept(field.name()));
    let (mut fields, mut columns): (Vec<FieldRef>, Vec<ArrayRef>) =
        kept.map(|(field, column)| (Arc::clone(field), Arc::clone(column))).unzip();
    fields.push(Arc::new(Field::new(UID, uids.data_type().clone(), true)));
    columns.push(uids);
    let reason = |error: ArrowError| EngineError::Batch { stream: batch.stream.to_string(), reason: error.to_string() };
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(reason)
}

/// A record that could not become an event.
#[derive(Debug, Clone, Copy)]
pub struct DeadLetterRow<'a> {
    /// When it was seen.
    pub time: EventTime,
    /// The stream it was meant for.
    pub stream: &'a str,
    /// Kafka topic, or the name of the file.
    pub topic: &'a str,
    /// Kafka partition, or 0.
    pub partition: i32,
    /// Kafka offset, or the line of the file.
    pub offset: i64,
    /// The stable word for why.
    pub reason: &'a str,
    /// Why, in words.
    pub detail: &'a str,
    /// Its bytes.
    pub raw: &'a [u8],
}

/// An event that stateful operators did not see.
#[derive(Debug, Clone, Copy)]
pub struct LateEventRow<'a> {
    /// What it was late against.
    pub time: EventTime,
    /// Its identity.
    pub uid: Uid,
    /// Its stream.
    pub stream: &'a str,
    /// Its own time.
    pub event_time: EventTime,
    /// How far that is behind, in milliseconds.
    pub late_ms: i64,
    /// The stable word for why.
    pub reason: &'a str,
    /// Kafka topic, or the name of the file.
    pub topic: &'a str,
    /// Kafka partition, or 0.
    pub partition: i32,
}

/// Rows of the table of dead letters.
///
/// # Errors
/// None in practice; Arrow checks the columns.
pub fn dead_letter_rows(rows: &[DeadLetterRow<'_>]) -> Result<RecordBatch, ArrowError> {
    batch(
        &dead_letters(),
        vec![
            times(rows.iter().map(|row| Some(row.time))),
            texts(rows.iter().map(|row| row.stream)),
            texts(rows.iter().map(|row| row.topic)),
            Arc::new(Int32Array::from_iter_values(rows.iter().map(|row| row.partition))),
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.offset))),
            texts(rows.iter().map(|row| row.reason)),
            texts(rows.iter().map(|row| row.detail)),
            Arc::new(BinaryViewArray::from_iter_values(rows.iter().map(|row| row.raw))),
        ],
    )
}

/// Rows of the table of late events.
///
/// # Errors
/// None in practice; Arrow checks the columns.
pub fn late_event_rows(rows: &[LateEventRow<'_>]) -> Result<RecordBatch, ArrowError> {
    let uids = FixedSizeBinaryArray::try_from_sparse_iter_with_size(rows.iter().map(|row| Some(row.uid.0)), 16)?;
    batch(
        &late_events(),
        vec![
            times(rows.iter().map(|row| Some(row.time))),
            Arc::new(uids),
            texts(rows.iter().map(|row| row.stream)),
            times(rows.iter().map(|row| Some(row.event_time))),
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.late_ms))),
            texts(rows.iter().map(|row| row.reason)),
            texts(rows.iter().map(|row| row.topic)),
            Arc::new(Int32Array::from_iter_values(rows.iter().map(|row| row.partition))),
        ],
    )
}

/// Rows of the table of alerts as `spec` has it, from OCSF Detection Findings. `epoch` is the one they were put out in.
///
/// # Errors
/// None in practice; Arrow checks the columns.
pub fn alert_rows(spec: &TableSpec, records: &[Value], epoch: u64) -> Result<RecordBatch, ArrowError> {
    let row = |record| {
        let values = spec.columns.iter().map(|field| (field.name().clone(), alert_value(record, field.name(), epoch)));
        Value::Object(values.collect::<Map<_, _>>())
    };
    let rows: Vec<Value> = records.iter().map(row).collect();
    json_rows(spec, &rows)
}

/// The value of one typed column of an alert record, from the place where OCSF keeps it.
fn alert_value(record: &Value, name: &str, epoch: u64) -> Value {
    let at = |pointer: &str| record.pointer(pointer).cloned().unwrap_or(Value::Null);
    let json = |value: Value| {
        if value.is_null() { value } else { Value::String(value.to_string()) }
    };
    match name {
        "uid" | "title" => at(&format!("/finding_info/{name}")),
        "detection" => at("/finding_info/analytic/uid"),
        "severity" => at("/severity").as_str().map_or(Value::Null, |word| word.to_lowercase().into()),
        "confidence" => at("/confidence_score"),
        "attack" => attacks(record),
        "time" | "message" | "severity_id" | "risk_score" | "activity_id" | "status_id" | "count" => {
            at(&format!("/{name}"))
        }
        "suppressed_by" | "exception" => at(&format!("/unmapped/weir/{name}")),
        "late" => at("/unmapped/weir/late").as_bool().unwrap_or(false).into(),
        "entities" => json(at("/unmapped/weir/entities")),
        "data" => json(at("/evidences/0/data")),
        "record" => Value::String(record.to_string()),
        "epoch" => epoch.into(),
        kind => at("/unmapped/weir/entities").get(kind).cloned().unwrap_or(Value::Null),
    }
}

/// ATT&CK ids joined by commas, the most exact one of each.
fn attacks(record: &Value) -> Value {
    let Some(attacks) = record.pointer("/finding_info/attacks").and_then(Value::as_array) else {
        return Value::Null;
    };
    let id = |attack: &Value| {
        let exact = ["/sub_technique/uid", "/technique/uid", "/tactic/uid"];
        exact.iter().find_map(|pointer| attack.pointer(pointer)?.as_str().map(str::to_owned))
    };
    attacks.iter().filter_map(id).collect::<Vec<_>>().join(",").into()
}

/// Rows of any table from JSON objects with its columns as keys; keys it has not are left out, a value of another type
/// is NULL. Times are RFC 3339 text, or milliseconds since 1970 as OCSF writes them; columns of bytes stay NULL.
///
/// # Errors
/// None in practice; Arrow checks the columns.
pub fn json_rows(spec: &TableSpec, rows: &[Value]) -> Result<RecordBatch, ArrowError> {
    let columns = spec.columns.iter().map(|field| json_column(field, rows)).collect();
    batch(spec, columns)
}

fn json_column(field: &Field, rows: &[Value]) -> ArrayRef {
    let values = rows.iter().map(|row| row.get(field.name()).filter(|value| !value.is_null()));
    match field.data_type() {
        DataType::Utf8View => Arc::new(StringViewArray::from_iter(values.map(|value| value.map(text)))),
        DataType::Int64 => Arc::new(Int64Array::from_iter(values.map(|value| value.and_then(Value::as_i64)))),
        DataType::Boolean => Arc::new(BooleanArray::from_iter(values.map(|value| value.and_then(Value::as_bool)))),
        DataType::Int32 => {
            let number = |value: &Value| value.as_i64().and_then(|number| i32::try_from(number).ok());
            Arc::new(Int32Array::from_iter(values.map(|value| value.and_then(number))))
        }
        DataType::Timestamp(..) => times(values.map(|value| value.and_then(time))),
        DataType::FixedSizeBinary(16) => {
            let uids = values.map(|value| value.and_then(Value::as_str).and_then(|uid| uid.parse::<Uid>().ok()));
            let made = FixedSizeBinaryArray::try_from_sparse_iter_with_size(uids.map(|uid| uid.map(|uid| uid.0)), 16);
            made.map_or_else(|_| arrow::array::new_null_array(field.data_type(), rows.len()), |uids| Arc::new(uids))
        }
        other => arrow::array::new_null_array(other, rows.len()),
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn time(value: &Value) -> Option<EventTime> {
    match value {
        Value::String(text) => {
            chrono::DateTime::parse_from_rfc3339(text).ok().map(|time| EventTime(time.timestamp_micros()))
        }
        other => other.as_i64().map(|millis| EventTime(millis.saturating_mul(1000))),
    }
}

fn times(values: impl Iterator<Item = Option<EventTime>>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from_iter(values.map(|time| time.map(|time| time.0))))
}

fn texts<'a>(values: impl Iterator<Item = &'a str>) -> ArrayRef {
    Arc::new(StringViewArray::from_iter_values(values))
}

fn batch(spec: &TableSpec, columns: Vec<ArrayRef>) -> Result<RecordBatch, ArrowError> {
    let schema: SchemaRef = Arc::new(Schema::new(spec.columns.clone()));
    RecordBatch::try_new(schema, columns)
}
