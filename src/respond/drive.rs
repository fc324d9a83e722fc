//! One run to its end: ask it what is next, write that down, do it, tell it what came of it.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use weir_playbooks::audit::WEIR;
use weir_playbooks::case::{Case, CaseStatus};
use weir_playbooks::facts::Moment;
use weir_playbooks::journal::{
    Approval, ApprovalFilter, CaseFilter, Decision, Journal, JournalError, RunFilter, Write,
};
use weir_playbooks::openc2::Action;
use weir_playbooks::run::{Lease, Mode, Next, Outcome, Run, RunStatus, StepStatus, World};

use super::{CONFLICTS_MAX, Inner, lock, now};

/// How long another process leaves a run alone after its last write.
const LEASE: TimeDelta = TimeDelta::minutes(5);
/// A run that waits renews its lease this often.
const RENEW_EVERY: TimeDelta = TimeDelta::minutes(2);
/// How often an answer given in another process is looked for.
const ANSWER_POLL: Duration = Duration::from_secs(1);

/// Drives a run until it ends, the program stops, or another process has taken it over.
pub(super) async fn drive(inner: &Arc<Inner>, mut run: Run) {
    let id = run.id.clone();
    match steps(inner, &mut run).await {
        Ok(Some(status)) => tracing::info!(run = id, %status, "run ended"),
        Ok(None) => release(inner, run).await,
        Err(JournalError::Conflict(_)) => tracing::debug!(run = id, "another process drives the run"),
        Err(error) => {
            tracing::error!(run = id, %error, "run stands still: the journal cannot be used; it goes on with the next start")
        }
    }
}

/// Says that nobody drives the run any more, so that another process need not wait for the lease to end.
async fn release(inner: &Arc<Inner>, mut run: Run) {
    run.version += 1;
    run.lease = None;
    match inner.write(vec![Write::Run(run.clone())]).await {
        Ok(()) => tracing::debug!(run = run.id, "run is left for another process"),
        Err(error) => tracing::debug!(run = run.id, %error, "run could not be released; its lease ends by itself"),
    }
}

async fn steps(inner: &Arc<Inner>, run: &mut Run) -> Result<Option<RunStatus>, JournalError> {
    if !inner.setup.playbooks.contains_key(&run.playbook) {
        tracing::warn!(run = run.id, playbook = run.playbook, "the playbook of an unfinished run is gone");
        return Ok(None);
    }
    let mut asked = None;
    loop {
        if *inner.stopping.borrow() {
            return Ok(None);
        }
        let case = case_of(inner, run).await?;
        let Some(next) = with_world(inner, run, case.as_ref(), |run, world| run.next(world, now())) else {
            return Ok(None);
        };
        save(inner, run, case, &next).await?;
        let outcome = match next {
            Next::End(status) => return Ok(Some(status)),
            Next::Sleep(until) => {
                if !sleep(inner, until.min(now() + RENEW_EVERY)).await {
                    return Ok(None);
                }
                continue;
            }
            Next::Http(request) => Outcome::Http(inner.sender.send(&request).await),
            Next::Table { table, column, value } => Outcome::Table((inner.setup.lookup)(&table, &column, &value)),
            Next::Ask(approval) => match answer(inner, &approval, asked.replace(approval.step.clone())).await? {
                Waited::Answered(decision) => Outcome::Decision(decision),
                Waited::InVain => continue,
                Waited::Stopped => return Ok(None),
            },
        };
        let case = case_of(inner, run).await?;
        with_world(inner, run, case.as_ref(), |run, world| run.outcome(world, outcome, now()));
        save(inner, run, case, &Next::Sleep(now())).await?;
    }
}

