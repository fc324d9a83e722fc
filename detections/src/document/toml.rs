//! TOML to the tree. An entry that cannot be read hides no other: it is told once and left out.

use std::borrow::Cow;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue, Error};
use weir_engine::{Diagnostic, Place, Span};

use super::{Entry, Lost, Node, Report, Value};

/// An entry has at most so many lines where it has to be found among others that cannot be read.
const ENTRY_LINES_MAX: usize = 200;

/// What opens and closes a text of several lines.
const QUOTES: [&str; 2] = ["\"\"\"", "'''"];

/// Parses `text`, whose keys are among `known`, and says which of its entries cannot be read; `place` turns a place of `text`
/// into one of the file it was taken from.
pub(crate) fn parse_toml(
    text: &str,
    known: &[&str],
    place: &dyn Fn(Place) -> Place,
    report: &mut Report,
) -> (Node, Lost) {
    let places = Places { text, place };
    let mut lost = Lost::default();
    let mut readable = Cow::Borrowed(text);
    if !is_toml(text) {
        for broken in broken_entries(text, known) {
            let (_, errors) = DeTable::parse_recoverable(&text[broken.clone()]);
            // What else is wrong with it mostly follows.
            let first = errors.iter().min_by_key(|error| error.span().map(|range| range.start));
            report.push(places.mistake(first, &broken, report.codes.syntax));
            lost.add(key_of(text, broken.start));
            let blank: String = text[broken.clone()].bytes().map(|c| if c == b'\n' { '\n' } else { ' ' }).collect();
            readable.to_mut().replace_range(broken, &blank);
        }
    }
    let (table, errors) = DeTable::parse_recoverable(&readable);
    for error in &errors {
        report.push(places.mistake(Some(error), &(0..0), report.codes.syntax));
    }
    let span = places.span(table.span());
    (Node { value: places.table(table.into_inner(), report), span }, lost)
}

fn is_toml(text: &str) -> bool {
    DeTable::parse_recoverable(text).1.is_empty()
}

/// The stretches of the text that cannot be read alone, each from the beginning of an entry to that of the next.
fn broken_entries(text: &str, known: &[&str]) -> Vec<Range<usize>> {
    let mut starts: Vec<usize> = text
        .split_inclusive('\n')
        .scan(0, |end, line| {
            *end += line.len();
            Some(*end - line.len())
        })
        .collect();
    let lines = starts.len();
    starts.push(text.len());
    let mut broken = Vec::new();
    let mut at = 0;
    while at < lines {
        // An entry has as many lines as it takes to be whole.
        let mut ends = at + 1..=lines.min(at + ENTRY_LINES_MAX);
        at = ends.find(|end| is_toml(&text[starts[at]..starts[*end]])).unwrap_or_else(|| {
            // In an open text of several lines every word may begin a line.
            let is_open_text = QUOTES.iter().any(|quotes| text[starts[at]..starts[at + 1]].contains(quotes));
            let known = if is_open_text { &[] } else { known };
            let next = (at + 1..lines).find(|line| begins_an_entry(&text[starts[*line]..starts[line + 1]], known));
            let end = next.unwrap_or(lines);
            broken.push(starts[at]..starts[end]);
            end
        });
    }
    broken
}

/// Whether a line looks like the first one of an entry, right or wrong.
fn begins_an_entry(line: &str, known: &[&str]) -> bool {
    let line = line.trim();
    let word = bare_word(line);
    let is_key = !word.is_empty() && line[word.len()..].trim_start().starts_with('=');
    is_key || known.contains(&word) || table_of(line).is_some()
}

/// The table that a line opens.
fn table_of(line: &str) -> Option<&str> {
    let name = line.trim().strip_prefix('[')?.trim_start_matches('[');
    Some(bare_word(name)).filter(|word| !word.is_empty() && name[word.len()..].starts_with(']'))
}

fn bare_word(text: &str) -> &str {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    &text[..text.find(|c| !is_bare(c)).unwrap_or(text.len())]
}

/// The key of the document that an entry at this place belongs to, if it can be told.
fn key_of(text: &str, start: usize) -> Option<&str> {
    let table = text[..start].lines().rev().find_map(table_of);
    let line = text[start..].trim_start();
    let name = table.unwrap_or_else(|| bare_word(line.trim_start_matches('[')));
    name.split('.').next().filter(|name| !name.is_empty())
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

    /// What the parser says about the text behind `part.start`, in an author's words where those are better.
    fn mistake(&self, error: Option<&Error>, part: &Range<usize>, code: &'static str) -> Diagnostic {
        let Some(error) = error else {
            return Diagnostic::error(code, "this is not TOML").at(self.span(part.clone()));
        };
        let range = error.span().map(|range| range.start + part.start..range.end + part.start);
        let words = range.clone().and_then(|range| self.text.get(range)).unwrap_or_default();
        let at = range.map(|range| self.span(range));
        let said = error.message();
        let is_text = ["string values must be quoted", "invalid boolean"].iter().any(|text| said.starts_with(text));
        let opened = self.text[part.clone()].find(QUOTES[0]).or_else(|| self.text[part.clone()].find(QUOTES[1]));
        match opened.filter(|_| said.starts_with("invalid multi-line")) {
            Some(opened) => {
                let opened = part.start + opened;
                let quotes = &self.text[opened..opened + QUOTES[0].len()];
                let diagnostic = Diagnostic::error(code, "the text that begins here is not closed");
                diagnostic.at(self.span(opened..opened + quotes.len())).hint(format!("close it with `{quotes}`"))
            }
            None if said == "duplicate key" => {
                Diagnostic::error(code, format!("the key `{words}` is there twice")).at(at)
            }
            None if is_text && !words.contains(['"', '\'', '\n']) => {
                let message = format!("`{words}` is text and stands in quotes");
                Diagnostic::error(code, message).at(at).hint(format!("write `\"{words}\"`"))
            }
            None if words.starts_with(':') => Diagnostic::error(code, "a key is followed by `=` and not by `:`").at(at),
            None => Diagnostic::error(code, said).at(at),
        }
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
