//! A hit with identity, as the world outside knows it: an OCSF 1.8 Detection Finding (class 2004).
//!
//! Nothing here reads a clock, and keys stand in a fixed order: the same hit gives the same bytes.

mod evidence;
mod own;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{DataType, TimestampMicrosecondType};
use serde_json::{Map, Value, json};
use weir_engine::{Activity, EventTime, Hit, Uid};

use crate::detection::{Confidence, Detection, Severity, reserved};
use crate::row::{row_to_json, value_to_json};

pub use own::{QUARANTINE, Quarantined, quarantine_alert};

/// The version of OCSF that alerts follow.
pub const OCSF_VERSION: &str = "1.8.0";

/// OCSF class of an alert: Detection Finding.
pub const CLASS_UID: u32 = 2004;

/// The fields that a record can have, on its first level.
pub(crate) const FIELDS: [&str; 31] = [
    "time",
    "time_dt",
    "activity_id",
    "activity_name",
    "category_uid",
    "category_name",
    "class_uid",
    "class_name",
    "type_uid",
    "type_name",
    "severity_id",
    "severity",
    "status_id",
    "status",
    "confidence_id",
    "confidence",
    "confidence_score",
    "risk_score",
    "is_alert",
    "count",
    "message",
    "start_time",
    "start_time_dt",
    "end_time",
    "end_time_dt",
    "metadata",
    "finding_info",
    "evidences",
    "observables",
    "remediation",
    "unmapped",
];

/// The status of an alert that may still turn out to repeat another. OCSF has no word for it, so it is "other" (99), which
/// is told by its caption.
pub const PROVISIONAL: &str = "Provisional";

/// One record about one alert.
///
/// Shape: an OCSF Detection Finding with the datetime profile. The row of the `SELECT` is `evidences[0].data`; what
/// OCSF has no word for is below `unmapped.weir`.
#[must_use]
pub fn ocsf(detection: &Detection, hit: &Hit) -> Value {
    let alert = Alert { detection, hit, row: row_to_json(&hit.row, 0), says: RowSays::of(detection, &hit.row) };
    let mut record = alert.record();
    // The id of the record, not of the alert: two records of one alert differ in it, two deliveries of one do not.
    let text = serde_json::to_vec(&record).expect("a map of JSON values is JSON");
    let uid = Uid::of_cause([text.as_slice()]);
    if let Some(Value::Object(metadata)) = record.get_mut("metadata") {
        metadata.insert("uid".to_owned(), uid.to_string().into());
    }
    Value::Object(record)
}

/// What the reserved columns of a row say, or the header where they say nothing.
struct RowSays {
    severity: Severity,
    confidence: Option<Confidence>,
    risk_score: Option<Value>,
    title: String,
    message: Option<String>,
}

impl RowSays {
    fn of(detection: &Detection, row: &RecordBatch) -> Self {
        let said = |name: &str| column(row, name).filter(|value| !value.is_null());
        let text = |name: &str| said(name).map(|value| text_of(&value)).filter(|text| !text.trim().is_empty());
        let confidence = said(reserved::CONFIDENCE).and_then(|value| match &value {
            Value::String(word) => Confidence::said(word),
            other => other.as_f64().and_then(Confidence::of_score),
        });
        Self {
            severity: text(reserved::SEVERITY).and_then(|word| Severity::parse(&word)).unwrap_or(detection.severity),
            confidence: confidence.or(detection.confidence),
            risk_score: said(reserved::RISK_SCORE)
                .filter(Value::is_number)
                .or_else(|| detection.risk_score.map(Value::from)),
            title: text(reserved::TITLE).unwrap_or_else(|| detection.title.clone()),
            message: text(reserved::MESSAGE),
        }
    }
}

struct Alert<'a> {
    detection: &'a Detection,
    hit: &'a Hit,
    row: Map<String, Value>,
    says: RowSays,
}

