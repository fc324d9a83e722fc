//! What goes into a decoder, and what comes back of a record that it refuses.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use weir_engine::EventTime;

use crate::position::Position;

/// One record as it came from outside.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// Its bytes.
    pub payload: &'a [u8],
    /// The message key, if it has one.
    pub key: Option<&'a [u8]>,
    /// The message timestamp, whoever set it.
    pub timestamp: Option<EventTime>,
    /// When the broker appended it, or when it was recorded to have arrived.
    pub arrival: Option<EventTime>,
    /// The message headers; may be left empty where the decoder does not read them.
    pub headers: &'a [Header<'a>],
    /// Where it came from.
    pub position: &'a Position,
}

/// One message header.
#[derive(Debug, Clone, Copy)]
pub struct Header<'a> {
    /// Its name. Names may repeat.
    pub name: &'a str,
    /// Its value, if it has one.
    pub value: Option<&'a [u8]>,
}

impl<'a> Record<'a> {
    /// A record without key, timestamps and headers, as from a file.
    #[must_use]
    pub fn new(payload: &'a [u8], position: &'a Position) -> Self {
        Self { payload, key: None, timestamp: None, arrival: None, headers: &[], position }
    }
}

/// Why a record was refused. The words are stable: they stand in the dead-letter table and in metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RejectReason {
    /// There are no bytes, or only white space.
    Empty,
    /// The record is larger than the limit.
    TooLarge,
    /// The bytes are not UTF-8.
    InvalidUtf8,
    /// The JSON ends in the middle.
    TruncatedJson,
    /// The JSON goes against its grammar.
    InvalidJson,
    /// Something follows the JSON object.
    TrailingData,
    /// The JSON is another value than an object.
    NotAnObject,
    /// Objects and arrays are nested deeper than the limit.
    TooDeep,
    /// There is no event time, or it is `null`.
    MissingTime,
    /// The event time cannot be read.
    BadTime,
    /// The event time lies before 1970 or after 2199.
    TimeOutOfRange,
}

impl RejectReason {
    /// All reasons, for metrics that begin at zero.
    pub const ALL: [Self; 11] = [
        Self::Empty,
        Self::TooLarge,
        Self::InvalidUtf8,
        Self::TruncatedJson,
        Self::InvalidJson,
        Self::TrailingData,
        Self::NotAnObject,
        Self::TooDeep,
        Self::MissingTime,
        Self::BadTime,
        Self::TimeOutOfRange,
    ];

    /// The stable word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::TooLarge => "too_large",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::TruncatedJson => "truncated_json",
            Self::InvalidJson => "invalid_json",
            Self::TrailingData => "trailing_data",
            Self::NotAnObject => "not_an_object",
            Self::TooDeep => "too_deep",
            Self::MissingTime => "missing_time",
            Self::BadTime => "bad_time",
            Self::TimeOutOfRange => "time_out_of_range",
        }
    }
}

impl fmt::Display for RejectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The refusal of a record: nothing of it is in the batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {detail}")]
pub struct Reject {
    /// The kind of mistake.
    pub reason: RejectReason,
    /// What exactly, for a person. May quote a short part of the record.
    pub detail: String,
}

impl Reject {
    pub(crate) fn new(reason: RejectReason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }

    /// The refused record with everything that is needed to look at it, mend it and send it again.
    #[must_use]
    pub fn of(self, stream: &Arc<str>, record: &Record<'_>) -> Rejected {
        Rejected {
            stream: Arc::clone(stream),
            position: record.position.clone(),
            reason: self.reason,
            detail: self.detail,
            arrival: record.arrival.or(record.timestamp),
            raw: Bytes::copy_from_slice(record.payload),
        }
    }
}

/// A record that was refused, for the dead-letter topic and table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// The stream it was meant for.
    pub stream: Arc<str>,
    /// Where it came from.
    pub position: Position,
    /// The kind of mistake.
    pub reason: RejectReason,
    /// What exactly, for a person.
    pub detail: String,
    /// The best known time of its arrival.
    pub arrival: Option<EventTime>,
    /// Its bytes.
    pub raw: Bytes,
}
