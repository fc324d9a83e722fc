//! Text with `${field}` in it. A value is put in as data at a known place; it is never read as syntax.
//!
//! Filters change a value on its way: `${x | lower}`, `${x | plain}` (refuses all but letters, digits and `._:@-`, for
//! query languages that have no quoting), `${x | quoted}` (a quoted string with `\` and `"` escaped), and the name of a
//! map of the responder file (`${alert.severity | priority}`). `$${` stands for `${` itself.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::fields::{self, Kind, Names};
use crate::problem::{Family, Place, Problem, Span, nearest};

/// A template; its text is checked, its fields are known.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    pub(crate) parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Part {
    Text(String),
    Field(Field),
}

/// A field and what happens to its value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Field {
    pub(crate) path: Vec<String>,
    pub(crate) kind: Kind,
    pub(crate) filters: Vec<Filter>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Filter {
    Lower,
    Plain,
    Quoted,
    Map(BTreeMap<String, Value>),
}

/// Why a template has no value for these facts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// The field is not there.
    #[error("`{0}` has no value")]
    Missing(String),
    /// A structure where text, a number or a truth value is needed.
    #[error("`{0}` is a structure, not a single value")]
    NotScalar(String),
    /// A value that would be read as syntax where it is going.
    #[error("`{path}` is {value:?}, which could be read as syntax here")]
    NotPlain {
        /// The field.
        path: String,
        /// Its value.
        value: String,
    },
    /// A map has no entry for the value, and no `default`.
    #[error("the map has no entry for `{path}` = {value:?}")]
    Unmapped {
        /// The field.
        path: String,
        /// Its value.
        value: String,
    },
    /// A value that would change the structure of a URL or header.
    #[error("{0}")]
    Structure(String),
}

/// The maps of a responder file by name.
pub(crate) type Maps = BTreeMap<String, BTreeMap<String, Value>>;

/// What a template is checked against.
pub(crate) struct Check<'a> {
    /// The whole file, to find the place of a field in it.
    pub(crate) source: &'a str,
    pub(crate) names: &'a Names,
    pub(crate) maps: &'a Maps,
    pub(crate) family: Family,
}

impl Template {
    /// Reads a template; what is wrong is reported and stands as text.
    pub(crate) fn read(text: &str, span: Span, check: &Check<'_>, problems: &mut Vec<Problem>) -> Self {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            if rest[..at].ends_with('$') {
                literal.push_str(&rest[..at]);
                literal.push('{');
                rest = &rest[at + 2..];
                continue;
            }
            literal.push_str(&rest[..at]);
            let Some(length) = rest[at..].find('}') else {
                let span = locate(check.source, span, &rest[at..]);
                problems.push(
                    Problem::new(check.family.value, span, "`${` without `}`")
                        .hint("write `$${` for the characters themselves"),
                );
                rest = &rest[rest.len()..];
                break;
            };
            let whole = &rest[at..=at + length];
            if let Some(field) = read_field(whole, span, check, problems) {
                if !literal.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut literal)));
                }
                parts.push(Part::Field(field));
            }
            rest = &rest[at + length + 1..];
        }
        literal.push_str(rest);
        if !literal.is_empty() || parts.is_empty() {
            parts.push(Part::Text(literal));
        }
        Self { parts }
    }

    /// A template without fields.
    pub(crate) fn literal(text: impl Into<String>) -> Self {
        Self { parts: vec![Part::Text(text.into())] }
    }

    /// The field that this template is, where it is nothing else.
    pub(crate) fn only_field(&self) -> Option<&Field> {
        match self.parts.as_slice() {
            [Part::Field(field)] => Some(field),
            _ => None,
        }
    }

    /// Running text: every value as people read it.
    pub(crate) fn text(&self, scope: &Value) -> Result<String, RenderError> {
        self.parts.iter().try_fold(String::new(), |mut text, part| {
            match part {
                Part::Text(literal) => text.push_str(literal),
                Part::Field(field) => text.push_str(&field.text(scope)?),
            }
            Ok(text)
        })
    }

    /// Text for people: an absent value reads `unknown`, because a message without a name is better than none.
    pub(crate) fn prose(&self, scope: &Value) -> Result<String, RenderError> {
        self.parts.iter().try_fold(String::new(), |mut text, part| {
            match part {
                Part::Text(literal) => text.push_str(literal),
                Part::Field(field) => match field.text(scope) {
                    Err(RenderError::Missing(_)) => text.push_str("unknown"),
                    other => text.push_str(&other?),
                },
            }
            Ok(text)
        })
    }

    /// A JSON value: a lone `${field}` keeps its type, anything else is a string.
    ///
    /// Errors: a structure from outside is refused, so that no value can bring keys of its own.
    pub(crate) fn json(&self, scope: &Value) -> Result<Value, RenderError> {
        let Some(field) = self.only_field() else { return self.text(scope).map(Value::String) };
        let value = field.value(scope)?;
        match (&value, field.kind) {
            (Value::Array(items), Kind::Texts) if items.iter().all(Value::is_string) => Ok(value),
            (Value::Array(_) | Value::Object(_), _) => Err(RenderError::NotScalar(field.name())),
            (Value::Number(number), Kind::Text) => Ok(Value::String(number.to_string())),
            _ => Ok(value),
        }
    }
}

