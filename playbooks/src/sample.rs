//! Facts for tests of this room.

use crate::facts::{AlertFacts, Moment, Severity};

/// Seconds after the beginning of the test's time.
pub(crate) fn at(seconds: i64) -> Moment {
    Moment::from_timestamp(1_790_000_000 + seconds, 0).expect("a valid instant")
}

/// An alert with entities.
pub(crate) fn alert(uid: &str, entities: &[(&str, &str)]) -> AlertFacts {
    AlertFacts {
        uid: uid.to_owned(),
        detection: "correlation.phishing".to_owned(),
        title: "Mail, click and process of one user".to_owned(),
        message: None,
        severity: Severity::High,
        confidence: None,
        risk_score: None,
        time: at(0),
        count: 1,
        attack: vec!["T1566".to_owned()],
        entities: entities.iter().map(|(kind, value)| ((*kind).to_owned(), (*value).to_owned())).collect(),
        evidence: serde_json::Map::new(),
        runbook: None,
    }
}
