//! What comes in: batches of decoded events, one partition at a time and in its order.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::Fields;

/// A partition of a stream, numbered by whoever reads it; the number is stable for one run of the program only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionId(pub u32);

/// Decoded events of one partition of one stream, in the partition's order.
///
/// Shape: the columns of a [`ColumnSet`], in its order, followed by `_time`, `_raw` and `_arrival`
/// (see [`system`](crate::catalog::system)).
#[derive(Debug, Clone)]
pub struct SourceBatch {
    /// The stream, by its name in the catalog.
    pub stream: Arc<str>,
    /// The partition the events came from.
    pub partition: PartitionId,
    /// The events.
    pub rows: RecordBatch,
    /// How late each row is known to be, in microseconds (a replay of the archive knows): 0 for one on time, `i64::MAX` for
    /// one that nothing admits. `None` where lateness is judged here.
    pub late_us: Option<Vec<i64>>,
}

/// The columns of a stream that somebody reads: what a decoder has to produce, and no more.
///
/// Shape: top-level columns. A struct holds only the fields that are read. A system column is in the set only when
/// SQL reads it; `_time`, `_raw` and `_arrival` are always produced, after these.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ColumnSet {
    /// The columns, in the order in which they stand in a source batch.
    pub columns: Fields,
}
