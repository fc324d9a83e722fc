//! The header of a detection file: TOML in its leading `--!` lines, so that tools for SQL take it for comments.
//!
//! ```
//! let text = "--! id = \"identity.guessing\"\n--! title = \"Guessing\"\n--! severity = \"high\"\nSELECT time FROM signin\n";
//! let detection = weir_detections::parse("identity/guessing.sql", text).unwrap();
//! assert_eq!(detection.title, "Guessing");
//! assert_eq!(detection.sql_start.line, 4);
//! ```

use std::collections::BTreeMap;

use weir_engine::error::nearest;
use weir_engine::sql::parse_duration_us;
use weir_engine::{Diagnostic, Place, Span};

use crate::codes;
use crate::detection::{Confidence, Delivery, Detection, MAX_RISK_SCORE, Param, Severity, Status};
use crate::document::{At, Codes, Entry, Fields, Report, Value, parse_toml};
use crate::entity::EntityKind;

/// Every key of a header, in the order in which the documentation lists them.
pub(crate) const KEYS: [&str; 23] = [
    "id",
    "title",
    "severity",
    "status",
    "owner",
    "description",
    "author",
    "date",
    "modified",
    "version",
    "confidence",
    "risk_score",
    "attack",
    "tags",
    "references",
    "false_positives",
    "related",
    "license",
    "entities",
    "cooldown",
    "allowed_lateness",
    "delivery",
    "playbook",
];

/// Keys that stand beside [`KEYS`] because they are about the text rather than about its meaning.
pub(crate) const MORE_KEYS: [&str; 2] = ["params", "runbook"];

const CODES: Codes = Codes {
    syntax: codes::HEADER_SYNTAX,
    unknown_key: codes::HEADER_UNKNOWN_KEY,
    wrong_type: codes::HEADER_WRONG_TYPE,
    wrong_value: codes::HEADER_WRONG_VALUE,
    missing: codes::HEADER_MISSING,
};

/// Reads a detection file.
///
/// # Errors
/// Everything that is wrong with its header, in the order of the text. The SQL is only looked at for being there.
pub fn parse(file: &str, text: &str) -> Result<Detection, Vec<Diagnostic>> {
    let Reading { draft, diagnostics, .. } = read(file, text);
    if diagnostics.is_empty() { Ok(draft) } else { Err(diagnostics) }
}

/// A detection file, read as far as its header goes.
pub(crate) struct Reading {
    /// The detection. What the header does not say, or says wrongly, is empty.
    pub(crate) draft: Detection,
    /// Whether the SQL can be judged by what is known of its parameters.
    pub(crate) params_are_known: bool,
    /// What is wrong with the header.
    pub(crate) diagnostics: Vec<Diagnostic>,
}

/// Reads a detection file, also one with mistakes, so that its SQL can be judged at the same time.
pub(crate) fn read(file: &str, text: &str) -> Reading {
    let parts = split(text);
    let mut report = Report::new(CODES);
    let place = |place: Place| parts.place_in_file(place);
    let known: Vec<_> = KEYS.into_iter().chain(MORE_KEYS).collect();
    let (node, lost) = parse_toml(&parts.toml, &known, &place, &mut report);
    let told = report.found.len();
    let mut fields = Fields::of(node, "the header", &known, &mut report).expect("a TOML document is a map");
    fields.lose(lost);
    let params_may_be_read = report.found.len() == told && !fields.may_be_unread("params");
    let mut reader = Reader { fields, report: &mut report, places: BTreeMap::new(), params_are_known: true };
    let draft = reader.detection(file, &parts);
    let params_are_known = params_may_be_read && reader.params_are_known;
    check_sql(&parts, &mut report);
    Reading { draft, params_are_known, diagnostics: report.finish(file) }
}

/// A file cut into header and SQL.
struct Parts {
    /// One line per line of the header, without `--!`.
    toml: String,
    /// How many characters of each header line were cut off.
    cut: Vec<u32>,
    sql: String,
    sql_start: Place,
    /// Header lines below the SQL.
    stray: Vec<Span>,
}

impl Parts {
    fn place_in_file(&self, place: Place) -> Place {
        let cut = self.cut.get(place.line as usize - 1).copied().unwrap_or(0);
        Place { column: place.column + cut, ..place }
    }
}

