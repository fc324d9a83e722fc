//! The account of a replay: every record is on time, late, or rejected, and the sums must agree.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use weir_connectors::decode::{RejectReason, Rejected};
use weir_connectors::source::SourceOutput;
use weir_engine::error::counted;
use weir_engine::{Activity, Hit, StreamCounts, Uid};

/// How many rejected records of one reason are shown.
const EXAMPLES_MAX: usize = 3;

/// What happened to the records of a replay.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// Decoded rows.
    rows: u64,
    /// Rows of streams that no detection reads; nothing can be late there.
    unread: u64,
    rejected: BTreeMap<RejectReason, Rejections>,
    bytes: u64,
    counts: StreamCounts,
    alerts: HashMap<Uid, Standing>,
    hidden: u64,
    /// Values that did not fit the type of their column, by stream and column.
    misfits: BTreeMap<(String, String), u64>,
    /// Values that could not be computed.
    failures: u64,
}

#[derive(Debug, Default)]
struct Rejections {
    count: u64,
    examples: Vec<String>,
}

/// What the last record of an alert says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Open,
    Suppressed,
    Withdrawn,
}

impl Ledger {
    /// Notes a stretch of input before it goes anywhere. `is_read` says whether any detection reads its stream.
    pub(super) fn input(&mut self, output: &SourceOutput, is_read: bool) {
        let rows = output.batch.rows.num_rows() as u64;
        self.rows += rows;
        self.bytes += output.bytes;
        if !is_read {
            self.unread += rows;
        }
        for rejected in &output.rejected {
            self.reject(rejected);
        }
        for (column, count) in &output.misfits {
            *self.misfits.entry((output.batch.stream.to_string(), column.to_string())).or_default() += count;
        }
    }

    fn reject(&mut self, rejected: &Rejected) {
        let of_reason = self.rejected.entry(rejected.reason).or_default();
        of_reason.count += 1;
        if of_reason.examples.len() < EXAMPLES_MAX {
            let position = &rejected.position;
            of_reason.examples.push(format!("{}:{}: {}", position.topic, position.offset, rejected.detail));
        }
    }

    /// Notes a hit; false where an exception hides it, so that it is no alert.
    pub(super) fn hit(&mut self, hit: &Hit) -> bool {
        if hit.exception.is_some() {
            self.hidden += 1;
            return false;
        }
        let standing = match (hit.activity, hit.suppressed_by) {
            (Activity::Withdraw, _) => Standing::Withdrawn,
            (_, Some(_)) => Standing::Suppressed,
            (_, None) => Standing::Open,
        };
        self.alerts.insert(hit.uid, standing);
        true
    }

    /// Notes what the engine says of the rows that it was given, and how many values it could not compute.
    pub(super) fn engine(&mut self, counts: impl IntoIterator<Item = StreamCounts>, failures: u64) {
        self.failures += failures;
        for counts in counts {
            self.counts.rows += counts.rows;
            self.counts.on_time += counts.on_time;
            self.counts.late += counts.late;
        }
    }

    /// Records that came in: every line that is not blank.
    pub(super) fn events(&self) -> u64 {
        self.rows + self.rejected()
    }

    fn rejected(&self) -> u64 {
        self.rejected.values().map(|of_reason| of_reason.count).sum()
    }

    fn on_time(&self) -> u64 {
        self.counts.on_time + self.unread
    }

    /// Alerts that stand at the end: ids whose last record does not withdraw them. Repeats that a cooldown folded into
    /// another alert have ids and records of their own, and are counted too.
    fn alerts(&self) -> usize {
        self.alerts.values().filter(|standing| **standing != Standing::Withdrawn).count()
    }

    /// In = on time + late + rejected; an engine that lost a row has lost our trust.
    pub(super) fn balance(&self) -> Result<(), String> {
        let out = self.on_time() + self.counts.late + self.rejected();
        if self.events() == out {
            return Ok(());
        }
        Err(format!("the ledger does not add up: {}, but {} came in", self.equation(), counted(self.events(), "event")))
    }

    /// The account in one line.
    pub(super) fn equation(&self) -> String {
        let (on_time, late, rejected) = (self.on_time(), self.counts.late, self.rejected());
        format!("{} = {on_time} on time + {late} late + {rejected} rejected", on_time + late + rejected)
    }

    /// What a reader should know beside the summary: rejected records with examples, suppressed and hidden hits.
    pub(super) fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        for (reason, of_reason) in &self.rejected {
            remarks.push(format!("rejected: {} {reason}", of_reason.count));
            remarks.extend(of_reason.examples.iter().map(|example| format!("  {example}")));
            let more = of_reason.count - of_reason.examples.len() as u64;
            if more > 0 {
                remarks.push(format!("  and {more} more"));
            }
        }
        for ((stream, column), count) in &self.misfits {
            let (fit, are) = if *count == 1 { ("does not fit", "it is") } else { ("do not fit", "they are") };
            remarks.push(format!(
                "misfits: {} of {stream}.{column} {fit} its type: {are} NULL there and kept in `unmapped`",
                counted(*count, "value")
            ));
        }
        if self.failures > 0 {
            let are = if self.failures == 1 { "is" } else { "are" };
            let values = counted(self.failures, "value");
            remarks.push(format!("failures: {values} could not be computed and {are} NULL"));
        }
        let suppressed = self.alerts.values().filter(|standing| **standing == Standing::Suppressed).count();
        if suppressed > 0 {
            let (repeat, are) = if suppressed == 1 { ("repeats", "is") } else { ("repeat", "are") };
            let alerts = counted(suppressed, "alert");
            remarks.push(format!("suppressed: {alerts} {repeat} another within its cooldown and {are} folded into it"));
        }
        if self.hidden > 0 {
            remarks.push(format!("hidden: exceptions hide {}", counted(self.hidden, "hit")));
        }
        remarks
    }

    /// The last line of a replay; scripts read it.
    pub(super) fn summary(&self, took: Duration) -> String {
        let seconds = took.as_secs_f64();
        let per_second = if seconds > 0.0 { self.events() as f64 / seconds } else { 0.0 };
        format!(
            "replayed: events={} alerts={} late={} rejected={} seconds={seconds:.3} events_per_second={per_second:.0}",
            self.events(),
            self.alerts(),
            self.counts.late,
            self.rejected(),
        )
    }

    /// Input in MiB per second, for those who measure.
    pub(super) fn speed(&self, took: Duration) -> String {
        let mebibytes = self.bytes as f64 / f64::from(1 << 20);
        format!("{mebibytes:.1} MiB, {:.1} MiB/s", mebibytes / took.as_secs_f64().max(1e-9))
    }
}
