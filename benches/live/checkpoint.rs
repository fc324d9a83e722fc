//! Throughput with epochs of a second against epochs of ten minutes, over the same records, with the same state.

use super::load;
use super::weir::{Weir, detection};

const ROUNDS: usize = 2;
/// How many epochs there are in a minute, in words.
const KINDS: [(&str, u64); 2] = [("10 min", 600_000), ("1 s", 1000)];
/// A whole day, long past.
const BEGIN_US: i64 = 1_767_225_600_000_000;

/// Whose event comes next: everybody's in turn, or mostly one of a few.
#[derive(Clone, Copy)]
enum Users {
    Even,
    /// Nine of ten events are of a hundredth of the users.
    Skewed,
}

pub(crate) fn measure(address: &str, keys: usize) {
    let counts = "SELECT window_start, window_end, user_name, count(*) AS n FROM TUMBLE(signin, time, INTERVAL '1 day') \
                  GROUP BY window_start, window_end, user_name HAVING count(*) >= 1000000";
    println!("{:8} {:>10} {:>12} {:>9} {:>12} {:>12}", "users", "epochs", "events/s", "CPU s", "state MB", "saved MB");
    for users in [Users::Even, Users::Skewed] {
        let mut best = [0.0_f64; KINDS.len()];
        let events = keys / 2;
        let detections = [("counts", detection("counts", "", counts))];
        let filled = Weir::new(address, 1, 1000, &detections);
        let topic = &filled.pipeline.topic;
        load::fill(address, topic, BEGIN_US, 0..keys, |seq| seq);
        load::fill(address, topic, BEGIN_US, keys..keys + events, |seq| user(users, seq, keys));
        for _ in 0..ROUNDS {
            for (place, (name, epoch_ms)) in KINDS.iter().enumerate() {
                let mut weir = Weir::new(address, 1, *epoch_ms, &detections);
                weir.pipeline.project.write("streams/signin.sql", filled.pipeline.project.read("streams/signin.sql"));
                weir.pipeline.configure("parallelism = 2", "parallelism = 1");
                weir.pipeline.configure("[archive]\nurl = \"file:./archive\"\n", "");
                weir.start();
                let begun = weir.wait_until_read(keys);
                let (cpu, _) = weir.usage();
                let took = weir.wait_until_read(keys + events).duration_since(begun).as_secs_f64();
                let cpu = weir.usage().0 - cpu;
                let of_state = weir.metric("weir_detection_state_bytes{detection=\"bench.counts\"}") / 1e6;
                let saved = weir.bytes_in("state") as f64 / 1e6;
                let rate = events as f64 / took;
                best[place] = best[place].max(rate);
                let users = if matches!(users, Users::Even) { "even" } else { "skewed" };
                println!("{users:8} {name:>10} {rate:>12.0} {cpu:>9.1} {of_state:>12.0} {saved:>12.0}");
                weir.kill();
            }
        }
        println!("         epochs of a second cost {:.1} % of the throughput\n", 100.0 * (1.0 - best[1] / best[0]));
    }
}

/// The user of an event behind the first of everybody.
fn user(users: Users, seq: usize, keys: usize) -> usize {
    // A multiplier of Knuth's, whose high bits spread numbers that follow each other.
    let spread = (seq as u64).wrapping_mul(6_364_136_223_846_793_005) >> 16;
    match users {
        Users::Skewed if seq % 10 != 0 => spread as usize % (keys / 100),
        _ => spread as usize % keys,
    }
}
