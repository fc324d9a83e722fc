//! The `[kafka]` settings, checked before a client is made: all mistakes at once, each with a way out.
//!
//! Settings of librdkafka are passed through by its own names. What Weir's promises rest on (positions, transactions,
//! isolation) belongs to Weir and is refused here.

use std::collections::BTreeMap;
use std::fmt;

use rdkafka::ClientConfig;
use weir_engine::EventTime;
use weir_engine::error::nearest;

use super::known::{SETTINGS, Side};
use super::oauth::OAUTH_PREFIX;

/// How to reach a cluster, checked.
#[derive(Clone)]
pub struct KafkaSettings {
    bootstrap_servers: String,
    group: String,
    client: BTreeMap<String, String>,
}

/// Where reading begins in a partition that has no position yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At the oldest record that is kept.
    Earliest,
    /// Behind the newest record.
    Latest,
    /// At the first record whose timestamp is not before this one.
    Time(EventTime),
}

/// One setting that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{key}`: {message}{}", hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default())]
pub struct SettingProblem {
    /// The setting.
    pub key: String,
    /// What is wrong with it. Never contains its value if that is a secret.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// The largest record that is sent unless the settings say otherwise. The brokers' own limit is for what remains of a record
/// after compression, so that theirs is the one that counts.
pub(super) const RECORD_BYTES_MAX: usize = 8 << 20;

/// Settings that Weir sets itself, and why.
const OWNED: &[(&str, &str)] = &[
    ("bootstrap.servers", "write it as `bootstrap_servers` under `[kafka]`"),
    ("metadata.broker.list", "write it as `bootstrap_servers` under `[kafka]`"),
    ("group.id", "write it as `group` under `[kafka]`"),
    ("group.instance.id", "Weir reads partitions by assignment; there are no members"),
    ("partition.assignment.strategy", "Weir reads partitions by assignment; there are no members"),
    ("group.protocol", "Weir reads partitions by assignment; there are no members"),
    ("group.remote.assignor", "Weir reads partitions by assignment; there are no members"),
    ("enable.auto.commit", "positions are committed with each epoch"),
    ("auto.commit.enable", "positions are committed with each epoch"),
    ("auto.commit.interval.ms", "positions are committed with each epoch"),
    ("enable.auto.offset.store", "positions are committed with each epoch"),
    ("offset.store.method", "positions are committed with each epoch"),
    ("offset.store.path", "positions are committed with each epoch"),
    ("auto.offset.reset", "a lost position must be an error; `start` says where reading begins"),
    ("isolation.level", "records of aborted transactions must not be read"),
    ("transactional.id", "it is made of the group and the worker's number"),
    ("enable.idempotence", "delivery is exactly once"),
    ("enable.gapless.guarantee", "delivery is exactly once"),
    ("acks", "delivery is exactly once"),
    ("request.required.acks", "delivery is exactly once"),
    ("enable.partition.eof", "it tells Weir that a partition is read to its end"),
    ("statistics.interval.ms", "statistics tell Weir that a partition is read to its end"),
    ("check.crcs", "damaged records must not be read"),
    ("queuing.strategy", "records keep their order"),
    ("delivery.report.only.error", "every delivery is waited for"),
    ("allow.auto.create.topics", "a misspelt topic must be an error"),
    ("log.queue", "logs go to Weir's log"),
    ("internal.termination.signal", "it would interfere with a clean stop"),
];

impl KafkaSettings {
    /// Checks settings as they are written in `weir.toml`.
    ///
    /// # Errors
    /// All settings that are wrong. The administrator has to mend them.
    pub fn check(
        bootstrap_servers: &str,
        group: &str,
        client: &BTreeMap<String, String>,
    ) -> Result<Self, Vec<SettingProblem>> {
        let mut problems = Vec::new();
        check_servers(bootstrap_servers, &mut problems);
        if group.is_empty() || !group.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)) {
            problems.push(problem(
                "group",
                "a group is letters, digits, `.`, `_` and `-`: it is part of a topic's name",
                None,
            ));
        }
        client.keys().for_each(|key| check_key(key, &mut problems));
        super::security::check(client, &mut problems);
        if problems.is_empty() {
            let bootstrap_servers = bootstrap_servers.to_owned();
            Ok(Self { bootstrap_servers, group: group.to_owned(), client: client.clone() })
        } else {
            Err(problems)
        }
    }

    /// The brokers that are asked first, as configured.
    #[must_use]
    pub fn bootstrap_servers(&self) -> &str {
        &self.bootstrap_servers
    }

    /// The group: prefix of transactional ids and of the cursors topic, and what lag is shown for.
    #[must_use]
    pub fn group(&self) -> &str {
        &self.group
    }

    /// The configuration of a consumer, without what only producers know.
    pub(super) fn consumer(&self) -> ClientConfig {
        let mut config = self.base(Side::Producer);
        config
            .set("group.id", &self.group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("isolation.level", "read_committed")
            .set("enable.partition.eof", "true")
            .set("check.crcs", "true")
            .set("allow.auto.create.topics", "false");
        config
    }

    /// The configuration of a producer, without what only consumers know.
    pub(super) fn producer(&self) -> ClientConfig {
        let mut config = self.base(Side::Consumer);
        config.set("enable.idempotence", "true").set("acks", "all");
        if !["compression.type", "compression.codec"].iter().any(|key| self.client.contains_key(*key)) {
            config.set("compression.type", "zstd");
        }
        if !self.client.contains_key("message.max.bytes") {
            config.set("message.max.bytes", RECORD_BYTES_MAX.to_string());
        }
        config
    }

    /// The configuration of a client that only administrates.
    pub(super) fn admin(&self) -> ClientConfig {
        let mut config = self.base(Side::Consumer);
        for (key, _) in SETTINGS.iter().filter(|(_, side)| *side == Side::Producer) {
            config.remove(key);
        }
        config
    }

    /// The value of a setting of the client, if it was given.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.client.get(key).map(String::as_str)
    }

    fn base(&self, other: Side) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("client.id", format!("weir-{}", self.group));
        let side = |key: &str| SETTINGS.iter().find(|(name, _)| *name == key).map(|(_, side)| *side);
        for (key, value) in
            self.client.iter().filter(|(key, _)| side(key) != Some(other) && !key.starts_with(OAUTH_PREFIX))
        {
            config.set(key, value);
        }
        // The TLS library is built in and does not know where this system keeps its certificates.
        let uses_tls =
            self.get("security.protocol").is_some_and(|protocol| protocol.to_ascii_uppercase().ends_with("SSL"));
        if uses_tls && !self.client.keys().any(|key| key.starts_with("ssl.ca.")) {
            config.set("ssl.ca.location", "probe");
        }
        config.set("bootstrap.servers", &self.bootstrap_servers);
        config
    }
}

