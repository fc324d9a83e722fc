//! Exceptions: what a team has decided not to be told, with a name, a reason, an owner and a last day.
//!
//! ```yaml
//! - name: nightly vulnerability scan
//!   detection: network.*
//!   where: src_ip = '10.0.9.7'
//!   owner: platform-team
//!   reason: the scanner is ours; see SEC-123
//!   expires: 2026-12-31
//! ```
//! An exception hides hits and never deletes them: they are archived and counted under its name.

use std::sync::Arc;

use chrono::NaiveDate;
use globset::{Glob, GlobMatcher};
use weir_engine::error::counted;
use weir_engine::{Diagnostic, Place, Span};

use crate::codes;
use crate::document::{At, Codes, Fields, Node, Report, Value, parse_yaml};

/// The keys of one exception.
pub(crate) const KEYS: [&str; 6] = ["name", "detection", "where", "owner", "reason", "expires"];

const CODES: Codes = Codes {
    syntax: codes::EXCEPTION_SYNTAX,
    unknown_key: codes::EXCEPTION_UNKNOWN_KEY,
    wrong_type: codes::EXCEPTION_WRONG_TYPE,
    wrong_value: codes::EXCEPTION_WRONG_VALUE,
    missing: codes::EXCEPTION_MISSING,
};

/// One exception.
#[derive(Debug, Clone)]
pub struct Exception {
    /// The file it was read from.
    pub file: String,
    /// Its name; what it hides is counted under it.
    pub name: Arc<str>,
    /// The detections it is about, as ids or patterns with `*`.
    pub detections: Vec<String>,
    /// An SQL condition over the output columns of those detections.
    pub condition: String,
    /// Who answers for it.
    pub owner: String,
    /// Why it is right.
    pub reason: String,
    /// The last day on which it holds.
    pub expires: NaiveDate,
    pub(crate) span: Span,
    pub(crate) condition_span: Span,
    /// Whether its text has no mistake. One that has is looked at and hides nothing.
    pub(crate) is_whole: bool,
    expires_span: Span,
    /// Each of `detections` that is an id or a pattern, and where it stands.
    pub(crate) patterns: Vec<(GlobMatcher, Span)>,
}

impl Exception {
    /// Whether it is about the detection of that id.
    #[must_use]
    pub fn covers(&self, id: &str) -> bool {
        self.patterns.iter().any(|(pattern, _)| pattern.is_match(id))
    }

    /// Whether its last day is before `today`.
    #[must_use]
    pub fn has_expired(&self, today: NaiveDate) -> bool {
        self.expires < today
    }

    /// What the engine needs of it.
    #[must_use]
    pub(crate) fn condition(&self) -> weir_engine::Exception {
        weir_engine::Exception { name: Arc::clone(&self.name), condition: self.condition.clone() }
    }

    /// The place in the file of one in the condition: exact where the condition stands on one line, else its beginning.
    pub(crate) fn place_in_condition(&self, span: Option<Span>) -> Option<Span> {
        let written = self.condition_span;
        let width = written.end.column.saturating_sub(written.start.column);
        let length = self.condition.chars().count() as u32;
        let quote = match width.checked_sub(length) {
            Some(0) => 0,
            Some(2) => 1,
            _ => return Some(written),
        };
        let shifted =
            |place: Place| Place { line: written.start.line, column: written.start.column + quote + place.column - 1 };
        span.map_or(Some(written), |span| Some(Span { start: shifted(span.start), end: shifted(span.end) }))
    }

    /// The error that `weir check` shows once its last day is over.
    #[must_use]
    pub fn expired(&self, today: NaiveDate) -> Option<Diagnostic> {
        let days = counted((today - self.expires).num_days(), "day");
        let message = format!("the exception `{}` expired {days} ago, on {}", self.name, self.expires);
        let hint = format!("ask {} to renew it, or delete it", self.owner);
        self.has_expired(today).then(|| {
            Diagnostic::error(codes::EXCEPTION_EXPIRED, message)
                .at(self.expires_span)
                .hint(hint)
                .in_file(self.file.clone())
        })
    }
}

/// Reads a file of exceptions. One that has mistakes is returned too, beside the mistakes of all, and hides nothing.
#[must_use]
pub fn parse(file: &str, text: &str) -> (Vec<Exception>, Vec<Diagnostic>) {
    let mut report = Report::new(CODES);
    let nodes = match parse_yaml(text, &mut report) {
        Some(Node { value: Value::List(items), .. }) => items,
        Some(Node { value: Value::Null, .. }) | None => Vec::new(),
        Some(node) => {
            report.wrong_type("the file", "a list of exceptions", &node);
            Vec::new()
        }
    };
    let exceptions = nodes.into_iter().filter_map(|node| exception(file, node, &mut report)).collect();
    (exceptions, report.finish(file))
}

