//! Rows of an NDJSON file: one object per line, empty lines and `#` lines are skipped, a missing key is NULL.

use std::sync::Arc;

use arrow::array::{ArrayRef, new_empty_array};
use arrow::datatypes::{FieldRef, Schema};
use serde_json::{Map, Value};
use weir_engine::Table;

use super::{BadRow, Refusal, typed};

pub(super) fn columns(table: &Table, content: &[u8]) -> Result<(Vec<ArrayRef>, usize), Refusal> {
    let mut bad = Vec::new();
    let mut rows: Vec<Map<String, Value>> = Vec::new();
    let mut lines = Vec::new();
    for (line, text) in (1..).zip(content.split(|byte| *byte == b'\n')) {
        let text = text.trim_ascii();
        if text.is_empty() || text.starts_with(b"#") {
            continue;
        }
        match serde_json::from_slice(text) {
            Ok(Value::Object(row)) => {
                rows.push(row);
                lines.push(line);
            }
            Ok(_) => {
                bad.push(BadRow { line, column: None, reason: "the line is not an object".to_owned(), hint: None })
            }
            Err(error) => bad.push(BadRow { line, column: None, reason: error.to_string(), hint: None }),
        }
    }
    let columns: Vec<_> = table
        .columns
        .iter()
        .filter_map(|field| {
            let values: Vec<Value> =
                rows.iter_mut().map(|row| row.remove(field.name()).unwrap_or(Value::Null)).collect();
            if field.data_type().is_nested() {
                return nested(field, &values, &lines, &mut bad);
            }
            typed(field, values.into_iter().map(cell).collect(), &lines, &mut bad)
        })
        .collect();
    if bad.is_empty() { Ok((columns, lines.len())) } else { Err(Refusal::Rows(bad)) }
}

/// A scalar as text; objects and lists stay JSON.
fn cell(value: Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text),
        other => Some(other.to_string()),
    }
}

fn nested(field: &FieldRef, values: &[Value], lines: &[u32], bad: &mut Vec<BadRow>) -> Option<ArrayRef> {
    let schema = Arc::new(Schema::new(vec![Arc::clone(field)]));
    let decode = |values: &[Value]| {
        let rows: Vec<_> = values.iter().map(|value| serde_json::json!({ field.name(): value })).collect();
        let mut decoder =
            arrow::json::ReaderBuilder::new(Arc::clone(&schema)).with_batch_size(rows.len().max(1)).build_decoder()?;
        decoder.serialize(&rows)?;
        decoder.flush()
    };
    match decode(values) {
        Ok(Some(batch)) => Some(Arc::clone(batch.column(0))),
        Ok(None) => Some(new_empty_array(field.data_type())),
        Err(_) => {
            // The decoder does not say which row it minded, so that each is asked alone.
            let told = values.iter().zip(lines).filter_map(|(value, line)| {
                let reason = decode(std::slice::from_ref(value)).err()?.to_string();
                Some(BadRow { line: *line, column: Some(field.name().clone()), reason, hint: None })
            });
            bad.extend(told);
            None
        }
    }
}
