use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryViewArray, BooleanArray, Decimal128Array, DictionaryArray, Float32Array, Float64Array, Int64Array,
    ListArray, RecordBatch, StringViewArray, StructArray, TimestampMicrosecondArray, UInt64Array,
};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type};
use serde_json::{Value, json};

use super::row_to_json;

fn check(column: ArrayRef, expected: Value) {
    let rows = RecordBatch::try_from_iter([("x", column)]).expect("one column");
    let values: Vec<_> = (0..rows.num_rows()).map(|index| row_to_json(&rows, index)["x"].clone()).collect();
    assert_eq!(Value::Array(values), expected);
}

#[test]
fn numbers_stay_numbers_and_keep_all_their_digits() {
    check(Arc::new(Int64Array::from(vec![Some(i64::MAX), None])), json!([i64::MAX, null]));
    check(Arc::new(UInt64Array::from(vec![u64::MAX])), json!([u64::MAX]));
    check(Arc::new(Float32Array::from(vec![0.1])), json!([0.1]));
    check(Arc::new(Float64Array::from(vec![0.1, f64::NAN, f64::INFINITY, 1.0])), json!([0.1, null, null, 1.0]));
    let decimals = Decimal128Array::from(vec![12345]).with_precision_and_scale(10, 2).expect("a scale");
    check(Arc::new(decimals), json!(["123.45"]));
}

#[test]
fn times_are_rfc_3339_with_as_many_digits_as_needed() {
    let times = vec![0, 1_500_000, 1_000_001, -1_000_000, 253_402_300_799_000_000];
    let expected = json!([
        "1970-01-01T00:00:00Z",
        "1970-01-01T00:00:01.500Z",
        "1970-01-01T00:00:01.000001Z",
        "1969-12-31T23:59:59Z",
        "9999-12-31T23:59:59Z",
    ]);
    check(Arc::new(TimestampMicrosecondArray::from(times.clone())), expected.clone());
    check(Arc::new(TimestampMicrosecondArray::from(times).with_timezone("+02:00")), expected);
}

#[test]
fn nested_values_are_objects_and_arrays() {
    let name: ArrayRef = Arc::new(StringViewArray::from(vec![Some("ann"), None]));
    let admin: ArrayRef = Arc::new(BooleanArray::from(vec![true, false]));
    let user = StructArray::from(vec![
        (Arc::new(Field::new("name", DataType::Utf8View, true)), name),
        (Arc::new(Field::new("admin", DataType::Boolean, true)), admin),
    ]);
    check(Arc::new(user), json!([{"name": "ann", "admin": true}, {"name": null, "admin": false}]));
    let ports = ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(22), None]), None]);
    check(Arc::new(ports), json!([[22, null], null]));
}

#[test]
fn bytes_are_hexadecimal_and_dictionaries_are_their_values() {
    check(Arc::new(BinaryViewArray::from(vec![b"\x00\xff".as_ref()])), json!(["00ff"]));
    let words: DictionaryArray<Int32Type> = ["a", "b", "a"].into_iter().collect();
    check(Arc::new(words), json!(["a", "b", "a"]));
}

#[test]
fn columns_keep_their_order() {
    let one: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let rows =
        RecordBatch::try_from_iter([("z", Arc::clone(&one)), ("a", Arc::clone(&one)), ("m", one)]).expect("rows");
    assert_eq!(Value::Object(row_to_json(&rows, 0)).to_string(), r#"{"z":1,"a":1,"m":1}"#);
}
