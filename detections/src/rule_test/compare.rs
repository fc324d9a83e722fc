//! Expected alerts against those that came: which belong together, and what differs.

use std::fmt;

use chrono::{DateTime, NaiveDateTime, Utc};
use serde_json::Value;

use super::Expected;

/// The short names of what an expectation can look at.
pub(crate) const NAMES: [&str; 20] = [
    "activity",
    "attack",
    "confidence",
    "count",
    "data",
    "detection",
    "entities",
    "exception",
    "late",
    "message",
    "observables",
    "risk_score",
    "severity",
    "severity_id",
    "status",
    "suppressed",
    "time",
    "title",
    "uid",
    "withdrawn",
];

/// What went wrong with one case.
#[derive(Debug, Clone, PartialEq)]
pub enum Problem {
    /// An alert came that is nearly the expected one.
    Differs {
        /// Line of the expectation.
        line: u32,
        /// Id of the alert.
        uid: String,
        /// What differs.
        fields: Vec<Difference>,
    },
    /// No alert came that is like the expected one.
    Missing {
        /// Line of the expectation.
        line: u32,
        /// What was expected.
        expected: Vec<(String, Value)>,
    },
    /// An alert came that nothing expects.
    Unexpected {
        /// The alert.
        alert: Box<Value>,
    },
    /// Anything else, in words.
    Other(String),
}

/// One field that is not as expected.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// Its path.
    pub path: String,
    /// What was expected.
    pub expected: Value,
    /// What came.
    pub actual: Value,
}

/// Compares the last records of all alerts, in (time, uid) order, with what was expected.
pub(crate) fn compare(expected: &[Expected], alerts: &[Value]) -> Vec<Problem> {
    let alerts = relevant(expected, alerts);
    let costs: Vec<Vec<Vec<Difference>>> =
        expected.iter().map(|expected| alerts.iter().map(|alert| differences(expected, alert)).collect()).collect();
    let mut partner = exact_matches(&costs, alerts.len());
    pair_nearest(expected, &costs, &mut partner);

    let mut problems = Vec::new();
    for (at, wanted) in expected.iter().enumerate() {
        let line = wanted.span.start.line;
        match partner.iter().position(|partner| *partner == Some(at)) {
            None => problems.push(Problem::Missing { line, expected: leaves(&wanted.fields) }),
            Some(alert) if costs[at][alert].is_empty() => {}
            Some(alert) => problems.push(Problem::Differs {
                line,
                uid: look(alerts[alert], "uid").as_str().unwrap_or_default().to_owned(),
                fields: costs[at][alert].clone(),
            }),
        }
    }
    let unexpected = partner.iter().zip(&alerts).filter(|(partner, _)| partner.is_none());
    problems.extend(unexpected.map(|(_, alert)| Problem::Unexpected { alert: Box::new((*alert).clone()) }));
    problems
}

/// Suppressed and withdrawn alerts are looked at only where an expectation speaks of them.
fn relevant<'a>(expected: &[Expected], alerts: &'a [Value]) -> Vec<&'a Value> {
    let speaks = |name: &str| expected.iter().any(|expected| expected.fields.iter().any(|(key, _)| key == name));
    let keeps = |status: i64| match status {
        3 => speaks("suppressed") || speaks("exception") || speaks("status"),
        6 => speaks("withdrawn") || speaks("status"),
        _ => true,
    };
    alerts.iter().filter(|alert| keeps(alert["status_id"].as_i64().unwrap_or_default())).collect()
}

/// For each alert the expectation it meets exactly, as many as possible (augmenting paths; both sides are small).
fn exact_matches(costs: &[Vec<Vec<Difference>>], alerts: usize) -> Vec<Option<usize>> {
    fn augment(at: usize, costs: &[Vec<Vec<Difference>>], seen: &mut [bool], partner: &mut [Option<usize>]) -> bool {
        for alert in 0..partner.len() {
            if !costs[at][alert].is_empty() || std::mem::replace(&mut seen[alert], true) {
                continue;
            }
            if partner[alert].is_none_or(|other| augment(other, costs, seen, partner)) {
                partner[alert] = Some(at);
                return true;
            }
        }
        false
    }
    let mut partner = vec![None; alerts];
    for at in 0..costs.len() {
        augment(at, costs, &mut vec![false; alerts], &mut partner);
    }
    partner
}

