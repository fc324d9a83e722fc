//! The journal: runs, cases, approvals and the audit trail. What is written together holds together or not at all, and
//! a run is written before anything of it leaves.

use std::error::Error;

use serde::{Deserialize, Serialize};

use crate::audit::{Entry, Note};
use crate::case::{Case, CaseStatus};
use crate::facts::Moment;
use crate::run::{Run, RunStatus};

mod changes;
pub mod conformance;
mod memory;

pub use self::changes::{Change, ChangeOf, of_case, of_run};
pub use self::memory::Memory;

/// One change. All changes of one [`Journal::write`] hold together.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// A run begins; refused where one of its alert, playbook and part exists.
    StartRun(Run),
    /// A run goes on; its version is one above the stored one.
    Run(Run),
    /// A case is opened; refused where it exists.
    OpenCase(Case),
    /// A case changes; its version is above the stored one, and the stored one is `from`.
    Case {
        /// The changed case.
        case: Case,
        /// The version it was read at.
        from: u64,
    },
    /// A run asks; an open question of the same step is left as it is.
    Ask(Approval),
    /// Somebody answers; refused where an answer exists.
    Decide {
        /// The run.
        run: String,
        /// The step.
        step: String,
        /// The answer.
        decision: Decision,
    },
    /// Something happened; the journal puts it into the chain.
    Note(Note),
}

/// A question to a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// The run that waits.
    pub run: String,
    /// Its step.
    pub step: String,
    /// The playbook.
    pub playbook: String,
    /// The alert.
    pub alert: String,
    /// The case, where there is one.
    pub case: Option<String>,
    /// The question.
    pub question: String,
    /// Who may answer; empty means everyone.
    pub approvers: Vec<String>,
    /// When it was asked.
    pub asked: Moment,
    /// When silence becomes the answer.
    pub expires: Moment,
    /// The answer.
    pub decision: Option<Decision>,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Yes or no.
    pub approved: bool,
    /// Who said so.
    pub by: String,
    /// When.
    pub at: Moment,
}

/// Why an answer does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApprovalError {
    /// Somebody was faster.
    #[error("{by} already answered {}", if *.approved { "yes" } else { "no" })]
    Answered {
        /// Who.
        by: String,
        /// What.
        approved: bool,
    },
    /// The person may not answer.
    #[error("{by} may not answer; these may: {approvers}")]
    NotAllowed {
        /// Who tried.
        by: String,
        /// Who may.
        approvers: String,
    },
    /// It is too late.
    #[error("the question expired at {0}")]
    Expired(Moment),
}

impl Approval {
    /// Checks an answer.
    ///
    /// Errors: it is answered, expired, or not this person's to answer.
    pub fn decide(&self, approved: bool, by: &str, now: Moment) -> Result<Decision, ApprovalError> {
        if let Some(decision) = &self.decision {
            return Err(ApprovalError::Answered { by: decision.by.clone(), approved: decision.approved });
        }
        if !self.approvers.is_empty() && !self.approvers.iter().any(|name| name == by) {
            return Err(ApprovalError::NotAllowed { by: by.to_owned(), approvers: self.approvers.join(", ") });
        }
        if now >= self.expires {
            return Err(ApprovalError::Expired(self.expires));
        }
        Ok(Decision { approved, by: by.to_owned(), at: now })
    }
}

/// Which runs to read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunFilter {
    /// This one.
    pub id: Option<String>,
    /// Those of this alert.
    pub alert: Option<String>,
    /// Those of this case.
    pub case: Option<String>,
    /// Those that have not ended.
    pub unfinished: bool,
    /// Those with this status.
    pub status: Option<RunStatus>,
    /// Those that started or changed at or after this instant.
    pub since: Option<Moment>,
}

/// Which cases to read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CaseFilter {
    /// This one.
    pub id: Option<String>,
    /// Those with this status.
    pub status: Option<CaseStatus>,
    /// Those that are not closed.
    pub unclosed: bool,
    /// The one with this alert.
    pub alert: Option<String>,
    /// Those that are about one of these things, by kind and value in lower case. `None` asks for no such thing.
    pub about: Option<Vec<(String, String)>>,
    /// Those that changed at or after this instant.
    pub since: Option<Moment>,
}

/// Which questions to read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ApprovalFilter {
    /// Those of this run.
    pub run: Option<String>,
    /// Those without an answer.
    pub open: bool,
}

/// Which entries of the audit trail to read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Those of this case.
    pub case: Option<String>,
    /// Those of this run.
    pub run: Option<String>,
    /// Those after this place in the chain.
    pub after: u64,
}

/// Why the journal refuses.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// A run or case of this identity exists. Not a fault: the alert was delivered again.
    #[error("{0} exists already")]
    Exists(String),
    /// There is none of that identity.
    #[error("there is no {0}")]
    Missing(String),
    /// Somebody else wrote it since it was read. Read it again.
    #[error("{0} was changed by somebody else")]
    Conflict(String),
    /// The question has an answer.
    #[error("{0} is answered already")]
    Answered(String),
    /// The store cannot be used: the outside's fault.
    #[error("the journal cannot be used: {0}")]
    Storage(#[source] Box<dyn Error + Send + Sync>),
    /// The store holds what this version cannot read.
    #[error("the journal holds something this version cannot read: {0}")]
    Unreadable(#[source] Box<dyn Error + Send + Sync>),
}

/// Where runs, cases, approvals and the audit trail are kept. Every implementation passes [`conformance`].
///
/// Results are in order of their beginning.
pub trait Journal: Send {
    /// Makes all changes or none.
    fn write(&mut self, writes: &[Write]) -> Result<(), JournalError>;
    /// Reads runs.
    fn runs(&mut self, filter: &RunFilter) -> Result<Vec<Run>, JournalError>;
    /// Reads cases.
    fn cases(&mut self, filter: &CaseFilter) -> Result<Vec<Case>, JournalError>;
    /// Reads questions.
    fn approvals(&mut self, filter: &ApprovalFilter) -> Result<Vec<Approval>, JournalError>;
    /// Reads the audit trail.
    fn audit(&mut self, filter: &AuditFilter) -> Result<Vec<Entry>, JournalError>;
    /// Reads the rows of changes after a number, so many at most.
    fn changes(&mut self, of: ChangeOf, after: u64, count_max: usize) -> Result<Vec<Change>, JournalError>;
    /// The number of the last change of all; 0 where there is none.
    fn last_change(&mut self) -> Result<u64, JournalError>;
}
