//! Exactly these offsets again: the archive reads for itself what the engine has read.

use std::ops::Range;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError as ClientError;
use rdkafka::message::Message;
use rdkafka::types::RDKafkaErrorCode as Code;
use rdkafka::{Offset, TopicPartitionList};

use super::context::Context;
use super::partitions::{headers, record};
use super::{KafkaError, KafkaSettings, connect};
use crate::decode::Record;
use crate::position::TopicPartition;

/// Reads stretches of partitions, one after the other.
pub struct RangeReader {
    settings: KafkaSettings,
    consumer: BaseConsumer<Context>,
    patience: Duration,
}

impl RangeReader {
    /// Reaches the cluster. `patience` is also how long a stretch may come to a standstill.
    ///
    /// # Errors
    /// A cluster that cannot be reached in time or refuses us.
    pub fn open(settings: KafkaSettings, patience: Duration) -> Result<Self, KafkaError> {
        let mut config = settings.consumer();
        // Its own client name, so that a broker's log tells the readers apart.
        config.set("client.id", format!("weir-{}-range", settings.group()));
        let consumer = connect(&config, &settings, patience)?;
        Ok(Self { settings, consumer, patience })
    }

    /// Hands every record of a stretch to `each`, in order; says how many there were.
    ///
    /// Offsets without a record (compacted, or markers of transactions) are passed over.
    ///
    /// # Errors
    /// Records that are not kept any more, or a cluster that does not answer. Some records may have been handed out then.
    pub fn read(
        &mut self,
        place: &TopicPartition,
        offsets: Range<i64>,
        each: &mut dyn FnMut(&Record<'_>),
    ) -> Result<u64, KafkaError> {
        if offsets.is_empty() {
            return Ok(0);
        }
        self.require(place, &offsets)?;
        self.assign(place, Some(offsets.start))?;
        let result = self.read_assigned(place, offsets, each);
        self.assign(place, None)?;
        result
    }

    fn require(&self, place: &TopicPartition, offsets: &Range<i64>) -> Result<(), KafkaError> {
        let watermarks = self.consumer.fetch_watermarks(&place.topic, place.partition, self.patience);
        let (low, high) = watermarks.map_err(|source| self.failed(source))?;
        let is_kept = low <= offsets.start && offsets.start <= high;
        let lost = || KafkaError::PositionLost { partition: place.clone(), wanted: offsets.start, low, high };
        is_kept.then_some(()).ok_or_else(lost)
    }

    fn assign(&self, place: &TopicPartition, start: Option<i64>) -> Result<(), KafkaError> {
        let mut list = TopicPartitionList::new();
        if let Some(start) = start {
            list.add_partition_offset(&place.topic, place.partition, Offset::Offset(start))
                .map_err(KafkaError::Client)?;
        }
        self.consumer.assign(&list).map_err(KafkaError::Client)
    }

    fn read_assigned(
        &self,
        place: &TopicPartition,
        offsets: Range<i64>,
        each: &mut dyn FnMut(&Record<'_>),
    ) -> Result<u64, KafkaError> {
        let mut count = 0;
        let mut progress = Instant::now();
        loop {
            match self.consumer.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => {
                    progress = Instant::now();
                    let offset = message.offset();
                    if offsets.contains(&offset) {
                        count += 1;
                        each(&record(&message, &headers(&message), &place.at(offset)));
                    }
                    if offset + 1 >= offsets.end {
                        return Ok(count);
                    }
                }
                // Everything up to the end of the partition was seen; behind the last record there are only markers.
                Some(Err(ClientError::PartitionEOF(partition))) if partition == place.partition => return Ok(count),
                Some(Err(ClientError::MessageConsumption(Code::OffsetOutOfRange | Code::AutoOffsetReset))) => {
                    self.require(place, &offsets)?;
                }
                Some(Err(error @ ClientError::MessageConsumptionFatal(_))) => return Err(self.failed(error)),
                Some(Err(error)) => tracing::debug!(target: "weir::kafka", %error, %place, "reading again goes on"),
                None => {}
            }
            if progress.elapsed() >= self.patience {
                return Err(self.failed(ClientError::MessageConsumption(Code::OperationTimedOut)));
            }
        }
    }

    fn failed(&self, source: ClientError) -> KafkaError {
        let heard = self.consumer.context().heard().trouble.clone();
        let servers = self.settings.bootstrap_servers();
        let trouble = heard.unwrap_or_else(|| format!("{servers} does not answer ({source})"));
        KafkaError::Read { trouble, source }
    }
}
