//! Claims about Kafka, on librdkafka's mock cluster. It has no transaction markers, so that exactly-once is proven by the
//! tests at the root, on a real broker.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type};

use rdkafka::message::{Header as KafkaHeader, OwnedHeaders};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use weir_engine::catalog::{Format, Stream, TIME_TYPE, system};
use weir_engine::{ColumnSet, PartitionId};

use super::*;
use crate::decode::RejectReason;
use crate::position::Positions;

pub(super) const LONG: Duration = Duration::from_secs(20);

type Cluster = MockCluster<'static, DefaultProducerContext>;

fn cluster(topics: &[(&str, i32)]) -> Cluster {
    let cluster = MockCluster::new(1).expect("a mock cluster");
    topics.iter().for_each(|(topic, partitions)| cluster.create_topic(topic, *partitions, 1).expect("a topic"));
    cluster
}

fn settings(cluster: &Cluster) -> KafkaSettings {
    KafkaSettings::check(&cluster.bootstrap_servers(), "weir", &BTreeMap::new()).expect("fine settings")
}

pub(super) fn input(name: &str, topics: &[&str]) -> StreamInput {
    let columns = vec![Field::new("time", TIME_TYPE, true), Field::new("text", DataType::Utf8View, true)];
    let stream = Stream {
        name: name.into(),
        columns: columns.into(),
        open: false,
        topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
        format: Format::Json,
        event_time: "time".into(),
        time_zone: chrono_tz::Tz::UTC,
        lateness_us: 0,
        future_guard_us: 0,
        event_id: None,
        tenant: None,
    };
    let all = stream.all_columns();
    let names = ["text", system::OFFSET, system::KEY, system::HEADERS];
    let find = |name: &&str| stream.columns.iter().chain(&all).find(|field| field.name() == name).cloned();
    let columns = ColumnSet { columns: names.iter().filter_map(find).collect() };
    StreamInput { stream: Arc::new(stream), columns }
}

fn options(cluster: &Cluster, streams: Vec<StreamInput>) -> SourceOptions {
    let mut options = SourceOptions::new(settings(cluster), streams);
    options.patience = LONG;
    options
}

pub(super) fn line(text: &str) -> String {
    format!("{{\"time\":1577934245,\"text\":\"{text}\"}}")
}

/// Writes records to a partition and waits until the cluster has them.
fn produce(cluster: &Cluster, topic: &str, partition: i32, payloads: &[String]) {
    produce_to(&cluster.bootstrap_servers(), topic, partition, payloads);
}

pub(super) fn produce_to(address: &str, topic: &str, partition: i32, payloads: &[String]) {
    let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", address).create().expect("a producer");
    for payload in payloads {
        let headers = OwnedHeaders::new().insert(KafkaHeader { key: "h", value: Some("v") });
        let record = BaseRecord::to(topic).partition(partition).key("k").payload(payload).headers(headers);
        producer.send(record).map_err(|(error, _)| error).expect("room in the queue");
        producer.poll(Duration::ZERO);
    }
    producer.flush(LONG).expect("delivered");
}

/// What came out of a source so far.
pub(super) struct Seen {
    /// Stream, partition, offset, text.
    pub(super) rows: Vec<(String, TopicPartition, i64, String)>,
    rejected: Vec<(i64, RejectReason)>,
    pub(super) idle: Vec<PartitionId>,
    places: Vec<(TopicPartition, i64)>,
    pub(super) positions: Positions,
    failed: Option<KafkaError>,
    is_stopped: bool,
    /// Whether records carry the header that `produce` writes.
    pub(super) has_headers: bool,
}

impl Default for Seen {
    fn default() -> Self {
        Self {
            rows: Vec::new(),
            rejected: Vec::new(),
            idle: Vec::new(),
            places: Vec::new(),
            positions: Positions::default(),
            failed: None,
            is_stopped: false,
            has_headers: true,
        }
    }
}

