//! The guard: what is never touched, and how much may happen in an hour. It is asked before anything leaves.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use chrono::TimeDelta;
use serde_json::Value;

use crate::facts::Moment;
use crate::openc2::{Command, TargetKind};

/// Things no playbook may act against, and limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Hosts by name; `dc-*` stands for all that begin so.
    pub hosts: Vec<String>,
    /// Accounts by name or mail address; `svc-*` stands for all that begin so.
    pub users: Vec<String>,
    /// Networks; anything that overlaps is refused.
    pub networks: Vec<Network>,
    /// Domains with all below and above them.
    pub domains: Vec<String>,
    /// Commands in an hour, over all playbooks.
    pub per_hour: usize,
    /// Commands of one playbook in an hour.
    pub per_playbook_per_hour: usize,
    /// Commands on one kind of target in an hour, over all playbooks.
    pub per_kind_per_hour: BTreeMap<TargetKind, usize>,
    /// The same for kinds without a limit of their own.
    pub per_other_kind_per_hour: usize,
    /// Shortest prefix of an IPv4 network that may be acted on.
    pub ipv4_prefix_min: u8,
    /// Shortest prefix of an IPv6 network that may be acted on.
    pub ipv6_prefix_min: u8,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            hosts: Vec::new(),
            users: Vec::new(),
            networks: Vec::new(),
            domains: Vec::new(),
            per_hour: 200,
            per_playbook_per_hour: 60,
            per_kind_per_hour: BTreeMap::from([(TargetKind::Device, 20), (TargetKind::Account, 20)]),
            per_other_kind_per_hour: 100,
            ipv4_prefix_min: 24,
            ipv6_prefix_min: 48,
        }
    }
}

/// An address range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    first: u128,
    last: u128,
    prefix: u8,
    is_v4: bool,
}

/// Text that is no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no address or network, such as 10.0.0.0/8")]
pub struct NotANetwork(pub String);

impl std::str::FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let bad = || NotANetwork(text.to_owned());
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.parse().ok().ok_or_else(bad)?;
        let (bits, width, is_v4, skipped) = match address {
            IpAddr::V4(v4) => (u128::from(u32::from(v4)), 32_u8, true, 0),
            // An IPv4 address in IPv6 clothes is the same address.
            IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
                Some(v4) => (u128::from(u32::from(v4)), 32, true, 96),
                None => (u128::from(v6), 128, false, 0),
            },
        };
        let prefix = match prefix {
            None => width,
            Some(text) => {
                let written: u8 = text.parse().ok().ok_or_else(bad)?;
                written.checked_sub(skipped).filter(|prefix| *prefix <= width).ok_or_else(bad)?
            }
        };
        let host_bits = u32::from(width - prefix);
        let mask = if host_bits >= 128 { u128::MAX } else { (1_u128 << host_bits) - 1 };
        Ok(Self { first: bits & !mask, last: bits | mask, prefix, is_v4 })
    }
}

impl Network {
    fn overlaps(&self, other: &Self) -> bool {
        self.is_v4 == other.is_v4 && self.first <= other.last && other.first <= self.last
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_v4 {
            write!(f, "{}/{}", Ipv4Addr::from(self.first as u32), self.prefix)
        } else {
            write!(f, "{}/{}", Ipv6Addr::from(self.first), self.prefix)
        }
    }
}

/// Why the guard refuses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The target is on a never-touch list.
    #[error("never touch {kind}: {value} is covered by {rule}")]
    NeverTouch {
        /// Which list.
        kind: &'static str,
        /// The target.
        value: String,
        /// The entry.
        rule: String,
    },
    /// The network is too large.
    #[error("{0} is a larger network than playbooks may act on")]
    TooLarge(String),
    /// An hour's limit is reached.
    #[error("the limit of {limit} commands in an hour for {what} is reached")]
    TooMany {
        /// The playbook or kind of target.
        what: String,
        /// The limit.
        limit: usize,
    },
}

/// Rules and what happened in the last hour.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    rules: Rules,
    sent: BTreeMap<String, VecDeque<Moment>>,
}

impl Guard {
    /// A guard that has seen nothing yet.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self { rules, sent: BTreeMap::new() }
    }

    /// Whether a command may leave now.
    ///
    /// Errors: why not.
    pub fn check(&mut self, playbook: &str, command: &Command, now: Moment) -> Result<(), Refusal> {
        if command.action.hurts() {
            self.rules.check_target(command)?;
        }
        for (key, what, limit) in self.limits(playbook, command) {
            let sent = self.sent.entry(key).or_default();
            while sent.front().is_some_and(|at| now.signed_duration_since(*at) >= TimeDelta::hours(1)) {
                sent.pop_front();
            }
            if sent.len() >= limit {
                return Err(Refusal::TooMany { what, limit });
            }
        }
        Ok(())
    }

    /// Counts a command that leaves, or left before a restart.
    pub fn count(&mut self, playbook: &str, command: &Command, at: Moment) {
        for (key, _, _) in self.limits(playbook, command) {
            self.sent.entry(key).or_default().push_back(at);
        }
    }

    /// Takes back that a command was counted at this instant: it did not leave.
    pub(crate) fn take_back(&mut self, playbook: &str, command: &Command, at: Moment) {
        for (key, _, _) in self.limits(playbook, command) {
            let Some(sent) = self.sent.get_mut(&key) else { continue };
            if let Some(counted) = sent.iter().rposition(|counted| *counted == at) {
                sent.remove(counted);
            }
        }
    }

    fn limits(&self, playbook: &str, command: &Command) -> [(String, String, usize); 3] {
        let kind = command.target.kind;
        let of_kind = self.rules.per_kind_per_hour.get(&kind).copied().unwrap_or(self.rules.per_other_kind_per_hour);
        [
            ("all".to_owned(), "all playbooks".to_owned(), self.rules.per_hour),
            (format!("playbook {playbook}"), format!("playbook {playbook}"), self.rules.per_playbook_per_hour),
            (format!("kind {kind}"), format!("target {kind}"), of_kind),
        ]
    }
}

