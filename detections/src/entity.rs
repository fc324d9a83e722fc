//! What a hit can be about: the closed list of entity kinds, and where OCSF keeps each.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A kind of thing that alerts are about. Playbooks, cooldowns and `FROM alerts` speak of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EntityKind {
    /// The user who acted, or whom it happened to.
    User,
    /// The user whom the acting user changed.
    TargetUser,
    /// A group or role.
    Group,
    /// A cloud or service account.
    Account,
    /// A sign-in session.
    Session,
    /// An application or service principal.
    Application,
    /// The computer on which it happened, by name.
    Host,
    /// The computer from which it came, by name.
    SrcHost,
    /// The computer to which it went, by name.
    DstHost,
    /// The computer by the id that its manager gave it.
    Device,
    /// An address whose role is not known.
    Ip,
    /// The address from which it came.
    SrcIp,
    /// The address to which it went.
    DstIp,
    /// A hardware address.
    Mac,
    /// The port to which it went.
    Port,
    /// A domain name.
    Domain,
    /// A whole URL.
    Url,
    /// The user agent of a client.
    UserAgent,
    /// A country by name or code.
    Country,
    /// A mail address whose role is not known.
    Email,
    /// The mail address that sent.
    Sender,
    /// The mail address that received.
    Recipient,
    /// The subject of a mail.
    Subject,
    /// The id of a mail message.
    MessageId,
    /// A hash of a file's content.
    Hash,
    /// A file by path or name.
    File,
    /// A program by path or name.
    Process,
    /// A process id.
    ProcessId,
    /// A whole command line.
    CommandLine,
    /// A Windows registry key.
    RegistryKey,
    /// An operating system service.
    Service,
    /// A container.
    Container,
    /// Any other thing that can be named: a bucket, a machine image, a secret.
    Resource,
}

/// How OCSF knows an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ocsf {
    /// `observable.type_id`.
    pub(crate) type_id: u8,
    /// `observable.type`.
    pub(crate) type_name: &'static str,
    /// The attribute below `evidences[0]` that holds it; `[]` marks a list.
    pub(crate) path: &'static str,
}

impl EntityKind {
    /// Every kind, in the order of the columns of `alerts`.
    pub const ALL: [Self; 33] = [
        Self::User,
        Self::TargetUser,
        Self::Group,
        Self::Account,
        Self::Session,
        Self::Application,
        Self::Host,
        Self::SrcHost,
        Self::DstHost,
        Self::Device,
        Self::Ip,
        Self::SrcIp,
        Self::DstIp,
        Self::Mac,
        Self::Port,
        Self::Domain,
        Self::Url,
        Self::UserAgent,
        Self::Country,
        Self::Email,
        Self::Sender,
        Self::Recipient,
        Self::Subject,
        Self::MessageId,
        Self::Hash,
        Self::File,
        Self::Process,
        Self::ProcessId,
        Self::CommandLine,
        Self::RegistryKey,
        Self::Service,
        Self::Container,
        Self::Resource,
    ];

    /// The word for it in headers, playbooks and the columns of `alerts`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::TargetUser => "target_user",
            Self::Group => "group",
            Self::Account => "account",
            Self::Session => "session",
            Self::Application => "application",
            Self::Host => "host",
            Self::SrcHost => "src_host",
            Self::DstHost => "dst_host",
            Self::Device => "device",
            Self::Ip => "ip",
            Self::SrcIp => "src_ip",
            Self::DstIp => "dst_ip",
            Self::Mac => "mac",
            Self::Port => "port",
            Self::Domain => "domain",
            Self::Url => "url",
            Self::UserAgent => "user_agent",
            Self::Country => "country",
            Self::Email => "email",
            Self::Sender => "sender",
            Self::Recipient => "recipient",
            Self::Subject => "subject",
            Self::MessageId => "message_id",
            Self::Hash => "hash",
            Self::File => "file",
            Self::Process => "process",
            Self::ProcessId => "process_id",
            Self::CommandLine => "command_line",
            Self::RegistryKey => "registry_key",
            Self::Service => "service",
            Self::Container => "container",
            Self::Resource => "resource",
        }
    }

    /// The kind of that name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// Source: OCSF 1.8, `observable.type_id` and the attributes of `evidences`.
    pub(crate) const fn ocsf(self) -> Ocsf {
        let (type_id, type_name, path) = match self {
            Self::User => (4, "User Name", "actor.user.name"),
            Self::TargetUser => (4, "User Name", "user.name"),
            Self::Group => (32, "Group Name", "user.groups[].name"),
            Self::Account => (34, "Account Name", "actor.user.account.name"),
            Self::Session => (99, "Session", "actor.session.uid"),
            Self::Application => (99, "Application", "actor.app_name"),
            Self::Host => (1, "Hostname", "device.hostname"),
            Self::SrcHost => (1, "Hostname", "src_endpoint.hostname"),
            Self::DstHost => (1, "Hostname", "dst_endpoint.hostname"),
            Self::Device => (47, "Device UID", "device.uid"),
            Self::Ip => (2, "IP Address", "device.ip"),
            Self::SrcIp => (2, "IP Address", "src_endpoint.ip"),
            Self::DstIp => (2, "IP Address", "dst_endpoint.ip"),
            Self::Mac => (3, "MAC Address", "device.mac"),
            Self::Port => (11, "Port", "dst_endpoint.port"),
            Self::Domain => (1, "Hostname", "dst_endpoint.domain"),
            Self::Url => (6, "URL String", "url.url_string"),
            Self::UserAgent => (16, "HTTP User-Agent", "http_request.user_agent"),
            Self::Country => (14, "Country", "src_endpoint.location.country"),
            Self::Email => (5, "Email Address", "user.email_addr"),
            Self::Sender => (5, "Email Address", "email.from"),
            Self::Recipient => (5, "Email Address", "email.to[]"),
            Self::Subject => (40, "Email Subject", "email.subject"),
            Self::MessageId => (42, "Message UID", "email.message_uid"),
            Self::Hash => (8, "Hash", "file.hashes[].value"),
            Self::File => (45, "File Path", "file.path"),
            Self::Process => (9, "Process Name", "process.name"),
            Self::ProcessId => (15, "Process ID", "process.pid"),
            Self::CommandLine => (13, "Command Line", "process.cmd_line"),
            Self::RegistryKey => (46, "Registry Key Path", "reg_key.path"),
            Self::Service => (99, "Service", "win_service.name"),
            Self::Container => (27, "Container", "container.uid"),
            Self::Resource => (10, "Resource UID", "resources[].uid"),
        };
        Ocsf { type_id, type_name, path }
    }
}

impl fmt::Display for EntityKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::EntityKind;

    #[test]
    fn every_kind_has_one_name_and_is_listed_once() {
        let names: BTreeSet<_> = EntityKind::ALL.iter().map(|kind| kind.as_str()).collect();
        assert_eq!(names.len(), EntityKind::ALL.len());
        for (at, kind) in EntityKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, at, "{kind} stands elsewhere in the enum");
            assert_eq!(EntityKind::parse(kind.as_str()), Some(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
    }
}
