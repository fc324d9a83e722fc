//! The pipeline: Kafka to shards, epochs to the state, the state's epochs to sinks.
//!
//! One task keeps the time of epochs. Every so often it sends a barrier to all shards, collects what belongs to the epoch,
//! and commits it as one manifest: that is the point at which the epoch has happened. Sinks follow the manifests, each
//! with a cursor of its own and at its own pace ([`follow`]); a sink that fails holds back neither epochs nor other sinks.
//!
//! Reading order: [`start`] (what the last process left), [`edited`] (what that means for edited detections), [`own`]
//! (response as a source), [`shard`] (rows to hits), [`epoch`] (parts to a manifest), [`chain`] (state as changes),
//! [`retry`] (a state that fails), [`follow`] (manifests to a sink),
//! [`deliver`] (to Kafka and to response), [`keep`] (to the archive); beside it [`fast`] (alerts before their epoch ends), [`quarantine`] (which detections see no
//! more events), [`coverage`] (what was evaluated) and [`vitals`] (numbers for whoever watches).

mod chain;
mod coverage;
mod deliver;
mod edited;
mod epoch;
mod fast;
mod follow;
mod keep;
mod own;
mod protocol;
mod quarantine;
mod retry;
mod shard;
mod start;
pub(crate) mod vitals;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc as channel;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use weir_connectors::archive::Archive;
use weir_connectors::failpoint;
use weir_connectors::kafka::{Budget, KafkaSettings, KafkaSource, Start};
use weir_connectors::position::{Positions, TopicPartition};
use weir_connectors::state::{Ledger, Manifest, Nulled, PartitionKey, StateError, StateStore};
use weir_connectors::table::TableFile;
use weir_detections::compile::Compiled;
use weir_engine::StateBudget;

use crate::respond::Respond;
use epoch::{Committed, Epochs};
use fast::Fast;
use own::{Covered, OwnSource};
use quarantine::Wards;
use retry::Retry;
use shard::{Message, Part, Report};
use start::{resume, start};
use vitals::Vitals;

/// How long to wait for a broker at the start, and how long a delivery is tried in one piece.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long shards have to finish an epoch, before the process is given up.
const EPOCH_PATIENCE: Duration = Duration::from_secs(300);

/// What a pipeline is made of.
pub(crate) struct Setup {
    /// Catalog, detections and their program.
    pub(crate) rules: Compiled,
    /// The digest of each detection's text, by its id.
    pub(crate) digests: BTreeMap<String, String>,
    /// The folder that the locations of look-up tables are relative to.
    pub(crate) dir: PathBuf,
    /// The cluster.
    pub(crate) kafka: KafkaSettings,
    /// Whether sinks may use transactions; a mock cluster has none to speak of.
    pub(crate) is_transactional: bool,
    /// Where to begin in a partition without a position.
    pub(crate) start: Start,
    /// Topics that alerts and dead letters go to.
    pub(crate) topics: Topics,
    /// Manifests and snapshots.
    pub(crate) state: StateStore,
    /// Parquet, where there is an archive.
    pub(crate) archive: Option<Archive>,
    /// Whether raw bytes are archived.
    pub(crate) archives_raw: bool,
    /// Playbooks and cases, where there are any.
    pub(crate) respond: Option<Respond>,
    /// Number of shards.
    pub(crate) parallelism: usize,
    /// The span between two barriers.
    pub(crate) epoch: Duration,
    /// Bytes that may wait for the shards.
    pub(crate) queue_bytes: usize,
    /// Silence after which a partition holds nothing back.
    pub(crate) idle: Duration,
    /// How much detections may remember.
    pub(crate) budget: StateBudget,
    /// Silence of a stream after which it is told.
    pub(crate) silent_after: Duration,
}