impl Rules {
    /// Adds one entry of a never-touch list that does not say what it is: an address or network is one, what has an `@` is
    /// an account, and any other name protects hosts and accounts, and domains where it has a dot.
    pub fn never_touch(&mut self, entry: &str) {
        let entry = entry.trim();
        if let Ok(network) = entry.parse() {
            self.networks.push(network);
            return;
        }
        self.users.push(entry.to_owned());
        if !entry.contains(['@', '\\']) {
            self.hosts.push(entry.to_owned());
            if entry.contains('.') {
                self.domains.push(entry.to_owned());
            }
        }
    }

    fn check_target(&self, command: &Command) -> Result<(), Refusal> {
        let target = &command.target;
        for (name, value) in fields(&target.value) {
            match (target.kind, name) {
                (TargetKind::Device, _) | (_, "hostname") => self.check_host(&value)?,
                (TargetKind::Account, _) => self.check_user(&value)?,
                (TargetKind::EmailAddr | TargetKind::IdnEmailAddr, _) => {
                    self.check_user(&value)?;
                    self.check_domain(value.rsplit('@').next().unwrap_or_default(), true)?;
                }
                (TargetKind::DomainName | TargetKind::IdnDomainName, _) => {
                    self.check_domain(&value, true)?;
                    self.check_host(&value)?;
                }
                (TargetKind::Uri | TargetKind::Iri, _) => self.check_url(&value)?,
                (TargetKind::Ipv4Net | TargetKind::Ipv6Net, _) | (_, "src_addr" | "dst_addr") => {
                    self.check_network(&value)?
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn check_host(&self, host: &str) -> Result<(), Refusal> {
        if host.parse::<IpAddr>().is_ok() {
            return self.check_network(host);
        }
        // A name with its domain is the same machine as the name without.
        let (full, short) =
            (host.trim_end_matches('.').to_lowercase(), host.split('.').next().unwrap_or_default().to_lowercase());
        let hit = self.hosts.iter().find(|rule| {
            let rule = rule.to_lowercase();
            matches(&rule, &full) || matches(&rule, &short) || rule.split('.').next() == Some(full.as_str())
        });
        refuse("hosts", host, hit)?;
        if host.contains('.') { self.check_domain(host, false) } else { Ok(()) }
    }

    fn check_user(&self, user: &str) -> Result<(), Refusal> {
        let full = user.to_lowercase();
        // `CORP\mara` and `mara@corp.example` are the account `mara`.
        let short = full.rsplit('\\').next().unwrap_or_default().split('@').next().unwrap_or_default().to_owned();
        refuse(
            "users",
            user,
            self.users.iter().find(|rule| {
                let rule = rule.to_lowercase();
                matches(&rule, &full) || matches(&rule, &short)
            }),
        )
    }

    /// Blocking a domain blocks all below it, so a domain above a protected one is protected too (`above`).
    fn check_domain(&self, domain: &str, above: bool) -> Result<(), Refusal> {
        let domain = domain.trim_end_matches('.').to_lowercase();
        let below = |lower: &str, upper: &str| lower == upper || lower.ends_with(&format!(".{upper}"));
        let hit = self.domains.iter().find(|rule| {
            let rule = rule.trim_start_matches("*.").to_lowercase();
            below(&domain, &rule) || (above && below(&rule, &domain))
        });
        refuse("domains", &domain, hit)
    }

    fn check_url(&self, text: &str) -> Result<(), Refusal> {
        let host = url::Url::parse(text).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        if bare.parse::<IpAddr>().is_ok() { self.check_network(bare) } else { self.check_domain(&host, false) }
    }

    fn check_network(&self, text: &str) -> Result<(), Refusal> {
        // What cannot be read as a network cannot be shown to be harmless.
        let Ok(network) = text.parse::<Network>() else { return Err(Refusal::TooLarge(text.to_owned())) };
        let least = if network.is_v4 { self.ipv4_prefix_min } else { self.ipv6_prefix_min };
        if network.prefix < least {
            return Err(Refusal::TooLarge(network.to_string()));
        }
        let hit = self.networks.iter().find(|rule| rule.overlaps(&network)).map(ToString::to_string);
        refuse("networks", text, hit.as_ref())
    }
}

fn refuse(kind: &'static str, value: &str, rule: Option<&String>) -> Result<(), Refusal> {
    rule.map_or(Ok(()), |rule| Err(Refusal::NeverTouch { kind, value: value.to_owned(), rule: rule.clone() }))
}

/// A rule may begin or end with `*`.
fn matches(rule: &str, value: &str) -> bool {
    match (rule.strip_prefix('*'), rule.strip_suffix('*')) {
        (Some(_), Some(_)) => value.contains(rule.trim_matches('*')),
        (Some(suffix), None) => value.ends_with(suffix),
        (None, Some(prefix)) => value.starts_with(prefix),
        (None, None) => rule == value,
    }
}

fn fields(value: &Value) -> Vec<(&str, String)> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match value {
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.as_str(), text(value))).collect(),
        other => vec![("", text(other))],
    }
}

#[cfg(test)]
mod tests;
