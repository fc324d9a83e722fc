//! From an OCSF Detection Finding to the facts that playbooks know.

use chrono::DateTime;
use serde_json::{Map, Value};
use weir_detections::alert::PROVISIONAL;
use weir_playbooks::facts::{AlertFacts, Severity};

/// What an alert record says, apart from the facts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AlertRecord {
    /// The facts.
    pub(crate) facts: AlertFacts,
    /// The playbook that the detection names.
    pub(crate) playbook: Option<String>,
    /// Whether the alert no longer holds.
    pub(crate) is_withdrawn: bool,
    /// Whether a cooldown or exception hides it.
    pub(crate) is_suppressed: bool,
    /// Whether it may turn out to be a repeat, so that it is not the time to act.
    pub(crate) is_provisional: bool,
}

/// A record that is no alert. Nothing mends it, so it is said, and passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a record is no alert: it has no {0}")]
pub(crate) struct NotAnAlert(&'static str);

/// Reads an alert record.
///
/// # Errors
/// It has no id, detection or time.
pub(crate) fn alert_facts(record: &Value) -> Result<AlertRecord, NotAnAlert> {
    let text = |pointer: &str| record.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let number = |pointer: &str| record.pointer(pointer).and_then(Value::as_i64);
    let uid = text("/finding_info/uid").ok_or(NotAnAlert("finding_info.uid"))?;
    let detection = text("/finding_info/analytic/uid").ok_or(NotAnAlert("finding_info.analytic.uid"))?;
    let time = number("/time").and_then(DateTime::from_timestamp_millis).ok_or(NotAnAlert("time"))?;
    let attack = record.pointer("/finding_info/attacks").and_then(Value::as_array).into_iter().flatten();
    let facts = AlertFacts {
        title: text("/finding_info/title").unwrap_or_else(|| detection.clone()),
        message: text("/message"),
        severity: Severity::of_id(number("/severity_id").unwrap_or_default()),
        confidence: number("/confidence_score"),
        risk_score: number("/risk_score"),
        time,
        count: record.pointer("/count").and_then(Value::as_u64).unwrap_or(1),
        attack: attack.filter_map(technique).collect(),
        entities: record
            .pointer("/unmapped/weir/entities")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .filter_map(|(kind, value)| Some((kind.clone(), first(value)?)))
            .collect(),
        evidence: record.pointer("/evidences/0/data").and_then(Value::as_object).cloned().unwrap_or_else(Map::new),
        runbook: text("/remediation/desc"),
        uid,
        detection,
    };
    Ok(AlertRecord {
        facts,
        playbook: text("/unmapped/weir/playbook"),
        is_withdrawn: number("/activity_id") == Some(3),
        is_suppressed: number("/status_id") == Some(3),
        is_provisional: text("/status").as_deref() == Some(PROVISIONAL),
    })
}

fn technique(attack: &Value) -> Option<String> {
    let of = |name: &str| attack.pointer(&format!("/{name}/uid")).and_then(Value::as_str).map(str::to_owned);
    of("sub_technique").or_else(|| of("technique")).or_else(|| of("tactic"))
}

/// One value as text; of several, the first.
fn first(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Array(items) => items.iter().find_map(first),
        _ => None,
    }
}