impl Seen {
    fn take(&mut self, event: SourceEvent) {
        match event {
            SourceEvent::Partition { place, next, .. } => self.places.push((place, next)),
            SourceEvent::Idle { partition, .. } => self.idle.push(partition),
            SourceEvent::Failed(error) => self.failed = Some(error),
            SourceEvent::Stopped => self.is_stopped = true,
            SourceEvent::Batch { outputs, .. } => {
                for output in outputs {
                    self.take_rows(&output.batch.stream, &output.partition, &output.batch.rows);
                    self.rejected
                        .extend(output.rejected.iter().map(|refused| (refused.position.offset, refused.reason)));
                    self.positions.advance(&output.partition, output.next);
                }
            }
        }
    }

    fn take_rows(&mut self, stream: &str, place: &TopicPartition, rows: &RecordBatch) {
        let texts = rows.column(0).as_string_view();
        let offsets = rows.column(1).as_primitive::<Int64Type>();
        for row in 0..rows.num_rows() {
            assert_eq!(rows.column(2).as_string_view().value(row), "k");
            assert_eq!(rows.column(3).as_string_view().value(row) == "{\"h\":\"v\"}", self.has_headers);
            self.rows.push((stream.into(), place.clone(), offsets.value(row), texts.value(row).into()));
        }
    }

    pub(super) fn until(&mut self, events: &Receiver<SourceEvent>, is_enough: impl Fn(&Self) -> bool) {
        let started = Instant::now();
        while !is_enough(self) {
            match events.recv_timeout(LONG.saturating_sub(started.elapsed())) {
                Ok(event) => self.take(event),
                Err(RecvTimeoutError::Timeout) => panic!("that did not come: {} rows so far", self.rows.len()),
                Err(RecvTimeoutError::Disconnected) => panic!("the source is gone"),
            }
        }
    }

    pub(super) fn texts(&self, stream: &str, topic: &str, partition: i32) -> Vec<&str> {
        let wanted = |(name, place, ..): &&(String, TopicPartition, i64, String)| {
            name == stream && &*place.topic == topic && place.partition == partition
        };
        self.rows.iter().filter(wanted).map(|(.., text)| text.as_str()).collect()
    }
}

pub(super) fn numbered(from: usize, to: usize) -> Vec<String> {
    (from..to).map(|number| line(&format!("number {number}"))).collect()
}

#[test]
fn topics_and_patterns_feed_their_streams_in_order_and_every_record_is_accounted_for() {
    let cluster = cluster(&[("logs.a", 2), ("logs.b", 1), ("other", 1)]);
    produce(&cluster, "logs.a", 0, &[line("one"), "{\"broken".into(), String::new(), line("two")]);
    produce(&cluster, "logs.a", 1, &numbered(0, 5000));
    produce(&cluster, "logs.b", 0, &[line("three")]);
    produce(&cluster, "other", 0, &[line("four")]);
    let streams = vec![input("all", &["^logs\\..*"]), input("some", &["logs.b", "other"])];
    let (events, received) = channel();
    let source = KafkaSource::start(options(&cluster, streams), events).expect("started");
    let mut seen = Seen::default();
    seen.until(&received, |seen| seen.rows.len() + seen.rejected.len() == 4 + 5000 + 2 + 1);
    source.stop();
    seen.until(&received, |seen| seen.is_stopped);
    assert_eq!(seen.places.len(), 4);
    assert_eq!(seen.texts("all", "logs.a", 0), ["one", "two"]);
    assert_eq!(seen.rejected, [(1, RejectReason::TruncatedJson), (2, RejectReason::Empty)]);
    let expected: Vec<String> = (0..5000).map(|number| format!("number {number}")).collect();
    assert_eq!(seen.texts("all", "logs.a", 1), expected);
    assert_eq!((seen.texts("all", "logs.b", 0), seen.texts("some", "logs.b", 0)), (vec!["three"], vec!["three"]));
    assert_eq!(seen.texts("some", "other", 0), ["four"]);
}

