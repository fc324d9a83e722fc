//! A case: alerts about one thing, from open to closed. Transitions are pure; each gives the note for the audit trail.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::TimeDelta;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::audit::{Note, WEIR};
use crate::facts::{AlertFacts, Moment, Severity};
use crate::openc2::words;

words! {
    /// How far a case is.
    CaseStatus {
        /// Nobody works on it.
        Open = "open",
        /// Somebody does.
        InProgress = "in_progress",
        /// The threat is held back.
        Contained = "contained",
        /// It has a verdict.
        Closed = "closed",
    }
}

words! {
    /// What it turned out to be, in the words of OCSF 2005.
    Verdict {
        /// The detection was wrong.
        FalsePositive = "false_positive",
        /// It was an attack.
        TruePositive = "true_positive",
        /// It does not matter.
        Disregard = "disregard",
        /// It may have been an attack.
        Suspicious = "suspicious",
        /// It was right and harmless.
        Benign = "benign",
        /// It was an exercise.
        Test = "test",
        /// Nobody can tell.
        InsufficientData = "insufficient_data",
        /// It is a weakness and not an attack.
        SecurityRisk = "security_risk",
        /// Others take care of it.
        ManagedExternally = "managed_externally",
        /// Another case is about it.
        Duplicate = "duplicate",
    }
}

impl CaseStatus {
    /// Its number in OCSF 2005.
    #[must_use]
    pub const fn ocsf_id(self) -> i64 {
        match self {
            Self::Open => 1,
            Self::InProgress | Self::Contained => 2,
            Self::Closed => 5,
        }
    }
}

impl Verdict {
    /// Its number in OCSF 2005, from 1.
    #[must_use]
    pub const fn ocsf_id(self) -> i64 {
        self as i64 + 1
    }
}

/// One case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Case {
    /// Derived from its first alert, so that a second delivery opens no second case.
    pub id: String,
    /// The title of its worst alert.
    pub title: String,
    /// The worst of its alerts.
    pub severity: Severity,
    /// How far it is.
    pub status: CaseStatus,
    /// Who works on it.
    pub assignee: Option<String>,
    /// What it turned out to be.
    pub verdict: Option<Verdict>,
    /// Its alerts in order of arrival.
    pub alerts: Vec<CaseAlert>,
    /// What it is about.
    pub entities: BTreeMap<String, BTreeSet<String>>,
    /// Its tickets elsewhere.
    pub tickets: Vec<Ticket>,
    /// When it was opened.
    pub opened: Moment,
    /// When something last happened.
    pub updated: Moment,
    /// When it was closed.
    pub closed: Option<Moment>,
    /// Counts its changes, so that two writers notice each other.
    pub version: u64,
}

/// An alert of a case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaseAlert {
    /// The alert.
    pub uid: String,
    /// Its detection.
    pub detection: String,
    /// Its title.
    pub title: String,
    /// How bad it is.
    pub severity: Severity,
    /// Event time.
    pub time: Moment,
}

/// A ticket in another system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// The responder that made it.
    pub responder: String,
    /// Its id there.
    pub id: String,
}

/// Which alerts belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grouping {
    /// Alerts that share a value of one of these kinds are about one thing.
    pub kinds: Vec<String>,
    /// An alert joins a case that changed within this span.
    pub window: Duration,
    /// A case with this many alerts takes no more; the next opens another.
    pub alerts_max: usize,
}

impl Default for Grouping {
    fn default() -> Self {
        let kinds = ["host", "user", "account", "email"].map(str::to_owned).to_vec();
        Self { kinds, window: Duration::from_secs(4 * 3_600), alerts_max: 500 }
    }
}

impl Grouping {
    /// What ties an alert to others: kinds and values, in lower case.
    #[must_use]
    pub fn things(&self, alert: &AlertFacts) -> Vec<(String, String)> {
        let named = self.kinds.iter().filter_map(|kind| Some((kind.clone(), alert.entities.get(kind)?.to_lowercase())));
        named.filter(|(_, value)| !value.is_empty()).collect()
    }
}

