//! Apache Kafka: records in, records out exactly once, and stretches of a partition read again.
//!
//! [`KafkaSource`] reads by `assign` with explicit positions and never by `subscribe`: a twin that was fenced must not be
//! able to take partitions. [`KafkaSink`] writes the records of an epoch and its own cursor in one transaction;
//! [`Courier`] sends copies before that, and nobody waits for them.
//! [`RangeReader`] reads exactly the offsets it is told, for the archive. All of them block and belong on threads of their
//! own; none of them knows what records mean.
//!
//! Reading order: `settings` and `security` (what an administrator writes), `context` (what the client tells), `source`
//! with `partitions` and `budget`, `sink` with `cursors`, `courier`, `range`.

mod budget;
mod context;
mod courier;
mod cursors;
mod known;
mod oauth;
mod partitions;
mod range;
mod reader;
mod security;
mod settings;
mod sink;
mod source;

#[cfg(test)]
mod broker_tests;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError as ClientError;
use rdkafka::metadata::Metadata;

use self::context::Context;
use crate::decode::DecodeError;
use crate::position::TopicPartition;

pub use self::budget::{Budget, Permit};
pub use self::courier::{Courier, Left, LeftReason, Settle};
pub use self::cursors::{TopicSpec, create_topics};
pub use self::range::RangeReader;
pub use self::settings::{KafkaSettings, SettingProblem, Start};
pub use self::sink::{Delivered, KafkaSink, SinkOptions, SinkRecord};
pub use self::source::{Counts, KafkaSource, Share, SourceEvent, SourceOptions, StreamInput};

/// Why Kafka cannot be used, or not any more.
#[derive(Debug, thiserror::Error)]
pub enum KafkaError {
    /// librdkafka refuses the settings. The administrator has to mend them.
    #[error("the Kafka client cannot be made: {0}")]
    Client(#[source] ClientError),
    /// No broker answers. The outside; trying again later may help.
    #[error("cannot reach Kafka at {servers} after {seconds} s: {trouble}")]
    Unreachable {
        /// The brokers that were tried.
        servers: String,
        /// For how long.
        seconds: u64,
        /// The last thing the client said.
        trouble: String,
    },
    /// The brokers do not accept who we are. The administrator has to mend the settings.
    #[error("Kafka at {servers} refuses this client: {trouble}")]
    Refused {
        /// The brokers.
        servers: String,
        /// What they said.
        trouble: String,
    },
    /// A topic that does not exist. The administrator has to create it or mend its name.
    #[error("Kafka has no topic `{topic}`{}", hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default())]
    UnknownTopic {
        /// The topic.
        topic: String,
        /// The nearest one.
        hint: Option<String>,
    },
    /// A topic that exists and cannot be read. The administrator has to grant it.
    #[error("topic `{topic}` cannot be read: {trouble}")]
    ClosedTopic {
        /// The topic.
        topic: String,
        /// What the brokers said.
        trouble: String,
    },
    /// A pattern that is no regular expression. The author of the stream has to mend it.
    #[error("`{pattern}` is no topic pattern")]
    BadPattern {
        /// The pattern.
        pattern: String,
        /// Why.
        source: Box<regex::Error>,
    },
    /// A position that Kafka does not have: records were deleted unread, or the topic was made anew. Someone must decide.
    #[error(
        "{partition} goes on at offset {wanted}, but Kafka keeps {low} to {high}: records were deleted before they were \
         read, or the topic was made anew"
    )]
    PositionLost {
        /// The partition.
        partition: TopicPartition,
        /// Where reading would have to go on.
        wanted: i64,
        /// The oldest offset that is kept.
        low: i64,
        /// The offset behind the newest record.
        high: i64,
    },
    /// A stream cannot be decoded.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// Reading broke down for good.
    #[error("reading from Kafka failed: {trouble}")]
    Read {
        /// What the client said.
        trouble: String,
        /// Its error.
        source: ClientError,
    },
    /// A topic cannot be created.
    #[error("cannot create topic `{topic}`: {trouble}")]
    CreateTopic {
        /// The topic.
        topic: String,
        /// What the brokers said.
        trouble: String,
    },
    /// Another process took over as this worker. This one must end.
    #[error("another process runs as `{transactional_id}`; this one must end")]
    Fenced {
        /// The transactional id.
        transactional_id: String,
        /// What the client said.
        source: ClientError,
    },
    /// Delivery failed and can be tried again; nothing of it is visible.
    #[error("epoch {epoch} was not delivered: {trouble}")]
    NotDelivered {
        /// The epoch.
        epoch: u64,
        /// What the client said.
        trouble: String,
        /// Its error.
        source: ClientError,
    },
    /// Nobody knows whether a delivery happened. The process must end: only a new start can find out.
    #[error("it is unknown whether epoch {epoch} was delivered; a new start will find out")]
    Ambiguous {
        /// The epoch.
        epoch: u64,
        /// What the client said.
        source: ClientError,
    },
    /// A cursor in the cursors topic that Weir did not write.
    #[error("the cursor of `{sink}` in `{topic}` is not one of Weir's: {text:?}")]
    BadCursor {
        /// The topic.
        topic: String,
        /// The sink.
        sink: String,
        /// What is there.
        text: String,
        /// Why it cannot be read.
        source: serde_json::Error,
    },
}

/// A topic as the brokers have it.
struct Topic {
    name: String,
    partitions: Vec<i32>,
}

/// Makes a consumer and waits until a broker answers.
fn connect(
    config: &ClientConfig,
    settings: &KafkaSettings,
    patience: Duration,
) -> Result<BaseConsumer<Context>, KafkaError> {
    let context = Context::new(oauth::Oauth::of(settings));
    let consumer: BaseConsumer<Context> = config.create_with_context(context).map_err(KafkaError::Client)?;
    let started = Instant::now();
    let mut attempts = 0_u32;
    loop {
        let left = patience.saturating_sub(started.elapsed());
        let answer = consumer.fetch_metadata(None, left.min(Duration::from_secs(3)));
        // The client's own words wait in its queue until somebody polls.
        poll_events(&consumer);
        let error = match answer {
            Ok(_) => return Ok(consumer),
            Err(error) => error,
        };
        attempts += 1;
        let heard = consumer.context().heard();
        let trouble = heard.trouble.clone().unwrap_or_else(|| error.to_string());
        if heard.is_refused {
            return Err(KafkaError::Refused { servers: settings.bootstrap_servers().to_owned(), trouble });
        }
        drop(heard);
        if started.elapsed() >= patience {
            let servers = settings.bootstrap_servers().to_owned();
            return Err(KafkaError::Unreachable { servers, seconds: patience.as_secs(), trouble });
        }
        tracing::warn!(target: "weir::kafka", servers = settings.bootstrap_servers(), attempts, trouble, "no broker answers yet");
    }
}

/// Lets the client tell what it has to tell while nothing is assigned to it. A moment without news ends it, so that a
/// caller who tries again does not spin.
fn poll_events(consumer: &BaseConsumer<Context>) {
    for _ in 0..100 {
        if consumer.poll(Duration::from_millis(50)).is_none() {
            return;
        }
    }
}

fn topics_of(metadata: &Metadata) -> impl Iterator<Item = Topic> {
    metadata.topics().iter().filter(|topic| topic.error().is_none()).map(|topic| Topic {
        name: topic.name().to_owned(),
        partitions: topic.partitions().iter().map(rdkafka::metadata::MetadataPartition::id).collect(),
    })
}
