//! YAML that cannot be read as a whole: which of its entries are wrong, and the others as a text that can be read, so that an
//! open bracket does not hide what else is wrong in its file.
//!
//! The parser stops at the first mistake of syntax. What YAML means follows its indentation, so an entry that cannot be
//! read alone is looked at entry by entry in turn, and the smallest that is wrong is told and cut out. In its place stands a
//! value that no key takes: whoever reads the text refuses it, and that refusal is dropped here.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;

use serde::de::IgnoredAny;
use serde_saphyr::{DuplicateKeyPolicy, UserMessageFormatter};
use weir_engine::{Diagnostic, Place, Span};

/// What stands for an entry that cannot be read.
const NO_VALUE: &str = "[[]]";
const TAB_HINT: &str = "YAML indents with spaces";
/// What stands for the key of an entry of a list.
const ITEM: &str = "-";

/// Which codes one kind of file has for what is told and dropped here.
pub(crate) struct Codes {
    /// It is no YAML.
    pub(crate) syntax: &'static str,
    /// A key is missing.
    pub(crate) missing: &'static str,
    /// What may be missed elsewhere where an entry of this key is cut out; `-` is an entry of a list.
    pub(crate) follow_ups: &'static [(&'static str, &'static str)],
}

/// A text as far as it can be read.
pub(crate) struct Readable<'a> {
    /// The text. Its lines are those of the author.
    pub(crate) text: Cow<'a, str>,
    lost: Lost,
}

/// What was cut out.
#[derive(Default)]
struct Lost {
    mistakes: Vec<Mistake>,
    lines: BTreeSet<u32>,
    /// The keys of what was cut out; `-` for an entry of a list.
    keys: BTreeSet<String>,
    /// An entry whose key cannot be told, so that no key can be said to be missing.
    is_nameless: bool,
    /// Nothing can be read.
    is_all: bool,
}

/// A mistake of syntax.
struct Mistake {
    place: Place,
    message: String,
    hint: &'static str,
}

/// Cuts out what is no YAML.
pub(crate) fn readable(text: &str) -> Readable<'_> {
    let lines: Vec<&str> = text.lines().collect();
    let Some(mistake) = mistake(&lines, 0) else { return Readable { text: text.into(), lost: Lost::default() } };
    if let Some(tabs) = tabs(&lines, 0) {
        let spaced: Vec<String> = lines.iter().map(|line| without_tabs(line)).collect();
        let is_cured = self::mistake(&spaced, 0).is_none();
        if is_cured {
            let lost = Lost { mistakes: vec![tabs], ..Lost::default() };
            return Readable { text: spaced.join("\n").into(), lost };
        }
        // A tab in the text of a value does no harm.
        if mistake.hint == TAB_HINT {
            return unreadable(tabs);
        }
    }
    let mut mender = Mender { lines: lines.iter().map(|line| (*line).to_owned()).collect(), lost: Lost::default() };
    mender.entries(0..lines.len());
    match self::mistake(&mender.lines, 0) {
        None => Readable { text: mender.lines.join("\n").into(), lost: mender.lost },
        Some(_) => unreadable(mistake),
    }
}

/// A text of which nothing can be told but one mistake.
fn unreadable<'a>(mistake: Mistake) -> Readable<'a> {
    let lost = Lost { is_all: true, mistakes: vec![mistake], ..Lost::default() };
    Readable { text: "".into(), lost }
}

impl Readable<'_> {
    /// Whether it is the author's text.
    pub(crate) fn is_whole(&self) -> bool {
        self.lost.mistakes.is_empty()
    }

    /// Makes of what is wrong with the text what is wrong with the author's: what was cut out is told, and what follows
    /// from that is not.
    pub(crate) fn judge(&self, file: &str, codes: &Codes, found: &mut Vec<Diagnostic>) {
        if self.is_whole() {
            return;
        }
        found.retain(|diagnostic| !self.lost.causes(diagnostic, codes));
        found.extend(self.lost.mistakes.iter().map(|mistake| {
            let diagnostic = Diagnostic::error(codes.syntax, mistake.message.clone()).at(Span::at(mistake.place));
            diagnostic.hint(mistake.hint).in_file(file)
        }));
    }
}

