//! What the command line does at the journal without a running service: list, show, assign, answer, check the audit trail.

use anyhow::{Context as _, anyhow, bail};
use serde::Serialize;
use serde_json::json;
use weir_playbooks::audit::{self, Entry, Note};
use weir_playbooks::case::Case;
use weir_playbooks::facts::Moment;
use weir_playbooks::journal::{
    Approval, ApprovalFilter, AuditFilter, CaseFilter, Journal, JournalError, RunFilter, Write,
};
use weir_playbooks::run::Run;

use super::CONFLICTS_MAX;

/// A case with all that belongs to it.
#[derive(Debug, Serialize)]
pub(crate) struct CaseView {
    /// The case.
    pub(crate) case: Case,
    /// Its runs.
    pub(crate) runs: Vec<Run>,
    /// Its audit trail.
    pub(crate) audit: Vec<Entry>,
    /// Its open questions.
    pub(crate) questions: Vec<Approval>,
}

/// The one case whose id is, or begins with, `id`.
///
/// # Errors
/// There is none, or several begin so.
pub(crate) fn find_case(journal: &mut dyn Journal, id: &str) -> anyhow::Result<Case> {
    if let Some(case) = journal.cases(&CaseFilter { id: Some(id.to_owned()), ..CaseFilter::default() })?.pop() {
        return Ok(case);
    }
    let begins = |case: &Case| {
        !id.is_empty() && (case.id.starts_with(id) || case.id.trim_start_matches("case-").starts_with(id))
    };
    let mut found: Vec<Case> = journal.cases(&CaseFilter::default())?.into_iter().filter(begins).collect();
    match (found.pop(), found.pop()) {
        (Some(case), None) => Ok(case),
        (None, _) => Err(anyhow!("there is no case {id}; `weir case list` shows them")),
        (Some(one), Some(two)) => bail!("{id} may be {} or {}; write more of it", one.id, two.id),
    }
}

/// Everything about one case.
///
/// # Errors
/// There is none of that id.
pub(crate) fn show_case(journal: &mut dyn Journal, id: &str) -> anyhow::Result<CaseView> {
    let case = find_case(journal, id)?;
    let of_case = Some(case.id.clone());
    let runs = journal.runs(&RunFilter { case: of_case.clone(), ..RunFilter::default() })?;
    let audit = journal.audit(&AuditFilter { case: of_case, ..AuditFilter::default() })?;
    let open = journal.approvals(&ApprovalFilter { run: None, open: true })?;
    let questions = open.into_iter().filter(|question| question.case.as_ref() == Some(&case.id)).collect();
    Ok(CaseView { case, runs, audit, questions })
}

/// Gives a case to somebody.
///
/// # Errors
/// There is no such case, or it is closed.
pub(crate) fn assign_case(
    journal: &mut dyn Journal,
    id: &str,
    assignee: &str,
    by: &str,
    at: Moment,
) -> anyhow::Result<Case> {
    change_case(journal, id, |case| Ok(case.assign(assignee, by, at)?))
}

/// Opens a closed case again.
///
/// # Errors
/// There is no such case, or it is not closed.
pub(crate) fn reopen_case(
    journal: &mut dyn Journal,
    id: &str,
    why: &str,
    by: &str,
    at: Moment,
) -> anyhow::Result<Case> {
    change_case(journal, id, |case| Ok(case.reopen(why, by, at)?))
}

fn change_case(
    journal: &mut dyn Journal,
    id: &str,
    change: impl Fn(&mut Case) -> anyhow::Result<Note>,
) -> anyhow::Result<Case> {
    for _ in 0..CONFLICTS_MAX {
        let mut case = find_case(journal, id)?;
        let from = case.version;
        let note = change(&mut case)?;
        match journal.write(&[Write::Case { case: case.clone(), from }, Write::Note(note)]) {
            Ok(()) => return Ok(case),
            Err(JournalError::Conflict(_)) => {}
            Err(error) => return Err(error).context("cannot write the case"),
        }
    }
    bail!("case {id} changes faster than it can be read")
}

/// Answers the open question of a run; where it has asked several times, `step` says which one.
///
/// # Errors
/// There is no such question, it is answered or expired, or the person may not answer it.
pub(crate) fn decide(
    journal: &mut dyn Journal,
    run: &str,
    step: Option<&str>,
    approved: bool,
    by: &str,
    at: Moment,
) -> anyhow::Result<Approval> {
    let asks = |question: &Approval| {
        let bare = |id: &str| id.trim_start_matches("run-").to_owned();
        bare(&question.run).starts_with(&bare(run)) && step.is_none_or(|step| question.step == step)
    };
    let open = journal.approvals(&ApprovalFilter { run: None, open: true })?;
    let mut of_run: Vec<Approval> = open.into_iter().filter(|question| asks(question)).collect();
    if of_run.is_empty() {
        let all = journal.approvals(&ApprovalFilter { run: None, open: false })?;
        of_run.extend(all.into_iter().filter(|question| asks(question)));
    }
    // An answered question is chosen only where none is open, so that its error says who answered.
    of_run.sort_by_key(|question| (question.decision.is_none(), question.asked));
    let question =
        of_run.pop().ok_or_else(|| anyhow!("run {run} asks nothing; `weir approve list` shows what is asked"))?;
    if of_run.iter().any(|other| other.decision.is_none() && other.run != question.run) {
        bail!("several runs begin with {run}; write more of it");
    }
    let decision = question.decide(approved, by, at)?;
    let answer = Write::Decide { run: question.run.clone(), step: question.step.clone(), decision };
    let note = Note {
        at,
        actor: by.to_owned(),
        case: question.case.clone(),
        run: Some(question.run.clone()),
        what: "answered".to_owned(),
        text: format!("{}: {}", if approved { "yes" } else { "no" }, question.question),
        detail: json!({ "step": question.step, "approved": approved }),
    };
    journal.write(&[answer, Write::Note(note)]).context("cannot write the answer")?;
    Ok(question)
}

/// Checks the whole audit trail and returns how many entries it has.
///
/// # Errors
/// An entry was changed, removed or put in.
pub(crate) fn verify_audit(journal: &mut dyn Journal) -> anyhow::Result<usize> {
    let entries = journal.audit(&AuditFilter::default())?;
    audit::verify(&entries)?;
    Ok(entries.len())
}
