//! TOML to the tree. All syntax errors are found at once.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use weir_engine::{Diagnostic, Place, Span};

use super::{Entry, Node, Report, Value};

/// Parses `text`; `place` turns a place of `text` into one of the file it was taken from.
pub(crate) fn parse_toml(text: &str, place: &dyn Fn(Place) -> Place, report: &mut Report) -> Node {
    let places = Places { text, place };
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let span = error.span().map(|range| places.span(range));
        report.push(Diagnostic::error(report.codes.syntax, error.message()).at(span));
    }
    let span = places.span(table.span());
    Node { value: places.table(table.into_inner(), report), span }
}

struct Places<'a> {
    text: &'a str,
    place: &'a dyn Fn(Place) -> Place,
}

impl Places<'_> {
    fn span(&self, range: Range<usize>) -> Span {
        let at = |offset| (self.place)(Place::of_offset(self.text, offset));
        Span { start: at(range.start), end: at(range.end.max(range.start + 1)) }
    }

    fn table(&self, table: DeTable<'_>, report: &mut Report) -> Value {
        let entries = table.into_iter().map(|(key, value)| Entry {
            key_span: self.span(key.span()),
            key: key.into_inner().into_owned(),
            value: self.node(value, report),
        });
        let mut entries: Vec<_> = entries.collect();
        entries.sort_by_key(|entry| entry.key_span.start);
        Value::Map(entries)
    }

    fn node(&self, value: Spanned<DeValue<'_>>, report: &mut Report) -> Node {
        let span = self.span(value.span());
        let value = match value.into_inner() {
            DeValue::String(text) => Value::Text(text.into_owned()),
            DeValue::Integer(number) => match i128::from_str_radix(number.as_str(), number.radix()) {
                Ok(value) => Value::Int(value),
                Err(error) => self.bad_number(&error.to_string(), span, report),
            },
            DeValue::Float(number) => match number.as_str().parse() {
                Ok(value) => Value::Float(value),
                Err(error) => self.bad_number(&format!("{error}"), span, report),
            },
            DeValue::Boolean(value) => Value::Bool(value),
            DeValue::Datetime(value) => Value::Text(value.to_string()),
            DeValue::Array(items) => Value::List(items.into_iter().map(|item| self.node(item, report)).collect()),
            DeValue::Table(table) => self.table(table, report),
        };
        Node { value, span }
    }

    fn bad_number(&self, message: &str, span: Span, report: &mut Report) -> Value {
        report.push(Diagnostic::error(report.codes.wrong_value, message).at(span));
        Value::Null
    }
}
