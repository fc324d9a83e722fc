//! Parts of shards to one manifest, and the outputs that sinks will find in it.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use weir_connectors::archive::LateEventRow;
use weir_connectors::failpoint;
use weir_connectors::state::{Ledger, Manifest, Nulled, Output, PartitionKey, Quarantine, StateStore};
use weir_detections::alert::{Quarantined, quarantine_alert};
use weir_detections::compile::Compiled;
use weir_engine::{EventTime, Scope, TableVersion, Uid};

use super::Setup;
use super::chain::Chains;
use super::coverage::CoverageLedger;
use super::fast::Book;
use super::quarantine::{Wards, bytes_of, in_words};
use super::retry::Retry;
use super::shard::Part;

/// Alert records, one JSON object per line.
pub(super) const ALERTS: &str = "alerts";
/// Rows that stateful operators did not see, one JSON object per line.
pub(super) const LATE_EVENTS: &str = "late_events";
/// Rejected records as they go to the dead-letter topic, one JSON object per line.
pub(super) const DEAD_LETTERS: &str = "dead_letters";
/// Rows of coverage, one JSON object per line.
pub(super) const COVERAGE: &str = "coverage";
/// Partitions that were announced in the epoch, and where each begins, one JSON object per line.
pub(super) const BEGUN: &str = "begun";

/// A late event in the outputs of an epoch.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct LateLine {
    stream: String,
    uid: Uid,
    time_us: i64,
    against_us: i64,
    late_ms: i64,
    reason: String,
    topic: String,
    partition: i32,
}

/// A partition's beginning in the outputs of an epoch.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct BegunLine {
    #[serde(flatten)]
    pub(super) key: PartitionKey,
    pub(super) next: i64,
}

impl LateLine {
    pub(super) fn row(&self) -> LateEventRow<'_> {
        LateEventRow {
            time: EventTime(self.against_us),
            uid: self.uid,
            stream: &self.stream,
            event_time: EventTime(self.time_us),
            late_ms: self.late_ms,
            reason: &self.reason,
            topic: &self.topic,
            partition: self.partition,
        }
    }
}

/// The sequence of epochs: what the next manifest says beside the parts of its own epoch.
pub(super) struct Epochs {
    last: u64,
    /// Barriers are numbered even where nothing is committed, so that no two are alike.
    barrier: u64,
    positions: BTreeMap<PartitionKey, i64>,
    /// What earlier processes counted.
    base: BTreeMap<String, Ledger>,
    nulled: Nulled,
    tables: BTreeMap<String, Uid>,
    detections: BTreeMap<String, String>,
    chains: Chains,
    coverage: CoverageLedger,
    /// Where there are fast alerts.
    fast: Option<Arc<Book>>,
}

/// An epoch that has happened.
pub(super) struct Committed {
    pub(super) manifest: Manifest,
    /// The rows of coverage that it told.
    pub(super) coverage: Vec<Vec<u8>>,
}

impl Epochs {
    pub(super) fn new(last: Option<Manifest>, setup: &Setup, tables: &[TableVersion], fast: Option<Arc<Book>>) -> Self {
        let Manifest { epoch: last, positions, ledger: base, nulled, quarantined, coverage, .. } =
            last.unwrap_or_else(|| Manifest::new(0));
        Self {
            last,
            barrier: last,
            positions,
            base,
            nulled,
            tables: tables.iter().map(|table| (table.name.to_string(), table.version)).collect(),
            detections: setup.digests.clone(),
            chains: Chains::default(),
            coverage: CoverageLedger::new(
                (coverage, quarantined.into_keys().collect()),
                &setup.rules,
                setup.silent_after,
            ),
            fast,
        }
    }

    /// The number of the next barrier, and how much of the state is saved at it.
    pub(super) fn next(&mut self) -> (u64, Scope) {
        self.barrier += 1;
        (self.barrier, self.chains.scope())
    }

    /// The number of the epoch that is committed next.
    pub(super) const fn number(&self) -> u64 {
        self.last + 1
    }

    /// Whether an epoch in which nothing came has something to tell all the same.
    pub(super) fn is_due(&self, is_last: bool) -> bool {
        self.coverage.is_due(chrono::Utc::now().timestamp(), is_last)
    }

    /// A table was swapped.
    pub(super) fn table(&mut self, version: &TableVersion) {
        self.tables.insert(version.name.to_string(), version.version);
    }

