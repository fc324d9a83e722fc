//! Reading events back in the order of their time, for replays: day by day, so that a month needs the memory of a day.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, StringViewArray};
use arrow::datatypes::{DataType, Date32Type, Field, FieldRef, Fields, Schema, SchemaRef, TimestampMicrosecondType};
use arrow::error::ArrowError;
use datafusion::common::ScalarValue;
use datafusion::execution::disk_manager::DiskManagerBuilder;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::functions_aggregate::expr_fn::{max, min};
use datafusion::prelude::{DataFrame, Expr, SessionConfig, SessionContext, lit};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use serde_json::Value;
use weir_engine::catalog::{TIME_TYPE, system};
use weir_engine::identity::NotAUid;
use weir_engine::{ColumnSet, EventTime, LateReason, Stream, Uid};

use super::schema::{Conformer, DAY, UID, exact, time_range};
use super::tables::late_events;
use super::{Archive, ArchiveError};

/// Microseconds of a day.
const DAY_US: i64 = 86_400_000_000;

/// Reads tables of the archive in the order (time, uid), within bounds of memory.
#[derive(Debug, Clone)]
pub struct ArchiveReader {
    pub(super) archive: Archive,
    memory_bytes: usize,
}

impl ArchiveReader {
    /// A reader that sorts within `memory_bytes` and beyond that on disk.
    #[must_use]
    pub fn new(archive: Archive, memory_bytes: usize) -> Self {
        Self { archive, memory_bytes }
    }

