//! What comes out: hits with an identity, rows that stateful operators did not see, and counts.

use std::sync::Arc;

use arrow::array::RecordBatch;

use crate::batch::PartitionId;
use crate::identity::Uid;
use crate::time::EventTime;

/// What a hit's record says about it. The last record of an id holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Activity {
    /// First record of the id.
    Create,
    /// The values or the count changed.
    Update,
    /// The cause no longer holds.
    Withdraw,
}

/// One record about one hit of one query.
#[derive(Debug, Clone)]
pub struct Hit {
    /// Index of the query in the program.
    pub query: usize,
    /// Hash of the query's id and the hit's cause.
    pub uid: Uid,
    /// Create, update or withdraw.
    pub activity: Activity,
    /// The window's end, or the greatest contributing time.
    pub time: EventTime,
    /// The row of the `SELECT`: one row, the query's output schema.
    pub row: RecordBatch,
    /// Rows of equal cause, and the repeats folded into this one.
    pub count: u64,
    /// The uids of the events that caused it, where they are kept (row-level hits).
    pub events: Vec<Uid>,
    /// The hit this one was folded into by the cooldown.
    pub suppressed_by: Option<Uid>,
    /// Whether the cooldown cannot tell yet that it is no repeat: an earlier hit may still come. A later record tells.
    pub provisional: bool,
    /// The exception that hides it.
    pub exception: Option<Arc<str>>,
    /// Whether all events that caused it were late.
    pub late: bool,
    /// Greatest arrival time of the events behind it, in microseconds, where known: for latency only.
    pub arrival: Option<EventTime>,
    /// The version of every look-up table that the query read, by table name.
    pub tables: Vec<(Arc<str>, Uid)>,
}

/// Why stateful operators did not see a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LateReason {
    /// Behind the greatest earlier time of its own partition by more than the stream's lateness.
    Lateness,
    /// Behind the merged watermark because its partition was idle.
    Idle,
    /// Ahead of its arrival by more than the stream's guard.
    Future,
}

impl LateReason {
    /// The word that `late_events` and metrics use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lateness => "lateness",
            Self::Idle => "idle",
            Self::Future => "future",
        }
    }
}

/// A row that stateful operators did not see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LateEvent {
    /// The stream.
    pub stream: Arc<str>,
    /// The partition, where it is known.
    pub partition: Option<PartitionId>,
    /// The row's identity.
    pub uid: Uid,
    /// Its event time.
    pub time: EventTime,
    /// What it was late against: the greatest time of its partition up to then, or the watermark it came behind.
    pub against: EventTime,
    /// Why.
    pub reason: LateReason,
}

impl LateEvent {
    /// How far it was behind, in milliseconds; negative for one from the future.
    #[must_use]
    pub const fn late_ms(&self) -> i64 {
        self.against.0.saturating_sub(self.time.0) / 1000
    }
}

/// What happened to the rows of one stream. `rows = on_time + late`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StreamCounts {
    /// Rows that came in.
    pub rows: u64,
    /// Rows seen by everything.
    pub on_time: u64,
    /// Rows seen by row-level queries only.
    pub late: u64,
}
