//! The ledger of coverage: which offsets each detection has evaluated, minute by minute, which it has not, and when what it
//! looks at broke off. What is open is part of the manifest, and rows leave with the epoch that ends their minute, so that
//! the table has each stretch once whatever happens.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use arrow::array::{Array, AsArray};
use arrow::compute::{max, min};
use arrow::datatypes::TimestampMicrosecondType;
use chrono::{DateTime, SecondsFormat};
use serde::Serialize;
use weir_connectors::source::SourceOutput;
use weir_connectors::state::{Coverage, Fired, PartitionKey, StreamCoverage, Stretch};
use weir_detections::compile::Compiled;
use weir_engine::Activity;
use weir_engine::catalog::system;

use super::shard::Part;

/// A minute with fewer events of a stream says nothing about its columns.
const EVENTS_MIN: u64 = 100;
const SECOND_US: i64 = 1_000_000;

/// What one shard took in of a partition within an epoch.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// The offset at which it went on, and the one behind the last record.
    pub(super) offsets: Option<(i64, i64)>,
    pub(super) events: u64,
    pub(super) rejected: u64,
    /// Least and greatest event time.
    pub(super) times_us: Option<(i64, i64)>,
    /// Events that have a value, by column.
    pub(super) values: BTreeMap<String, u64>,
}

impl Taken {
    /// Adds a batch that goes on at `first`.
    pub(super) fn add(&mut self, first: i64, batch: &SourceOutput) {
        let rows = &batch.batch.rows;
        let begin = self.offsets.map_or(first, |(begin, _)| begin);
        self.offsets = Some((begin, batch.next));
        self.events += rows.num_rows() as u64;
        self.rejected += batch.rejected.len() as u64;
        for (field, column) in rows.schema_ref().fields().iter().zip(rows.columns()) {
            // What every event has of itself says nothing about what the sender fills.
            if !field.name().starts_with('_') {
                let values = (column.len() - column.null_count()) as u64;
                *self.values.entry(field.name().clone()).or_default() += values;
            }
        }
        let times = rows.column_by_name(system::TIME);
        let times = times.and_then(|times| times.as_primitive_opt::<TimestampMicrosecondType>());
        let ends = times.and_then(|times| Some((min(times)?, max(times)?)));
        self.times_us = wider(self.times_us, ends);
    }
}

/// The span that has both in it.
fn wider(one: Option<(i64, i64)>, other: Option<(i64, i64)>) -> Option<(i64, i64)> {
    match (one, other) {
        (Some(one), Some(other)) => Some((one.0.min(other.0), one.1.max(other.1))),
        (one, other) => one.or(other),
    }
}

/// Where reading of a partition begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Begun {
    pub(super) next: i64,
    /// The first offset that the broker still has.
    pub(super) earliest: i64,
}

/// What a row says happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Covered,
    Gap,
    Silent,
    Nulls,
}

/// A row of the table `coverage`.
#[derive(Debug, Serialize)]
struct Row<'a> {
    time: String,
    uid: String,
    detection: &'a str,
    stream: &'a str,
    status: Status,
    detail: Option<&'a str>,
    topic: Option<&'a str>,
    partition: Option<i32>,
    first_offset: Option<i64>,
    last_offset: Option<i64>,
    events: Option<u64>,
    late: Option<u64>,
    rejected: Option<u64>,
    first_event_time: Option<String>,
    last_event_time: Option<String>,
}

/// The columns of one stream that each detection reads.
type Columns = BTreeMap<String, BTreeSet<String>>;

/// The ledger as it goes from manifest to manifest.
pub(super) struct CoverageLedger {
    kept: Coverage,
    /// Streams from outside, and who reads which of their columns.
    readers: BTreeMap<String, Columns>,
    /// Detections in quarantine, which do not evaluate what is open.
    quarantined: BTreeSet<String>,
    silent_after_s: i64,
    /// Whether this process has not closed an epoch yet.
    is_fresh: bool,
    /// The rows of the epoch at hand, as JSON.
    told: Vec<Vec<u8>>,
}

