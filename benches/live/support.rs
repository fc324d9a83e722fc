//! What the integration tests stand on, as far as a benchmark needs it.

#[path = "../../tests/support/broker.rs"]
pub(crate) mod broker; // real Kafka brokers
#[path = "../../tests/support/events.rs"]
pub(crate) mod events; // times as text
#[path = "../../tests/support/kafka.rs"]
pub(crate) mod kafka; // topics: made, filled, read
#[path = "../../tests/support/pipeline.rs"]
pub(crate) mod pipeline; // a project on a broker
#[path = "../../tests/support/process.rs"]
pub(crate) mod process; // `weir` running beside it
#[path = "../../tests/support/project.rs"]
mod project;
#[path = "../../tests/support/skip.rs"]
mod skip;
