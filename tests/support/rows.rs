//! Rows of JSON, as `weir` prints and writes them, and what the tests read in an alert.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;

use serde_json::Value;

/// The lines of a file, unpacked by the ending of its name.
pub(crate) fn lines(file: &Path) -> Vec<String> {
    let opened = std::fs::File::open(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let reader: Box<dyn Read> = match file.extension().and_then(|ending| ending.to_str()) {
        Some("gz") => Box::new(flate2::read::MultiGzDecoder::new(opened)),
        Some("zst") => Box::new(zstd::stream::read::Decoder::new(opened).expect("a zstd file")),
        _ => Box::new(opened),
    };
    BufReader::new(reader).lines().map(|line| line.expect("a line of text")).collect()
}

/// One JSON value per line; anything else is a failure of the test.
pub(crate) fn ndjson(text: &str) -> Vec<Value> {
    text.lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}")))
        .collect()
}

/// An alert record, as far as tests look at it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Alert {
    pub(crate) uid: String,
    pub(crate) detection: String,
    pub(crate) activity: i64,
    pub(crate) severity: i64,
    pub(crate) count: i64,
    /// The row of the SELECT.
    pub(crate) row: Value,
}

impl Alert {
    pub(crate) fn read(json: &Value) -> Self {
        let text = |pointer: &str| {
            let found = json.pointer(pointer).and_then(Value::as_str);
            found.unwrap_or_else(|| panic!("an alert without {pointer}: {json}")).to_owned()
        };
        let number = |pointer: &str| {
            let found = json.pointer(pointer).and_then(Value::as_i64);
            found.unwrap_or_else(|| panic!("an alert without {pointer}: {json}"))
        };
        assert_eq!(number("/class_uid"), 2004, "an alert is a Detection Finding: {json}");
        Self {
            uid: text("/finding_info/uid"),
            detection: text("/finding_info/analytic/uid"),
            activity: number("/activity_id"),
            severity: number("/severity_id"),
            count: json.get("count").and_then(Value::as_i64).unwrap_or(1),
            row: json
                .pointer("/evidences/0/data")
                .cloned()
                .unwrap_or_else(|| panic!("an alert without its row: {json}")),
        }
    }

    /// A field of the row as text, whatever its type.
    pub(crate) fn field(&self, name: &str) -> String {
        match &self.row[name] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        }
    }
}

/// The last record of each alert, by its id: what two runs must agree on.
pub(crate) fn last_by_uid(records: impl IntoIterator<Item = Alert>) -> BTreeMap<String, Alert> {
    records.into_iter().map(|alert| (alert.uid.clone(), alert)).collect()
}

/// The line `replayed: name=number ...` at the end of a replay.
#[derive(Debug)]
pub(crate) struct Summary {
    numbers: BTreeMap<String, f64>,
}

impl Summary {
    #[track_caller]
    pub(crate) fn read(stderr: &str) -> Self {
        let line = stderr.lines().find_map(|line| line.strip_prefix("replayed: "));
        let line = line.unwrap_or_else(|| panic!("no summary in:\n{stderr}"));
        let numbers = line
            .split_whitespace()
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.parse().unwrap_or_else(|error| panic!("{error} in {line}"))))
            .collect();
        Self { numbers }
    }

    pub(crate) fn events(&self) -> usize {
        self.number("events") as usize
    }

    pub(crate) fn alerts(&self) -> usize {
        self.number("alerts") as usize
    }

    pub(crate) fn late(&self) -> usize {
        self.number("late") as usize
    }

    pub(crate) fn rejected(&self) -> usize {
        self.number("rejected") as usize
    }

    /// A number of the line by its name.
    pub(crate) fn number(&self, name: &str) -> f64 {
        *self.numbers.get(name).unwrap_or_else(|| panic!("no {name} in {:?}", self.numbers))
    }
}
