//! An Arrow row as JSON, as people and other programs expect it: numbers as numbers, times as RFC 3339 in UTC, columns in
//! their order.

use arrow::array::{Array, ArrayRef, AsArray, GenericListArray, OffsetSizeTrait, RecordBatch, StructArray, make_array};
use arrow::compute::cast;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Date64Type, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Number, Value};

/// One row of a batch as a JSON object, its columns in their order.
///
/// Shape: integers are numbers, also beyond 2^53; NaN and infinities are null; timestamps are RFC 3339 in UTC with as
/// many digits as they need; structs are objects and lists are arrays; bytes are hexadecimal text; what JSON has no
/// word for is the text that Arrow shows.
#[must_use]
pub fn row_to_json(rows: &RecordBatch, index: usize) -> Map<String, Value> {
    let schema = rows.schema_ref();
    let columns = schema.fields().iter().zip(rows.columns());
    columns.map(|(field, column)| (field.name().clone(), value_to_json(column, index))).collect()
}

/// One value of an array as JSON, as [`row_to_json`] writes it.
#[must_use]
pub fn value_to_json(array: &dyn Array, index: usize) -> Value {
    if array.is_null(index) {
        return Value::Null;
    }
    match array.data_type() {
        DataType::Null => Value::Null,
        DataType::Boolean => array.as_boolean().value(index).into(),
        DataType::Int8 => number::<Int8Type>(array, index),
        DataType::Int16 => number::<Int16Type>(array, index),
        DataType::Int32 => number::<Int32Type>(array, index),
        DataType::Int64 => number::<Int64Type>(array, index),
        DataType::UInt8 => number::<UInt8Type>(array, index),
        DataType::UInt16 => number::<UInt16Type>(array, index),
        DataType::UInt32 => number::<UInt32Type>(array, index),
        DataType::UInt64 => number::<UInt64Type>(array, index),
        DataType::Float16 => float(array.as_primitive::<Float16Type>().value(index).to_f64()),
        DataType::Float32 => float32(array.as_primitive::<Float32Type>().value(index)),
        DataType::Float64 => float(array.as_primitive::<Float64Type>().value(index)),
        DataType::Utf8 => array.as_string::<i32>().value(index).into(),
        DataType::LargeUtf8 => array.as_string::<i64>().value(index).into(),
        DataType::Utf8View => array.as_string_view().value(index).into(),
        DataType::Binary => hex(array.as_binary::<i32>().value(index)),
        DataType::LargeBinary => hex(array.as_binary::<i64>().value(index)),
        DataType::BinaryView => hex(array.as_binary_view().value(index)),
        DataType::FixedSizeBinary(_) => hex(array.as_fixed_size_binary().value(index)),
        DataType::Timestamp(unit, _) => timestamp(array, *unit, index),
        DataType::Date32 => text(array.as_primitive::<Date32Type>().value_as_date(index)),
        DataType::Date64 => text(array.as_primitive::<Date64Type>().value_as_date(index)),
        DataType::Struct(_) => structure(array.as_struct(), index),
        DataType::List(_) => list::<i32>(array.as_list(), index),
        DataType::LargeList(_) => list::<i64>(array.as_list(), index),
        DataType::FixedSizeList(..) => items(&array.as_fixed_size_list().value(index)),
        DataType::Map(..) => map(&array.as_map().value(index)),
        DataType::Dictionary(_, values) => flattened(array, values, index),
        _ => shown(array, index),
    }
}

fn number<T: ArrowPrimitiveType>(array: &dyn Array, index: usize) -> Value
where
    Value: From<T::Native>,
{
    array.as_primitive::<T>().value(index).into()
}

fn float(value: f64) -> Value {
    Number::from_f64(value).map_or(Value::Null, Value::Number)
}

/// The shortest decimal that stands for the value, not the many digits of its double.
fn float32(value: f32) -> Value {
    value.to_string().parse().map_or(Value::Null, float)
}

fn hex(bytes: &[u8]) -> Value {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a String cannot fail.
        write!(text, "{byte:02x}").ok();
    }
    text.into()
}

fn text(value: Option<impl ToString>) -> Value {
    value.map_or(Value::Null, |value| value.to_string().into())
}

fn timestamp(array: &dyn Array, unit: TimeUnit, index: usize) -> Value {
    let time = match unit {
        TimeUnit::Second => array.as_primitive::<TimestampSecondType>().value_as_datetime(index),
        TimeUnit::Millisecond => array.as_primitive::<TimestampMillisecondType>().value_as_datetime(index),
        TimeUnit::Microsecond => array.as_primitive::<TimestampMicrosecondType>().value_as_datetime(index),
        TimeUnit::Nanosecond => array.as_primitive::<TimestampNanosecondType>().value_as_datetime(index),
    };
    time.map_or_else(|| shown(array, index), |time| rfc3339(time.and_utc()).into())
}

pub(crate) fn rfc3339(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

fn structure(array: &StructArray, index: usize) -> Value {
    let fields = array.fields().iter().zip(array.columns());
    Value::Object(fields.map(|(field, column)| (field.name().clone(), value_to_json(column, index))).collect())
}

fn list<O: OffsetSizeTrait>(array: &GenericListArray<O>, index: usize) -> Value {
    items(&array.value(index))
}

fn items(array: &ArrayRef) -> Value {
    (0..array.len()).map(|index| value_to_json(array, index)).collect()
}

/// A map with text keys is an object; the text of any other key is what Arrow shows.
fn map(entries: &StructArray) -> Value {
    let (keys, values) = (entries.column(0), entries.column(1));
    let key = |index| match value_to_json(keys, index) {
        Value::String(text) => text,
        other => other.to_string(),
    };
    Value::Object((0..entries.len()).map(|index| (key(index), value_to_json(values, index))).collect())
}

fn flattened(array: &dyn Array, values: &DataType, index: usize) -> Value {
    let one = make_array(array.to_data().slice(index, 1));
    cast(&one, values).map_or_else(|_| shown(array, index), |flat| value_to_json(&flat, 0))
}

fn shown(array: &dyn Array, index: usize) -> Value {
    let options = FormatOptions::default();
    ArrayFormatter::try_new(array, &options)
        .ok()
        .and_then(|formatter| formatter.value(index).try_to_string().ok())
        .map_or(Value::Null, Value::String)
}

#[cfg(test)]
mod tests;