impl fmt::Debug for KafkaSettings {
    /// Names only: values may be passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<&String> = self.client.keys().collect();
        f.debug_struct("KafkaSettings")
            .field("bootstrap_servers", &self.bootstrap_servers)
            .field("group", &self.group)
            .field("client", &keys)
            .finish()
    }
}

impl std::str::FromStr for Start {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "earliest" => Ok(Self::Earliest),
            "latest" => Ok(Self::Latest),
            _ => match chrono::DateTime::parse_from_rfc3339(text) {
                Ok(time) => Ok(Self::Time(EventTime(time.timestamp_micros()))),
                Err(error) => Err(format!("`{text}` is not `earliest`, `latest` or an RFC 3339 time ({error})")),
            },
        }
    }
}

pub(super) fn problem(key: &str, message: impl Into<String>, hint: Option<&str>) -> SettingProblem {
    SettingProblem { key: key.to_owned(), message: message.into(), hint: hint.map(str::to_owned) }
}

fn check_servers(servers: &str, problems: &mut Vec<SettingProblem>) {
    let is_address = |server: &str| {
        let (host, port) = server.rsplit_once(':').unwrap_or((server, "9092"));
        let host = host.rsplit_once("://").map_or(host, |(_, host)| host);
        !host.is_empty() && !host.contains(char::is_whitespace) && port.parse::<u16>().is_ok_and(|port| port > 0)
    };
    if let Some(wrong) = servers.split(',').map(str::trim).find(|server| !is_address(server)) {
        let message = format!("`{wrong}` is not `host:port`");
        problems.push(problem("bootstrap_servers", message, Some("give one or more brokers, separated by commas")));
    }
}

