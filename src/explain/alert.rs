//! `weir explain alert UID`: what an alert says, how it came to say it, and the events behind it, out of the archive.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;

use anyhow::{Context as _, anyhow};
use arrow::array::{AsArray, RecordBatch};
use datafusion::common::ScalarValue;
use serde_json::{Map, Value, json};
use weir_connectors::archive::Archive;
use weir_detections::row::row_to_json;
use weir_engine::{Catalog, Uid, sql};

use crate::check;
use crate::cli::Globals;
use crate::config::Need;
use crate::exit::{Blame, CommandError, CommandResult, Outcome};
use crate::hunt::{self, HuntError, Limits};
use crate::print::{Format, one_line};
use crate::project::Project;
use crate::stdout::{self, Stdout};

/// How far before an alert the events that it joins are looked for.
const JOINED_BEFORE_MS: i64 = 3_600_000;

/// An alert with what is known of its past and its cause.
#[derive(Debug, Default, PartialEq)]
struct Evidence {
    /// Its records in order; the last one holds.
    records: Vec<Value>,
    /// The events that caused it, by stream.
    events: Vec<(String, Map<String, Value>)>,
    /// Uids of events that the archive does not have.
    missing: Vec<String>,
}

/// Prints the evidence behind an alert.
pub(super) fn run(globals: &Globals, uid: &str) -> CommandResult {
    let uid = uid.parse::<Uid>().with_context(|| format!("`{uid}` is not the id of an alert")).usage()?;
    let (project, mut diagnostics) = Project::load(&globals.dir, Need::Texts);
    let streams = project.streams.iter().map(|file| (file.path.clone(), file.text.clone())).collect::<Vec<_>>();
    let (catalog, found) = sql::parse_catalog(&streams);
    diagnostics.extend(found);
    check::stop_on_errors(&project, diagnostics)?;
    let archive = hunt::archive(&project.config)?;
    let limits = Limits { memory_bytes: project.config.hunt.memory_bytes, timeout: project.config.hunt.timeout };
    let reader = Reader { archive: &archive, catalog: &catalog, project: &project, limits };
    let runtime = tokio::runtime::Runtime::new().outside()?;
    let evidence = runtime.block_on(reader.evidence(uid)).outside()?;
    let Some(evidence) = evidence else {
        return Err(CommandError::usage(anyhow!("the archive at {} has no alert {uid}", archive.location().url())));
    };
    if Format::or_default(globals.format) == Format::Table {
        print(&evidence)?;
    } else {
        let events = evidence.events.iter().map(|(stream, event)| json!({ "stream": stream, "event": event }));
        let whole = json!({
            "alert": evidence.records.last(),
            "records": evidence.records,
            "events": events.collect::<Vec<_>>(),
            "missing_events": evidence.missing,
        });
        stdout::print(&whole.to_string())?;
    }
    Ok(Outcome::Done)
}

struct Reader<'a> {
    archive: &'a Archive,
    catalog: &'a Catalog,
    project: &'a Project,
    limits: Limits,
}

