//! A slow twin on `serde_json` that random records are compared with.

use proptest::prelude::*;
use serde_json::Map;

use super::*;

/// The slow, obvious twin: what a column of this type holds for a JSON value.
fn expected(value: Option<&Value>, data_type: &DataType) -> Value {
    let Some(value) = value.filter(|value| !value.is_null()) else {
        return Value::Null;
    };
    let text = value.as_str();
    match data_type {
        DataType::Utf8View => text.map_or_else(|| value.to_string(), str::to_owned).into(),
        DataType::Int64 => integer(value).map_or(Value::Null, Value::from),
        DataType::Int32 => integer(value).and_then(|value| i32::try_from(value).ok()).map_or(Value::Null, Value::from),
        DataType::Float64 => value.as_f64().or_else(|| text?.parse().ok()).map_or(Value::Null, Value::from),
        DataType::Boolean => value.as_bool().or_else(|| text?.parse().ok()).map_or(Value::Null, Value::from),
        DataType::Struct(fields) => value.as_object().map_or(Value::Null, |object| {
            fields
                .iter()
                .map(|field| (field.name().clone(), expected(object.get(field.name()), field.data_type())))
                .collect()
        }),
        DataType::List(item) => value
            .as_array()
            .map_or(Value::Null, |items| items.iter().map(|value| expected(Some(value), item.data_type())).collect()),
        other => panic!("the twin does not know {other}"),
    }
}

/// The same for `unmapped`: what a column of this type does not hold.
fn left_over(value: &Value, data_type: &DataType) -> Option<Value> {
    match (data_type, value) {
        (_, Value::Null) => None,
        (DataType::Struct(fields), Value::Object(members)) => {
            let rest: Map<String, Value> = members
                .iter()
                .filter_map(|(name, value)| {
                    let rest = match fields.iter().find(|field| field.name() == name) {
                        Some(field) => left_over(value, field.data_type())?,
                        None => value.clone(),
                    };
                    Some((name.clone(), rest))
                })
                .collect();
            (!rest.is_empty()).then_some(rest.into())
        }
        (DataType::List(item), Value::Array(items)) => {
            let is_whole = items.iter().all(|value| left_over(value, item.data_type()).is_none());
            (!is_whole).then(|| value.clone())
        }
        _ => expected(Some(value), data_type).is_null().then(|| value.clone()),
    }
}

fn integer(value: &Value) -> Option<i64> {
    let exact = |float: f64| (float.fract() == 0.0 && float.abs() < 9.0e18).then_some(float as i64);
    value
        .as_i64()
        .or_else(|| value.as_f64().filter(|_| value.is_f64()).and_then(exact))
        .or_else(|| value.as_str()?.parse().ok())
}

fn any_value() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        any::<String>(),
        "[a-z]{0,20}",
        "[\\\\\"/\n\t\u{0}\u{1f}é😀 x]{0,40}",
        Just("true".to_owned()),
        (-99_999_i64..99_999).prop_map(|number| number.to_string()),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-9_i64..9).prop_map(Value::from),
        (-1.0e9..1.0e9).prop_map(Value::from),
        text.prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        let name =
            prop_oneof![Just("name"), Just("org"), Just("id"), Just("k"), Just("v"), Just("other"), Just("é\"\\")];
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::vec((name, inner), 0..5).prop_map(|members| {
                members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>().into()
            }),
        ]
    })
}

fn typed() -> Vec<Arc<Field>> {
    declared().into_iter().filter(|field| !matches!(field.name().as_str(), "time" | "day")).collect()
}

