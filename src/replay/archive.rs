//! Events out of the archive as the input of a replay: all streams that a detection reads as one, the one that lags in
//! event time first. Which events came late is known there, so nothing is judged late again.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::Context as _;
use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;
use chrono::{DateTime, NaiveDate, NaiveTime};
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::runtime::Runtime;
use weir_connectors::archive::{Archive, ArchiveError, ArchiveReader, UID};
use weir_connectors::position::TopicPartition;
use weir_connectors::source::SourceOutput;
use weir_detections::compile::Compiled;
use weir_engine::catalog::system;
use weir_engine::late_events::LATE_EVENTS;
use weir_engine::{EventTime, PartitionId, SourceBatch, Uid};

use super::Partition;
use super::input::Step;

/// The archive has one order, so each stream is one partition.
const PARTITION: PartitionId = PartitionId(0);

/// Events of the archive from one instant up to another.
pub(super) struct ArchiveInput {
    runtime: Runtime,
    streams: Vec<Progress>,
}

struct Progress {
    name: Arc<str>,
    batches: BoxStream<'static, Result<RecordBatch, ArchiveError>>,
    /// How late each event was that came late.
    late: HashMap<Uid, i64>,
    /// The time of the last event that was given; `None` before the first.
    last: Option<EventTime>,
    is_done: bool,
}

impl ArchiveInput {
    /// Opens the tables of all streams that a detection reads. Sorting takes `memory_bytes` for each, and the disk
    /// beyond that.
    pub(super) fn open(
        archive: &Archive,
        rules: &Compiled,
        from: Option<EventTime>,
        to: Option<EventTime>,
        memory_bytes: usize,
    ) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let reader = ArchiveReader::new(archive.clone(), memory_bytes);
        if runtime.block_on(archive.tables())?.is_empty() {
            eprintln!("note: there is nothing yet in the archive at {}", archive.location().url());
        }
        let mut streams = Vec::new();
        let late_events = rules.program.columns(LATE_EVENTS);
        for (stream, columns) in rules.program.streams().chain(late_events) {
            let opened = runtime.block_on(async {
                let late = reader.late_events(stream, from, to).await?;
                let batches = match rules.catalog.is_own(&stream.name) {
                    true => reader.scan_own(stream, from, to, columns).await?,
                    false => reader.scan(stream, from, to, columns).await?,
                };
                Ok::<_, ArchiveError>((late, batches))
            });
            let (late, batches) = opened.with_context(|| format!("cannot replay stream {}", stream.name))?;
            streams.push(Progress { name: stream.name.as_str().into(), batches, late, last: None, is_done: false });
        }
        Ok(Self { runtime, streams })
    }

    /// The partitions that the steps speak of, in the order of their numbers.
    pub(super) fn partitions(&self) -> Vec<Partition> {
        self.streams
            .iter()
            .map(|stream| Partition { stream: Arc::clone(&stream.name), id: PARTITION, is_read: true })
            .collect()
    }
}

impl Iterator for ArchiveInput {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        let unfinished = self.streams.iter_mut().enumerate().filter(|(_, stream)| !stream.is_done);
        let (index, stream) = unfinished.min_by_key(|(index, stream)| (stream.last, *index))?;
        match self.runtime.block_on(stream.batches.next()) {
            Some(Ok(rows)) => {
                stream.last = last_time(&rows).or(stream.last);
                Some(Step::Events(output(stream, rows)))
            }
            Some(Err(error)) => {
                stream.is_done = true;
                Some(Step::Broken(index, error.into()))
            }
            None => {
                stream.is_done = true;
                Some(Step::End(index))
            }
        }
    }
}

fn output(stream: &Progress, rows: RecordBatch) -> SourceOutput {
    let uids = rows.column_by_name(UID).and_then(|uids| uids.as_fixed_size_binary_opt());
    let late_us = |uid: Option<&[u8]>| {
        let uid = uid.and_then(|uid| uid.try_into().ok()).map(Uid);
        uid.and_then(|uid| stream.late.get(&uid).copied()).unwrap_or(0)
    };
    let late_us = uids.map_or_else(|| vec![0; rows.num_rows()], |uids| uids.iter().map(late_us).collect());
    let bytes = rows.get_array_memory_size() as u64;
    let batch = SourceBatch { stream: Arc::clone(&stream.name), partition: PARTITION, rows, late_us: Some(late_us) };
    let partition = TopicPartition { topic: "archive".into(), partition: 0 };
    SourceOutput { batch, rejected: Vec::new(), misfits: Vec::new(), partition, next: 0, bytes }
}

fn last_time(rows: &RecordBatch) -> Option<EventTime> {
    let times = rows.column_by_name(system::TIME)?.as_primitive_opt::<TimestampMicrosecondType>()?;
    times.values().last().copied().map(EventTime)
}

/// An instant as `--from` and `--to` take it: RFC 3339, or a date for its first moment in UTC.
pub(super) fn instant(text: &str) -> anyhow::Result<EventTime> {
    let time = DateTime::parse_from_rfc3339(text).map(|time| time.timestamp_micros());
    let date = || NaiveDate::parse_from_str(text, "%Y-%m-%d").map(|date| date.and_time(NaiveTime::MIN));
    let time = time.or_else(|_| date().map(|date| date.and_utc().timestamp_micros()));
    time.map(EventTime).with_context(|| format!("{text:?} is not a time; write 2026-01-31 or 2026-01-31T08:00:00Z"))
}

#[cfg(test)]
mod tests;
