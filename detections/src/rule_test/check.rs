//! What is wrong with a rule test that can be known without running it: what it names must exist, and what it gives must
//! fit.

use std::collections::BTreeSet;

use arrow::datatypes::{DataType, Schema};
use globset::Glob;
use serde_json::{Map, Value as Json};
use weir_engine::error::nearest;
use weir_engine::late_events::LATE_EVENTS;
use weir_engine::{Diagnostic, Table};

use super::run::{inline_table, is_detection, table};
use super::{Case, Expected, Given, Item, ItemKind, Lines, RuleTest, TableRows, given, subject};
use crate::compile::Compiled;
use crate::document::{Entry, Value};
use crate::published::ALERTS;
use crate::{Detection, EntityKind, codes};

/// What is wrong with a test that can be known without running it: its detections, streams, tables, columns, entities and
/// files must exist. `lines` reads a file beside the test.
#[must_use]
pub fn check(test: &RuleTest, compiled: &Compiled, lines: &Lines<'_>) -> Vec<Diagnostic> {
    let project = Project::of(test, compiled);
    let mut found = project.names(test);
    for case in &test.cases {
        found.extend(case.given.iter().flat_map(|given| project.given(given, lines)));
        found.extend(case.tables.iter().flat_map(|rows| project.rows(rows)));
        found.extend(project.expectations(case));
    }
    found.into_iter().map(|diagnostic| diagnostic.in_file(&test.file)).collect()
}

/// What a test is held against.
struct Project<'a> {
    compiled: &'a Compiled,
    /// What the test is about, also one whose header has mistakes.
    subject: Option<&'a Detection>,
    /// The columns of its rows, where they are known.
    output: Option<&'a Schema>,
    /// The streams that the detections of the test read, where that is known.
    read: Option<BTreeSet<&'a str>>,
}

impl<'a> Project<'a> {
    fn of(test: &RuleTest, compiled: &'a Compiled) -> Self {
        let whole = subject(test, &compiled.detections);
        let any = whole.or_else(|| subject(test, &compiled.drafts)).map(|(_, detection)| &**detection);
        let output = whole.and_then(|(at, _)| compiled.program.output_schema(at)).map(|schema| &**schema);
        let company = whole.map(|(at, _)| compiled.company(at, &test.with)).unwrap_or_default();
        let is_known = !company.is_empty() && company.iter().all(|at| compiled.program.output_schema(*at).is_some());
        let read = is_known.then(|| company.iter().flat_map(|at| compiled.program.read_by(*at)).collect());
        Self { compiled, subject: any, output, read }
    }