fn check_key(key: &str, problems: &mut Vec<SettingProblem>) {
    if let Some((_, reason)) = OWNED.iter().find(|(owned, _)| *owned == key) {
        problems.push(problem(key, format!("Weir sets this itself: {reason}"), Some("remove it")));
    } else if !SETTINGS.iter().any(|(name, _)| *name == key) {
        let hint = nearest(key, SETTINGS.iter().map(|(name, _)| *name));
        problems.push(SettingProblem { key: key.to_owned(), message: "librdkafka has no such setting".into(), hint });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(client: &[(&str, &str)]) -> Vec<String> {
        let client = client.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let checked = KafkaSettings::check("127.0.0.1:9092", "weir", &client);
        checked.err().unwrap_or_default().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_misspelt_setting_is_refused_with_the_nearest() {
        let found = problems(&[("securty.protocol", "SSL")]);
        assert_eq!(found, ["`securty.protocol`: librdkafka has no such setting; did you mean `security.protocol`?"]);
    }

    #[test]
    fn what_weir_owns_is_refused_with_the_reason() {
        for (key, _) in OWNED {
            assert!(problems(&[(key, "x")]).iter().any(|text| text.contains("Weir sets this itself")), "{key}");
        }
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        let client = [("acks", "1"), ("nonsense", "2")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        let problems = KafkaSettings::check("host", "a b", &client.into()).err().unwrap_or_default();
        let keys: Vec<_> = problems.iter().map(|problem| problem.key.as_str()).collect();
        assert_eq!(keys, ["group", "acks", "nonsense"]);
        for servers in ["", "host:x", "a:9092,", ":9092", "host:0"] {
            assert!(KafkaSettings::check(servers, "weir", &BTreeMap::new()).is_err(), "{servers}");
        }
        for servers in ["host", "a:1,b:2", "SASL_SSL://a:1", "[::1]:9092"] {
            assert!(KafkaSettings::check(servers, "weir", &BTreeMap::new()).is_ok(), "{servers}");
        }
    }

    #[test]
    fn this_build_speaks_what_clusters_ask_for() {
        let config = ClientConfig::new().create_native_config().expect("the defaults are fine");
        let features = config.get("builtin.features").expect("every build has features");
        for feature in ["gzip", "snappy", "lz4", "zstd", "ssl", "sasl_plain", "sasl_scram", "sasl_oauthbearer"] {
            assert!(features.split(',').any(|found| found == feature), "{feature} is not in {features}");
        }
    }

    #[test]
    fn a_start_is_a_word_or_a_time() {
        assert_eq!("earliest".parse(), Ok(Start::Earliest));
        assert_eq!("2020-01-02T03:04:05Z".parse(), Ok(Start::Time(EventTime(1_577_934_245_000_000))));
        assert!("yesterday".parse::<Start>().is_err());
    }

    #[test]
    fn secrets_do_not_show() {
        let client = BTreeMap::from([
            ("security.protocol".to_owned(), "SASL_SSL".to_owned()),
            ("sasl.mechanism".to_owned(), "PLAIN".to_owned()),
            ("sasl.username".to_owned(), "u".to_owned()),
            ("sasl.password".to_owned(), "hunter2".to_owned()),
        ]);
        let settings = KafkaSettings::check("a:1", "weir", &client).expect("fine");
        assert!(!format!("{settings:?}").contains("hunter2"));
    }
}
