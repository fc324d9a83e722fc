//! Values out of text that has a form of its own: URLs, `key=value` pairs and JSON.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::value::RawValue;
use url::Url;

/// A part of a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UrlPart {
    Scheme,
    Host,
    Port,
    Path,
    Query,
    Fragment,
}

impl UrlPart {
    pub(super) fn parse(text: &str) -> Option<Self> {
        Some(match text.to_ascii_lowercase().as_str() {
            "scheme" => Self::Scheme,
            "host" => Self::Host,
            "port" => Self::Port,
            "path" => Self::Path,
            "query" => Self::Query,
            "fragment" => Self::Fragment,
            _ => return None,
        })
    }

    /// The part as a browser would use it: scheme and host in lower case and Punycode, an IPv6 host without brackets, a
    /// port even where the scheme implies it. `None` where the URL has no such part, or is none.
    ///
    /// Source: the WHATWG URL standard.
    pub(super) fn of(self, url: &str) -> Option<String> {
        let url = Url::parse(url).ok()?;
        match self {
            Self::Scheme => Some(url.scheme().to_owned()),
            Self::Host => url.host_str().map(|host| host.trim_matches(['[', ']']).to_owned()),
            Self::Port => url.port_or_known_default().map(|port| port.to_string()),
            Self::Path => Some(url.path().to_owned()),
            Self::Query => url.query().map(str::to_owned),
            Self::Fragment => url.fragment().map(str::to_owned),
        }
    }
}

/// What stands between pairs (`None` for any white space), and between a key and its value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Separators<'s> {
    pair: Option<&'s str>,
    value: &'s str,
}

impl<'s> Separators<'s> {
    pub(super) fn new(pair: Option<&'s str>, value: &'s str) -> Option<Self> {
        (pair != Some("") && !value.is_empty()).then_some(Self { pair, value })
    }

    /// The value of the first pair with exactly this key. A value in double quotes may hold separators, and a backslash
    /// in it keeps the next character.
    pub(super) fn find<'t>(self, text: &'t str, key: &str) -> Option<Cow<'t, str>> {
        let mut rest = text;
        loop {
            rest = self.skip_separators(rest);
            if rest.is_empty() {
                return None;
            }
            let until_pair = self.next_pair(rest);
            let Some(at) = rest[..until_pair].find(self.value) else {
                rest = &rest[until_pair..];
                continue;
            };
            let (name, value) = (rest[..at].trim(), &rest[at + self.value.len()..]);
            let (found, after) = self.value_of(value);
            if name == key {
                return Some(found);
            }
            rest = after;
        }
    }

    fn skip_separators<'t>(&self, text: &'t str) -> &'t str {
        let mut rest = text.trim_start();
        while let Some(after) = self.pair.and_then(|pair| rest.strip_prefix(pair)) {
            rest = after.trim_start();
        }
        rest
    }

    /// Where the next separator of pairs stands, or the end.
    fn next_pair(&self, text: &str) -> usize {
        let found = match self.pair {
            None => text.find(char::is_whitespace),
            Some(pair) => text.find(pair),
        };
        found.unwrap_or(text.len())
    }

    /// The value that a text begins with, and what follows it.
    fn value_of<'t>(&self, text: &'t str) -> (Cow<'t, str>, &'t str) {
        if let Some(quoted) = text.strip_prefix('"')
            && let Some((value, after)) = unquote(quoted)
        {
            return (Cow::Owned(value), &after[self.next_pair(after)..]);
        }
        let (value, after) = text.split_at(self.next_pair(text));
        (Cow::Borrowed(value.trim_end()), after)
    }
}

/// The text up to the closing quote and what follows it; `None` where nothing closes.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(characters.next()?.1),
            other => value.push(other),
        }
    }
    None
}

/// The way to a value in JSON: `a.b`, `a[0].b`, `["a name with . in it"].b`; a leading `$` is the whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path(Vec<Step>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
}

impl Path {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut steps = vec![];
        let text = text.trim();
        let mut rest =
            text.strip_prefix('$').filter(|rest| rest.is_empty() || rest.starts_with(['.', '['])).unwrap_or(text);
        let mut is_first = rest.len() == text.len();
        while !rest.is_empty() {
            if let Some(inner) = rest.strip_prefix("[\"") {
                let (key, after) = unquote(inner)?;
                steps.push(Step::Key(key));
                rest = after.strip_prefix(']')?;
            } else if let Some(inner) = rest.strip_prefix('[') {
                let (index, after) = inner.split_once(']')?;
                steps.push(Step::Index(index.trim().parse().ok()?));
                rest = after;
            } else {
                let name = if is_first { rest } else { rest.strip_prefix('.')? };
                let end = name.find(['.', '[']).unwrap_or(name.len());
                if end == 0 {
                    return None;
                }
                steps.push(Step::Key(name[..end].to_owned()));
                rest = &name[end..];
            }
            is_first = false;
        }
        (!text.is_empty()).then_some(Self(steps))
    }

    /// The value as text: a string without its quotes, anything else as the JSON says it. `None` for null, for what is
    /// not there and for what is no JSON. Of equal keys the last holds.
    pub(super) fn of(&self, text: &str) -> Option<String> {
        let mut value: &RawValue = serde_json::from_str(text).ok()?;
        for step in &self.0 {
            value = match step {
                Step::Key(key) => {
                    let members: HashMap<Cow<'_, str>, &RawValue> = serde_json::from_str(value.get()).ok()?;
                    members.get(key.as_str()).copied()?
                }
                Step::Index(index) => {
                    let items: Vec<&RawValue> = serde_json::from_str(value.get()).ok()?;
                    items.get(*index).copied()?
                }
            };
        }
        match value.get() {
            "null" => None,
            text if text.starts_with('"') => serde_json::from_str(text).ok(),
            text => Some(text.to_owned()),
        }
    }
}
