//! Claims about decoding.

mod twin;

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{
    DataType, Date32Type, Field, Fields, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType,
};
use serde_json::{Value, json};
use weir_engine::catalog::{Format, Stream, TIME_TYPE};
use weir_engine::{ColumnSet, EventTime};

use super::*;
use crate::position::Position;

fn field(name: &str, data_type: DataType) -> Arc<Field> {
    Arc::new(Field::new(name, data_type, true))
}

fn user_type() -> DataType {
    let org = DataType::Struct(vec![field("id", DataType::Int64), field("name", DataType::Utf8View)].into());
    DataType::Struct(vec![field("name", DataType::Utf8View), field("org", org)].into())
}

fn declared() -> Vec<Arc<Field>> {
    let item = DataType::Struct(vec![field("k", DataType::Utf8View), field("v", DataType::Int64)].into());
    vec![
        field("time", TIME_TYPE),
        field("text", DataType::Utf8View),
        field("number", DataType::Int64),
        field("small", DataType::Int32),
        field("float", DataType::Float64),
        field("flag", DataType::Boolean),
        field("day", DataType::Date32),
        field("user", user_type()),
        field("tags", DataType::List(field("item", DataType::Utf8View))),
        field("items", DataType::List(field("item", item))),
    ]
}

fn stream() -> Stream {
    Stream {
        name: "s".into(),
        columns: declared().into(),
        open: false,
        topics: Vec::new(),
        format: Format::Json,
        event_time: "time".into(),
        time_zone: chrono_tz::Tz::UTC,
        lateness_us: 0,
        future_guard_us: 0,
        event_id: None,
        tenant: None,
    }
}

fn set(fields: Vec<Arc<Field>>) -> ColumnSet {
    ColumnSet { columns: fields.into() }
}

fn position() -> Position {
    Position { topic: "t".into(), partition: 3, offset: 7 }
}

fn decode(stream: Stream, columns: Vec<Arc<Field>>, lines: &[&[u8]]) -> (RecordBatch, Vec<RejectReason>) {
    let mut decoder = Decoder::new(Arc::new(stream), set(columns)).expect("columns exist");
    let position = position();
    let rejects = lines.iter().filter_map(|line| decoder.push(&Record::new(line, &position)).err());
    let rejects = rejects.map(|reject| reject.reason).collect();
    (decoder.finish().expect("a well-formed batch"), rejects)
}

/// One record whose event time is fine; the value of one column.
fn one(column: &str, json: &str) -> Value {
    let columns = declared().into_iter().filter(|field| field.name() == column).collect();
    let line = format!(r#"{{"time":"2020-01-02T03:04:05Z",{}"#, &json[1..]);
    let (batch, rejects) = decode(stream(), columns, &[line.as_bytes()]);
    assert_eq!(rejects, [], "{line}");
    cell(batch.column(0), 0)
}

/// A cell as JSON, so that it can be compared and read.
fn cell(array: &dyn Array, row: usize) -> Value {
    if array.is_null(row) {
        return Value::Null;
    }
    match array.data_type() {
        DataType::Utf8View => array.as_string_view().value(row).into(),
        DataType::BinaryView => String::from_utf8_lossy(array.as_binary_view().value(row)).into(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row).into(),
        DataType::Int32 => array.as_primitive::<Int32Type>().value(row).into(),
        DataType::Float64 => array.as_primitive::<Float64Type>().value(row).into(),
        DataType::Boolean => array.as_boolean().value(row).into(),
        DataType::Date32 => array.as_primitive::<Date32Type>().value(row).into(),
        DataType::Timestamp(..) => array.as_primitive::<TimestampMicrosecondType>().value(row).into(),
        DataType::Struct(fields) => {
            let columns = array.as_struct().columns();
            fields.iter().zip(columns).map(|(field, column)| (field.name().clone(), cell(column, row))).collect()
        }
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(row);
            (0..items.len()).map(|item| cell(&items, item)).collect()
        }
        other => panic!("no cell of type {other}"),
    }
}

