//! Sign-ins, at a pace or as fast as the broker takes them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

use super::support::events::rfc3339;

/// How often a paced load sends its share.
const TICK: Duration = Duration::from_millis(5);
/// One of so many events is an account that was locked.
pub(crate) const LOCKED_EACH: usize = 100;

/// Events that are sent at a pace until this is stopped.
pub(crate) struct Paced {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Instant>>,
}

impl Paced {
    /// Starts to send so many events per second to the partitions of a topic in turn; their times are those of the wall.
    /// The number of an event is its place.
    pub(crate) fn start(address: &str, topic: &str, partitions: i32, per_second: usize, keys: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopping, topic, producer) = (Arc::clone(&stop), topic.to_owned(), producer(address, "0"));
        let thread = std::thread::spawn(move || {
            let (begun, mut sent) = (Instant::now(), Vec::new());
            while !stopping.load(Ordering::Relaxed) {
                let due = (begun.elapsed().as_secs_f64() * per_second as f64) as usize;
                for seq in sent.len()..due {
                    let status = if seq % LOCKED_EACH == 0 { "Locked" } else { "Failure" };
                    let payload = event(now_us(), seq, seq.wrapping_mul(7919) % keys, status);
                    sent.push(Instant::now());
                    send(&producer, &topic, seq as i32 % partitions, &payload);
                }
                producer.poll(TICK);
            }
            producer.flush(Duration::from_secs(60)).expect("the broker takes all events");
            sent
        });
        Self { stop, thread }
    }

    /// Stops, and gives the instant at which each event was sent.
    pub(crate) fn stop(self) -> Vec<Instant> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the load ends")
    }
}

/// Sends events as fast as the broker takes them, a microsecond apart from `begin_us` on; `key` is the user of each.
pub(crate) fn fill(
    address: &str,
    topic: &str,
    begin_us: i64,
    events: std::ops::Range<usize>,
    mut key: impl FnMut(usize) -> usize,
) {
    let producer = producer(address, "50");
    for seq in events {
        send(&producer, topic, 0, &event(begin_us + seq as i64, seq, key(seq), "Failure"));
        if seq % 1000 == 0 {
            producer.poll(Duration::ZERO);
        }
    }
    producer.flush(Duration::from_secs(120)).expect("the broker takes all events");
}

/// The clock on the wall.
pub(crate) fn now_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_micros() as i64
}

fn event(time_us: i64, seq: usize, user: usize, status: &str) -> String {
    let time = rfc3339(time_us);
    format!(
        r#"{{"time":"{time}","seq":{seq},"user_name":"user{user}@example.com","src_ip":"10.1.2.3","status":"{status}"}}"#
    )
}

fn producer(address: &str, linger_ms: &str) -> BaseProducer {
    ClientConfig::new()
        .set("bootstrap.servers", address)
        .set("linger.ms", linger_ms)
        .set("enable.idempotence", "true")
        .set("compression.type", "lz4")
        .set("queue.buffering.max.messages", "1000000")
        .create()
        .expect("a producer")
}

fn send(producer: &BaseProducer, topic: &str, partition: i32, payload: &str) {
    let mut record = BaseRecord::<(), str>::to(topic).partition(partition).payload(payload);
    while let Err((_, refused)) = producer.send(record) {
        record = refused;
        producer.poll(Duration::from_millis(20));
    }
}
