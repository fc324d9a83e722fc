//! The demo's house: a project folder with all shipped content, an in-process Kafka broker, and simulated vendors.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message as _;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::Value;
use tokio::sync::mpsc;

use super::events::{BAD_DOMAIN, PARTITIONS, Record, Source};
use crate::respond::simulated::Simulated;

/// A file that says that the folder is an earlier demo's and may be written anew.
const MARK: &str = ".weir-demo";
const ALERTS_TOPIC: &str = "weir.alerts";

/// Everything around the pipeline.
pub(super) struct House {
    pub(super) simulated: Simulated,
    producer: BaseProducer,
    servers: String,
    listener: Mutex<Option<std::thread::JoinHandle<()>>>,
    // The broker lives as long as this value.
    _cluster: MockCluster<'static, DefaultProducerContext>,
}

/// An alert record as it came out of Kafka.
pub(super) struct Heard {
    pub(super) at: Instant,
    pub(super) record: Value,
}

impl House {
    /// Writes the project and starts what is around it.
    pub(super) async fn build(dir: &Path, begin: DateTime<Utc>) -> anyhow::Result<Self> {
        let cluster = MockCluster::new(1).context("the in-process broker cannot start")?;
        for source in Source::ALL {
            cluster.create_topic(source.topic(), PARTITIONS, 1).context("a topic cannot be made")?;
        }
        // The in-process broker makes no topics on request, so all of them are made here.
        for topic in [ALERTS_TOPIC, "weir.dead-letters", "weir-demo.cursors"] {
            cluster.create_topic(topic, 1, 1).context("a topic cannot be made")?;
        }
        let servers = cluster.bootstrap_servers();
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", &servers)
            .set("queue.buffering.max.messages", "200000")
            .set("linger.ms", "2")
            .create()
            .context("the producer cannot start")?;
        let simulated = Simulated::start().await?;
        write_project(dir, &servers, &simulated, begin)?;
        Ok(Self { simulated, producer, servers, listener: Mutex::new(None), _cluster: cluster })
    }

    /// Sends a record.
    pub(super) fn send(&self, number: usize, record: &Record) -> anyhow::Result<()> {
        let mut message = BaseRecord::<(), _>::to(record.source.topic())
            .payload(record.payload.as_str())
            .partition(number as i32 % PARTITIONS)
            .timestamp(record.time.timestamp_millis());
        loop {
            match self.producer.send(message) {
                Ok(()) => return Ok(()),
                Err((error, _)) if error.rdkafka_error_code() != Some(rdkafka::types::RDKafkaErrorCode::QueueFull) => {
                    return Err(error.into());
                }
                Err((_, again)) => {
                    self.producer.poll(Duration::from_millis(5));
                    message = again;
                }
            }
        }
    }

    /// Waits until the broker has everything.
    pub(super) fn flush(&self) -> anyhow::Result<()> {
        self.producer.flush(Duration::from_secs(30)).context("the broker does not take the records")
    }

    /// Listens to the alerts topic on a thread of its own, until the receiver is dropped.
    pub(super) fn listen(&self) -> anyhow::Result<mpsc::UnboundedReceiver<Heard>> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.servers)
            .set("group.id", "demo")
            .create()
            .context("the consumer cannot start")?;
        let mut partitions = TopicPartitionList::new();
        partitions.add_partition_offset(ALERTS_TOPIC, 0, Offset::Beginning)?;
        consumer.assign(&partitions)?;
        let (heard, alerts) = mpsc::unbounded_channel();
        let listen = move || {
            while !heard.is_closed() {
                let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) else { continue };
                let record = message.payload().and_then(|payload| serde_json::from_slice(payload).ok());
                if let Some(record) = record {
                    // The receiver may have gone in the meantime; then the loop ends.
                    drop(heard.send(Heard { at: Instant::now(), record }));
                }
            }
        };
        let thread = std::thread::Builder::new().name("listen".to_owned()).spawn(listen);
        *self.listener.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread.context("no thread to listen")?);
        Ok(alerts)
    }

    /// Waits until nobody listens any more, so that the broker can go without a word. Drop the receiver first.
    pub(super) async fn silence(&self) {
        let thread = self.listener.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let joined = tokio::task::spawn_blocking(move || thread.join()).await;
            tracing::debug!(clean = joined.is_ok_and(|joined| joined.is_ok()), "the listener has ended");
        }
    }
}

