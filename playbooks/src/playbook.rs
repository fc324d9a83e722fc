//! A playbook: a trigger and a short list of typed steps.
//!
//! ```yaml
//! id: contain_host
//! name: Contain a host
//! when: alert.severity >= 'high' and exists(alert.entities.host)
//! steps:
//!   - ask: Isolate ${alert.entities.host}?
//!     id: isolate
//!     timeout: 15 minutes
//!   - contain: device ${alert.entities.host}
//!     retry: { attempts: 3, backoff: 2 seconds }
//!   - notify: ${alert.entities.host} is isolated
//! ```
//!
//! Reading reports every mistake of a file; [`link`](Playbook::link) then checks what it says about responders. A
//! [`Draft`] does both for a file that may have mistakes.

use std::time::Duration;

use crate::body::Body;
use crate::expr::Condition;
use crate::facts::AlertFacts;
use crate::openc2::{Action, TargetKind};
use crate::problem::{Problem, Span};
use crate::template::Template;

mod draft;
mod link;
mod names;
mod read;
mod step;

pub use self::draft::Draft;
pub use self::link::{Linked, Outside, Responders};
pub(crate) use self::read::is_name;
#[cfg(test)]
pub(crate) use self::{
    read::PLAYBOOK_KEYS,
    step::{RETRY_KEYS, STEP_KEYS},
};

/// Most steps a playbook may have, on_fail steps included.
pub const STEPS_MAX: usize = 64;

/// One playbook.
#[derive(Debug, Clone, PartialEq)]
pub struct Playbook {
    /// Its name in detections, on the command line and in the journal.
    pub id: String,
    /// One line for people.
    pub name: String,
    /// Why it exists.
    pub description: String,
    /// When it applies; without it, only where a detection names the playbook.
    pub when: Option<Condition>,
    /// What to do, flattened: `on_fail` steps stand behind the main steps.
    pub steps: Plan,
    /// What to do when the case is closed.
    pub on_close: Plan,
}

/// Steps in the order of their writing; each says what follows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// The steps; a run begins at the first.
    pub steps: Vec<Step>,
}

/// Which of a playbook's two lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// `steps`: when the alert arrives.
    Steps,
    /// `on_close`: when the case is closed.
    OnClose,
}

impl Part {
    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Steps => "steps",
            Self::OnClose => "on_close",
        }
    }
}

/// One step.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Its name within the playbook; part of the idempotency key.
    pub id: String,
    /// Where it stands in the file.
    pub span: Span,
    /// The step is left out unless this holds.
    pub when: Option<Condition>,
    /// What it does.
    pub what: What,
    /// Who carries it out; where several could, the author says.
    pub responder: Option<(String, Span)>,
    /// How often it is tried.
    pub retry: Retry,
    /// Limit for all attempts and checks together.
    pub timeout: Duration,
    /// What follows if it fails.
    pub on_fail: OnFail,
    /// The step after it; `None` ends the run.
    pub next: Option<usize>,
}

/// How often a step is tried, and how long it waits between: the wait doubles each time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Attempts in all.
    pub attempts: u32,
    /// Wait before the second attempt.
    pub backoff: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: 3, backoff: Duration::from_secs(1) }
    }
}

/// What follows a step that failed, was refused by a guard, or lacks a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFail {
    /// The run ends as failed.
    Stop,
    /// The next step.
    Continue,
    /// These steps, then the next one.
    Steps(usize),
}

/// What a step does.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// Looks something up and keeps it under a name.
    Enrich {
        /// Later steps say `${name.field}`.
        name: String,
        /// Where.
        source: Source,
    },
    /// Gives an OpenC2 command.
    Act {
        /// What is to be done.
        action: Action,
        /// To what.
        target: TargetTemplate,
        /// How, such as `password: reset`.
        args: Vec<(String, Body)>,
        /// The consumer ends it by itself after this long.
        duration: Option<Duration>,
    },
    /// Asks a person.
    Ask {
        /// The question.
        question: Template,
        /// Who may answer; empty means everyone.
        approvers: Vec<String>,
        /// How long the answer may take.
        wait: Duration,
        /// Whether silence is a yes.
        silence_approves: bool,
        /// Whether the run goes on after a no; later steps see `steps.ID.approved`.
        go_on: bool,
    },
    /// Tells people.
    Notify {
        /// What.
        text: Template,
        /// A channel or person, as the responder understands it.
        to: Option<Template>,
    },
    /// Opens, updates or closes a ticket.
    Ticket {
        /// Which of them.
        deed: TicketDeed,
        /// Fields such as `title` and `text`.
        fields: Vec<(String, Template)>,
    },
}

