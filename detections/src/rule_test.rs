//! Rule tests: what a detection must find and must leave alone, in a file beside it.
//!
//! ```yaml
//! cases:
//!   - name: ten failures fire
//!     given:
//!       signin:
//!         - { time: "2026-01-01T00:00:00Z", user: ann, status: Failure }
//!         - repeat: 10
//!           every: 10s
//!           event: { time: "2026-01-01T00:01:00Z", user: bob, ip: "10.0.0.${i}", status: Failure }
//!     expect:
//!       - { severity: high, data: { user: bob, failures: 10 } }
//!   - name: a few failures do not
//!     given: { signin: [ { file: data/quiet.ndjson } ] }
//!     expect: []
//! ```
//! Events are given per stream, inline, repeated or from a file. Fields that an expectation does not name are not
//! looked at; alerts that nobody expects are a failure.

mod check;
pub(crate) mod compare;
mod expected;
pub(crate) mod given;
mod run;

use globset::Glob;
use serde_json::Value as Json;
use weir_engine::sql::parse_duration_us;
use weir_engine::{Diagnostic, Span};

use crate::codes;
use crate::document::{Codes, Entry, Fields, Node, Report, Value, parse_yaml};

pub use self::check::check;
#[cfg(test)]
pub(crate) use self::compare::NAMES;
pub use self::compare::{Difference, Problem};
pub use self::run::{CaseResult, Decode, Decoded, Lines, Outside, Rejections, run, subject};

/// The keys of a test file.
pub(crate) const FILE_KEYS: [&str; 3] = ["detection", "with", "cases"];
/// The keys of a case.
pub(crate) const CASE_KEYS: [&str; 6] = ["name", "given", "tables", "expect", "late", "rejected"];
/// The keys of a repeated event.
pub(crate) const REPEAT_KEYS: [&str; 3] = ["repeat", "every", "event"];
/// How many events one repetition may stand for.
pub(crate) const REPEAT_MAX: i64 = 100_000;

const CODES: Codes = Codes {
    syntax: codes::TEST_SYNTAX,
    unknown_key: codes::TEST_UNKNOWN_KEY,
    wrong_type: codes::TEST_WRONG_TYPE,
    wrong_value: codes::TEST_WRONG_VALUE,
    missing: codes::TEST_MISSING,
};

/// One test file.
#[derive(Debug, Clone)]
pub struct RuleTest {
    /// The file it was read from.
    pub file: String,
    /// The id of the detection it is about, where that is not the one beside it.
    pub detection: Option<String>,
    /// Ids or patterns of the other detections that run with it, for one that reads `alerts`; empty for all of them.
    pub with: Vec<String>,
    /// The cases, in the order of the file.
    pub cases: Vec<Case>,
    /// Where `detection` stands.
    pub(crate) detection_span: Option<Span>,
    /// Where each of `with` stands.
    pub(crate) with_spans: Vec<Span>,
}

/// One case.
#[derive(Debug, Clone)]
pub struct Case {
    /// What it shows, in words.
    pub name: String,
    /// Where it stands.
    pub span: Span,
    /// Events per stream.
    pub given: Vec<Given>,
    /// Rows that stand in for those of the table's file.
    pub tables: Vec<TableRows>,
    /// The alerts that must come, and no others.
    pub expect: Vec<Expected>,
    /// How many events must be late, where that matters.
    pub late: Option<u64>,
    /// How many events must be rejected.
    pub rejected: u64,
}

/// The events of one stream.
#[derive(Debug, Clone)]
pub struct Given {
    /// The stream.
    pub stream: String,
    /// Where it is named.
    pub span: Span,
    /// Its events, in the order in which they come.
    pub items: Vec<Item>,
}

/// Where one or more events come from.
#[derive(Debug, Clone)]
pub struct Item {
    /// Where it stands; of a file its name, of a repetition its step.
    pub span: Span,
    /// What it stands for.
    pub kind: ItemKind,
}

