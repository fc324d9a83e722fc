//! YAML to the tree. Aliases and merges work; a value from an alias stands where the alias does.

use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{DuplicateKeyPolicy, Location, NonFiniteFloatPolicy, Options, Spanned, UserMessageFormatter};
use weir_engine::{Diagnostic, Place, Span};

use super::{Entry, Node, Report, Value};

/// Parses `text`; `None` when it is not YAML, which is reported. A key that is there twice is reported too, and the rest of
/// the text is read all the same.
pub(crate) fn parse_yaml(text: &str, report: &mut Report) -> Option<Node> {
    match serde_saphyr::from_str_with_options::<Spanned<Raw>>(text, options()) {
        Ok(raw) => Some(node(text, raw, report)),
        Err(error) => {
            let span = error.location().and_then(|location| span(text, &location));
            let message = error.without_snippet().render_with_formatter(&UserMessageFormatter);
            let message = without_place(message.lines().next().unwrap_or("not YAML"));
            report.push(Diagnostic::error(report.codes.syntax, message).at(span));
            None
        }
    }
}

fn options() -> Options {
    serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        with_snippet: false,
    }
}

/// The parser writes the place into its message, where it would stand twice.
fn without_place(message: &str) -> String {
    message.rfind(" at line ").map_or(message, |at| &message[..at]).trim_end_matches([':', ',']).to_owned()
}

fn span(text: &str, location: &Location) -> Option<Span> {
    let start = Place { line: u32::try_from(location.line()).ok()?, column: u32::try_from(location.column()).ok()? };
    if start.line == 0 {
        return None;
    }
    let end = location
        .span()
        .byte_offset()
        .zip(location.span().byte_len())
        .filter(|(_, length)| *length > 0)
        .map(|(offset, length)| Place::of_offset(text, (offset + length) as usize))
        .filter(|end| *end > start && end.line == start.line);
    Some(end.map_or_else(|| Span::at(start), |end| Span { start, end }))
}

fn node(text: &str, raw: Spanned<Raw>, report: &mut Report) -> Node {
    let span = span(text, &raw.referenced).unwrap_or_else(|| Span::at(Place::START));
    let value = match raw.value {
        Raw::Scalar(value) => value,
        Raw::List(items) => Value::List(items.into_iter().map(|item| node(text, item, report)).collect()),
        Raw::Map(entries) => Value::Map(distinct(text, entries, report)),
    };
    Node { value, span }
}

/// The entries of a map, the first of each key.
fn distinct(text: &str, entries: Vec<(Spanned<String>, Spanned<Raw>)>, report: &mut Report) -> Vec<Entry> {
    let (mut distinct, mut seen) = (Vec::with_capacity(entries.len()), HashSet::new());
    for (key, value) in entries {
        let key_span = span(text, &key.referenced).unwrap_or_else(|| Span::at(Place::START));
        if seen.insert(key.value.clone()) {
            distinct.push(Entry { key: key.value, key_span, value: node(text, value, report) });
        } else {
            let message = format!("the key `{}` is there twice", key.value);
            report.push(Diagnostic::error(report.codes.syntax, message).at(key_span));
        }
    }
    distinct
}

/// The tree as the parser gives it, with the parser's locations.
enum Raw {
    Scalar(Value),
    List(Vec<Spanned<Self>>),
    Map(Vec<(Spanned<String>, Spanned<Self>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any YAML value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Bool(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Int(value.into())))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Int(value.into())))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Int(value)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Float(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Text(value.to_owned())))
    }

    fn visit_string<E>(self, value: String) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Text(value)))
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        Raw::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Map(entries))
    }
}
