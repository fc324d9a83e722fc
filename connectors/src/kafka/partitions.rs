//! Which partitions are read, where each begins, and the batches that are open for them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError as ClientError;
use rdkafka::message::{BorrowedMessage, Headers, Message, Timestamp};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};
use regex::Regex;
use weir_engine::error::nearest;
use weir_engine::{EventTime, PartitionId, SourceBatch};

use super::context::Context;
use super::settings::Start;
use super::source::{SourceOptions, StreamInput};
use super::{KafkaError, Topic, topics_of};
use crate::decode::{DecodeError, Decoder, Header, Record, Rejected};
use crate::position::{Position, TopicPartition};
use crate::source::SourceOutput;

const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// From topics to the streams that read them.
pub(super) struct Router {
    exact: Vec<(String, usize)>,
    patterns: Vec<(Regex, usize)>,
}

impl Router {
    pub(super) fn new(streams: &[StreamInput]) -> Result<Self, KafkaError> {
        let mut router = Self { exact: Vec::new(), patterns: Vec::new() };
        for (at, input) in streams.iter().enumerate() {
            for topic in &input.stream.topics {
                if topic.starts_with('^') {
                    let pattern = Regex::new(topic).map_err(|source| KafkaError::BadPattern {
                        pattern: topic.clone(),
                        source: Box::new(source),
                    })?;
                    router.patterns.push((pattern, at));
                } else {
                    router.exact.push((topic.clone(), at));
                }
            }
        }
        Ok(router)
    }

    /// The streams that read a topic, each once.
    pub(super) fn streams_of(&self, topic: &str) -> Vec<usize> {
        let exact = self.exact.iter().filter(|(name, _)| name == topic).map(|(_, at)| *at);
        let is_internal = topic.starts_with("__");
        let matched = self.patterns.iter().filter(|(pattern, _)| !is_internal && pattern.is_match(topic));
        let mut streams: Vec<usize> = exact.chain(matched.map(|(_, at)| *at)).collect();
        streams.sort_unstable();
        streams.dedup();
        streams
    }

    /// The topics that exist and that somebody reads.
    pub(super) fn topics(&self, consumer: &BaseConsumer<Context>) -> Result<Vec<Topic>, ClientError> {
        // All topics of a large cluster are a large answer: it is asked for only where names are not enough.
        if !self.patterns.is_empty() {
            let all = consumer.fetch_metadata(None, ANSWER_TIMEOUT)?;
            return Ok(topics_of(&all).filter(|topic| !self.streams_of(&topic.name).is_empty()).collect());
        }
        let mut topics = Vec::new();
        let mut names: Vec<&str> = self.exact.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            topics.extend(topics_of(&consumer.fetch_metadata(Some(name), ANSWER_TIMEOUT)?));
        }
        Ok(topics)
    }

    /// The first named topic that is not among those that can be read, as an error.
    pub(super) fn require(&self, topics: &[Topic], consumer: &BaseConsumer<Context>) -> Result<(), KafkaError> {
        let exists = |name: &str| topics.iter().any(|topic| topic.name == name);
        let Some((missing, _)) = self.exact.iter().find(|(name, _)| !exists(name)) else { return Ok(()) };
        let asked = consumer.fetch_metadata(Some(missing), ANSWER_TIMEOUT).map_err(KafkaError::Client)?;
        let refusal = asked.topics().iter().find_map(|topic| topic.error()).map(RDKafkaErrorCode::from);
        match refusal {
            None | Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
                let all = consumer.fetch_metadata(None, ANSWER_TIMEOUT).map_err(KafkaError::Client)?;
                let hint = nearest(missing, all.topics().iter().map(rdkafka::metadata::MetadataTopic::name));
                Err(KafkaError::UnknownTopic { topic: missing.clone(), hint })
            }
            Some(code) => Err(KafkaError::ClosedTopic { topic: missing.clone(), trouble: code.to_string() }),
        }
    }
}

/// The first offset that the broker has of a partition, and where reading of it begins.
///
/// A partition that came into being while Weir was running begins at its first record, wherever `start` says: everything
/// in it is new.
pub(super) fn first_offset(
    consumer: &BaseConsumer<Context>,
    place: &TopicPartition,
    options: &SourceOptions,
    is_newborn: bool,
) -> Result<(i64, i64), KafkaError> {
    let failed = |source: ClientError| {
        let trouble = format!("{place} does not say where it begins ({source})");
        KafkaError::Read { trouble, source }
    };
    // A topic that was made a moment ago has no leader yet. A newborn partition is simply found again later.
    let patience = if is_newborn { Duration::ZERO } else { options.patience };
    let (low, high) = watermarks(consumer, place, patience).map_err(failed)?;
    if let Some(wanted) = options.positions.next(place) {
        let is_kept = (low..=high).contains(&wanted);
        let lost = || KafkaError::PositionLost { partition: place.clone(), wanted, low, high };
        return is_kept.then_some((low, wanted)).ok_or_else(lost);
    }
    let begin = match options.start {
        _ if is_newborn => low,
        Start::Earliest => low,
        Start::Latest => high,
        Start::Time(time) => {
            let mut wanted = TopicPartitionList::new();
            let millis = time.0.div_euclid(1000) + i64::from(time.0.rem_euclid(1000) > 0);
            wanted.add_partition_offset(&place.topic, place.partition, Offset::Offset(millis)).map_err(failed)?;
            let found = consumer.offsets_for_times(wanted, ANSWER_TIMEOUT).map_err(failed)?;
            let offset = found.find_partition(&place.topic, place.partition).map(|found| found.offset());
            if let Some(Offset::Offset(offset)) = offset { offset } else { high }
        }
    };
    Ok((low, begin))
}

