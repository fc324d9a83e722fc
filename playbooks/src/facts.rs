//! What a playbook knows about an alert: plain facts, independent of where alerts come from.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// An instant in UTC; given from outside, never read from a clock here.
pub type Moment = DateTime<Utc>;

/// How bad it is; ordered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    #[default]
    Informational,
    /// Look at it when there is time.
    Low,
    /// Look at it today.
    Medium,
    /// Look at it now.
    High,
    /// Drop everything.
    Critical,
    /// It is over.
    Fatal,
}

impl Severity {
    /// All, from least to worst.
    pub const ALL: [Self; 6] = [Self::Informational, Self::Low, Self::Medium, Self::High, Self::Critical, Self::Fatal];

    /// Its word.
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

    /// Its number in OCSF, from 1.
    #[must_use]
    pub const fn id(self) -> i64 {
        self as i64 + 1
    }

    /// The severity of an OCSF number; unknown numbers are informational.
    #[must_use]
    pub fn of_id(id: i64) -> Self {
        usize::try_from(id - 1).ok().and_then(|at| Self::ALL.get(at).copied()).unwrap_or_default()
    }

    /// The severity of a word.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|severity| severity.as_str().eq_ignore_ascii_case(word))
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The facts of one alert.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlertFacts {
    /// The alert's deterministic id.
    pub uid: String,
    /// The detection's id.
    pub detection: String,
    /// One line for people.
    pub title: String,
    /// Why it fired.
    #[serde(default)]
    pub message: Option<String>,
    /// How bad it is.
    pub severity: Severity,
    /// 0 to 100.
    #[serde(default)]
    pub confidence: Option<i64>,
    /// 0 to 100.
    #[serde(default)]
    pub risk_score: Option<i64>,
    /// Event time.
    pub time: Moment,
    /// Repeats folded into it.
    pub count: u64,
    /// ATT&CK technique ids.
    #[serde(default)]
    pub attack: Vec<String>,
    /// What it is about, by kind.
    #[serde(default)]
    pub entities: BTreeMap<String, String>,
    /// The row of the detection's `SELECT`.
    #[serde(default)]
    pub evidence: Map<String, Value>,
    /// What an analyst does about it, in Markdown, where the detection says so.
    #[serde(default)]
    pub runbook: Option<String>,
}

impl AlertFacts {
    /// The alert as templates and conditions see it. Empty text counts as absent.
    #[must_use]
    pub fn scope(&self) -> Value {
        let entities: Map<String, Value> = self
            .entities
            .iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(kind, value)| (kind.clone(), Value::String(value.clone())))
            .collect();
        json!({
            "uid": self.uid,
            "detection": self.detection,
            "title": self.title,
            "message": self.message,
            "severity": self.severity.as_str(),
            "severity_id": self.severity.id(),
            "confidence": self.confidence,
            "risk_score": self.risk_score,
            "time": self.time.to_rfc3339_opts(SecondsFormat::AutoSi, true),
            "count": self.count,
            "attack": self.attack,
            "entities": entities,
            "evidence": self.evidence,
            "runbook": self.runbook,
        })
    }
}
