//! The start of a pipeline: take over, read what the last process left, and set everything going from there.

use std::sync::Arc;
use std::sync::mpsc as channel;

use anyhow::{Context as _, bail};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use weir_connectors::failpoint;
use weir_connectors::kafka::{
    Budget, KafkaError, KafkaSink, KafkaSource, Share, SinkOptions, SourceEvent, SourceOptions, StreamInput, TopicSpec,
    create_topics,
};
use weir_connectors::position::{Positions, TopicPartition};
use weir_connectors::state::Manifest;
use weir_connectors::table::TableFile;
use weir_engine::{EngineError, Worker};

use super::epoch::Epochs;
use super::fast::Fast;
use super::quarantine::Wards;
use super::shard::{Message, Shard, ShardSnapshot};
use super::{PATIENCE, Progress, Running, Setup, Vitals, chain, deliver, edited, follow, keep, own, protocol};

/// What the last process left.
pub(super) struct Resumed {
    manifest: Option<Manifest>,
    snapshots: Vec<ShardSnapshot>,
    pub(super) progress: Progress,
    sink: KafkaSink,
    delivered: u64,
}

/// Takes over from any predecessor first, and only then reads where it stood: otherwise it could still move.
pub(super) async fn resume(setup: &Arc<Setup>) -> anyhow::Result<Resumed> {
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
        failpoint::reach("resume.taken_over");
        let cursors = sink.cursors()?;
        Ok((sink, cursors))
    })
    .await
    .context("the Kafka sink panicked")??;
    let delivered = cursors.get(deliver::KAFKA).copied().unwrap_or(0);
    let manifest = setup.state.latest().await?;
    let mut snapshots = vec![];
    if let Some(manifest) = &manifest {
        for chain in setup.state.read_snapshots(manifest).await? {
            let joined = tokio::task::spawn_blocking(move || chain::fold(&chain));
            let joined = joined.await.context("putting the state together panicked")?;
            snapshots.push(joined.with_context(|| {
                format!("a snapshot of epoch {} in {} cannot be read", manifest.epoch, setup.state.place())
            })?);
        }
        failpoint::reach("resume.restored");
        tracing::info!(epoch = manifest.epoch, delivered, "going on from the last committed epoch");
        edited::tell(setup, manifest, &snapshots);
    }
    let newest = manifest.as_ref().map_or(0, |manifest| manifest.epoch);
    refuse_older_state(setup, newest, delivered, "the cursor in Kafka says that", "delivered")?;
    let acted_on = setup.state.cursor(deliver::PLAYBOOKS).await?.unwrap_or(0);
    refuse_older_state(
        setup,
        newest,
        acted_on,
        "playbooks have their cursor in the state, and it says that",
        "acted on",
    )?;
    let progress = manifest.as_ref().map_or_else(Progress::default, Progress::of);
    Ok(Resumed { manifest, snapshots, progress, sink, delivered })
}

/// Stops where a sink is further than the state. What it would get for an epoch that it has already is left out, and a
/// state that was set back cuts its epochs elsewhere: alerts would be lost.
fn refuse_older_state(setup: &Setup, newest: u64, done: u64, who: &str, what: &str) -> anyhow::Result<()> {
    if !protocol::is_set_back(newest, done) {
        return Ok(());
    }
    let place = setup.state.place();
    let has = if newest == 0 { "is empty".to_owned() } else { format!("ends with epoch {newest}") };
    bail!(
        "{who} epoch {done} was {what}, but the state at {place} {has}; restore the newest state, or begin anew with an \
         empty state, an empty archive and another [kafka] group: events are then read from [kafka] start on, and alerts \
         that were sent before are sent again under the same ids (docs/operations.md)"
    )
}

/// Starts shards, sources and sinks.
pub(super) async fn start(
    setup: &Arc<Setup>,
    resumed: Resumed,
    committed: watch::Sender<Progress>,
) -> anyhow::Result<Running> {
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
    let wards = Wards::resume(setup, resumed.manifest.as_ref());
    let fast = Fast::start(setup, resumed.manifest.as_ref()).await?;
    let (report, reports) = mpsc::unbounded_channel();
    let shards = setup.parallelism.max(1);
    let channels: Vec<_> = (0..shards).map(|_| channel::channel::<Message>()).collect();
    let inboxes: Vec<_> = channels.iter().map(|(sender, _)| sender.clone()).collect();
    let mut workers = vec![];
    for index in 0..shards {
        let mut worker = Worker::new(Arc::clone(&setup.rules.program), index as u32, shards as u32, &versions)?;
        worker.contain_faults();
        worker.start_without(&wards.queries());
        restore(&mut worker, &resumed.snapshots)?;
        workers.push(worker);
    }
    // Operators have their state now, and it is not kept twice.
    let clocks: Arc<Vec<_>> = Arc::new(resumed.snapshots.into_iter().map(ShardSnapshot::without_state).collect());
    let mut threads = vec![];
    for (index, (worker, (_, inbox))) in workers.into_iter().zip(channels).enumerate() {
        let lane = fast.as_ref().map(Fast::lane);
        let shard = Shard::new(index as u32, worker, inbox, inboxes.clone(), report.clone(), Arc::clone(&clocks), lane);
        let thread = std::thread::Builder::new().name(format!("shard-{index}")).spawn(move || shard.run());
        threads.push(thread.context("a shard's thread cannot be started")?);
    }
    let budget = Budget::new(setup.queue_bytes);
    let own = own::start(setup, resumed.manifest.as_ref(), &inboxes[0], &budget).await?;
    let mut covered = own::Covered::start(setup, resumed.manifest.as_ref(), &inboxes[0], &budget).await?;
    let sources = start_sources(setup, resumed.manifest.as_ref(), &inboxes, &budget).await?;
    let (stop_followers, stopping) = watch::channel(false);
    let mut followers = JoinSet::new();
    let progress = committed.subscribe();
    let cursors = deliver::spawn(setup, resumed.sink, resumed.delivered, &progress, &stopping, &mut followers).await?;
    let mut cursors = keep::spawn(setup, &progress, &stopping, &mut followers, cursors).await?;
    cursors.extend(fast.as_ref().map(Fast::cursor));
    follow::spawn_retention(setup.state.clone(), cursors, &progress, &stopping, &mut followers);
    if let Some(covered) = &mut covered {
        covered.tell_left()?;
    }
    let fired = resumed.manifest.as_ref().map(|manifest| manifest.coverage.fired.clone()).unwrap_or_default();
    let vitals = Vitals { fired, ..Vitals::default() };
    let epochs = Epochs::new(resumed.manifest, setup, &versions, fast.as_ref().map(Fast::book));
    Ok(Running {
        setup: Arc::clone(setup),
        epochs,
        wards,
        inboxes,
        fast,
        reports,
        sources,
        own,
        budget,
        covered,
        vitals,
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
    budget: &Budget,
) -> anyhow::Result<Vec<KafkaSource>> {
    let mut positions = Positions::default();
    let known = manifest.iter().flat_map(|manifest| &manifest.positions);
    for (key, next) in known.filter(|(key, _)| !setup.rules.catalog.is_own(&key.stream)) {
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