/// The topics that the pipeline writes.
#[derive(Debug, Clone)]
pub(crate) struct Topics {
    /// One JSON record per alert record, key = alert id.
    pub(crate) alerts: Arc<str>,
    /// Copies of those of detections with fast delivery; `None` where no topic can be told.
    pub(crate) fast: Option<Arc<str>>,
    /// One JSON record per rejected record.
    pub(crate) dead_letters: Arc<str>,
}

/// A running pipeline.
pub(crate) struct Pump {
    stop: watch::Sender<bool>,
    committed: watch::Receiver<Progress>,
    main: JoinHandle<anyhow::Result<()>>,
}

/// How far the pipeline is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress {
    /// The last committed epoch.
    pub(crate) epoch: u64,
    /// What became of all records since the beginning, by stream.
    pub(crate) ledger: BTreeMap<String, Ledger>,
    /// Values that became NULL since the beginning.
    pub(crate) nulled: Nulled,
    /// Further numbers. They change in between too, and nobody is woken by that.
    pub(crate) vitals: Vitals,
    /// Why nothing is read at present, as for [`Self::vitals`].
    pub(crate) waiting: Option<String>,
}

impl Progress {
    fn of(manifest: &Manifest) -> Self {
        Self {
            epoch: manifest.epoch,
            ledger: manifest.ledger.clone(),
            nulled: manifest.nulled.clone(),
            vitals: Vitals::default(),
            waiting: None,
        }
    }
}

impl Pump {
    /// Starts everything and goes on where the last process stopped.
    ///
    /// # Errors
    /// A cluster, state or table that cannot be reached or read.
    pub(crate) async fn start(setup: Setup) -> anyhow::Result<Self> {
        Self::start_telling(setup, &watch::Sender::default()).await
    }

    /// The same for who wants to hear of its progress, and of that of the next one.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub(crate) async fn start_telling(setup: Setup, progress: &watch::Sender<Progress>) -> anyhow::Result<Self> {
        let (stop, stopping) = watch::channel(false);
        let setup = Arc::new(setup);
        let resumed = resume(&setup).await?;
        progress.send_replace(resumed.progress.clone());
        let committed = progress.subscribe();
        let running = start(&setup, resumed, progress.clone()).await?;
        let main = tokio::spawn(running.run(stopping));
        Ok(Self { stop, committed, main })
    }

    /// Changes with every committed epoch.
    pub(crate) fn progress(&self) -> watch::Receiver<Progress> {
        self.committed.clone()
    }

    /// Takes in what was read, commits it, delivers it, and ends.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.stop.send_replace(true);
        self.main.await.context("the pipeline panicked")?
    }

    /// Waits until the pipeline ends by itself, which it does only because it cannot go on, or until `stop` is done.
    pub(crate) async fn run_until(mut self, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
        tokio::select! {
            ended = &mut self.main => ended.context("the pipeline panicked")?,
            () = stop => self.stop().await,
        }
    }
}

/// Everything that runs.
struct Running {
    setup: Arc<Setup>,
    epochs: Epochs,
    wards: Wards,
    inboxes: Vec<channel::Sender<Message>>,
    fast: Option<Fast>,
    reports: mpsc::UnboundedReceiver<Report>,
    sources: Vec<KafkaSource>,
    own: Option<OwnSource>,
    budget: Budget,
    covered: Option<Covered>,
    vitals: Vitals,
    threads: Vec<std::thread::JoinHandle<()>>,
    tables: Vec<TableFile>,
    followers: JoinSet<anyhow::Result<()>>,
    stop_followers: watch::Sender<bool>,
    committed: watch::Sender<Progress>,
    sources_stopped: usize,
}

impl Running {
    /// Keeps the time of epochs until told to stop.
    async fn run(mut self, mut stopping: watch::Receiver<bool>) -> anyhow::Result<()> {
        let result = self.keep_time(&mut stopping).await;
        let ended = self.end(result.is_ok()).await;
        result.and(ended)
    }

