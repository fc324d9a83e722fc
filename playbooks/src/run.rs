//! A run: one playbook on one alert. It says what to ask of the outside and takes in what came of it; it never waits,
//! sends or reads a clock itself.
//!
//! ```text
//! loop {
//!     next = run.next(world, now)      // decides; marks as sent
//!     journal.write(run, run.take_notes())   // before anything leaves
//!     outcome = carry out `next`
//!     run.outcome(world, outcome, now)
//! }
//! ```
//!
//! A run that is read from the journal after a crash goes on with [`Run::resume`]: a request that may have left is sent
//! again under the same idempotency key, and a ticket is searched for before it is made again.

use chrono::TimeDelta;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::audit::{Note, WEIR};
use crate::case::{Case, Ticket};
use crate::facts::{AlertFacts, Moment};
use crate::guard::Guard;
use crate::http::{HttpFailure, HttpRequest, HttpResponse};
use crate::journal::{Approval, Decision};
use crate::openc2::{Command, Undo, words};
use crate::playbook::{Part, Playbook, Responders};

mod act;
mod advance;
mod scope;

/// Whether requests leave.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Requests are written down and nothing leaves.
    #[default]
    DryRun,
    /// Requests leave.
    Live,
}

impl Mode {
    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DryRun => "dry-run",
            Self::Live => "live",
        }
    }
}

words! {
    /// How far a run is.
    RunStatus {
        /// It goes on by itself.
        Running = "running",
        /// It waits for a person.
        Waiting = "waiting",
        /// It went to its end.
        Completed = "completed",
        /// A step failed and the playbook says to stop.
        Failed = "failed",
        /// A person said no.
        Denied = "denied",
        /// Its case was closed before it came to its end.
        Cancelled = "cancelled",
    }
}

impl RunStatus {
    /// Whether nothing follows.
    #[must_use]
    pub const fn is_end(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Denied | Self::Cancelled)
    }
}

words! {
    /// What became of a step.
    StepStatus {
        /// It is being carried out.
        Running = "running",
        /// It waits for a person.
        Waiting = "waiting",
        /// It is done, and proved where the responder can prove it.
        Succeeded = "succeeded",
        /// It is written down and was not carried out, because this is a dry run.
        Planned = "planned",
        /// Its condition did not hold.
        Skipped = "skipped",
        /// It could not be done.
        Failed = "failed",
        /// The guard refused it.
        Refused = "refused",
        /// A person said no.
        Denied = "denied",
    }
}

/// Where in a step a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Is it there already?
    Search,
    /// Values the vendor needs; counts from 0.
    Lookup(usize),
    /// The request itself.
    Call,
    /// Proof of the state; counts the attempts.
    Verify(u32),
}

/// One run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Hash of alert, playbook, part and mode: a second delivery of the alert is the same run.
    pub id: String,
    /// The alert as it was when the run began.
    pub alert: AlertFacts,
    /// The playbook.
    pub playbook: String,
    /// Which of its lists.
    pub part: Part,
    /// Whether requests leave.
    pub mode: Mode,
    /// The case.
    pub case: Option<String>,
    /// How far it is.
    pub status: RunStatus,
    /// The step it is at; `None` before the first and after the last.
    pub at: Option<String>,
    /// What became of the steps so far.
    pub steps: Vec<StepRecord>,
    /// Results of look-ups, by name.
    pub results: Map<String, Value>,
    /// What became of the steps of the run before, for `on_close`.
    #[serde(default)]
    pub inherited: Map<String, Value>,
    /// The ticket it opened or inherited.
    pub ticket: Option<Ticket>,
    /// When it began.
    pub started: Moment,
    /// When something last happened.
    pub updated: Moment,
    /// When it ended.
    pub ended: Option<Moment>,
    /// Counts its writes to the journal.
    pub version: u64,
    /// Which process drives it; `None` where none does.
    #[serde(default)]
    pub lease: Option<Lease>,
    /// What is to go into the audit trail with the next write.
    #[serde(skip)]
    pub(crate) notes: Vec<Note>,
}

/// The word of a process that it drives a run. Two that drive one run all the same are told by its version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The process.
    pub driver: String,
    /// When another may take over without being told.
    pub until: Moment,
}