/// A transition that is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CaseError {
    /// The case is closed.
    #[error("case {0} is closed; reopen it first")]
    Closed(String),
    /// The case is not closed.
    #[error("case {0} is not closed")]
    NotClosed(String),
    /// It is so already.
    #[error("case {id} is already {status}")]
    Already {
        /// The case.
        id: String,
        /// Its status.
        status: CaseStatus,
    },
    /// An assignee without a name.
    #[error("an assignee has a name of at most 200 characters without control characters")]
    BadAssignee,
}

impl Case {
    /// A new case about one alert.
    #[must_use]
    pub fn open(alert: &AlertFacts, now: Moment) -> (Self, Note) {
        let hash = blake3::hash(format!("case\0{}", alert.uid).as_bytes()).to_hex();
        let mut case = Self {
            id: format!("case-{}", &hash.as_str()[..10]),
            title: alert.title.clone(),
            severity: alert.severity,
            status: CaseStatus::Open,
            assignee: None,
            verdict: None,
            alerts: Vec::new(),
            entities: BTreeMap::new(),
            tickets: Vec::new(),
            opened: now,
            updated: now,
            closed: None,
            version: 1,
        };
        case.take_in(alert);
        let note =
            case.note("case_opened", WEIR, format!("opened for: {}", alert.title), json!({ "alert": alert.uid }), now);
        (case, note)
    }

    /// Whether an alert belongs to this case.
    #[must_use]
    pub fn accepts(&self, alert: &AlertFacts, grouping: &Grouping, now: Moment) -> bool {
        if self.has(&alert.uid) {
            return true;
        }
        let window = TimeDelta::from_std(grouping.window).unwrap_or(TimeDelta::MAX);
        let is_fresh = now.signed_duration_since(self.updated) <= window;
        let shares = || grouping.things(alert).iter().any(|(kind, value)| self.is_about(kind, value));
        self.status != CaseStatus::Closed && self.alerts.len() < grouping.alerts_max && is_fresh && shares()
    }

    /// Whether the case is about a thing; the value is in lower case.
    #[must_use]
    pub fn is_about(&self, kind: &str, value: &str) -> bool {
        self.entities.get(kind).is_some_and(|values| values.contains(value))
    }

    /// Whether the alert is in the case.
    #[must_use]
    pub fn has(&self, uid: &str) -> bool {
        self.alerts.iter().any(|alert| alert.uid == uid)
    }

    /// Takes an alert in, or its newer record; `None` where nothing changed.
    pub fn add(&mut self, alert: &AlertFacts, now: Moment) -> Option<Note> {
        let before = (self.alerts.clone(), self.severity);
        let is_new = !self.has(&alert.uid);
        self.take_in(alert);
        if before == (self.alerts.clone(), self.severity) {
            return None;
        }
        let (what, verb) = if is_new { ("alert_added", "joined") } else { ("alert_changed", "changed") };
        Some(self.changed(what, WEIR, format!("{verb}: {}", alert.title), json!({ "alert": alert.uid }), now))
    }

    fn take_in(&mut self, alert: &AlertFacts) {
        let entry = CaseAlert {
            uid: alert.uid.clone(),
            detection: alert.detection.clone(),
            title: alert.title.clone(),
            severity: alert.severity,
            time: alert.time,
        };
        match self.alerts.iter_mut().find(|known| known.uid == alert.uid) {
            Some(known) => *known = entry,
            None => self.alerts.push(entry),
        }
        for (kind, value) in alert.entities.iter().filter(|(_, value)| !value.is_empty()) {
            self.entities.entry(kind.clone()).or_default().insert(value.to_lowercase());
        }
        if let Some(worst) = self.alerts.iter().max_by_key(|alert| alert.severity) {
            if worst.severity > self.severity || self.alerts.len() == 1 {
                self.title.clone_from(&worst.title);
            }
            self.severity = worst.severity;
        }
    }