    async fn keep_time(&mut self, stopping: &mut watch::Receiver<bool>) -> anyhow::Result<()> {
        let mut ticks = tokio::time::interval(self.setup.epoch);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut retry =
            Retry::new(self.budget.clone(), self.setup.queue_bytes, stopping.clone(), self.committed.clone());
        loop {
            tokio::select! {
                _ = ticks.tick() => {
                    self.poll_tables().await?;
                    self.epoch(&mut retry, false).await?;
                }
                report = self.reports.recv() => match report {
                    Some(report) => self.unexpected(report)?,
                    None => bail!("all shards have ended"),
                },
                Some(ended) = self.followers.join_next() => ended.context("a sink panicked")??,
                changed = stopping.changed() => {
                    if changed.is_err() || *stopping.borrow() {
                        return self.drain(&mut retry).await;
                    }
                }
            }
        }
    }

    /// Stops reading, takes in what was read, and commits it.
    async fn drain(&mut self, retry: &mut Retry) -> anyhow::Result<()> {
        tracing::info!("stopping: no more is read, what was read is committed");
        let sources = std::mem::take(&mut self.sources);
        let count = sources.len();
        tokio::task::spawn_blocking(move || sources.into_iter().for_each(KafkaSource::stop))
            .await
            .context("a source panicked while it stopped")?;
        if let Some(own) = self.own.take() {
            own.stop().await?;
        }
        while self.sources_stopped < count {
            match self.reports.recv().await {
                Some(report) => self.unexpected(report)?,
                None => bail!("all shards have ended"),
            }
        }
        self.epoch(retry, true).await
    }

    fn unexpected(&mut self, report: Report) -> anyhow::Result<()> {
        match report {
            Report::SourceStopped => self.sources_stopped += 1,
            Report::SourceFailed(error) => return Err(anyhow::Error::from(error)),
            Report::Failed(error) => return Err(error),
            Report::Part(part) => bail!("shard {} reported an epoch that nobody asked for", part.shard),
        }
        Ok(())
    }

    /// One epoch: barrier, parts, manifest.
    async fn epoch(&mut self, retry: &mut Retry, is_last: bool) -> anyhow::Result<()> {
        let (epoch, scope) = self.epochs.next();
        let quarantined = self.wards.queries();
        self.send_all(|| Message::Barrier(epoch, scope, Arc::clone(&quarantined)))?;
        let parts = tokio::time::timeout(EPOCH_PATIENCE, self.collect())
            .await
            .with_context(|| format!("shards did not finish epoch {epoch} in {} s", EPOCH_PATIENCE.as_secs()))??;
        let gone = self.wards.judge(&self.setup, &parts, self.epochs.number());
        self.vitals.note(&parts, &self.setup.rules, &self.wards);
        self.vitals.note_sources(&self.sources);
        if let Some(fast) = &mut self.fast {
            self.vitals.fast = fast.counts(&self.setup.rules);
            fast.tell();
        }
        if gone.is_empty() && !parts.iter().any(|part| part.is_dirty) && !self.epochs.is_due(is_last) {
            self.committed.send_if_modified(|progress| {
                progress.vitals = self.vitals.clone();
                false
            });
            return Ok(());
        }
        let quarantine = (&self.wards, gone.as_slice());
        let (state, rules) = (&self.setup.state, &self.setup.rules);
        let committed = self.epochs.commit(state, rules, (parts, quarantine, is_last), retry).await;
        let Committed { manifest, coverage } = committed.map_err(|error| match error.downcast_ref::<StateError>() {
            Some(StateError::Fenced { .. }) => error.context("this process was overtaken"),
            Some(StateError::Store { .. }) => {
                error.context("an epoch cannot be committed; the next start reads its events again, and loses none")
            }
            _ => error,
        })?;
        self.fast.iter().for_each(|fast| fast.committed(&manifest));
        self.commit_to_group(&manifest);
        failpoint::reach("epoch.told_to_group");
        self.vitals.fired.clone_from(&manifest.coverage.fired);
        self.committed.send_replace(Progress { vitals: self.vitals.clone(), ..Progress::of(&manifest) });
        // Behind the last barrier nobody would take it in; the next process does.
        if let Some(covered) = self.covered.as_mut().filter(|_| !is_last) {
            covered.tell(&coverage)?;
        }
        Ok(())
    }