#[test]
fn a_second_start_goes_on_where_the_first_stopped() {
    let cluster = cluster(&[("t", 1)]);
    produce(&cluster, "t", 0, &numbered(0, 100));
    let mut positions = Positions::default();
    let mut texts = Vec::new();
    for round in 0..2 {
        let mut options = options(&cluster, vec![input("s", &["t"])]);
        options.positions = positions.clone();
        let (events, received) = channel();
        let source = KafkaSource::start(options, events).expect("started");
        let mut seen = Seen::default();
        seen.until(&received, |seen| seen.rows.len() == 100);
        source.commit(seen.positions.clone());
        source.stop();
        seen.until(&received, |seen| seen.is_stopped);
        assert_eq!(seen.places[0].1, round * 100);
        texts.extend(seen.rows.into_iter().map(|(.., text)| text));
        positions = seen.positions;
        produce(&cluster, "t", 0, &numbered(100, 200));
    }
    assert_eq!(texts, (0..200).map(|number| format!("number {number}")).collect::<Vec<_>>());
}

#[test]
fn latest_begins_behind_what_is_there() {
    let cluster = cluster(&[("t", 1)]);
    produce(&cluster, "t", 0, &numbered(0, 10));
    let mut options = options(&cluster, vec![input("s", &["t"])]);
    options.start = Start::Latest;
    let (events, received) = channel();
    let source = KafkaSource::start(options, events).expect("started");
    produce(&cluster, "t", 0, &[line("new")]);
    let mut seen = Seen::default();
    seen.until(&received, |seen| !seen.rows.is_empty());
    source.stop();
    assert_eq!(seen.texts("s", "t", 0), ["new"]);
}

#[test]
fn sources_that_share_the_work_read_each_partition_once() {
    let cluster = cluster(&[("t", 7)]);
    (0..7).for_each(|partition| produce(&cluster, "t", partition, &[line(&format!("of {partition}"))]));
    let (events, received) = channel();
    let start = |index| {
        let mut options = options(&cluster, vec![input("s", &["t"])]);
        options.share = Share { index, of: 2 };
        KafkaSource::start(options, events.clone()).expect("started")
    };
    let sources = [start(0), start(1)];
    let mut seen = Seen::default();
    seen.until(&received, |seen| seen.rows.len() == 7);
    sources.into_iter().for_each(KafkaSource::stop);
    received.try_iter().for_each(|event| seen.take(event));
    assert_eq!((seen.rows.len(), seen.places.len()), (7, 7));
}

#[test]
fn a_topic_that_does_not_exist_is_named_with_the_nearest() {
    let cluster = cluster(&[("logs.windows", 1)]);
    let error = KafkaSource::start(options(&cluster, vec![input("s", &["logs.window"])]), channel().0).err();
    let text = error.map(|error| error.to_string()).unwrap_or_default();
    assert_eq!(text, "Kafka has no topic `logs.window`; did you mean `logs.windows`?");
}

#[test]
fn a_broker_that_does_not_answer_is_told_with_what_was_tried() {
    let settings = KafkaSettings::check("127.0.0.1:1", "weir", &BTreeMap::new()).expect("fine settings");
    let mut options = SourceOptions::new(settings, vec![input("s", &["t"])]);
    options.patience = Duration::from_secs(1);
    let error = KafkaSource::start(options, channel().0).err();
    let text = error.map(|error| error.to_string()).unwrap_or_default();
    assert!(text.starts_with("cannot reach Kafka at 127.0.0.1:1 after 1 s: "), "{text}");
    assert!(text.contains("refused"), "{text}");
}

#[test]
fn a_position_that_kafka_does_not_have_is_an_error() {
    let cluster = cluster(&[("t", 1)]);
    let mut options = options(&cluster, vec![input("s", &["t"])]);
    options.positions.advance(&TopicPartition { topic: "t".into(), partition: 0 }, 5);
    let error = KafkaSource::start(options, channel().0).err();
    assert!(matches!(error, Some(KafkaError::PositionLost { wanted: 5, low: 0, high: 0, .. })), "{error:?}");
}