fn with_world<T>(
    inner: &Inner,
    run: &mut Run,
    case: Option<&Case>,
    work: impl FnOnce(&mut Run, &mut World<'_>) -> T,
) -> Option<T> {
    let playbook = inner.setup.playbooks.get(&run.playbook)?;
    let mut guard = lock(&inner.guard);
    let mut world = World { playbook, responders: &inner.setup.responders, guard: &mut guard, case };
    Some(work(run, &mut world))
}

async fn case_of(inner: &Arc<Inner>, run: &Run) -> Result<Option<Case>, JournalError> {
    let Some(id) = run.case.clone() else { return Ok(None) };
    let filter = CaseFilter { id: Some(id), ..CaseFilter::default() };
    inner.journal(move |journal| journal.cases(&filter)).await.map(|mut cases| cases.pop())
}

/// Writes the run, its notes, its question, and what it means for the case, all together.
async fn save(inner: &Arc<Inner>, run: &mut Run, mut case: Option<Case>, next: &Next) -> Result<(), JournalError> {
    run.version += 1;
    run.lease = lease(inner, next);
    let mut writes = vec![Write::Run(run.clone())];
    writes.extend(run.take_notes().into_iter().map(Write::Note));
    if let Next::Ask(approval) = next {
        writes.push(Write::Ask((**approval).clone()));
    }
    for _ in 0..CONFLICTS_MAX {
        let mut all = writes.clone();
        if let Some(case) = &mut case {
            all.extend(case_writes(case, run));
        }
        match inner.write(all).await {
            // The case was changed by somebody else; the run's own conflict has the run's id.
            Err(JournalError::Conflict(id)) if id != run.id => case = case_of(inner, run).await?,
            other => return other,
        }
    }
    Err(JournalError::Conflict(run.case.clone().unwrap_or_default()))
}

fn lease(inner: &Inner, next: &Next) -> Option<Lease> {
    let exchange = match next {
        Next::End(_) => return None,
        Next::Http(request) => TimeDelta::seconds(i64::try_from(request.timeout_ms / 1_000).unwrap_or(i32::MAX.into())),
        Next::Table { .. } | Next::Ask(_) | Next::Sleep(_) => TimeDelta::zero(),
    };
    let until = now().checked_add_signed(LEASE)?.checked_add_signed(exchange)?;
    Some(Lease { driver: inner.driver.clone(), until })
}

/// A ticket belongs to the case; a threat that was acted against is contained when the run is over.
fn case_writes(case: &mut Case, run: &Run) -> Vec<Write> {
    let (from, at) = (case.version, run.updated);
    let mut notes = Vec::new();
    if run.mode == Mode::Live {
        notes.extend(run.ticket.clone().and_then(|ticket| case.ticket(ticket, at)));
    }
    if run.status == RunStatus::Completed
        && matches!(case.status, CaseStatus::Open | CaseStatus::InProgress)
        && let Some(done) = held_back(run)
    {
        notes.extend(case.contain(WEIR, &done, at).ok());
    }
    if notes.is_empty() {
        return Vec::new();
    }
    let changed = Write::Case { case: case.clone(), from };
    std::iter::once(changed).chain(notes.into_iter().map(Write::Note)).collect()
}

fn held_back(run: &Run) -> Option<String> {
    let hurts =
        |action: Action| matches!(action, Action::Contain | Action::Deny | Action::Set | Action::Stop | Action::Delete);
    let commands =
        run.steps.iter().filter(|step| step.status == StepStatus::Succeeded).filter_map(|step| step.command.as_ref());
    let done: Vec<String> = commands.filter(|command| hurts(command.action)).map(ToString::to_string).collect();
    (!done.is_empty()).then(|| format!("contained by {}", done.join(", ")))
}

/// Whether the time has come; `false` where the program stops first.
async fn sleep(inner: &Inner, until: Moment) -> bool {
    let wait = until.signed_duration_since(now()).to_std().unwrap_or_default();
    let mut stopping = inner.stopping.subscribe();
    tokio::select! {
        () = tokio::time::sleep(wait) => true,
        _ = stopping.wait_for(|stopping| *stopping) => false,
    }
}

enum Waited {
    Answered(Decision),
    /// The question has expired, or the lease is to be renewed.
    InVain,
    Stopped,
}

/// Waits for the answer of a person, given here or in another process. Who listens is told of a question once.
async fn answer(inner: &Arc<Inner>, approval: &Approval, asked: Option<String>) -> Result<Waited, JournalError> {
    let is_new = asked.as_ref() != Some(&approval.step);
    // Nobody listening is no failure: the question is in the journal.
    if is_new && inner.questions.send(approval.clone()).is_err() {
        tracing::debug!(run = approval.run, "nobody listens for questions");
    }
    let mut stopping = inner.stopping.subscribe();
    let end = approval.expires.min(now() + RENEW_EVERY);
    loop {
        let answered = inner.answered.notified();
        let (run, step) = (approval.run.clone(), approval.step.clone());
        let (decision, is_over) = inner.journal(move |journal| look(journal, run, &step)).await?;
        if is_over {
            return Ok(Waited::Stopped);
        }
        if let Some(decision) = decision {
            return Ok(Waited::Answered(decision));
        }
        let left = end.signed_duration_since(now()).to_std().unwrap_or_default();
        if left.is_zero() {
            return Ok(Waited::InVain);
        }
        tokio::select! {
            () = answered => {}
            () = tokio::time::sleep(left.min(ANSWER_POLL)) => {}
            _ = stopping.wait_for(|stopping| *stopping) => return Ok(Waited::Stopped),
        }
    }
}

/// The answer to a question, and whether its run was ended by somebody else.
fn look(journal: &mut dyn Journal, run: String, step: &str) -> Result<(Option<Decision>, bool), JournalError> {
    let asked = journal.approvals(&ApprovalFilter { run: Some(run.clone()), open: false })?;
    let decision = asked.into_iter().find(|known| known.step == step).and_then(|known| known.decision);
    let runs = journal.runs(&RunFilter { id: Some(run), ..RunFilter::default() })?;
    Ok((decision, runs.iter().any(|run| run.status.is_end())))
}