    async fn collect(&mut self) -> anyhow::Result<Vec<Part>> {
        let mut parts: Vec<Part> = vec![];
        while parts.len() < self.inboxes.len() {
            match self.reports.recv().await {
                Some(Report::Part(part)) => parts.push(*part),
                Some(report) => self.unexpected(report)?,
                None => bail!("all shards have ended"),
            }
        }
        parts.sort_by_key(|part| part.shard);
        Ok(parts)
    }

    /// Positions of the group, for tools that show lag; nothing here reads them.
    fn commit_to_group(&self, manifest: &Manifest) {
        let mut positions = Positions::default();
        let of_kafka = |key: &&PartitionKey| !self.setup.rules.catalog.is_own(&key.stream);
        for (key, next) in manifest.positions.iter().filter(|(key, _)| of_kafka(key)) {
            positions.advance(&TopicPartition { topic: key.topic.as_str().into(), partition: key.partition }, *next);
        }
        if let Some(source) = self.sources.first() {
            source.commit(positions);
        }
    }

    /// Swaps look-up tables whose file has changed; they change between epochs only.
    async fn poll_tables(&mut self) -> anyhow::Result<()> {
        if self.tables.is_empty() {
            return Ok(());
        }
        let mut tables = std::mem::take(&mut self.tables);
        let (tables, changed) = tokio::task::spawn_blocking(move || {
            let changed: Vec<_> = tables.iter_mut().map(|table| (table.table().name.clone(), table.poll())).collect();
            (tables, changed)
        })
        .await
        .context("reading a look-up table panicked")?;
        self.tables = tables;
        for (name, polled) in changed {
            match polled {
                Ok(None) => {}
                Ok(Some(version)) => {
                    tracing::info!(table = name, version = %version.version, rows = version.rows.num_rows(), "table swapped");
                    self.epochs.table(&version);
                    let version = Arc::new(version);
                    self.send_all(|| Message::Table(Arc::clone(&version)))?;
                }
                Err(error) => {
                    tracing::warn!(table = name, %error, "the table's new content is refused, the old one stays")
                }
            }
        }
        Ok(())
    }

    fn send_all(&self, message: impl Fn() -> Message) -> anyhow::Result<()> {
        for (index, inbox) in self.inboxes.iter().enumerate() {
            if inbox.send(message()).is_err() {
                bail!("shard {index} has ended");
            }
        }
        Ok(())
    }

    /// Lets sinks deliver what is committed, and ends all threads.
    async fn end(mut self, is_clean: bool) -> anyhow::Result<()> {
        let sources = std::mem::take(&mut self.sources);
        tokio::task::spawn_blocking(move || drop(sources)).await.context("a source panicked while it stopped")?;
        if let Some(own) = self.own.take() {
            own.stop().await?;
        }
        for inbox in &self.inboxes {
            // A shard that has ended already needs no word.
            drop(inbox.send(Message::Stop));
        }
        self.stop_followers.send_replace(true);
        let mut result = Ok(());
        if is_clean {
            while let Some(ended) = self.followers.join_next().await {
                let ended = ended.context("a sink panicked").and_then(|ended| ended);
                result = result.and(ended);
            }
        } else {
            self.followers.shutdown().await;
        }
        let (threads, fast) = (std::mem::take(&mut self.threads), self.fast.take());
        let joined = tokio::task::spawn_blocking(move || {
            let joined = threads.into_iter().map(std::thread::JoinHandle::join).all(|joined| joined.is_ok());
            // Shards have ended by now, so nothing more comes.
            fast.is_none_or(|fast| fast.end().is_ok()) && joined
        });
        if !joined.await.context("waiting for shards panicked")? {
            bail!("a shard panicked");
        }
        result
    }
}

#[cfg(test)]
mod tests;
