//! What a command is aimed at. A value from a log becomes a target only if it is one: anything else is refused here,
//! before a responder sees it.

use std::net::{Ipv4Addr, Ipv6Addr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use url::{Host, Url};

use super::words;

words! {
    /// The kinds of things a command can be aimed at.
    TargetKind {
        /// Data.
        Artifact = "artifact",
        /// A command given before.
        Command = "command",
        /// A machine.
        Device = "device",
        /// A domain name.
        DomainName = "domain_name",
        /// A mail address.
        EmailAddr = "email_addr",
        /// What a consumer can do.
        Features = "features",
        /// A file.
        File = "file",
        /// An internationalized domain name.
        IdnDomainName = "idn_domain_name",
        /// An internationalized mail address.
        IdnEmailAddr = "idn_email_addr",
        /// An IPv4 address or network.
        Ipv4Net = "ipv4_net",
        /// An IPv6 address or network.
        Ipv6Net = "ipv6_net",
        /// An IPv4 connection.
        Ipv4Connection = "ipv4_connection",
        /// An IPv6 connection.
        Ipv6Connection = "ipv6_connection",
        /// An internationalized resource identifier.
        Iri = "iri",
        /// A hardware address.
        MacAddr = "mac_addr",
        /// A running program.
        Process = "process",
        /// A URL.
        Uri = "uri",
        /// The account of a person or service (extension `x-user`).
        Account = "account",
    }
}

/// One target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// What kind of thing.
    pub kind: TargetKind,
    /// Which one: text, or an object of named fields.
    pub value: Value,
}

/// A value that is no target of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{value:?} is no {kind}: {why}")]
pub struct BadTarget {
    /// The kind that was wanted.
    pub kind: TargetKind,
    /// The value.
    pub value: String,
    /// What is wrong with it.
    pub why: &'static str,
}

/// Longest value that any target may have.
const VALUE_CHARS_MAX: usize = 2_048;

impl TargetKind {
    /// Its name in an OpenC2 message.
    #[must_use]
    pub const fn json_name(self) -> &'static str {
        match self {
            Self::Account => "x-user",
            other => other.as_str(),
        }
    }

    /// The fields of the long form; empty where only text makes sense.
    #[must_use]
    pub const fn fields(self) -> &'static [&'static str] {
        match self {
            Self::Device => &["hostname", "device_id", "idn_hostname"],
            Self::File => &["path", "name", "sha256", "sha1", "md5", "hostname"],
            Self::Process => &["pid", "name", "command_line", "hostname"],
            Self::Account => &["name", "uid", "domain"],
            Self::Ipv4Connection | Self::Ipv6Connection => {
                &["protocol", "src_addr", "src_port", "dst_addr", "dst_port"]
            }
            Self::Artifact => &["mime_type", "sha256", "url"],
            _ => &[],
        }
    }
}

impl Target {
    /// A target from one value.
    ///
    /// Errors: the value is not of this kind.
    pub fn of_text(kind: TargetKind, text: &str) -> Result<Self, BadTarget> {
        let text = text.trim();
        let bad = |why| BadTarget { kind, value: text.chars().take(200).collect(), why };
        check_text(text).map_err(bad)?;
        let value = match kind {
            TargetKind::DomainName | TargetKind::IdnDomainName => Value::String(domain(text).map_err(bad)?),
            TargetKind::Ipv4Net => Value::String(ipv4_net(text).map_err(bad)?),
            TargetKind::Ipv6Net => Value::String(ipv6_net(text).map_err(bad)?),
            TargetKind::EmailAddr | TargetKind::IdnEmailAddr => Value::String(email(text).map_err(bad)?),
            TargetKind::Uri | TargetKind::Iri => Value::String(uri(text).map_err(bad)?),
            TargetKind::MacAddr => Value::String(mac(text).map_err(bad)?),
            TargetKind::Device => json!({ "hostname": host_name(text).map_err(bad)? }),
            TargetKind::Account => json!({ "name": text }),
            TargetKind::Command => Value::String(text.to_owned()),
            TargetKind::Features => json!([text]),
            TargetKind::Process => match text.parse::<u32>() {
                Ok(pid) => json!({ "pid": pid }),
                Err(_) => json!({ "name": text }),
            },
            TargetKind::File => file(text),
            TargetKind::Artifact => json!({ "sha256": hash(text).map_err(bad)? }),
            TargetKind::Ipv4Connection | TargetKind::Ipv6Connection => {
                return Err(bad("a connection has several fields; write them out"));
            }
        };
        Ok(Self { kind, value })
    }

    /// A target from named fields.
    ///
    /// Errors: a field is not of its kind.
    pub fn of_fields(kind: TargetKind, fields: Map<String, Value>) -> Result<Self, BadTarget> {
        for (name, value) in &fields {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let bad = |why| BadTarget { kind, value: text.chars().take(200).collect(), why };
            check_text(&text).map_err(bad)?;
            match name.as_str() {
                "hostname" => host_name(&text).map(drop).map_err(bad)?,
                "pid" | "src_port" | "dst_port" => {
                    text.parse::<u32>().map(drop).ok().ok_or_else(|| bad("it is not a number"))?
                }
                "sha256" | "sha1" | "md5" => hash(&text).map(drop).map_err(bad)?,
                "src_addr" | "dst_addr" if kind == TargetKind::Ipv4Connection => {
                    ipv4_net(&text).map(drop).map_err(bad)?
                }
                "src_addr" | "dst_addr" => ipv6_net(&text).map(drop).map_err(bad)?,
                _ => {}
            }
        }
        if fields.is_empty() {
            return Err(BadTarget { kind, value: String::new(), why: "no field has a value" });
        }
        Ok(Self { kind, value: Value::Object(fields) })
    }

