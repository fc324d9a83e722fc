//! Frames: what goes from one worker to another. Serialisable from day one, so that a channel can become a topic.

use arrow::array::RecordBatch;

use crate::time::EventTime;

/// One message on one edge of the graph, from one worker to another. Frames of one edge and sender arrive in order.
#[derive(Debug, Clone)]
pub struct Frame {
    /// The worker that sent it.
    pub worker: u32,
    /// The exchange it belongs to.
    pub edge: u32,
    /// The epoch it was sent in.
    pub epoch: u64,
    /// Its number on this edge from this worker, from 0.
    pub seq: u64,
    /// What it says.
    pub body: FrameBody,
}

/// What a frame says.
#[derive(Debug, Clone)]
pub enum FrameBody {
    /// Rows for key groups that the receiver owns.
    Data(RecordBatch),
    /// No on-time row before this instant will follow on this edge from this worker.
    Watermark(EventTime),
    /// The epoch ends here.
    Barrier,
}
