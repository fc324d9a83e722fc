//! An alert comes in: it joins a case or opens one, and starts the playbooks that apply, once each.

use anyhow::{Context as _, bail};
use chrono::TimeDelta;
use serde_json::{Value, json};
use weir_connectors::failpoint;
use weir_playbooks::audit::{Note, WEIR};
use weir_playbooks::case::{Case, Grouping};
use weir_playbooks::facts::{AlertFacts, Moment};
use weir_playbooks::journal::{CaseFilter, Journal, JournalError, RunFilter, Write};
use weir_playbooks::playbook::Part;
use weir_playbooks::run::Run;

use super::facts::{AlertRecord, alert_facts};
use super::{CONFLICTS_MAX, Respond, now};

/// What became of an alert.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    /// The case that it opened or joined.
    pub(crate) case: Option<String>,
    /// The runs that it started; empty where they were started before.
    pub(crate) runs: Vec<String>,
}

/// One attempt to take an alert in: what to write, and what is new by it.
struct Attempt {
    writes: Vec<Write>,
    started: Vec<Run>,
    case: Option<String>,
}

impl Respond {
    /// Takes an alert record in. When this returns, case and runs are in the journal, and the runs go on by themselves. The
    /// same record may come again, after a crash or a redelivery: it changes nothing. Nothing is done about a provisional
    /// alert; the record that settles it comes later.
    ///
    /// # Errors
    /// The record is no alert, or the journal cannot be used.
    pub(crate) async fn alert(&self, record: &Value) -> anyhow::Result<Taken> {
        let record = alert_facts(record)?;
        if record.is_suppressed || record.is_provisional {
            return Ok(Taken::default());
        }
        let names = if record.is_withdrawn { Vec::new() } else { self.applying(&record) };
        for _ in 0..CONFLICTS_MAX {
            let (alert, names, at) = (record.clone(), names.clone(), now());
            let (grouping, mode) = (self.inner.setup.grouping.clone(), self.inner.setup.mode);
            let opens = !names.is_empty() || alert.facts.severity >= self.inner.setup.case_severity_min;
            let start = move |journal: &mut dyn Journal| {
                let mut attempt = attempt(journal, &alert, opens, &grouping, at)?;
                for name in &names {
                    let id = Run::id_of(&alert.facts.uid, name, Part::Steps, mode);
                    if !journal.runs(&RunFilter { id: Some(id), ..RunFilter::default() })?.is_empty() {
                        continue;
                    }
                    let (run, note) =
                        Run::start(alert.facts.clone(), name, Part::Steps, mode, attempt.case.clone(), at);
                    attempt.writes.extend([Write::StartRun(run.clone()), Write::Note(note)]);
                    attempt.started.push(run);
                }
                if !attempt.writes.is_empty() {
                    journal.write(&attempt.writes)?;
                }
                Ok(attempt)
            };
            match self.inner.journal(start).await {
                Ok(attempt) => return Ok(self.begin(attempt)),
                // Another process was faster; what it did is read, and the rest is done.
                Err(JournalError::Conflict(_) | JournalError::Exists(_)) => {}
                Err(error) => return Err(error).context("cannot journal an alert"),
            }
        }
        bail!("alert {}: the journal changes faster than it can be read", record.facts.uid)
    }

    fn applying(&self, record: &AlertRecord) -> Vec<String> {
        if let Some(name) = record.playbook.as_ref().filter(|name| !self.inner.setup.playbooks.contains_key(*name)) {
            tracing::warn!(
                playbook = name,
                detection = record.facts.detection,
                "a detection names an unknown playbook"
            );
        }
        let applies = |(id, playbook): &(&String, &weir_playbooks::playbook::Playbook)| {
            playbook.applies(&record.facts, record.playbook.as_ref() == Some(*id))
        };
        self.inner.setup.playbooks.iter().filter(applies).map(|(id, _)| id.clone()).collect()
    }

    fn begin(&self, attempt: Attempt) -> Taken {
        if !attempt.writes.is_empty() {
            failpoint::reach("playbooks.journaled");
            self.inner.journaled.send_modify(|count| *count += 1);
        }
        let runs = attempt.started.iter().map(|run| run.id.clone()).collect();
        for run in attempt.started {
            tracing::info!(run = run.id, playbook = run.playbook, mode = run.mode.as_str(), "run started");
            self.spawn(run);
        }
        Taken { case: attempt.case, runs }
    }
}

/// Finds the case of an alert, or opens one.
fn attempt(
    journal: &mut dyn Journal,
    alert: &AlertRecord,
    opens: bool,
    grouping: &Grouping,
    at: Moment,
) -> Result<Attempt, JournalError> {
    let mut attempt = Attempt { writes: Vec::new(), started: Vec::new(), case: None };
    let Some(mut case) = find_case(journal, &alert.facts, grouping, at)? else {
        if opens && !alert.is_withdrawn {
            let (case, note) = Case::open(&alert.facts, at);
            attempt.case = Some(case.id.clone());
            attempt.writes.extend([Write::OpenCase(case), Write::Note(note)]);
        }
        return Ok(attempt);
    };
    attempt.case = Some(case.id.clone());
    let from = case.version;
    if alert.is_withdrawn {
        attempt.writes.push(Write::Note(withdrawn(&case, &alert.facts, at)));
    } else if let Some(note) = case.add(&alert.facts, at) {
        attempt.writes.extend([Write::Case { case, from }, Write::Note(note)]);
    }
    Ok(attempt)
}

fn find_case(
    journal: &mut dyn Journal,
    alert: &AlertFacts,
    grouping: &Grouping,
    at: Moment,
) -> Result<Option<Case>, JournalError> {
    let own = CaseFilter { alert: Some(alert.uid.clone()), ..CaseFilter::default() };
    if let Some(case) = journal.cases(&own)?.pop() {
        return Ok(Some(case));
    }
    let since = TimeDelta::from_std(grouping.window).ok().and_then(|window| at.checked_sub_signed(window));
    let about = Some(grouping.things(alert));
    let recent = journal.cases(&CaseFilter { unclosed: true, about, since, ..CaseFilter::default() })?;
    Ok(recent.into_iter().rev().find(|case| case.accepts(alert, grouping, at)))
}

fn withdrawn(case: &Case, alert: &AlertFacts, at: Moment) -> Note {
    Note {
        at,
        actor: WEIR.to_owned(),
        case: Some(case.id.clone()),
        run: None,
        what: "alert_withdrawn".to_owned(),
        text: format!("no longer holds: {}", alert.title),
        detail: json!({ "alert": alert.uid }),
    }
}