impl Alert<'_> {
    fn record(&self) -> Map<String, Value> {
        let (activity_id, activity) = match self.hit.activity {
            Activity::Create => (1, "Create"),
            Activity::Update => (2, "Update"),
            Activity::Withdraw => (3, "Close"),
        };
        let entities = evidence::entities(self.detection, &self.hit.row);
        let message = self.says.message.clone().unwrap_or_else(|| self.message(&entities));
        let mut record = Map::new();
        let mut put = |key: &str, value: Value| drop(record.insert(key.to_owned(), value));
        put("time", ms(self.hit.time));
        put("time_dt", self.hit.time.to_string().into());
        put("activity_id", activity_id.into());
        put("activity_name", activity.into());
        put("category_uid", 2.into());
        put("category_name", "Findings".into());
        put("class_uid", CLASS_UID.into());
        put("class_name", "Detection Finding".into());
        put("type_uid", (u64::from(CLASS_UID) * 100 + activity_id).into());
        put("type_name", format!("Detection Finding: {activity}").into());
        put("severity_id", self.says.severity.id().into());
        put("severity", self.says.severity.caption().into());
        let (status_id, status) = self.status();
        put("status_id", status_id.into());
        put("status", status.into());
        if let Some(confidence) = self.says.confidence {
            let (id, word) = confidence.ocsf();
            put("confidence_id", id.into());
            put("confidence", word.into());
            put("confidence_score", confidence.0.into());
        }
        if let Some(risk_score) = &self.says.risk_score {
            put("risk_score", risk_score.clone());
        }
        put("is_alert", (status_id == 1).into());
        put("count", self.hit.count.into());
        put("message", message.into());
        if let Some(start) = self.start() {
            put("start_time", ms(start));
            put("start_time_dt", start.to_string().into());
            put("end_time", ms(self.hit.time));
            put("end_time_dt", self.hit.time.to_string().into());
        }
        put("metadata", self.metadata());
        put("finding_info", self.finding_info());
        put("evidences", json!([evidence::artifacts(&entities, &self.row)]));
        put("observables", evidence::observables(&entities));
        if let Some(remediation) = self.remediation() {
            put("remediation", remediation);
        }
        put("unmapped", json!({ "weir": self.extension(&entities) }));
        record
    }

    const fn status(&self) -> (u64, &'static str) {
        if matches!(self.hit.activity, Activity::Withdraw) {
            (6, "Deleted")
        } else if self.hit.suppressed_by.is_some() || self.hit.exception.is_some() {
            (3, "Suppressed")
        } else if self.hit.provisional {
            (99, PROVISIONAL)
        } else {
            (1, "New")
        }
    }

    /// The title and what it is about, for a hit whose row has no message.
    fn message(&self, entities: &[evidence::Entity]) -> String {
        let about: Vec<_> = entities.iter().map(|entity| format!("{} {}", entity.kind, entity.text())).collect();
        if about.is_empty() { self.says.title.clone() } else { format!("{}: {}", self.says.title, about.join(", ")) }
    }

    /// Where the hit's window begins, if its row says so.
    fn start(&self) -> Option<EventTime> {
        let index = column_index(&self.hit.row, "window_start")?;
        let array = self.hit.row.column(index);
        let is_time = *array.data_type() == weir_engine::catalog::TIME_TYPE && array.is_valid(0);
        is_time.then(|| EventTime(array.as_primitive::<TimestampMicrosecondType>().value(0)))
    }

    fn metadata(&self) -> Value {
        let mut metadata = json!({
            "version": OCSF_VERSION,
            "product": { "name": "Weir", "vendor_name": "Weir", "version": env!("CARGO_PKG_VERSION") },
            "profiles": ["datetime"],
        });
        if !self.detection.tags.is_empty() {
            metadata["labels"] = self.detection.tags.clone().into();
        }
        metadata
    }

    fn finding_info(&self) -> Value {
        let mut info = json!({ "uid": self.hit.uid.to_string(), "title": self.says.title });
        if let Some(description) = &self.detection.description {
            info["desc"] = description.clone().into();
        }
        info["analytic"] = self.analytic();
        if !self.detection.attack.is_empty() {
            info["attacks"] = self.detection.attack.iter().map(|id| attack(id)).collect();
        }
        let first = self.start().unwrap_or(self.hit.time);
        info["first_seen_time"] = ms(first);
        info["first_seen_time_dt"] = first.to_string().into();
        info["last_seen_time"] = ms(self.hit.time);
        info["last_seen_time_dt"] = self.hit.time.to_string().into();
        if !self.hit.events.is_empty() {
            info["related_events_count"] = self.hit.events.len().into();
            info["related_events"] = self.hit.events.iter().map(|uid| json!({ "uid": uid.to_string() })).collect();
        }
        if !self.detection.related.is_empty() {
            let related = self.detection.related.iter();
            info["related_analytics"] = related.map(|id| json!({ "uid": id, "type_id": 1, "type": "Rule" })).collect();
        }
        info
    }

    /// What an analyst does about it: the runbook, and where to read more. OCSF wants a text in it.
    fn remediation(&self) -> Option<Value> {
        let mut remediation = json!({ "desc": self.detection.runbook.as_ref()? });
        if !self.detection.references.is_empty() {
            remediation["references"] = self.detection.references.clone().into();
        }
        Some(remediation)
    }

    fn analytic(&self) -> Value {
        let mut analytic = json!({
            "uid": &*self.detection.id,
            "name": self.detection.title,
            "type_id": 1,
            "type": "Rule",
            "category": self.detection.family(),
        });
        if let Some(version) = &self.detection.version {
            analytic["version"] = version.clone().into();
        }
        analytic
    }

    /// What OCSF has no word for.
    fn extension(&self, entities: &[evidence::Entity]) -> Value {
        let mut weir = Map::new();
        let mut put = |key: &str, value: Value| drop(weir.insert(key.to_owned(), value));
        put("status", self.detection.status.as_str().into());
        for (key, value) in [("owner", &self.detection.owner), ("playbook", &self.detection.playbook)] {
            if let Some(value) = value {
                put(key, value.clone().into());
            }
        }
        put("entities", entities.iter().map(|entity| (entity.kind.to_string(), entity.value.clone())).collect());
        if let Some(uid) = self.hit.suppressed_by {
            put("suppressed_by", uid.to_string().into());
        }
        if let Some(exception) = &self.hit.exception {
            put("exception", (**exception).into());
        }
        if self.hit.late {
            put("late", true.into());
        }
        if !self.hit.tables.is_empty() {
            let versions = self.hit.tables.iter();
            put(
                "tables",
                versions.map(|(name, version)| (name.to_string(), Value::from(version.to_string()))).collect(),
            );
        }
        Value::Object(weir)
    }
}

/// Source: ATT&CK ids; a sub-technique names its technique before the dot.
fn attack(id: &str) -> Value {
    if id.starts_with("TA") {
        return json!({ "tactic": { "uid": id } });
    }
    match id.split_once('.') {
        Some((technique, _)) => json!({ "technique": { "uid": technique }, "sub_technique": { "uid": id } }),
        None => json!({ "technique": { "uid": id } }),
    }
}

/// OCSF `timestamp_t`: milliseconds since 1970.
fn ms(time: EventTime) -> Value {
    time.0.div_euclid(1000).into()
}

/// The column of that name, or the only one that has it in another case.
pub(crate) fn column_index(rows: &RecordBatch, name: &str) -> Option<usize> {
    let fields = rows.schema_ref().fields();
    fields.iter().position(|field| field.name() == name).or_else(|| {
        let mut matching = (0..fields.len()).filter(|at| fields[*at].name().eq_ignore_ascii_case(name));
        matching.next().filter(|_| matching.next().is_none())
    })
}

fn column(row: &RecordBatch, name: &str) -> Option<Value> {
    let column = row.column(column_index(row, name)?);
    (*column.data_type() != DataType::Null).then(|| value_to_json(column, 0))
}

/// Text as it is, anything else as JSON.
fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests;