/// Header lines, blank lines and comments up to the last header line are header; the rest is SQL.
fn split(text: &str) -> Parts {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let is_header = |line: &str| line.trim_start().starts_with("--!");
    let is_comment = |line: &str| line.trim().is_empty() || line.trim_start().starts_with("--");
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let body = lines.iter().position(|line| !is_comment(line)).unwrap_or(lines.len());
    let header = lines[..body].iter().rposition(|line| is_header(line)).map_or(0, |last| last + 1);

    let (mut toml, mut cut) = (String::new(), Vec::with_capacity(header));
    for line in &lines[..header] {
        let stripped = line.trim_start().strip_prefix("--!").unwrap_or("\n");
        let stripped = stripped.strip_prefix(' ').unwrap_or(stripped);
        let (all, kept) =
            (line.trim_end_matches('\n').chars().count(), stripped.trim_end_matches('\n').chars().count());
        cut.push(all.saturating_sub(kept) as u32);
        toml.push_str(stripped.trim_end_matches(['\n', '\r']));
        toml.push('\n');
    }
    let stray = (body..lines.len()).filter(|at| is_header(lines[*at]));
    Parts {
        toml,
        cut,
        sql: lines[header..].concat(),
        sql_start: Place { line: header as u32 + 1, column: 1 },
        stray: stray.map(|at| line_span(at, lines[at])).collect(),
    }
}

fn line_span(at: usize, line: &str) -> Span {
    let indent = line.chars().take_while(|c| c.is_whitespace()).count() as u32;
    let start = Place { line: at as u32 + 1, column: indent + 1 };
    Span { start, end: Place { column: start.column + 3, ..start } }
}

fn check_sql(parts: &Parts, report: &mut Report) {
    for span in &parts.stray {
        let hint = "move it to the top of the file, or write `--` if it is a comment";
        let message = "a header line below the SQL has no effect";
        report.push(Diagnostic::error(codes::HEADER_TOO_LATE, message).at(*span).hint(hint));
    }
    let blank = |line: &str| line.trim().is_empty() || line.trim_start().starts_with("--");
    if parts.sql.lines().all(blank) {
        let hint = "write one SELECT below the header";
        let span = Span::at(parts.sql_start);
        report.push(Diagnostic::error(codes::NO_SQL, "the detection has no SQL").at(span).hint(hint));
    }
}

struct Reader<'a> {
    fields: Fields,
    report: &'a mut Report,
    places: BTreeMap<String, Span>,
    params_are_known: bool,
}

