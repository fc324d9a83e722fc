//! Numbers for whoever watches the pipeline. They begin with the process, and nothing depends on them.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{LazyLock, PoisonError};
use std::time::Instant;

use weir_connectors::kafka::KafkaSource;
use weir_connectors::position::TopicPartition;
use weir_connectors::state::Fired;
use weir_detections::compile::Compiled;
use weir_engine::{Activity, EventTime, QueryMeter};

pub(crate) use super::fast::FastCounts;
use super::quarantine::{Wards, of_nodes};
use super::shard::Part;

/// What is told between epochs and with them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Vitals {
    /// What each detection did, by id.
    pub(crate) detections: BTreeMap<String, DetectionVitals>,
    /// When each detection fired last, also in earlier processes.
    pub(crate) fired: BTreeMap<String, Fired>,
    /// The watermark of each stream: that of the shard that is behind the others.
    pub(crate) watermarks: BTreeMap<String, EventTime>,
    /// Records that the brokers have and that were not read yet, by partition.
    pub(crate) lags: BTreeMap<TopicPartition, u64>,
    /// What became of fast alerts, by detection.
    pub(crate) fast: BTreeMap<String, FastCounts>,
    /// Records and bytes that were read.
    pub(crate) records_read: u64,
    pub(crate) bytes_read: u64,
}

/// What one detection did.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct DetectionVitals {
    /// Its operators, over all shards.
    pub(crate) meter: QueryMeter,
    /// What it remembers, in bytes.
    pub(crate) state_bytes: u64,
    /// Alert records that it gave.
    pub(crate) matches: Matches,
}

/// Alert records by what they say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Matches {
    /// New alerts.
    pub(crate) created: u64,
    /// Alerts that changed.
    pub(crate) updated: u64,
    /// Alerts that were taken back.
    pub(crate) withdrawn: u64,
}

impl Matches {
    const fn note(&mut self, activity: Activity) {
        match activity {
            Activity::Create => self.created += 1,
            Activity::Update => self.updated += 1,
            Activity::Withdraw => self.withdrawn += 1,
        }
    }
}

impl Vitals {
    /// Takes up what shards reported at a barrier.
    pub(super) fn note(&mut self, parts: &[Part], rules: &Compiled, wards: &Wards) {
        let state_bytes = rules.program.state_bytes(&of_nodes(parts), &wards.queries());
        for (query, detection) in rules.detections.iter().enumerate() {
            let mut meter = QueryMeter::default();
            parts.iter().filter_map(|part| part.meters.get(query)).for_each(|one| meter.add(one));
            let vitals = self.detections.entry(detection.id.to_string()).or_default();
            (vitals.meter, vitals.state_bytes) = (meter, state_bytes[query] as u64);
        }
        for hit in parts.iter().flat_map(|part| &part.hits) {
            let id = rules.detections[hit.query].id.to_string();
            self.detections.entry(id).or_default().matches.note(hit.activity);
        }
        self.watermarks.clear();
        for (stream, time) in parts.iter().flat_map(|part| &part.watermarks) {
            // A shard without events of a stream knows nothing of its time.
            if ![EventTime::MIN, EventTime::MAX].contains(time) {
                let least = self.watermarks.entry(stream.clone()).or_insert(*time);
                *least = (*least).min(*time);
            }
        }
    }

    /// Takes up how far the sources are.
    pub(super) fn note_sources(&mut self, sources: &[KafkaSource]) {
        (self.records_read, self.bytes_read) = (0, 0);
        for counts in sources.iter().map(KafkaSource::counts) {
            self.records_read += counts.records.load(Ordering::Relaxed);
            self.bytes_read += counts.bytes.load(Ordering::Relaxed);
            // Plain numbers: a panic elsewhere does not spoil them.
            let lags = counts.lags.lock().unwrap_or_else(PoisonError::into_inner);
            self.lags.extend(lags.iter().map(|(place, lag)| (place.clone(), *lag)));
        }
    }
}

/// Nanoseconds since the first call, for the meters of shards.
pub(super) fn stopwatch() -> u64 {
    static BEGIN: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(BEGIN.elapsed().as_nanos()).unwrap_or(u64::MAX)
}
