//! What was counted, as the Prometheus text format has it. All metrics stand in this one list.
//!
//! Labels are streams, columns, partitions and detections of the project, so the number of lines is bounded by it and never
//! by what is in events.

use std::fmt::Display;

use weir_connectors::kafka::LeftReason;
use weir_engine::EventTime;

use crate::pump::Progress;
use crate::run::EditCounts;

/// The whole answer; `now` is the time by the clock on the wall.
pub(super) fn exposition(progress: &Progress, edits: EditCounts, now: EventTime) -> String {
    let mut text = Exposition::default();
    text.metric("weir_epoch", "gauge", "The last committed epoch.");
    text.line(&[], progress.epoch);
    streams(progress, now, &mut text);
    detections(progress, &mut text);
    text.metric(
        "weir_edits_total",
        "counter",
        "Edits of the project while it ran: those that run, and those that were refused.",
    );
    text.line(&[("outcome", "taken")], edits.taken);
    text.line(&[("outcome", "refused")], edits.refused);
    text.text
}

/// What became of records, and how far reading is.
fn streams(progress: &Progress, now: EventTime, text: &mut Exposition) {
    text.metric("weir_records_total", "counter", "What became of the records of each stream.");
    for (stream, ledger) in &progress.ledger {
        let outcomes = [("on_time", ledger.on_time), ("late", ledger.late), ("rejected", ledger.rejected)];
        outcomes.iter().for_each(|(outcome, count)| text.line(&[("stream", stream), ("outcome", outcome)], count));
    }
    let what = "Values that do not fit the type of their column: NULL there, kept in unmapped.";
    text.metric("weir_misfits_total", "counter", what);
    for (stream, columns) in &progress.nulled.misfits {
        columns.iter().for_each(|(column, count)| text.line(&[("stream", stream), ("column", column)], count));
    }
    let what = "Values that could not be computed and are NULL, such as a division by zero.";
    text.metric("weir_failures_total", "counter", what);
    text.line(&[], progress.nulled.failures);
    let vitals = &progress.vitals;
    text.metric("weir_read_records_total", "counter", "Records read from Kafka since the pipeline started.");
    text.line(&[], vitals.records_read);
    text.metric("weir_read_bytes_total", "counter", "Their bytes.");
    text.line(&[], vitals.bytes_read);
    let what = "Records that the brokers have and that were not read yet, as of the last statistics.";
    text.metric("weir_consumer_lag_records", "gauge", what);
    for (place, lag) in &vitals.lags {
        text.line(&[("topic", &place.topic), ("partition", &place.partition.to_string())], lag);
    }
    let what = "How far the watermark of a stream is behind the clock on the wall.";
    text.metric("weir_watermark_lag_seconds", "gauge", what);
    for (stream, watermark) in &vitals.watermarks {
        text.line(&[("stream", stream)], seconds(now.0.saturating_sub(watermark.0)));
    }
}

/// What each detection did.
fn detections(progress: &Progress, text: &mut Exposition) {
    let of_each = &progress.vitals.detections;
    text.metric("weir_detection_events_total", "counter", "Events of the streams that a detection reads.");
    of_each.iter().for_each(|(id, one)| text.line(&[("detection", id)], one.meter.events));
    let what =
        "Rows that passed the row-level part of a detection: what its first window, join, sequence, OVER or alert got.";
    text.metric("weir_detection_rows_total", "counter", what);
    of_each.iter().for_each(|(id, one)| text.line(&[("detection", id)], one.meter.rows));
    text.metric("weir_detection_matches_total", "counter", "Alert records, suppressed ones among them.");
    for (id, one) in of_each {
        let matches = &one.matches;
        let activities = [("create", matches.created), ("update", matches.updated), ("withdraw", matches.withdrawn)];
        activities.iter().for_each(|(activity, n)| text.line(&[("detection", id), ("activity", activity)], n));
    }
    let what = "Alert records of detections with fast delivery: sent before their epoch, or why they were left to it.";
    text.metric("weir_fast_alerts_total", "counter", what);
    for (id, counts) in &progress.vitals.fast {
        let left = LeftReason::ALL.iter().zip(counts.left).map(|(reason, count)| (reason.as_str(), count));
        let outcomes = std::iter::once(("sent", counts.sent)).chain(left);
        outcomes.for_each(|(outcome, n)| text.line(&[("detection", id), ("outcome", outcome)], n));
    }
    let what = "Time that the operators of a detection took; what several share is split evenly among them.";
    text.metric("weir_detection_seconds_total", "counter", what);
    of_each.iter().for_each(|(id, one)| text.line(&[("detection", id)], one.meter.nanos as f64 / 1e9));
    let what = "About how many bytes a detection remembers; what several share is split evenly among them.";
    text.metric("weir_detection_state_bytes", "gauge", what);
    of_each.iter().for_each(|(id, one)| text.line(&[("detection", id)], one.state_bytes));
    let fired = &progress.vitals.fired;
    text.metric("weir_detection_fired_timestamp_seconds", "gauge", "When a detection gave a new alert last.");
    fired.iter().for_each(|(id, one)| text.line(&[("detection", id)], seconds(one.committed_us)));
    text.metric("weir_detection_fired_event_timestamp_seconds", "gauge", "The greatest event time of its alerts.");
    fired.iter().for_each(|(id, one)| text.line(&[("detection", id)], seconds(one.event_time_us)));
}