fn watermarks(
    consumer: &BaseConsumer<Context>,
    place: &TopicPartition,
    patience: Duration,
) -> Result<(i64, i64), ClientError> {
    let started = Instant::now();
    loop {
        match consumer.fetch_watermarks(&place.topic, place.partition, ANSWER_TIMEOUT) {
            Err(error) if started.elapsed() < patience => {
                tracing::debug!(target: "weir::kafka", %error, %place, "asking again where it begins");
                // Waits a moment, and lets the client tell what it met.
                drop(consumer.poll(Duration::from_millis(100)));
            }
            answer => return answer,
        }
    }
}

/// A partition that is being read, and its open batch.
pub(super) struct Assigned {
    pub(super) place: TopicPartition,
    pub(super) id: PartitionId,
    lanes: Vec<Lane>,
    position: Position,
    /// When the open batch got its first record.
    pub(super) opened: Option<Instant>,
    pub(super) bytes: u64,
    pub(super) last_record: Instant,
    /// How many rounds of statistics there had been by then.
    pub(super) rounds_then: u64,
    pub(super) is_idle: bool,
}

/// One stream's share of a partition.
struct Lane {
    stream: Arc<str>,
    decoder: Decoder,
    rejected: Vec<Rejected>,
    rejected_bytes: usize,
}

impl Assigned {
    pub(super) fn new(
        place: TopicPartition,
        id: PartitionId,
        next: i64,
        streams: &[&StreamInput],
        options: &SourceOptions,
    ) -> Result<Self, DecodeError> {
        let lane = |input: &&StreamInput| {
            let decoder = Decoder::with_limits(&input.stream, &input.columns, options.limits)?;
            let stream = input.stream.name.as_str().into();
            Ok(Lane { stream, decoder, rejected: Vec::new(), rejected_bytes: 0 })
        };
        let lanes = streams.iter().map(lane).collect::<Result<_, DecodeError>>()?;
        let position = place.at(next - 1);
        let last_record = Instant::now();
        Ok(Self { place, id, lanes, position, opened: None, bytes: 0, last_record, rounds_then: 0, is_idle: false })
    }

    /// The streams that this partition feeds.
    pub(super) fn streams(&self) -> impl Iterator<Item = &Arc<str>> {
        self.lanes.iter().map(|lane| &lane.stream)
    }

    /// The offset after the last record that was taken.
    pub(super) fn next(&self) -> i64 {
        self.position.offset + 1
    }

    pub(super) fn is_full(&self, options: &SourceOptions) -> bool {
        self.lanes.iter().any(|lane| {
            lane.decoder.is_full()
                || lane.rejected.len() >= options.limits.batch_rows_max
                || lane.rejected_bytes >= options.limits.batch_bytes_max
        })
    }

    /// Takes a record into the open batch of every stream that reads it.
    pub(super) fn take(&mut self, message: &BorrowedMessage<'_>) {
        self.position.offset = message.offset();
        let reads_headers = self.lanes.iter().any(|lane| lane.decoder.reads_headers());
        let headers = if reads_headers { headers(message) } else { Vec::new() };
        let record = record(message, &headers, &self.position);
        let payload = record.payload;
        self.bytes += payload.len() as u64;
        for lane in &mut self.lanes {
            if let Err(reject) = lane.decoder.push(&record) {
                // A refused record costs more than its bytes: many small ones must fill a batch too.
                lane.rejected_bytes += payload.len() + 128;
                lane.rejected.push(reject.of(&lane.stream, &record));
            }
        }
    }

    /// Closes the open batch: one output per stream, all of the same stretch.
    pub(super) fn close(&mut self) -> Result<Vec<SourceOutput>, DecodeError> {
        self.opened = None;
        let bytes = std::mem::take(&mut self.bytes);
        let (partition, next) = (self.id, self.next());
        let outputs = self.lanes.iter_mut().map(|lane| {
            lane.rejected_bytes = 0;
            let rows = lane.decoder.finish()?;
            let batch = SourceBatch { stream: Arc::clone(&lane.stream), partition, rows, late_us: None };
            let rejected = std::mem::take(&mut lane.rejected);
            let misfits = lane.decoder.take_misfits();
            Ok(SourceOutput { batch, rejected, misfits, partition: self.place.clone(), next, bytes })
        });
        outputs.collect()
    }
}

/// A message as a record. Only the broker's clock says when it arrived; the sender's says what the sender wants.
pub(super) fn record<'a>(
    message: &'a BorrowedMessage<'_>,
    headers: &'a [Header<'a>],
    position: &'a Position,
) -> Record<'a> {
    let micros = |millis: i64| (millis >= 0).then(|| EventTime(millis.saturating_mul(1000)));
    let (timestamp, arrival) = match message.timestamp() {
        Timestamp::NotAvailable => (None, None),
        Timestamp::CreateTime(millis) => (micros(millis), None),
        Timestamp::LogAppendTime(millis) => (micros(millis), micros(millis)),
    };
    // A record without a value is refused as empty, like any other that holds nothing.
    let payload = message.payload().unwrap_or_default();
    Record { payload, key: message.key(), timestamp, arrival, headers, position }
}

/// The headers of a message.
pub(super) fn headers<'a>(message: &'a BorrowedMessage<'_>) -> Vec<Header<'a>> {
    let headers = message.headers().map(|headers| headers.iter().map(|header| (header.key, header.value)));
    headers.into_iter().flatten().map(|(name, value)| Header { name, value }).collect()
}