impl Lost {
    fn causes(&self, diagnostic: &Diagnostic, codes: &Codes) -> bool {
        let may_be_named = |key: &str| self.is_nameless || self.keys.contains(key);
        self.is_all
            || diagnostic.span.is_some_and(|span| self.lines.contains(&span.start.line))
            || self.is_nameless && diagnostic.code == codes.missing
            || codes.follow_ups.iter().any(|(key, code)| *code == diagnostic.code && may_be_named(key))
    }
}

/// Why these lines, of which the first is number `from` of its file, are no YAML.
fn mistake(lines: &[impl AsRef<str>], from: usize) -> Option<Mistake> {
    if lines.iter().all(|line| is_blank(line.as_ref())) {
        return None;
    }
    let text: String = lines.iter().flat_map(|line| [line.as_ref(), "\n"]).collect();
    let options = serde_saphyr::options! { duplicate_keys: DuplicateKeyPolicy::PassThrough, with_snippet: false };
    let error = serde_saphyr::from_str_with_options::<IgnoredAny>(&text, options).err()?;
    let message = error.without_snippet().render_with_formatter(&UserMessageFormatter);
    // The parser writes the place into its message, where it would stand twice.
    let message = message.lines().next().unwrap_or("it cannot be read");
    let message = message.rfind(" at line ").map_or(message, |at| &message[..at]).trim_end_matches([':', ',']);
    let place = error.location().map(|location| (location.line() as u32, location.column() as u32));
    let (line, column) = place.filter(|(line, _)| *line > 0).unwrap_or((1, 1));
    let line = line + from as u32;
    if ["a tab", "tabs"].iter().any(|word| message.contains(word))
        && let Some(tabs) = tabs(lines, from)
    {
        return Some(tabs);
    }
    let (message, hint) = if message.starts_with("unclosed") {
        (message, "close it, or quote the text that it is part of")
    } else if message.contains("did not find expected") {
        ("this is indented like nothing above it", "the entries of a list or map begin in one column")
    } else {
        (message, "quote text that begins with `{`, `[`, `*`, `&`, `!`, `%`, `@` or contains `: ` or ` #`")
    };
    let message = format!("this is not YAML: {message}");
    Some(Mistake { place: Place { line, column: column.max(1) }, message, hint })
}

/// Lines that are indented with tabs, as one mistake at the first.
fn tabs(lines: &[impl AsRef<str>], from: usize) -> Option<Mistake> {
    let tab = |line: &str| indent_of(line).find('\t');
    let (at, column) = lines.iter().enumerate().find_map(|(at, line)| Some((at, tab(line.as_ref())?)))?;
    let more = lines[at + 1..].iter().filter(|line| tab(line.as_ref()).is_some()).count();
    let more = match more {
        0 => String::new(),
        1 => ", and one more".to_owned(),
        more => format!(", and {more} more"),
    };
    Some(Mistake {
        place: Place { line: (from + at) as u32 + 1, column: column as u32 + 1 },
        message: format!("this line is indented with a tab{more}"),
        hint: TAB_HINT,
    })
}

fn without_tabs(line: &str) -> String {
    let indent = indent_of(line);
    format!("{}{}", indent.replace('\t', " "), &line[indent.len()..])
}

fn indent_of(line: &str) -> &str {
    &line[..line.len() - line.trim_start_matches([' ', '\t']).len()]
}

/// Whether a line says nothing.
fn is_blank(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || line.starts_with('#')
}

/// The key that a line begins with, without quotes.
fn key_of(line: &str) -> Option<&str> {
    let (key, rest) = line.trim_start().split_once(':')?;
    let is_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    (!key.is_empty() && key.chars().all(is_word) && (rest.is_empty() || rest.starts_with(' '))).then_some(key)
}