fn seconds(us: i64) -> f64 {
    us as f64 / 1e6
}

/// The text so far, and the metric that lines belong to.
#[derive(Default)]
struct Exposition {
    text: String,
    name: &'static str,
}

impl Exposition {
    fn metric(&mut self, name: &'static str, kind: &str, help: &str) {
        self.name = name;
        self.text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    fn line(&mut self, labels: &[(&str, &str)], value: impl Display) {
        let escaped = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let labels: Vec<_> = labels.iter().map(|(name, text)| format!("{name}=\"{}\"", escaped(text))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        self.text.push_str(&format!("{}{labels} {value}\n", self.name));
    }
}

#[cfg(test)]
mod tests {
    use weir_connectors::position::TopicPartition;
    use weir_connectors::state::{Fired, Ledger, Nulled};
    use weir_engine::QueryMeter;

    use super::*;
    use crate::pump::vitals::{DetectionVitals, FastCounts, Matches, Vitals};

    fn told(progress: &Progress) -> String {
        exposition(progress, EditCounts { taken: 8, refused: 9 }, EventTime(70_500_000))
    }

    #[test]
    fn metrics_account_for_every_record() {
        let ledger = Ledger { records: 7, on_time: 4, late: 2, rejected: 1 };
        let misfits = [("proxy".to_owned(), [("a \"b\"".to_owned(), 5)].into())].into();
        let nulled = Nulled { misfits, failures: 6 };
        let ledger = [("proxy".to_owned(), ledger)].into();
        let text = told(&Progress { epoch: 3, ledger, nulled, ..Progress::default() });
        assert!(text.contains("weir_epoch 3\n"));
        assert!(text.contains("weir_records_total{stream=\"proxy\",outcome=\"late\"} 2\n"), "{text}");
        assert!(text.contains("weir_misfits_total{stream=\"proxy\",column=\"a \\\"b\\\"\"} 5\n"), "{text}");
        assert!(text.contains("weir_failures_total 6\n"), "{text}");
        assert!(text.contains("weir_edits_total{outcome=\"taken\"} 8\n"), "{text}");
        assert!(text.contains("weir_edits_total{outcome=\"refused\"} 9\n"), "{text}");
    }

    #[test]
    fn metrics_tell_what_each_detection_did() {
        let meter = QueryMeter { events: 10, rows: 4, nanos: 1_500_000_000 };
        let matches = Matches { created: 2, updated: 1, withdrawn: 0 };
        let detection = DetectionVitals { meter, state_bytes: 96, matches };
        let place = TopicPartition { topic: "t".into(), partition: 1 };
        let fired = Fired { event_time_us: 60_000_000, committed_us: 61_250_000 };
        let vitals = Vitals {
            detections: [("a.b".to_owned(), detection)].into(),
            fired: [("a.b".to_owned(), fired)].into(),
            watermarks: [("proxy".to_owned(), EventTime(60_000_000))].into(),
            lags: [(place, 12)].into(),
            fast: [("a.b".to_owned(), FastCounts { sent: 3, left: [4, 5, 6, 7] })].into(),
            records_read: 11,
            bytes_read: 1100,
        };
        let text = told(&Progress { vitals, ..Progress::default() });
        for line in [
            "weir_detection_events_total{detection=\"a.b\"} 10",
            "weir_detection_rows_total{detection=\"a.b\"} 4",
            "weir_detection_matches_total{detection=\"a.b\",activity=\"create\"} 2",
            "weir_detection_matches_total{detection=\"a.b\",activity=\"withdraw\"} 0",
            "weir_fast_alerts_total{detection=\"a.b\",outcome=\"sent\"} 3",
            "weir_fast_alerts_total{detection=\"a.b\",outcome=\"queue_full\"} 4",
            "weir_fast_alerts_total{detection=\"a.b\",outcome=\"no_answer\"} 5",
            "weir_fast_alerts_total{detection=\"a.b\",outcome=\"too_large\"} 6",
            "weir_fast_alerts_total{detection=\"a.b\",outcome=\"refused\"} 7",
            "weir_detection_seconds_total{detection=\"a.b\"} 1.5",
            "weir_detection_state_bytes{detection=\"a.b\"} 96",
            "weir_detection_fired_timestamp_seconds{detection=\"a.b\"} 61.25",
            "weir_detection_fired_event_timestamp_seconds{detection=\"a.b\"} 60",
            "weir_watermark_lag_seconds{stream=\"proxy\"} 10.5",
            "weir_consumer_lag_records{topic=\"t\",partition=\"1\"} 12",
            "weir_read_records_total 11",
            "weir_read_bytes_total 1100",
        ] {
            assert!(text.contains(&format!("{line}\n")), "{line} is not in\n{text}");
        }
    }
}