impl Field {
    pub(crate) fn name(&self) -> String {
        self.path.join(".")
    }

    /// The value after its filters.
    pub(crate) fn value(&self, scope: &Value) -> Result<Value, RenderError> {
        let value = fields::get(scope, &self.path).ok_or_else(|| RenderError::Missing(self.name()))?.clone();
        self.filters.iter().try_fold(value, |value, filter| self.apply(filter, value))
    }

    /// The value as text; a list is joined by commas.
    pub(crate) fn text(&self, scope: &Value) -> Result<String, RenderError> {
        plain_text(&self.value(scope)?).ok_or_else(|| RenderError::NotScalar(self.name()))
    }

    fn apply(&self, filter: &Filter, value: Value) -> Result<Value, RenderError> {
        let text = plain_text(&value).ok_or_else(|| RenderError::NotScalar(self.name()))?;
        match filter {
            Filter::Lower => Ok(Value::String(text.to_lowercase())),
            Filter::Plain if is_plain(&text) => Ok(Value::String(text)),
            Filter::Plain => Err(RenderError::NotPlain { path: self.name(), value: text }),
            Filter::Quoted if text.chars().any(char::is_control) => {
                Err(RenderError::NotPlain { path: self.name(), value: text })
            }
            Filter::Quoted => Ok(Value::String(format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")))),
            Filter::Map(map) => map
                .get(&text)
                .or_else(|| map.get("default"))
                .cloned()
                .ok_or_else(|| RenderError::Unmapped { path: self.name(), value: text }),
        }
    }
}

/// Letters, digits and `._:@-` only: no query language reads syntax in that.
pub(crate) fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "._:@-".contains(c))
}

fn plain_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Array(items) => items.iter().map(plain_text).collect::<Option<Vec<_>>>().map(|texts| texts.join(", ")),
        Value::Null | Value::Object(_) => None,
    }
}

fn read_field(whole: &str, span: Span, check: &Check<'_>, problems: &mut Vec<Problem>) -> Option<Field> {
    // Folded text stands in the file otherwise than here.
    let found = find(check.source, span, whole);
    let span = found.unwrap_or(span);
    let mut pieces = whole[2..whole.len() - 1].split('|').map(str::trim);
    let name = pieces.next().unwrap_or_default();
    let path: Vec<String> = name.split('.').map(str::to_owned).collect();
    let kind = match check.names.kind(&path) {
        Ok(kind) => kind,
        Err(unknown) => {
            problems.push(Problem::new(check.family.field, span, unknown.message).maybe_hint(unknown.hint));
            return None;
        }
    };
    let mut filters = Vec::new();
    for filter in pieces {
        filters.push(match filter {
            "lower" => Filter::Lower,
            "plain" => Filter::Plain,
            "quoted" => Filter::Quoted,
            other => match check.maps.get(other) {
                Some(map) => Filter::Map(map.clone()),
                None => {
                    let known = ["lower", "plain", "quoted"].into_iter().chain(check.maps.keys().map(String::as_str));
                    let word = |found| locate(check.source, locate(check.source, found, "|"), other);
                    let span = found.map_or(span, word);
                    let problem = Problem::new(check.family.field, span, format!("unknown filter `{other}`"));
                    problems.push(problem.maybe_hint(nearest(other, known)));
                    return None;
                }
            },
        });
    }
    // A map decides the type of what comes out of it.
    let kind = if filters.iter().any(|filter| matches!(filter, Filter::Map(_))) { Kind::Any } else { kind };
    Some(Field { path, kind, filters })
}