/// What an item of `given` stands for.
#[derive(Debug, Clone, PartialEq)]
pub enum ItemKind {
    /// One event.
    Event(Json),
    /// One record as it came, right or wrong.
    Raw(String),
    /// Many events from a pattern.
    Repeat {
        /// How many.
        times: u32,
        /// How much later each is than the one before, in microseconds.
        every_us: Option<i64>,
        /// The pattern; `${i}` in its texts counts from 1.
        event: Json,
    },
    /// The lines of a file beside the test.
    File(String),
}

/// The rows of one table.
#[derive(Debug, Clone)]
pub struct TableRows {
    /// The table.
    pub table: String,
    /// Where it is named.
    pub span: Span,
    /// Its rows.
    pub rows: Vec<Json>,
    /// The columns of each row, and where they stand.
    pub(crate) written: Vec<Entry>,
}

/// One expected alert.
#[derive(Debug, Clone)]
pub struct Expected {
    /// Where it stands.
    pub span: Span,
    /// What is looked at, by name or dotted path, and what must be there.
    pub fields: Vec<(String, Json)>,
    /// The same with the places.
    pub(crate) written: Vec<Entry>,
}

/// Reads a test file.
///
/// # Errors
/// Everything that is wrong with it, in the order of the text.
pub fn parse(file: &str, text: &str) -> Result<RuleTest, Vec<Diagnostic>> {
    match read(file, text) {
        (Some(test), found) if found.is_empty() => Ok(test),
        (_, found) => Err(found),
    }
}

/// Reads as much of a test file as can be read, so that [`check`](check()) can look at it, and gives everything that is wrong
/// with its form. Only a test without mistakes is fit to be run.
#[must_use]
pub fn read(file: &str, text: &str) -> (Option<RuleTest>, Vec<Diagnostic>) {
    let mut report = Report::new(CODES);
    let test = parse_yaml(text, &mut report).and_then(|node| test(file, node, &mut report));
    (test, report.finish(file))
}

fn test(file: &str, node: Node, report: &mut Report) -> Option<RuleTest> {
    const HINT: &str = "list cases, each with a `name`, `given` events and `expect`ed alerts";
    let mut fields = Fields::of(node, "the test", &FILE_KEYS, report)?;
    let detection = fields.text("detection", report);
    let with = fields.texts("with", report);
    for pattern in &with {
        if let Err(error) = Glob::new(&pattern.value) {
            report.wrong_value(format!("`{}` is no pattern: {}", pattern.value, error.kind()), pattern.span, None);
        }
    }
    if fields.key_span("cases").is_none() {
        fields.missing("cases", HINT, report);
    }
    let nodes = fields.list("cases", report)?;
    if nodes.is_empty() {
        report.wrong_value("a test without cases shows nothing", fields.span, Some(HINT.to_owned()));
    }
    let cases: Vec<Case> = nodes.into_iter().filter_map(|node| case(node, report)).collect();
    for (at, case) in cases.iter().enumerate() {
        if !case.name.is_empty() && cases[..at].iter().any(|earlier| earlier.name == case.name) {
            report.wrong_value(format!("two cases are called `{}`", case.name), case.span, None);
        }
    }
    Some(RuleTest {
        file: file.to_owned(),
        detection_span: detection.as_ref().map(|at| at.span),
        detection: detection.map(|at| at.value),
        with_spans: with.iter().map(|at| at.span).collect(),
        with: with.into_iter().map(|at| at.value).collect(),
        cases,
    })
}

fn case(node: Node, report: &mut Report) -> Option<Case> {
    let mut fields = Fields::of(node, "the case", &CASE_KEYS, report)?;
    let name = fields.required_text("name", "say what the case shows", report);
    if fields.key_span("given").is_none() {
        fields.missing("given", "give events per stream: `given: { signin: [ {..} ] }`", report);
    }
    if fields.key_span("expect").is_none() {
        fields.missing("expect", "list the alerts that must come, or `expect: []` where none may", report);
    }
    let count = |fields: &mut Fields, key: &str, report: &mut Report| {
        fields.int(key, 0..=i64::from(u32::MAX), report).map(|at| at.value as u64)
    };
    let given = fields.map("given", report).unwrap_or_default();
    let tables = fields.map("tables", report).unwrap_or_default();
    let expect = fields.list("expect", report).unwrap_or_default();
    let late = count(&mut fields, "late", report);
    let rejected = count(&mut fields, "rejected", report).unwrap_or(0);
    Some(Case {
        span: name.as_ref().map_or(fields.span, |name| name.span),
        given: given.into_iter().filter_map(|entry| stream(entry, report)).collect(),
        tables: tables.into_iter().filter_map(|entry| table(entry, report)).collect(),
        expect: expect.into_iter().filter_map(|node| expected::read(node, report)).collect(),
        // A case without a name is reported; what it gives and expects is checked all the same.
        name: name.map(|name| name.value).unwrap_or_default(),
        late,
        rejected,
    })
}