/// A folder that no earlier demo wrote is somebody's work.
pub(super) fn refuse_foreign_folder(dir: &Path) -> anyhow::Result<()> {
    anyhow::ensure!(
        !dir.exists() || dir.join(MARK).exists(),
        "{} exists and is not an earlier demo's; name another folder with --dir",
        dir.display()
    );
    Ok(())
}

/// All shipped content; only the four sources of the story have a topic.
fn write_project(dir: &Path, servers: &str, simulated: &Simulated, begin: DateTime<Utc>) -> anyhow::Result<()> {
    if dir.exists() {
        refuse_foreign_folder(dir)?;
        fs::remove_dir_all(dir).with_context(|| format!("cannot clear {}", dir.display()))?;
    }
    let write = |path: &str, text: &str| -> anyhow::Result<()> {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().unwrap_or(dir))
            .and_then(|()| fs::write(&path, text))
            .with_context(|| format!("cannot write {}", path.display()))
    };
    write(MARK, "written by `weir demo`; written anew by the next one\n")?;
    for file in weir_detections::library::files() {
        let is_story = Source::ALL.iter().any(|source| file.path == format!("streams/{}.sql", source.stream()));
        if file.path.starts_with("streams/") && !is_story {
            let lines = file.text.lines().filter(|line| !line.trim_start().starts_with("topic = "));
            write(&file.path, &lines.collect::<Vec<_>>().join("\n"))?;
        } else {
            write(&file.path, file.text)?;
        }
    }
    for file in weir_playbooks::library::files() {
        let is_simulated = ["generic_", "rt.", "chat."].iter().any(|name| file.path.contains(name));
        if !file.path.starts_with("responders/") || is_simulated {
            write(&file.path, file.text)?;
        }
    }
    write("tables/indicators.csv", &indicators(begin))?;
    write("weir.toml", &configuration(servers, simulated))
}

fn indicators(begin: DateTime<Utc>) -> String {
    let (from, until) = (begin - TimeDelta::days(30), begin + TimeDelta::days(30));
    let (from, until) = (from.format("%Y-%m-%dT%H:%M:%SZ"), until.format("%Y-%m-%dT%H:%M:%SZ"));
    format!(
        "indicator,type,category,confidence,source,valid_from,valid_until\n\
         {BAD_DOMAIN},domain,phishing,90,demo-feed,{from},{until}\n\
         cdn-updates.example,domain,command-and-control,85,demo-feed,{from},{until}\n"
    )
}

fn configuration(servers: &str, simulated: &Simulated) -> String {
    let setting = |name: &str| simulated.setting(name).unwrap_or_default();
    let section = |responder: &str, names: &[&str]| {
        let lines = names.iter().map(|name| format!("{name} = {:?}\n", setting(name)));
        format!("[responders.{responder}]\n{}", lines.collect::<String>())
    };
    format!(
        "# Written by `weir demo`. The broker and the responders were in its process and are gone with it; what is below\n\
         # serves `weir hunt`, `weir replay`, `weir explain` and `weir case`.\n\
         [kafka]\nbootstrap_servers = {servers:?}\ngroup = \"weir-demo\"\n\
         [engine]\nepoch_ms = 200\nparallelism = 1\nidle_ms = 60000\n\
         [playbooks]\nmode = \"live\"\n{}{}{}{}{}",
        section("generic_edr", &["EDR_URL", "EDR_TOKEN"]),
        section("generic_firewall", &["FIREWALL_URL", "FIREWALL_TOKEN"]),
        section("generic_idp", &["IDP_URL", "IDP_TOKEN"]),
        section("rt", &["RT_URL", "RT_TOKEN"]),
        section("chat", &["CHAT_URL"]),
    )
}

/// What the simulated systems know, once it is what was waited for; `None` after too long.
pub(super) async fn wait_for<T>(patience: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() >= deadline {
            return None;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A handle on the broker's records as files, for the replay.
pub(super) fn write_samples(dir: &Path, records: &[Record]) -> anyhow::Result<Vec<(Source, PathBuf)>> {
    let folder = dir.join("samples");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut files = vec![];
    for source in Source::ALL {
        let path = folder.join(format!("{}.ndjson", source.stream()));
        let lines: String = records
            .iter()
            .filter(|record| record.source == source)
            .flat_map(|record| [record.payload.as_str(), "\n"])
            .collect();
        fs::write(&path, lines).with_context(|| format!("cannot write {}", path.display()))?;
        files.push((source, path));
    }
    Ok(files)
}