    /// The events of a stream from `from` up to, and without, `to`, in the order (time, uid).
    ///
    /// Shape: the columns of `columns`, then `_time`, `_raw` and `_arrival` as in a source batch, then `_uid`
    /// (`FixedSizeBinary(16)`), `_topic`, `_partition` and `_offset` where they are not among the columns. `_raw` is
    /// empty where raw bytes were not archived.
    ///
    /// # Errors
    /// The table cannot be read.
    pub async fn scan(
        &self,
        stream: &Stream,
        from: Option<EventTime>,
        to: Option<EventTime>,
        columns: &ColumnSet,
    ) -> Result<BoxStream<'static, Result<RecordBatch, ArchiveError>>, ArchiveError> {
        let schema = replay_schema(columns);
        let undeclared = Undeclared::of(stream, columns);
        let context = self.context(&stream.name)?;
        let provider = self.archive.stream_provider(stream).await?;
        let table = scan_error(&stream.name, context.read_table(provider))?;
        let name: Arc<str> = Arc::from(stream.name.as_str());
        let days = days(&name, table.clone(), from, to).await?;
        let conformer = Conformer::new(Arc::clone(&schema));
        let mut wanted: Vec<Expr> = schema
            .fields()
            .iter()
            .map(|field| field.name())
            .filter(|name| !undeclared.has(name))
            .map(|name| exact(name))
            .collect();
        if undeclared.reads() && schema.field_with_name(system::UNMAPPED).is_err() {
            wanted.push(exact(system::UNMAPPED));
        }
        let range = time_range(system::TIME, from, to);
        let batches = futures::stream::iter(days)
            .then(move |day| {
                let day = exact(DAY).eq(lit(ScalarValue::Date32(Some(day))));
                let (table, range, wanted, name) = (table.clone(), range.clone(), wanted.clone(), Arc::clone(&name));
                async move { scan_error(&name, one_day(table, day.and(range), wanted).await) }
            })
            .try_flatten()
            .and_then(move |batch| {
                let batch = undeclared.read(&batch);
                let rows = batch.and_then(|batch| conformer.conform(&batch)).and_then(|batch| with_raw(&batch));
                let table = "stream".to_owned();
                std::future::ready(rows.map_err(|source| ArchiveError::Rows { table, source }))
            });
        Ok(batches.boxed())
    }

    /// The events of a stream that stateful operators did not see, and how late each was, as
    /// [`SourceBatch::late_us`](weir_engine::SourceBatch::late_us) has it.
    ///
    /// # Errors
    /// The table cannot be read.
    pub async fn late_events(
        &self,
        stream: &Stream,
        from: Option<EventTime>,
        to: Option<EventTime>,
    ) -> Result<HashMap<Uid, i64>, ArchiveError> {
        let spec = late_events();
        let context = self.context(&spec.name)?;
        let provider = self.archive.provider(&spec).await?;
        let wanted = exact("stream").eq(lit(stream.name.as_str())).and(time_range("event_time", from, to));
        let columns = ["uid", "reason", "time", "event_time"].map(exact).to_vec();
        let rows = async { context.read_table(provider)?.filter(wanted)?.select(columns)?.collect().await };
        let mut late = HashMap::new();
        for batch in scan_error(&spec.name, rows.await)? {
            let as_type = |column: usize, data_type: &DataType| {
                arrow::compute::cast(batch.column(column), data_type)
                    .map_err(|source| ArchiveError::Rows { table: spec.name.clone(), source })
            };
            let (uids, reasons) = (as_type(0, &DataType::Utf8View)?, as_type(1, &DataType::Utf8View)?);
            let (against, times) = (as_type(2, &TIME_TYPE)?, as_type(3, &TIME_TYPE)?);
            let against = against.as_primitive::<TimestampMicrosecondType>();
            let times = times.as_primitive::<TimestampMicrosecondType>();
            let rows = uids.as_string_view().iter().zip(reasons.as_string_view()).enumerate();
            for (row, (uid, reason)) in rows {
                let behind_us = against.value(row).saturating_sub(times.value(row));
                let late_us = match reason {
                    Some(reason) if reason == LateReason::Lateness.as_str() => {
                        behind_us.saturating_sub(stream.lateness_us).max(1)
                    }
                    Some(reason) if reason == LateReason::Idle.as_str() => behind_us.max(1),
                    _ => i64::MAX,
                };
                // An event that is not found to be late would be taken for one on time.
                let uid = parse_uid(uid.unwrap_or_default());
                let uid = uid.map_err(|source| ArchiveError::Rows { table: spec.name.clone(), source })?;
                late.insert(uid, late_us);
            }
        }
        Ok(late)
    }

    pub(super) fn context(&self, table: &str) -> Result<SessionContext, ArchiveError> {
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(FairSpillPool::new(self.memory_bytes)))
            .with_disk_manager_builder(DiskManagerBuilder::default())
            .build_arc();
        Ok(SessionContext::new_with_config_rt(SessionConfig::new(), scan_error(table, runtime)?))
    }
}

/// Columns of an open stream that it does not declare: their values are in `unmapped`.
#[derive(Debug, Clone)]
struct Undeclared(Vec<String>);

impl Undeclared {
    fn of(stream: &Stream, columns: &ColumnSet) -> Self {
        let known = stream.all_columns();
        let undeclared = columns.columns.iter().filter(|field| stream.open && known.find(field.name()).is_none());
        Self(undeclared.map(|field| field.name().clone()).collect())
    }

    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|column| column == name)
    }

    fn reads(&self) -> bool {
        !self.0.is_empty()
    }

    /// The batch with these columns: each is the value of that key, or else of that dotted path, as text.
    fn read(&self, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let Some(unmapped) = batch.column_by_name(system::UNMAPPED).filter(|_| self.reads()) else {
            return Ok(batch.clone());
        };
        let objects: Vec<Option<Value>> = unmapped
            .as_string_view()
            .iter()
            .map(|text| text.and_then(|text| serde_json::from_str(text).ok()))
            .collect();
        let mut fields: Vec<FieldRef> = batch.schema_ref().fields().iter().cloned().collect();
        let mut columns = batch.columns().to_vec();
        for name in &self.0 {
            let text = |value: &Value| match value {
                Value::Null => None,
                Value::String(text) => Some(text.clone()),
                other => Some(other.to_string()),
            };
            let values =
                objects.iter().map(|object| object.as_ref().and_then(|object| at_path(object, name)).and_then(text));
            columns.push(Arc::new(StringViewArray::from_iter(values)));
            fields.push(Arc::new(Field::new(name, DataType::Utf8View, true)));
        }
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
    }
}

