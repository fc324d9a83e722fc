//! An expected alert: which of its fields are looked at, and whether an alert can have what must be there.

use weir_engine::error::nearest;
use weir_engine::{Diagnostic, Span};

use super::{Expected, compare};
use crate::alert::FIELDS;
use crate::codes;
use crate::detection::{Confidence, MAX_RISK_SCORE, Severity};
use crate::document::{Entry, Node, Report, Value};
use crate::entity::EntityKind;
use crate::header::is_attack_id;

/// The words of OCSF's `activity_name`.
const ACTIVITIES: [&str; 3] = ["create", "update", "close"];
/// The words of OCSF's `status`.
const STATUSES: [&str; 3] = ["new", "suppressed", "deleted"];

/// Reads one expected alert; what no alert can have is reported.
pub(super) fn read(node: Node, report: &mut Report) -> Option<Expected> {
    let span = node.span;
    let Value::Map(entries) = node.value else {
        report.wrong_type("an expected alert", "a map of what to look at", &node);
        return None;
    };
    for entry in &entries {
        match unknown(&entry.key) {
            Some((message, hint)) => {
                let error = Diagnostic::error(codes::TEST_UNKNOWN_KEY, message);
                report.push(error.at(entry.key_span).hint(hint));
            }
            None => value(entry, report),
        }
    }
    let fields = entries.iter().map(|entry| (entry.key.clone(), entry.value.to_json())).collect();
    Some(Expected { span, fields, written: entries })
}

/// What is wrong with the name of a field, and the way out.
fn unknown(key: &str) -> Option<(String, String)> {
    let message = || format!("an alert has no `{key}`");
    let Some((first, rest)) = key.split_once('.') else {
        let is_known = compare::NAMES.contains(&key);
        return (!is_known).then(|| {
            let hint = nearest(key, compare::NAMES).unwrap_or_else(|| {
                format!("look at {}, or at a dotted path into the OCSF record", compare::NAMES.join(", "))
            });
            (message(), hint)
        });
    };
    if first == "data" || FIELDS.contains(&first) {
        return None;
    }
    let hint = match compare::NAMES.contains(&first) {
        true => format!("write `{first}: {{ {rest}: ... }}`"),
        false => nearest(first, FIELDS.into_iter().chain(["data"]))
            .unwrap_or_else(|| format!("a path begins with `data` or one of {}", FIELDS.join(", "))),
    };
    Some((message(), hint))
}

/// Reports a value that no alert can have in that field. Nothing stands for a field that is missing.
fn value(Entry { key, value, .. }: &Entry, report: &mut Report) {
    if matches!(value.value, Value::Null) {
        return;
    }
    match key.as_str() {
        "activity" => word(key, value, &ACTIVITIES, report),
        "status" => word(key, value, &STATUSES, report),
        "severity" => word(key, value, &Severity::ALL.map(Severity::as_str), report),
        "severity_id" => whole(key, value, 1..=6, report),
        "count" => whole(key, value, 1..=i64::MAX, report),
        "confidence" => confidence(key, value, report),
        "risk_score" => number(key, value, f64::from(MAX_RISK_SCORE), report),
        "time" => time(key, value, report),
        "suppressed" | "withdrawn" | "late" if !matches!(value.value, Value::Bool(_)) => {
            report.wrong_type(key, "true or false", value);
        }
        "detection" | "exception" | "message" | "title" | "uid" if !matches!(value.value, Value::Text(_)) => {
            report.wrong_type(key, "text", value);
        }
        "attack" => attack(key, value, report),
        "data" if !matches!(value.value, Value::Map(_)) => report.wrong_type(key, "a map of columns", value),
        "entities" => entities(key, value, report),
        _ => {}
    }
}

fn word(key: &str, node: &Node, words: &[&str], report: &mut Report) {
    let Value::Text(text) = &node.value else { return report.wrong_type(key, &one_of(words), node) };
    if !words.iter().any(|word| word.eq_ignore_ascii_case(text)) {
        let hint = nearest(text, words.iter().copied()).unwrap_or_else(|| one_of(words));
        wrong(&format!("`{text}` is no {key} of an alert"), node.span, hint, report);
    }
}

fn one_of(words: &[&str]) -> String {
    format!("one of {}", words.join(", "))
}

fn wrong(message: &str, span: Span, hint: String, report: &mut Report) {
    report.wrong_value(message, span, Some(hint));
}

fn whole(key: &str, node: &Node, range: std::ops::RangeInclusive<i64>, report: &mut Report) {
    let wanted = match *range.end() {
        i64::MAX => format!("a whole number from {}", range.start()),
        end => format!("a whole number from {} to {end}", range.start()),
    };
    match &node.value {
        Value::Int(number) if i64::try_from(*number).is_ok_and(|number| range.contains(&number)) => {}
        Value::Int(number) => report.wrong_value(format!("`{key}` is {wanted}, not {number}"), node.span, None),
        _ => report.wrong_type(key, &wanted, node),
    }
}

fn number(key: &str, node: &Node, most: f64, report: &mut Report) {
    let wanted = format!("a number from 0 to {most}");
    let number = match node.value {
        Value::Int(number) => number as f64,
        Value::Float(number) => number,
        _ => return report.wrong_type(key, &wanted, node),
    };
    if !(0.0..=most).contains(&number) {
        report.wrong_value(format!("`{key}` is {wanted}, not {number}"), node.span, None);
    }
}

fn confidence(key: &str, node: &Node, report: &mut Report) {
    let Value::Text(text) = &node.value else { return whole(key, node, 0..=100, report) };
    if Confidence::parse(text).is_none() {
        let words = Confidence::WORDS.map(|(word, _)| word);
        let hint = nearest(text, words).unwrap_or_else(|| format!("a number from 0 to 100, or {}", one_of(&words)));
        wrong(&format!("`{text}` is no {key} of an alert"), node.span, hint, report);
    }
}

fn time(key: &str, node: &Node, report: &mut Report) {
    const HINT: &str = "write it as 2026-01-31T08:00:00Z";
    let Value::Text(text) = &node.value else { return report.wrong_type(key, "a time in text", node) };
    if compare::instant(text).is_none() {
        wrong(&format!("`{text}` is no time"), node.span, HINT.to_owned(), report);
    }
}

fn attack(key: &str, node: &Node, report: &mut Report) {
    let Value::List(ids) = &node.value else { return report.wrong_type(key, "a list of ATT&CK ids", node) };
    for id in ids {
        match &id.value {
            Value::Text(text) if is_attack_id(text) => {}
            Value::Text(text) => report.wrong_value(format!("`{text}` is not an ATT&CK id"), id.span, None),
            _ => report.wrong_type(key, "a list of ATT&CK ids", id),
        }
    }
}

fn entities(key: &str, node: &Node, report: &mut Report) {
    let Value::Map(entries) = &node.value else { return report.wrong_type(key, "a map of entities", node) };
    let words = EntityKind::ALL.map(EntityKind::as_str);
    for entry in entries.iter().filter(|entry| EntityKind::parse(&entry.key).is_none()) {
        let hint = nearest(&entry.key, words).unwrap_or_else(|| one_of(&words));
        wrong(&format!("`{}` is not a kind of entity", entry.key), entry.key_span, hint, report);
    }
}
