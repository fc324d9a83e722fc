//! `weir run`: a project's texts and configuration, put together as a pipeline that runs until it is stopped.
//!
//! Whoever edits the texts meanwhile gets another pipeline in the place of the first: it goes on from the epoch at which
//! that one ended, with the state of all that means the same.

mod edits;
mod ready;

use std::sync::Arc;
use std::time::Duration;

use crate::cli::Globals;
use crate::config::{Config, Need};
use crate::exit::{Blame, CommandError, CommandResult, Outcome};
use crate::project::Project;
use crate::pump::{Progress, Pump, Setup};
use crate::respond::Respond;
use crate::{check, serve};
use anyhow::{Context as _, anyhow};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use weir_connectors::failpoint;

pub(crate) use edits::EditCounts;
use edits::Edits;
use ready::Ready;

/// How long requests that are on their way may take when the pipeline stops.
const LAST_REQUESTS: Duration = Duration::from_secs(5);

/// Runs the pipeline until SIGTERM or SIGINT.
pub(crate) fn run(globals: &Globals) -> CommandResult {
    if let Some(points) = failpoint::arm().usage()? {
        tracing::warn!(points, "this debug build ends itself at points that {} names", failpoint::VARIABLE);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let look = edits::look(&globals.dir);
        let ready = ready(globals)?;
        let respond = ready.respond().await?;
        let progress = watch::Sender::default();
        let pump = Pump::start_telling(ready.setup(respond.clone())?, &progress).await;
        let pump = pump.context("the pipeline cannot start").outside()?;
        // Up to here there is nothing to drain, and a signal may simply end the process.
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let stop = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        let edits = Edits::watch(&ready, look)?;
        let http = match ready.project.config.http {
            Some(listen) => Some(serve::start(listen, progress.subscribe(), edits.counts()).await.outside()?),
            None => None,
        };
        tracing::info!("running");
        let mut house = House { ready: Arc::new(ready), respond, progress };
        let ended = house.run(pump, edits, stop).await.outside();
        house.stop_response().await;
        if let Some(http) = http {
            http.abort();
        }
        ended?;
        tracing::info!("stopped; everything that was read is committed");
        Ok(Outcome::Done)
    })
}

/// What the project's configuration means, whatever is wrong with it.
pub(crate) fn configuration(globals: &Globals) -> Config {
    Project::load(&globals.dir, Need::Texts).0.config
}

/// The parts of the pipeline as the project describes them.
pub(crate) async fn setup(globals: &Globals) -> Result<Setup, CommandError> {
    let ready = ready(globals)?;
    let respond = ready.respond().await?;
    ready.setup(respond)
}

fn ready(globals: &Globals) -> Result<Ready, CommandError> {
    Ready::load(&globals.dir, None).or_else(|refused| {
        check::stop_on_errors(&refused.project, refused.diagnostics)?;
        Err(CommandError::usage(anyhow!("the project has errors")))
    })
}

/// What runs, beside the pipeline itself.
struct House {
    ready: Arc<Ready>,
    respond: Respond,
    progress: watch::Sender<Progress>,
}

/// Why a pipeline ends.
enum Cause {
    Stop,
    Edit(Box<Ready>),
    Failure(anyhow::Error),
}

impl House {
    /// Runs one pipeline after the other, until told to stop.
    async fn run(&mut self, first: Pump, mut edits: Edits, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
        let mut stop = std::pin::pin!(stop);
        let mut pump = first;
        loop {
            let mut cause = Cause::Stop;
            let until = async {
                cause = tokio::select! {
                    () = &mut stop => Cause::Stop,
                    ready = edits.next(&self.ready) => match ready {
                        Ok(ready) => Cause::Edit(Box::new(ready)),
                        Err(error) => Cause::Failure(error),
                    },
                };
            };
            pump.run_until(until).await.context("the pipeline stopped")?;
            pump = match cause {
                Cause::Stop => return Ok(()),
                Cause::Failure(error) => return Err(error),
                Cause::Edit(ready) => self.exchange(*ready, &edits).await?,
            };
        }
    }

    /// Starts what was edited, or what ran before where that fails.
    async fn exchange(&mut self, ready: Ready, edits: &Edits) -> anyhow::Result<Pump> {
        let before = std::mem::replace(&mut self.ready, Arc::new(ready));
        match self.start(&before).await {
            Ok(pump) => {
                edits.taken();
                tracing::info!("running with what was edited");
                Ok(pump)
            }
            Err(error) => {
                tracing::error!(error = format!("{error:#}"), "what was edited cannot start; what ran before runs on");
                edits.refused();
                let edited = std::mem::replace(&mut self.ready, before);
                self.start(&edited).await.context("what ran before cannot start again")
            }
        }
    }

    /// Stops at a point where nothing is in flight, or without waiting for a responder that does not answer.
    async fn stop_response(&self) {
        if tokio::time::timeout(LAST_REQUESTS, self.respond.stop()).await.is_err() {
            tracing::info!("a responder has not answered; its run goes on with the next start");
            self.respond.abandon();
        }
    }

    /// Starts what is there now in the place of `before`.
    async fn start(&mut self, before: &Ready) -> anyhow::Result<Pump> {
        let blamed = |error: CommandError| anyhow!("{error}");
        if self.ready.response_digests() != before.response_digests() {
            // Runs are written down at every step, and go on with the playbooks of now.
            self.stop_response().await;
            self.respond = self.ready.respond().await.map_err(blamed)?;
        }
        Pump::start_telling(self.ready.setup(self.respond.clone()).map_err(blamed)?, &self.progress).await
    }
}