#[test]
fn values_are_read_as_their_declared_type() {
    assert_eq!(one("number", r#"{"number":4624}"#), json!(4624));
    assert_eq!(one("number", r#"{"number":"4624"}"#), json!(4624));
    assert_eq!(one("number", r#"{"number":4624.0}"#), json!(4624));
    assert_eq!(one("number", r#"{"number":9223372036854775807}"#), json!(i64::MAX));
    assert_eq!(one("number", r#"{"number":-0}"#), json!(0));
    assert_eq!(one("float", r#"{"float":"1.5"}"#), json!(1.5));
    assert_eq!(one("flag", r#"{"flag":"True"}"#), json!(true));
    assert_eq!(one("flag", r#"{"flag":false}"#), json!(false));
    assert_eq!(one("day", r#"{"day":"2020-01-02"}"#), json!(18263));
    assert_eq!(one("time", r#"{"x":1}"#), json!(1_577_934_245_000_000_i64));
    assert_eq!(one("tags", r#"{"tags":["a",1,null,{"b": 2}]}"#), json!(["a", "1", null, "{\"b\":2}"]));
    assert_eq!(
        one("items", r#"{"items":[{"k":"a","v":"1"},{"v":2,"v":3},7,{}]}"#),
        json!([{"k":"a","v":1},{"k":null,"v":3},null,{"k":null,"v":null}])
    );
    assert_eq!(
        one("user", r#"{"user":{"org":{"name":"o","id":1},"name":"n"}}"#),
        json!({"name":"n","org":{"id":1,"name":"o"}})
    );
}

#[test]
fn any_value_in_a_text_column_is_its_json_text() {
    for (json, text) in [
        (r#""plain""#, "plain"),
        (r#""longer than twelve bytes""#, "longer than twelve bytes"),
        (r#""C:\\Windows\\\u0000\ud83d\ude00""#, "C:\\Windows\\\0😀"),
        ("1e400", "1e400"),
        ("-0", "-0"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        ("true", "true"),
        (r#"{ "a" : [ 1 , "x y" ] }"#, r#"{"a":[1,"x y"]}"#),
        ("[]", "[]"),
        (r#""""#, ""),
    ] {
        assert_eq!(one("text", &format!(r#"{{"text":{json}}}"#)), json!(text));
    }
    assert_eq!(one("text", r#"{"text":null}"#), Value::Null);
}

#[test]
fn a_value_that_does_not_fit_is_null_and_counted() {
    let columns = declared();
    let mut decoder = Decoder::new(Arc::new(stream()), set(columns)).expect("columns exist");
    let line = br#"{"time":1577934245,"number":"4624x","small":3000000000,"float":1e400,"flag":1,"day":"no","user":[],"tags":"x","text":null}"#;
    decoder.push(&Record::new(line, &position())).expect("accepted");
    let misfits: Vec<_> = decoder.take_misfits();
    let expected = ["number", "small", "float", "flag", "day", "user", "tags"];
    assert_eq!(misfits, expected.map(|column| (column.into(), 1)));
    assert_eq!(decoder.take_misfits(), [], "each is told once");
    let batch = decoder.finish().expect("a well-formed batch");
    assert!((1..batch.num_columns() - 3).all(|column| batch.column(column).is_null(0)));
}

#[test]
fn a_part_that_does_not_fit_is_counted_by_its_path() {
    let mut decoder = Decoder::new(Arc::new(stream()), set(declared())).expect("columns exist");
    for line in [
        r#"{"time":1577934245,"user":{"name":7,"org":{"id":"x","more":1}},"items":[{"k":1,"v":"y"},7,{"v":[]},{"v":"3"}]}"#,
        r#"{"time":1577934245,"user":{"org":"none"},"items":{},"number":"x"}"#,
        r#"{"time":1577934245,"user":{"org":{"id":"1","id":"z"}},"items":null,"tags":[1,{}]}"#,
    ] {
        decoder.push(&Record::new(line.as_bytes(), &position())).expect("accepted");
    }
    // Text takes anything, and of a repeated key the last value counts.
    let expected = [("number", 1), ("items", 1), ("items[]", 1), ("items[].v", 2), ("user.org", 1), ("user.org.id", 2)];
    assert_eq!(decoder.take_misfits(), expected.map(|(path, count)| (path.into(), count)));
    assert_eq!(decoder.take_misfits(), [], "each is told once");
}

#[test]
fn of_a_repeated_key_the_last_value_counts() {
    assert_eq!(one("text", r#"{"text":"a","te\u0078t":"b"}"#), json!("b"));
    assert_eq!(
        one("user", r#"{"user":{"name":"a","org":{"id":1}},"user":{"org":{}}}"#),
        json!({"name":null,"org":{"id":null,"name":null}})
    );
    assert_eq!(one("user", r#"{"user":{"name":"a"},"user":null}"#), Value::Null);
    assert_eq!(one("user", r#"{"user":{"name":"a"},"user":{}}"#), json!({"name":null,"org":null}));
}

#[test]
fn a_broken_record_is_refused_with_a_reason_and_leaves_nothing() {
    let deep = format!(r#"{{"time":1,"a":{}}}"#, "[".repeat(200));
    let large = format!(r#"{{"time":1,"a":"{}"}}"#, "x".repeat(1 << 20));
    let cases: Vec<(&[u8], RejectReason)> = vec![
        (b"", RejectReason::Empty),
        (b" \r", RejectReason::Empty),
        (br#"{"time":1577934245,"text":"a"#, RejectReason::TruncatedJson),
        (br#"{"time":1577934245,"text":}"#, RejectReason::InvalidJson),
        (br#"{"time":1577934245} {"#, RejectReason::TrailingData),
        (b"{\"time\":1577934245,\"text\":\"\xff\"}", RejectReason::InvalidUtf8),
        (b"[1]", RejectReason::NotAnObject),
        (b"\"x\"", RejectReason::NotAnObject),
        (b"<30>syslog", RejectReason::InvalidJson),
        (deep.as_bytes(), RejectReason::TooDeep),
        (large.as_bytes(), RejectReason::TooLarge),
        (br#"{"text":"a"}"#, RejectReason::MissingTime),
        (br#"{"time":null,"text":"a"}"#, RejectReason::MissingTime),
        (br#"{"time":"soon"}"#, RejectReason::BadTime),
        (br#"{"time":{}}"#, RejectReason::BadTime),
        (br#"{"time":"1969-12-31T23:59:59Z"}"#, RejectReason::TimeOutOfRange),
        (br#"{"time":-1}"#, RejectReason::TimeOutOfRange),
        (br#"{"time":"2200-01-01"}"#, RejectReason::TimeOutOfRange),
    ];
    let good: &[u8] = br#"{"time":1577934245,"text":"good"}"#;
    for (bad, reason) in &cases {
        let (batch, rejects) = decode(stream(), declared(), &[good, bad, good]);
        assert_eq!(rejects, [*reason], "{}", String::from_utf8_lossy(&bad[..bad.len().min(60)]));
        assert_eq!(batch.num_rows(), 2);
        assert_eq!(cell(batch.column(1), 1), json!("good"));
    }
}

#[test]
fn the_first_and_the_last_instant_are_times() {
    for (line, us) in [
        (r#"{"time":0}"#, 0),
        (r#"{"time":"1970-01-01T00:00:00Z"}"#, 0),
        (r#"{"time":"2199-12-31T23:59:59.999999Z"}"#, 7_258_118_399_999_999_i64),
    ] {
        let (batch, rejects) = decode(stream(), Vec::new(), &[line.as_bytes()]);
        assert_eq!((cell(batch.column(0), 0), rejects), (json!(us), vec![]), "{line}");
    }
}

#[test]
fn the_event_time_may_lie_deep_and_have_any_type() {
    for (path, line) in [
        ("user.name", r#"{"user":{"name":"2020-01-02 04:04:05"}}"#),
        ("number", r#"{"number":1577934245000}"#),
        ("text", r#"{"text":"2020-01-02T03:04:05\u005a"}"#),
        ("float", r#"{"float":1577934245.0}"#),
    ] {
        let stream = Stream { event_time: path.into(), time_zone: chrono_tz::Tz::Europe__Berlin, ..stream() };
        let (batch, rejects) = decode(stream, Vec::new(), &[line.as_bytes()]);
        assert_eq!((cell(batch.column(0), 0), rejects), (json!(1_577_934_245_000_000_i64), vec![]), "{line}");
    }
}

#[test]
fn an_open_stream_reads_a_key_before_a_path() {
    let stream = Stream { open: true, ..stream() };
    let columns =
        vec![field("a.b", DataType::Utf8View), field("a", DataType::Utf8View), field("c", DataType::Utf8View)];
    let lines: [&[u8]; 3] = [
        br#"{"time":1577934245,"a":{"b":1}}"#,
        br#"{"a":{"b":1},"time":1577934245,"a.b":"x"}"#,
        br#"{"time":1577934245,"c":[1, 2]}"#,
    ];
    let (batch, _) = decode(stream, columns, &lines);
    let rows: Vec<Vec<Value>> =
        (0..3).map(|row| (0..3).map(|column| cell(batch.column(column), row)).collect()).collect();
    assert_eq!(rows[0], [json!("1"), json!("{\"b\":1}"), Value::Null]);
    assert_eq!(rows[1], [json!("x"), json!("{\"b\":1}"), Value::Null]);
    assert_eq!(rows[2], [Value::Null, Value::Null, json!("[1,2]")]);
}

#[test]
fn undeclared_fields_are_kept_and_declared_ones_are_not() {
    let columns = vec![field("unmapped", DataType::Utf8View)];
    let lines: [&[u8]; 2] =
        [br#"{"x":"a b","time":1577934245,"y":{ "z" : null },"text":"t","x":2}"#, br#"{"time":1577934245,"text":"t"}"#];
    let (batch, _) = decode(stream(), columns, &lines);
    assert_eq!(cell(batch.column(0), 0), json!(r#"{"y":{"z":null},"x":2}"#));
    assert_eq!(cell(batch.column(0), 1), Value::Null);
}

/// What is left over of a record, whatever columns are read beside it.
fn left_over_of(members: &str) -> Value {
    let line = format!(r#"{{"time":1577934245,{members}}}"#);
    let unmapped = field("unmapped", DataType::Utf8View);
    let alone = vec![Arc::clone(&unmapped)];
    let after = declared().into_iter().chain([Arc::clone(&unmapped)]).collect();
    let before = [unmapped].into_iter().chain(declared()).collect();
    let found = [alone, after, before].map(|columns: Vec<Arc<Field>>| {
        let at = columns.iter().position(|field| field.name() == "unmapped").expect("asked for");
        let (batch, rejects) = decode(stream(), columns, &[line.as_bytes()]);
        assert_eq!(rejects, [], "{line}");
        cell(batch.column(at), 0)
    });
    assert!(found.iter().all(|text| *text == found[0]), "{line}: {found:?}");
    found[0].as_str().map_or(Value::Null, |text| serde_json::from_str(text).expect("JSON"))
}

#[test]
fn a_value_that_does_not_fit_its_column_is_kept() {
    for (members, kept) in [
        (r#""number":"4624x","small":3000000000,"x":1"#, r#"{"x":1,"number":"4624x","small":3000000000}"#),
        (
            r#""float":"1e400","flag":1,"day":"no","user":[],"tags":"x""#,
            r#"{"float":"1e400","flag":1,"day":"no","user":[],"tags":"x"}"#,
        ),
        (r#""number":"4624","small":-1.0,"float":"1e3","flag":"TRUE","day":"2020-01-02","text":7,"user":null"#, "null"),
        (r#""n\u0075mber":"a \"quoted\" text""#, r#"{"number":"a \"quoted\" text"}"#),
        (r#""number":"x","number":7"#, "null"),
        (r#""number":7,"number":"x""#, r#"{"number":"x"}"#),
    ] {
        assert_eq!(left_over_of(members), serde_json::from_str::<Value>(kept).expect("JSON"), "{members}");
    }
}

#[test]
fn of_an_object_only_what_is_left_over_is_kept_and_of_a_list_all() {
    for (members, kept) in [
        (r#""user":{"name":"n","org":{"id":1,"name":"o"}}"#, "null"),
        (
            r#""user":{"name":"n","uid":"S-1-5","org":{"id":"x","name":"o"}}"#,
            r#"{"user":{"uid":"S-1-5","org":{"id":"x"}}}"#,
        ),
        (r#""user":{"n\u0061me":"n","a\tb":[ 1 ]}"#, r#"{"user":{"a\tb":[1]}}"#),
        (r#""user":{"org":7}"#, r#"{"user":{"org":7}}"#),
        (r#""user":{"uid":1,"uid":2}"#, r#"{"user":{"uid":2}}"#),
        (r#""user":{"uid":1},"user":{"name":"n"}"#, "null"),
        (r#""items":[{"k":"a","v":1},{},null]"#, "null"),
        (r#""items":[{"k":"a","v":1},{"v":"x"}]"#, r#"{"items":[{"k":"a","v":1},{"v":"x"}]}"#),
        (r#""items":[{"k":"a"},{"w":1}]"#, r#"{"items":[{"k":"a"},{"w":1}]}"#),
        (r#""items":[{"w":1},{"k":"a"}]"#, r#"{"items":[{"w":1},{"k":"a"}]}"#),
        (r#""items":[{"v":"x","v":1}]"#, "null"),
        (r#""items":[{"v":1,"v":"x"}]"#, r#"{"items":[{"v":1,"v":"x"}]}"#),
        (r#""tags":["a",1,{"b":2}]"#, "null"),
    ] {
        assert_eq!(left_over_of(members), serde_json::from_str::<Value>(kept).expect("JSON"), "{members}");
    }
}

/// The text itself is compared: whoever parses it sees only the last of two members with one key.
#[test]
fn a_repeated_key_stands_once_in_what_is_left_over() {
    let numbered = |from: usize| (from..20).map(|n| format!(r#""x{n}":0,"#)).collect::<String>();
    let user = r#""user":{"uid":1,"org":7,"uid":2,"org":{"id":1}}"#;
    for (members, kept) in [
        (format!(r#""x":0,"y":0,"x":1,{user}"#), r#"{"y":0,"x":1,"user":{"uid":2}}"#.to_owned()),
        (format!(r#"{}"x0":1,{user}"#, numbered(0)), format!(r#"{{{}"x0":1,"user":{{"uid":2}}}}"#, numbered(1))),
    ] {
        let line = format!(r#"{{"time":1577934245,{members}}}"#);
        let (batch, _) = decode(stream(), vec![field("unmapped", DataType::Utf8View)], &[line.as_bytes()]);
        assert_eq!(cell(batch.column(0), 0), json!(kept), "{line}");
    }
}

#[test]
fn a_value_is_kept_just_where_its_column_is_null_whether_that_is_read_or_not() {
    let unmapped = field("unmapped", DataType::Utf8View);
    for (data_type, fits, does_not) in [
        (DataType::Int8, "-128", "128"),
        (DataType::Int16, "32767", "-32769"),
        (DataType::Int32, "2147483647", "2147483648"),
        (DataType::Int64, "9223372036854775807", "9223372036854775808"),
        (DataType::UInt8, "255", "-1"),
        (DataType::UInt16, "65535", "65536"),
        (DataType::UInt32, "4294967295", "4294967296"),
        (DataType::UInt64, "18446744073709551615", "18446744073709551616"),
        (DataType::Float32, "3.4e38", "3.5e38"),
        (DataType::Float64, "3.5e38", r#""x""#),
        (TIME_TYPE, r#""2020-01-02T03:04:05Z""#, r#""soon""#),
        (DataType::Date32, r#""2020-01-02""#, r#""2020-02-30""#),
    ] {
        let value = field("v", data_type.clone());
        let columns: Fields = declared().into_iter().chain([Arc::clone(&value)]).collect();
        let unmapped_of = |columns_read: Vec<Arc<Field>>, json: &str| {
            let line = format!(r#"{{"time":1577934245,"v":{json}}}"#);
            let stream = Stream { columns: columns.clone(), ..stream() };
            let is_read = columns_read.len() == 2;
            let (batch, rejects) = decode(stream, columns_read, &[line.as_bytes()]);
            assert_eq!(rejects, [], "{line}");
            (is_read && batch.column(1).is_null(0), cell(batch.column(0), 0))
        };
        let both = || vec![Arc::clone(&unmapped), Arc::clone(&value)];
        let alone = || vec![Arc::clone(&unmapped)];
        let kept = json!(format!(r#"{{"v":{does_not}}}"#));
        assert_eq!(unmapped_of(both(), fits), (false, Value::Null), "{data_type} {fits}");
        assert_eq!(unmapped_of(alone(), fits), (false, Value::Null), "{data_type} {fits}");
        assert_eq!(unmapped_of(both(), does_not), (true, kept.clone()), "{data_type} {does_not}");
        assert_eq!(unmapped_of(alone(), does_not), (false, kept), "{data_type} {does_not}");
    }
}

#[test]
fn metadata_and_event_id_come_with_the_rows() {
    let stream = Stream { event_id: Some("text".into()), ..stream() };
    let all = stream.all_columns();
    let names = ["_topic", "_partition", "_offset", "_key", "_timestamp", "_headers", "_time"];
    let columns = names.iter().filter_map(|name| all.iter().find(|field| field.name() == name).cloned()).collect();
    let mut decoder = Decoder::new(Arc::new(stream), set(columns)).expect("columns exist");
    assert!(decoder.reads_headers());
    let header = |name, value| Header { name, value };
    let headers = [header("h", Some(&b"1"[..])), header("n", None), header("h", Some(b"\xff"))];
    let position = position();
    let record = Record {
        payload: br#"{"time":1577934245,"text":"the sender's own id"}"#,
        key: Some(b"k\xff"),
        timestamp: Some(EventTime(5)),
        arrival: None,
        headers: &headers,
        position: &position,
    };
    decoder.push(&record).expect("accepted");
    let batch = decoder.finish().expect("a well-formed batch");
    let row: Vec<Value> = batch.columns().iter().map(|column| cell(column, 0)).collect();
    let time = json!(1_577_934_245_000_000_i64);
    let raw = json!(String::from_utf8_lossy(record.payload));
    let headers = json!("{\"h\":[\"1\",\"\u{fffd}\"],\"n\":null}");
    let expected =
        [json!("t"), json!(3), json!(7), json!("k\u{fffd}"), json!(5), headers, time.clone(), time, raw, Value::Null];
    assert_eq!(row[..10], expected);
    assert_eq!(batch.schema().field(10).name(), EVENT_ID);
    assert_eq!(row[10], json!("the sender's own id"));
}

#[test]
fn a_decoder_starts_again_after_each_batch() {
    let mut decoder = Decoder::new(Arc::new(stream()), set(declared())).expect("columns exist");
    for round in 0..3 {
        for row in 0..round {
            let line = format!(r#"{{"time":1577934245,"text":"a text of round {round} row {row}","tags":["x"]}}"#);
            decoder.push(&Record::new(line.as_bytes(), &position())).expect("accepted");
        }
        let batch = decoder.finish().expect("a well-formed batch");
        assert_eq!(batch.num_rows(), round);
        for row in 0..round {
            assert_eq!(cell(batch.column(1), row), json!(format!("a text of round {round} row {row}")));
        }
    }
}
