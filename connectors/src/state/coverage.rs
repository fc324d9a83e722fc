//! What a manifest says about coverage: the minute that is not over yet, and what later ones are compared with.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::PartitionKey;

/// How far the ledger of coverage is. Its rows leave with the epoch that ends a minute; until then they are counted here, so
/// that a crash neither loses nor doubles them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Coverage {
    /// The minute that is open, in minutes since 1970 by the clock on the wall.
    pub minute: i64,
    /// The number of the next row.
    pub next_row: u64,
    /// Every partition that was ever read, and what was evaluated of it in the open minute.
    pub partitions: Vec<Stretch>,
    /// What is known of each stream.
    pub streams: BTreeMap<String, StreamCoverage>,
    /// When each detection fired last.
    pub fired: BTreeMap<String, Fired>,
}

/// What was evaluated of a partition in one minute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stretch {
    /// The partition.
    pub partition: PartitionKey,
    /// The first offset of it that was ever evaluated.
    pub began: i64,
    /// The first offset of the minute.
    pub first: i64,
    /// The offset behind the last one; equal to `first` where nothing came.
    pub next: i64,
    /// Events, late ones included.
    pub events: u64,
    /// Those of them that windows, joins and sequences did not see.
    pub late: u64,
    /// Records that became dead letters.
    pub rejected: u64,
    /// Least and greatest event time, in microseconds since 1970.
    pub times_us: Option<(i64, i64)>,
}

/// What is known of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StreamCoverage {
    /// The ids of the detections that read it.
    pub readers: BTreeSet<String>,
    /// When a record came last, in seconds since 1970; 0 for never.
    pub heard: i64,
    /// Whether its silence was told.
    pub is_silent: bool,
    /// Events of the open minute.
    pub events: u64,
    /// How many of them have a value, by column.
    pub values: BTreeMap<String, u64>,
    /// Columns that mostly had a value in the last minute that was full enough to say so.
    pub filled: BTreeSet<String>,
}

/// When a detection fired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fired {
    /// The time of the alert, in microseconds since 1970.
    pub event_time_us: i64,
    /// When its epoch was committed, in microseconds since 1970.
    pub committed_us: i64,
}