impl CoverageLedger {
    /// Goes on from what the last manifest says: what is open, and who was in quarantine.
    pub(super) fn new(
        (kept, quarantined): (Coverage, BTreeSet<String>),
        rules: &Compiled,
        silent_after: Duration,
    ) -> Self {
        let outside = rules.catalog.streams().filter(|stream| !rules.catalog.is_own(&stream.name));
        let mut readers: BTreeMap<String, Columns> =
            outside.map(|stream| (stream.name.clone(), Columns::new())).collect();
        for (query, detection) in rules.detections.iter().enumerate() {
            for (stream, columns) in rules.program.columns_read_by(query) {
                if let Some(readers) = readers.get_mut(stream) {
                    readers.insert(detection.id.to_string(), columns.iter().cloned().collect());
                }
            }
        }
        let silent_after_s = silent_after.as_secs() as i64;
        Self { kept, readers, quarantined, silent_after_s, is_fresh: true, told: vec![] }
    }

    /// What the next manifest says.
    pub(super) const fn kept(&self) -> &Coverage {
        &self.kept
    }

    /// Whether there is something to tell though nothing came.
    pub(super) fn is_due(&self, now_s: i64, is_last: bool) -> bool {
        let is_open = self.kept.partitions.iter().any(|stretch| stretch.first < stretch.next);
        let is_over = is_last || now_s.div_euclid(60) != self.kept.minute;
        let has_gaps = self.is_fresh && !self.kept.partitions.is_empty() && self.has_new_readers();
        has_gaps || (is_open && is_over) || self.kept.streams.values().any(|stream| self.falls_silent(stream, now_s))
    }

    fn has_new_readers(&self) -> bool {
        let known = |stream: &String, id: &String| {
            self.kept.streams.get(stream).is_some_and(|stream| stream.readers.contains(id))
        };
        self.readers.iter().any(|(stream, columns)| columns.keys().any(|id| !known(stream, id)))
    }

    /// From the epoch at hand on these are in quarantine. What they saw of that epoch is lost with their state.
    pub(super) fn quarantine(&mut self, ids: BTreeSet<String>) {
        if ids != self.quarantined {
            self.end_stretches();
            self.quarantined = ids;
        }
    }

    /// Closes an epoch; gives the rows to tell. The last epoch of a process ends its minute.
    pub(super) fn close(&mut self, now_s: i64, parts: &[Part], is_last: bool) -> Vec<Vec<u8>> {
        if std::mem::take(&mut self.is_fresh) {
            self.end_minute();
            self.kept.minute = now_s.div_euclid(60);
            self.take_readers(now_s);
        }
        if now_s.div_euclid(60) != self.kept.minute {
            self.end_minute();
            self.kept.minute = now_s.div_euclid(60);
        }
        for part in parts {
            part.begun.iter().for_each(|(key, begun)| self.begin(key, *begun));
            part.taken.iter().for_each(|(key, taken)| self.take(key, taken, now_s));
        }
        self.take_late(parts);
        self.tell_silence(now_s);
        if is_last {
            self.end_minute();
        }
        std::mem::take(&mut self.told)
    }

    /// Notes which detections have fired.
    pub(super) fn note_fired(&mut self, parts: &[Part], rules: &Compiled, committed_us: i64) {
        let hits = parts.iter().flat_map(|part| &part.hits);
        for hit in hits.filter(|hit| hit.activity == Activity::Create) {
            let id = rules.detections[hit.query].id.to_string();
            let fired = self.kept.fired.entry(id).or_default();
            *fired = Fired { event_time_us: fired.event_time_us.max(hit.time.0), committed_us };
        }
    }

    /// Takes up who reads what now. A detection that is new has not seen what was read before it came.
    fn take_readers(&mut self, now_s: i64) {
        let readers = std::mem::take(&mut self.readers);
        self.kept.fired.retain(|id, _| readers.values().any(|columns| columns.contains_key(id)));
        for (name, columns) in &readers {
            let stream = self.kept.streams.entry(name.clone()).or_default();
            // What was not heard while no process ran is no silence.
            if stream.heard > 0 {
                stream.heard = now_s;
            }
            let before = std::mem::replace(&mut stream.readers, columns.keys().cloned().collect());
            let fresh: Vec<&String> = columns.keys().filter(|id| !before.contains(*id)).collect();
            let read = self.kept.partitions.iter().filter(|one| one.partition.stream == *name);
            for one in read.cloned().collect::<Vec<_>>() {
                for detection in &fresh {
                    self.gap(detection, &one.partition, one.began..one.next, "the detection came later");
                }
            }
        }
        self.readers = readers;
    }

