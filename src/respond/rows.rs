//! What the archive keeps of response: rows of `actions` and `cases`.
//!
//! The audit trail is the cursor: whoever archives asks for what changed after an entry, and writes the rows under the
//! number of the last one. Asking again gives the same rows or newer ones of the same ids; the last row of an id holds.

use std::collections::BTreeSet;

use chrono::SecondsFormat;
use serde_json::{Value, json};
use weir_playbooks::case::Case;
use weir_playbooks::facts::Moment;
use weir_playbooks::journal::{AuditFilter, CaseFilter, Journal, JournalError, RunFilter};
use weir_playbooks::openc2::Action;
use weir_playbooks::run::{Run, StepRecord, StepStatus};

use super::Respond;

/// OCSF class of an action: Remediation Activity.
const REMEDIATION: i64 = 7001;

/// What changed after an entry of the audit trail.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Rows {
    /// The last entry that is taken into account; the next `after`.
    pub(crate) seq: u64,
    /// Rows of the table `actions`.
    pub(crate) actions: Vec<Value>,
    /// Rows of the table `cases`.
    pub(crate) cases: Vec<Value>,
}

impl Respond {
    /// The rows of everything that changed after an entry of the audit trail.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub(crate) async fn rows(&self, after: u64) -> anyhow::Result<Rows> {
        Ok(self.inner.journal(move |journal| rows(journal, after)).await?)
    }
}

fn rows(journal: &mut dyn Journal, after: u64) -> Result<Rows, JournalError> {
    let entries = journal.audit(&AuditFilter { after, ..AuditFilter::default() })?;
    let mut rows = Rows { seq: entries.last().map_or(after, |entry| entry.seq), ..Rows::default() };
    let runs: BTreeSet<&String> = entries.iter().filter_map(|entry| entry.note.run.as_ref()).collect();
    for id in runs {
        for run in journal.runs(&RunFilter { id: Some(id.clone()), ..RunFilter::default() })? {
            rows.actions
                .extend(run.steps.iter().filter(|step| step.does != "enrich").map(|step| action_row(&run, step)));
        }
    }
    let cases: BTreeSet<&String> = entries.iter().filter_map(|entry| entry.note.case.as_ref()).collect();
    for id in cases {
        let last = entries.iter().rev().find(|entry| entry.note.case.as_ref() == Some(id));
        for case in journal.cases(&CaseFilter { id: Some(id.clone()), ..CaseFilter::default() })? {
            let (change, actor) = last.map_or(("", ""), |entry| (&entry.note.what, &entry.note.actor));
            rows.cases.push(case_row(&case, change, actor));
        }
    }
    Ok(rows)
}

/// One step as a row of `actions`. The record beside the columns is an OCSF Remediation Activity.
pub(crate) fn action_row(run: &Run, step: &StepRecord) -> Value {
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
            "command": step.command.as_ref().map(weir_playbooks::openc2::Command::request),
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
pub(crate) fn case_row(case: &Case, change: &str, actor: &str) -> Value {
    let tickets: Vec<String> =
        case.tickets.iter().map(|ticket| format!("{}:{}", ticket.responder, ticket.id)).collect();
    json!({
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
        "record": incident(case).to_string(),
    })
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
