//! From a kill to the first alert.

use std::time::{Duration, Instant};

use super::load::{self, Paced};
use super::support::kafka::Tail;
use super::weir::{Weir, detection, seq_of, watch};

const PER_SECOND: usize = 2_000;
const ROUNDS: usize = 3;

pub(crate) fn measure(address: &str, keys: usize) {
    let locked = "SELECT time, user_name, seq FROM signin WHERE status = 'Locked'";
    let counts = "SELECT window_start, window_end, user_name, count(*) AS n FROM TUMBLE(signin, time, INTERVAL '1 day') \
                  GROUP BY window_start, window_end, user_name HAVING count(*) >= 1000000";
    let detections = [("locked", detection("locked", "", locked)), ("counts", detection("counts", "", counts))];
    let mut weir = Weir::new(address, 1, 1000, &detections);
    weir.start();
    load::fill(address, &weir.pipeline.topic, load::now_us() - 2 * keys as i64, 0..keys, |seq| seq);
    weir.wait_until_read(keys);
    weir.wait_for_epoch();
    let of_state = weir.metric("weir_detection_state_bytes{detection=\"bench.counts\"}") / 1e6;
    println!("{keys} keys, {of_state:.0} MB of state, {:.0} MB saved", weir.bytes_in("state") as f64 / 1e6);
    let load = Paced::start(address, &weir.pipeline.topic, 1, PER_SECOND, keys);
    for round in 1..=ROUNDS {
        std::thread::sleep(Duration::from_secs(10));
        let tail = Tail::new(address, &weir.pipeline.alerts);
        let mut before = 0;
        watch(&tail, Duration::from_secs(2), |record| before = before.max(seq_of(record).unwrap_or(0)));
        weir.kill();
        let killed = Instant::now();
        // What was committed before the death may still come; what is new was not alerted of before.
        watch(&tail, Duration::from_millis(500), |record| before = before.max(seq_of(record).unwrap_or(0)));
        weir.start();
        let running = killed.elapsed();
        let mut first = None;
        while first.is_none() {
            watch(&tail, Duration::from_millis(50), |record| {
                if seq_of(record).is_some_and(|seq| seq > before) {
                    first.get_or_insert_with(Instant::now);
                }
            });
        }
        let first = first.map_or(Duration::ZERO, |first| first.duration_since(killed));
        println!(
            "round {round}: running again {:.1} s after the kill, the first new alert in Kafka after {:.1} s (half a second of \
             both is waiting for what was committed before)",
            running.as_secs_f64(),
            first.as_secs_f64()
        );
    }
    load.stop();
    weir.stop();
}
