//! The real process on a real broker: how soon an alert is there, how soon one is there after a sudden death, and whether
//! memory stays what it is.
//!
//! ```text
//! WEIR_TEST_BROKER=1 cargo bench --bench live -- latency               # 1 s epochs, 100 ms epochs, and `delivery = "fast"`
//! WEIR_TEST_BROKER=1 cargo bench --bench live -- recovery 10000000     # with so many keys in memory
//! WEIR_TEST_BROKER=1 cargo bench --bench live -- sustained 30          # so many minutes
//! ```
//!
//! `WEIR_TEST_KAFKA` names a broker to use instead of starting one (`tests/kafka/broker` says what that needs).

#![expect(clippy::print_stdout, reason = "a benchmark prints what it has measured")]

#[path = "live/latency.rs"]
mod latency; // from a record in Kafka to an alert in Kafka
#[path = "live/load.rs"]
mod load; // events at a pace, and when each was sent
#[path = "live/recovery.rs"]
mod recovery; // from a kill to the first alert
#[path = "live/support.rs"]
#[expect(dead_code, reason = "made for the integration tests, of which a benchmark needs a part")]
mod support; // brokers, topics and processes
#[path = "live/sustained.rs"]
mod sustained; // memory over time
#[path = "live/weir.rs"]
mod weir; // the process that is measured

use std::env;

use support::broker::{self, Broker};

fn main() {
    let arguments: Vec<String> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let (what, number) = match arguments.as_slice() {
        [] => panic!("say what to measure: latency, recovery or sustained"),
        [what] => (what.as_str(), None),
        [what, number, ..] => (what.as_str(), Some(number.parse().expect("a number"))),
    };
    let mut own = None;
    let address = if env::var_os("WEIR_TEST_KAFKA").is_some() {
        broker::shared("live")
    } else {
        own = Broker::prepare("live");
        own.as_ref().map(|own| {
            own.start();
            own.address.clone()
        })
    };
    let Some(address) = address else { return };
    match what {
        "latency" => latency::measure(&address),
        "recovery" => recovery::measure(&address, number.unwrap_or(1_000_000)),
        "sustained" => sustained::measure(&address, number.unwrap_or(30)),
        other => panic!("{other} is none of latency, recovery and sustained"),
    }
    drop(own);
}
