//! Rows on their way through the graph: the columns SQL sees, and beside them what the engine knows of each row.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryViewArray, BooleanArray, FixedSizeBinaryArray, FixedSizeBinaryBuilder, Int64Array,
    RecordBatch, TimestampMicrosecondArray, UInt64Array, new_null_array,
};
use arrow::compute::{concat, concat_batches, filter, filter_record_batch, take, take_record_batch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimestampMicrosecondType};
use arrow::error::ArrowError;

use crate::catalog::TIME_TYPE;
use crate::identity::Uid;

/// What makes a row itself.
#[derive(Debug, Clone)]
pub(crate) enum Identity {
    /// The bytes its uid will be hashed from; most rows are filtered away before anybody needs the hash.
    Unhashed {
        /// Whose bytes they are.
        of: Hashed,
        /// The bytes of each row.
        bytes: BinaryViewArray,
    },
    /// The uid of the row or of its cause.
    Uid(FixedSizeBinaryArray),
}

/// What a uid will be hashed from.
#[derive(Debug, Clone)]
pub(crate) enum Hashed {
    /// The raw bytes of a record of this stream, or the sender's own id.
    Record(Arc<str>),
    /// The [`cause`](crate::identity::cause) of a row.
    Cause,
}

impl Hashed {
    fn uid(&self, bytes: &[u8]) -> Uid {
        match self {
            Self::Record(stream) => Uid::of_record(stream, bytes),
            Self::Cause => Uid::of_cause_bytes(bytes),
        }
    }
}

impl Identity {
    /// The same of other rows, which `pick` takes from an array.
    fn picked(&self, pick: impl Fn(&dyn Array) -> Result<ArrayRef, ArrowError>) -> Result<Self, ArrowError> {
        Ok(match self {
            Self::Unhashed { of, bytes } => {
                Self::Unhashed { of: of.clone(), bytes: pick(bytes)?.as_binary_view().clone() }
            }
            Self::Uid(uids) => Self::Uid(pick(uids)?.as_fixed_size_binary().clone()),
        })
    }
}

/// A batch of rows.
#[derive(Debug, Clone)]
pub(crate) struct Rows {
    /// The columns that SQL sees.
    pub(crate) columns: RecordBatch,
    /// Event time of each row, never null.
    pub(crate) time: TimestampMicrosecondArray,
    /// Identity of each row.
    pub(crate) identity: Identity,
    /// Arrival time of each row, where known.
    pub(crate) arrival: TimestampMicrosecondArray,
    /// How late each row is, in microseconds behind what its partition allows, and [`NEVER`] where no allowance reaches;
    /// 0 for a row on time, `None` where all are.
    pub(crate) late_us: Option<Int64Array>,
    /// Which rows state something that may still change; `None` for none.
    pub(crate) provisional: Option<BooleanArray>,
    /// Which rows take back what was stated of their cause. Filters drop no rows of such a batch, they mark them; `None`
    /// where there is nothing to take back.
    pub(crate) withdrawn: Option<BooleanArray>,
}

/// How late a row is that no allowance reaches.
pub(crate) const NEVER: i64 = i64::MAX;

impl Rows {
    pub(crate) fn len(&self) -> usize {
        self.time.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.time.is_empty()
    }

    /// The same rows with other columns.
    pub(crate) fn with_columns(self, columns: RecordBatch) -> Self {
        Self { columns, ..self }
    }

    /// The rows for which `keep` is true.
    pub(crate) fn filter(&self, keep: &BooleanArray) -> Result<Self, ArrowError> {
        if keep.true_count() == keep.len() {
            return Ok(self.clone());
        }
        let flags = |flags: &Option<BooleanArray>| {
            flags.as_ref().map(|flags| filter(flags, keep).map(|kept| kept.as_boolean().clone())).transpose()
        };
        Ok(Self {
            columns: if self.columns.num_columns() == 0 {
                empty_columns(keep.true_count())
            } else {
                filter_record_batch(&self.columns, keep)?
            },
            time: filter(&self.time, keep)?.as_primitive().clone(),
            identity: self.identity.picked(|array| filter(array, keep))?,
            arrival: filter(&self.arrival, keep)?.as_primitive().clone(),
            late_us: self
                .late_us
                .as_ref()
                .map(|late| filter(late, keep))
                .transpose()?
                .map(|late| late.as_primitive().clone()),
            provisional: flags(&self.provisional)?,
            withdrawn: flags(&self.withdrawn)?,
        })
    }