#[test]
fn a_topic_that_appears_later_is_read_from_its_beginning() {
    let cluster = cluster(&[("logs.a", 1)]);
    let mut options = options(&cluster, vec![input("s", &["^logs\\."])]);
    options.discover_every = Duration::from_millis(100);
    options.start = Start::Latest;
    let (events, received) = channel();
    let source = KafkaSource::start(options, events).expect("started");
    cluster.create_topic("logs.b", 1, 1).expect("a topic");
    produce(&cluster, "logs.b", 0, &[line("of b")]);
    produce(&cluster, "logs.a", 0, &[line("of a")]);
    let mut seen = Seen::default();
    seen.until(&received, |seen| seen.rows.len() == 2);
    source.stop();
    assert_eq!((seen.texts("s", "logs.a", 0), seen.texts("s", "logs.b", 0)), (vec!["of a"], vec!["of b"]));
}

#[test]
fn a_silent_partition_is_idle_once_until_it_speaks_again() {
    let cluster = cluster(&[("t", 2)]);
    produce(&cluster, "t", 0, &[line("one")]);
    let mut options = options(&cluster, vec![input("s", &["t"])]);
    options.idle_after = Duration::from_millis(300);
    let (events, received) = channel();
    let source = KafkaSource::start(options, events).expect("started");
    let mut seen = Seen::default();
    seen.until(&received, |seen| seen.idle.len() == 2);
    assert_eq!(seen.rows.len(), 1);
    produce(&cluster, "t", 0, &[line("two")]);
    seen.until(&received, |seen| seen.idle.len() == 3);
    source.stop();
    assert_eq!(seen.texts("s", "t", 0), ["one", "two"]);
    assert_eq!(seen.idle[2], PartitionId(0));
}

#[test]
fn what_waits_for_the_engine_is_bounded_and_nothing_is_lost() {
    let cluster = cluster(&[("t", 1)]);
    let payloads: Vec<String> = (0..4000).map(|number| line(&format!("{number} {}", "x".repeat(1000)))).collect();
    produce(&cluster, "t", 0, &payloads);
    let mut options = options(&cluster, vec![input("s", &["t"])]);
    options.budget = Budget::new(1 << 20);
    options.limits.batch_bytes_max = 64 << 10;
    let budget = options.budget.clone();
    let (events, received) = channel();
    let source = KafkaSource::start(options, events).expect("started");
    let started = Instant::now();
    while source.counts().pauses.load(std::sync::atomic::Ordering::Relaxed) == 0 {
        assert!(started.elapsed() < LONG, "the source never pauses");
        std::thread::yield_now();
    }
    assert!(budget.used() < 3 << 20, "{}", budget.used());
    let mut seen = Seen::default();
    seen.until(&received, |seen| seen.rows.len() == 4000);
    source.stop();
    assert!(seen.rows.iter().enumerate().all(|(at, (_, _, offset, _))| at as i64 == *offset));
}

#[test]
fn a_broker_that_goes_away_is_waited_for() {
    let cluster = cluster(&[("t", 1)]);
    produce(&cluster, "t", 0, &[line("before")]);
    let (events, received) = channel();
    let source = KafkaSource::start(options(&cluster, vec![input("s", &["t"])]), events).expect("started");
    let mut seen = Seen::default();
    seen.until(&received, |seen| seen.rows.len() == 1);
    cluster.broker_down(1).expect("down");
    let started = Instant::now();
    while source.counts().outages.load(std::sync::atomic::Ordering::Relaxed) == 0 {
        assert!(started.elapsed() < LONG, "the outage is not noticed");
        std::thread::yield_now();
    }
    cluster.broker_up(1).expect("up");
    produce(&cluster, "t", 0, &[line("after")]);
    seen.until(&received, |seen| seen.rows.len() == 2);
    source.stop();
    assert_eq!(seen.texts("s", "t", 0), ["before", "after"]);
}

fn sink(cluster: &Cluster, is_transactional: bool) -> KafkaSink {
    let options = SinkOptions { settings: settings(cluster), worker: 0, is_transactional, patience: LONG };
    KafkaSink::open(options).expect("a sink")
}

fn record(text: &str) -> SinkRecord {
    record_to("alerts", text)
}

pub(super) fn record_to(topic: &str, text: &str) -> SinkRecord {
    SinkRecord { topic: topic.into(), key: Some("k".into()), payload: text.to_owned().into(), timestamp: None }
}

