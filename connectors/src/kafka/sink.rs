//! Records out, exactly once: the records of an epoch and the sink's cursor in one transaction.
//!
//! Order at a start: [`KafkaSink::open`] initialises the transactions first, which ends whatever a predecessor left open
//! and fences it; only then do the cursors say the truth. An error before the commit is tried again; when nobody can say
//! whether a commit happened, the process must end, and the next start finds out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rdkafka::error::{KafkaError as ClientError, RDKafkaError};
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode as Code;
use weir_engine::EventTime;

use super::context::Context;
use super::oauth::Oauth;
use super::settings::RECORD_BYTES_MAX;
use super::{KafkaError, KafkaSettings, TopicSpec, create_topics, cursors};
use crate::failpoint;

/// How to write.
#[derive(Debug, Clone)]
pub struct SinkOptions {
    /// How to reach the cluster.
    pub settings: KafkaSettings,
    /// The number of this worker; part of its transactional id.
    pub worker: u32,
    /// Whether to use transactions. Without them a delivery may happen twice; only brokers that lack them need that.
    pub is_transactional: bool,
    /// How long a delivery is tried before it is given back, and a broker waited for at the start.
    pub patience: Duration,
}

/// One record to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkRecord {
    /// The topic.
    pub topic: Arc<str>,
    /// Its key; records of one key keep their order.
    pub key: Option<Bytes>,
    /// Its bytes.
    pub payload: Bytes,
    /// Its timestamp; the time of sending where there is none.
    pub timestamp: Option<EventTime>,
}

/// A delivery that happened.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Delivered {
    /// Records that the brokers do not take because of their size, by their place in the list. They were left out: one
    /// record must not hold back all others. The caller has them and can say so elsewhere.
    pub too_large: Vec<usize>,
    /// How often the delivery had to be tried again.
    pub retries: u32,
}

/// A producer that delivers epochs.
pub struct KafkaSink {
    options: SinkOptions,
    transactional_id: String,
    cursors_topic: String,
    producer: ThreadedProducer<Context>,
    record_bytes_max: usize,
}

/// What one attempt has to send.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    records: &'a [SinkRecord],
    /// Places of records that are too large.
    left_out: &'a [usize],
    /// Whether each record is sent in a batch of its own.
    is_alone: bool,
}

/// What became of one attempt.
enum Attempt {
    Done,
    /// Nothing is visible; try again.
    Aborted(ClientError),
}

/// The opaque number of the cursor's own record.
const CURSOR: usize = usize::MAX;

impl KafkaSink {
    /// Reaches the cluster, makes the cursors topic if there is none, and takes over from any predecessor. Blocks.
    ///
    /// # Errors
    /// A cluster that cannot be reached in time or refuses us.
    pub fn open(options: SinkOptions) -> Result<Self, KafkaError> {
        let settings = &options.settings;
        let cursors_topic = cursors::topic_of(settings.group());
        let spec =
            TopicSpec { name: cursors_topic.clone(), partitions: Some(1), replication: None, is_compacted: true };
        create_topics(settings, &[spec], options.patience)?;
        let transactional_id = format!("{}-{}", settings.group(), options.worker);
        let mut config = settings.producer();
        if options.is_transactional {
            config.set("transactional.id", &transactional_id);
        }
        let producer: ThreadedProducer<Context> =
            config.create_with_context(Context::new(Oauth::of(settings))).map_err(KafkaError::Client)?;
        let bytes_max =
            settings.get("message.max.bytes").and_then(|text| text.parse().ok()).unwrap_or(RECORD_BYTES_MAX);
        let sink = Self { transactional_id, cursors_topic, producer, record_bytes_max: bytes_max, options };
        if sink.options.is_transactional {
            sink.init()?;
        }
        Ok(sink)
    }

    fn init(&self) -> Result<(), KafkaError> {
        let started = Instant::now();
        loop {
            let error = match self.producer.init_transactions(self.options.patience) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            let is_retriable = transaction_error(&error).is_some_and(RDKafkaError::is_retriable);
            if !is_retriable || started.elapsed() >= self.options.patience {
                let trouble = self.trouble(&error);
                return Err(self.fenced(error).unwrap_or_else(|source| KafkaError::NotDelivered {
                    epoch: 0,
                    trouble,
                    source,
                }));
            }
        }
    }