    /// A partition comes into view.
    fn begin(&mut self, key: &PartitionKey, begun: Begun) {
        if !self.readers.contains_key(&key.stream) || self.place_of(key).is_some() {
            return;
        }
        self.kept.partitions.push(Stretch {
            partition: key.clone(),
            began: begun.next,
            first: begun.next,
            next: begun.next,
            events: 0,
            late: 0,
            rejected: 0,
            times_us: None,
        });
        let readers: Vec<String> = self.readers[&key.stream].keys().cloned().collect();
        for detection in &readers {
            self.gap(detection, key, 0..begun.earliest, "the broker had deleted them");
            self.gap(detection, key, begun.earliest..begun.next, "[kafka] start lies behind them");
        }
    }

    fn place_of(&self, key: &PartitionKey) -> Option<usize> {
        self.kept.partitions.iter().position(|stretch| stretch.partition == *key)
    }

    fn take(&mut self, key: &PartitionKey, taken: &Taken, now_s: i64) {
        let Some((first, next)) = taken.offsets.filter(|_| self.readers.contains_key(&key.stream)) else { return };
        // Where an earlier version has read the partition, nobody knows where that began.
        self.begin(key, Begun { next: first, earliest: first });
        let Some(at) = self.place_of(key) else { return };
        let passed_over = self.kept.partitions[at].next..first;
        if !passed_over.is_empty() {
            self.end_stretch(at);
            for detection in self.readers[&key.stream].keys().cloned().collect::<Vec<_>>() {
                self.gap(&detection, key, passed_over.clone(), "they were passed over");
            }
            self.kept.partitions[at].first = first;
        }
        let stretch = &mut self.kept.partitions[at];
        stretch.next = next;
        stretch.events += taken.events;
        stretch.rejected += taken.rejected;
        stretch.times_us = wider(stretch.times_us, taken.times_us);
        let stream = self.kept.streams.entry(key.stream.clone()).or_default();
        (stream.heard, stream.is_silent) = (now_s, false);
        stream.events += taken.events;
        for (column, values) in &taken.values {
            *stream.values.entry(column.clone()).or_default() += values;
        }
    }

    /// Counts events as late that a partition's clock found to be so.
    fn take_late(&mut self, parts: &[Part]) {
        for (event, place) in parts.iter().flat_map(|part| &part.late) {
            let (Some(_), Some(place)) = (event.partition, place) else { continue };
            let key = super::shard::key_of(&event.stream, place);
            if let Some(at) = self.place_of(&key) {
                self.kept.partitions[at].late += 1;
            }
        }
    }

    fn falls_silent(&self, stream: &StreamCoverage, now_s: i64) -> bool {
        stream.heard > 0 && !stream.is_silent && now_s - stream.heard >= self.silent_after_s
    }

    fn tell_silence(&mut self, now_s: i64) {
        let silent = self.kept.streams.iter().filter(|(_, stream)| self.falls_silent(stream, now_s));
        for (name, known) in silent.map(|(name, stream)| (name.clone(), stream.clone())).collect::<Vec<_>>() {
            let detail = format!("nothing for {} minutes", (now_s - known.heard) / 60);
            tracing::warn!(stream = name, detail, "the stream has fallen silent");
            known.readers.iter().for_each(|detection| self.broke(detection, &name, Status::Silent, &detail));
            self.kept.streams.entry(name).or_default().is_silent = true;
        }
    }

    /// Tells the open minute, and begins another with nothing in it.
    fn end_minute(&mut self) {
        self.end_stretches();
        self.judge_columns();
    }

    fn end_stretches(&mut self) {
        (0..self.kept.partitions.len()).for_each(|at| self.end_stretch(at));
    }