pub(super) fn read_all(settings: KafkaSettings, topic: &str, offsets: std::ops::Range<i64>) -> Vec<String> {
    let mut reader = RangeReader::open(settings, LONG).expect("a reader");
    let place = TopicPartition { topic: topic.into(), partition: 0 };
    let mut found = Vec::new();
    let mut each = |record: &crate::decode::Record<'_>| {
        found.push(format!("{} {}", record.position.offset, String::from_utf8_lossy(record.payload)));
    };
    let count = reader.read(&place, offsets, &mut each).expect("readable");
    assert_eq!(count, found.len() as u64);
    found
}

#[test]
fn an_epoch_and_its_cursor_are_delivered_together() {
    for is_transactional in [true, false] {
        let cluster = cluster(&[("alerts", 1), ("weir.cursors", 1)]);
        let mut first = sink(&cluster, is_transactional);
        assert!(first.cursors().expect("readable").is_empty());
        first.deliver("alerts", 1, &[record("a"), record("b")]).expect("delivered");
        first.deliver("alerts", 2, &[]).expect("delivered");
        first.deliver("dead_letters", 1, &[record("c")]).expect("delivered");
        let second = sink(&cluster, is_transactional);
        let cursors: Vec<_> = second.cursors().expect("readable").into_iter().collect();
        assert_eq!(cursors, [("alerts".to_owned(), 2), ("dead_letters".to_owned(), 1)]);
        assert_eq!(read_all(settings(&cluster), "alerts", 0..3), ["0 a", "1 b", "2 c"]);
    }
}

#[test]
fn a_delivery_that_a_broker_refuses_for_now_is_tried_again() {
    let cluster = cluster(&[("alerts", 1), ("weir.cursors", 1)]);
    let mut sink = sink(&cluster, true);
    let errors = [
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_COORDINATOR,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS,
    ];
    cluster.request_errors(RDKafkaApiKey::EndTxn, &errors);
    let errors = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION];
    cluster.request_errors(RDKafkaApiKey::Produce, &errors);
    sink.deliver("alerts", 1, &[record("a")]).expect("delivered in the end");
    assert_eq!(sink.cursors().expect("readable").get("alerts"), Some(&1));
}

#[test]
fn a_record_that_is_too_large_does_not_hold_back_the_others() {
    let cluster = cluster(&[("alerts", 1), ("weir.cursors", 1)]);
    let mut sink = sink(&cluster, true);
    let delivered = sink.deliver("alerts", 1, &[record("a"), record(&"x".repeat(9_000_000)), record("b")]);
    assert_eq!(delivered.expect("delivered").too_large, [1]);
    assert_eq!(read_all(settings(&cluster), "alerts", 0..2), ["0 a", "1 b"]);
}

#[test]
fn a_process_that_was_taken_over_must_end() {
    let cluster = cluster(&[("alerts", 1), ("weir.cursors", 1)]);
    let mut old = sink(&cluster, true);
    // The mock cluster does not fence by itself; this is what a broker answers to a producer that was taken over.
    cluster.request_errors(RDKafkaApiKey::EndTxn, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_PRODUCER_FENCED]);
    let error = old.deliver("alerts", 2, &[record("twin")]).err();
    assert!(matches!(error, Some(KafkaError::Fenced { .. })), "{error:?}");
}

#[test]
fn exactly_the_wanted_offsets_are_read() {
    let cluster = cluster(&[("t", 1)]);
    let payloads: Vec<String> = (0..10).map(|number| number.to_string()).collect();
    produce(&cluster, "t", 0, &payloads);
    assert_eq!(read_all(settings(&cluster), "t", 3..6), ["3 3", "4 4", "5 5"]);
    assert_eq!(read_all(settings(&cluster), "t", 8..20), ["8 8", "9 9"]);
    assert!(read_all(settings(&cluster), "t", 4..4).is_empty());
    let mut reader = RangeReader::open(settings(&cluster), LONG).expect("a reader");
    let place = TopicPartition { topic: "t".into(), partition: 0 };
    let lost = reader.read(&place, 50..60, &mut |_| {}).err();
    assert!(matches!(lost, Some(KafkaError::PositionLost { high: 10, .. })), "{lost:?}");
}
