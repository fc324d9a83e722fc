//! What the integration tests stand on.

pub(crate) mod archive; // the archive, read without Weir
pub(crate) mod broker; // real Kafka brokers
pub(crate) mod disk; // a disk that gets full
pub(crate) mod events; // seeded numbers and times
pub(crate) mod http; // metrics of a process that runs
pub(crate) mod kafka; // topics: made, filled, read
pub(crate) mod pipeline; // the project of the Kafka and replay tests
pub(crate) mod process; // `weir` running beside the test
pub(crate) mod project; // a project folder and runs of `weir` in it
pub(crate) mod rows; // NDJSON and alerts
pub(crate) mod s3; // a real S3 server
pub(crate) mod signins; // events with an oracle
pub(crate) mod skip; // tests that cannot run here
pub(crate) mod survival; // what must come out however often the process dies
pub(crate) mod vendor; // a responder's other side
