//! The thread behind a [`KafkaSource`](super::KafkaSource): poll, decode, close batches, look for what is new.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaError as ClientError;
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::types::RDKafkaErrorCode as Code;
use rdkafka::{Offset, TopicPartitionList};
use weir_engine::PartitionId;

use super::context::Context;
use super::partitions::{Assigned, Router, first_offset};
use super::source::{Counts, Share, SourceEvent, SourceOptions};
use super::{KafkaError, Topic, connect};
use crate::position::{Positions, TopicPartition};

/// The state of the thread.
pub(super) struct Reader {
    options: SourceOptions,
    router: Router,
    consumer: BaseConsumer<Context>,
    events: Sender<SourceEvent>,
    commits: mpsc::Receiver<Positions>,
    counts: Arc<Counts>,
    is_stopping: Arc<AtomicBool>,
    assigned: Vec<Assigned>,
    /// From topic and partition to the place in `assigned`.
    places: HashMap<String, HashMap<i32, usize>>,
    /// Partitions with an open batch, the oldest first.
    open: VecDeque<(Instant, usize)>,
    rounds: u64,
    is_cut_off: bool,
}

/// Nobody listens any more, or the thread cannot go on.
enum End {
    Deaf,
    Failed(KafkaError),
}

impl From<KafkaError> for End {
    fn from(error: KafkaError) -> Self {
        Self::Failed(error)
    }
}

const CHECK_EVERY: Duration = Duration::from_millis(100);

impl Reader {
    pub(super) fn open(
        options: SourceOptions,
        events: Sender<SourceEvent>,
        counts: Arc<Counts>,
        is_stopping: Arc<AtomicBool>,
        commits: mpsc::Receiver<Positions>,
    ) -> Result<Self, KafkaError> {
        let router = Router::new(&options.streams)?;
        let mut config = options.settings.consumer();
        let statistics_ms = (options.idle_after / 4).as_millis().clamp(50, 1000);
        config.set("statistics.interval.ms", statistics_ms.to_string()).set("enable.partition.eof", "false");
        if options.settings.get("queued.max.messages.kbytes").is_none() {
            config.set("queued.max.messages.kbytes", "16384");
        }
        let consumer = connect(&config, &options.settings, options.patience)?;
        let mut reader = Self {
            router,
            consumer,
            events,
            commits,
            counts,
            is_stopping,
            assigned: Vec::new(),
            places: HashMap::new(),
            open: VecDeque::new(),
            rounds: 0,
            is_cut_off: false,
            options,
        };
        let topics = reader.router.topics(&reader.consumer).map_err(KafkaError::Client)?;
        reader.router.require(&topics, &reader.consumer)?;
        reader.assign_new(topics, false)?;
        if reader.assigned.is_empty() {
            tracing::warn!(target: "weir::kafka", "there is no partition to read yet");
        }
        Ok(reader)
    }

