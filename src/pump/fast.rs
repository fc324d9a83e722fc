//! Fast alerts: copies of the records of detections that ask for it (`delivery = "fast"`), sent as soon as the engine has
//! given the hit, to a topic of their own.
//!
//! The exact path knows nothing of them and waits for nothing here: a shard puts a hit into a bounded queue and goes on, and
//! what finds no room, or no broker in time, is left, and counted in the [`Book`]. What a process read and did not commit
//! is read again by the next, and so sent again. What it did commit while copies were still on their way, the manifest
//! says (`fast_from`), and the next process sends those from the outputs of the epochs. So each copy is sent at least
//! once, or counted as left.

mod book;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use serde_json::Value;
use tokio::sync::watch;
use weir_connectors::failpoint;
use weir_connectors::kafka::{Courier, Left, LeftReason, Settle, SinkRecord, TopicSpec, create_topics};
use weir_connectors::state::{Manifest, StateError, StateStore};
use weir_detections::compile::Compiled;
use weir_detections::{Delivery, ocsf};
use weir_engine::Hit;

use super::{Setup, epoch};
pub(super) use book::Book;
pub(crate) use book::FastCounts;

/// Hits that may wait to be written as records. What comes beyond is left.
const WAITING_MAX: usize = 65_536;
/// How long the last copies have to leave when the pipeline ends.
const LAST_PATIENCE: Duration = Duration::from_secs(2);
/// How long the brokers may take to make the topic.
const TOPIC_PATIENCE: Duration = Duration::from_secs(10);
/// How often it is told at most that copies were left.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// The fast alerts of a pipeline.
pub(super) struct Fast {
    lane: Lane,
    thread: JoinHandle<()>,
    told: Option<Instant>,
    /// Up to which epoch nothing is needed any more, for retention.
    needed: watch::Sender<u64>,
}

/// The way of a shard's hits to the queue.
#[derive(Clone)]
pub(super) struct Lane {
    queries: Arc<BTreeSet<usize>>,
    book: Arc<Book>,
    to: SyncSender<Waiting>,
}

/// A hit that is to be written as a record and sent.
struct Waiting {
    number: usize,
    hit: Hit,
}

/// A record of an epoch whose copy may be missing.
struct Owed {
    query: usize,
    record: SinkRecord,
}

impl Fast {
    /// Starts what sends the copies, where a detection asks for them.
    ///
    /// # Errors
    /// No topic for them, or no thread.
    pub(super) async fn start(setup: &Arc<Setup>, last: Option<&Manifest>) -> anyhow::Result<Option<Self>> {
        let queries = wanted(&setup.rules);
        if queries.is_empty() {
            return Ok(None);
        }
        let topic = setup.topics.fast.clone().context("there is no topic for fast alerts")?;
        let owed = owed(&setup.state, last, &(&setup.rules, &queries, &topic)).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "fast alerts of the last epochs cannot be read, and are not sent again");
            Vec::new()
        });
        let book = Arc::new(Book::new());
        let owed: Vec<_> = owed.into_iter().map(|Owed { query, record }| (book.enter(query), record)).collect();
        let from = last.and_then(|last| last.fast_from).filter(|_| !owed.is_empty());
        from.into_iter().for_each(|epoch| book.close(epoch));
        let (to, waiting) = sync_channel(WAITING_MAX);
        let sender = Sender { setup: Arc::clone(setup), topic, book: Arc::clone(&book) };
        let thread = std::thread::Builder::new().name("fast".to_owned()).spawn(move || sender.run(owed, &waiting));
        let thread = thread.context("the thread of fast alerts cannot be started")?;
        let newest = last.map_or(0, |last| last.epoch);
        let needed = watch::Sender::new(from.map_or(newest, |epoch| epoch.saturating_sub(1)));
        let lane = Lane { queries: Arc::new(queries), book, to };
        Ok(Some(Self { lane, thread, told: None, needed }))
    }

    /// A way for one shard more.
    pub(super) fn lane(&self) -> Lane {
        self.lane.clone()
    }

    /// The book, for whoever commits epochs.
    pub(super) fn book(&self) -> Arc<Book> {
        Arc::clone(&self.lane.book)
    }

    /// Up to which epoch nothing is needed any more.
    pub(super) fn cursor(&self) -> watch::Receiver<u64> {
        self.needed.subscribe()
    }

    /// An epoch was committed: what the next process would begin with is what its manifest says.
    pub(super) fn committed(&self, manifest: &Manifest) {
        let needed = manifest.fast_from.map_or(manifest.epoch, |from| from.saturating_sub(1));
        self.needed.send_replace(needed);
    }

    /// What became of the alerts of each detection, by id.
    pub(super) fn counts(&self, rules: &Compiled) -> BTreeMap<String, FastCounts> {
        let counts = self.lane.book.counts();
        let of = |query: &usize| counts.get(query).copied().unwrap_or_default();
        self.lane.queries.iter().map(|query| (rules.detections[*query].id.to_string(), of(query))).collect()
    }

    /// Says in the log that copies were left, every now and then.
    pub(super) fn tell(&mut self) {
        if self.told.is_none_or(|told| told.elapsed() >= TELL_EVERY) && self.lane.book.tell() {
            self.told = Some(Instant::now());
        }
    }

    /// Lets what is on its way leave, for a moment. Call it when no shard has a way any more. Blocks.
    pub(super) fn end(self) -> std::thread::Result<()> {
        let Self { lane: Lane { book, to, .. }, thread, .. } = self;
        drop(to);
        thread.join()?;
        book.tell();
        Ok(())
    }
}

