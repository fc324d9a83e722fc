//! From what was written to what it means: ranges, URLs, paths and secret files.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;
use std::time::Duration;

use chrono::DateTime;
use url::Url;
use weir_connectors::kafka::{KafkaSettings, SettingProblem, Start};
use weir_connectors::location::has_setting;
use weir_engine::error::nearest;
use weir_engine::{Diagnostic, EventTime};
use weir_playbooks::guard::{Network, NotANetwork, Rules};
use weir_playbooks::openc2::TargetKind;
use weir_playbooks::run::Mode;

use super::raw::{At, RawConfig, RawEngine, RawKafka, RawMode, RawPlaybooks, RawResponder};
use super::read::span_of;
use super::{
    ArchiveConfig, Config, EngineConfig, HuntConfig, KafkaConfig, Need, PlaybooksConfig, ResponderConfig, Secret,
    StateConfig, codes,
};

const MIB: u64 = 1 << 20;
/// Characters that the name of a topic may have.
const TOPIC_MAX: usize = 249;
const STORE_SCHEMES: [&str; 8] = ["file", "s3", "s3a", "gs", "az", "azure", "abfs", "abfss"];

/// Gives every value its type; what does not fit is noted and replaced by its default.
pub(super) fn resolve(
    raw: &RawConfig,
    text: &str,
    dir: &Path,
    need: Need,
    diagnostics: &mut Vec<Diagnostic>,
) -> Config {
    let mut resolver = Resolver { text, dir, need, diagnostics };
    let alerts_topic = resolver.topic(raw.alerts.topic.as_ref(), "weir.alerts");
    let dead_letters_topic = resolver.topic(raw.dead_letters.topic.as_ref(), "weir.dead-letters");
    if alerts_topic == dead_letters_topic {
        let span = raw.dead_letters.topic.as_ref().or(raw.alerts.topic.as_ref()).map(At::span);
        resolver.refuse(codes::BAD_VALUE, "alerts and dead letters cannot share a topic", "name another topic", span);
    }
    let fast_topic = resolver.fast_topic(raw, [&alerts_topic, &dead_letters_topic]);
    let archive = resolver.store_url(raw.archive.url.as_ref(), "archive");
    let state = resolver.store_url(raw.state.url.as_ref(), "state");
    Config {
        kafka: raw.kafka.as_ref().map(|kafka| resolver.kafka(kafka)),
        alerts_topic,
        fast_topic,
        dead_letters_topic,
        archive: ArchiveConfig {
            options: resolver.options(&archive, &raw.archive.options),
            url: archive,
            raw: raw.archive.raw.unwrap_or(false),
        },
        state: StateConfig {
            options: resolver.options(&state, &raw.state.options),
            url: state,
            journal: resolver.path(raw.state.journal.as_ref(), "weir.db"),
        },
        engine: resolver.engine(&raw.engine),
        http: raw.http.listen.as_ref().and_then(|listen| resolver.listen(listen)),
        playbooks: resolver.playbooks(&raw.playbooks),
        responders: raw
            .responders
            .iter()
            .map(|(name, responder)| (name.clone(), resolver.responder(responder)))
            .collect(),
        hunt: HuntConfig {
            memory_bytes: resolver.mebibytes(raw.hunt.memory_mb.as_ref(), 1024, 16..=MIB),
            timeout: Duration::from_secs(resolver.number(raw.hunt.timeout_seconds.as_ref(), 600, 1..=604_800)),
        },
    }
}

struct Resolver<'a> {
    text: &'a str,
    dir: &'a Path,
    need: Need,
    diagnostics: &'a mut Vec<Diagnostic>,
}

