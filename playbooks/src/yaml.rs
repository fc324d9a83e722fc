//! YAML with the place of every value, read by hand so that one pass reports every mistake and not only the first.

use std::collections::BTreeSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::{DuplicateKeyPolicy, Spanned};

use crate::duration;
use crate::playbook::is_name;
use crate::problem::{Family, Place, Problem, Span, meant, nearest};

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) span: Span,
    pub(crate) tree: Tree,
}

/// What stands there.
#[derive(Debug, Clone)]
pub(crate) enum Tree {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

/// A key and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) name: String,
    pub(crate) span: Span,
}

impl Tree {
    const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "true or false",
            Self::Number(_) => "a number",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }
}

impl Node {
    /// Text; a number or truth value is taken as it was most likely meant.
    pub(crate) fn text(&self) -> Option<String> {
        match &self.tree {
            Tree::Text(text) => Some(text.clone()),
            Tree::Number(number) => Some(number.to_string()),
            Tree::Bool(truth) => Some(truth.to_string()),
            Tree::Null | Tree::List(_) | Tree::Map(_) => None,
        }
    }

    /// The value for a message: one alone as it is written, else its kind.
    pub(crate) fn in_words(&self) -> String {
        self.text().map_or_else(|| self.tree.kind().to_owned(), |text| format!("`{text}`"))
    }

    /// The value without its places.
    pub(crate) fn json(&self) -> Value {
        match &self.tree {
            Tree::Null => Value::Null,
            Tree::Bool(truth) => Value::Bool(*truth),
            Tree::Number(number) => Value::Number(number.clone()),
            Tree::Text(text) => Value::String(text.clone()),
            Tree::List(items) => Value::Array(items.iter().map(Self::json).collect()),
            Tree::Map(fields) => {
                Value::Object(fields.iter().map(|(key, node)| (key.name.clone(), node.json())).collect::<Map<_, _>>())
            }
        }
    }
}

/// A whole file. A key that is there twice is a problem; the rest of the file is read all the same.
///
/// Errors: it is not YAML.
pub(crate) fn parse(text: &str, family: Family, problems: &mut Vec<Problem>) -> Result<Node, Problem> {
    let options = serde_saphyr::options! { duplicate_keys: DuplicateKeyPolicy::PassThrough, strict_booleans: true };
    match serde_saphyr::from_str_with_options::<Spanned<Tree>>(text, options) {
        Ok(spanned) => {
            let mut root = node(spanned);
            let widths: Vec<u32> = text.lines().map(|line| line.chars().count() as u32).collect();
            root.settle(&widths, family, problems);
            Ok(root)
        }
        Err(error) => {
            let span = error.location().map_or(Span::START, span_of);
            let message = error.without_snippet().to_string();
            let first = message.lines().next().unwrap_or("not YAML").to_owned();
            Err(Problem::new(family.yaml, span, format!("this is not YAML: {first}"))
                .hint("quote text that begins with `{`, `[`, `*`, `&`, `!`, `%`, `@` or contains `: ` or ` #`"))
        }
    }
}

fn span_of(location: serde_saphyr::Location) -> Span {
    let start = Place { line: (location.line() as u32).max(1), column: (location.column() as u32).max(1) };
    let width = (location.span().len() as u32).max(1);
    Span { start, end: Place { line: start.line, column: start.column.saturating_add(width) } }
}

fn node(spanned: Spanned<Tree>) -> Node {
    Node { span: span_of(spanned.referenced), tree: spanned.value }
}

impl Node {
    /// Makes the spans true to the text, of which `widths` are the lines: text over several lines ends for a reader with
    /// its first one, and a mapping is its first key. Drops keys that are there twice, and says so.
    fn settle(&mut self, widths: &[u32], family: Family, problems: &mut Vec<Problem>) {
        self.span.settle(widths);
        match &mut self.tree {
            Tree::List(items) => items.iter_mut().for_each(|item| item.settle(widths, family, problems)),
            Tree::Map(fields) => {
                for (key, node) in fields.iter_mut() {
                    key.span.settle(widths);
                    node.settle(widths, family, problems);
                }
                if let Some((first, _)) = fields.first().filter(|(key, _)| key.span.start == self.span.start) {
                    self.span = first.span;
                }
                drop_doubled(fields, family, problems);
            }
            Tree::Null | Tree::Bool(_) | Tree::Number(_) | Tree::Text(_) => {}
        }
    }
}