fn at_path<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    object.get(name).or_else(|| name.split('.').try_fold(object, |value, key| value.get(key)))
}

/// A uid as the tables have it.
pub(super) fn parse_uid(text: &str) -> Result<Uid, ArrowError> {
    text.parse().map_err(|error: NotAUid| ArrowError::ParseError(error.to_string()))
}

pub(super) fn scan_error<T>(
    table: &str,
    result: Result<T, datafusion::error::DataFusionError>,
) -> Result<T, ArchiveError> {
    result.map_err(|source| ArchiveError::Scan { table: table.to_owned(), source: Box::new(source) })
}

async fn one_day(
    table: DataFrame,
    wanted: Expr,
    columns: Vec<Expr>,
) -> Result<BoxStream<'static, Result<RecordBatch, ArchiveError>>, datafusion::error::DataFusionError> {
    let order = vec![exact(system::TIME).sort(true, true), exact(UID).sort(true, true)];
    let rows = table.filter(wanted)?.sort(order)?.select(columns)?.execute_stream().await?;
    Ok(rows.map(|batch| scan_error("stream", batch)).boxed())
}

/// The days that have events in the range, ascending, as days since 1970.
async fn days(
    name: &str,
    table: DataFrame,
    from: Option<EventTime>,
    to: Option<EventTime>,
) -> Result<Vec<i32>, ArchiveError> {
    // Partition columns of Delta hold no NULL for events, since every event has a time.
    let distinct = async {
        let range = time_range(DAY, None, None);
        table.filter(range)?.aggregate(vec![exact(DAY)], vec![min(exact(DAY)), max(exact(DAY))])?.collect().await
    };
    let mut days = Vec::new();
    for batch in scan_error(name, distinct.await)? {
        days.extend(batch.column(0).as_primitive::<Date32Type>().iter().flatten());
    }
    let first = from.map_or(i32::MIN, |from| from.0.div_euclid(DAY_US) as i32);
    let last = to.map_or(i32::MAX, |to| to.0.saturating_sub(1).div_euclid(DAY_US) as i32);
    days.retain(|day| (first..=last).contains(day));
    days.sort_unstable();
    Ok(days)
}

/// The schema of a replayed batch: that of a source batch, and what says who each event is and where it came from.
fn replay_schema(columns: &ColumnSet) -> SchemaRef {
    let further = [
        (system::TIME, TIME_TYPE),
        (system::RAW, DataType::BinaryView),
        (system::ARRIVAL, TIME_TYPE),
        (UID, DataType::FixedSizeBinary(16)),
        (system::TOPIC, DataType::Utf8View),
        (system::PARTITION, DataType::Int32),
        (system::OFFSET, DataType::Int64),
    ];
    let mut fields: Vec<FieldRef> = columns.columns.iter().cloned().collect();
    for (name, data_type) in further {
        if !fields.iter().any(|field| field.name() == name) {
            fields.push(Arc::new(Field::new(name, data_type, true)));
        }
    }
    Arc::new(Schema::new(Fields::from(fields)))
}

/// The batch with empty raw bytes where there are none, and with the columns that are never NULL marked so.
fn with_raw(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let mut columns = batch.columns().to_vec();
    let mut fields: Vec<FieldRef> = batch.schema_ref().fields().iter().cloned().collect();
    for (at, field) in batch.schema_ref().fields().iter().enumerate() {
        if field.name() == system::RAW {
            let raw = columns[at].as_binary_view().iter().map(|raw| Some(raw.unwrap_or_default()));
            columns[at] = Arc::new(arrow::array::BinaryViewArray::from_iter(raw));
        }
        if [system::RAW, system::TIME].contains(&field.name().as_str()) && columns[at].null_count() == 0 {
            fields[at] = Arc::new(field.as_ref().clone().with_nullable(false));
        }
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}
