//! A TOML or YAML text as a tree in which every key and value knows its place, and a reader that refuses what it does
//! not know.
//!
//! Serde stops at the first mistake and cannot say where a wrong value stands. Authors want all mistakes at once, each
//! with line and column, so the formats of this room are read from this tree by hand; their published JSON Schemas are
//! held to it by tests.

mod toml;
mod yaml;

use serde_json::Value as Json;
use weir_engine::error::nearest;
use weir_engine::{Diagnostic, Span};

pub(crate) use self::toml::parse_toml;
pub(crate) use self::yaml::parse_yaml;

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) span: Span,
}

/// What a value can be in either format. TOML dates are text.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// One `key: value` of a map.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_span: Span,
    pub(crate) value: Node,
}

/// A value of a Rust type, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) span: Span,
}

impl Value {
    /// What an author calls a value of this kind.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "true or false",
            Self::Int(_) => "a whole number",
            Self::Float(_) => "a number",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }
}

impl Node {
    /// The same value as JSON; keys keep their order. A number that JSON cannot hold becomes null.
    pub(crate) fn to_json(&self) -> Json {
        match &self.value {
            Value::Null => Json::Null,
            Value::Bool(value) => Json::Bool(*value),
            Value::Int(value) => int_to_json(*value),
            Value::Float(value) => serde_json::Number::from_f64(*value).map_or(Json::Null, Json::Number),
            Value::Text(value) => Json::String(value.clone()),
            Value::List(items) => items.iter().map(Self::to_json).collect(),
            Value::Map(entries) => {
                Json::Object(entries.iter().map(|entry| (entry.key.clone(), entry.value.to_json())).collect())
            }
        }
    }
}

fn int_to_json(value: i128) -> Json {
    i64::try_from(value)
        .map(Json::from)
        .or_else(|_| u64::try_from(value).map(Json::from))
        .unwrap_or_else(|_| Json::from(value as f64))
}

/// The codes under which one file format reports the mistakes that every format can have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Codes {
    pub(crate) syntax: &'static str,
    pub(crate) unknown_key: &'static str,
    pub(crate) wrong_type: &'static str,
    pub(crate) wrong_value: &'static str,
    pub(crate) missing: &'static str,
}

/// The mistakes found so far in one file.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) codes: Codes,
    pub(crate) found: Vec<Diagnostic>,
}

impl Report {
    pub(crate) const fn new(codes: Codes) -> Self {
        Self { codes, found: Vec::new() }
    }

    pub(crate) fn push(&mut self, diagnostic: Diagnostic) {
        self.found.push(diagnostic);
    }

    pub(crate) fn wrong_type(&mut self, what: &str, wanted: &str, node: &Node) {
        let message = format!("`{what}` is {wanted}, not {}", node.value.kind());
        self.push(Diagnostic::error(self.codes.wrong_type, message).at(node.span));
    }

    pub(crate) fn wrong_value(&mut self, message: impl Into<String>, span: Span, hint: Option<String>) {
        self.push(Diagnostic::error(self.codes.wrong_value, message).at(span).maybe_hint(hint));
    }

    /// Everything found, in the order of the text, for `file`.
    pub(crate) fn finish(self, file: &str) -> Vec<Diagnostic> {
        let mut found: Vec<_> = self.found.into_iter().map(|diagnostic| diagnostic.in_file(file)).collect();
        found.sort_by_key(|diagnostic| diagnostic.span.map(|span| span.start));
        found
    }
}

/// Entries of a text that cannot be read.
#[derive(Debug, Default)]
pub(crate) struct Lost {
    keys: Vec<String>,
    has_nameless: bool,
}

impl Lost {
    /// Adds an entry, with the key of the document that it belongs to, if that can be told.
    pub(crate) fn add(&mut self, key: Option<&str>) {
        self.keys.extend(key.map(str::to_owned));
        self.has_nameless |= key.is_none();
    }
}

/// The entries of one map, taken one by one. Keys outside of `known` have been reported and are gone.
#[derive(Debug)]
pub(crate) struct Fields {
    what: &'static str,
    pub(crate) span: Span,
    entries: Vec<Entry>,
    strange: Vec<String>,
    lost: Lost,
}