impl Span {
    fn settle(&mut self, widths: &[u32]) {
        let width = widths.get(self.start.line as usize - 1).copied().unwrap_or(0);
        self.end.column = self.end.column.min(width + 1).max(self.start.column + 1);
    }
}

fn drop_doubled(fields: &mut Vec<(Key, Node)>, family: Family, problems: &mut Vec<Problem>) {
    let mut seen = BTreeSet::new();
    fields.retain(|(key, _)| {
        let is_new = seen.insert(key.name.clone());
        if !is_new {
            problems.push(Problem::new(family.yaml, key.span, format!("the key `{}` is there twice", key.name)));
        }
        is_new
    });
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Number(value.into()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Number(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Tree, E> {
        Number::from_f64(value).map(Tree::Number).ok_or_else(|| E::custom("a number must be finite"))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Tree, E> {
        Ok(Tree::Text(value.to_owned()))
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Tree, E> {
        Ok(Tree::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element::<Spanned<Tree>>()? {
            list.push(node(item));
        }
        Ok(Tree::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Tree, A::Error> {
        let mut map = Vec::new();
        while let Some(key) = fields.next_key::<Spanned<String>>()? {
            let value = fields.next_value::<Spanned<Tree>>()?;
            map.push((Key { span: span_of(key.referenced), name: key.value }, node(value)));
        }
        Ok(Tree::Map(map))
    }
}

/// The fields of one mapping, taken one by one; what nobody took is an unknown key.
pub(crate) struct Fields<'a> {
    pub(crate) span: Span,
    family: Family,
    left: Vec<&'a (Key, Node)>,
    known: &'static [&'static str],
}

impl<'a> Fields<'a> {
    /// Opens a mapping; anything else is a problem.
    pub(crate) fn open(
        node: &'a Node,
        what: &str,
        known: &'static [&'static str],
        family: Family,
        problems: &mut Vec<Problem>,
    ) -> Option<Self> {
        match &node.tree {
            Tree::Map(fields) => Some(Self { span: node.span, family, left: fields.iter().collect(), known }),
            other => {
                let message = format!("{what} is a mapping of keys to values, not {}", other.kind());
                problems.push(Problem::new(family.value, node.span, message));
                None
            }
        }
    }

    /// Takes the value of a key.
    pub(crate) fn take(&mut self, name: &str) -> Option<&'a Node> {
        self.take_with_key(name).map(|(_, node)| node)
    }

    /// Takes a key and its value.
    pub(crate) fn take_with_key(&mut self, name: &str) -> Option<&'a (Key, Node)> {
        debug_assert!(self.known.contains(&name), "{name} is missing in the list of known keys");
        let at = self.left.iter().position(|(key, _)| key.name == name)?;
        Some(self.left.remove(at))
    }

    /// The value of a key that is not taken yet.
    pub(crate) fn peek(&self, name: &str) -> Option<&'a Node> {
        self.left.iter().find(|(key, _)| key.name == name).map(|(_, node)| node)
    }

    /// Takes the first key for which `wanted` holds.
    pub(crate) fn take_first(&mut self, wanted: impl Fn(&str) -> bool) -> Option<&'a (Key, Node)> {
        let at = self.left.iter().position(|(key, _)| wanted(&key.name))?;
        Some(self.left.remove(at))
    }

    /// Takes text.
    pub(crate) fn text(&mut self, name: &str, problems: &mut Vec<Problem>) -> Option<String> {
        let node = self.take(name)?;
        let text = node.text();
        if text.is_none() {
            self.wrong(node, name, "text", problems);
        }
        text
    }

    /// Takes text that must be there.
    pub(crate) fn text_required(&mut self, name: &str, problems: &mut Vec<Problem>) -> Option<String> {
        if !self.left.iter().any(|(key, _)| key.name == name) {
            self.missing(name, problems);
            return None;
        }
        self.text(name, problems)
    }

    /// Takes the name of the file's subject, which must be there.
    pub(crate) fn name_required(&mut self, name: &str, problems: &mut Vec<Problem>) -> Option<String> {
        let span = self.peek(name).map(|node| node.span);
        let text = self.text_required(name, problems)?;
        if !is_name(&text) {
            let problem = Problem::new(self.family.value, span?, format!("`{text}` is no name"));
            problems.push(problem.hint("a name has letters, digits and `_`, and begins with a letter"));
        }
        Some(text)
    }

    /// Takes a whole number within limits.
    pub(crate) fn whole(&mut self, name: &str, least: u64, most: u64, problems: &mut Vec<Problem>) -> Option<u64> {
        let node = self.take(name)?;
        match &node.tree {
            Tree::Number(number) if number.as_u64().is_some_and(|value| (least..=most).contains(&value)) => {
                number.as_u64()
            }
            _ => {
                self.wrong(node, name, &format!("a whole number from {least} to {most}"), problems);
                None
            }
        }
    }

    /// Takes a duration such as `15 minutes`.
    pub(crate) fn duration(&mut self, name: &str, problems: &mut Vec<Problem>) -> Option<std::time::Duration> {
        let node = self.take(name)?;
        let parsed = node.text().and_then(|text| duration::parse(&text));
        if parsed.is_none() {
            self.wrong(node, name, "a duration such as `30 seconds`, `15 minutes` or `2 hours`", problems);
        }
        parsed
    }

    /// Takes a list of text; one text alone is a list of one.
    pub(crate) fn texts(&mut self, name: &str, problems: &mut Vec<Problem>) -> Vec<String> {
        let Some(node) = self.take(name) else { return Vec::new() };
        let texts: Option<Vec<String>> = match &node.tree {
            Tree::List(items) => items.iter().map(Node::text).collect(),
            _ => node.text().map(|text| vec![text]),
        };
        texts.unwrap_or_else(|| {
            self.wrong(node, name, "a list of text", problems);
            Vec::new()
        })
    }

    /// Takes a mapping and returns its pairs.
    pub(crate) fn pairs(&mut self, name: &str, problems: &mut Vec<Problem>) -> &'a [(Key, Node)] {
        match self.take(name) {
            None => &[],
            Some(Node { tree: Tree::Map(fields), .. }) => fields,
            Some(node) => {
                self.wrong(node, name, "a mapping", problems);
                &[]
            }
        }
    }

    /// Takes one word of a closed set.
    pub(crate) fn word<T: Copy>(&mut self, name: &str, words: &[(&str, T)], problems: &mut Vec<Problem>) -> Option<T> {
        let node = self.take(name)?;
        let text = node.text().unwrap_or_default();
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let all = words.iter().map(|(word, _)| *word).collect::<Vec<_>>();
            let message = format!("`{name}` is one of {}, not `{text}`", all.join(", "));
            problems.push(Problem::new(self.family.value, node.span, message).maybe_hint(nearest(&text, all)));
        }
        found
    }

    /// Whether an unknown key was probably meant to be one of these.
    pub(crate) fn has_misspelt(&self, names: &[&str]) -> bool {
        let unknown = self.left.iter().map(|(key, _)| key.name.as_str()).filter(|name| !self.known.contains(name));
        let mut meant = unknown.filter_map(|name| meant(name, self.known.iter().copied()));
        meant.any(|name| names.contains(&name))
    }

    /// Reports a key that must be there. One that is misspelt is told as an unknown key.
    pub(crate) fn missing(&self, name: &str, problems: &mut Vec<Problem>) {
        if self.has_misspelt(&[name]) {
            return;
        }
        problems.push(Problem::new(self.family.missing_key, self.span, format!("`{name}` is missing")));
    }

    /// Reports a value of the wrong type.
    pub(crate) fn wrong(&self, node: &Node, name: &str, expected: &str, problems: &mut Vec<Problem>) {
        let message = format!("`{name}` is {expected}, not {}", node.in_words());
        problems.push(Problem::new(self.family.value, node.span, message));
    }

    /// What nobody took yet.
    pub(crate) fn left(&self) -> impl Iterator<Item = &'a Node> {
        self.left.iter().map(|(_, node)| node)
    }

    /// Reports the keys that do not exist at all, where it cannot be told which of the others belong here.
    pub(crate) fn close_unknown(mut self, problems: &mut Vec<Problem>) {
        self.left.retain(|(key, _)| !self.known.contains(&key.name.as_str()));
        self.close(problems);
    }

    /// Reports every key that nobody took.
    pub(crate) fn close(self, problems: &mut Vec<Problem>) {
        for (key, _) in self.left {
            let (code, message) = if self.known.contains(&key.name.as_str()) {
                (self.family.value, format!("`{}` does not belong here", key.name))
            } else {
                (self.family.unknown_key, format!("unknown key `{}`", key.name))
            };
            let hint = nearest(&key.name, self.known.iter().copied());
            problems.push(Problem::new(code, key.span, message).maybe_hint(hint));
        }
    }
}
