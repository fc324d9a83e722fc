//! What happened to steps and cases, as rows: of the streams `actions` and `cases`, and of the archive's tables of these
//! names. A journal makes a row of every change in the transaction that writes it, numbers it, and keeps it as it is:
//! whoever reads from a number on gets the same rows again.

use chrono::SecondsFormat;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Write;
use crate::audit::{Note, WEIR};
use crate::case::Case;
use crate::facts::Moment;
use crate::openc2::{Action, Command, words};
use crate::run::{Run, StepRecord, StepStatus};

words! {
    /// What changes are about; the name of the stream and of the table.
    ChangeOf {
        /// Steps of runs.
        Actions = "actions",
        /// Cases.
        Cases = "cases",
    }
}

/// A change in its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Its number, from 1; later changes have greater ones.
    pub seq: u64,
    /// The row.
    pub row: Value,
}

/// OCSF class of an action: Remediation Activity.
const REMEDIATION: i64 = 7001;

/// The steps of a run that are not as they were before. Look-ups of facts are no actions.
#[must_use]
pub fn of_run(before: Option<&Run>, run: &Run) -> Vec<Value> {
    let known = |step: &StepRecord| before.and_then(|run| run.steps.iter().find(|known| known.id == step.id));
    let is_news = |step: &&StepRecord| {
        step.does != "enrich"
            && known(step).is_none_or(|known| (known.status, known.attempts) != (step.status, step.attempts))
    };
    run.steps.iter().filter(is_news).map(|step| action_row(run, step)).collect()
}

/// A case after a change. What changed, and by whom, says the note that is written with it.
#[must_use]
pub fn of_case(case: &Case, writes: &[Write]) -> Value {
    let about = |write: &Write| match write {
        // A run that begins with the case has a note of its own.
        Write::Note(note) if note.case.as_ref() == Some(&case.id) && note.run.is_none() => Some(note.clone()),
        _ => None,
    };
    let note: Option<Note> = writes.iter().rev().find_map(about);
    let (change, actor) = note.as_ref().map_or(("", WEIR), |note| (note.what.as_str(), note.actor.as_str()));
    case_row(case, change, actor)
}

/// One step as a row of `actions`. The record beside the columns is an OCSF Remediation Activity.
fn action_row(run: &Run, step: &StepRecord) -> Value {
    let at = step.ended.unwrap_or(run.updated);
    let command = step.command.as_ref();
    json!({
        "time": text(at),
        "uid": step.action_id,
        "run": run.id,
        "playbook": run.playbook,
        "step": step.id,
        "alert": run.alert.uid,
        "case": run.case,
        "action": command.map_or_else(|| step.does.clone(), |command| command.action.to_string()),
        "target_type": command.map(|command| command.target.kind.as_str()),
        "target": command.map(|command| command.target.main()),
        "responder": step.responder,
        "mode": run.mode.as_str(),
        "status": step.status.as_str(),
        "attempt": step.attempts,
        "detail": step.error.clone().or_else(|| step.external_id.clone()),
        "undo": step.undo.as_ref().map(ToString::to_string),
        "change_id": format!("{}.{}", step.action_id, run.version),
        "record": record(run, step, at).to_string(),
    })
}

