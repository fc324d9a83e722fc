//! From text to [`RawConfig`], with *all* mistakes at once: where a value is refused it is noted, taken out, and the
//! rest is read again.

use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use weir_engine::error::nearest;
use weir_engine::{Diagnostic, Place, Span};

use super::codes;
use super::raw::RawConfig;

/// Answers what a variable of the environment holds.
pub(crate) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Reads `text`; what cannot be read is in the diagnostics and absent from the result. A line that is no TOML does not keep
/// the others from being read.
pub(super) fn read(text: &str, environment: Environment<'_>, missing_is_error: bool) -> (RawConfig, Vec<Diagnostic>) {
    let (mut document, errors) = DeTable::parse_recoverable(text);
    let mut diagnostics = errors
        .iter()
        .map(|error| Diagnostic::error(codes::SYNTAX, one_line(error.message())).at(span_of(text, error.span())))
        .collect::<Vec<_>>();
    // The parser fills a gap with a value of its own, which nobody has written.
    for span in errors.iter().filter_map(toml::de::Error::span) {
        remove(document.get_mut(), &span);
    }
    let mut expansion = Expansion { text, environment, missing_is_error, diagnostics: Vec::new() };
    expansion.table(document.get_mut());
    diagnostics.append(&mut expansion.diagnostics);
    loop {
        let error = match RawConfig::deserialize(toml::Deserializer::from(document.clone())) {
            Ok(config) => return (config, diagnostics),
            Err(error) => error,
        };
        let key = error.span().and_then(|span| key_at(document.get_ref(), &span));
        diagnostics.push(explain(text, &error, key.as_deref()));
        let removed = error.span().is_some_and(|span| remove(document.get_mut(), &span));
        if !removed {
            return (RawConfig::default(), diagnostics);
        }
    }
}

/// The place of a byte range, for people.
pub(super) fn span_of(text: &str, range: Option<Range<usize>>) -> Option<Span> {
    range.map(|range| Span { start: Place::of_offset(text, range.start), end: Place::of_offset(text, range.end) })
}

/// Serde's words in ours, with the nearest known name.
fn explain(text: &str, error: &toml::de::Error, key: Option<&str>) -> Diagnostic {
    let message = one_line(error.message());
    let quoted = message.split('`').skip(1).step_by(2).collect::<Vec<_>>();
    let span = span_of(text, error.span());
    match quoted.as_slice() {
        [unknown, known @ ..] if message.starts_with("unknown field") => {
            Diagnostic::error(codes::UNKNOWN_KEY, format!("unknown key `{unknown}`")).at(span).hint(
                nearest(unknown, known.iter().copied()).unwrap_or_else(|| known_names("the keys here are", known)),
            )
        }
        [unknown, known @ ..] if message.starts_with("unknown variant") => {
            Diagnostic::error(codes::BAD_VALUE, format!("`{unknown}` is not one of the values of this key"))
                .at(span)
                .hint(known_names("it takes", known))
        }
        _ => Diagnostic::error(codes::BAD_VALUE, in_our_words(&message, key)).at(span),
    }
}

/// What a key takes, for serde's `invalid type: string "x", expected u64`.
fn in_our_words(message: &str, key: Option<&str>) -> String {
    let Some((found, expected)) = message.split_once(", expected ") else { return message.to_owned() };
    let found = found.split_once(": ").map_or(found, |(_, found)| found);
    let found = found.strip_prefix("string ").or_else(|| found.strip_prefix("boolean ")).unwrap_or(found);
    let found = ["integer ", "floating point "].iter().find_map(|kind| found.strip_prefix(kind)).unwrap_or(found);
    let found = match found {
        "sequence" => "a list",
        "map" => "a table of keys",
        other => other,
    };
    let wanted = match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number that is not negative",
        "i8" | "i16" | "i32" | "i64" => "a whole number",
        "f64" => "a number",
        "a string" => "text in quotes",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        "a map" => "a table of keys",
        _ if expected.starts_with("struct ") => "a table of keys",
        _ => expected,
    };
    let found = found.replace('`', "");
    format!("`{}` takes {wanted}, not {found}", key.unwrap_or("this key"))
}

