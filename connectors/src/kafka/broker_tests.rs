//! Claims that only a real broker can confirm: transactions, fencing, times of arrival, new partitions, deleted records.
//! They run where `WEIR_TEST_KAFKA` names one, and say that they are skipped where it does not.

use std::sync::mpsc::channel;

use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};

use super::tests::{LONG, Seen, input, line, numbered, read_all, record_to};
use super::*;

/// A broker, and names that no other test uses.
struct Real {
    address: String,
    group: String,
    topic: String,
}

/// The broker to test on, or a skip.
fn real(test: &str) -> Option<Real> {
    if let Ok(address) = std::env::var("WEIR_TEST_KAFKA") {
        let unique = uuid::Uuid::new_v4().simple();
        return Some(Real { address, group: format!("group-{unique}"), topic: format!("topic-{unique}") });
    }
    eprintln!("SKIPPED {test}: WEIR_TEST_KAFKA names no broker");
    if let Some(path) = std::env::var_os("WEIR_TEST_SKIPS") {
        use std::io::Write;
        let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
        let line = format!("kafka::broker_tests::{test}: WEIR_TEST_KAFKA names no broker\n");
        file.and_then(|mut file| file.write_all(line.as_bytes())).expect("the file of skips can be written");
    }
    None
}

impl Real {
    fn settings(&self) -> KafkaSettings {
        KafkaSettings::check(&self.address, &self.group, &Default::default()).expect("fine settings")
    }

    fn admin(&self) -> AdminClient<rdkafka::client::DefaultClientContext> {
        ClientConfig::new().set("bootstrap.servers", &self.address).create().expect("an admin client")
    }

    fn create(&self, partitions: i32, config: &[(&str, &str)]) {
        let mut topic = NewTopic::new(&self.topic, partitions, TopicReplication::Fixed(1));
        for (key, value) in config {
            topic = topic.set(key, value);
        }
        let options = AdminOptions::new().operation_timeout(Some(LONG));
        let made = futures::executor::block_on(self.admin().create_topics([&topic], &options)).expect("an answer");
        made.into_iter().for_each(|made| drop(made.expect("created")));
    }

    fn options(&self) -> SourceOptions {
        let mut options = SourceOptions::new(self.settings(), vec![input("s", &[&self.topic])]);
        options.patience = LONG;
        options
    }

    fn place(&self) -> TopicPartition {
        TopicPartition { topic: self.topic.as_str().into(), partition: 0 }
    }

    fn sink(&self) -> KafkaSink {
        let settings = self.settings();
        KafkaSink::open(SinkOptions { settings, worker: 0, is_transactional: true, patience: LONG }).expect("a sink")
    }

    fn produce(&self, partition: i32, payloads: &[String]) {
        super::tests::produce_to(&self.address, &self.topic, partition, payloads);
    }
}

#[test]
fn a_twin_is_fenced_and_nothing_of_it_is_seen() {
    let Some(real) = real("a_twin_is_fenced_and_nothing_of_it_is_seen") else { return };
    real.create(1, &[]);
    let mut old = real.sink();
    old.deliver("alerts", 1, &[record_to(&real.topic, "first")]).expect("delivered");
    let mut new = real.sink();
    assert_eq!(new.cursors().expect("readable").get("alerts"), Some(&1));
    let error = old.deliver("alerts", 2, &[record_to(&real.topic, "twin")]).err();
    assert!(matches!(error, Some(KafkaError::Fenced { .. })), "{error:?}");
    new.deliver("alerts", 2, &[record_to(&real.topic, "second")]).expect("delivered");
    let texts = read_all(real.settings(), &real.topic, 0..100);
    let texts: Vec<&str> = texts.iter().filter_map(|text| text.split_once(' ')).map(|(_, text)| text).collect();
    assert_eq!(texts, ["first", "second"]);
    assert_eq!(new.cursors().expect("readable").get("alerts"), Some(&2));
}

#[test]
fn only_the_record_that_is_too_large_for_its_topic_is_left_out() {
    let Some(real) = real("only_the_record_that_is_too_large_for_its_topic_is_left_out") else { return };
    real.create(1, &[("max.message.bytes", "3000")]);
    // Hashes, because the limit is for what remains after compression.
    let noise = |bytes: usize| -> String {
        (0..bytes as u64 / 64 + 1).map(|number| blake3::hash(&number.to_le_bytes()).to_string()).collect()
    };
    let mut records: Vec<SinkRecord> = (0..40).map(|_| record_to(&real.topic, &noise(200))).collect();
    records[7] = record_to(&real.topic, &noise(20_000));
    let delivered = real.sink().deliver("alerts", 1, &records).expect("delivered");
    assert_eq!(delivered.too_large, [7]);
    assert_eq!(read_all(real.settings(), &real.topic, 0..1000).len(), 39);
}

#[test]
fn what_a_crash_left_open_never_happened() {
    let Some(real) = real("what_a_crash_left_open_never_happened") else { return };
    real.create(1, &[]);
    real.sink().deliver("alerts", 1, &[record_to(&real.topic, "before")]).expect("delivered");
    let crashed: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &real.address)
        .set("transactional.id", format!("{}-0", real.group))
        .create()
        .expect("a producer");
    crashed.init_transactions(LONG).expect("initialised");
    crashed.begin_transaction().expect("begun");
    let cursors = format!("{}.cursors", real.group);
    for (topic, text) in [(&real.topic, "lost"), (&cursors, "{\"epoch\":2}")] {
        crashed.send(BaseRecord::to(topic).key("alerts").payload(text)).map_err(|(error, _)| error).expect("sent");
    }
    crashed.flush(LONG).expect("the broker has them");
    std::mem::forget(crashed); // A process that is gone says no goodbye.
    let mut next = real.sink();
    assert_eq!(next.cursors().expect("readable").get("alerts"), Some(&1));
    next.deliver("alerts", 2, &[record_to(&real.topic, "after")]).expect("delivered");
    let texts = read_all(real.settings(), &real.topic, 0..100);
    assert_eq!(texts.len(), 2, "{texts:?}");
    assert!(texts[0].ends_with("before") && texts[1].ends_with("after"));
}