    fn ids(&self) -> impl Iterator<Item = &'a str> {
        self.compiled.detections.iter().chain(&self.compiled.drafts).map(|detection| &*detection.id)
    }

    /// Whether a detection whose id cannot be read may be the one that is meant.
    fn may_be_unread(&self) -> bool {
        self.ids().any(str::is_empty)
    }

    /// The detections that the test names.
    fn names(&self, test: &RuleTest) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        match &test.detection {
            _ if self.subject.is_some() => {}
            Some(id) => found.extend(self.unknown_id(id).map(|diagnostic| diagnostic.at(test.detection_span))),
            None => {
                let message = "there is no detection beside this test";
                found.push(Diagnostic::error(codes::TEST_WITHOUT_DETECTION, message));
            }
        }
        for (pattern, span) in test.with.iter().zip(&test.with_spans) {
            // One that is no pattern is told with the form of the test.
            let Ok(glob) = Glob::new(pattern) else { continue };
            let matcher = glob.compile_matcher();
            if !self.may_be_unread() && !self.ids().any(|id| matcher.is_match(id)) {
                let message = format!("no detection has an id like `{pattern}`");
                let hint = nearest(pattern, self.ids());
                found.push(Diagnostic::error(codes::TEST_WITHOUT_DETECTION, message).at(*span).maybe_hint(hint));
            }
        }
        found
    }

    fn unknown_id(&self, id: &str) -> Option<Diagnostic> {
        if self.may_be_unread() || self.ids().any(|known| known == id) {
            return None;
        }
        let message = format!("no detection has the id `{id}`");
        Some(Diagnostic::error(codes::TEST_WITHOUT_DETECTION, message).maybe_hint(nearest(id, self.ids())))
    }

    fn given(&self, given: &Given, lines: &Lines<'_>) -> Vec<Diagnostic> {
        let unknown = |message: String| Diagnostic::error(codes::TEST_UNKNOWN_NAME, message).at(given.span);
        if given.stream.eq_ignore_ascii_case(LATE_EVENTS) {
            let message = format!("`{LATE_EVENTS}` are made of what comes late, and cannot be given");
            let hint = "give events of a stream, one of them behind the others by more than its lateness";
            return vec![unknown(message).hint(hint)];
        }
        if given.stream.eq_ignore_ascii_case(ALERTS) {
            let hint = "give the events that other detections find something in, and name those in `with`";
            return vec![unknown(format!("`{ALERTS}` are made by detections, and cannot be given")).hint(hint)];
        }
        let catalog = &self.compiled.catalog;
        let Some(stream) = catalog.stream(&given.stream) else {
            if catalog.is_broken(&given.stream) {
                return Vec::new();
            }
            let streams = catalog.streams().chain(catalog.own_streams());
            let hint = nearest(&given.stream, streams.map(|stream| stream.name.as_str()));
            return vec![unknown(format!("no stream is called `{}`", given.stream)).maybe_hint(hint)];
        };
        let mut found = Vec::new();
        if let Some(read) = &self.read
            && !read.contains(stream.name.as_str())
            && !read.contains(LATE_EVENTS)
        {
            let message = format!("the detection does not read `{}`, so its events show nothing", given.stream);
            let streams = catalog.streams().chain(catalog.own_streams()).map(|stream| stream.name.as_str());
            let streams: Vec<_> = streams.filter(|name| read.contains(name)).collect();
            found.push(unknown(message).hint(format!("it reads {}", streams.join(", "))));
        }
        found.extend(given.items.iter().flat_map(|item| wrong_item(item, &stream.event_time, lines)));
        found
    }

    fn rows(&self, rows: &TableRows) -> Vec<Diagnostic> {
        match table(&self.compiled.catalog, &rows.table) {
            None if self.compiled.catalog.is_broken(&rows.table) => Vec::new(),
            Some(table) => rows.written.iter().filter_map(|entry| wrong_column(&table, entry)).collect(),
            None => {
                let hint = nearest(&rows.table, self.compiled.catalog.tables().map(|table| table.name.as_str()));
                let message = format!("no table is called `{}`", rows.table);
                vec![Diagnostic::error(codes::TEST_UNKNOWN_NAME, message).at(rows.span).maybe_hint(hint)]
            }
        }
    }

    /// What alerts of the detection cannot have. An expectation about another detection is left alone.
    fn expectations(&self, case: &Case) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        for expected in &case.expect {
            match expected.written.iter().find(|entry| is_detection(&entry.key)) {
                Some(Entry { value, .. }) => {
                    let Value::Text(id) = &value.value else { continue };
                    found.extend(self.unknown_id(id).map(|diagnostic| diagnostic.at(value.span)));
                }
                None => {
                    found.extend(
                        self.output.into_iter().flat_map(|output| columns_that_are_not_there(expected, output)),
                    );
                    found.extend(
                        self.subject.into_iter().flat_map(|about| entities_that_are_not_there(expected, about)),
                    );
                }
            }
        }
        found
    }
}

/// A file that cannot be read, or a step without a time to move.
fn wrong_item(item: &Item, event_time: &str, lines: &Lines<'_>) -> Option<Diagnostic> {
    if let ItemKind::File(path) = &item.kind {
        let message = given::unreadable(path, &lines(path).err()?);
        let hint = "a file is named from the folder of the test";
        return Some(Diagnostic::error(codes::TEST_UNREADABLE_FILE, message).at(item.span).hint(hint));
    }
    let message = given::wrong_step(item, event_time)?;
    Some(Diagnostic::error(codes::TEST_WRONG_VALUE, message).at(item.span))
}

