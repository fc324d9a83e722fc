//! The pipeline: Kafka to shards, epochs to the state, the state's epochs to sinks.
//!
//! One task keeps the time of epochs. Every so often it sends a barrier to all shards, collects what belongs to the epoch,
//! and commits it as one manifest: that is the point at which the epoch has happened. Sinks follow the manifests, each
//! with a cursor of its own and at its own pace ([`follow`]); a sink that fails holds back neither epochs nor other sinks.
//!
//! Reading order: [`shard`] (rows to hits), [`epoch`] (parts to a manifest), [`follow`] (manifests to a sink),
//! [`deliver`] (to Kafka and to response), [`keep`] (to the archive).

mod deliver;
mod epoch;
mod follow;
mod keep;
mod shard;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc as channel;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use weir_connectors::archive::Archive;
use weir_connectors::kafka::{
    Budget, KafkaError, KafkaSettings, KafkaSink, KafkaSource, Share, SinkOptions, SourceEvent, SourceOptions, Start,
    StreamInput, TopicSpec, create_topics,
};
use weir_connectors::position::{Positions, TopicPartition};
use weir_connectors::state::{Ledger, Manifest, StateError, StateStore};
use weir_connectors::table::TableFile;
use weir_detections::compile::Compiled;
use weir_engine::{EngineError, Worker};

use crate::respond::Respond;
use epoch::Epochs;
use shard::{Message, Part, Report, Shard, ShardSnapshot};

/// How long to wait for a broker at the start, and how long a delivery is tried in one piece.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long shards have to finish an epoch, before the process is given up.
const EPOCH_PATIENCE: Duration = Duration::from_secs(300);

/// What a pipeline is made of.
pub(crate) struct Setup {
    /// Catalog, detections and their program.
    pub(crate) rules: Compiled,
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
}

/// The topics that the pipeline writes.
#[derive(Debug, Clone)]
pub(crate) struct Topics {
    /// One JSON record per alert record, key = alert id.
    pub(crate) alerts: Arc<str>,
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
}