    /// The rows at `indices`, in that order.
    pub(crate) fn take(&self, indices: &UInt64Array) -> Result<Self, ArrowError> {
        let flags = |flags: &Option<BooleanArray>| {
            flags.as_ref().map(|flags| take(flags, indices, None).map(|kept| kept.as_boolean().clone())).transpose()
        };
        Ok(Self {
            columns: if self.columns.num_columns() == 0 {
                empty_columns(indices.len())
            } else {
                take_record_batch(&self.columns, indices)?
            },
            time: take(&self.time, indices, None)?.as_primitive().clone(),
            identity: self.identity.picked(|array| take(array, indices, None))?,
            arrival: take(&self.arrival, indices, None)?.as_primitive().clone(),
            late_us: self
                .late_us
                .as_ref()
                .map(|late| take(late, indices, None).map(|late| late.as_primitive().clone()))
                .transpose()?,
            provisional: flags(&self.provisional)?,
            withdrawn: flags(&self.withdrawn)?,
        })
    }

    /// A stretch of the rows, without a copy.
    pub(crate) fn slice(&self, offset: usize, length: usize) -> Self {
        let flags = |flags: &Option<BooleanArray>| flags.as_ref().map(|flags| flags.slice(offset, length));
        Self {
            columns: if self.columns.num_columns() == 0 {
                empty_columns(length)
            } else {
                self.columns.slice(offset, length)
            },
            time: self.time.slice(offset, length),
            identity: match &self.identity {
                Identity::Unhashed { of, bytes } => {
                    Identity::Unhashed { of: of.clone(), bytes: bytes.slice(offset, length) }
                }
                Identity::Uid(uid) => Identity::Uid(uid.slice(offset, length)),
            },
            arrival: self.arrival.slice(offset, length),
            late_us: self.late_us.as_ref().map(|late| late.slice(offset, length)),
            provisional: flags(&self.provisional),
            withdrawn: flags(&self.withdrawn),
        }
    }

    /// Rows of one schema behind each other, with their uids computed.
    pub(crate) fn concat(parts: &[Self]) -> Result<Self, ArrowError> {
        let batches = parts.iter().map(Self::to_batch).collect::<Result<Vec<_>, _>>()?;
        let schema = batches
            .first()
            .map(RecordBatch::schema)
            .ok_or_else(|| ArrowError::InvalidArgumentError("there are no rows to put behind each other".to_owned()))?;
        Self::from_batch(&concat_batches(&schema, &batches)?)
    }

    /// The same rows in buffers of their own. Views keep all bytes of the batch that they were read from alive.
    pub(crate) fn compacted(self) -> Result<Self, ArrowError> {
        let columns = self.columns.columns().iter().map(compacted).collect();
        let columns = batch_of(self.columns.schema(), columns, self.len())?;
        let identity = match self.identity {
            Identity::Unhashed { of, bytes } => Identity::Unhashed { of, bytes: bytes.gc() },
            uids => uids,
        };
        Ok(Self { columns, identity, ..self })
    }

    /// The same rows with their uids computed.
    pub(crate) fn identified(self) -> Self {
        let identity = Identity::Uid(self.uids());
        Self { identity, ..self }
    }

    /// The uids of all rows.
    pub(crate) fn uids(&self) -> FixedSizeBinaryArray {
        match &self.identity {
            Identity::Uid(uids) => uids.clone(),
            Identity::Unhashed { of, bytes } => uid_array(bytes.iter().map(|bytes| of.uid(bytes.unwrap_or(&[])))),
        }
    }

    /// The uid of one row.
    pub(crate) fn uid(&self, row: usize) -> Uid {
        match &self.identity {
            Identity::Uid(uids) => uid_at(uids, row),
            Identity::Unhashed { of, bytes } => of.uid(bytes.value(row)),
        }
    }

    pub(crate) fn is_late(&self, row: usize) -> bool {
        self.late_us(row) > 0
    }

    /// How late a row is; 0 for one on time.
    pub(crate) fn late_us(&self, row: usize) -> i64 {
        self.late_us.as_ref().map_or(0, |late| late.value(row))
    }

    pub(crate) fn is_withdrawn(&self, row: usize) -> bool {
        self.withdrawn.as_ref().is_some_and(|withdrawn| withdrawn.value(row))
    }

    pub(crate) fn is_provisional(&self, row: usize) -> bool {
        self.provisional.as_ref().is_some_and(|provisional| provisional.value(row))
    }

    /// The bytes of all buffers that the rows keep alive.
    pub(crate) fn bytes(&self) -> usize {
        let identity = match &self.identity {
            Identity::Unhashed { bytes, .. } => bytes.get_array_memory_size(),
            Identity::Uid(uids) => uids.get_array_memory_size(),
        };
        let flags = [&self.provisional, &self.withdrawn].into_iter().flatten().map(Array::get_array_memory_size);
        let late = self.late_us.as_ref().map_or(0, Array::get_array_memory_size);
        let times = self.time.get_array_memory_size() + self.arrival.get_array_memory_size();
        self.columns.get_array_memory_size() + identity + times + late + flags.sum::<usize>()
    }

