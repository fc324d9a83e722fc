//! `weir run`: a project's texts and configuration, put together as a pipeline that runs until it is stopped.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::cli::Globals;
use crate::config::{self, Config, Need};
use crate::exit::{Blame, CommandError, CommandResult, Outcome};
use crate::project::Project;
use crate::pump::{Pump, Setup, Topics};
use crate::respond::Role;
use crate::{check, compile, hunt, serve, service};
use anyhow::{Context as _, anyhow};
use tokio::signal::unix::{SignalKind, signal};
use weir_connectors::kafka::{KafkaSettings, Start};
use weir_connectors::location::Location;
use weir_connectors::state::StateStore;
use weir_playbooks::run::Mode;

/// How long requests that are on their way may take when the pipeline stops.
const LAST_REQUESTS: Duration = Duration::from_secs(5);

/// Runs the pipeline until SIGTERM or SIGINT.
pub(crate) fn run(globals: &Globals) -> CommandResult {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let setup = setup(globals).await?;
        let respond = setup.respond.clone();
        let pump = Pump::start(setup).await.context("the pipeline cannot start").outside()?;
        // Up to here there is nothing to drain, and a signal may simply end the process.
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let stop = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        let http = match configuration(globals).http {
            Some(listen) => Some(serve::start(listen, pump.progress()).await.outside()?),
            None => None,
        };
        tracing::info!("running");
        let ended = pump.run_until(stop).await.context("the pipeline stopped").outside();
        if let Some(respond) = respond
            && tokio::time::timeout(LAST_REQUESTS, respond.stop()).await.is_err()
        {
            tracing::info!("a responder has not answered; its run goes on with the next start");
        }
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
    let (project, mut diagnostics) = Project::load(&globals.dir, Need::Everything);
    let rules = compile::rules(&project, &project.detections);
    diagnostics.extend(rules.diagnostics.iter().cloned());
    let (response, found) = compile::response(&project, &rules);
    diagnostics.extend(found);
    if project.config.playbooks.mode == Mode::Live {
        diagnostics.extend(compile::unset(&response, &project.config));
    }
    let names = rules.catalog.tables().map(|table| table.name.as_str());
    let (tables, found) = compile::tables(names, &rules, &project.dir);
    diagnostics.extend(found);
    check::stop_on_errors(&project, diagnostics)?;
    let config = project.config.clone();
    tracing::debug!(bytes = config.engine.memory_bytes, "state is not held to [engine] memory_mb yet");
    let kafka = kafka(&config)?;
    let start = config.kafka.as_ref().map_or(Start::Earliest, |kafka| kafka.start);
    let state = Location::at(&config.state.url, &BTreeMap::new()).usage()?;
    let archive = hunt::archive(&config)?;
    // Without a playbook there are still cases.
    let respond = Some(service::start(&config, response, service::lookup_in(tables), Role::Service).await?);
    Ok(Setup {
        rules,
        dir: project.dir.clone(),
        kafka,
        is_transactional: true,
        start,
        topics: Topics {
            alerts: config.alerts_topic.as_str().into(),
            dead_letters: config.dead_letters_topic.as_str().into(),
        },
        state: StateStore::new(&state),
        archive: Some(archive),
        archives_raw: config.archive.raw,
        respond,
        parallelism: config.engine.parallelism,
        epoch: config.engine.epoch,
        queue_bytes: config.engine.queue_bytes,
        idle: config.engine.idle,
    })
}

fn kafka(config: &Config) -> Result<KafkaSettings, CommandError> {
    config.kafka.as_ref().and_then(|kafka| kafka.settings.clone()).ok_or_else(|| {
        CommandError::usage(anyhow!("`weir run` needs a [kafka] section with bootstrap_servers in {}", config::FILE))
    })
}