impl Fields {
    /// The entries of `node`, which authors know as `what`.
    pub(crate) fn of(node: Node, what: &'static str, known: &[&str], report: &mut Report) -> Option<Self> {
        let span = node.span;
        let Value::Map(entries) = node.value else {
            report.wrong_type(what, "a map", &node);
            return None;
        };
        let (entries, strange): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|entry| known.contains(&entry.key.as_str()));
        for entry in &strange {
            let hint = nearest(&entry.key, known.iter().copied())
                .unwrap_or_else(|| format!("known keys are {}", known.join(", ")));
            let message = format!("unknown key `{}` in {what}", entry.key);
            report.push(Diagnostic::error(report.codes.unknown_key, message).at(entry.key_span).hint(hint));
        }
        let strange = strange.into_iter().map(|entry| entry.key).collect();
        Some(Self { what, span, entries, strange, lost: Lost::default() })
    }

    /// Says what of the map could not be read, which is told already.
    pub(crate) fn lose(&mut self, lost: Lost) {
        self.lost = lost;
    }

    /// Whether `key` may stand in what could not be read, or misspelt.
    pub(crate) fn may_be_unread(&self, key: &str) -> bool {
        self.lost.has_nameless
            || self.lost.keys.iter().any(|lost| lost == key)
            || self.strange.iter().chain(&self.lost.keys).any(|strange| nearest(strange, [key]).is_some())
    }

    /// The value of `key`, once. A null is the same as no value.
    pub(crate) fn take(&mut self, key: &str) -> Option<Node> {
        let at = self.entries.iter().position(|entry| entry.key == key)?;
        Some(self.entries.swap_remove(at).value).filter(|node| !matches!(node.value, Value::Null))
    }

    /// Where `key` stands, before it is taken.
    pub(crate) fn key_span(&self, key: &str) -> Option<Span> {
        self.entries.iter().find(|entry| entry.key == key).map(|entry| entry.key_span)
    }

    /// Reports that `key` is missing, unless it may be there: one that is misspelt has been reported as an unknown key.
    pub(crate) fn missing(&self, key: &str, hint: &str, report: &mut Report) {
        if self.may_be_unread(key) {
            return;
        }
        let message = format!("{} has no `{key}`", self.what);
        report.push(Diagnostic::error(report.codes.missing, message).at(self.span).hint(hint));
    }

    /// The text of `key`.
    pub(crate) fn text(&mut self, key: &str, report: &mut Report) -> Option<At<String>> {
        let node = self.take(key)?;
        match node.value {
            Value::Text(value) => Some(At { value, span: node.span }),
            _ => {
                report.wrong_type(key, "text", &node);
                None
            }
        }
    }

    /// The text of `key`, which must be there and not be empty; `hint` says how to write it.
    pub(crate) fn required_text(&mut self, key: &str, hint: &str, report: &mut Report) -> Option<At<String>> {
        if self.key_span(key).is_none() {
            self.missing(key, hint, report);
            return None;
        }
        let text = self.text(key, report)?;
        if text.value.trim().is_empty() {
            report.wrong_value(format!("`{key}` is empty"), text.span, Some(hint.to_owned()));
            return None;
        }
        Some(text)
    }

    /// The texts of `key`: a list, or one text.
    pub(crate) fn texts(&mut self, key: &str, report: &mut Report) -> Vec<At<String>> {
        let Some(node) = self.take(key) else { return Vec::new() };
        let items = match node.value {
            Value::Text(value) => return vec![At { value, span: node.span }],
            Value::List(items) => items,
            _ => {
                report.wrong_type(key, "a list of texts", &node);
                return Vec::new();
            }
        };
        let mut texts = Vec::with_capacity(items.len());
        for item in items {
            match item.value {
                Value::Text(value) => texts.push(At { value, span: item.span }),
                _ => report.wrong_type(key, "a list of texts", &item),
            }
        }
        texts
    }

    /// The whole number of `key`, within `range`.
    pub(crate) fn int(
        &mut self,
        key: &str,
        range: std::ops::RangeInclusive<i64>,
        report: &mut Report,
    ) -> Option<At<i64>> {
        let node = self.take(key)?;
        let wanted = format!("a whole number from {} to {}", range.start(), range.end());
        match node.value {
            Value::Int(value) => match i64::try_from(value).ok().filter(|value| range.contains(value)) {
                Some(value) => Some(At { value, span: node.span }),
                None => {
                    report.wrong_value(format!("`{key}` is {wanted}, not {value}"), node.span, None);
                    None
                }
            },
            _ => {
                report.wrong_type(key, &wanted, &node);
                None
            }
        }
    }

    /// The list of `key`.
    pub(crate) fn list(&mut self, key: &str, report: &mut Report) -> Option<Vec<Node>> {
        let node = self.take(key)?;
        match node.value {
            Value::List(items) => Some(items),
            _ => {
                report.wrong_type(key, "a list", &node);
                None
            }
        }
    }

    /// The entries of the map under `key`, whatever its keys are.
    pub(crate) fn map(&mut self, key: &str, report: &mut Report) -> Option<Vec<Entry>> {
        let node = self.take(key)?;
        match node.value {
            Value::Map(entries) => Some(entries),
            _ => {
                report.wrong_type(key, "a map", &node);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests;