    /// The last epoch that each sink of the group has delivered.
    ///
    /// # Errors
    /// A cluster that does not answer in time, or a cursor that is not one of Weir's.
    pub fn cursors(&self) -> Result<BTreeMap<String, u64>, KafkaError> {
        cursors::read(&self.options.settings, self.options.patience)
    }

    /// Delivers the records of an epoch and moves the cursor of `sink` to it, both or neither. Blocks.
    ///
    /// # Errors
    /// [`KafkaError::NotDelivered`] can be tried again. After [`KafkaError::Fenced`] and [`KafkaError::Ambiguous`] the
    /// process must end.
    pub fn deliver(&mut self, sink: &str, epoch: u64, records: &[SinkRecord]) -> Result<Delivered, KafkaError> {
        let mut delivered = Delivered { too_large: self.too_large(records), retries: 0 };
        let deadline = Instant::now() + self.options.patience;
        let mut is_alone = false;
        loop {
            self.producer.context().heard().undelivered.clear();
            let wanted = Wanted { records, left_out: &delivered.too_large, is_alone };
            let attempt = if self.options.is_transactional {
                self.in_transaction(sink, epoch, wanted, deadline)?
            } else {
                self.one_by_one(sink, epoch, wanted, deadline)
            };
            let source = match attempt {
                Attempt::Done => return Ok(delivered),
                Attempt::Aborted(error) => error,
            };
            let refused = self.refused_for_size();
            if refused.is_empty() && Instant::now() >= deadline {
                let trouble = self.trouble(&source);
                return Err(KafkaError::NotDelivered { epoch, trouble, source });
            }
            tracing::warn!(target: "weir::kafka", epoch, error = %source, "a delivery is tried again");
            // A broker refuses whole batches. Sent one by one, the records tell which of them was meant.
            if is_alone {
                delivered.too_large.extend(refused);
            } else {
                is_alone = !refused.is_empty();
            }
            delivered.retries += 1;
        }
    }

    fn in_transaction(
        &self,
        sink: &str,
        epoch: u64,
        wanted: Wanted<'_>,
        deadline: Instant,
    ) -> Result<Attempt, KafkaError> {
        failpoint::reach("kafka.before_begin");
        let sent = self.producer.begin_transaction().and_then(|()| {
            failpoint::reach("kafka.begun");
            self.send_all(wanted, deadline)?;
            failpoint::reach("kafka.records_sent");
            self.send_cursor(sink, epoch, deadline)
        });
        failpoint::reach("kafka.before_commit");
        let error = match sent {
            Ok(()) => match self.commit(epoch, deadline)? {
                Attempt::Done => {
                    failpoint::reach("kafka.committed");
                    return Ok(Attempt::Done);
                }
                Attempt::Aborted(error) => error,
            },
            Err(error) => error,
        };
        self.abort(epoch, error)
    }

