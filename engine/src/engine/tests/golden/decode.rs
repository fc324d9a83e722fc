//! JSON to columns, the obvious way: what a decoder does for streams, without its haste.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryViewArray, BooleanArray, Float64Array, Int64Array, ListArray, RecordBatch, StringViewArray,
    StructArray, TimestampMicrosecondArray, new_null_array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema};
use serde_json::{Map, Value};

use super::format::Event;
use crate::catalog::{Stream, TIME_TYPE, system};
use crate::{ColumnSet, PartitionId, SourceBatch};

pub(super) fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Rows as the columns of a schema.
pub(super) fn table(schema: &Arc<Schema>, rows: &[Value]) -> RecordBatch {
    let columns = schema.fields().iter().map(|field| named(field, rows)).collect();
    RecordBatch::try_new(Arc::clone(schema), columns).expect("columns fit their fields")
}

/// Events as a decoder hands them to the engine.
pub(super) fn source_batch(stream: &Stream, set: &ColumnSet, partition: PartitionId, events: &[Event]) -> SourceBatch {
    let values: Vec<Value> = events.iter().map(|event| json(&event.json)).collect();
    let mut fields: Vec<Field> = set.columns.iter().map(|field| field.as_ref().clone()).collect();
    let mut columns: Vec<ArrayRef> = set.columns.iter().map(|field| column(stream, field, &values)).collect();
    fields.extend([
        Field::new(system::TIME, TIME_TYPE, false),
        Field::new(system::RAW, DataType::BinaryView, false),
        Field::new(system::ARRIVAL, TIME_TYPE, true),
    ]);
    let raw: BinaryViewArray = events.iter().map(|event| Some(event.json.as_bytes())).collect();
    let times: Vec<Option<&Value>> = values.iter().map(|value| at_path(value, &stream.event_time)).collect();
    columns.extend([array(&TIME_TYPE, &times), Arc::new(raw), new_null_array(&TIME_TYPE, events.len())]);
    let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("columns fit their fields");
    SourceBatch { stream: stream.name.as_str().into(), partition, rows, late_us: None }
}

fn column(stream: &Stream, field: &Field, events: &[Value]) -> ArrayRef {
    let name = field.name();
    if stream.columns.iter().any(|declared| declared.name() == name) {
        return named(field, events);
    }
    if name == system::UNMAPPED {
        return Arc::new(events.iter().map(|event| unmapped(stream, event)).collect::<StringViewArray>());
    }
    if stream.open {
        let texts: Vec<Option<&Value>> =
            events.iter().map(|event| event.get(name).or_else(|| at_path(event, name))).collect();
        return array(field.data_type(), &texts);
    }
    panic!("no golden case reads `{name}`")
}

/// What the stream does not declare, as JSON.
fn unmapped(stream: &Stream, event: &Value) -> Option<String> {
    let is_declared = |name: &str| stream.columns.iter().any(|declared| declared.name() == name);
    let rest: Map<String, Value> =
        event.as_object()?.iter().filter(|(name, _)| !is_declared(name)).map(|(k, v)| (k.clone(), v.clone())).collect();
    (!rest.is_empty()).then(|| Value::Object(rest).to_string())
}

fn at_path<'v>(event: &'v Value, path: &str) -> Option<&'v Value> {
    path.split('.').try_fold(event, |value, name| value.get(name))
}

fn named(field: &Field, rows: &[Value]) -> ArrayRef {
    array(field.data_type(), &rows.iter().map(|row| row.get(field.name())).collect::<Vec<_>>())
}

/// Values as an array of the type; what does not fit is NULL.
fn array(data_type: &DataType, values: &[Option<&Value>]) -> ArrayRef {
    let present = || values.iter().map(|value| value.filter(|value| !value.is_null()));
    match data_type {
        DataType::Boolean => Arc::new(present().map(|value| value?.as_bool()).collect::<BooleanArray>()),
        DataType::Timestamp(_, _) => {
            Arc::new(present().map(|value| micros(value?)).collect::<TimestampMicrosecondArray>())
        }
        DataType::Float64 => Arc::new(present().map(|value| value?.as_f64()).collect::<Float64Array>()),
        DataType::Struct(fields) => {
            let nulls: NullBuffer = present().map(|value| value.is_some_and(Value::is_object)).collect();
            let children = fields
                .iter()
                .map(|field| {
                    let inner: Vec<_> = present().map(|value| value?.get(field.name())).collect();
                    array(field.data_type(), &inner)
                })
                .collect();
            Arc::new(StructArray::new(fields.clone(), children, Some(nulls)))
        }
        DataType::List(item) => {
            let lists: Vec<Option<&Vec<Value>>> = present().map(|value| value?.as_array()).collect();
            let items: Vec<Option<&Value>> = lists.iter().flatten().flat_map(|list| list.iter().map(Some)).collect();
            let lengths = OffsetBuffer::from_lengths(lists.iter().map(|list| list.map_or(0, Vec::len)));
            let nulls: NullBuffer = lists.iter().map(Option::is_some).collect();
            Arc::new(ListArray::new(Arc::clone(item), lengths, array(item.data_type(), &items), Some(nulls)))
        }
        DataType::Utf8View => Arc::new(present().map(|value| text(value?)).collect::<StringViewArray>()),
        other => {
            let numbers = Arc::new(present().map(|value| value?.as_i64()).collect::<Int64Array>()) as ArrayRef;
            cast(&numbers, other).expect("a type of whole numbers")
        }
    }
}

fn text(value: &Value) -> Option<String> {
    Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
}

/// The event time of a record.
pub(super) fn micros_of(event_time: &str, record: &str) -> Option<i64> {
    micros(at_path(&json(record), event_time)?)
}

/// Times stand in events as seconds.
fn micros(value: &Value) -> Option<i64> {
    value.as_i64().map(|seconds| seconds * 1_000_000).or_else(|| Some((value.as_f64()? * 1e6).round() as i64))
}