impl Resolver<'_> {
    fn refuse(&mut self, code: &'static str, message: impl Into<String>, hint: &str, span: Option<Range<usize>>) {
        self.diagnostics.push(Diagnostic::error(code, message).at(span_of(self.text, span)).hint(hint));
    }

    fn bad_value(&mut self, message: impl Into<String>, hint: &str, value: &At<String>) {
        self.refuse(codes::BAD_VALUE, message, hint, Some(value.span()));
    }

    fn number(&mut self, value: Option<&At<u64>>, default: u64, range: RangeInclusive<u64>) -> u64 {
        let Some(value) = value else { return default };
        if range.contains(value.value()) {
            return *value.value();
        }
        let message = format!("{} is out of range", value.value());
        let hint = format!("from {} to {}", range.start(), range.end());
        self.refuse(codes::BAD_VALUE, message, &hint, Some(value.span()));
        default
    }

    fn mebibytes(&mut self, value: Option<&At<u64>>, default: u64, range: RangeInclusive<u64>) -> usize {
        usize::try_from(self.number(value, default, range) * MIB).unwrap_or(usize::MAX)
    }

    /// Kafka allows 1 to 249 letters, digits, dots, underscores and hyphens.
    fn topic(&mut self, value: Option<&At<String>>, default: &str) -> String {
        let Some(value) = value else { return default.to_owned() };
        let name = value.value();
        let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if (1..=TOPIC_MAX).contains(&name.len()) && name.chars().all(fits) && name != "." && name != ".." {
            return name.clone();
        }
        let hint = "1 to 249 letters, digits, `.`, `_` and `-`";
        self.bad_value(format!("`{name}` is not a topic name"), hint, value);
        default.to_owned()
    }

    /// The alerts topic has each record once, so copies need another.
    fn fast_topic(&mut self, raw: &RawConfig, others: [&String; 2]) -> Option<String> {
        let written = raw.alerts.fast_topic.as_ref();
        let default = format!("{}.fast", others[0]);
        let topic = self.topic(written, &default);
        if others.contains(&&topic) {
            let span = written.or(raw.dead_letters.topic.as_ref()).map(At::span);
            let message = "fast alerts cannot share a topic with alerts or dead letters";
            self.refuse(codes::BAD_VALUE, message, "name another topic", span);
        }
        (topic.len() <= TOPIC_MAX).then_some(topic)
    }

    fn kafka(&mut self, raw: &RawKafka) -> KafkaConfig {
        // A key that was refused or could not be expanded was told already; one that was forgotten was not.
        if raw.bootstrap_servers.is_none() && self.diagnostics.is_empty() {
            let hint = "write `bootstrap_servers = \"host:9092\"`";
            self.refuse(codes::KAFKA_SETTING, "`[kafka]` does not say where the brokers are", hint, None);
        }
        let servers = raw.bootstrap_servers.as_ref().map_or("", |servers| servers.value().as_str());
        let group = raw.group.as_ref().map_or("weir", |group| group.value().as_str());
        let mut client = BTreeMap::new();
        for (key, value) in &raw.client {
            if let Some(secret) = self.secret(&value.value().text(), value.span()) {
                client.insert(key.clone(), secret.expose().to_owned());
            }
        }
        let settings = match KafkaSettings::check(servers, group, &client) {
            Ok(settings) => Some(settings),
            Err(problems) => {
                let told = |problem: &SettingProblem| problem.key == "bootstrap_servers" && servers.is_empty();
                problems
                    .into_iter()
                    .filter(|problem| !told(problem))
                    .for_each(|problem| self.kafka_problem(raw, problem));
                None
            }
        };
        let start = raw.start.as_ref().map_or(Start::Earliest, |start| self.start(start));
        KafkaConfig { settings, start }
    }

    /// The place of a problem is that of its key; a key that is missing has none.
    fn kafka_problem(&mut self, raw: &RawKafka, problem: SettingProblem) {
        let span = match problem.key.as_str() {
            "bootstrap_servers" => raw.bootstrap_servers.as_ref().map(At::span),
            "group" => raw.group.as_ref().map(At::span),
            key => raw.client.get(key).map(At::span),
        };
        let message = format!("`{}`: {}", problem.key, problem.message);
        let diagnostic = Diagnostic::error(codes::KAFKA_SETTING, message).at(span_of(self.text, span));
        self.diagnostics.push(diagnostic.maybe_hint(problem.hint));
    }

    fn start(&mut self, start: &At<String>) -> Start {
        match start.value().as_str() {
            "earliest" => return Start::Earliest,
            "latest" => return Start::Latest,
            _ => {}
        }
        match DateTime::parse_from_rfc3339(start.value()) {
            Ok(time) => Start::Time(EventTime(time.timestamp_micros())),
            Err(_) => {
                let message = format!("`{}` is not a place to begin", start.value());
                self.bad_value(message, "`earliest`, `latest`, or a time such as `2026-01-31T00:00:00Z`", start);
                Start::Earliest
            }
        }
    }

    fn engine(&mut self, raw: &RawEngine) -> EngineConfig {
        let processors = available_parallelism().map_or(1, |count| count.get().min(256)) as u64;
        let parallelism = self.number(raw.parallelism.as_ref(), processors, 1..=256);
        let memory_bytes = self.mebibytes(raw.memory_mb.as_ref(), 2048, 64..=MIB);
        let of_each = raw.detection_memory_mb.as_ref();
        EngineConfig {
            epoch: Duration::from_millis(self.number(raw.epoch_ms.as_ref(), 1000, 100..=600_000)),
            parallelism: usize::try_from(parallelism).unwrap_or(1),
            memory_bytes,
            detection_memory_bytes: of_each.map_or(memory_bytes, |of_each| self.mebibytes(Some(of_each), 1, 1..=MIB)),
            queue_bytes: self.mebibytes(raw.queue_mb.as_ref(), 64, 1..=4096),
            idle: Duration::from_millis(self.number(raw.idle_ms.as_ref(), 30_000, 1000..=86_400_000)),
            silent_after: Duration::from_secs(60 * self.number(raw.silent_minutes.as_ref(), 1440, 1..=525_600)),
        }
    }

    fn listen(&mut self, listen: &At<String>) -> Option<SocketAddr> {
        let address = listen.value().replacen("localhost:", "127.0.0.1:", 1).parse().ok();
        if address.is_none() {
            let message = format!("`{}` is not an address to listen on", listen.value());
            self.bad_value(message, "an IP address and a port, such as `127.0.0.1:7700`", listen);
        }
        address
    }

    fn playbooks(&mut self, raw: &RawPlaybooks) -> PlaybooksConfig {
        let texts = |list: &[At<String>]| list.iter().map(|text| text.value().trim().to_owned()).collect();
        let (never, limits, default) = (&raw.never_touch, &raw.limits, Rules::default());
        for text in never.hosts.iter().chain(&never.users).chain(&never.domains) {
            if text.value().trim().trim_matches('*').is_empty() {
                let hint = "name one, or several as in `dc-*`; `mode = \"dry-run\"` stops everything";
                self.bad_value(format!("`{}` names nothing", text.value()), hint, text);
            }
        }
        let guard = Rules {
            hosts: texts(&never.hosts),
            users: texts(&never.users),
            networks: never.networks.iter().filter_map(|network| self.network(network)).collect(),
            domains: texts(&never.domains),
            per_hour: self.count(limits.per_hour.as_ref(), default.per_hour),
            per_playbook_per_hour: self.count(limits.per_playbook_per_hour.as_ref(), default.per_playbook_per_hour),
            per_kind_per_hour: self.kinds(&limits.per_kind_per_hour, default.per_kind_per_hour),
            per_other_kind_per_hour: default.per_other_kind_per_hour,
            ipv4_prefix_min: self.prefix(limits.ipv4_prefix_min.as_ref(), default.ipv4_prefix_min, 8..=32),
            ipv6_prefix_min: self.prefix(limits.ipv6_prefix_min.as_ref(), default.ipv6_prefix_min, 16..=128),
        };
        let mode = match raw.mode {
            Some(RawMode::Live) => Mode::Live,
            Some(RawMode::DryRun) | None => Mode::DryRun,
        };
        PlaybooksConfig { mode, guard }
    }

    fn network(&mut self, written: &At<String>) -> Option<Network> {
        match written.value().trim().parse() {
            Ok(network) => Some(network),
            Err(NotANetwork(text)) => {
                let hint = "an address such as `10.1.2.3`, or a network such as `10.0.0.0/8`";
                self.bad_value(format!("`{text}` is no address or network"), hint, written);
                None
            }
        }
    }

    fn count(&mut self, value: Option<&At<u64>>, default: usize) -> usize {
        usize::try_from(self.number(value, default as u64, 0..=1_000_000)).unwrap_or(default)
    }

    fn prefix(&mut self, value: Option<&At<u64>>, default: u8, range: RangeInclusive<u64>) -> u8 {
        u8::try_from(self.number(value, default.into(), range)).unwrap_or(default)
    }

    fn kinds(
        &mut self,
        raw: &BTreeMap<String, At<u64>>,
        mut limits: BTreeMap<TargetKind, usize>,
    ) -> BTreeMap<TargetKind, usize> {
        for (word, count) in raw {
            match TargetKind::of_word(word) {
                Some(kind) => drop(limits.insert(kind, self.count(Some(count), 0))),
                None => {
                    let words = TargetKind::ALL.iter().map(|kind| kind.as_str());
                    let hint = nearest(word, words).unwrap_or_else(|| "such as `device` or `account`".to_owned());
                    let message = format!("`{word}` is not a kind of target");
                    self.refuse(codes::BAD_VALUE, message, &hint, Some(count.span()));
                }
            }
        }
        limits
    }

    fn responder(&mut self, raw: &RawResponder) -> ResponderConfig {
        let first = raw.values().map(At::span).min_by_key(|span| span.start);
        ResponderConfig {
            base_url: raw.get("base_url").and_then(|url| self.http_url(url)),
            settings: self.secrets(raw.iter().filter(|(key, _)| *key != "base_url")),
            span: span_of(self.text, first),
        }
    }

    fn http_url(&mut self, written: &At<String>) -> Option<Url> {
        let url = Url::parse(written.value()).ok().filter(|url| ["http", "https"].contains(&url.scheme()));
        if url.is_none() {
            let message = format!("`{}` is not the URL of an HTTP service", written.value());
            self.bad_value(message, "for example `https://edr.example.com`", written);
        }
        url
    }

    /// Settings of the store behind a URL. One that it does not have would be passed over.
    fn options(&mut self, url: &Url, raw: &BTreeMap<String, At<String>>) -> BTreeMap<String, Secret> {
        for (key, value) in raw.iter().filter(|(key, _)| !has_setting(url, key)) {
            let hint = "settings are called as in object_store, such as aws_region, aws_endpoint, google_service_account \
                        and azure_storage_account_name; a folder has none";
            self.bad_value(format!("`{key}` is no setting of the store at {url}"), hint, value);
        }
        self.secrets(raw)
    }

    fn secrets<'a>(&mut self, raw: impl IntoIterator<Item = (&'a String, &'a At<String>)>) -> BTreeMap<String, Secret> {
        let mut secrets = BTreeMap::new();
        for (key, value) in raw {
            if let Some(secret) = self.secret(value.value(), value.span()) {
                secrets.insert(key.clone(), secret);
            }
        }
        secrets
    }

    /// The value itself, or the content of the file behind `file:` without its last line end.
    fn secret(&mut self, value: &str, span: Range<usize>) -> Option<Secret> {
        let Some(path) = value.strip_prefix("file:") else { return Some(Secret::new(value)) };
        let path = self.absolute(path);
        match std::fs::read_to_string(&path) {
            Ok(content) => Some(Secret::new(content.trim_end_matches(['\n', '\r']))),
            Err(error) => {
                let message = format!("cannot read the secret file {}: {error}", path.display());
                let diagnostic = match self.need {
                    Need::Everything => Diagnostic::error(codes::SECRET_FILE, message),
                    Need::Texts => Diagnostic::warning(codes::SECRET_FILE, message),
                };
                let hint = "the file holds the value and nothing else";
                self.diagnostics.push(diagnostic.at(span_of(self.text, Some(span))).hint(hint));
                None
            }
        }
    }

    fn path(&self, value: Option<&At<String>>, default: &str) -> PathBuf {
        self.absolute(value.map_or(default, |value| value.value()))
    }

    /// A path relative to the file's folder, without `.` and doubled separators.
    fn absolute(&self, path: &str) -> PathBuf {
        let joined = self.dir.join(path);
        std::path::absolute(&joined).unwrap_or(joined)
    }

    fn store_url(&mut self, value: Option<&At<String>>, default: &str) -> Url {
        let folder = |path: &str| Url::from_directory_path(self.absolute(path)).ok();
        let written = value.map_or(default, |value| value.value().as_str());
        let url = match (written.split_once("://"), written.strip_prefix("file:")) {
            (Some(_), _) => Url::parse(written).ok().filter(|url| STORE_SCHEMES.contains(&url.scheme())),
            (None, Some(path)) => folder(path),
            (None, None) => folder(written),
        };
        url.or_else(|| {
            let value = value?;
            let message = format!("`{written}` is not a place for tables or snapshots");
            self.bad_value(message, "`file:./folder`, `s3://bucket/prefix`, `gs://...` or `az://...`", value);
            None
        })
        .or_else(|| Url::from_directory_path(self.absolute(default)).ok())
        .unwrap_or_else(memory_url)
    }
}

/// Stands in for a folder whose path is no URL at all, which only a relative path can be.
fn memory_url() -> Url {
    Url::parse("memory:///").expect("a constant that is a URL")
}
