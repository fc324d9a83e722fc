//! Alerts become cases, cases start playbook runs, and runs are driven to their end.
//!
//! The rules are all in the playbooks' room; here are the tasks, the clock and the waiting. One task drives one run, so a
//! responder that hangs holds the runs that wait for it and no other. What a run wants to do is in the journal before it
//! happens; after a restart every unfinished run goes on.
//!
//! Reading order: [`alerts`] (an alert comes in), [`drive`] (a run goes on), [`cases`] (a person decides), [`rows`] (what
//! others read of it), [`desk`] (the same for the command line, without tasks).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use chrono::{TimeDelta, Utc};
use serde_json::{Map, Value};
use tokio::sync::{Notify, broadcast, watch};
use tokio::task::JoinSet;
use weir_connectors::responders::HttpSender;
use weir_playbooks::case::Grouping;
use weir_playbooks::facts::{Moment, Severity};
use weir_playbooks::guard::{Guard, Rules};
use weir_playbooks::journal::{Approval, Journal, JournalError, RunFilter, Write};
use weir_playbooks::playbook::{Playbook, Responders};
use weir_playbooks::run::{Mode, Run};

mod alerts;
mod cases;
pub(crate) mod desk;
mod drive;
mod facts;
mod rows;
pub(crate) mod simulated;
#[cfg(test)]
mod tests;

pub(crate) use facts::NotAnAlert;

/// Finds the row of a table whose column has a value.
pub(crate) type Lookup = Arc<dyn Fn(&str, &str, &str) -> Result<Option<Map<String, Value>>, String> + Send + Sync>;

/// How often a conflict with another process is resolved by reading again, before it is an error.
const CONFLICTS_MAX: usize = 8;
/// Questions that a slow listener may have unread.
const QUESTIONS_MAX: usize = 256;

/// How often a service looks for runs that another process has left behind.
const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// A run that changed within this span is somebody's, even without a lease: it may just have been started.
const FRESH: TimeDelta = TimeDelta::seconds(10);

/// What kind of process this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// The pipeline: takes over every run that nobody drives, at its start and later.
    Service,
    /// One command: drives what it starts, and leaves to the service what has not ended by then.
    Command,
}

/// What response needs to know.
pub(crate) struct Setup {
    /// What kind of process this is.
    pub(crate) role: Role,
    /// Playbooks by id.
    pub(crate) playbooks: BTreeMap<String, Playbook>,
    /// Responders by id, with their base URLs.
    pub(crate) responders: Responders,
    /// Whether requests leave.
    pub(crate) mode: Mode,
    /// Never-touch lists and limits.
    pub(crate) rules: Rules,
    /// Which alerts belong together.
    pub(crate) grouping: Grouping,
    /// Alerts below this open no case unless a playbook applies.
    pub(crate) case_severity_min: Severity,
    /// Look-ups of `enrich` steps.
    pub(crate) lookup: Lookup,
}

/// Response as a running service; clones are handles of one.
#[derive(Clone)]
pub(crate) struct Respond {
    inner: Arc<Inner>,
}

struct Inner {
    setup: Setup,
    /// The name of this process in leases. There is one service at a time, so a service knows what its forerunner drove.
    driver: String,
    sender: HttpSender,
    journal: Mutex<Box<dyn Journal>>,
    guard: Mutex<Guard>,
    tasks: Mutex<JoinSet<()>>,
    /// Runs that a task of this process drives.
    driven: watch::Sender<BTreeSet<String>>,
    /// Wakes runs that wait for an answer.
    answered: Notify,
    questions: broadcast::Sender<Approval>,
    /// Changes whenever something was journaled.
    journaled: watch::Sender<u64>,
    stopping: watch::Sender<bool>,
}