    /// Tells what was evaluated of a partition since it was told last.
    fn end_stretch(&mut self, at: usize) {
        let stretch = &mut self.kept.partitions[at];
        let empty = Stretch { first: stretch.next, events: 0, late: 0, rejected: 0, times_us: None, ..stretch.clone() };
        let full = std::mem::replace(stretch, empty);
        // An event may be found late in the minute after the one in which it came.
        if full.first == full.next && full.late == 0 {
            return;
        }
        let readers = self.kept.streams.get(&full.partition.stream).map(|stream| stream.readers.clone());
        for detection in readers.iter().flatten() {
            if self.quarantined.contains(detection) {
                self.gap(detection, &full.partition, full.first..full.next, "the detection is in quarantine");
            } else {
                self.covered(detection, &full);
            }
        }
    }

    /// Tells columns that had values in the last full minute and have none in this one.
    fn judge_columns(&mut self) {
        for name in self.kept.streams.keys().cloned().collect::<Vec<_>>() {
            let Some(stream) = self.kept.streams.get_mut(&name) else { continue };
            let (events, values) = (std::mem::take(&mut stream.events), std::mem::take(&mut stream.values));
            if events < EVENTS_MIN {
                continue;
            }
            let count = |column: &String| values.get(column).copied().unwrap_or(0);
            let filled = values.keys().filter(|column| count(column) * 2 >= events).cloned().collect();
            let before = std::mem::replace(&mut stream.filled, filled);
            for column in before.iter().filter(|column| count(column) == 0) {
                let columns = self.readers.get(&name).cloned().unwrap_or_default();
                let detail = format!("`{column}` is NULL in all of {events} events");
                tracing::warn!(stream = name, detail, "a column that was filled is empty");
                for (detection, _) in columns.iter().filter(|(_, columns)| columns.contains(column)) {
                    self.broke(detection, &name, Status::Nulls, &detail);
                }
            }
        }
    }

    fn covered(&mut self, detection: &str, stretch: &Stretch) {
        let key = &stretch.partition;
        let is_moved = stretch.first < stretch.next;
        self.tell(Row {
            topic: Some(&key.topic),
            partition: Some(key.partition),
            first_offset: is_moved.then_some(stretch.first),
            last_offset: is_moved.then_some(stretch.next - 1),
            events: Some(stretch.events),
            late: Some(stretch.late),
            rejected: Some(stretch.rejected),
            first_event_time: stretch.times_us.and_then(|times| instant(times.0)),
            last_event_time: stretch.times_us.and_then(|times| instant(times.1)),
            ..Row::about(detection, &key.stream, Status::Covered)
        });
    }

    fn gap(&mut self, detection: &str, key: &PartitionKey, offsets: std::ops::Range<i64>, why: &str) {
        if offsets.is_empty() {
            return;
        }
        self.tell(Row {
            detail: Some(why),
            topic: Some(&key.topic),
            partition: Some(key.partition),
            first_offset: Some(offsets.start),
            last_offset: Some(offsets.end - 1),
            ..Row::about(detection, &key.stream, Status::Gap)
        });
    }

    fn broke(&mut self, detection: &str, stream: &str, status: Status, detail: &str) {
        self.tell(Row { detail: Some(detail), ..Row::about(detection, stream, status) });
    }

    fn tell(&mut self, row: Row<'_>) {
        let time = instant(self.kept.minute.saturating_mul(60 * SECOND_US)).unwrap_or_default();
        let row = Row { time, uid: format!("coverage-{}", self.kept.next_row), ..row };
        // A row of texts and numbers can always be written as JSON.
        self.told.extend(serde_json::to_vec(&row));
        self.kept.next_row += 1;
    }
}

impl<'a> Row<'a> {
    const fn about(detection: &'a str, stream: &'a str, status: Status) -> Self {
        Self {
            time: String::new(),
            uid: String::new(),
            detection,
            stream,
            status,
            detail: None,
            topic: None,
            partition: None,
            first_offset: None,
            last_offset: None,
            events: None,
            late: None,
            rejected: None,
            first_event_time: None,
            last_event_time: None,
        }
    }
}

/// A time as text; `None` beyond the years that have one.
fn instant(us: i64) -> Option<String> {
    DateTime::from_timestamp_micros(us).map(|time| time.to_rfc3339_opts(SecondsFormat::Micros, true))
}

#[cfg(test)]
mod tests;