impl Reader<'_> {
    /// Everything about one alert; `None` where the archive does not know it.
    async fn evidence(&self, uid: Uid) -> Result<Option<Evidence>, HuntError> {
        let params = BTreeMap::from([("uid".to_owned(), ScalarValue::Utf8View(Some(uid.to_string())))]);
        // Within an epoch an alert is created before it is changed.
        let text = "SELECT record FROM alerts WHERE uid = $uid ORDER BY epoch, activity_id";
        let batches = self.rows(text, &params).await?;
        let records = batches.iter().flat_map(texts).filter_map(|text| serde_json::from_str(&text).ok());
        let records = records.collect::<Vec<Value>>();
        let Some(last) = records.last() else { return Ok(None) };
        let mut wanted = related(last);
        let mut events = Vec::new();
        for stream in self.catalog.streams() {
            if wanted.is_empty() {
                break;
            }
            events.extend(self.events(&stream.name, last, &mut wanted).await?);
        }
        let missing = wanted.iter().map(ToString::to_string).collect();
        Ok(Some(Evidence { records, events, missing }))
    }

    /// The wanted events of one stream; those that are found are wanted no more. The alert's own span
    /// of time keeps the search small.
    async fn events(
        &self,
        stream: &str,
        alert: &Value,
        wanted: &mut BTreeSet<Uid>,
    ) -> Result<Vec<(String, Map<String, Value>)>, HuntError> {
        let millis = |key: &str| alert.pointer(&format!("/finding_info/{key}")).and_then(Value::as_i64);
        let time = |ms: i64| ScalarValue::TimestampMicrosecond(Some(ms.saturating_mul(1000)), None);
        // Times of the record are cut to milliseconds; the event that was joined may lie before the one that is told.
        let first = millis("first_seen_time").map_or(0, |ms| ms.saturating_sub(JOINED_BEFORE_MS));
        let last = millis("last_seen_time").map_or(i64::MAX / 1000, |ms| ms + 1);
        let params = BTreeMap::from([("first".to_owned(), time(first)), ("last".to_owned(), time(last))]);
        // A uid is hexadecimal digits and nothing else, so that it can stand in the text.
        let uids = wanted.iter().map(|uid| format!("'{uid}'")).collect::<Vec<_>>().join(", ");
        let stream_name = stream.replace('"', "\"\"");
        let text = format!(
            "SELECT \"_uid\", * FROM \"{stream_name}\" WHERE _time BETWEEN $first AND $last AND \"_uid\" IN ({uids})"
        );
        let mut found = Vec::new();
        for batch in self.rows(&text, &params).await? {
            for (row, uid) in texts(&batch).iter().enumerate() {
                // The same record twice is one event.
                if uid.parse().is_ok_and(|uid| wanted.remove(&uid)) {
                    found.push((stream.to_owned(), row_to_json(&batch, row)));
                }
            }
        }
        Ok(found)
    }

    async fn rows(&self, text: &str, params: &BTreeMap<String, ScalarValue>) -> Result<Vec<RecordBatch>, HuntError> {
        hunt::hunt(self.archive, self.catalog, &self.project.dir, text, params, self.limits).await?.collect().await
    }
}

/// The texts of a batch's first column, which is never null.
fn texts(batch: &RecordBatch) -> Vec<String> {
    let column = batch.column(0).as_string_view_opt();
    column.into_iter().flat_map(|texts| texts.iter().flatten().map(str::to_owned)).collect()
}

/// The uids of the events that the record names.
fn related(record: &Value) -> BTreeSet<Uid> {
    let events = record.pointer("/finding_info/related_events").and_then(Value::as_array);
    let uids = events.into_iter().flatten().filter_map(|event| event["uid"].as_str());
    uids.filter_map(|uid| uid.parse().ok()).collect()
}

fn print(evidence: &Evidence) -> std::io::Result<()> {
    let mut out = Stdout::lock();
    let text = |record: &Value, pointer: &str| match record.pointer(pointer) {
        Some(Value::String(text)) => one_line(text),
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    };
    if let Some(last) = evidence.records.last() {
        let of = |pointer: &str| text(last, pointer);
        writeln!(out, "{}  {}", of("/finding_info/uid"), of("/finding_info/title"))?;
        writeln!(out, "detection  {}", of("/finding_info/analytic/uid"))?;
        writeln!(out, "severity   {}, status {}, count {}", of("/severity"), of("/status"), of("/count"))?;
        writeln!(out, "message    {}", of("/message"))?;
        for (name, value) in last.pointer("/evidences/0/data").and_then(Value::as_object).into_iter().flatten() {
            writeln!(out, "  {name} = {}", one_line(&value.to_string()))?;
        }
    }
    writeln!(out, "\nrecords")?;
    for record in &evidence.records {
        let of = |pointer: &str| text(record, pointer);
        writeln!(out, "  {}  {:8}  {}, count {}", of("/time_dt"), of("/activity_name"), of("/status"), of("/count"))?;
    }
    writeln!(out, "\nevents")?;
    if evidence.events.is_empty() && evidence.missing.is_empty() {
        writeln!(out, "  the alert is about a group of events and names none of them")?;
    }
    for (stream, event) in &evidence.events {
        writeln!(out, "  {stream}  {}", one_line(&Value::Object(event.clone()).to_string()))?;
    }
    for uid in &evidence.missing {
        writeln!(out, "  {uid} is not in the archive")?;
    }
    out.finish()
}

#[cfg(test)]
mod tests;
