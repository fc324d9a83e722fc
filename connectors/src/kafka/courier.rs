//! Records out at once and without a transaction: copies of which each says later what became of it.
//!
//! Nothing here waits for a broker. A copy that cannot be sent in time is left, with a reason, and whoever sent it has
//! another way for what matters.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError as ClientError;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode as Code;

use super::context::Context;
use super::oauth::Oauth;
use super::{KafkaError, KafkaSettings, SinkRecord};
use crate::failpoint;

/// How long a copy may be on its way. Later it is of no use: the transaction with the record itself is long over.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How often a client that cannot go on is replaced at most.
const REMAKE_EVERY: Duration = Duration::from_secs(10);
/// Bytes of copies that may wait for the brokers.
const QUEUE_KIB: u32 = 64 << 10;

/// Why a copy was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LeftReason {
    /// As many as may wait were waiting already.
    QueueFull,
    /// The brokers did not take it in time.
    NoAnswer,
    /// The brokers do not take records of its size.
    TooLarge,
    /// The brokers refused it, or the client could not send it.
    Refused,
}

impl LeftReason {
    /// Every reason.
    pub const ALL: [Self; 4] = [Self::QueueFull, Self::NoAnswer, Self::TooLarge, Self::Refused];

    /// The word that metrics use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::NoAnswer => "no_answer",
            Self::TooLarge => "too_large",
            Self::Refused => "refused",
        }
    }

    fn of(error: &ClientError) -> Self {
        match error.rdkafka_error_code() {
            Some(Code::QueueFull) => Self::QueueFull,
            Some(Code::MessageSizeTooLarge) => Self::TooLarge,
            Some(
                Code::MessageTimedOut
                | Code::OperationTimedOut
                | Code::RequestTimedOut
                | Code::BrokerTransportFailure
                | Code::AllBrokersDown
                | Code::PurgeQueue
                | Code::PurgeInflight,
            ) => Self::NoAnswer,
            _ => Self::Refused,
        }
    }
}

/// A copy that was left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// Why.
    pub reason: LeftReason,
    /// The same in the words of the client.
    pub said: String,
}

impl Left {
    fn of(error: &ClientError) -> Self {
        Self { reason: LeftReason::of(error), said: error.to_string() }
    }
}

/// Hears of each copy once, by its number, whether it was sent. Called from the client's thread, so it must be quick.
pub type Settle = Arc<dyn Fn(usize, Result<(), Left>) + Send + Sync>;

/// A producer of copies.
pub struct Courier {
    settings: KafkaSettings,
    settle: Settle,
    producer: ThreadedProducer<Ear>,
    /// When the client was made anew.
    remade: Option<Instant>,
}

impl Courier {
    /// Makes the client. Nothing is said to the brokers yet.
    ///
    /// # Errors
    /// Settings that the client refuses.
    pub fn open(settings: &KafkaSettings, settle: Settle) -> Result<Self, KafkaError> {
        let producer = producer(settings, &settle)?;
        Ok(Self { settings: settings.clone(), settle, producer, remade: None })
    }

    /// Puts a copy on its way. Does not block; what becomes of it is told to [`Settle`].
    pub fn send(&mut self, number: usize, record: &SinkRecord) {
        let mut sent = self.put(number, record);
        // A client that cannot keep the order of its records any more sends none. Another one can.
        let is_over = sent.as_ref().err().and_then(ClientError::rdkafka_error_code) == Some(Code::Fatal);
        if is_over && self.remade.is_none_or(|remade| remade.elapsed() >= REMAKE_EVERY) {
            self.remade = Some(Instant::now());
            sent = match producer(&self.settings, &self.settle) {
                Ok(producer) => {
                    tracing::warn!(target: "weir::kafka", "the client for fast alerts was made anew");
                    self.producer = producer;
                    self.put(number, record)
                }
                Err(_) => sent,
            };
        }
        if let Err(error) = sent {
            (self.settle)(number, Err(Left::of(&error)));
        }
    }

    /// Waits so long for what is on its way. All that is left then is settled before this returns.
    pub fn close(self, patience: Duration) {
        if let Err(error) = self.producer.flush(patience) {
            tracing::debug!(target: "weir::kafka", %error, "fast alerts are left");
        }
    }

    fn put(&self, number: usize, record: &SinkRecord) -> Result<(), ClientError> {
        let mut out = BaseRecord::with_opaque_to(&record.topic, number).payload(&record.payload[..]);
        if let Some(key) = &record.key {
            out = out.key(&key[..]);
        }
        if let Some(time) = record.timestamp {
            out = out.timestamp(time.0.div_euclid(1000));
        }
        self.producer.send(out).map_err(|(error, _)| error)
    }
}

fn producer(settings: &KafkaSettings, settle: &Settle) -> Result<ThreadedProducer<Ear>, KafkaError> {
    let mut config = settings.producer();
    // Both names of a setting would be in force in any order.
    for other in ["queue.buffering.max.ms", "delivery.timeout.ms"] {
        config.remove(other);
    }
    config
        .set("linger.ms", "0")
        .set("message.timeout.ms", failpoint::span("fast.timeout_ms", TIMEOUT).as_millis().to_string())
        .set("queue.buffering.max.kbytes", QUEUE_KIB.to_string());
    let ear = Ear { context: Context::new(Oauth::of(settings)), settle: Arc::clone(settle) };
    config.create_with_context(ear).map_err(KafkaError::Client)
}

/// The ear of the client: as that of others, and for what became of each copy.
struct Ear {
    context: Context,
    settle: Settle,
}

impl ClientContext for Ear {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.context.log(level, facility, message);
    }

    fn error(&self, error: ClientError, reason: &str) {
        self.context.error(error, reason);
    }

    fn generate_oauth_token(&self, config: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        self.context.generate_oauth_token(config)
    }
}

impl ProducerContext for Ear {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        let settled = match result {
            Ok(_) => {
                failpoint::reach("fast.sent");
                Ok(())
            }
            Err((error, _)) => Err(Left::of(error)),
        };
        (self.settle)(number, settled);
    }
}

#[cfg(test)]
mod tests;