impl Lane {
    /// Takes a copy of a hit, where it is one to leave early. Never blocks.
    pub(super) fn offer(&self, hit: &Hit) {
        // What an exception hides is told to nobody early.
        if !self.queries.contains(&hit.query) || hit.exception.is_some() {
            return;
        }
        let number = self.book.enter(hit.query);
        if self.to.try_send(Waiting { number, hit: hit.clone() }).is_err() {
            let said = format!("{WAITING_MAX} hits wait already");
            self.book.settle(number, Err(Left { reason: LeftReason::QueueFull, said }));
        }
    }

    /// The queries whose alerts leave early.
    pub(super) fn queries(&self) -> &BTreeSet<usize> {
        &self.queries
    }
}

impl Book {
    /// Says what was left since the last time; false if nothing was.
    fn tell(&self) -> bool {
        let untold = self.take_untold();
        let Some(last) = untold.last else { return false };
        let (count, reason) = (untold.count, last.reason.as_str());
        tracing::warn!(count, reason, error = last.said, "fast alerts were left; they come with their epochs");
        true
    }
}

/// What writes hits as records, and sends them.
struct Sender {
    setup: Arc<Setup>,
    topic: Arc<str>,
    book: Arc<Book>,
}

impl Sender {
    fn run(self, owed: Vec<(usize, SinkRecord)>, waiting: &Receiver<Waiting>) {
        self.create_topic();
        let book = Arc::clone(&self.book);
        let settle: Settle = Arc::new(move |number, settled| book.settle(number, settled));
        let mut courier = match Courier::open(&self.setup.kafka, settle) {
            Ok(courier) => courier,
            Err(error) => {
                let said = error.to_string();
                let left =
                    |number| self.book.settle(number, Err(Left { reason: LeftReason::Refused, said: said.clone() }));
                owed.iter().for_each(|(number, _)| left(*number));
                waiting.iter().for_each(|waiting| left(waiting.number));
                return;
            }
        };
        owed.iter().for_each(|(number, record)| courier.send(*number, record));
        for Waiting { number, hit } in waiting {
            failpoint::reach("fast.before_send");
            let alert = ocsf(&self.setup.rules.detections[hit.query], &hit);
            courier.send(number, &record(&self.topic, &hit.uid.to_string(), alert.to_string().into()));
        }
        courier.close(LAST_PATIENCE);
    }

    /// The exact path does without this topic, so it is made here, where nobody waits.
    fn create_topic(&self) {
        let topic =
            TopicSpec { name: self.topic.to_string(), partitions: None, replication: None, is_compacted: false };
        if let Err(error) = create_topics(&self.setup.kafka, &[topic], TOPIC_PATIENCE) {
            tracing::warn!(topic = &*self.topic, %error, "the topic for fast alerts cannot be made");
        }
    }
}

fn record(topic: &Arc<str>, uid: &str, payload: Bytes) -> SinkRecord {
    SinkRecord { topic: Arc::clone(topic), key: Some(Bytes::from(uid.to_owned())), payload, timestamp: None }
}

/// The detections that ask for it, by index.
fn wanted(rules: &Compiled) -> BTreeSet<usize> {
    let detections = rules.detections.iter().enumerate();
    detections.filter(|(_, detection)| detection.delivery == Delivery::Fast).map(|(query, _)| query).collect()
}

/// The records of committed epochs whose copies may not have left the last process.
async fn owed(
    state: &StateStore,
    last: Option<&Manifest>,
    (rules, queries, topic): &(&Compiled, &BTreeSet<usize>, &Arc<str>),
) -> Result<Vec<Owed>, StateError> {
    let Some((from, newest)) = last.and_then(|last| Some((last.fast_from?, last.epoch))) else {
        return Ok(Vec::new());
    };
    let query_of = |alert: &Value| {
        let id = alert.pointer("/finding_info/analytic/uid")?.as_str()?;
        queries.iter().copied().find(|query| *rules.detections[*query].id == *id)
    };
    let mut owed = Vec::new();
    for epoch in from..=newest {
        let Some(manifest) = state.manifest(epoch).await? else { continue };
        let outputs = state.read_outputs(&manifest).await?;
        for line in epoch::lines(&outputs, epoch::ALERTS) {
            // A damaged line is for the exact path to tell, which has it as well.
            let Ok(alert) = serde_json::from_slice::<Value>(line) else { continue };
            let is_hidden = alert.pointer("/unmapped/weir/exception").is_some();
            let uid = alert.pointer("/finding_info/uid").and_then(Value::as_str);
            if let Some((query, uid)) = query_of(&alert).zip(uid).filter(|_| !is_hidden) {
                owed.push(Owed { query, record: record(topic, uid, Bytes::copy_from_slice(line)) });
            }
        }
    }
    Ok(owed)
}