#[test]
fn a_partition_that_ends_with_a_marker_is_read_to_its_end_and_idle() {
    let Some(real) = real("a_partition_that_ends_with_a_marker_is_read_to_its_end_and_idle") else { return };
    real.create(1, &[]);
    let mut record = record_to(&real.topic, &line("one"));
    record.key = Some("k".into());
    real.sink().deliver("alerts", 1, &[record]).expect("delivered");
    let mut options = real.options();
    options.idle_after = Duration::from_millis(500);
    let (events, received) = channel();
    let source = KafkaSource::start(options, events).expect("started");
    let mut seen = Seen::default();
    seen.has_headers = false;
    seen.until(&received, |seen| seen.idle.len() == 1);
    source.commit(seen.positions.clone());
    source.stop();
    assert_eq!(seen.texts("s", &real.topic, 0), ["one"]);
    // The group's positions are there for tools that show lag.
    let tool: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &real.address)
        .set("group.id", &real.group)
        .create()
        .expect("a consumer");
    let mut wanted = TopicPartitionList::new();
    wanted.add_partition(&real.topic, 0);
    let committed = tool.committed_offsets(wanted, LONG).expect("an answer");
    assert_eq!(committed.elements()[0].offset(), Offset::Offset(1));
}

#[test]
fn a_start_may_be_a_time_and_arrival_is_the_brokers_clock() {
    let Some(real) = real("a_start_may_be_a_time_and_arrival_is_the_brokers_clock") else { return };
    real.create(1, &[("message.timestamp.type", "LogAppendTime")]);
    real.produce(0, &[line("old")]);
    let mut arrivals = Vec::new();
    let mut reader = RangeReader::open(real.settings(), LONG).expect("a reader");
    let mut note = |record: &crate::decode::Record<'_>| arrivals.push((record.arrival, record.timestamp));
    reader.read(&real.place(), 0..1, &mut note).expect("readable");
    let (arrival, timestamp) = arrivals[0];
    assert!(arrival.is_some() && arrival == timestamp);
    let after = weir_engine::EventTime(arrival.map_or(0, |time| time.0) + 1);
    while chrono::Utc::now().timestamp_micros() <= after.0 + 1000 {
        std::thread::yield_now();
    }
    real.produce(0, &[line("new")]);
    let mut options = real.options();
    options.start = Start::Time(after);
    let (events, received) = channel();
    let source = KafkaSource::start(options, events).expect("started");
    let mut seen = Seen::default();
    seen.until(&received, |seen| !seen.rows.is_empty());
    source.stop();
    assert_eq!(seen.texts("s", &real.topic, 0), ["new"]);
}

#[test]
fn a_partition_that_is_added_is_read_from_its_beginning() {
    let Some(real) = real("a_partition_that_is_added_is_read_from_its_beginning") else { return };
    real.create(1, &[]);
    let mut options = real.options();
    options.discover_every = Duration::from_millis(200);
    options.start = Start::Latest;
    let (events, received) = channel();
    let source = KafkaSource::start(options, events).expect("started");
    let more = NewPartitions::new(&real.topic, 2);
    let admin = real.admin();
    let answer = admin.create_partitions([&more], &AdminOptions::new().operation_timeout(Some(LONG)));
    futures::executor::block_on(answer).expect("an answer").into_iter().for_each(|made| drop(made.expect("made")));
    real.produce(1, &numbered(0, 10));
    let mut seen = Seen::default();
    seen.until(&received, |seen| seen.rows.len() == 10);
    source.stop();
    assert_eq!(seen.texts("s", &real.topic, 1).len(), 10);
}

#[test]
fn records_that_were_deleted_unread_are_an_error() {
    let Some(real) = real("records_that_were_deleted_unread_are_an_error") else { return };
    real.create(1, &[]);
    real.produce(0, &numbered(0, 10));
    let mut until = TopicPartitionList::new();
    until.add_partition_offset(&real.topic, 0, Offset::Offset(5)).expect("an offset");
    let admin = real.admin();
    let deleted = admin.delete_records(&until, &AdminOptions::new().operation_timeout(Some(LONG)));
    futures::executor::block_on(deleted).expect("deleted");
    let mut options = real.options();
    options.positions.advance(&real.place(), 3);
    let error = KafkaSource::start(options, channel().0).err();
    assert!(matches!(error, Some(KafkaError::PositionLost { wanted: 3, low: 5, high: 10, .. })), "{error:?}");
    let mut reader = RangeReader::open(real.settings(), LONG).expect("a reader");
    assert!(matches!(reader.read(&real.place(), 3..8, &mut |_| {}), Err(KafkaError::PositionLost { .. })));
}

#[test]
fn only_missing_topics_are_made() {
    let Some(real) = real("only_missing_topics_are_made") else { return };
    let spec =
        |is_compacted| TopicSpec { name: real.topic.clone(), partitions: Some(3), replication: None, is_compacted };
    let made = |is_compacted| create_topics(&real.settings(), &[spec(is_compacted)], LONG).expect("an answer");
    assert_eq!(made(true), std::slice::from_ref(&real.topic));
    assert!(made(false).is_empty());
}
