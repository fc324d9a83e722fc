//! Frames: what goes from one worker to another. Serialisable from day one, so that a channel can become a topic.

use arrow::array::RecordBatch;

use crate::error::EngineError;
use crate::snapshot::{read_batches, write_batch};
use crate::time::EventTime;

/// The format of the bytes. A frame of another version is refused with a message.
const FORMAT: u8 = 1;
/// Format, kind of body, worker, edge, epoch and number.
const HEADER_BYTES: usize = 2 + 4 + 4 + 8 + 8;

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
    /// Nothing has come on this edge from this worker for long, so it holds nothing back (true), or it is back (false).
    Idle(bool),
}

impl Frame {
    /// The frame as bytes: a header of fixed length, then an Arrow IPC stream for rows or eight bytes for a watermark.
    /// All numbers are little-endian.
    ///
    /// # Errors
    /// Arrow that cannot be written.
    pub fn to_bytes(&self) -> Result<Vec<u8>, EngineError> {
        let (kind, body) = match &self.body {
            FrameBody::Data(rows) => (0_u8, write_batch(rows)?),
            FrameBody::Watermark(watermark) => (1, watermark.0.to_le_bytes().to_vec()),
            FrameBody::Barrier => (2, vec![]),
            FrameBody::Idle(is_idle) => (3, vec![u8::from(*is_idle)]),
        };
        let mut bytes = Vec::with_capacity(HEADER_BYTES + body.len());
        bytes.extend([FORMAT, kind]);
        bytes.extend(self.worker.to_le_bytes());
        bytes.extend(self.edge.to_le_bytes());
        bytes.extend(self.epoch.to_le_bytes());
        bytes.extend(self.seq.to_le_bytes());
        bytes.extend(body);
        Ok(bytes)
    }

    /// Reads what [`Self::to_bytes`] wrote.
    ///
    /// # Errors
    /// Bytes that are torn, of another format, or of something else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, EngineError> {
        let torn = || EngineError::Frame(format!("{} bytes are no frame", bytes.len()));
        let (&[format, kind], rest) = bytes.split_first_chunk::<2>().ok_or_else(torn)?;
        if format != FORMAT {
            return Err(EngineError::Frame(format!("format {format} is not {FORMAT}")));
        }
        let (worker, rest) = rest.split_first_chunk::<4>().ok_or_else(torn)?;
        let (edge, rest) = rest.split_first_chunk::<4>().ok_or_else(torn)?;
        let (epoch, rest) = rest.split_first_chunk::<8>().ok_or_else(torn)?;
        let (seq, body) = rest.split_first_chunk::<8>().ok_or_else(torn)?;
        let body = match kind {
            0 => match <[RecordBatch; 1]>::try_from(read_batches(body)?) {
                Ok([rows]) => FrameBody::Data(rows),
                Err(batches) => return Err(EngineError::Frame(format!("{} batches instead of one", batches.len()))),
            },
            1 => FrameBody::Watermark(EventTime(i64::from_le_bytes(body.try_into().map_err(|_torn| torn())?))),
            2 if body.is_empty() => FrameBody::Barrier,
            2 => return Err(torn()),
            3 => match body {
                [0] => FrameBody::Idle(false),
                [1] => FrameBody::Idle(true),
                _ => return Err(torn()),
            },
            kind => return Err(EngineError::Frame(format!("{kind} is no kind of frame"))),
        };
        Ok(Self {
            worker: u32::from_le_bytes(*worker),
            edge: u32::from_le_bytes(*edge),
            epoch: u64::from_le_bytes(*epoch),
            seq: u64::from_le_bytes(*seq),
            body,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringViewArray};

    use super::*;

    fn frames() -> Vec<Frame> {
        let long = "a text that is too long to be kept in a view itself";
        let rows = RecordBatch::try_from_iter([
            ("n", Arc::new(Int64Array::from(vec![Some(1), None, Some(3)])) as ArrayRef),
            ("t", Arc::new(StringViewArray::from(vec![Some("short"), Some(long), None])) as ArrayRef),
        ])
        .expect("columns of one length");
        let bodies = [
            FrameBody::Data(rows.clone()),
            FrameBody::Data(rows.slice(1, 1)),
            FrameBody::Data(rows.slice(0, 0)),
            FrameBody::Watermark(EventTime::MIN),
            FrameBody::Watermark(EventTime(-1)),
            FrameBody::Barrier,
            FrameBody::Idle(true),
            FrameBody::Idle(false),
        ];
        let of = |(seq, body)| Frame { worker: 1, edge: u32::MAX, epoch: u64::MAX, seq, body };
        (7..).zip(bodies).map(of).collect()
    }

    #[test]
    fn a_frame_is_the_same_after_its_bytes() {
        for frame in frames() {
            let read = Frame::from_bytes(&frame.to_bytes().expect("bytes")).expect("own bytes");
            assert_eq!(format!("{read:?}"), format!("{frame:?}"));
        }
    }

    #[test]
    fn torn_and_foreign_bytes_are_refused() {
        for frame in frames() {
            let bytes = frame.to_bytes().expect("bytes");
            assert!((0..HEADER_BYTES.min(bytes.len())).all(|length| Frame::from_bytes(&bytes[..length]).is_err()));
            let mut foreign = bytes;
            foreign[0] = 9;
            assert!(Frame::from_bytes(&foreign).is_err_and(|error| error.to_string().contains("format 9")));
        }
        assert!(Frame::from_bytes(&[&[FORMAT, 7][..], &[0; 24]].concat()).is_err());
        assert!(Frame::from_bytes(&[&[FORMAT, 0][..], &[0; 24]].concat()).is_err());
    }
}