    /// The value people know it by.
    #[must_use]
    pub fn main(&self) -> String {
        match &self.value {
            Value::String(text) => text.clone(),
            Value::Object(fields) => {
                let known = self.kind.fields().iter().find_map(|name| fields.get(*name));
                known.map_or_else(
                    || self.value.to_string(),
                    |value| value.as_str().map_or_else(|| value.to_string(), str::to_owned),
                )
            }
            Value::Array(items) => items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(","),
            other => other.to_string(),
        }
    }
}

fn check_text(text: &str) -> Result<(), &'static str> {
    if text.is_empty() {
        Err("it is empty")
    } else if text.chars().count() > VALUE_CHARS_MAX {
        Err("it is too long")
    } else if text.chars().any(char::is_control) {
        Err("it holds control characters")
    } else {
        Ok(())
    }
}

/// A domain name in its ASCII form, lower case, without a final dot.
fn domain(text: &str) -> Result<String, &'static str> {
    let bare = text.trim_end_matches('.');
    if bare.contains('%') {
        return Err("it holds escapes");
    }
    let Ok(Host::Domain(ascii)) = Host::parse(bare) else { return Err("it is not a domain name") };
    let labels_fit = ascii.split('.').all(|label| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
    });
    if !labels_fit || ascii.len() > 253 {
        Err("it is not a domain name")
    } else if !ascii.contains('.') {
        Err("a whole top-level domain is never a target")
    } else {
        Ok(ascii)
    }
}

/// A machine's name: a NetBIOS or DNS name.
fn host_name(text: &str) -> Result<String, &'static str> {
    let fits = text.len() <= 253 && text.chars().all(|c| c.is_alphanumeric() || "-_.".contains(c));
    if fits && !text.starts_with('.') && !text.starts_with('-') {
        Ok(text.to_owned())
    } else {
        Err("it is not a host name")
    }
}

fn ipv4_net(text: &str) -> Result<String, &'static str> {
    let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
    // An IPv4 address in IPv6 clothes is the same address.
    let bare = address.strip_prefix("::ffff:").unwrap_or(address);
    let address: Ipv4Addr = bare.parse().ok().ok_or("it is not an IPv4 address or network")?;
    match prefix.map(str::parse::<u8>) {
        None => Ok(address.to_string()),
        Some(Ok(length)) if length <= 32 => Ok(format!("{address}/{length}")),
        Some(_) => Err("its prefix length is not one"),
    }
}

fn ipv6_net(text: &str) -> Result<String, &'static str> {
    let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
    let address: Ipv6Addr = address.parse().ok().ok_or("it is not an IPv6 address or network")?;
    match prefix.map(str::parse::<u8>) {
        None => Ok(address.to_string()),
        Some(Ok(length)) if length <= 128 => Ok(format!("{address}/{length}")),
        Some(_) => Err("its prefix length is not one"),
    }
}

fn email(text: &str) -> Result<String, &'static str> {
    let (name, host) = text.rsplit_once('@').ok_or("it has no `@`")?;
    let fits = !name.is_empty()
        && name.len() <= 64
        && !name.chars().any(|c| c.is_whitespace() || "<>()[],;:\\\"@".contains(c));
    if !fits {
        return Err("it is not a mail address");
    }
    Ok(format!("{name}@{}", domain(host)?))
}

fn uri(text: &str) -> Result<String, &'static str> {
    match Url::parse(text) {
        Ok(url) if url.has_host() => Ok(url.into()),
        _ => Err("it is not an absolute URL"),
    }
}

fn mac(text: &str) -> Result<String, &'static str> {
    let bare: String = text.chars().filter(|c| !":-.".contains(*c)).collect::<String>().to_ascii_lowercase();
    if bare.len() != 12 || !bare.chars().all(|c| c.is_ascii_hexdigit()) {
        return Err("it is not a hardware address");
    }
    let pairs: Vec<&str> = (0..6).map(|at| &bare[at * 2..at * 2 + 2]).collect();
    Ok(pairs.join(":"))
}

fn hash(text: &str) -> Result<String, &'static str> {
    let fits = matches!(text.len(), 32 | 40 | 64) && text.chars().all(|c| c.is_ascii_hexdigit());
    if fits { Ok(text.to_ascii_lowercase()) } else { Err("it is not an MD5, SHA-1 or SHA-256 hash") }
}

fn file(text: &str) -> Value {
    match hash(text) {
        Ok(hash) if hash.len() == 64 => json!({ "sha256": hash }),
        Ok(hash) if hash.len() == 40 => json!({ "sha1": hash }),
        Ok(hash) => json!({ "md5": hash }),
        Err(_) if text.contains(['/', '\\']) => json!({ "path": text }),
        Err(_) => json!({ "name": text }),
    }
}
