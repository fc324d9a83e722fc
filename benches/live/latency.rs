//! From a record in Kafka to an alert in Kafka.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::load::{LOCKED_EACH, Paced};
use super::support::kafka::Tail;
use super::weir::{PATIENCE, Weir, detection, seq_of, watch};

const PER_SECOND: usize = 5_000;
const USERS: usize = 10_000;
const WARM_UP: Duration = Duration::from_secs(5);
const MEASURED: Duration = Duration::from_secs(40);

pub(crate) fn measure(address: &str) {
    println!("{PER_SECOND} events per second, one alert for {LOCKED_EACH} of them\n");
    println!("{:24} {:>8} {:>8} {:>8} {:>8} {:>9}", "", "alerts", "p50 ms", "p99 ms", "max ms", "CPU");
    for (name, epoch_ms, is_fast) in
        [("epochs of 1 s", 1000, false), ("epochs of 100 ms", 100, false), ("fast, epochs of 1 s", 1000, true)]
    {
        of_one(address, name, epoch_ms, is_fast);
    }
}

fn of_one(address: &str, name: &str, epoch_ms: u64, is_fast: bool) {
    let more = if is_fast { "--! delivery = \"fast\"\n" } else { "" };
    let locked = "SELECT time, user_name, seq FROM signin WHERE status = 'Locked'";
    let guessing = "SELECT window_end AS time, user_name, count(*) AS n FROM TUMBLE(signin, time, INTERVAL '1 minute') \
                    WHERE status = 'Failure' GROUP BY window_start, window_end, user_name HAVING count(*) >= 1000";
    let detections = [("locked", detection("locked", more, locked)), ("many", detection("many", "", guessing))];
    let mut weir = Weir::new(address, 2, epoch_ms, &detections);
    weir.start();
    let topic = if is_fast { format!("{}.fast", weir.pipeline.alerts) } else { weir.pipeline.alerts.clone() };
    let begun = Instant::now();
    let load = Paced::start(address, &weir.pipeline.topic, 2, PER_SECOND, USERS);
    std::thread::sleep(WARM_UP);
    let (cpu, _) = weir.usage();
    let mut arrived: BTreeMap<usize, Instant> = BTreeMap::new();
    let tail = Tail::new(address, &topic);
    watch(&tail, MEASURED, |record| {
        if let Some(seq) = seq_of(record) {
            arrived.entry(seq).or_insert_with(Instant::now);
        }
    });
    let cpu = weir.usage().0 - cpu;
    let sent = load.stop();
    weir.stop();
    // What was sent before the reader was there, or may not have arrived yet, is no measurement.
    let (first, last) = (begun + WARM_UP + Duration::from_secs(2), begun + WARM_UP + MEASURED - Duration::from_secs(4));
    let is_measured = |seq: &usize| (first..last).contains(&sent[*seq]);
    let expected: Vec<usize> = (0..sent.len()).step_by(LOCKED_EACH).filter(is_measured).collect();
    let mut latencies: Vec<f64> = Vec::with_capacity(expected.len());
    for seq in &expected {
        let at = arrived.get(seq).unwrap_or_else(|| panic!("{name}: no alert of event {seq} within {PATIENCE:?}"));
        latencies.push(at.duration_since(sent[*seq]).as_secs_f64() * 1000.0);
    }
    latencies.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize];
    println!(
        "{name:24} {:>8} {:>8.0} {:>8.0} {:>8.0} {:>8.0}%",
        latencies.len(),
        at(0.5),
        at(0.99),
        at(1.0),
        100.0 * cpu / MEASURED.as_secs_f64()
    );
}
