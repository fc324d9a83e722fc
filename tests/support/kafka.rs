//! Topics of a real broker: made, filled and read to their end.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};

const TIMEOUT: Duration = Duration::from_secs(60);

/// A record of a topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stored {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) payload: Vec<u8>,
}

/// A name that no other run of the tests uses on this broker.
pub(crate) fn unique(name: &str) -> String {
    format!("{name}-{}", uuid::Uuid::new_v4().simple())
}

pub(crate) fn create_topic(address: &str, topic: &str, partitions: i32) {
    create_topic_with(address, topic, partitions, &[]);
}

/// The same with settings of the topic.
pub(crate) fn create_topic_with(address: &str, topic: &str, partitions: i32, settings: &[(&str, &str)]) {
    let admin: AdminClient<DefaultClientContext> = config(address).create().expect("an admin client");
    let mut topic = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
    for (key, value) in settings {
        topic = topic.set(key, value);
    }
    let options = AdminOptions::new().operation_timeout(Some(TIMEOUT));
    let results = futures::executor::block_on(admin.create_topics([&topic], &options)).expect("topics can be created");
    for result in results {
        result.expect("the topic can be created");
    }
}

pub(crate) fn delete_topic(address: &str, topic: &str) {
    let admin: AdminClient<DefaultClientContext> = config(address).create().expect("an admin client");
    let options = AdminOptions::new().operation_timeout(Some(TIMEOUT));
    let results = futures::executor::block_on(admin.delete_topics(&[topic], &options)).expect("topics can be deleted");
    for result in results {
        result.expect("the topic can be deleted");
    }
}

/// Writes the payloads to their partitions, in order within each partition, and waits until the broker has them.
pub(crate) fn produce<'a>(address: &str, topic: &str, records: impl IntoIterator<Item = (i32, &'a [u8])>) {
    Writer::new(address).write(topic, records);
}

/// Writes to topics as often as it is asked to.
pub(crate) struct Writer {
    producer: BaseProducer,
}

impl Writer {
    pub(crate) fn new(address: &str) -> Self {
        let producer = config(address)
            .set("linger.ms", "20")
            .set("enable.idempotence", "true") // a retried batch keeps its place in the partition
            .set("queue.buffering.max.messages", "1000000")
            .create()
            .expect("a producer");
        Self { producer }
    }

    /// As [`produce`].
    pub(crate) fn write<'a>(&self, topic: &str, records: impl IntoIterator<Item = (i32, &'a [u8])>) {
        for (partition, payload) in records {
            let mut record = BaseRecord::<(), [u8]>::to(topic).partition(partition).payload(payload);
            while let Err((error, refused)) = self.producer.send(record) {
                let full = KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull);
                assert_eq!(error, full, "producing to {topic}");
                record = refused;
                self.producer.poll(Duration::from_millis(50));
            }
            self.producer.poll(Duration::ZERO);
        }
        self.producer.flush(TIMEOUT).expect("the broker takes all records");
    }
}

/// Everything in the topic that a reader of committed transactions sees, up to its end at this moment.
pub(crate) fn read_committed(address: &str, topic: &str) -> Vec<Stored> {
    let consumer = reader(address, topic);
    let partitions = partitions(&consumer, topic) as usize;
    let mut ended = BTreeSet::new();
    let mut records = Vec::new();
    while ended.len() < partitions {
        match consumer.poll(TIMEOUT).unwrap_or_else(|| panic!("{topic}: nothing more from the broker")) {
            Ok(message) => records.push(stored(&message)),
            Err(KafkaError::PartitionEOF(partition)) => drop(ended.insert(partition)),
            Err(error) => panic!("{topic}: {error}"),
        }
    }
    records
}

/// A reader that stays at the end of a topic and keeps what it has read.
pub(crate) struct Tail {
    consumer: BaseConsumer,
    records: Vec<Stored>,
}

impl Tail {
    pub(crate) fn new(address: &str, topic: &str) -> Self {
        Self { consumer: reader(address, topic), records: Vec::new() }
    }

    /// The next record, if it comes within a time and nothing else is told before.
    pub(crate) fn next(&self, within: Duration) -> Option<Stored> {
        match self.consumer.poll(within)? {
            Ok(message) => Some(stored(&message)),
            Err(KafkaError::PartitionEOF(_)) => None,
            // A broker that is away comes back in the tests that send it away.
            Err(KafkaError::MessageConsumption(error)) if is_passing(error) => None,
            Err(error) => panic!("reading the topic: {error}"),
        }
    }

    /// Reads until what was read so far is `enough`, which is asked whenever nothing more is there to read; false where
    /// it never was.
    pub(crate) fn wait_until(&mut self, patience: Duration, enough: impl Fn(&[Stored]) -> bool) -> bool {
        let deadline = Instant::now() + patience;
        let mut unseen = true;
        loop {
            match self.next(Duration::from_millis(100)) {
                Some(record) => {
                    self.records.push(record);
                    unseen = true;
                }
                None => {
                    if std::mem::take(&mut unseen) && enough(&self.records) {
                        return true;
                    }
                    if Instant::now() >= deadline {
                        return false;
                    }
                }
            }
        }
    }
}

/// A consumer of the whole topic that sees committed transactions only.
fn reader(address: &str, topic: &str) -> BaseConsumer {
    let consumer: BaseConsumer = config(address)
        .set("group.id", unique("reader"))
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .create()
        .expect("a consumer");
    let mut assignment = TopicPartitionList::new();
    for partition in 0..partitions(&consumer, topic) {
        assignment.add_partition_offset(topic, partition, Offset::Beginning).expect("a partition can be assigned");
    }
    consumer.assign(&assignment).expect("the topic can be read");
    consumer
}

fn is_passing(error: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode::{AllBrokersDown, BrokerTransportFailure, OperationTimedOut, Resolve};
    matches!(error, AllBrokersDown | BrokerTransportFailure | OperationTimedOut | Resolve)
}

fn stored(message: &BorrowedMessage<'_>) -> Stored {
    Stored {
        partition: message.partition(),
        offset: message.offset(),
        key: message.key().map(<[u8]>::to_vec),
        payload: message.payload().unwrap_or_default().to_vec(),
    }
}

/// How many partitions the topic has; none where it does not exist.
fn partitions(consumer: &BaseConsumer, topic: &str) -> i32 {
    let metadata = consumer.fetch_metadata(Some(topic), TIMEOUT).expect("the broker answers");
    metadata.topics().iter().find(|found| found.name() == topic).map_or(0, |found| found.partitions().len() as i32)
}

fn config(address: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", address);
    config
}

/// RFC 4648, section 4.
pub(crate) fn from_base64(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::new();
    let (mut bits, mut held) = (0_u32, 0);
    for digit in text.bytes().filter(|digit| *digit != b'=') {
        let value = ALPHABET.iter().position(|letter| *letter == digit).expect("a digit of base64");
        bits = bits << 6 | value as u32;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    bytes
}
