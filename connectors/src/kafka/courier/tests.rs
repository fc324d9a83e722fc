use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Instant;

use bytes::Bytes;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use super::super::tests::{LONG, read_all};
use super::*;

/// What became of each copy.
type Told = Arc<Mutex<Vec<(usize, Result<(), LeftReason>)>>>;

fn settings(address: &str) -> KafkaSettings {
    KafkaSettings::check(address, "weir", &BTreeMap::new()).expect("fine settings")
}

fn cluster() -> MockCluster<'static, DefaultProducerContext> {
    let cluster = MockCluster::new(1).expect("a mock cluster");
    cluster.create_topic("fast", 1, 1).expect("a topic");
    cluster
}

fn courier(address: &str) -> (Courier, Told) {
    let told = Told::default();
    let heard = Arc::clone(&told);
    let settle: Settle = Arc::new(move |number, settled: Result<(), Left>| {
        heard.lock().expect("nobody panics").push((number, settled.map_err(|left| left.reason)));
    });
    (Courier::open(&settings(address), settle).expect("a client"), told)
}

fn record(text: &str) -> SinkRecord {
    SinkRecord { topic: "fast".into(), key: Some(Bytes::from("k")), payload: text.to_owned().into(), timestamp: None }
}

fn sorted(told: &Told) -> Vec<(usize, Result<(), LeftReason>)> {
    let mut told = told.lock().expect("nobody panics").clone();
    told.sort_by_key(|(number, _)| *number);
    told
}

#[test]
fn each_copy_is_told_to_be_sent_once_and_one_that_is_too_large_holds_back_none() {
    let cluster = cluster();
    let (mut courier, told) = courier(&cluster.bootstrap_servers());
    courier.send(5, &record("a"));
    courier.send(6, &record(&"x".repeat(9_000_000)));
    courier.send(7, &record("b"));
    courier.close(LONG);
    assert_eq!(sorted(&told), [(5, Ok(())), (6, Err(LeftReason::TooLarge)), (7, Ok(()))]);
    assert_eq!(read_all(settings(&cluster.bootstrap_servers()), "fast", 0..2), ["0 a", "1 b"]);
}

#[test]
fn without_a_broker_nothing_blocks_and_all_is_left() {
    let (mut courier, told) = courier("127.0.0.1:1");
    let begun = Instant::now();
    (0..100).for_each(|number| courier.send(number, &record("a")));
    courier.close(Duration::from_millis(50));
    assert!(begun.elapsed() < LONG, "it took {:?}", begun.elapsed());
    let expected: Vec<_> = (0..100).map(|number| (number, Err(LeftReason::NoAnswer))).collect();
    assert_eq!(sorted(&told), expected);
}

#[test]
fn a_client_that_can_send_no_more_is_made_anew() {
    let cluster = cluster();
    let refused = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED];
    cluster.request_errors(RDKafkaApiKey::InitProducerId, &refused);
    let (mut courier, told) = courier(&cluster.bootstrap_servers());
    let deadline = Instant::now() + LONG;
    let mut sent = 0;
    while !told.lock().expect("nobody panics").iter().any(|(_, settled)| settled.is_ok()) {
        assert!(Instant::now() < deadline, "{:?}", sorted(&told));
        courier.send(sent, &record("a"));
        sent += 1;
        std::thread::sleep(Duration::from_millis(50));
    }
    courier.close(LONG);
    let told = sorted(&told);
    assert_eq!(told.len(), sent, "each is told once: {told:?}");
    assert_eq!(told[0], (0, Err(LeftReason::NoAnswer)), "the first waited in the client that could not");
}
