//! Event time: the instant an event says it happened, and what may be concluded from it.

use std::fmt;

use chrono::{DateTime, SecondsFormat};
use serde::{Deserialize, Serialize};

/// An instant in microseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EventTime(pub i64);

impl EventTime {
    /// Before every event; the watermark of a partition that has said nothing.
    pub const MIN: Self = Self(i64::MIN);
    /// After every event; the watermark of a partition that has ended.
    pub const MAX: Self = Self(i64::MAX);

    /// This instant less a duration, without wrapping.
    #[must_use]
    pub const fn before(self, duration_us: i64) -> Self {
        Self(self.0.saturating_sub(duration_us))
    }

    /// A watermark less a duration; one that knows that everything has come stays what it is.
    #[must_use]
    pub const fn less(self, duration_us: i64) -> Self {
        if self.0 == Self::MAX.0 { self } else { self.before(duration_us) }
    }

    /// This instant plus a duration, without wrapping.
    #[must_use]
    pub const fn after(self, duration_us: i64) -> Self {
        Self(self.0.saturating_add(duration_us))
    }
}

impl fmt::Display for EventTime {
    /// RFC 3339 in UTC with as many digits as needed; the two ends of time as words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::MIN => f.write_str("the beginning"),
            Self::MAX => f.write_str("the end"),
            Self(us) => match DateTime::from_timestamp_micros(us) {
                Some(time) => f.write_str(&time.to_rfc3339_opts(SecondsFormat::AutoSi, true)),
                None => write!(f, "{us} µs"),
            },
        }
    }
}