/// Pairs what is left by the fewest differences, as long as something agrees.
fn pair_nearest(expected: &[Expected], costs: &[Vec<Vec<Difference>>], partner: &mut [Option<usize>]) {
    let mut pairs: Vec<(usize, usize, usize)> = Vec::new();
    for (at, wanted) in expected.iter().enumerate().filter(|(at, _)| !partner.contains(&Some(*at))) {
        let all = leaves(&wanted.fields).len();
        let free = (0..partner.len()).filter(|alert| partner[*alert].is_none());
        pairs.extend(free.map(|alert| (costs[at][alert].len(), at, alert)).filter(|(cost, ..)| *cost < all.max(2)));
    }
    pairs.sort_unstable();
    for (_, at, alert) in pairs {
        if partner[alert].is_none() && !partner.contains(&Some(at)) {
            partner[alert] = Some(at);
        }
    }
}

fn differences(expected: &Expected, alert: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    for (name, wanted) in &expected.fields {
        differ(name, wanted, &look(alert, name), &mut found);
    }
    found
}

/// What an expectation sees of an alert under a short name or a dotted path.
fn look(alert: &Value, name: &str) -> Value {
    let path = match name {
        "activity" => "activity_name",
        "attack" => return attack_ids(alert),
        "confidence" => "confidence_score",
        "data" => "evidences.0.data",
        "detection" => "finding_info.analytic.uid",
        "entities" => "unmapped.weir.entities",
        "exception" => "unmapped.weir.exception",
        "late" => return (alert["unmapped"]["weir"]["late"] == true).into(),
        "suppressed" => return (alert["status_id"] == 3).into(),
        "withdrawn" => return (alert["status_id"] == 6).into(),
        "time" => "time_dt",
        "title" => "finding_info.title",
        "uid" => "finding_info.uid",
        other => other,
    };
    let path = path.strip_prefix("data.").map_or_else(|| path.to_owned(), |rest| format!("evidences.0.data.{rest}"));
    follow(alert, &path).cloned().unwrap_or(Value::Null)
}

fn attack_ids(alert: &Value) -> Value {
    let attacks = alert["finding_info"]["attacks"].as_array().cloned().unwrap_or_default();
    let ids = attacks.iter().map(|attack| {
        let parts = ["sub_technique", "technique", "tactic"];
        parts.iter().map(|part| &attack[*part]["uid"]).find(|uid| !uid.is_null()).cloned().unwrap_or(Value::Null)
    });
    ids.collect()
}

/// The value under the exact key, else along the path; a number counts into a list.
fn follow<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    if let Some(found) = child(value, path) {
        return Some(found);
    }
    path.match_indices('.').find_map(|(dot, _)| follow(child(value, &path[..dot])?, &path[dot + 1..]))
}

/// A field by its name, else by its only name in another case.
fn child<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    match value {
        Value::Object(fields) => fields.get(name).or_else(|| {
            let mut matching = fields.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
            matching.next().filter(|_| matching.next().is_none()).map(|(_, value)| value)
        }),
        Value::Array(items) => items.get(name.parse::<usize>().ok()?),
        _ => None,
    }
}

/// Maps are compared by the keys that are expected; everything else as a whole.
fn differ(path: &str, expected: &Value, actual: &Value, found: &mut Vec<Difference>) {
    match (expected, actual) {
        (Value::Object(fields), Value::Object(_)) => {
            for (key, wanted) in fields {
                let actual = follow(actual, key).unwrap_or(&Value::Null);
                differ(&format!("{path}.{key}"), wanted, actual, found);
            }
        }
        _ if equal(path, expected, actual) => {}
        _ => found.push(Difference { path: path.to_owned(), expected: expected.clone(), actual: actual.clone() }),
    }
}

