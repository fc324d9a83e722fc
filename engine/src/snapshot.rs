//! Saved state: what a worker remembers at the end of an epoch, and its bytes.
//!
//! The bytes are a length-prefixed list of parts, each a name and an Arrow IPC stream. Operators are named by their
//! fingerprint, which also says which state still means the same after an edit.

use std::collections::BTreeMap;
use std::io::Cursor;

use arrow::array::RecordBatch;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use serde::{Deserialize, Serialize};

use crate::batch::PartitionId;
use crate::clock::{Held, PartitionClock};
use crate::error::EngineError;
use crate::rows::{Rows, batch_of, compacted};

/// The format of the bytes. A snapshot of another version is refused with a message.
const FORMAT: u32 = 1;
const MAGIC: &[u8; 8] = b"WEIRSNAP";

/// The state of one worker.
#[derive(Debug, Clone, Default)]
pub struct WorkerSnapshot {
    nodes: BTreeMap<String, Vec<RecordBatch>>,
    clocks: SavedClocks,
}

/// The clocks of all partitions, by lower-case stream name.
pub(crate) type SavedClocks = BTreeMap<String, BTreeMap<PartitionId, SavedClock>>;

/// The clock of one partition.
#[derive(Debug, Clone)]
pub(crate) struct SavedClock {
    greatest: Option<i64>,
    has_ended: bool,
    held: Option<Held>,
}

/// What the header of the bytes says of a clock; its held row is a part of its own.
#[derive(Serialize, Deserialize)]
struct ClockHeader {
    stream: String,
    partition: u32,
    greatest: Option<i64>,
    has_ended: bool,
    records_left: Option<u32>,
}

#[derive(Serialize, Deserialize)]
struct Header {
    clocks: Vec<ClockHeader>,
    parts: Vec<String>,
}

impl WorkerSnapshot {
    pub(crate) fn new(nodes: impl Iterator<Item = (String, Vec<RecordBatch>)>, clocks: SavedClocks) -> Self {
        Self { nodes: nodes.collect(), clocks }
    }

    pub(crate) fn node(&self, fingerprint: &str) -> Option<&Vec<RecordBatch>> {
        self.nodes.get(fingerprint)
    }

    pub(crate) fn clocks(&self, stream: &str) -> impl Iterator<Item = (&PartitionId, &SavedClock)> {
        self.clocks.get(stream).into_iter().flatten()
    }

    /// The partitions whose clocks were saved.
    pub fn partitions(&self) -> impl Iterator<Item = (&str, PartitionId)> {
        self.clocks.iter().flat_map(|(stream, clocks)| clocks.keys().map(|partition| (stream.as_str(), *partition)))
    }

    /// The same with other numbers for partitions, which are stable for one run of the program only. Partitions for
    /// which `number` is `None` are forgotten.
    #[must_use]
    pub fn renumbered(mut self, number: &dyn Fn(&str, PartitionId) -> Option<PartitionId>) -> Self {
        for (stream, partitions) in &mut self.clocks {
            let old = std::mem::take(partitions);
            *partitions = old.into_iter().filter_map(|(id, clock)| Some((number(stream, id)?, clock))).collect();
        }
        self
    }

    /// The snapshot as bytes.
    ///
    /// # Errors
    /// Arrow that cannot be written.
    pub fn to_bytes(&self) -> Result<Vec<u8>, EngineError> {
        let mut header = Header { clocks: vec![], parts: vec![] };
        let mut bodies: Vec<Vec<u8>> = vec![];
        for (name, batches) in &self.nodes {
            // The batches of one operator may differ in schema, so each is a stream of its own.
            for batch in batches {
                header.parts.push(name.clone());
                bodies.push(write_batch(batch)?);
            }
        }
        for (stream, partitions) in &self.clocks {
            for (partition, clock) in partitions {
                header.clocks.push(ClockHeader {
                    stream: stream.clone(),
                    partition: partition.0,
                    greatest: clock.greatest,
                    has_ended: clock.has_ended,
                    records_left: clock.held.as_ref().map(|held| held.records_left),
                });
                if let Some(held) = &clock.held {
                    bodies.push(write_batch(&held.row.to_batch()?)?);
                }
            }
        }
        let header = serde_json::to_vec(&header).map_err(|error| EngineError::Snapshot(error.to_string()))?;
        let mut bytes = MAGIC.to_vec();
        bytes.extend(FORMAT.to_le_bytes());
        for part in std::iter::once(&header).chain(&bodies) {
            bytes.extend((part.len() as u64).to_le_bytes());
            bytes.extend(part);
        }
        Ok(bytes)
    }