    /// One batch for a frame or a snapshot: the columns, then the engine's own, with computed uids.
    pub(crate) fn to_batch(&self) -> Result<RecordBatch, ArrowError> {
        let flags = |flags: &Option<BooleanArray>| -> ArrayRef {
            Arc::new(flags.clone().unwrap_or_else(|| BooleanArray::from(vec![false; self.len()])))
        };
        let fields = self.columns.schema().fields().iter().cloned().chain(meta_fields()).collect::<Vec<_>>();
        let mut columns = self.columns.columns().to_vec();
        columns.extend([
            Arc::new(self.time.clone()) as ArrayRef,
            Arc::new(self.uids()),
            Arc::new(self.arrival.clone()),
            Arc::new(self.late_us.clone().unwrap_or_else(|| Int64Array::from(vec![0; self.len()]))),
            flags(&self.provisional),
            flags(&self.withdrawn),
        ]);
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
    }

    /// The rows of a batch that [`Rows::to_batch`] made.
    pub(crate) fn from_batch(batch: &RecordBatch) -> Result<Self, ArrowError> {
        let visible = batch
            .num_columns()
            .checked_sub(META_COLUMNS)
            .ok_or_else(|| ArrowError::SchemaError("a frame without the engine's own columns".to_owned()))?;
        let flags = |index: usize| {
            let flags = batch.column(index).as_boolean().clone();
            (flags.true_count() > 0).then_some(flags)
        };
        Ok(Self {
            columns: project_leading(batch, visible)?,
            time: batch.column(visible).as_primitive::<TimestampMicrosecondType>().clone(),
            identity: Identity::Uid(batch.column(visible + 1).as_fixed_size_binary().clone()),
            arrival: batch.column(visible + 2).as_primitive::<TimestampMicrosecondType>().clone(),
            late_us: Some(batch.column(visible + 3).as_primitive::<Int64Type>().clone())
                .filter(|late| late.values().iter().any(|late| *late > 0)),
            provisional: flags(visible + 4),
            withdrawn: flags(visible + 5),
        })
    }
}

const META_COLUMNS: usize = 6;

fn meta_fields() -> [Arc<Field>; META_COLUMNS] {
    [
        Arc::new(Field::new("__time", TIME_TYPE, false)),
        Arc::new(Field::new("__uid", DataType::FixedSizeBinary(16), false)),
        Arc::new(Field::new("__arrival", TIME_TYPE, true)),
        Arc::new(Field::new("__late_us", DataType::Int64, false)),
        Arc::new(Field::new("__provisional", DataType::Boolean, false)),
        Arc::new(Field::new("__withdrawn", DataType::Boolean, false)),
    ]
}

fn project_leading(batch: &RecordBatch, columns: usize) -> Result<RecordBatch, ArrowError> {
    if columns == 0 {
        return Ok(empty_columns(batch.num_rows()));
    }
    batch.project(&(0..columns).collect::<Vec<_>>())
}

/// A batch of rows without a single column.
pub(crate) fn empty_columns(rows: usize) -> RecordBatch {
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options)
        .expect("a batch without columns has any number of rows")
}

/// A batch with this schema and these columns, which may be none.
pub(crate) fn batch_of(schema: SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch, ArrowError> {
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema, columns, &options)
}

/// Rows that were saved, under the schema of a program that was edited since: columns by name, NULL in those that are new or
/// have another type now.
pub(crate) fn refit(rows: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    if rows.schema().fields() == schema.fields() {
        return Ok(rows.clone());
    }
    let column = |name: &str| rows.schema().index_of(name).ok().map(|at| rows.column(at));
    let columns = schema.fields().iter().map(|field| -> ArrayRef {
        let saved = column(field.name()).filter(|saved| saved.data_type() == field.data_type());
        saved.cloned().unwrap_or_else(|| new_null_array(field.data_type(), rows.num_rows()))
    });
    batch_of(Arc::clone(schema), columns.collect(), rows.num_rows())
}

/// Views keep all bytes of the batch that they were read from; a copy keeps only its own.
pub(crate) fn compacted(column: &ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Utf8View => Arc::new(column.as_string_view().gc()),
        DataType::BinaryView => Arc::new(column.as_binary_view().gc()),
        _ => Arc::clone(column),
    }
}

/// Uids as an Arrow array.
pub(crate) fn uid_array(uids: impl Iterator<Item = Uid>) -> FixedSizeBinaryArray {
    let mut builder = FixedSizeBinaryBuilder::with_capacity(uids.size_hint().0, 16);
    for uid in uids {
        builder.append_value(uid.0).expect("a uid has sixteen bytes");
    }
    builder.finish()
}

/// One uid of an array.
pub(crate) fn uid_at(uids: &FixedSizeBinaryArray, row: usize) -> Uid {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(uids.value(row));
    Uid(bytes)
}

/// Arrival times nobody knows.
pub(crate) fn no_arrival(rows: usize) -> TimestampMicrosecondArray {
    new_null_array(&TIME_TYPE, rows).as_primitive().clone()
}

/// Several arrays of one type as one.
pub(crate) fn concat_arrays(arrays: &[ArrayRef]) -> Result<ArrayRef, ArrowError> {
    concat(&arrays.iter().map(AsRef::as_ref).collect::<Vec<_>>())
}
