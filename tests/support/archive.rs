//! The archive as another program sees it: the Delta log read line by line, and the Parquet files that it names.
//!
//! This shares no code with Weir's own archive, so that both would have to be wrong in the same way.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;

use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

/// All rows of a table, as JSON objects without their NULLs; none where there is no table.
pub(crate) fn rows(table: &Path) -> Vec<Value> {
    let mut rows = Vec::new();
    for file in live_files(table) {
        let file = File::open(table.join(&file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("a Parquet file").build().expect("a reader");
        for batch in reader {
            let mut writer = arrow::json::ArrayWriter::new(Vec::new());
            writer.write(&batch.expect("a batch of rows")).expect("rows can be written as JSON");
            writer.finish().expect("rows can be written as JSON");
            let batch: Vec<Value> = serde_json::from_slice(&writer.into_inner()).expect("rows are JSON");
            rows.extend(batch);
        }
    }
    rows
}

/// The files that are in the newest version of the table.
fn live_files(table: &Path) -> BTreeSet<String> {
    let Ok(log) = std::fs::read_dir(table.join("_delta_log")) else { return BTreeSet::new() };
    let mut commits: Vec<_> = log
        .map(|entry| entry.expect("an entry of the log").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "json"))
        .collect();
    commits.sort();
    let mut live = BTreeSet::new();
    for commit in commits {
        let text = std::fs::read_to_string(&commit).expect("a commit can be read");
        for action in super::rows::ndjson(&text) {
            let path = |verb: &str| action[verb]["path"].as_str().map(decoded);
            if let Some(path) = path("add") {
                live.insert(path);
            }
            if let Some(path) = path("remove") {
                live.remove(&path);
            }
        }
    }
    live
}

/// Paths in the log are percent-encoded, as URLs are.
fn decoded(path: &str) -> String {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let escaped = (first == b'%').then(|| tail.get(..2).and_then(hexadecimal)).flatten();
        bytes.push(escaped.unwrap_or(first));
        rest = if escaped.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8(bytes).expect("a path is UTF-8")
}

fn hexadecimal(digits: &[u8]) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// Bytes as arrow writes them into JSON.
pub(crate) fn bytes(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("two digits")).collect()
}
