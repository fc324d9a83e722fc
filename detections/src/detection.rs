//! A detection: one `SELECT` and what its author says about it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use weir_engine::{Place, Query, ScalarValue, Span};

use crate::entity::EntityKind;
use crate::exceptions::Exception;
use crate::published;

/// One detection file, read and checked as far as its header goes. Its SQL is the engine's to judge.
#[derive(Debug, Clone)]
pub struct Detection {
    /// The file it was read from.
    pub file: String,
    /// Its name for machines; part of every alert id, so that it must not change.
    pub id: Arc<str>,
    /// Its name for people.
    pub title: String,
    /// How bad a hit is, unless its row says otherwise.
    pub severity: Severity,
    /// How far the detection is trusted.
    pub status: Status,
    /// The team that answers for it.
    pub owner: Option<String>,
    /// What it looks for and why that matters.
    pub description: Option<String>,
    /// Who wrote it.
    pub author: Option<String>,
    /// The day it was written, as `YYYY-MM-DD`.
    pub date: Option<String>,
    /// The day it was last changed, as `YYYY-MM-DD`.
    pub modified: Option<String>,
    /// Its version; shown in alerts, never part of their identity.
    pub version: Option<String>,
    /// How sure a hit is, from 0 to 100, unless its row says otherwise.
    pub confidence: Option<Confidence>,
    /// How much a hit adds to the risk of its entities, unless its row says otherwise.
    pub risk_score: Option<u32>,
    /// ATT&CK tactics, techniques and sub-techniques by id.
    pub attack: Vec<String>,
    /// Free words to select detections by.
    pub tags: Vec<String>,
    /// Where to read more.
    pub references: Vec<String>,
    /// What else can cause a hit.
    pub false_positives: Vec<String>,
    /// Ids of related detections.
    pub related: Vec<String>,
    /// The licence of the text.
    pub license: Option<String>,
    /// The output columns that say what a hit is about.
    pub entities: BTreeMap<EntityKind, String>,
    /// By how many microseconds events may be late and count in windows all the same.
    pub allowed_lateness_us: Option<i64>,
    /// How long repeats about the same entities are folded into the first hit, in microseconds.
    pub cooldown_us: Option<i64>,
    /// When its alerts leave.
    pub delivery: Delivery,
    /// The playbook that its alerts start.
    pub playbook: Option<String>,
    /// Values of `$name` in the SQL.
    pub params: BTreeMap<String, Param>,
    /// What an analyst does about it, in Markdown.
    pub runbook: Option<String>,
    /// The `SELECT`.
    pub sql: String,
    /// Where `sql` begins in the file.
    pub sql_start: Place,
    /// Where the header's values stand, by key (`playbook`, `entities.user`).
    pub(crate) places: BTreeMap<String, Span>,
}

/// How bad a hit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth keeping, not worth a look.
    Informational,
    /// Worth a look some day.
    Low,
    /// Worth a look this week.
    Medium,
    /// Worth a look today.
    High,
    /// Someone must act now.
    Critical,
    /// The damage is done.
    Fatal,
}

/// How far a detection is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Proven in use.
    Stable,
    /// Believed good, being watched.
    Test,
    /// Being tried out.
    #[default]
    Experimental,
    /// Kept for its ids; to be replaced.
    Deprecated,
}

/// When the alerts of a detection leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Delivery {
    /// With their epoch, exactly once.
    #[default]
    Exact,
    /// That, and before it a copy at once, at least once, to a topic of its own.
    Fast,
}

/// How sure a hit is, from 0 to 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Confidence(pub u8);

/// The greatest risk score.
pub const MAX_RISK_SCORE: u32 = 10_000;

/// The value of a `$name` parameter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Param {
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// Text.
    Text(String),
}

/// Output columns that override the header for the hit of their row.
pub mod reserved {
    /// Severity as a word, in any case.
    pub const SEVERITY: &str = "severity";
    /// Confidence as a number from 0 to 100, or as a word.
    pub const CONFIDENCE: &str = "confidence";
    /// Risk score as a number.
    pub const RISK_SCORE: &str = "risk_score";
    /// Title of the alert.
    pub const TITLE: &str = "title";
    /// Message of the alert.
    pub const MESSAGE: &str = "message";
}

impl Detection {
    /// What the engine is asked to run, with those exceptions that are about this detection.
    ///
    /// Shape: [`Query::publish`] follows [`published`](crate::published).
    #[must_use]
    pub fn query(&self, exceptions: &[Exception]) -> Query {
        Query {
            id: Arc::clone(&self.id),
            sql: self.sql.clone(),
            start: self.sql_start,
            params: self.params.iter().map(|(name, value)| (name.clone(), value.scalar())).collect(),
            allowed_lateness_us: self.allowed_lateness_us.unwrap_or(0),
            cooldown_us: self.cooldown_us,
            cooldown_keys: self.cooldown_us.map_or_else(Vec::new, |_| self.entities.values().cloned().collect()),
            exceptions: exceptions
                .iter()
                .filter(|exception| exception.covers(&self.id))
                .map(Exception::condition)
                .collect(),
            publish: published::values(self),
        }
    }