fn exception(file: &str, node: Node, report: &mut Report) -> Option<Exception> {
    let mistakes_before = report.found.len();
    let mut fields = Fields::of(node, "the exception", &KEYS, report)?;
    let span = fields.span;
    let name = fields.required_text("name", "give it a name to be counted under", report);
    let (detections, patterns) = patterns(&mut fields, report);
    let condition = fields.required_text("where", "write an SQL condition over the detection's columns", report);
    let owner = fields.required_text("owner", "say who answers for it", report);
    let reason = fields.required_text("reason", "say why it is right", report);
    let expires = expires(&mut fields, report);
    let is_whole = report.found.len() == mistakes_before;
    // One without a condition names detections all the same.
    let condition = condition.unwrap_or(At { value: String::new(), span });
    let text = |text: Option<At<String>>| text.map(|text| text.value).unwrap_or_default();
    let (expires, expires_span) = expires.unwrap_or((NaiveDate::MAX, span));
    Some(Exception {
        file: file.to_owned(),
        name: text(name).into(),
        detections,
        condition: condition.value,
        owner: text(owner),
        reason: text(reason),
        expires,
        span,
        condition_span: condition.span,
        is_whole,
        expires_span,
        patterns,
    })
}

fn patterns(fields: &mut Fields, report: &mut Report) -> (Vec<String>, Vec<(GlobMatcher, Span)>) {
    if fields.key_span("detection").is_none() {
        fields.missing("detection", "name a detection by id, or several by a pattern such as `network.*`", report);
    }
    let mut patterns = Vec::new();
    let texts = fields.texts("detection", report);
    for text in &texts {
        match Glob::new(&text.value) {
            Ok(glob) => patterns.push((glob.compile_matcher(), text.span)),
            Err(error) => {
                report.wrong_value(format!("`{}` is no pattern: {}", text.value, error.kind()), text.span, None);
            }
        }
    }
    (texts.into_iter().map(|text| text.value).collect(), patterns)
}

fn expires(fields: &mut Fields, report: &mut Report) -> Option<(NaiveDate, Span)> {
    const HINT: &str = "write its last day as YYYY-MM-DD; an exception that lives for ever is a detection to be mended";
    let text = fields.required_text("expires", HINT, report)?;
    match NaiveDate::parse_from_str(&text.value, "%Y-%m-%d") {
        Ok(day) => Some((day, text.span)),
        Err(error) => {
            report.wrong_value(format!("`{}` is not a day: {error}", text.value), text.span, Some(HINT.to_owned()));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::NaiveDate;

    use super::parse;

    const GOOD: &str = "
- name: scan
  detection: network.*
  where: src_ip = '10.0.9.7'
  owner: platform
  reason: it is ours
  expires: 2026-12-31
";

    fn day(text: &str) -> NaiveDate {
        text.parse().expect("a day")
    }

    #[test]
    fn an_exception_covers_the_detections_of_its_pattern() {
        let (exceptions, found) = parse("e.yaml", GOOD);
        assert_eq!(found, []);
        assert_eq!(exceptions.len(), 1);
        assert!(exceptions[0].covers("network.port_scan"));
        assert!(exceptions[0].covers("network.dns.tunnel"));
        assert!(!exceptions[0].covers("identity.guessing"));
    }

    #[test]
    fn an_exception_holds_on_its_last_day_and_is_an_error_on_the_next() {
        let (exceptions, _) = parse("e.yaml", GOOD);
        assert_eq!(exceptions[0].expired(day("2026-12-31")), None);
        let expired = exceptions[0].expired(day("2027-01-02")).expect("it has expired");
        assert_eq!(
            expired.to_string(),
            "e.yaml:7:12: X006 the exception `scan` expired 2 days ago, on 2026-12-31; ask platform to renew it, or delete it"
        );
    }

    #[test]
    fn every_mistake_of_every_exception_is_reported() {
        let text = "
- name: one
  detecton: network.*
  where: true
  owner: platform
  reason: it is ours
  expires: next year
- { name: two, detection: a.b, where: 'x = 1', owner: me, expires: 2027-01-01 }
";
        let (exceptions, found) = parse("e.yaml", text);
        let read: Vec<_> = exceptions.iter().map(|one| (&*one.name, one.is_whole, one.covers("a.b"))).collect();
        assert_eq!(read, [("one", false, false), ("two", false, true)], "they can be looked at, and hide nothing");
        let found: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert!(
            found.iter().any(|d| d.contains("e.yaml:3:3: X002 unknown key `detecton`") && d.contains("`detection`")),
            "{found:#?}"
        );
        assert!(found.iter().any(|d| d.contains("4:10: X003 `where` is text, not true or false")), "{found:#?}");
        assert!(found.iter().any(|d| d.contains("7:12: X004 `next year` is not a day")), "{found:#?}");
        assert!(found.iter().any(|d| d.contains("e.yaml:8:") && d.contains("no `reason`")), "{found:#?}");
        assert_eq!(found.len(), 4, "what is misspelt is not missing: {found:#?}");
    }

    #[test]
    fn a_pattern_that_is_none_is_refused_at_its_place() {
        let (exceptions, found) = parse("e.yaml", &GOOD.replace("network.*", "[a.b, 'network.[a']"));
        let found: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, ["e.yaml:3:20: X004 `network.[a` is no pattern: unclosed character class; missing ']'"]);
        assert!(exceptions[0].covers("a.b") && !exceptions[0].is_whole);
    }

    #[test]
    fn an_empty_file_holds_no_exceptions() {
        assert!(parse("e.yaml", "").1.is_empty());
        assert!(parse("e.yaml", "# none yet\n").1.is_empty());
        assert!(parse("e.yaml", "name: x\n").1[0].message.contains("a list of exceptions"));
    }
}