/// What became of one step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// The step.
    pub id: String,
    /// What it does, for people: `contain device`, `ask`.
    pub does: String,
    /// What became of it.
    pub status: StepStatus,
    /// Where in the step the run is.
    pub phase: Phase,
    /// How often the request itself left.
    pub attempts: u32,
    /// How often the current phase was tried in a row.
    #[serde(default)]
    pub tries: u32,
    /// Whether a request left whose outcome is not written down.
    pub in_flight: bool,
    /// Not before this instant.
    pub wake: Option<Moment>,
    /// Given up at this instant.
    pub deadline: Moment,
    /// Idempotency key, also the OpenC2 command id.
    pub action_id: String,
    /// Who carries it out.
    pub responder: Option<String>,
    /// The command.
    pub command: Option<Command>,
    /// The last request: in a dry run, the one that would have left.
    pub request: Option<HttpRequest>,
    /// Every request of a dry run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub planned: Vec<HttpRequest>,
    /// Values that look-ups of the responder found.
    #[serde(default)]
    pub found: Map<String, Value>,
    /// What was made, as the vendor calls it.
    pub external_id: Option<String>,
    /// Values of the answer.
    #[serde(default)]
    pub result: Map<String, Value>,
    /// Whether the state was proved; `None` where the responder cannot prove it.
    pub verified: Option<bool>,
    /// How it is taken back.
    pub undo: Option<Undo>,
    /// The answer of a person.
    pub decision: Option<Decision>,
    /// Why it failed or was refused.
    pub error: Option<String>,
    /// When it began.
    pub started: Moment,
    /// When its first request left.
    pub sent: Option<Moment>,
    /// When it ended.
    pub ended: Option<Moment>,
}

/// What a run sees of the world.
pub struct World<'a> {
    /// The playbook of the run.
    pub playbook: &'a Playbook,
    /// All responders.
    pub responders: &'a Responders,
    /// The guard, shared by all runs.
    pub guard: &'a mut Guard,
    /// The case of the run.
    pub case: Option<&'a Case>,
}

/// What a run asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// Send this.
    Http(Box<HttpRequest>),
    /// Find the row of a table.
    Table {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// The value it must have.
        value: String,
    },
    /// Ask a person; come back with the answer, or at `expires`.
    Ask(Box<Approval>),
    /// Come back at this instant.
    Sleep(Moment),
    /// Nothing follows.
    End(RunStatus),
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Of a request.
    Http(Result<HttpResponse, HttpFailure>),
    /// Of a look-up in a table: the row, or why there is none.
    Table(Result<Option<Map<String, Value>>, String>),
    /// Of a question.
    Decision(Decision),
}

impl Run {
    /// The id of the run of a playbook's part on an alert. A dry run is another run: trying a playbook does not use up
    /// the alert.
    #[must_use]
    pub fn id_of(alert: &str, playbook: &str, part: Part, mode: Mode) -> String {
        format!("run-{}", &hash(&[alert, playbook, part.as_str(), mode.as_str()])[..16])
    }

    /// A new run.
    #[must_use]
    pub fn start(
        alert: AlertFacts,
        playbook: &str,
        part: Part,
        mode: Mode,
        case: Option<String>,
        now: Moment,
    ) -> (Self, Note) {
        let run = Self {
            id: Self::id_of(&alert.uid, playbook, part, mode),
            playbook: playbook.to_owned(),
            part,
            mode,
            case,
            status: RunStatus::Running,
            at: None,
            steps: Vec::new(),
            results: Map::new(),
            inherited: Map::new(),
            ticket: None,
            started: now,
            updated: now,
            ended: None,
            version: 1,
            lease: None,
            notes: Vec::new(),
            alert,
        };
        let text = format!("{} ({}) began for: {}", playbook, mode.as_str(), run.alert.title);
        let note =
            run.note("run_started", WEIR, text, json!({ "alert": run.alert.uid, "part": part, "mode": mode }), now);
        (run, note)
    }

    /// Takes over what an earlier run of the playbook found out: results, step outcomes and the ticket.
    pub fn inherit(&mut self, earlier: &Self) {
        self.results.clone_from(&earlier.results);
        self.inherited = earlier.step_scope();
        self.ticket.clone_from(&earlier.ticket);
    }