impl Reader<'_> {
    /// Reads every key, also after a mistake, so that all mistakes are reported.
    fn detection(&mut self, file: &str, parts: &Parts) -> Detection {
        self.fields.span = Span::at(Place::START);
        self.remember_places();
        let id = self.id();
        let title = self.fields.required_text("title", "say what happened, in words", self.report);
        let severity = self.severity();
        let status = self.word("status", &Status::ALL.map(Status::as_str), Status::parse).unwrap_or_default();
        let detection = Detection {
            file: file.to_owned(),
            id: id.unwrap_or_default().into(),
            title: title.map(|title| title.value).unwrap_or_default(),
            severity: severity.unwrap_or(Severity::Informational),
            status,
            owner: self.text("owner"),
            description: self.text("description"),
            author: self.author(),
            date: self.date("date"),
            modified: self.date("modified"),
            version: self.version(),
            confidence: self.confidence(),
            risk_score: self.fields.int("risk_score", 0..=MAX_RISK_SCORE.into(), self.report).map(|at| at.value as u32),
            attack: self.attack(),
            tags: self.texts("tags"),
            references: self.texts("references"),
            false_positives: self.texts("false_positives"),
            related: self.related(),
            license: self.text("license"),
            entities: self.entities(),
            allowed_lateness_us: self.duration("allowed_lateness"),
            cooldown_us: self.duration("cooldown"),
            delivery: self.delivery(),
            playbook: self.text("playbook"),
            params: self.params(),
            runbook: self.text("runbook"),
            sql: parts.sql.clone(),
            sql_start: parts.sql_start,
            places: std::mem::take(&mut self.places),
        };
        let has_none = detection.entities.is_empty() && !self.fields.may_be_unread("entities");
        if detection.cooldown_us.is_some() && has_none {
            let span = detection.place("cooldown");
            let message = "a cooldown needs entities, or it would fold hits about different things into one";
            let hint = "add `entities = { user = \"<column>\" }`";
            self.report.push(Diagnostic::error(codes::HEADER_MISSING, message).at(span).hint(hint));
        }
        detection
    }

    fn remember_places(&mut self) {
        for key in KEYS.into_iter().chain(MORE_KEYS) {
            if let Some(span) = self.fields.key_span(key) {
                self.places.insert(key.to_owned(), span);
            }
        }
    }

    fn text(&mut self, key: &str) -> Option<String> {
        let text = self.fields.text(key, self.report)?;
        self.places.insert(key.to_owned(), text.span);
        Some(text.value.trim().to_owned()).filter(|text| !text.is_empty())
    }

    fn texts(&mut self, key: &str) -> Vec<String> {
        self.fields.texts(key, self.report).into_iter().map(|at| at.value).collect()
    }

    fn related(&mut self) -> Vec<String> {
        let ids = self.fields.texts("related", self.report);
        self.places.extend(ids.iter().map(|id| (format!("related.{}", id.value), id.span)));
        ids.into_iter().map(|id| id.value).collect()
    }

    fn id(&mut self) -> Option<String> {
        const HINT: &str = "an id is lower-case words joined by dots, such as `identity.password_guessing`, or a UUID";
        let id = self.fields.required_text("id", HINT, self.report)?;
        if is_uuid(&id.value) || is_dotted(&id.value) {
            return Some(id.value);
        }
        self.report.wrong_value(format!("`{}` is not an id", id.value), id.span, Some(HINT.to_owned()));
        None
    }

    fn severity(&mut self) -> Option<Severity> {
        if self.fields.key_span("severity").is_none() {
            self.fields.missing("severity", &one_of(&Severity::ALL.map(Severity::as_str)), self.report);
        }
        self.word("severity", &Severity::ALL.map(Severity::as_str), Severity::parse)
    }

    fn delivery(&mut self) -> Delivery {
        self.word("delivery", &Delivery::ALL.map(Delivery::as_str), Delivery::parse).unwrap_or_default()
    }

    /// A word of a closed set.
    fn word<T>(&mut self, key: &str, words: &[&str], parse: fn(&str) -> Option<T>) -> Option<T> {
        let text = self.fields.text(key, self.report)?;
        let parsed = parse(&text.value);
        if parsed.is_none() {
            let hint = nearest(&text.value, words.iter().copied()).unwrap_or_else(|| one_of(words));
            self.report.wrong_value(format!("`{}` is not a {key}", text.value), text.span, Some(hint));
        }
        parsed
    }

    fn author(&mut self) -> Option<String> {
        let authors = self.texts("author");
        Some(authors.join(", ")).filter(|authors| !authors.is_empty())
    }

    fn date(&mut self, key: &str) -> Option<String> {
        let date = self.fields.text(key, self.report)?;
        let text = date.value.replace('/', "-");
        if text.len() == 10 && chrono::NaiveDate::parse_from_str(&text, "%Y-%m-%d").is_ok() {
            return Some(text);
        }
        let hint = "write a day as YYYY-MM-DD".to_owned();
        self.report.wrong_value(format!("`{}` is not a day", date.value), date.span, Some(hint));
        None
    }

    fn version(&mut self) -> Option<String> {
        let node = self.fields.take("version")?;
        match node.value {
            Value::Text(text) => Some(text),
            Value::Int(number) => Some(number.to_string()),
            Value::Float(number) => Some(number.to_string()),
            _ => {
                self.report.wrong_type("version", "text or a number", &node);
                None
            }
        }
    }

    fn confidence(&mut self) -> Option<Confidence> {
        const WANTED: &str = "a whole number from 0 to 100, or `low`, `medium` or `high`";
        let node = self.fields.take("confidence")?;
        let confidence = match &node.value {
            Value::Int(score) => u8::try_from(*score).ok().filter(|score| *score <= 100).map(Confidence),
            Value::Text(word) => Confidence::parse(word),
            _ => {
                self.report.wrong_type("confidence", WANTED, &node);
                return None;
            }
        };
        if confidence.is_none() {
            self.report.wrong_value(format!("`confidence` is {WANTED}"), node.span, None);
        }
        confidence
    }

    fn attack(&mut self) -> Vec<String> {
        let ids = self.fields.texts("attack", self.report);
        ids.into_iter().filter_map(|id| self.attack_id(id)).collect()
    }

    fn attack_id(&mut self, id: At<String>) -> Option<String> {
        if is_attack_id(&id.value) {
            return Some(id.value);
        }
        let upper = id.value.to_uppercase();
        let hint = if is_attack_id(&upper) {
            format!("did you mean `{upper}`?")
        } else {
            "an ATT&CK id is a technique `T1110`, a sub-technique `T1110.001` or a tactic `TA0006`".to_owned()
        };
        self.report.wrong_value(format!("`{}` is not an ATT&CK id", id.value), id.span, Some(hint));
        None
    }

    fn entities(&mut self) -> BTreeMap<EntityKind, String> {
        let entries = self.fields.map("entities", self.report).unwrap_or_default();
        entries.into_iter().filter_map(|entry| self.entity(entry)).collect()
    }

    fn entity(&mut self, Entry { key, key_span, value }: Entry) -> Option<(EntityKind, String)> {
        let Some(kind) = EntityKind::parse(&key) else {
            let words = EntityKind::ALL.map(EntityKind::as_str);
            let hint = nearest(&key, words).unwrap_or_else(|| one_of(&words));
            self.report.wrong_value(format!("`{key}` is not a kind of entity"), key_span, Some(hint));
            return None;
        };
        let Value::Text(column) = value.value else {
            self.report.wrong_type(&format!("entities.{key}"), "the name of an output column", &value);
            return None;
        };
        self.places.insert(format!("entities.{key}"), value.span);
        Some((kind, column))
    }

    fn duration(&mut self, key: &str) -> Option<i64> {
        let text = self.fields.text(key, self.report)?;
        self.places.insert(key.to_owned(), text.span);
        match parse_duration_us(&text.value) {
            Ok(us) => Some(us).filter(|us| *us > 0),
            Err(error) => {
                self.report.wrong_value(error.to_string(), text.span, None);
                None
            }
        }
    }

    fn params(&mut self) -> BTreeMap<String, Param> {
        let told = self.report.found.len();
        let entries = self.fields.map("params", self.report).unwrap_or_default();
        let params = entries.into_iter().filter_map(|entry| self.param(entry)).collect();
        self.params_are_known = self.report.found.len() == told;
        params
    }

    fn param(&mut self, Entry { key, key_span, value }: Entry) -> Option<(String, Param)> {
        let mut letters = key.chars();
        let starts_well = letters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
        if !starts_well || !letters.all(|c| c.is_ascii_alphanumeric() || c == '_') {
            let hint = "a parameter is named with letters, digits and `_`, because SQL says `$name`".to_owned();
            self.report.wrong_value(format!("`{key}` cannot name a parameter"), key_span, Some(hint));
            return None;
        }
        self.places.insert(format!("params.{key}"), key_span);
        let param = match &value.value {
            Value::Bool(value) => Param::Bool(*value),
            Value::Int(value) => Param::Int(i64::try_from(*value).ok()?),
            Value::Float(value) => Param::Float(*value),
            Value::Text(value) => Param::Text(value.clone()),
            Value::Null | Value::List(_) | Value::Map(_) => {
                self.report.wrong_type(&format!("params.{key}"), "a number, text, true or false", &value);
                return None;
            }
        };
        Some((key, param))
    }
}

fn one_of(words: &[&str]) -> String {
    format!("one of {}", words.join(", "))
}

fn is_dotted(id: &str) -> bool {
    let is_word = |word: &str| {
        word.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-'))
    };
    id.split('.').all(is_word)
}

fn is_uuid(id: &str) -> bool {
    let groups: Vec<_> = id.split('-').collect();
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
        && groups.iter().all(|group| group.chars().all(|c| c.is_ascii_hexdigit()))
}

/// Whether it is an id of ATT&CK.
///
/// Source: ATT&CK, `TA` and four digits for a tactic, `T` and four digits for a technique, three more after a dot for a
/// sub-technique.
pub(crate) fn is_attack_id(id: &str) -> bool {
    let digits = |text: &str, count| text.len() == count && text.chars().all(|c| c.is_ascii_digit());
    if let Some(tactic) = id.strip_prefix("TA") {
        return digits(tactic, 4);
    }
    let Some(technique) = id.strip_prefix('T') else { return false };
    match technique.split_once('.') {
        Some((technique, sub)) => digits(technique, 4) && digits(sub, 3),
        None => digits(technique, 4),
    }
}

#[cfg(test)]
mod tests;
