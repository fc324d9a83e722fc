//! What response did, as a source: changes in the journal become rows of `actions` and `cases` for detections that read
//! them. A journal numbers its changes and keeps them as they are, so a number is a position like an offset: it is in the
//! manifest, and after a restart the same rows come again from there.

mod covered;

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use weir_connectors::decode::{Decoder, Record};
use weir_connectors::kafka::{Budget, SourceEvent};
use weir_connectors::position::TopicPartition;
use weir_connectors::source::SourceOutput;
use weir_connectors::state::Manifest;
use weir_engine::{PartitionId, SourceBatch};
use weir_playbooks::journal::{Change, ChangeOf};

use super::Setup;
use super::shard::{Message, key_of};
use crate::respond::Respond;
pub(super) use covered::Covered;

/// How often the journal is looked at for what other processes did (`weir case close`).
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long to wait where there is no room for more.
const FULL_PAUSE: Duration = Duration::from_millis(10);
/// Changes in one batch at most.
const CHANGES_MAX: usize = 1000;
/// What stands where streams from outside have their topic.
const JOURNAL: &str = "journal";
/// A journal has one order.
const PARTITION: PartitionId = PartitionId(0);

/// A source that reads the journal.
pub(super) struct OwnSource {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl OwnSource {
    /// Ends it; what it has read was handed on by then.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        self.stop.send_replace(true);
        self.task.await.context("reading the journal panicked")
    }
}

/// Starts it, where a detection reads such a stream. When this returns, the shard knows of the partitions.
pub(super) async fn start(
    setup: &Setup,
    manifest: Option<&Manifest>,
    inbox: &Sender<Message>,
    budget: &Budget,
) -> anyhow::Result<Option<OwnSource>> {
    let Some(respond) = setup.respond.clone() else { return Ok(None) };
    let mut feeds = vec![];
    for (stream, columns) in setup.rules.program.streams() {
        let Some(of) = ChangeOf::of_word(&stream.name).filter(|_| setup.rules.catalog.is_own(&stream.name)) else {
            continue;
        };
        let place = TopicPartition { topic: JOURNAL.into(), partition: 0 };
        let known = manifest.and_then(|manifest| manifest.positions.get(&key_of(&stream.name, &place)).copied());
        let next = match (known, manifest) {
            (Some(next), _) => next,
            // A detection that is new to a running house begins with what happens from now on, as with every stream.
            (None, Some(_)) => respond.last_change().await.context("the journal cannot be read")? as i64 + 1,
            (None, None) => 1,
        };
        let feed = Feed {
            of,
            name: stream.name.as_str().into(),
            decoder: Decoder::new(Arc::clone(stream), columns.clone())?,
            place,
            next,
            is_idle: false,
        };
        let streams = vec![Arc::clone(&feed.name)];
        let begin =
            SourceEvent::Partition { streams, partition: PARTITION, place: feed.place.clone(), next, earliest: next };
        inbox.send(Message::Source(begin)).context("a shard ended before it began")?;
        feeds.push(feed);
    }
    if feeds.is_empty() {
        return Ok(None);
    }
    let (stop, stopping) = watch::channel(false);
    let reader = Reader { respond, inbox: inbox.clone(), budget: budget.clone(), stopping };
    let task = tokio::spawn(reader.run(feeds));
    Ok(Some(OwnSource { stop, task }))
}

/// Reads for all streams, into what room the sources from outside leave.
struct Reader {
    respond: Respond,
    inbox: Sender<Message>,
    budget: Budget,
    stopping: watch::Receiver<bool>,
}

impl Reader {
    async fn run(mut self, mut feeds: Vec<Feed>) {
        let mut news = self.respond.changes();
        while !*self.stopping.borrow() {
            news.borrow_and_update();
            for feed in &mut feeds {
                match feed.read(&self).await {
                    Ok(true) => {}
                    // The shard has ended, and says why itself.
                    Ok(false) => return,
                    Err(error) => {
                        tracing::warn!(stream = &*feed.name, error = format!("{error:#}"), "the journal is read later");
                    }
                }
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                _ = news.changed() => {}
                _ = self.stopping.changed() => {}
            }
        }
    }

    /// Waits until there is room for more; false if the pipeline stops before.
    async fn has_room(&self) -> bool {
        while !self.budget.has_room() {
            if *self.stopping.borrow() {
                return false;
            }
            tokio::time::sleep(FULL_PAUSE).await;
        }
        !*self.stopping.borrow()
    }
}

/// One stream, and how far it is.
struct Feed {
    of: ChangeOf,
    name: Arc<str>,
    decoder: Decoder,
    place: TopicPartition,
    /// The number of the next change.
    next: i64,
    is_idle: bool,
}

impl Feed {
    /// Reads to the end; false if nobody wants it any more.
    async fn read(&mut self, reader: &Reader) -> anyhow::Result<bool> {
        loop {
            if !reader.has_room().await {
                return Ok(false);
            }
            let changes = reader.respond.changes_of(self.of, (self.next - 1) as u64, CHANGES_MAX).await?;
            if changes.is_empty() {
                break;
            }
            let batch = self.batch(&changes, &reader.budget)?;
            self.is_idle = false;
            if reader.inbox.send(Message::Source(batch)).is_err() {
                return Ok(false);
            }
        }
        // At its end it is known that nothing is on the way, so it holds nobody back.
        if !std::mem::replace(&mut self.is_idle, true) {
            let idle = SourceEvent::Idle { streams: vec![Arc::clone(&self.name)], partition: PARTITION };
            return Ok(reader.inbox.send(Message::Source(idle)).is_ok());
        }
        Ok(true)
    }

    fn batch(&mut self, changes: &[Change], budget: &Budget) -> anyhow::Result<SourceEvent> {
        let mut rejected = vec![];
        let mut bytes = 0;
        let mut next = self.next;
        for change in changes {
            let text = change.row.to_string();
            let position = self.place.at(change.seq as i64);
            let record = Record::new(text.as_bytes(), &position);
            if let Err(reject) = self.decoder.push(&record) {
                rejected.push(reject.of(&self.name, &record));
            }
            bytes += text.len();
            next = change.seq as i64 + 1;
        }
        let rows = self.decoder.finish()?;
        let batch = SourceBatch { stream: Arc::clone(&self.name), partition: PARTITION, rows, late_us: None };
        let (misfits, partition) = (self.decoder.take_misfits(), self.place.clone());
        let output = SourceOutput { batch, rejected, misfits, partition, next, bytes: bytes as u64 };
        self.next = next;
        Ok(SourceEvent::Batch { outputs: vec![output], permit: budget.take(bytes) })
    }
}