    /// Reads what [`Self::to_bytes`] wrote.
    ///
    /// # Errors
    /// Bytes that are torn, of another format, or of something else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, EngineError> {
        let mut rest = bytes
            .strip_prefix(MAGIC)
            .ok_or_else(|| EngineError::Snapshot("these bytes are not a snapshot".to_owned()))?;
        let format = take(&mut rest, 4)?;
        if format != FORMAT.to_le_bytes() {
            return Err(EngineError::Snapshot(format!("format {format:?} is not {FORMAT}")));
        }
        let header: Header = serde_json::from_slice(part(&mut rest)?)
            .map_err(|error| EngineError::Snapshot(format!("header: {error}")))?;
        let mut snapshot = Self::default();
        for name in header.parts {
            let batches = read_batches(part(&mut rest)?)?;
            snapshot.nodes.entry(name).or_default().extend(batches);
        }
        for clock in header.clocks {
            let held = match clock.records_left {
                Some(records_left) => {
                    let row = read_batches(part(&mut rest)?)?;
                    let row = row.first().ok_or_else(|| EngineError::Snapshot("a held row is missing".to_owned()))?;
                    Some(Held { row: Rows::from_batch(row)?, records_left })
                }
                None => None,
            };
            let saved = SavedClock { greatest: clock.greatest, has_ended: clock.has_ended, held };
            snapshot.clocks.entry(clock.stream).or_default().insert(PartitionId(clock.partition), saved);
        }
        Ok(snapshot)
    }
}

impl SavedClock {
    pub(crate) fn of(clock: &PartitionClock) -> Self {
        Self { greatest: clock.greatest, has_ended: clock.has_ended, held: clock.held.clone() }
    }

    pub(crate) fn apply(&self, clock: &mut PartitionClock) {
        clock.greatest = self.greatest;
        clock.has_ended = self.has_ended;
        clock.held = self.held.clone();
    }
}

/// One batch as an Arrow IPC stream, which holds what its rows need and no more of the buffers they were cut from.
pub(crate) fn write_batch(batch: &RecordBatch) -> Result<Vec<u8>, EngineError> {
    let columns = batch.columns().iter().map(compacted).collect();
    let batch = batch_of(batch.schema(), columns, batch.num_rows())?;
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema())?;
    writer.write(&batch)?;
    Ok(writer.into_inner()?)
}

/// The batches of an Arrow IPC stream.
pub(crate) fn read_batches(bytes: &[u8]) -> Result<Vec<RecordBatch>, EngineError> {
    Ok(StreamReader::try_new(Cursor::new(bytes), None)?.collect::<Result<Vec<_>, _>>()?)
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], EngineError> {
    let (head, tail) = rest
        .split_at_checked(length)
        .ok_or_else(|| EngineError::Snapshot("the bytes end in the middle of a part".to_owned()))?;
    *rest = tail;
    Ok(head)
}

fn part<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], EngineError> {
    let mut length = [0; 8];
    length.copy_from_slice(take(rest, 8)?);
    let length = usize::try_from(u64::from_le_bytes(length))
        .map_err(|error| EngineError::Snapshot(format!("a part of impossible length: {error}")))?;
    take(rest, length)
}