/// Where `needle` stands in `source`, at or after `start`; `start` where it is not found, as in folded text.
pub(crate) fn locate(source: &str, start: Span, needle: &str) -> Span {
    find(source, start, needle).unwrap_or(start)
}

/// Where `needle` stands in `source`, at or after `start`.
pub(crate) fn find(source: &str, start: Span, needle: &str) -> Option<Span> {
    let from = offset(source, start.start)?;
    let at = from + source[from..].find(needle)?;
    Some(Span { start: place(source, at), end: place(source, at + needle.len()) })
}

fn offset(source: &str, Place { line, column }: Place) -> Option<usize> {
    let line_at: usize = source.split_inclusive('\n').map(str::len).take(line as usize - 1).sum();
    let rest = source.get(line_at..)?;
    Some(rest.char_indices().nth(column as usize - 1).map_or(line_at, |(at, _)| line_at + at))
}

fn place(source: &str, offset: usize) -> Place {
    let before = &source[..offset];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
    Place { line: line as u32, column: column as u32 }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::problem::codes;

    fn read(text: &str) -> (Template, Vec<Problem>) {
        let names = fields::facts();
        let maps = Maps::from([("rank".to_owned(), BTreeMap::from([("high".to_owned(), json!(2))]))]);
        let check = Check { source: text, names: &names, maps: &maps, family: codes::P };
        let mut problems = Vec::new();
        let template = Template::read(text, Span::START, &check, &mut problems);
        (template, problems)
    }

    #[test]
    fn unknown_field_is_named_with_its_place_and_the_nearest_one() {
        let (_, problems) = read("host ${alert.entities.hots}");
        assert_eq!(problems[0].to_string(), "1:6: P005 unknown field `alert.entities.hots`; did you mean `host`?");
    }

    #[test]
    fn lone_field_keeps_its_type_and_a_structure_is_refused() {
        let scope = json!({"alert": {"severity": "high", "count": 3, "attack": ["T1"], "evidence": {"x": {"a": 1}}}});
        assert_eq!(read("${alert.count}").0.json(&scope), Ok(json!(3)));
        assert_eq!(read("n=${alert.count}").0.json(&scope), Ok(json!("n=3")));
        assert_eq!(read("${alert.attack}").0.json(&scope), Ok(json!(["T1"])));
        assert_eq!(read("${alert.severity | rank}").0.json(&scope), Ok(json!(2)));
        assert_eq!(read("${alert.evidence.x}").0.json(&scope), Err(RenderError::NotScalar("alert.evidence.x".into())));
        assert_eq!(read("${alert.title}").0.json(&scope), Err(RenderError::Missing("alert.title".into())));
    }

    #[test]
    fn value_that_looks_like_a_template_is_not_expanded() {
        let scope = json!({"alert": {"title": "${alert.uid}$${", "uid": "secret"}});
        assert_eq!(read("t: ${alert.title}").0.text(&scope), Ok("t: ${alert.uid}$${".to_owned()));
    }

    #[test]
    fn doubled_dollar_stands_for_itself() {
        assert_eq!(read("cost $${x}").0.text(&json!({})), Ok("cost ${x}".to_owned()));
    }

    #[test]
    fn plain_refuses_what_a_query_language_could_read() {
        let scope = json!({"alert": {"title": "x' OR 1=1"}});
        assert!(matches!(read("${alert.title | plain}").0.text(&scope), Err(RenderError::NotPlain { .. })));
        let scope = json!({"alert": {"title": "a\" OR \\x"}});
        assert_eq!(read("${alert.title | quoted}").0.text(&scope), Ok(r#""a\" OR \\x""#.to_owned()));
    }
}
