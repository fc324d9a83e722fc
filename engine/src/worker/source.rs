//! Where events enter a worker: the partitions of a stream with their clocks, and batches as rows of the source node.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, BinaryViewArray};
use arrow::datatypes::TimestampMicrosecondType;

use crate::batch::{PartitionId, SourceBatch};
use crate::catalog::{Stream, system};
use crate::clock::PartitionClock;
use crate::error::EngineError;
use crate::graph::NodeId;
use crate::output::StreamCounts;
use crate::rows::{Hashed, Identity, Rows, batch_of};
use crate::time::EventTime;

/// A stream as this worker reads it.
pub(super) struct SourceState {
    pub(super) stream: Arc<Stream>,
    pub(super) node: NodeId,
    pub(super) partitions: BTreeMap<PartitionId, PartitionClock>,
    pub(super) counts: StreamCounts,
}

impl SourceState {
    /// Whether it has partitions, and all have fallen silent.
    pub(super) fn is_idle(&self) -> bool {
        !self.partitions.is_empty() && self.partitions.values().all(|clock| clock.is_idle)
    }

    /// How far the clocks of its partitions are, without the lateness: what they find late from now on is not before this.
    pub(super) fn reached(&self) -> EventTime {
        let active = self.partitions.values().filter(|clock| !clock.is_idle).map(PartitionClock::reached).min();
        let idle = || self.partitions.values().map(PartitionClock::reached).max();
        active.or_else(idle).unwrap_or(EventTime::MIN)
    }

    pub(super) fn watermark(&self) -> EventTime {
        let active = self.partitions.values().filter(|clock| !clock.is_idle);
        let idle = self.partitions.values().filter(|clock| clock.is_idle).map(PartitionClock::watermark).max();
        active.map(PartitionClock::watermark).min().or(idle).unwrap_or(EventTime::MIN)
    }
}

pub(super) fn misfit(stream: &str, reason: impl Into<String>) -> EngineError {
    EngineError::Batch { stream: stream.to_owned(), reason: reason.into() }
}

/// A batch as rows of the source node.
pub(super) fn rows_of(
    batch: &SourceBatch,
    stream: &Stream,
    schema: &arrow::datatypes::SchemaRef,
) -> Result<Rows, EngineError> {
    let rows = &batch.rows;
    let named = |name: &str| rows.column_by_name(name);
    let required = |name: &str| named(name).ok_or_else(|| misfit(&batch.stream, format!("column `{name}` is missing")));
    let time = required(system::TIME)?
        .as_primitive_opt::<TimestampMicrosecondType>()
        .ok_or_else(|| misfit(&batch.stream, "`_time` is not a timestamp in microseconds"))?
        .clone();
    if time.null_count() > 0 {
        return Err(misfit(&batch.stream, "`_time` has NULLs"));
    }
    let arrival = match named(system::ARRIVAL) {
        Some(arrival) => arrival.as_primitive::<TimestampMicrosecondType>().clone(),
        None => crate::rows::no_arrival(rows.num_rows()),
    };
    let columns = schema.fields().iter().map(|field| required(field.name()).cloned()).collect::<Result<Vec<_>, _>>()?;
    let columns = columns
        .iter()
        .zip(schema.fields())
        .map(|(column, field)| {
            if column.data_type() == field.data_type() {
                return Ok(Arc::clone(column));
            }
            let reason = format!("`{}` is {}, not {}", field.name(), column.data_type(), field.data_type());
            Err(misfit(&batch.stream, reason))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let identity = match named("_uid") {
        Some(uids) => Identity::Uid(uids.as_fixed_size_binary().clone()),
        None => Identity::Unhashed { of: Hashed::Record(stream.name.as_str().into()), bytes: identity_bytes(batch)? },
    };
    let columns = batch_of(Arc::clone(schema), columns, rows.num_rows())?;
    Ok(Rows { columns, time, identity, arrival, late_us: None, provisional: None, withdrawn: None })
}

/// The uids of decoded records of a stream (see [`Uid::of_record`](crate::Uid::of_record)), for those who keep all rows.
///
/// # Errors
/// A batch without raw bytes.
pub fn record_uids(batch: &SourceBatch) -> Result<arrow::array::FixedSizeBinaryArray, EngineError> {
    let bytes = identity_bytes(batch)?;
    let uid = |raw: Option<&[u8]>| crate::Uid::of_record(&batch.stream, raw.unwrap_or_default());
    Ok(crate::rows::uid_array(bytes.iter().map(uid)))
}

/// What a row's uid is hashed from: the sender's own id where there is one, else the raw bytes.
fn identity_bytes(batch: &SourceBatch) -> Result<BinaryViewArray, EngineError> {
    let raw = batch
        .rows
        .column_by_name(system::RAW)
        .and_then(|raw| raw.as_binary_view_opt())
        .ok_or_else(|| misfit(&batch.stream, "`_raw` is missing or not BinaryView"))?;
    let Some(ids) = batch.rows.column_by_name("_event_id").and_then(|ids| ids.as_string_view_opt()) else {
        return Ok(raw.clone());
    };
    Ok((0..raw.len())
        .map(|row| Some(if ids.is_valid(row) { ids.value(row).as_bytes() } else { raw.value(row) }))
        .collect())
}
