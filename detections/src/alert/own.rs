//! Alerts about Weir itself.

use serde_json::{Map, Value, json};
use weir_engine::{EventTime, Uid};

use super::{CLASS_UID, OCSF_VERSION, ms};
use crate::detection::Severity;

/// The id that alerts about detections in quarantine have in the place of a detection's.
pub const QUARANTINE: &str = "weir.quarantine";

/// A detection that was put into quarantine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined<'a> {
    /// Its id.
    pub detection: &'a str,
    /// The epoch at whose end that was decided.
    pub epoch: u64,
    /// When, by the clock of whoever decided.
    pub at: EventTime,
    /// Why, in words.
    pub reason: &'a str,
    /// The bytes of its state and its limit, where they are the reason.
    pub bytes: Option<(u64, u64)>,
}

/// The alert about a detection in quarantine: an OCSF Detection Finding like all others, about Weir.
#[must_use]
pub fn quarantine_alert(of: &Quarantined<'_>) -> Value {
    let title = "Detection in quarantine";
    let uid = Uid::of_cause([QUARANTINE.as_bytes(), of.detection.as_bytes(), &of.epoch.to_be_bytes()]);
    let mut data = Map::from_iter([
        ("detection".to_owned(), Value::from(of.detection)),
        ("reason".to_owned(), of.reason.into()),
        ("epoch".to_owned(), of.epoch.into()),
    ]);
    if let Some((bytes, limit)) = of.bytes {
        data.insert("state_bytes".to_owned(), bytes.into());
        data.insert("limit_bytes".to_owned(), limit.into());
    }
    let (time, time_dt) = (ms(of.at), of.at.to_string());
    let mut record = json!({
        "time": time,
        "time_dt": time_dt,
        "activity_id": 1,
        "activity_name": "Create",
        "category_uid": 2,
        "category_name": "Findings",
        "class_uid": CLASS_UID,
        "class_name": "Detection Finding",
        "type_uid": u64::from(CLASS_UID) * 100 + 1,
        "type_name": "Detection Finding: Create",
        "severity_id": Severity::High.id(),
        "severity": Severity::High.caption(),
        "status_id": 1,
        "status": "New",
        "is_alert": true,
        "count": 1,
        "message": format!("{title}: {} sees no more events: {}", of.detection, of.reason),
        "metadata": {
            "version": OCSF_VERSION,
            "product": { "name": "Weir", "vendor_name": "Weir", "version": env!("CARGO_PKG_VERSION") },
            "profiles": ["datetime"],
        },
        "finding_info": {
            "uid": uid.to_string(),
            "title": title,
            "analytic": { "uid": QUARANTINE, "name": title, "type_id": 1, "type": "Rule" },
            "first_seen_time": time,
            "first_seen_time_dt": time_dt,
            "last_seen_time": time,
            "last_seen_time_dt": time_dt,
            "related_analytics": [{ "uid": of.detection, "type_id": 1, "type": "Rule" }],
        },
        "evidences": [{ "data": data }],
        "observables": [],
        "unmapped": { "weir": { "status": "stable", "entities": {} } },
    });
    let text = record.to_string();
    record["metadata"]["uid"] = Uid::of_cause([text.as_bytes()]).to_string().into();
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_quarantine_is_one_alert_whatever_the_clock_says() {
        let of = Quarantined {
            detection: "identity.guessing",
            epoch: 7,
            at: EventTime(1_790_000_000_000_000),
            reason: "its state has 9 bytes and may have 8",
            bytes: Some((9, 8)),
        };
        let uid = |alert: &Value| alert["finding_info"]["uid"].clone();
        let alert = quarantine_alert(&of);
        assert_eq!(alert["finding_info"]["analytic"]["uid"], QUARANTINE);
        assert_eq!(alert["evidences"][0]["data"]["detection"], "identity.guessing");
        assert_eq!(alert["evidences"][0]["data"]["limit_bytes"], 8);
        assert_eq!(alert["severity_id"], 4);
        assert_eq!(uid(&alert), uid(&quarantine_alert(&Quarantined { at: EventTime(0), ..of.clone() })));
        assert_ne!(uid(&alert), uid(&quarantine_alert(&Quarantined { epoch: 8, ..of.clone() })));
        assert_ne!(uid(&alert), uid(&quarantine_alert(&Quarantined { detection: "other", ..of })));
    }
}
