//! Topics that Weir makes, and the compacted one in which each sink keeps how far it has delivered.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError as ClientError;
use rdkafka::message::Message;
use rdkafka::types::RDKafkaErrorCode as Code;
use rdkafka::{Offset, TopicPartitionList};
use serde::{Deserialize, Serialize};

use super::context::Context;
use super::oauth::Oauth;
use super::{KafkaError, KafkaSettings, connect, topics_of};

/// A topic that has to exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    /// Its name.
    pub name: String,
    /// Its partitions; `None` for what the brokers are configured to.
    pub partitions: Option<u16>,
    /// Its replicas; `None` for what the brokers are configured to.
    pub replication: Option<u16>,
    /// Whether only the newest record of each key is kept.
    pub is_compacted: bool,
}

/// Makes the topics that do not exist yet; says which ones those were.
///
/// # Errors
/// A cluster that cannot be reached in time, or a topic that the brokers refuse to make.
pub fn create_topics(
    settings: &KafkaSettings,
    topics: &[TopicSpec],
    patience: Duration,
) -> Result<Vec<String>, KafkaError> {
    let consumer = connect(&settings.consumer(), settings, patience)?;
    let existing = consumer.fetch_metadata(None, patience).map_err(KafkaError::Client)?;
    let existing: Vec<String> = topics_of(&existing).map(|topic| topic.name).collect();
    let missing: Vec<&TopicSpec> = topics.iter().filter(|topic| !existing.contains(&topic.name)).collect();
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    let admin: AdminClient<Context> =
        settings.admin().create_with_context(Context::new(Oauth::of(settings))).map_err(KafkaError::Client)?;
    let new: Vec<NewTopic<'_>> = missing.iter().map(|topic| topic.as_new()).collect();
    let options = AdminOptions::new().request_timeout(Some(patience)).operation_timeout(Some(patience));
    let results = futures::executor::block_on(admin.create_topics(&new, &options)).map_err(KafkaError::Client)?;
    for result in results {
        match result {
            Ok(topic) => tracing::info!(target: "weir::kafka", topic, "topic created"),
            // Another worker was faster.
            Err((_, Code::TopicAlreadyExists)) => {}
            Err((topic, code)) => {
                return Err(KafkaError::CreateTopic { topic, trouble: code.to_string() });
            }
        }
    }
    Ok(missing.iter().map(|topic| topic.name.clone()).collect())
}

impl TopicSpec {
    fn as_new(&self) -> NewTopic<'_> {
        let or_default = |number: Option<u16>| number.map_or(-1, i32::from);
        let replication = TopicReplication::Fixed(or_default(self.replication));
        let topic = NewTopic::new(&self.name, or_default(self.partitions), replication);
        if self.is_compacted { topic.set("cleanup.policy", "compact") } else { topic }
    }
}

/// The name of the topic in which a group keeps its cursors.
pub(super) fn topic_of(group: &str) -> String {
    format!("{group}.cursors")
}

/// What stands in that topic, under the name of a sink.
#[derive(Debug, Serialize, Deserialize)]
struct Cursor {
    epoch: u64,
}

/// A cursor as it is written.
pub(super) fn write(epoch: u64) -> Vec<u8> {
    format!("{{\"epoch\":{epoch}}}").into_bytes()
}

/// The newest cursor of every sink of the group. Call this only after the producer's transactions were initialised: that is
/// what ends a transaction which a predecessor left open.
pub(super) fn read(settings: &KafkaSettings, patience: Duration) -> Result<BTreeMap<String, u64>, KafkaError> {
    let topic = topic_of(settings.group());
    let consumer = connect(&settings.consumer(), settings, patience)?;
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&topic, 0, Offset::Beginning).map_err(KafkaError::Client)?;
    consumer.assign(&list).map_err(KafkaError::Client)?;
    let mut cursors = BTreeMap::new();
    let mut progress = Instant::now();
    loop {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                progress = Instant::now();
                let sink = String::from_utf8_lossy(message.key().unwrap_or_default()).into_owned();
                let text = message.payload().unwrap_or_default();
                let cursor: Cursor = serde_json::from_slice(text).map_err(|source| KafkaError::BadCursor {
                    topic: topic.clone(),
                    sink: sink.clone(),
                    text: String::from_utf8_lossy(text).into_owned(),
                    source,
                })?;
                cursors.insert(sink, cursor.epoch);
            }
            Some(Err(ClientError::PartitionEOF(_))) => return Ok(cursors),
            Some(Err(ClientError::MessageConsumption(Code::UnknownTopicOrPartition | Code::UnknownPartition))) => {
                return Err(KafkaError::UnknownTopic { topic, hint: None });
            }
            Some(Err(error)) => tracing::debug!(target: "weir::kafka", %error, "reading the cursors goes on"),
            None => {}
        }
        if progress.elapsed() >= patience {
            let source = ClientError::MessageConsumption(Code::OperationTimedOut);
            let trouble = consumer.context().heard().trouble.clone();
            let trouble = trouble.unwrap_or_else(|| format!("`{topic}` cannot be read to its end"));
            return Err(KafkaError::Read { trouble, source });
        }
    }
}