fn stream(Entry { key, key_span, value }: Entry, report: &mut Report) -> Option<Given> {
    let nodes = match value.value {
        Value::List(nodes) => nodes,
        Value::Null => Vec::new(),
        _ => {
            report.wrong_type(&format!("given.{key}"), "a list of events", &value);
            return None;
        }
    };
    let items = nodes.into_iter().filter_map(|node| item(node, report)).collect();
    Some(Given { stream: key, span: key_span, items })
}

fn item(node: Node, report: &mut Report) -> Option<Item> {
    let mut span = node.span;
    let kind = match &node.value {
        Value::Text(line) => ItemKind::Raw(line.clone()),
        Value::Map(entries) => {
            let has = |key: &str| entries.iter().any(|entry| entry.key == key);
            match entries.as_slice() {
                [Entry { key, value: Node { value: Value::Text(path), span: of_path }, .. }] if key == "file" => {
                    span = *of_path;
                    ItemKind::File(path.clone())
                }
                _ if has("repeat") && has("event") => return repeat(node, report),
                _ => ItemKind::Event(node.to_json()),
            }
        }
        _ => {
            report.wrong_type("an event", "a map of fields, or the text of a raw record", &node);
            return None;
        }
    };
    Some(Item { span, kind })
}

fn repeat(node: Node, report: &mut Report) -> Option<Item> {
    let mut fields = Fields::of(node, "the repetition", &REPEAT_KEYS, report)?;
    let times = fields.int("repeat", 1..=REPEAT_MAX, report);
    let every = fields.text("every", report);
    let every_us = every.as_ref().and_then(|text| match parse_duration_us(&text.value) {
        Ok(us) => Some(us),
        Err(error) => {
            report.wrong_value(error.to_string(), text.span, None);
            None
        }
    });
    let event = fields.take("event")?;
    if !matches!(event.value, Value::Map(_)) {
        report.wrong_type("event", "a map of fields", &event);
        return None;
    }
    let times = times?.value as u32;
    placeholders(&event, times, report);
    let span = every.map_or(fields.span, |every| every.span);
    Some(Item { span, kind: ItemKind::Repeat { times, every_us, event: event.to_json() } })
}

/// Every `${...}` of a pattern must mean a number, of the first event as of the last.
fn placeholders(node: &Node, times: u32, report: &mut Report) {
    match &node.value {
        Value::Text(text) => {
            let wrong = |i: u32| given::substituted_text(text, i.into()).err();
            if let Some(message) = wrong(1).or_else(|| wrong(times)) {
                report.wrong_value(message, node.span, None);
            }
        }
        Value::List(items) => items.iter().for_each(|item| placeholders(item, times, report)),
        Value::Map(entries) => entries.iter().for_each(|entry| placeholders(&entry.value, times, report)),
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) => {}
    }
}

fn table(Entry { key, key_span, value }: Entry, report: &mut Report) -> Option<TableRows> {
    let Value::List(nodes) = value.value else {
        report.wrong_type(&format!("tables.{key}"), "a list of rows", &value);
        return None;
    };
    let rows = nodes.iter().map(Node::to_json).collect();
    let mut written = Vec::new();
    for node in nodes {
        match node.value {
            Value::Map(entries) => written.extend(entries),
            _ => report.wrong_type(&format!("a row of {key}"), "a map of columns", &node),
        }
    }
    Some(TableRows { table: key, span: key_span, rows, written })
}

#[cfg(test)]
mod tests;