/// The key whose value is the innermost one at `span`.
fn key_at(table: &DeTable<'_>, span: &Range<usize>) -> Option<String> {
    table.iter().find_map(|(key, value)| {
        let inner = match value.get_ref() {
            DeValue::Table(inner) => key_at(inner, span),
            _ => None,
        };
        inner.or_else(|| contains(&value.span(), span).then(|| key.get_ref().to_string()))
    })
}

fn known_names(lead: &str, names: &[&str]) -> String {
    format!("{lead} {}", names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "))
}

fn one_line(message: &str) -> String {
    message.trim().replace('\n', ", ")
}

/// Takes out the innermost entry that stands at `span`; false where there is none.
fn remove(table: &mut DeTable<'_>, span: &Range<usize>) -> bool {
    for (_, value) in table.iter_mut() {
        if let DeValue::Table(inner) = value.get_mut()
            && remove(inner, span)
        {
            return true;
        }
    }
    let found = table
        .iter()
        .find(|(key, value)| contains(&key.span(), span) || contains(&value.span(), span))
        .map(|(key, _)| key.clone());
    found.is_some_and(|key| table.remove(&key).is_some())
}

fn contains(outer: &Range<usize>, inner: &Range<usize>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

/// Puts the environment into texts.
struct Expansion<'a> {
    text: &'a str,
    environment: Environment<'a>,
    missing_is_error: bool,
    diagnostics: Vec<Diagnostic>,
}

impl Expansion<'_> {
    fn table(&mut self, table: &mut DeTable<'_>) {
        let mut unset = Vec::new();
        for (key, value) in table.iter_mut() {
            if !self.value(value) {
                unset.push(key.clone());
            }
        }
        for key in unset {
            table.remove(&key);
        }
    }

    /// Expands one value; false where a variable that it needs is not set.
    fn value(&mut self, value: &mut Spanned<DeValue<'_>>) -> bool {
        let span = value.span();
        match value.get_mut() {
            DeValue::String(text) if text.contains("${") => match self.expand(text, &span) {
                Some(expanded) => {
                    *text = expanded.into();
                    true
                }
                None => false,
            },
            DeValue::Array(array) => {
                let complete = array.iter_mut().map(|item| self.value(item)).collect::<Vec<_>>();
                complete.iter().all(|&complete| complete)
            }
            DeValue::Table(table) => {
                self.table(table);
                true
            }
            _ => true,
        }
    }

    /// `${NAME}` becomes the variable's value; `$${` stands for itself without the first dollar.
    fn expand(&mut self, text: &str, span: &Range<usize>) -> Option<String> {
        let mut expanded = String::with_capacity(text.len());
        let mut rest = text;
        let mut complete = true;
        while let Some(at) = rest.find("${") {
            if rest[..at].ends_with('$') {
                expanded.push_str(&rest[..at - 1]);
                expanded.push_str("${");
                rest = &rest[at + 2..];
                continue;
            }
            expanded.push_str(&rest[..at]);
            let Some(end) = rest[at..].find('}') else {
                self.refuse(codes::BAD_VALUE, "`${` without its `}`", "write `$${` for a dollar and a brace", span);
                return None;
            };
            let name = &rest[at + 2..at + end];
            match (self.environment)(name) {
                Some(value) => expanded.push_str(&value),
                None => {
                    complete = false;
                    self.missing(name, span);
                }
            }
            rest = &rest[at + end + 1..];
        }
        expanded.push_str(rest);
        complete.then_some(expanded)
    }

    fn missing(&mut self, name: &str, span: &Range<usize>) {
        let message = format!("the environment has no variable `{name}`");
        let mut diagnostic = if self.missing_is_error {
            Diagnostic::error(codes::NOT_SET, message)
        } else {
            Diagnostic::warning(codes::NOT_SET, format!("{message}; this key is read as absent"))
        };
        diagnostic = diagnostic.at(span_of(self.text, Some(span.clone())));
        self.diagnostics.push(diagnostic.hint(format!("set it before `weir run`: export {name}=...")));
    }

    fn refuse(&mut self, code: &'static str, message: &str, hint: &str, span: &Range<usize>) {
        self.diagnostics.push(Diagnostic::error(code, message).at(span_of(self.text, Some(span.clone()))).hint(hint));
    }
}