fn any_record() -> impl Strategy<Value = Map<String, Value>> {
    let names: Vec<String> =
        typed().iter().map(|field| field.name().clone()).chain(["x".to_owned(), String::new()]).collect();
    proptest::collection::vec((proptest::sample::select(names), any_value()), 0..12).prop_map(|members| {
        let mut record: Map<String, Value> = members.into_iter().collect();
        record.insert("time".into(), json!("2020-01-02T03:04:05Z"));
        record
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_record_decodes_as_the_slow_twin_says(
        records in proptest::collection::vec(any_record(), 1..4),
        columns in proptest::sample::subsequence(typed(), 0..=8),
        is_pretty in any::<bool>(),
    ) {
        let lines: Vec<String> = records.iter().map(|record| {
            if is_pretty { serde_json::to_string_pretty(record) } else { serde_json::to_string(record) }.expect("JSON")
        }).collect();
        let bytes: Vec<&[u8]> = lines.iter().map(String::as_bytes).collect();
        let with_unmapped = columns.iter().cloned().chain([field("unmapped", DataType::Utf8View)]).collect();
        let (batch, rejects) = decode(stream(), with_unmapped, &bytes);
        prop_assert!(rejects.is_empty());
        let read = typed().into_iter().chain([field("time", DataType::Utf8View)]);
        let whole = DataType::Struct(read.collect());
        for (row, line) in lines.iter().enumerate() {
            // Read again, because serde_json does not read every number back to the last bit.
            let record = serde_json::from_str(line).expect("JSON");
            let kept = cell(batch.column(columns.len()), row);
            let kept = kept.as_str().map(|text| serde_json::from_str::<Value>(text).expect("JSON"));
            prop_assert_eq!(kept, left_over(&record, &whole), "{}", line);
        }
        for (row, record) in records.iter().enumerate() {
            for (column, field) in columns.iter().enumerate() {
                let twin = expected(record.get(field.name()), field.data_type());
                prop_assert_eq!(cell(batch.column(column), row), twin, "{} of {}", field.name(), &lines[row]);
            }
        }
    }

    #[test]
    fn whatever_the_columns_the_same_records_are_refused(
        record in any_record(), at in any::<proptest::sample::Index>(), byte in any::<u8>(),
        columns in proptest::sample::subsequence(typed(), 0..=8),
    ) {
        let mut line = serde_json::to_vec(&record).expect("JSON");
        let at = at.index(line.len());
        line[at] = byte;
        let (some, rejects) = decode(stream(), columns, &[&line]);
        let (none, same) = decode(stream(), Vec::new(), &[&line]);
        prop_assert_eq!(&rejects, &same);
        prop_assert_eq!(some.num_rows() + rejects.len(), 1);
        prop_assert_eq!(none.num_rows(), some.num_rows());
        // Of what is no object only the first value is looked at.
        prop_assume!(rejects != [RejectReason::NotAnObject]);
        let is_json = std::str::from_utf8(&line).is_ok_and(|text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok());
        let not_json = [RejectReason::InvalidUtf8, RejectReason::TruncatedJson, RejectReason::InvalidJson, RejectReason::TrailingData];
        prop_assert_eq!(is_json, !rejects.iter().any(|reason| not_json.contains(reason)), "{:?}", rejects);
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_add_up(lines in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 0..8)) {
        let bytes: Vec<&[u8]> = lines.iter().map(Vec::as_slice).collect();
        let (batch, rejects) = decode(stream(), declared(), &bytes);
        prop_assert_eq!(batch.num_rows() + rejects.len(), lines.len());
    }

    #[test]
    fn bytes_that_look_like_json_never_panic_and_add_up(lines in proptest::collection::vec("[{}\\[\\]\",:\\\\u0-9a-f.eE+\\-tn ]{0,40}", 0..8)) {
        let whole: Vec<String> = lines.iter().map(|line| format!("{{\"time\":1577934245,\"user\":{line}}}")).collect();
        let bytes: Vec<&[u8]> = whole.iter().chain(&lines).map(String::as_bytes).collect();
        let (batch, rejects) = decode(stream(), declared(), &bytes);
        prop_assert_eq!(batch.num_rows() + rejects.len(), bytes.len());
    }
}