    /// Gives the case to somebody, who thereby works on it.
    ///
    /// Errors: the case is closed, or the name is none.
    pub fn assign(&mut self, assignee: &str, actor: &str, now: Moment) -> Result<Note, CaseError> {
        self.not_closed()?;
        if assignee.trim().is_empty() || assignee.chars().count() > 200 || assignee.chars().any(char::is_control) {
            return Err(CaseError::BadAssignee);
        }
        self.assignee = Some(assignee.trim().to_owned());
        if self.status == CaseStatus::Open {
            self.status = CaseStatus::InProgress;
        }
        Ok(self.changed(
            "case_assigned",
            actor,
            format!("assigned to {assignee}"),
            json!({ "assignee": assignee }),
            now,
        ))
    }

    /// Work on the case begins.
    ///
    /// Errors: it is not open.
    pub fn start(&mut self, actor: &str, now: Moment) -> Result<Note, CaseError> {
        self.step_to(CaseStatus::InProgress, &[CaseStatus::Open], actor, "work on it began", now)
    }

    /// The threat is held back.
    ///
    /// Errors: it is contained or closed.
    pub fn contain(&mut self, actor: &str, why: &str, now: Moment) -> Result<Note, CaseError> {
        self.step_to(CaseStatus::Contained, &[CaseStatus::Open, CaseStatus::InProgress], actor, why, now)
    }

    /// The case gets its verdict.
    ///
    /// Errors: it is closed.
    pub fn close(
        &mut self,
        verdict: Verdict,
        comment: Option<&str>,
        actor: &str,
        now: Moment,
    ) -> Result<Note, CaseError> {
        self.not_closed()?;
        self.status = CaseStatus::Closed;
        self.verdict = Some(verdict);
        self.closed = Some(now);
        let text =
            comment.map_or_else(|| format!("closed as {verdict}"), |comment| format!("closed as {verdict}: {comment}"));
        Ok(self.changed("case_closed", actor, text, json!({ "verdict": verdict }), now))
    }

    /// A closed case turns out not to be over.
    ///
    /// Errors: it is not closed.
    pub fn reopen(&mut self, why: &str, actor: &str, now: Moment) -> Result<Note, CaseError> {
        if self.status != CaseStatus::Closed {
            return Err(CaseError::NotClosed(self.id.clone()));
        }
        self.status = CaseStatus::InProgress;
        self.verdict = None;
        self.closed = None;
        Ok(self.changed("case_reopened", actor, format!("reopened: {why}"), Value::Null, now))
    }

    /// Remembers a ticket; `None` where it is known.
    pub fn ticket(&mut self, ticket: Ticket, now: Moment) -> Option<Note> {
        if self.tickets.contains(&ticket) {
            return None;
        }
        let text = format!("ticket {} in {}", ticket.id, ticket.responder);
        let detail = json!(ticket);
        self.tickets.push(ticket);
        Some(self.changed("ticket_opened", WEIR, text, detail, now))
    }

    /// The case as templates and conditions see it.
    #[must_use]
    pub fn scope(&self) -> Value {
        json!({
            "id": self.id,
            "status": self.status,
            "title": self.title,
            "assignee": self.assignee,
            "verdict": self.verdict,
        })
    }

    fn not_closed(&self) -> Result<(), CaseError> {
        if self.status == CaseStatus::Closed { Err(CaseError::Closed(self.id.clone())) } else { Ok(()) }
    }

    fn step_to(
        &mut self,
        to: CaseStatus,
        from: &[CaseStatus],
        actor: &str,
        why: &str,
        now: Moment,
    ) -> Result<Note, CaseError> {
        self.not_closed()?;
        if !from.contains(&self.status) {
            return Err(CaseError::Already { id: self.id.clone(), status: self.status });
        }
        self.status = to;
        Ok(self.changed(&format!("case_{to}"), actor, why.to_owned(), Value::Null, now))
    }

    fn changed(&mut self, what: &str, actor: &str, text: String, detail: Value, now: Moment) -> Note {
        self.updated = now;
        self.version += 1;
        self.note(what, actor, text, detail, now)
    }

    fn note(&self, what: &str, actor: &str, text: String, detail: Value, now: Moment) -> Note {
        Note {
            at: now,
            actor: actor.to_owned(),
            case: Some(self.id.clone()),
            run: None,
            what: what.to_owned(),
            text,
            detail,
        }
    }
}

#[cfg(test)]
mod tests;