    /// Where the value of a header key stands (`playbook`, `entities.user`), for messages about it.
    #[must_use]
    pub fn place(&self, key: &str) -> Option<Span> {
        self.places.get(key).copied()
    }

    /// The first word of its id, which is its family.
    #[must_use]
    pub fn family(&self) -> &str {
        self.id.split('.').next().unwrap_or_default()
    }
}

impl Severity {
    /// Every severity, from the least to the worst.
    pub const ALL: [Self; 6] = [Self::Informational, Self::Low, Self::Medium, Self::High, Self::Critical, Self::Fatal];

    /// The word for it in headers and SQL.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Informational => "informational",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
            Self::Fatal => "fatal",
        }
    }

    /// The severity of that word, in any case. `info` is informational.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_lowercase();
        if text == "info" {
            return Some(Self::Informational);
        }
        Self::ALL.into_iter().find(|severity| severity.as_str() == text)
    }

    /// OCSF `severity_id`.
    #[must_use]
    pub const fn id(self) -> i64 {
        self as i64 + 1
    }

    /// OCSF `severity`.
    #[must_use]
    pub const fn caption(self) -> &'static str {
        match self {
            Self::Informational => "Informational",
            Self::Low => "Low",
            Self::Medium => "Medium",
            Self::High => "High",
            Self::Critical => "Critical",
            Self::Fatal => "Fatal",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 4] = [Self::Stable, Self::Test, Self::Experimental, Self::Deprecated];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stable => "stable",
            Self::Test => "test",
            Self::Experimental => "experimental",
            Self::Deprecated => "deprecated",
        }
    }

    /// The status of that word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }
}

impl Delivery {
    /// Every delivery.
    pub const ALL: [Self; 2] = [Self::Exact, Self::Fast];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Fast => "fast",
        }
    }

    /// The delivery of that word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|delivery| delivery.as_str() == text)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Confidence {
    /// What the words stand for, from the least to the most.
    pub const WORDS: [(&'static str, u8); 3] = [("low", 25), ("medium", 50), ("high", 90)];

    /// The confidence of a word, in any case.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_lowercase();
        Self::WORDS.into_iter().find(|(word, _)| *word == text).map(|(_, score)| Self(score))
    }

    /// The confidence that a text says: a word, or a score in digits.
    #[must_use]
    pub fn said(text: &str) -> Option<Self> {
        Self::parse(text).or_else(|| Self::of_score(text.trim().parse().ok()?))
    }

    /// The confidence of a score, when it is one.
    #[must_use]
    pub fn of_score(score: f64) -> Option<Self> {
        (0.0..=100.0).contains(&score).then(|| Self(score.round() as u8))
    }

    /// OCSF `confidence_id` and `confidence`.
    #[must_use]
    pub const fn ocsf(self) -> (i64, &'static str) {
        match self.0 {
            0..40 => (1, "Low"),
            40..75 => (2, "Medium"),
            _ => (3, "High"),
        }
    }
}

impl Param {
    fn scalar(&self) -> ScalarValue {
        match self {
            Self::Bool(value) => ScalarValue::Boolean(Some(*value)),
            Self::Int(value) => ScalarValue::Int64(Some(*value)),
            Self::Float(value) => ScalarValue::Float64(Some(*value)),
            Self::Text(value) => ScalarValue::Utf8View(Some(value.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Confidence, Severity};

    #[test]
    fn severities_are_ordered_and_numbered_as_in_ocsf() {
        let ids: Vec<_> = Severity::ALL.iter().map(|severity| severity.id()).collect();
        assert_eq!(ids, [1, 2, 3, 4, 5, 6]);
        assert_eq!(Severity::parse(" HIGH "), Some(Severity::High));
        assert_eq!(Severity::parse("Info"), Some(Severity::Informational));
        assert_eq!(Severity::parse("urgent"), None);
    }

    #[test]
    fn confidence_words_and_scores_agree() {
        for (word, score) in Confidence::WORDS {
            let confidence = Confidence::parse(&word.to_uppercase()).expect("a word of the list");
            assert_eq!(confidence.0, score);
            assert_eq!(confidence.ocsf().1.to_lowercase(), word);
        }
        assert_eq!(Confidence::of_score(99.6), Some(Confidence(100)));
        assert_eq!(Confidence::of_score(100.1), None);
        assert_eq!(Confidence::of_score(f64::NAN), None);
    }
}