impl Pump {
    /// Starts everything and goes on where the last process stopped.
    ///
    /// # Errors
    /// A cluster, state or table that cannot be reached or read.
    pub(crate) async fn start(setup: Setup) -> anyhow::Result<Self> {
        let (stop, stopping) = watch::channel(false);
        let setup = Arc::new(setup);
        let resumed = resume(&setup).await?;
        let (committed_tx, committed) = watch::channel(resumed.progress.clone());
        let running = start(&setup, resumed, committed_tx).await?;
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

/// What the last process left.
struct Resumed {
    manifest: Option<Manifest>,
    snapshots: Arc<Vec<ShardSnapshot>>,
    progress: Progress,
    sink: KafkaSink,
    delivered: u64,
}

/// Takes over from any predecessor first, and only then reads where it stood: otherwise it could still move.
async fn resume(setup: &Arc<Setup>) -> anyhow::Result<Resumed> {
    setup.state.check_writable().await.context("the state cannot be written")?;
    let options = SinkOptions {
        settings: setup.kafka.clone(),
        worker: 0,
        is_transactional: setup.is_transactional,
        patience: PATIENCE,
    };
    let topics = setup.topics.clone();
    let kafka = setup.kafka.clone();
    let (sink, cursors) = tokio::task::spawn_blocking(move || -> Result<_, KafkaError> {
        let spec = |name: &Arc<str>| TopicSpec {
            name: name.to_string(),
            partitions: None,
            replication: None,
            is_compacted: false,
        };
        create_topics(&kafka, &[spec(&topics.alerts), spec(&topics.dead_letters)], PATIENCE)?;
        let sink = KafkaSink::open(options)?;
        let cursors = sink.cursors()?;
        Ok((sink, cursors))
    })
    .await
    .context("the Kafka sink panicked")??;
    let delivered = cursors.get(deliver::KAFKA).copied().unwrap_or(0);
    let manifest = setup.state.latest().await?;
    let mut snapshots = vec![];
    if let Some(manifest) = &manifest {
        for bytes in setup.state.read_snapshots(manifest).await? {
            snapshots.push(ShardSnapshot::from_bytes(&bytes)?);
        }
        tracing::info!(epoch = manifest.epoch, delivered, "going on from the last committed epoch");
    } else if delivered > 0 {
        bail!(
            "the cursor in Kafka says that epoch {delivered} was delivered, but the state at {} is empty; \
             restore the state, or use another group for a new beginning",
            setup.state.place()
        );
    }
    let progress = manifest
        .as_ref()
        .map_or_else(Progress::default, |manifest| Progress { epoch: manifest.epoch, ledger: manifest.ledger.clone() });
    Ok(Resumed { manifest, snapshots: Arc::new(snapshots), progress, sink, delivered })
}

/// Everything that runs.
struct Running {
    setup: Arc<Setup>,
    epochs: Epochs,
    inboxes: Vec<channel::Sender<Message>>,
    reports: mpsc::UnboundedReceiver<Report>,
    sources: Vec<KafkaSource>,
    threads: Vec<std::thread::JoinHandle<()>>,
    tables: Vec<TableFile>,
    followers: JoinSet<anyhow::Result<()>>,
    stop_followers: watch::Sender<bool>,
    committed: watch::Sender<Progress>,
    sources_stopped: usize,
}

async fn start(setup: &Arc<Setup>, resumed: Resumed, committed: watch::Sender<Progress>) -> anyhow::Result<Running> {
    let mut tables = vec![];
    let mut versions = vec![];
    for name in setup.rules.program.tables() {
        let Some(table) = setup.rules.catalog.tables().find(|table| table.name.eq_ignore_ascii_case(name)) else {
            continue;
        };
        let mut file = TableFile::new(Arc::clone(table), &setup.dir);
        versions.extend(file.poll().with_context(|| format!("look-up table `{name}` cannot be read"))?);
        tables.push(file);
    }
    let (report, reports) = mpsc::unbounded_channel();
    let shards = setup.parallelism.max(1);
    let channels: Vec<_> = (0..shards).map(|_| channel::channel::<Message>()).collect();
    let inboxes: Vec<_> = channels.iter().map(|(sender, _)| sender.clone()).collect();
    let mut threads = vec![];
    for (index, (_, inbox)) in channels.into_iter().enumerate() {
        let mut worker = Worker::new(Arc::clone(&setup.rules.program), index as u32, shards as u32, &versions)?;
        restore(&mut worker, &resumed.snapshots)?;
        let saved = Arc::clone(&resumed.snapshots);
        let shard = Shard::new(index as u32, worker, inbox, inboxes.clone(), report.clone(), saved);
        let thread = std::thread::Builder::new().name(format!("shard-{index}")).spawn(move || shard.run());
        threads.push(thread.context("a shard's thread cannot be started")?);
    }
    let sources = start_sources(setup, resumed.manifest.as_ref(), &inboxes).await?;
    let (stop_followers, stopping) = watch::channel(false);
    let mut followers = JoinSet::new();
    let progress = committed.subscribe();
    let cursors = deliver::spawn(setup, resumed.sink, resumed.delivered, &progress, &stopping, &mut followers).await?;
    let cursors = keep::spawn(setup, &progress, &stopping, &mut followers, cursors).await?;
    follow::spawn_retention(setup.state.clone(), cursors, &progress, &stopping, &mut followers);
    let epochs = Epochs::new(resumed.manifest, &setup.rules, &versions);
    Ok(Running {
        setup: Arc::clone(setup),
        epochs,
        inboxes,
        reports,
        sources,
        threads,
        tables,
        followers,
        stop_followers,
        committed,
        sources_stopped: 0,
    })
}

fn restore(worker: &mut Worker, saved: &[ShardSnapshot]) -> Result<(), EngineError> {
    let parts: Vec<_> = saved.iter().map(|part| part.worker.clone()).collect();
    // Clocks are taken up by name when their partition is announced.
    worker.restore(&parts, &|_, _| false)
}

/// One source per shard. When this returns, each shard knows its partitions.
async fn start_sources(
    setup: &Arc<Setup>,
    manifest: Option<&Manifest>,
    inboxes: &[channel::Sender<Message>],
) -> anyhow::Result<Vec<KafkaSource>> {
    let mut positions = Positions::default();
    for (key, next) in manifest.iter().flat_map(|manifest| &manifest.positions) {
        positions.advance(&TopicPartition { topic: key.topic.as_str().into(), partition: key.partition }, *next);
    }
    // A stream that no detection reads is archived all the same.
    let streams: Vec<StreamInput> = setup
        .rules
        .catalog
        .streams()
        .filter(|stream| !stream.topics.is_empty())
        .map(|stream| {
            let columns = setup.rules.program.columns(&stream.name).map(|(_, columns)| columns.clone());
            StreamInput { stream: Arc::clone(stream), columns: columns.unwrap_or_default() }
        })
        .collect();
    if streams.is_empty() {
        bail!("no stream has a topic, so there is nothing to run");
    }
    let budget = Budget::new(setup.queue_bytes);
    let mut sources = vec![];
    for (index, inbox) in inboxes.iter().enumerate() {
        let options = SourceOptions {
            positions: positions.clone(),
            start: setup.start,
            budget: budget.clone(),
            idle_after: setup.idle,
            patience: PATIENCE,
            share: Share { index: index as u32, of: inboxes.len() as u32 },
            ..SourceOptions::new(setup.kafka.clone(), streams.clone())
        };
        let (events, received) = channel::channel();
        let source = tokio::task::spawn_blocking(move || KafkaSource::start(options, events));
        sources.push(source.await.context("the Kafka source panicked")??);
        forward(received, inbox.clone())?;
    }
    Ok(sources)
}

/// Hands a source's events to its shard: first the partitions that are there, then `Begin`, then everything else.
fn forward(events: channel::Receiver<SourceEvent>, inbox: channel::Sender<Message>) -> anyhow::Result<()> {
    let mut is_alive = true;
    let mut first = None;
    while let Ok(event) = events.try_recv() {
        let is_partition = matches!(event, SourceEvent::Partition { .. });
        if !is_partition {
            first = Some(event);
            break;
        }
        is_alive &= inbox.send(Message::Source(event)).is_ok();
    }
    is_alive &= inbox.send(Message::Begin).is_ok();
    if !is_alive {
        bail!("a shard ended before it began");
    }
    let forwarder = move || {
        for event in first.into_iter().chain(events) {
            if inbox.send(Message::Source(event)).is_err() {
                return;
            }
        }
    };
    std::thread::Builder::new().name("forward".to_owned()).spawn(forwarder).context("no thread to forward events")?;
    Ok(())
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
        loop {
            tokio::select! {
                _ = ticks.tick() => {
                    self.poll_tables().await?;
                    self.epoch().await?;
                }
                report = self.reports.recv() => match report {
                    Some(report) => self.unexpected(report)?,
                    None => bail!("all shards have ended"),
                },
                Some(ended) = self.followers.join_next() => ended.context("a sink panicked")??,
                changed = stopping.changed() => {
                    if changed.is_err() || *stopping.borrow() {
                        return self.drain().await;
                    }
                }
            }
        }
    }

    /// Stops reading, takes in what was read, and commits it.
    async fn drain(&mut self) -> anyhow::Result<()> {
        tracing::info!("stopping: no more is read, what was read is committed");
        let sources = std::mem::take(&mut self.sources);
        let count = sources.len();
        tokio::task::spawn_blocking(move || sources.into_iter().for_each(KafkaSource::stop))
            .await
            .context("a source panicked while it stopped")?;
        while self.sources_stopped < count {
            match self.reports.recv().await {
                Some(report) => self.unexpected(report)?,
                None => bail!("all shards have ended"),
            }
        }
        self.epoch().await
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
    async fn epoch(&mut self) -> anyhow::Result<()> {
        let epoch = self.epochs.next();
        self.send_all(|| Message::Barrier(epoch))?;
        let parts = tokio::time::timeout(EPOCH_PATIENCE, self.collect())
            .await
            .with_context(|| format!("shards did not finish epoch {epoch} in {} s", EPOCH_PATIENCE.as_secs()))??;
        if !parts.iter().any(|part| part.is_dirty) {
            return Ok(());
        }
        let manifest =
            self.epochs.commit(&self.setup.state, &self.setup.rules, parts).await.map_err(|error| match error
                .downcast_ref::<StateError>()
            {
                Some(StateError::Fenced { .. }) => error.context("this process was overtaken"),
                _ => error,
            })?;
        self.commit_to_group(&manifest);
        self.committed.send_replace(Progress { epoch: manifest.epoch, ledger: manifest.ledger.clone() });
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
        for (key, next) in &manifest.positions {
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
        let threads = std::mem::take(&mut self.threads);
        let joined = tokio::task::spawn_blocking(move || {
            threads.into_iter().map(std::thread::JoinHandle::join).all(|joined| joined.is_ok())
        });
        if !joined.await.context("waiting for shards panicked")? {
            bail!("a shard panicked");
        }
        result
    }
}