/// A column that the table does not have, or a value that does not fit it.
fn wrong_column(table: &Table, entry: &Entry) -> Option<Diagnostic> {
    let Some(column) = table.columns.iter().find(|column| *column.name() == entry.key) else {
        let names = || table.columns.iter().map(|column| column.name().as_str());
        let hint = nearest(&entry.key, names())
            .unwrap_or_else(|| format!("its columns are {}", names().collect::<Vec<_>>().join(", ")));
        let message = format!("the table `{}` has no column `{}`", table.name, entry.key);
        return Some(Diagnostic::error(codes::TEST_UNKNOWN_NAME, message).at(entry.key_span).hint(hint));
    };
    let value = entry.value.to_json();
    let row = Json::Object(Map::from_iter([(entry.key.clone(), value.clone())]));
    inline_table(table, &[row]).err()?;
    let message = format!("`{}` of `{}` is {}, not {value}", entry.key, table.name, in_words(column.data_type()));
    Some(Diagnostic::error(codes::TEST_WRONG_VALUE, message).at(entry.value.span))
}

/// What an author calls a value of that type.
fn in_words(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Boolean => "true or false",
        DataType::Timestamp(_, _) => "a time such as 2026-01-31T08:00:00Z",
        data_type if data_type.is_integer() => "a whole number",
        data_type if data_type.is_numeric() => "a number",
        data_type if data_type.is_string() => "text",
        _ => "of another type",
    }
}

/// The columns of `data` that the row cannot have.
fn columns_that_are_not_there(expected: &Expected, output: &Schema) -> Vec<Diagnostic> {
    let names = || output.fields().iter().map(|field| field.name().as_str());
    let is_there = |key: &str| {
        let first = key.split('.').next().unwrap_or(key);
        names().any(|name| name.eq_ignore_ascii_case(key) || name.eq_ignore_ascii_case(first))
    };
    let keys = expected.written.iter().flat_map(|entry| match (entry.key.strip_prefix("data."), &entry.value.value) {
        (Some(column), _) => vec![(column, entry.key_span)],
        (None, Value::Map(columns)) if entry.key == "data" => {
            columns.iter().map(|column| (column.key.as_str(), column.key_span)).collect()
        }
        _ => Vec::new(),
    });
    let missing = keys.filter(|(key, _)| !is_there(key)).map(|(missing, span)| {
        let hint = nearest(missing, names())
            .unwrap_or_else(|| format!("its columns are {}", names().collect::<Vec<_>>().join(", ")));
        let message = format!("the row of the alert has no column `{missing}`");
        Diagnostic::error(codes::TEST_UNKNOWN_NAME, message).at(span).hint(hint)
    });
    missing.collect()
}

/// The entities that the header of the detection does not name. Words that are no kind of entity are told with the form of
/// the test.
fn entities_that_are_not_there(expected: &Expected, detection: &Detection) -> Vec<Diagnostic> {
    let entities = expected.written.iter().filter(|entry| entry.key == "entities");
    let entities = entities.filter_map(|entry| match &entry.value.value {
        Value::Map(entities) => Some(entities),
        _ => None,
    });
    let is_missing = |entry: &&Entry| {
        let kind = EntityKind::parse(&entry.key).filter(|_| !matches!(entry.value.value, Value::Null));
        kind.is_some_and(|kind| !detection.entities.contains_key(&kind))
    };
    let missing = entities.flatten().filter(is_missing).map(|entry| {
        let named: Vec<_> = detection.entities.keys().map(|kind| kind.as_str()).collect();
        let message = format!("{} names no entity `{}`", detection.id, entry.key);
        let hint = match &named[..] {
            [] => "name entities in its header: `entities = { user = \"<column>\" }`".to_owned(),
            named => format!("its entities are {}", named.join(", ")),
        };
        Diagnostic::error(codes::TEST_UNKNOWN_NAME, message).at(entry.key_span).hint(hint)
    });
    missing.collect()
}

#[cfg(test)]
mod tests;