/// Where an `enrich` step looks.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// The row of a table whose column has a value.
    Table {
        /// The table.
        table: String,
        /// Its place in the file.
        span: Span,
        /// The column.
        column: String,
        /// The value.
        value: Template,
    },
    /// A look-up that a responder describes.
    Lookup {
        /// Its name there.
        lookup: String,
        /// What to look up.
        value: Template,
    },
}

/// What becomes of a ticket.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum TicketDeed {
    /// A new one, unless one with the fingerprint is open.
    Open,
    /// A comment or changed fields.
    Update,
    /// Its end.
    Close,
}

impl TicketDeed {
    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Update => "update",
            Self::Close => "close",
        }
    }
}

/// A target as its author wrote it.
#[derive(Debug, Clone, PartialEq)]
pub enum TargetTemplate {
    /// `device ${...}`.
    Short(TargetKind, Template),
    /// `{ device: { hostname: ${...} } }`; a field without value is left out.
    Fields(TargetKind, Vec<(String, Template)>),
}

impl TargetTemplate {
    /// The kind of target.
    #[must_use]
    pub const fn kind(&self) -> TargetKind {
        match self {
            Self::Short(kind, _) | Self::Fields(kind, _) => *kind,
        }
    }
}

/// What a responder must be able to do for a step.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub enum Operation {
    /// An OpenC2 action on a kind of target; `set account password` also says what is set.
    Command(Action, TargetKind, Option<String>),
    /// Tickets.
    Ticket(TicketDeed),
    /// Messages to people.
    Notify,
    /// A named look-up.
    Lookup(String),
}

impl Operation {
    /// What a responder may describe in its place: `set account` serves for everything that can be set.
    pub(crate) fn without_property(&self) -> Option<Self> {
        match self {
            Self::Command(action, kind, Some(_)) => Some(Self::Command(*action, *kind, None)),
            _ => None,
        }
    }
}

impl std::fmt::Display for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Command(action, kind, None) => write!(f, "{action} {kind}"),
            Self::Command(action, kind, Some(property)) => write!(f, "{action} {kind} {property}"),
            Self::Ticket(deed) => write!(f, "ticket {}", deed.as_str()),
            Self::Notify => f.write_str("notify"),
            Self::Lookup(name) => write!(f, "lookup {name}"),
        }
    }
}

impl Playbook {
    /// Reads a playbook.
    ///
    /// Errors: every mistake in the text, each with its place.
    pub fn parse(text: &str) -> Result<Self, Vec<Problem>> {
        Draft::read(text).finish()
    }

    /// Whether the playbook is to be run for an alert. A detection that names it starts it where `when` does not
    /// speak against it; otherwise `when` must be written and hold.
    #[must_use]
    pub fn applies(&self, alert: &AlertFacts, named: bool) -> bool {
        match &self.when {
            Some(condition) => condition.holds(&serde_json::json!({ "alert": alert.scope() })),
            None => named,
        }
    }

    /// One of its lists.
    #[must_use]
    pub const fn plan(&self, part: Part) -> &Plan {
        match part {
            Part::Steps => &self.steps,
            Part::OnClose => &self.on_close,
        }
    }
}

impl Step {
    /// What a responder must be able to do for it; `None` where no responder is needed.
    #[must_use]
    pub fn operation(&self) -> Option<Operation> {
        match &self.what {
            What::Act { action, target, args, .. } => {
                let set = args.iter().map(|(name, _)| name.clone()).find(|name| name != "comment");
                Some(Operation::Command(*action, target.kind(), set.filter(|_| *action == Action::Set)))
            }
            What::Notify { .. } => Some(Operation::Notify),
            What::Ticket { deed, .. } => Some(Operation::Ticket(*deed)),
            What::Enrich { source: Source::Lookup { lookup, .. }, .. } => Some(Operation::Lookup(lookup.clone())),
            What::Enrich { .. } | What::Ask { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests;