    /// Goes on after a restart. A request that may have left is sent again under its key; the time that nobody was
    /// there does not count against the step.
    pub fn resume(&mut self, playbook: &Playbook, now: Moment) {
        let timeout = self.current_step(playbook).map(|step| step.timeout);
        let Some(record) = self.record_mut() else { return };
        if !matches!(record.status, StepStatus::Running) {
            return;
        }
        if let Some(timeout) = timeout {
            record.deadline = after(now, timeout);
        }
        let (id, was_in_flight) = (record.id.clone(), record.in_flight);
        record.in_flight = false;
        if was_in_flight && record.phase == Phase::Call {
            record.phase = Phase::Search;
        }
        let how = if was_in_flight {
            "a request may have left before the restart; it is repeated under its key"
        } else {
            "went on after a restart"
        };
        self.add_note(
            "run_resumed",
            WEIR,
            format!("step {id}: {how}"),
            json!({ "step": id, "in_flight": was_in_flight }),
            now,
        );
    }

    /// Ends the run where it is: its case was closed. A request that is on its way is not called back; its answer is not
    /// waited for.
    pub fn cancel(&mut self, why: &str, by: &str, now: Moment) {
        if let Some(record) = self.record_mut() {
            record.status = StepStatus::Failed;
            record.in_flight = false;
            record.error = Some(format!("cancelled: {why}"));
            record.ended = Some(now);
        }
        let step = self.at.take();
        self.status = RunStatus::Cancelled;
        (self.updated, self.ended, self.lease) = (now, Some(now), None);
        self.add_note("run_cancelled", by, format!("{} cancelled: {why}", self.playbook), json!({ "step": step }), now);
    }

    /// The notes since the last call; they belong into the same write as the run.
    pub fn take_notes(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.notes)
    }

    /// The record of the step the run is at.
    #[must_use]
    pub fn record(&self) -> Option<&StepRecord> {
        let at = self.at.as_ref()?;
        self.steps.iter().rev().find(|record| record.id == *at)
    }

    pub(crate) fn record_mut(&mut self) -> Option<&mut StepRecord> {
        let at = self.at.clone()?;
        self.steps.iter_mut().rev().find(|record| record.id == at)
    }

    /// The commands that were carried out, with when they left.
    pub fn commands(&self) -> impl Iterator<Item = (&Command, Moment)> {
        self.steps.iter().filter_map(|record| Some((record.command.as_ref()?, record.sent?)))
    }

    /// Whether a process may drive the run now.
    #[must_use]
    pub fn is_free_for(&self, driver: &str, now: Moment) -> bool {
        self.lease.as_ref().is_none_or(|lease| lease.driver == driver || lease.until <= now)
    }

    /// The idempotency key of a step.
    #[must_use]
    pub fn action_id(&self, step: &str) -> String {
        hash(&[&self.alert.uid, &self.playbook, self.part.as_str(), step])[..32].to_owned()
    }

    pub(crate) fn add_note(&mut self, what: &str, actor: &str, text: String, detail: Value, now: Moment) {
        let note = self.note(what, actor, text, detail, now);
        self.notes.push(note);
    }

    fn note(&self, what: &str, actor: &str, text: String, detail: Value, now: Moment) -> Note {
        Note {
            at: now,
            actor: actor.to_owned(),
            case: self.case.clone(),
            run: Some(self.id.clone()),
            what: what.to_owned(),
            text,
            detail,
        }
    }
}

impl StepRecord {
    /// How long it took.
    #[must_use]
    pub fn took(&self) -> Option<TimeDelta> {
        Some(self.ended?.signed_duration_since(self.started))
    }
}

/// Hash of parts, each with its length, so that no two lists collide by concatenation.
fn hash(parts: &[&str]) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

/// An instant later, without wrapping.
pub(crate) fn after(now: Moment, wait: std::time::Duration) -> Moment {
    TimeDelta::from_std(wait).ok().and_then(|wait| now.checked_add_signed(wait)).unwrap_or(Moment::MAX_UTC)
}

#[cfg(test)]
mod tests;