/// Every path at which two values differ, and both values there; null where one has none.
pub(crate) fn unlike(one: &Value, two: &Value) -> Vec<(String, Value, Value)> {
    fn collect(path: &str, one: &Value, two: &Value, out: &mut Vec<(String, Value, Value)>) {
        match (one, two) {
            _ if one == two => {}
            (Value::Object(ones), Value::Object(twos)) => {
                let more = twos.keys().filter(|key| !ones.contains_key(*key));
                for key in ones.keys().chain(more) {
                    let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                    collect(&path, &one[key], &two[key], out);
                }
            }
            (Value::Array(ones), Value::Array(twos)) if ones.len() == twos.len() => {
                for (at, (one, two)) in ones.iter().zip(twos).enumerate() {
                    collect(&format!("{path}.{at}"), one, two, out);
                }
            }
            _ => out.push((path.to_owned(), one.clone(), two.clone())),
        }
    }
    let mut out = Vec::new();
    collect("", one, two, &mut out);
    out
}

fn equal(path: &str, expected: &Value, actual: &Value) -> bool {
    match (expected, actual) {
        (Value::Number(one), Value::Number(other)) => equal_numbers(one, other),
        (Value::String(one), Value::String(other)) if matches!(path, "severity" | "status" | "activity") => {
            one.eq_ignore_ascii_case(other)
        }
        (Value::String(one), Value::String(other)) => {
            one == other || instant(one).is_some_and(|one| Some(one) == instant(other))
        }
        (Value::String(word), Value::Number(score)) if path == "confidence" => {
            crate::Confidence::parse(word).map(|confidence| u64::from(confidence.0)) == score.as_u64()
        }
        (Value::Array(ones), Value::Array(others)) => {
            ones.len() == others.len() && ones.iter().zip(others).all(|(one, other)| subset(path, one, other))
        }
        _ => expected == actual,
    }
}

fn subset(path: &str, expected: &Value, actual: &Value) -> bool {
    let mut found = Vec::new();
    differ(path, expected, actual, &mut found);
    found.is_empty()
}

/// Whole numbers exactly, others to 12 significant digits.
fn equal_numbers(one: &serde_json::Number, other: &serde_json::Number) -> bool {
    if let (Some(one), Some(other)) = (one.as_i64(), other.as_i64()) {
        return one == other;
    }
    let digits = |number: &serde_json::Number| number.as_f64().map(|number| format!("{number:.11e}"));
    digits(one) == digits(other)
}

/// The instant that a text names; times are compared by it.
pub(super) fn instant(text: &str) -> Option<DateTime<Utc>> {
    if !text.starts_with(|c: char| c.is_ascii_digit()) || text.len() < 19 {
        return None;
    }
    let zoned = DateTime::parse_from_rfc3339(text).ok().map(|time| time.to_utc());
    zoned.or_else(|| {
        let naive = |format| NaiveDateTime::parse_from_str(text, format).ok();
        naive("%Y-%m-%d %H:%M:%S%.f").or_else(|| naive("%Y-%m-%dT%H:%M:%S%.f")).map(|time| time.and_utc())
    })
}

/// Every single value that an expectation names, with its path.
fn leaves(fields: &[(String, Value)]) -> Vec<(String, Value)> {
    fn collect(path: &str, value: &Value, out: &mut Vec<(String, Value)>) {
        match value {
            Value::Object(fields) if !fields.is_empty() => {
                fields.iter().for_each(|(key, value)| collect(&format!("{path}.{key}"), value, out));
            }
            _ => out.push((path.to_owned(), value.clone())),
        }
    }
    let mut out = Vec::new();
    fields.iter().for_each(|(name, value)| collect(name, value, &mut out));
    out
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Differs { line, uid, fields } => {
                write!(f, "alert {uid} is not as expected in line {line}:")?;
                let width = fields.iter().map(|field| field.path.chars().count()).max().unwrap_or(0);
                for Difference { path, expected, actual } in fields {
                    write!(f, "\n  {path:width$}  expected {expected}\n  {:width$}  actual   {actual}", "")?;
                }
                Ok(())
            }
            Self::Missing { line, expected } => {
                write!(f, "no alert is like the one expected in line {line}:")?;
                let width = expected.iter().map(|(path, _)| path.chars().count()).max().unwrap_or(0);
                expected.iter().try_for_each(|(path, value)| write!(f, "\n  {path:width$}  {value}"))
            }
            Self::Unexpected { alert } => {
                write!(f, "alert {} was not expected:", look(alert, "uid").as_str().unwrap_or_default())?;
                for name in ["time", "severity", "title", "count", "data"] {
                    write!(f, "\n  {name:8}  {}", look(alert, name))?;
                }
                Ok(())
            }
            Self::Other(text) => f.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests;