    /// Assigns the partitions that were not known before: all of them, or none.
    fn assign_new(&mut self, mut topics: Vec<Topic>, is_newborn: bool) -> Result<(), KafkaError> {
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        let mut list = TopicPartitionList::new();
        let mut fresh = Vec::new();
        for Topic { name, partitions } in topics {
            let wanted: Vec<_> = self.router.streams_of(&name);
            let streams: Vec<_> = wanted.iter().map(|at| &self.options.streams[*at]).collect();
            for partition in partitions {
                let place = TopicPartition { topic: name.as_str().into(), partition };
                if self.is_assigned(&place) || !self.options.share.contains(&place) {
                    continue;
                }
                let (earliest, next) = first_offset(&self.consumer, &place, &self.options, is_newborn)?;
                let number = (self.assigned.len() + fresh.len()) as u32;
                let id = PartitionId(number * self.options.share.of + self.options.share.index);
                list.add_partition_offset(&name, partition, Offset::Offset(next)).map_err(KafkaError::Client)?;
                fresh.push((Assigned::new(place, id, next, &streams, &self.options)?, earliest));
            }
        }
        if fresh.is_empty() {
            return Ok(());
        }
        self.consumer.incremental_assign(&list).map_err(KafkaError::Client)?;
        for (assigned, earliest) in fresh {
            let TopicPartition { topic, partition } = &assigned.place;
            tracing::info!(target: "weir::kafka", %topic, partition, offset = assigned.next(), "reading");
            self.places.entry(topic.to_string()).or_default().insert(*partition, self.assigned.len());
            self.announce(&assigned, earliest);
            self.assigned.push(assigned);
        }
        self.counts.partitions.store(self.assigned.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    fn announce(&self, assigned: &Assigned, earliest: i64) {
        let streams = assigned.streams().cloned().collect();
        let (partition, place, next) = (assigned.id, assigned.place.clone(), assigned.next());
        if self.events.send(SourceEvent::Partition { streams, partition, place, next, earliest }).is_err() {
            self.is_stopping.store(true, Ordering::Relaxed);
        }
    }

    pub(super) fn share(&self) -> Share {
        self.options.share
    }

    pub(super) fn run(&mut self) {
        let last = match self.read().and_then(|()| self.close_all()) {
            Ok(()) => SourceEvent::Stopped,
            Err(End::Failed(error)) => SourceEvent::Failed(error),
            Err(End::Deaf) => return,
        };
        self.commit_wanted(CommitMode::Sync);
        if self.events.send(last).is_err() {
            tracing::debug!(target: "weir::kafka", "nobody waited for the end of the source");
        }
    }

    fn read(&mut self) -> Result<(), End> {
        let mut checked = Instant::now();
        let mut discovered = Instant::now();
        while !self.is_stopping.load(Ordering::Relaxed) {
            let timeout = match self.open.front() {
                Some((opened, _)) => self.options.linger.saturating_sub(opened.elapsed()),
                None => CHECK_EVERY,
            };
            let consumer = &self.consumer;
            match consumer.poll(timeout) {
                Some(Ok(message)) => {
                    if let Some(at) = take(&message, &self.places, &mut self.assigned, &mut self.open) {
                        self.took(at)?;
                    }
                }
                Some(Err(error)) => self.hear(error)?,
                None => {}
            }
            self.close_due()?;
            if checked.elapsed() >= CHECK_EVERY {
                checked = Instant::now();
                self.check()?;
            }
            if discovered.elapsed() >= self.options.discover_every {
                discovered = Instant::now();
                self.discover()?;
            }
            if !self.options.budget.has_room() {
                self.hold_back()?;
            }
        }
        Ok(())
    }

    /// After a record was taken into an open batch.
    fn took(&mut self, at: usize) -> Result<(), End> {
        self.assigned[at].rounds_then = self.rounds;
        if self.is_cut_off {
            self.is_cut_off = false;
            tracing::info!(target: "weir::kafka", "records come again");
        }
        if self.assigned[at].is_full(&self.options) { self.close(at) } else { Ok(()) }
    }

    /// Closes the batches that have waited long enough.
    fn close_due(&mut self) -> Result<(), End> {
        while let Some((opened, at)) = self.open.front().copied() {
            // A batch that was full is closed already, and the next one of its partition has its own entry.
            let is_open = self.assigned[at].opened == Some(opened);
            if is_open && opened.elapsed() < self.options.linger {
                break;
            }
            self.open.pop_front();
            if is_open {
                self.close(at)?;
            }
        }
        Ok(())
    }

    fn close_all(&mut self) -> Result<(), End> {
        while let Some((opened, at)) = self.open.pop_front() {
            if self.assigned[at].opened == Some(opened) {
                self.close(at)?;
            }
        }
        Ok(())
    }

    fn close(&mut self, at: usize) -> Result<(), End> {
        let assigned = &mut self.assigned[at];
        let bytes = assigned.bytes as usize;
        let outputs = assigned.close().map_err(KafkaError::Decode)?;
        let rows: usize = outputs.first().map_or(0, |output| output.batch.rows.num_rows() + output.rejected.len());
        self.counts.records.fetch_add(rows as u64, Ordering::Relaxed);
        self.counts.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        // Columns take about as much again as the bytes they point at, and a batch of one row is not free.
        let permit = self.options.budget.take(bytes * 2 + 4096 * outputs.len());
        self.tell(SourceEvent::Batch { outputs, permit })
    }

    /// What is done a few times per second: silence, lag, commits.
    fn check(&mut self) -> Result<(), End> {
        self.commit_wanted(CommitMode::Async);
        let heard = self.consumer.context().heard();
        self.rounds = heard.rounds;
        let is_cut_off = heard.is_cut_off && heard.rounds > 0;
        if is_cut_off {
            // Silence counts from when records could come again.
            self.assigned.iter_mut().for_each(|assigned| assigned.last_record = Instant::now());
        }
        let mut lag = 0;
        let mut lags = Vec::with_capacity(self.assigned.len());
        let mut silent = Vec::new();
        for (at, assigned) in self.assigned.iter_mut().enumerate() {
            let Some(reading) = heard.partitions.get(&assigned.place) else {
                continue;
            };
            lag += reading.lag;
            lags.push((assigned.place.clone(), reading.lag.max(0) as u64));
            // Statistics from before the last record say nothing about what came after it.
            let is_current = heard.rounds >= assigned.rounds_then + 2;
            let is_silent = assigned.last_record.elapsed() >= self.options.idle_after;
            if !assigned.is_idle
                && !is_cut_off
                && is_current
                && is_silent
                && reading.is_at_end
                && assigned.opened.is_none()
            {
                assigned.is_idle = true;
                silent.push(at);
            }
        }
        drop(heard);
        self.counts.lag.store(lag.max(0) as u64, Ordering::Relaxed);
        *self.counts.lags.lock().unwrap_or_else(PoisonError::into_inner) = lags;
        if self.is_cut_off && !is_cut_off {
            self.is_cut_off = false;
            tracing::info!(target: "weir::kafka", "a broker answers again");
        }
        for at in silent {
            let assigned = &self.assigned[at];
            let streams = assigned.streams().cloned().collect();
            self.tell(SourceEvent::Idle { streams, partition: assigned.id })?;
        }
        Ok(())
    }

    fn tell(&self, event: SourceEvent) -> Result<(), End> {
        if self.events.send(event).is_err() { Err(End::Deaf) } else { Ok(()) }
    }

    fn commit_wanted(&self, mode: CommitMode) {
        let Some(positions) = self.commits.try_iter().last() else {
            return;
        };
        let mut list = TopicPartitionList::new();
        for (place, next) in positions.iter().filter(|(place, _)| self.is_assigned(place)) {
            if let Err(error) = list.add_partition_offset(&place.topic, place.partition, Offset::Offset(next)) {
                tracing::debug!(target: "weir::kafka", %error, %place, "an offset cannot be committed");
            }
        }
        let is_reachable = !self.consumer.context().heard().is_cut_off;
        if list.count() > 0
            && is_reachable
            && let Err(error) = self.consumer.commit(&list, mode)
        {
            tracing::debug!(target: "weir::kafka", %error, "the group's positions were not committed");
        }
    }

    fn is_assigned(&self, place: &TopicPartition) -> bool {
        self.places.get(&*place.topic).is_some_and(|known| known.contains_key(&place.partition))
    }

    /// Looks for topics and partitions that were not there before.
    fn discover(&mut self) -> Result<(), End> {
        if self.consumer.context().heard().is_cut_off {
            return Ok(());
        }
        let found = self.router.topics(&self.consumer).map_err(|error| error.to_string());
        let assigned = found.map(|topics| self.assign_new(topics, true));
        match assigned {
            Ok(Ok(())) => Ok(()),
            Ok(Err(fatal @ (KafkaError::PositionLost { .. } | KafkaError::Decode(_)))) => Err(End::Failed(fatal)),
            Ok(Err(error)) => {
                // What was found is not assigned yet and will be found again.
                tracing::warn!(target: "weir::kafka", %error, "a new partition cannot be read yet");
                Ok(())
            }
            Err(error) => {
                tracing::debug!(target: "weir::kafka", error, "no broker says which topics there are");
                Ok(())
            }
        }
    }

    /// Judges an error of the client: what it mends by itself is counted, what it cannot mend is the end.
    fn hear(&mut self, error: ClientError) -> Result<(), End> {
        let trouble = self.consumer.context().heard().trouble.take().unwrap_or_else(|| error.to_string());
        match &error {
            ClientError::MessageConsumptionFatal(_)
            | ClientError::MessageConsumption(Code::OffsetOutOfRange | Code::AutoOffsetReset) => {
                return Err(KafkaError::Read { trouble, source: error }.into());
            }
            ClientError::MessageConsumption(Code::AllBrokersDown) => {
                if !self.is_cut_off {
                    self.is_cut_off = true;
                    self.counts.outages.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(target: "weir::kafka", trouble, "no broker can be reached; reading goes on when one can");
                }
            }
            _ => {
                self.counts.errors.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(target: "weir::kafka", %error, trouble, "the client met an error and goes on");
            }
        }
        Ok(())
    }

    /// Waits until the engine has worked off half of what waits for it. After a moment the partitions are paused, so that
    /// the client can be polled without handing out more.
    fn hold_back(&mut self) -> Result<(), End> {
        self.close_all()?;
        if self.options.budget.wait_for_half(Duration::from_millis(200)) {
            return Ok(());
        }
        self.counts.pauses.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(target: "weir::kafka", "the engine is behind; partitions are paused");
        self.switch(true);
        while !self.is_stopping.load(Ordering::Relaxed) && !self.options.budget.wait_for_half(Duration::from_millis(20))
        {
            match self.consumer.poll(Duration::from_millis(20)) {
                // Handed out before the pause took effect.
                Some(Ok(message)) => drop(take(&message, &self.places, &mut self.assigned, &mut self.open)),
                Some(Err(error)) => self.hear(error)?,
                None => {}
            }
            self.commit_wanted(CommitMode::Async);
        }
        self.switch(false);
        Ok(())
    }

    fn switch(&mut self, is_paused: bool) {
        let rounds = self.consumer.context().heard().rounds;
        let mut list = TopicPartitionList::new();
        for assigned in &mut self.assigned {
            list.add_partition(&assigned.place.topic, assigned.place.partition);
            // A pause is no silence, and what was known of the partition's end is old.
            assigned.last_record = Instant::now();
            assigned.rounds_then = rounds;
        }
        let result = if is_paused { self.consumer.pause(&list) } else { self.consumer.resume(&list) };
        if let Err(error) = result {
            tracing::warn!(target: "weir::kafka", %error, is_paused, "partitions cannot be paused or resumed");
        }
    }
}

/// Takes a record into the open batch of its partition; says which one, or `None` for a partition that is not ours.
fn take(
    message: &BorrowedMessage<'_>,
    places: &HashMap<String, HashMap<i32, usize>>,
    assigned: &mut [Assigned],
    open: &mut VecDeque<(Instant, usize)>,
) -> Option<usize> {
    let at = *places.get(message.topic())?.get(&message.partition())?;
    let partition = &mut assigned[at];
    // A record that was handed out twice, after a resume or a new leader, is taken once.
    if message.offset() < partition.next() {
        return None;
    }
    let now = Instant::now();
    if partition.opened.is_none() {
        partition.opened = Some(now);
        open.push_back((now, at));
    }
    partition.last_record = now;
    partition.is_idle = false;
    partition.take(message);
    Some(at)
}
