//! Dead letters: what was refused, with its bytes, the reason and the place, as a record of a topic and a row of a table.
//!
//! Both say the same, so that a letter can be mended and sent again from either.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use chrono::{DateTime, SecondsFormat};
use serde::{Deserialize, Serialize};
use weir_engine::EventTime;

use crate::archive::DeadLetterRow;
use crate::decode::{RejectReason, Rejected};
use crate::kafka::SinkRecord;
use crate::position::Position;

/// A dead letter as it is written to the dead-letter topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Letter {
    /// RFC 3339, UTC.
    time: String,
    stream: Arc<str>,
    topic: Arc<str>,
    partition: i32,
    offset: i64,
    reason: RejectReason,
    detail: String,
    /// The record's bytes in base64, because they may be anything.
    raw: String,
}

/// A record of the dead-letter topic that is no dead letter.
#[derive(Debug, thiserror::Error)]
pub enum LetterError {
    /// It is not the JSON that Weir writes.
    #[error("not a dead letter")]
    Json(#[from] serde_json::Error),
    /// Its bytes are not base64.
    #[error("the bytes of a dead letter are damaged")]
    Raw(#[from] base64::DecodeError),
    /// Its time is no time.
    #[error("the time of a dead letter is damaged")]
    Time(#[from] chrono::ParseError),
}

impl Rejected {
    /// When it arrived, or else `now`: the time at which it was refused.
    #[must_use]
    pub fn time(&self, now: EventTime) -> EventTime {
        self.arrival.unwrap_or(now)
    }

    /// The row of the archive's table.
    #[must_use]
    pub fn row(&self, now: EventTime) -> DeadLetterRow<'_> {
        DeadLetterRow {
            time: self.time(now),
            stream: &self.stream,
            topic: &self.position.topic,
            partition: self.position.partition,
            offset: self.position.offset,
            reason: self.reason.as_str(),
            detail: &self.detail,
            raw: &self.raw,
        }
    }

    /// The record for the dead-letter topic. Its key is the place it came from: letters of one partition keep their order.
    #[must_use]
    pub fn record(&self, topic: &Arc<str>, now: EventTime) -> SinkRecord {
        let time = DateTime::from_timestamp_micros(self.time(now).0).unwrap_or_default();
        let letter = Letter {
            time: time.to_rfc3339_opts(SecondsFormat::AutoSi, true),
            stream: Arc::clone(&self.stream),
            topic: Arc::clone(&self.position.topic),
            partition: self.position.partition,
            offset: self.position.offset,
            reason: self.reason,
            detail: self.detail.clone(),
            raw: STANDARD.encode(&self.raw),
        };
        let payload = serde_json::to_vec(&letter).expect("strings and numbers are always JSON");
        let key = format!("{}/{}", self.position.topic, self.position.partition);
        SinkRecord { topic: Arc::clone(topic), key: Some(key.into()), payload: payload.into(), timestamp: None }
    }

    /// A dead letter as it came from the dead-letter topic.
    ///
    /// # Errors
    /// A record that Weir did not write.
    pub fn from_record(payload: &[u8]) -> Result<Self, LetterError> {
        let letter: Letter = serde_json::from_slice(payload)?;
        let time = DateTime::parse_from_rfc3339(&letter.time)?;
        Ok(Self {
            stream: letter.stream,
            position: Position { topic: letter.topic, partition: letter.partition, offset: letter.offset },
            reason: letter.reason,
            detail: letter.detail,
            arrival: Some(EventTime(time.timestamp_micros())),
            raw: Bytes::from(STANDARD.decode(letter.raw)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_letter_survives_its_topic() -> Result<(), LetterError> {
        let rejected = Rejected {
            stream: "s".into(),
            position: Position { topic: "t".into(), partition: 3, offset: 7 },
            reason: RejectReason::InvalidUtf8,
            detail: "at byte 1".into(),
            arrival: Some(EventTime(1_577_934_245_678_901)),
            raw: Bytes::from_static(b"{\xff\0"),
        };
        let record = rejected.record(&"weir.dead-letters".into(), EventTime(0));
        assert_eq!(
            String::from_utf8_lossy(&record.payload),
            r#"{"time":"2020-01-02T03:04:05.678901Z","stream":"s","topic":"t","partition":3,"offset":7,"reason":"invalid_utf8","detail":"at byte 1","raw":"e/8A"}"#
        );
        assert_eq!(record.key.as_deref(), Some(&b"t/3"[..]));
        assert_eq!(Rejected::from_record(&record.payload)?, rejected);
        assert!(Rejected::from_record(b"{}").is_err());
        Ok(())
    }
}