impl Respond {
    /// Starts response. A service goes on with every run that a former process left unfinished.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub(crate) async fn start(setup: Setup, journal: Box<dyn Journal>, sender: HttpSender) -> anyhow::Result<Self> {
        let inner = Arc::new(Inner {
            driver: match setup.role {
                Role::Service => "service".to_owned(),
                Role::Command => format!("command-{}", uuid::Uuid::new_v4()),
            },
            guard: Mutex::new(Guard::new(setup.rules.clone())),
            setup,
            sender,
            journal: Mutex::new(journal),
            tasks: Mutex::new(JoinSet::new()),
            driven: watch::Sender::new(BTreeSet::new()),
            answered: Notify::new(),
            questions: broadcast::Sender::new(QUESTIONS_MAX),
            journaled: watch::Sender::new(0),
            stopping: watch::Sender::new(false),
        });
        let respond = Self { inner };
        respond.count_the_last_hour().await.context("cannot read what happened in the last hour")?;
        if respond.inner.setup.role == Role::Service {
            respond.take_over(TimeDelta::zero()).await.context("cannot go on with unfinished runs")?;
            respond.keep_sweeping();
        }
        Ok(respond)
    }

    /// Limits hold over a restart: what left within the hour counts.
    async fn count_the_last_hour(&self) -> Result<(), JournalError> {
        let since = Some(now() - TimeDelta::hours(1));
        let runs =
            self.inner.journal(move |journal| journal.runs(&RunFilter { since, ..RunFilter::default() })).await?;
        let mut guard = lock(&self.inner.guard);
        let mut sent: Vec<_> =
            runs.iter().flat_map(|run| run.commands().map(move |(command, at)| (at, run, command))).collect();
        sent.sort_by_key(|(at, ..)| *at);
        for (at, run, command) in sent {
            guard.count(&run.playbook, command, at);
        }
        Ok(())
    }

    /// Goes on with the runs that nobody drives and that have not changed for a while.
    async fn take_over(&self, quiet: TimeDelta) -> Result<(), JournalError> {
        let filter = RunFilter { unfinished: true, ..RunFilter::default() };
        let runs = self.inner.journal(move |journal| journal.runs(&filter)).await?;
        let at = now();
        for mut run in runs {
            let is_quiet = at.signed_duration_since(run.updated) >= quiet;
            let is_own = self.inner.driven.borrow().contains(&run.id);
            if is_own || !is_quiet || !run.is_free_for(&self.inner.driver, at) {
                continue;
            }
            tracing::info!(run = run.id, playbook = run.playbook, "going on with an unfinished run");
            if let Some(playbook) = self.inner.setup.playbooks.get(&run.playbook) {
                run.resume(playbook, at);
            }
            self.spawn(run);
        }
        Ok(())
    }

    fn keep_sweeping(&self) {
        let inner = Arc::downgrade(&self.inner);
        let mut stopping = self.inner.stopping.subscribe();
        lock(&self.inner.tasks).spawn(async move {
            loop {
                tokio::select! {
                    () = tokio::time::sleep(SWEEP_EVERY) => {}
                    _ = stopping.wait_for(|stopping| *stopping) => return,
                }
                let Some(inner) = inner.upgrade() else { return };
                if let Err(error) = (Self { inner }).take_over(FRESH).await {
                    tracing::warn!(%error, "cannot look for runs that were left behind");
                }
            }
        });
    }

    fn spawn(&self, run: Run) {
        let inner = Arc::clone(&self.inner);
        if !inner.driven.send_if_modified(|driven| driven.insert(run.id.clone())) {
            return;
        }
        let mut tasks = lock(&self.inner.tasks);
        // Tasks that have ended are let go of, so that the set does not grow with every run.
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move {
            let done = Driven(&inner, run.id.clone());
            drive::drive(&inner, run).await;
            drop(done);
        });
    }

    /// Questions of runs, as they are asked. A listener that falls behind misses the oldest; all are in the journal.
    pub(crate) fn questions(&self) -> broadcast::Receiver<Approval> {
        self.inner.questions.subscribe()
    }

    /// Waits until no run is driven: all have ended. A run that waits for a person counts as driven.
    pub(crate) async fn idle(&self) {
        let mut driven = self.inner.driven.subscribe();
        if driven.wait_for(BTreeSet::is_empty).await.is_err() {
            // The sender lives as long as this handle.
            tracing::debug!("nobody drives runs any more");
        }
    }

    /// Stops at the next point where nothing is in flight; unfinished runs go on with the next start.
    pub(crate) async fn stop(&self) {
        self.inner.stopping.send_replace(true);
        self.idle().await;
    }

    /// Ends what [`stop`](Self::stop) did not wait for, as the end of the process would.
    pub(crate) fn abandon(&self) {
        lock(&self.inner.tasks).abort_all();
    }

    /// Changes whenever something was journaled here, and then [`changes_of`](Self::changes_of) may have news.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.inner.journaled.subscribe()
    }
}

/// Counts a task as ended even if it panics.
struct Driven<'a>(&'a Arc<Inner>, String);

impl Drop for Driven<'_> {
    fn drop(&mut self) {
        self.0.driven.send_if_modified(|driven| driven.remove(&self.1));
    }
}

impl Inner {
    /// Uses the journal on a thread that may block.
    async fn journal<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&mut dyn Journal) -> Result<T, JournalError> + Send + 'static,
    ) -> Result<T, JournalError> {
        let inner = Arc::clone(self);
        let task = tokio::task::spawn_blocking(move || work(lock(&inner.journal).as_mut()));
        task.await.unwrap_or_else(|error| Err(JournalError::Storage(Box::new(error))))
    }

    /// Writes, and tells those who watch.
    async fn write(self: &Arc<Self>, writes: Vec<Write>) -> Result<(), JournalError> {
        self.journal(move |journal| journal.write(&writes)).await?;
        self.journaled.send_modify(|count| *count += 1);
        Ok(())
    }
}

/// The time of day; response is about people, and people have clocks on their walls.
fn now() -> Moment {
    Utc::now()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind these locks is changed in single steps; a panic elsewhere leaves it whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