    /// Commits; gives back an error after which the transaction must be aborted.
    fn commit(&self, epoch: u64, deadline: Instant) -> Result<Attempt, KafkaError> {
        // Half of the patience more, because giving up here ends the process.
        let deadline = deadline + self.options.patience / 2;
        loop {
            let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(100));
            let error = match self.producer.commit_transaction(left) {
                Ok(()) => return Ok(Attempt::Done),
                // The records themselves are not out yet: nothing was asked of the coordinator.
                Err(error @ ClientError::Flush(_)) => return Ok(Attempt::Aborted(error)),
                Err(error) => error,
            };
            let (needs_abort, is_retriable) = transaction_error(&error)
                .map_or((false, false), |error| (error.txn_requires_abort(), error.is_retriable()));
            if needs_abort {
                return Ok(Attempt::Aborted(error));
            }
            if !is_retriable || Instant::now() >= deadline {
                return Err(self.fenced(error).unwrap_or_else(|source| KafkaError::Ambiguous { epoch, source }));
            }
        }
    }

    fn abort(&self, epoch: u64, cause: ClientError) -> Result<Attempt, KafkaError> {
        let deadline = Instant::now() + self.options.patience;
        loop {
            let error = match self.producer.abort_transaction(self.options.patience) {
                Ok(()) => return Ok(Attempt::Aborted(cause)),
                Err(error) => error,
            };
            let is_retriable = transaction_error(&error).is_some_and(RDKafkaError::is_retriable);
            if !is_retriable || Instant::now() >= deadline {
                // An open transaction that can be neither committed nor aborted: only a new producer can end it.
                return Err(self.fenced(error).unwrap_or_else(|source| KafkaError::Ambiguous { epoch, source }));
            }
        }
    }

    /// Records first and the cursor behind them, so that a crash in between repeats records and loses none.
    fn one_by_one(&self, sink: &str, epoch: u64, wanted: Wanted<'_>, deadline: Instant) -> Attempt {
        let out = self
            .send_all(wanted, deadline)
            .and_then(|()| self.flush(deadline))
            .and_then(|()| self.send_cursor(sink, epoch, deadline))
            .and_then(|()| self.flush(deadline));
        out.map_or_else(Attempt::Aborted, |()| Attempt::Done)
    }

    fn flush(&self, deadline: Instant) -> Result<(), ClientError> {
        self.producer.flush(deadline.saturating_duration_since(Instant::now()))?;
        let heard = self.producer.context().heard();
        heard.undelivered.first().map_or(Ok(()), |(_, error)| Err(error.clone()))
    }

    fn send_all(&self, wanted: Wanted<'_>, deadline: Instant) -> Result<(), ClientError> {
        let Wanted { records, left_out, is_alone } = wanted;
        for (at, record) in records.iter().enumerate().filter(|(at, _)| !left_out.contains(at)) {
            let mut out = BaseRecord::with_opaque_to(&record.topic, at).payload(&record.payload[..]);
            if let Some(key) = &record.key {
                out = out.key(&key[..]);
            }
            if let Some(time) = record.timestamp {
                out = out.timestamp(time.0.div_euclid(1000));
            }
            self.send(out, deadline)?;
            if is_alone {
                self.flush(deadline)?;
            }
        }
        Ok(())
    }

    fn send_cursor(&self, sink: &str, epoch: u64, deadline: Instant) -> Result<(), ClientError> {
        let payload = cursors::write(epoch);
        let out = BaseRecord::with_opaque_to(&self.cursors_topic, CURSOR).payload(&payload[..]);
        self.send(out.key(sink.as_bytes()).partition(0), deadline)
    }

    fn send(&self, mut record: BaseRecord<'_, [u8], [u8], usize>, deadline: Instant) -> Result<(), ClientError> {
        loop {
            match self.producer.send(record) {
                Err((ClientError::MessageProduction(Code::QueueFull), back)) if Instant::now() < deadline => {
                    // The producer's own thread works its queue off meanwhile.
                    self.producer.poll(Duration::from_millis(10));
                    record = back;
                }
                Err((error, _)) => return Err(error),
                Ok(()) => return Ok(()),
            }
        }
    }

    fn too_large(&self, records: &[SinkRecord]) -> Vec<usize> {
        // What a record batch adds to a record.
        const OVERHEAD_BYTES: usize = 128;
        let bytes = |record: &SinkRecord| record.payload.len() + record.key.as_ref().map_or(0, Bytes::len);
        let is_large = |record: &SinkRecord| bytes(record) + OVERHEAD_BYTES > self.record_bytes_max;
        records.iter().enumerate().filter(|(_, record)| is_large(record)).map(|(at, _)| at).collect()
    }

    /// Records of the last attempt that a broker found too large for their topic.
    fn refused_for_size(&self) -> Vec<usize> {
        let heard = self.producer.context().heard();
        let is_size = |error: &ClientError| error.rdkafka_error_code() == Some(Code::MessageSizeTooLarge);
        let refused = heard.undelivered.iter().filter(|(at, error)| *at != CURSOR && is_size(error));
        refused.map(|(at, _)| *at).collect()
    }

    fn trouble(&self, error: &ClientError) -> String {
        let heard = self.producer.context().heard();
        let undelivered = heard.undelivered.first().map(|(_, error)| error.to_string());
        undelivered.or_else(|| heard.trouble.clone()).unwrap_or_else(|| error.to_string())
    }

    /// The error as that of a producer that was taken over, or unchanged.
    fn fenced(&self, source: ClientError) -> Result<KafkaError, ClientError> {
        match source.rdkafka_error_code() {
            Some(Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch) => {
                Ok(KafkaError::Fenced { transactional_id: self.transactional_id.clone(), source })
            }
            _ => Err(source),
        }
    }
}

fn transaction_error(error: &ClientError) -> Option<&RDKafkaError> {
    match error {
        ClientError::Transaction(error) => Some(error),
        _ => None,
    }
}