struct Mender {
    lines: Vec<String>,
    lost: Lost,
}

impl Mender {
    /// Looks at the entries of a map or list one by one.
    fn entries(&mut self, range: Range<usize>) {
        let content = |line: &usize| !is_blank(&self.lines[*line]);
        let Some(first) = range.clone().find(content) else { return };
        let depth = indent_of(&self.lines[first]).len();
        // A bracket that closes what an entry opened is a part of it.
        let begins = |line: &usize| {
            let text = &self.lines[*line];
            indent_of(text).len() <= depth && !text.trim_start().starts_with([']', '}'])
        };
        let starts: Vec<usize> = range.clone().filter(content).filter(begins).chain([range.end]).collect();
        for entry in starts.windows(2) {
            self.entry(entry[0]..entry[1]);
        }
    }

    /// Cuts out of an entry what is wrong with it, or the whole of it.
    fn entry(&mut self, range: Range<usize>) {
        let Some(mistake) = self.mistake(&range) else { return };
        let told = self.lost.mistakes.len();
        let line = self.lines[range.start].clone();
        let indent = indent_of(&line).len();
        let is_item = line[indent..].starts_with("- ");
        let has_entries = key_of(&line).is_some_and(|key| line[indent + key.len()..].trim_end() == ":");
        if is_item {
            self.inside(range.clone(), range.clone(), &format!("{}  {}", &line[..indent], &line[indent + 2..]));
            let rest = self.lines[range.start].get(indent + 2..).unwrap_or_default().to_owned();
            self.lines[range.start] = format!("{}- {rest}", &line[..indent]);
        } else if has_entries {
            self.inside(range.clone(), range.start + 1..range.end, &line);
        }
        let is_told = self.lost.mistakes.len() > told;
        if !is_told {
            self.lost.mistakes.push(mistake);
        }
        if !is_told || self.mistake(&range).is_some() {
            self.cut(range);
        }
    }

    /// Looks at what is inside of an entry, whose first line is `head` for that. Where nothing is left, no value stands there.
    fn inside(&mut self, range: Range<usize>, inside: Range<usize>, head: &str) {
        let is_nameless = self.lost.is_nameless;
        self.lines[range.start] = head.to_owned();
        self.entries(inside.clone());
        if inside.clone().all(|line| is_blank(&self.lines[line])) {
            self.lost.is_nameless = is_nameless;
            self.lost.lines.insert(range.start as u32 + 1);
            match key_of(head).filter(|_| inside.start > range.start) {
                Some(key) => {
                    self.lost.keys.insert(key.to_owned());
                    self.lines[range.start] = format!("{}{key}: {NO_VALUE}", indent_of(head));
                }
                None => {
                    self.lost.keys.insert(ITEM.to_owned());
                    self.lines[range.start] = format!("{}{NO_VALUE}", indent_of(head));
                }
            }
        }
    }

    fn mistake(&self, range: &Range<usize>) -> Option<Mistake> {
        // What an alias stands for is elsewhere.
        let is_about_this = |mistake: &Mistake| !mistake.message.ends_with("reference to unknown value");
        mistake(&self.lines[range.clone()], range.start).filter(is_about_this)
    }

    /// Cuts out the whole of an entry.
    fn cut(&mut self, range: Range<usize>) {
        let line = self.lines[range.start].clone();
        let indent = indent_of(&line);
        self.lost.lines.extend(range.clone().map(|line| line as u32 + 1));
        self.lines[range.clone()].fill(String::new());
        self.lines[range.start] = match key_of(&line) {
            Some(key) => {
                self.lost.keys.insert(key.to_owned());
                format!("{indent}{key}: {NO_VALUE}")
            }
            None if line[indent.len()..].starts_with("- ") => {
                self.lost.keys.insert(ITEM.to_owned());
                format!("{indent}- {NO_VALUE}")
            }
            None => {
                self.lost.is_nameless = true;
                String::new()
            }
        };
    }
}

#[cfg(test)]
mod tests;
