//! What every source gives: decoded events of one partition in its order, and the records it had to refuse.

use std::sync::Arc;

use weir_engine::SourceBatch;

use crate::decode::Rejected;
use crate::position::TopicPartition;

/// A stretch of one partition, decoded. Records in = rows of the batch + rejected.
#[derive(Debug, Clone)]
pub struct SourceOutput {
    /// The decoded events; may be empty where only refusals are to be told.
    pub batch: SourceBatch,
    /// Refused records of the same stretch.
    pub rejected: Vec<Rejected>,
    /// Values of the batch that did not fit the type of their column and are NULL, by column.
    pub misfits: Vec<(Arc<str>, u64)>,
    /// The partition as the outside names it.
    pub partition: TopicPartition,
    /// The offset or line at which the partition goes on after this stretch.
    pub next: i64,
    /// Bytes of the records in this stretch, refused ones included.
    pub bytes: u64,
}