    /// Writes snapshots and outputs, then creates the manifest: the point at which the epoch has happened. `gone` are the
    /// detections that it puts into quarantine.
    pub(super) async fn commit(
        &mut self,
        state: &StateStore,
        rules: &Compiled,
        (parts, (wards, gone), is_last): (Vec<Part>, (&Wards, &[String]), bool),
        retry: &mut Retry,
    ) -> anyhow::Result<Committed> {
        let mut manifest = Manifest::new(self.number());
        let epoch = manifest.epoch;
        self.fast.iter().for_each(|fast| fast.close(epoch));
        for part in &parts {
            self.positions.extend(part.positions.iter().map(|(key, next)| (key.clone(), *next)));
        }
        manifest.positions = self.positions.clone();
        manifest.tables = self.tables.clone();
        manifest.detections = self.detections.clone();
        manifest.ledger = self.ledger(&parts);
        manifest.nulled = self.nulled.clone();
        parts.iter().for_each(|part| manifest.nulled.add(&part.nulled));
        manifest.quarantined = wards.by_id().clone();
        let now = chrono::Utc::now();
        self.coverage.note_fired(&parts, rules, now.timestamp_micros());
        self.coverage.quarantine(wards.by_id().keys().cloned().collect());
        let coverage = self.coverage.close(now.timestamp(), &parts, is_last);
        manifest.coverage = self.coverage.kept().clone();
        let new = gone.iter().filter_map(|id| wards.by_id().get_key_value(id));
        let outputs = outputs(rules, &parts, new, &coverage)?;
        manifest.outputs = retry.until_done(epoch, || state.write_outputs(epoch, outputs.clone())).await?;
        failpoint::reach("epoch.outputs_written");
        let snapshots = parts.into_iter().filter_map(|part| part.snapshot).collect();
        self.chains.extend(state, &mut manifest, snapshots, retry).await?;
        // Asked as late as can be: while the state was written, most have arrived.
        manifest.fast_from = self.fast.as_ref().and_then(|fast| fast.unsettled_from());
        failpoint::reach("epoch.before_manifest");
        retry.until_done(epoch, || state.commit(&manifest)).await?;
        failpoint::reach("epoch.after_manifest");
        self.chains.join(state, epoch);
        self.last = epoch;
        tracing::debug!(epoch, "epoch committed");
        Ok(Committed { manifest, coverage })
    }

    fn ledger(&self, parts: &[Part]) -> BTreeMap<String, Ledger> {
        let mut sum = self.base.clone();
        for (stream, more) in parts.iter().flat_map(|part| &part.ledger) {
            let ledger = sum.entry(stream.clone()).or_default();
            ledger.records += more.records;
            ledger.on_time += more.on_time;
            ledger.late += more.late;
            ledger.rejected += more.rejected;
        }
        sum
    }
}

fn outputs<'w>(
    rules: &Compiled,
    parts: &[Part],
    gone: impl Iterator<Item = (&'w String, &'w Quarantine)>,
    coverage: &[Vec<u8>],
) -> anyhow::Result<Vec<Output>> {
    let mut alerts = Lines::default();
    let mut late = Lines::default();
    let mut dead = Lines::default();
    let mut begun = Lines::default();
    let mut covered = Lines::default();
    coverage.iter().for_each(|row| covered.push_raw(row));
    let now = EventTime(chrono::Utc::now().timestamp_micros());
    for part in parts {
        for hit in &part.hits {
            alerts.push(&weir_detections::ocsf(&rules.detections[hit.query], hit))?;
        }
        for (event, place) in &part.late {
            late.push(&LateLine {
                stream: event.stream.to_string(),
                uid: event.uid,
                time_us: event.time.0,
                against_us: event.against.0,
                late_ms: event.late_ms(),
                reason: event.reason.as_str().to_owned(),
                topic: place.as_ref().map(|place| place.topic.to_string()).unwrap_or_default(),
                partition: place.as_ref().map_or(-1, |place| place.partition),
            })?;
        }
        for rejected in &part.rejected {
            dead.push_raw(&rejected.record(&"".into(), now).payload);
        }
        for (key, one) in &part.begun {
            begun.push(&BegunLine { key: key.clone(), next: one.next })?;
        }
    }
    for (id, Quarantine { epoch, reason, .. }) in gone {
        let words = in_words(reason);
        let of = Quarantined { detection: id, epoch: *epoch, at: now, reason: &words, bytes: bytes_of(reason) };
        alerts.push(&quarantine_alert(&of))?;
    }
    let named = [(ALERTS, alerts), (LATE_EVENTS, late), (DEAD_LETTERS, dead), (BEGUN, begun), (COVERAGE, covered)];
    Ok(named.into_iter().filter(|(_, lines)| lines.records > 0).map(|(name, lines)| lines.named(name)).collect())
}

#[derive(Default)]
struct Lines {
    body: Vec<u8>,
    records: u64,
}

impl Lines {
    fn push(&mut self, line: &impl Serialize) -> anyhow::Result<()> {
        serde_json::to_writer(&mut self.body, line).context("an output cannot be written as JSON")?;
        self.body.push(b'\n');
        self.records += 1;
        Ok(())
    }

    fn push_raw(&mut self, line: &[u8]) {
        self.body.extend_from_slice(line);
        self.body.push(b'\n');
        self.records += 1;
    }

    fn named(self, name: &str) -> Output {
        Output { name: name.to_owned(), records: self.records, body: Bytes::from(self.body) }
    }
}

/// The lines of one output of an epoch.
pub(super) fn lines<'a>(outputs: &'a [Output], name: &str) -> impl Iterator<Item = &'a [u8]> {
    let output = outputs.iter().find(|output| output.name == name);
    output.into_iter().flat_map(|output| output.body.split(|byte| *byte == b'\n')).filter(|line| !line.is_empty())
}

/// The alert records of an epoch.
pub(super) fn alerts(outputs: &[Output]) -> anyhow::Result<Vec<Value>> {
    lines(outputs, ALERTS)
        .map(|line| serde_json::from_slice(line).context("an alert in the outputs of an epoch is damaged"))
        .collect()
}
