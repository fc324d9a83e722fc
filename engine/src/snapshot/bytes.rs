//! Saved state as bytes: a length-prefixed list of parts, a header first, behind a hash of all of them. Rows are Arrow IPC
//! streams.

use std::io::Cursor;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use super::{Change, Saved, SavedClock, WorkerSnapshot};
use crate::batch::PartitionId;
use crate::clock::Held;
use crate::error::EngineError;
use crate::graph::StateName;
use crate::rows::{Rows, batch_of, compacted};

/// The format of the bytes that are written. A snapshot of a later version is refused with a message.
const FORMAT: u32 = 3;
/// The same without the hash, which is read too: manifests have always had a digest of each snapshot.
const FORMAT_UNHASHED: u32 = 2;
/// XXH3-128 of everything behind it.
const HASH_BYTES: usize = 16;
const MAGIC: &[u8; 8] = b"WEIRSNAP";
/// The column of ids in front of the rows that have some.
const ID: &str = "__id";

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
    nodes: Vec<NodeHeader>,
}

/// What one operator saved; each change has a part of its own.
#[derive(Serialize, Deserialize)]
struct NodeHeader {
    name: StateName,
    is_whole: bool,
    changes: Vec<(Kind, i64)>,
}

/// What a change is, and its section, or its instant.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Put,
    PutById,
    Remove,
    RemoveBelow,
    Drop,
    Watermark,
}

impl WorkerSnapshot {
    /// The snapshot as bytes.
    ///
    /// # Errors
    /// Arrow that cannot be written.
    pub fn to_bytes(&self) -> Result<Vec<u8>, EngineError> {
        let mut header = Header { clocks: vec![], nodes: vec![] };
        let mut bodies: Vec<Vec<u8>> = vec![];
        for (name, saved) in &self.nodes {
            let changes = saved.changes.iter().map(|change| {
                let (kind, section, body) = written(change)?;
                bodies.push(body);
                Ok((kind, section))
            });
            let changes = changes.collect::<Result<_, EngineError>>()?;
            header.nodes.push(NodeHeader { name: *name, is_whole: saved.is_whole, changes });
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
        let begin = bytes.len() + HASH_BYTES;
        bytes.resize(begin, 0);
        for part in std::iter::once(&header).chain(&bodies) {
            bytes.extend((part.len() as u64).to_le_bytes());
            bytes.extend(part);
        }
        let hash = xxh3_128(&bytes[begin..]).to_le_bytes();
        bytes[begin - HASH_BYTES..begin].copy_from_slice(&hash);
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
        let mut format = [0; 4];
        format.copy_from_slice(take(&mut rest, 4)?);
        match u32::from_le_bytes(format) {
            // Arrow trusts the sizes in its streams, so that nothing is handed to it which was not written as it is.
            FORMAT => {
                let hash = take(&mut rest, HASH_BYTES)?;
                if hash != xxh3_128(rest).to_le_bytes() {
                    return Err(EngineError::Snapshot("these bytes do not fit their hash".to_owned()));
                }
            }
            FORMAT_UNHASHED => {}
            format => {
                let known = format!("{FORMAT_UNHASHED} and {FORMAT}");
                let message = format!("format {format} is none that this version reads; it reads {known}");
                return Err(EngineError::Snapshot(message));
            }
        }
        let header: Header = serde_json::from_slice(part(&mut rest)?)
            .map_err(|error| EngineError::Snapshot(format!("header: {error}")))?;
        let mut snapshot = Self::default();
        for NodeHeader { name, is_whole, changes } in header.nodes {
            let changes = changes.into_iter().map(|(kind, section)| read(&kind, section, part(&mut rest)?));
            let changes = changes.collect::<Result<_, EngineError>>()?;
            snapshot.nodes.insert(name, Saved { is_whole, changes });
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

/// A change as its kind, section and bytes.
fn written(change: &Change) -> Result<(Kind, i64, Vec<u8>), EngineError> {
    Ok(match change {
        Change::Put { section, ids: None, rows } => (Kind::Put, *section, write_batch(rows)?),
        Change::Put { section, ids: Some(ids), rows } => (Kind::PutById, *section, write_with_ids(ids, rows)?),
        Change::PutLater { section, ids, rows } => (Kind::PutById, *section, write_with_ids(ids, &rows.made()?)?),
        Change::Remove { section, ids } => {
            let schema = Schema::new(vec![Field::new(ID, DataType::Binary, false)]);
            let batch = RecordBatch::try_new(Arc::new(schema), vec![Arc::new(ids.clone())])?;
            (Kind::Remove, *section, write_batch(&batch)?)
        }
        Change::RemoveBelow { section, id } => (Kind::RemoveBelow, *section, id.clone()),
        Change::Drop { section } => (Kind::Drop, *section, vec![]),
        Change::Watermark(watermark) => (Kind::Watermark, *watermark, vec![]),
    })
}

/// Rows with their ids as one batch.
fn write_with_ids(ids: &BinaryArray, rows: &RecordBatch) -> Result<Vec<u8>, EngineError> {
    let id = Arc::new(Field::new(ID, DataType::Binary, false));
    let fields: Vec<_> = std::iter::once(id).chain(rows.schema().fields().iter().cloned()).collect();
    let mut columns: Vec<ArrayRef> = vec![Arc::new(ids.clone())];
    columns.extend(rows.columns().iter().cloned());
    write_batch(&RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

fn read(kind: &Kind, section: i64, bytes: &[u8]) -> Result<Change, EngineError> {
    let one = |bytes: &[u8]| {
        let batch = read_batches(bytes)?.into_iter().next();
        batch.ok_or_else(|| EngineError::Snapshot("rows are missing".to_owned()))
    };
    Ok(match kind {
        Kind::Put => Change::Put { section, ids: None, rows: one(bytes)? },
        Kind::PutById => {
            let batch = one(bytes)?;
            let rows = batch.project(&(1..batch.num_columns()).collect::<Vec<_>>())?;
            Change::Put { section, ids: Some(ids_of(&batch)?), rows }
        }
        Kind::Remove => Change::Remove { section, ids: ids_of(&one(bytes)?)? },
        Kind::RemoveBelow => Change::RemoveBelow { section, id: bytes.to_vec() },
        Kind::Drop => Change::Drop { section },
        Kind::Watermark => Change::Watermark(section),
    })
}

fn ids_of(batch: &RecordBatch) -> Result<BinaryArray, EngineError> {
    let ids = batch.columns().first().and_then(|ids| ids.as_binary_opt::<i32>()).filter(|ids| ids.null_count() == 0);
    ids.cloned().ok_or_else(|| EngineError::Snapshot("rows have no ids".to_owned()))
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

#[cfg(test)]
mod tests;
