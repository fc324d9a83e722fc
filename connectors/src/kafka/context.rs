//! What librdkafka tells beside records: its log, its errors in words, and statistics.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError as ClientError, KafkaResult};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::ProducerContext;
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Statistics, TopicPartitionList};

use super::oauth::Oauth;
use crate::position::TopicPartition;

/// The ear of one client.
#[derive(Default)]
pub(super) struct Context {
    heard: Mutex<Heard>,
    oauth: Option<Oauth>,
}

/// What was heard so far.
#[derive(Default)]
pub(super) struct Heard {
    /// The last error in words. librdkafka's error codes alone do not say which broker or file is meant.
    pub(super) trouble: Option<String>,
    /// Whether the brokers refuse who we are; waiting does not help then.
    pub(super) is_refused: bool,
    /// Whether no broker can be reached.
    pub(super) is_cut_off: bool,
    /// The newest statistics of each partition.
    pub(super) partitions: HashMap<TopicPartition, Reading>,
    /// How often statistics came.
    pub(super) rounds: u64,
    /// Records of the delivery at hand that did not arrive, by their place in it, and why.
    pub(super) undelivered: Vec<(usize, ClientError)>,
}

/// How far the reading of a partition has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reading {
    /// Whether everything the broker has was handed out.
    pub(super) is_at_end: bool,
    /// Records that the broker has and that were not handed out yet.
    pub(super) lag: i64,
}

impl Context {
    pub(super) fn new(oauth: Option<Oauth>) -> Self {
        Self { heard: Mutex::default(), oauth }
    }

    pub(super) fn heard(&self) -> MutexGuard<'_, Heard> {
        // What was heard is plain data: a panic elsewhere does not spoil it.
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Context {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // librdkafka calls "error" what it mends by itself; what ends the work comes back as an error.
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
                tracing::warn!(target: "weir::kafka", facility, "{message}");
            }
            RDKafkaLogLevel::Warning | RDKafkaLogLevel::Notice => {
                tracing::info!(target: "weir::kafka", facility, "{message}");
            }
            RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => {
                tracing::debug!(target: "weir::kafka", facility, "{message}");
            }
        }
    }

    fn stats(&self, statistics: Statistics) {
        let mut heard = self.heard();
        heard.rounds += 1;
        let up: Vec<i32> =
            statistics.brokers.values().filter(|broker| broker.state == "UP").map(|broker| broker.nodeid).collect();
        heard.is_cut_off = up.is_empty();
        for topic in statistics.topics.values() {
            for partition in topic.partitions.values().filter(|partition| partition.desired) {
                let place = TopicPartition { topic: topic.topic.as_str().into(), partition: partition.partition };
                let end = partition.ls_offset.max(partition.hi_offset);
                // Without its leader nobody knows where a partition ends.
                let is_known = end >= 0 && up.contains(&partition.leader);
                let is_at_end = is_known && partition.fetchq_cnt == 0 && partition.next_offset >= end;
                let lag = if is_at_end { 0 } else { partition.consumer_lag.max(0) };
                heard.partitions.insert(place, Reading { is_at_end, lag });
            }
        }
    }

    fn error(&self, error: ClientError, reason: &str) {
        let code = error.rdkafka_error_code();
        if code == Some(RDKafkaErrorCode::PartitionEOF) {
            return;
        }
        let mut heard = self.heard();
        match code {
            Some(RDKafkaErrorCode::AllBrokersDown) => {
                heard.is_cut_off = true;
                // "1/1 brokers are down" must not hide why.
                heard.trouble.get_or_insert_with(|| reason.to_owned());
            }
            _ => {
                heard.is_refused |=
                    matches!(code, Some(RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SaslAuthenticationFailed));
                heard.trouble = Some(reason.to_owned());
            }
        }
    }

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        match &self.oauth {
            Some(oauth) => Ok(oauth.token()?),
            None => Err("no token endpoint is configured".into()),
        }
    }
}

impl ConsumerContext for Context {
    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        if let Err(error) = result {
            // The group's positions are for lag tools only; Weir's own are in its manifests.
            tracing::debug!(target: "weir::kafka", %error, "the group's positions were not committed");
        }
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, place: usize) {
        if let Err((error, _)) = result {
            self.heard().undelivered.push((place, error.clone()));
        }
    }
}
