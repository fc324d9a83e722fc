//! Delivery to Kafka, where alerts and dead letters of an epoch and the cursor are one transaction, and to response,
//! which starts a run once however often it hears of an alert.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use bytes::Bytes;
use tokio::sync::watch;
use tokio::task::JoinSet;
use weir_connectors::failpoint;
use weir_connectors::kafka::{KafkaError, KafkaSink, SinkRecord};
use weir_connectors::state::{Output, StateStore};

use super::follow::{Attempt, Sink, follow};
use super::{Progress, Setup, Topics, epoch, protocol};
use crate::respond::{NotAnAlert, Respond};

/// The name of the Kafka sink's cursor.
pub(super) const KAFKA: &str = "outputs";
/// The name of response's cursor.
pub(super) const PLAYBOOKS: &str = "playbooks";

/// Starts both; their cursors are what retention goes by.
pub(super) async fn spawn(
    setup: &Arc<Setup>,
    sink: KafkaSink,
    delivered: u64,
    progress: &watch::Receiver<Progress>,
    stopping: &watch::Receiver<bool>,
    tasks: &mut JoinSet<anyhow::Result<()>>,
) -> anyhow::Result<Vec<watch::Receiver<u64>>> {
    let (cursor, kafka_cursor) = watch::channel(delivered);
    let kafka = Kafka { sink: Arc::new(Mutex::new(sink)), topics: setup.topics.clone() };
    tasks.spawn(follow(kafka, setup.state.clone(), cursor, progress.clone(), stopping.clone()));
    let mut cursors = vec![kafka_cursor];
    if let Some(respond) = &setup.respond {
        let oldest = setup.state.epochs().await?.first().copied();
        let done = protocol::noted_cursor(setup.state.cursor(PLAYBOOKS).await?, oldest);
        let (cursor, playbooks_cursor) = watch::channel(done);
        let playbooks = Playbooks { respond: respond.clone(), state: setup.state.clone() };
        tasks.spawn(follow(playbooks, setup.state.clone(), cursor, progress.clone(), stopping.clone()));
        cursors.push(playbooks_cursor);
    }
    Ok(cursors)
}

struct Kafka {
    sink: Arc<Mutex<KafkaSink>>,
    topics: Topics,
}

impl Sink for Kafka {
    fn name(&self) -> &'static str {
        "kafka"
    }

    async fn deliver(&mut self, epoch: u64, outputs: Vec<Output>) -> anyhow::Result<Attempt> {
        let mut records = vec![];
        for line in epoch::lines(&outputs, epoch::ALERTS) {
            let alert: serde_json::Value =
                serde_json::from_slice(line).context("an alert in the outputs of an epoch is damaged")?;
            let uid = alert.pointer("/finding_info/uid").and_then(serde_json::Value::as_str).unwrap_or_default();
            records.push(SinkRecord {
                topic: Arc::clone(&self.topics.alerts),
                key: Some(Bytes::from(uid.to_owned())),
                payload: Bytes::copy_from_slice(line),
                timestamp: None,
            });
        }
        let dead = epoch::lines(&outputs, epoch::DEAD_LETTERS).map(|line| SinkRecord {
            topic: Arc::clone(&self.topics.dead_letters),
            key: None,
            payload: Bytes::copy_from_slice(line),
            timestamp: None,
        });
        records.extend(dead);
        let sink = Arc::clone(&self.sink);
        let delivered = tokio::task::spawn_blocking(move || {
            // What is behind the lock is the client's handle; a panic elsewhere leaves it usable.
            let mut sink = sink.lock().unwrap_or_else(PoisonError::into_inner);
            sink.deliver(KAFKA, epoch, &records)
        })
        .await
        .context("the Kafka sink panicked")?;
        match delivered {
            Ok(delivered) => {
                failpoint::reach("kafka.delivered");
                if !delivered.too_large.is_empty() {
                    let count = delivered.too_large.len();
                    tracing::error!(
                        epoch,
                        count,
                        "records are larger than the brokers take; they stand in the archive only"
                    );
                }
                Ok(Attempt::Done)
            }
            Err(error @ (KafkaError::Fenced { .. } | KafkaError::Ambiguous { .. })) => Err(error.into()),
            Err(error) => Ok(Attempt::Later(error.into())),
        }
    }
}

struct Playbooks {
    respond: Respond,
    state: StateStore,
}

impl Sink for Playbooks {
    fn name(&self) -> &'static str {
        "playbooks"
    }

    async fn deliver(&mut self, epoch: u64, outputs: Vec<Output>) -> anyhow::Result<Attempt> {
        for alert in epoch::alerts(&outputs)? {
            // A hit that an exception hides is archived and counted, and nobody acts on it.
            if alert.pointer("/unmapped/weir/exception").is_some_and(|exception| !exception.is_null()) {
                continue;
            }
            failpoint::reach("playbooks.before_alert");
            match self.respond.alert(&alert).await {
                Ok(_) => failpoint::reach("playbooks.after_alert"),
                // Trying again would not mend it, and would hold all alerts behind it.
                Err(error) if error.is::<NotAnAlert>() => tracing::error!(epoch, %error, "an alert is passed over"),
                Err(error) => return Ok(Attempt::Later(error.context("an alert cannot be handed to response"))),
            }
        }
        failpoint::reach("playbooks.before_cursor");
        Ok(match self.state.set_cursor(PLAYBOOKS, epoch).await {
            Ok(()) => {
                failpoint::reach("playbooks.after_cursor");
                Attempt::Done
            }
            Err(error) => Attempt::Later(error.into()),
        })
    }
}