fn record(run: &Run, step: &StepRecord, at: Moment) -> Value {
    let (activity_id, activity) = match step.command.as_ref().map(|command| command.action) {
        Some(Action::Contain | Action::Deny) => (1, "Isolate"),
        Some(Action::Stop | Action::Delete) => (2, "Evict"),
        Some(Action::Allow | Action::Restore | Action::Cancel) => (3, "Restore"),
        Some(Action::Set | Action::Update) => (4, "Harden"),
        Some(_) => (5, "Detect"),
        None => (99, "Other"),
    };
    let (status_id, status) = match step.status {
        StepStatus::Succeeded => (1, "Success"),
        StepStatus::Failed | StepStatus::Refused | StepStatus::Denied => (2, "Failure"),
        StepStatus::Running | StepStatus::Waiting | StepStatus::Planned | StepStatus::Skipped => (99, "Other"),
    };
    json!({
        "class_uid": REMEDIATION,
        "class_name": "Remediation Activity",
        "category_uid": 7,
        "category_name": "Remediation",
        "activity_id": activity_id,
        "activity_name": activity,
        "type_uid": REMEDIATION * 100 + activity_id,
        "severity_id": run.alert.severity.id(),
        "severity": run.alert.severity,
        "time": at.timestamp_millis(),
        "start_time": step.started.timestamp_millis(),
        "end_time": step.ended.map(|ended| ended.timestamp_millis()),
        "duration": step.took().map(|took| took.num_milliseconds()),
        "command_uid": step.action_id,
        "status_id": status_id,
        "status": status,
        "status_detail": step.error,
        "metadata": { "version": "1.8.0", "product": { "name": "Weir", "vendor_name": "Weir" } },
        "finding_info": { "uid": run.alert.uid, "title": run.alert.title },
        "unmapped": { "weir": {
            "run": run.id,
            "playbook": run.playbook,
            "step": step.id,
            "does": step.does,
            "status": step.status,
            "mode": run.mode,
            "case": run.case,
            "responder": step.responder,
            "command": step.command.as_ref().map(Command::request),
            "attempts": step.attempts,
            "verified": step.verified,
            "external_id": step.external_id,
            "undo": step.undo.as_ref().map(ToString::to_string),
            "decision": step.decision,
            // From the alert's event time to the request that left.
            "latency_ms": step.sent.map(|sent| sent.signed_duration_since(run.alert.time).num_milliseconds()),
            "since_run_start_ms": step.sent.map(|sent| sent.signed_duration_since(run.started).num_milliseconds()),
        } },
    })
}

/// One case as a row of `cases`. The record beside the columns is an OCSF Incident Finding.
fn case_row(case: &Case, change: &str, actor: &str) -> Value {
    let tickets: Vec<String> =
        case.tickets.iter().map(|ticket| format!("{}:{}", ticket.responder, ticket.id)).collect();
    let mut row = json!({
        "time": text(case.updated),
        "uid": case.id,
        "title": case.title,
        "status": case.status,
        "severity": case.severity,
        "severity_id": case.severity.id(),
        "assignee": case.assignee,
        "verdict": case.verdict,
        "ticket": (!tickets.is_empty()).then(|| tickets.join(", ")),
        "alerts": case.alerts.len(),
        "opened": text(case.opened),
        "closed": case.closed.map(text),
        "change": change,
        "actor": actor,
        "change_id": format!("{}.{}", case.id, case.version),
        "record": incident(case).to_string(),
    });
    for (kind, values) in &case.entities {
        row[kind.as_str()] = values.iter().map(String::as_str).collect::<Vec<_>>().join(", ").into();
    }
    row
}

fn incident(case: &Case) -> Value {
    let findings = case
        .alerts
        .iter()
        .map(|alert| json!({ "uid": alert.uid, "title": alert.title, "analytic": { "uid": alert.detection } }));
    let tickets = case.tickets.iter().map(|ticket| json!({ "uid": ticket.id, "type": ticket.responder }));
    json!({
        "class_uid": 2005,
        "class_name": "Incident Finding",
        "category_uid": 2,
        "category_name": "Findings",
        "activity_id": if case.closed.is_some() { 3 } else { 2 },
        "type_uid": 2005 * 100 + if case.closed.is_some() { 3 } else { 2 },
        "time": case.updated.timestamp_millis(),
        "start_time": case.opened.timestamp_millis(),
        "severity_id": case.severity.id(),
        "severity": case.severity,
        "status_id": case.status.ocsf_id(),
        "status": case.status,
        "verdict_id": case.verdict.map(|verdict| verdict.ocsf_id()),
        "verdict": case.verdict,
        "assignee": case.assignee.as_ref().map(|name| json!({ "name": name })),
        "desc": case.title,
        "finding_info_list": findings.collect::<Vec<_>>(),
        "tickets": tickets.collect::<Vec<_>>(),
        "metadata": { "version": "1.8.0", "product": { "name": "Weir", "vendor_name": "Weir" } },
        "unmapped": { "weir": { "case": case.id, "entities": case.entities } },
    })
}

fn text(at: Moment) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}
