//! Memory over time, under a load that does not end.

use std::time::{Duration, Instant};

use super::load::Paced;
use super::weir::{Weir, detection};

const PER_SECOND: usize = 10_000;
const USERS: usize = 100_000;
const LOOKED: Duration = Duration::from_secs(30);

pub(crate) fn measure(address: &str, minutes: usize) {
    let detections = [
        ("locked", detection("locked", "", "SELECT time, user_name, seq FROM signin WHERE status = 'Locked'")),
        (
            "counts",
            detection(
                "counts",
                "--! entities = { user = \"user_name\" }\n--! cooldown = \"10 minutes\"\n",
                "SELECT window_end AS time, user_name, count(*) AS n FROM HOP(signin, time, INTERVAL '1 minute', INTERVAL \
                 '5 minutes') GROUP BY window_start, window_end, user_name HAVING count(*) >= 40",
            ),
        ),
        (
            "again",
            detection(
                "again",
                "",
                "SELECT a.time, a.user_name, a.seq FROM signin a JOIN signin b ON a.user_name = b.user_name AND b.time \
                 BETWEEN a.time - INTERVAL '1 minute' AND a.time WHERE a.status = 'Locked' AND b.status = 'Locked' AND a.seq \
                 <> b.seq",
            ),
        ),
    ];
    let mut weir = Weir::new(address, 2, 1000, &detections);
    weir.start();
    println!(
        "{PER_SECOND} events per second of {USERS} users for {minutes} minutes: row-level, HOP with cooldown, join, archive\n"
    );
    println!("{:>8} {:>10} {:>10} {:>10} {:>12} {:>10}", "seconds", "memory MB", "CPU", "lag", "read", "epoch");
    let load = Paced::start(address, &weir.pipeline.topic, 2, PER_SECOND, USERS);
    let begun = Instant::now();
    let mut cpu_before = weir.usage().0;
    while begun.elapsed() < Duration::from_secs(60 * minutes as u64) {
        std::thread::sleep(LOOKED);
        let (cpu, memory) = weir.usage();
        let lag = |partition: i32| {
            let topic = &weir.pipeline.topic;
            weir.metric(&format!("weir_consumer_lag_records{{topic=\"{topic}\",partition=\"{partition}\"}}"))
        };
        println!(
            "{:>8.0} {:>10.0} {:>9.0}% {:>10.0} {:>12.0} {:>10.0}",
            begun.elapsed().as_secs_f64(),
            memory as f64 / 1e6,
            100.0 * (cpu - cpu_before) / LOOKED.as_secs_f64(),
            lag(0) + lag(1),
            weir.metric("weir_read_records_total"),
            weir.metric("weir_epoch")
        );
        cpu_before = cpu;
    }
    let sent = load.stop().len();
    weir.wait_until_read(sent);
    weir.wait_for_epoch();
    let told = |outcome: &str| weir.metric(&format!("weir_records_total{{stream=\"signin\",outcome=\"{outcome}\"}}"));
    let (on_time, late, rejected) = (told("on_time"), told("late"), told("rejected"));
    assert_eq!(on_time + late + rejected, sent as f64, "every event was judged: {on_time} + {late} + {rejected}");
    println!("\n{sent} events: {on_time} on time, {late} late, {rejected} rejected");
    weir.stop();
}
