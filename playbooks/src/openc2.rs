//! OpenC2 commands: what is to be done to what, apart from who does it.
//!
//! Source: OpenC2 Language Specification v2.0 (CSD01), sections 3.3 and 3.4. `account` is an extension, written
//! `x-user` in JSON, because the standard has no target for the account of a person.

use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

pub(crate) use self::meant::{action_meant, nearest_action, nearest_target};
pub use self::target::{BadTarget, Target, TargetKind};
use crate::facts::Moment;

mod meant;
mod target;

macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        pub enum $name { $($(#[$doc])* #[serde(rename = $word)] $variant),* }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Its word.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }

            /// The one of that word.
            #[must_use]
            pub fn of_word(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| one.as_str() == word)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
pub(crate) use words;

words! {
    /// What is to be done.
    Action {
        /// Examine systematically.
        Scan = "scan",
        /// Find.
        Locate = "locate",
        /// Ask.
        Query = "query",
        /// Block.
        Deny = "deny",
        /// Isolate.
        Contain = "contain",
        /// Permit, release.
        Allow = "allow",
        /// Begin.
        Start = "start",
        /// End.
        Stop = "stop",
        /// End and begin.
        Restart = "restart",
        /// Take back a command.
        Cancel = "cancel",
        /// Change a value.
        Set = "set",
        /// Bring up to date.
        Update = "update",
        /// Send elsewhere.
        Redirect = "redirect",
        /// Add.
        Create = "create",
        /// Remove.
        Delete = "delete",
        /// Run and watch.
        Detonate = "detonate",
        /// Return to a known state.
        Restore = "restore",
        /// Duplicate.
        Copy = "copy",
        /// Look into.
        Investigate = "investigate",
        /// Mend.
        Remediate = "remediate",
    }
}

impl Action {
    /// Whether the action changes the world to somebody's cost, so that never-touch lists apply.
    #[must_use]
    pub const fn hurts(self) -> bool {
        !matches!(
            self,
            Self::Allow | Self::Query | Self::Scan | Self::Locate | Self::Investigate | Self::Cancel | Self::Copy
        )
    }
}

/// One command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Command {
    /// What is to be done.
    pub action: Action,
    /// To what.
    pub target: Target,
    /// How.
    #[serde(default)]
    pub args: Args,
    /// Identity of the command; also its idempotency key.
    pub command_id: String,
}

/// How a command is to be carried out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Args {
    /// How long it holds; the consumer ends it by itself. Units: milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<u64>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Arguments of the action, such as `password: reset`.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// How a command is taken back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Undo {
    /// By this command.
    Command(Box<Command>),
    /// Not at all, and why.
    None(String),
}

impl fmt::Display for Undo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command(command) => write!(f, "{command}"),
            Self::None(why) => write!(f, "none: {why}"),
        }
    }
}

impl fmt::Display for Command {
    /// As it is written in a playbook: `contain device ws-17`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.action, self.target.kind, self.target.main())
    }
}

impl Command {
    /// The actuator profile that defines the command, where a standard one does.
    #[must_use]
    pub const fn profile(&self) -> Option<&'static str> {
        use TargetKind::{Device, DomainName, File, Ipv4Connection, Ipv4Net, Ipv6Connection, Ipv6Net, Process, Uri};
        match (self.action, self.target.kind) {
            (
                Action::Contain | Action::Allow | Action::Stop | Action::Restart | Action::Scan,
                Device | File | Process,
            ) => Some("er"),
            (Action::Deny | Action::Allow, DomainName | Ipv4Net | Ipv6Net | Ipv4Connection | Ipv6Connection | Uri) => {
                Some("pf")
            }
            _ => None,
        }
    }

    /// The `request` part of the message.
    #[must_use]
    pub fn request(&self) -> Value {
        let mut args = Map::new();
        if let Some(duration) = self.args.duration {
            args.insert("duration".to_owned(), duration.into());
        }
        args.insert("response_requested".to_owned(), "complete".into());
        if let Some(comment) = &self.args.comment {
            args.insert("comment".to_owned(), comment.clone().into());
        }
        args.extend(self.args.extra.clone());
        let mut request = json!({
            "action": self.action.as_str(),
            "target": { self.target.kind.json_name(): self.target.value },
            "args": args,
        });
        if let Some(profile) = self.profile() {
            request["profile"] = profile.into();
        }
        request["command_id"] = self.command_id.clone().into();
        request
    }

    /// The whole message for a consumer that speaks OpenC2 itself.
    #[must_use]
    pub fn message(&self, created: Moment, from: &str, to: &[&str]) -> Value {
        json!({
            "headers": {
                "request_id": self.command_id,
                "created": created.timestamp_millis(),
                "from": from,
                "to": to,
            },
            "body": { "openc2": { "request": self.request() } },
        })
    }

    /// How this command is taken back; every command has an answer.
    #[must_use]
    pub fn undo(&self) -> Undo {
        let inverse = |action, extra| {
            Undo::Command(Box::new(Self {
                action,
                target: self.target.clone(),
                args: Args { duration: None, comment: Some(format!("undo of {}", self.command_id)), extra },
                command_id: format!("{}-undo", self.command_id),
            }))
        };
        let none = |why: &str| Undo::None(why.to_owned());
        match self.action {
            Action::Contain | Action::Deny => inverse(Action::Allow, Map::new()),
            Action::Create => inverse(Action::Delete, Map::new()),
            Action::Start => inverse(Action::Stop, Map::new()),
            Action::Set => self.undo_set(inverse),
            Action::Redirect | Action::Detonate | Action::Scan | Action::Investigate => self.cancel(),
            Action::Stop => none("a stopped process is not continued; start the program again"),
            Action::Delete => none("what was deleted is not kept; restore it from a backup"),
            Action::Restart => none("a restart has happened"),
            Action::Allow => none("it releases; contain or deny again if that was wrong"),
            Action::Cancel => none("send the command again"),
            Action::Query | Action::Locate | Action::Copy => none("it changes nothing"),
            Action::Update | Action::Restore | Action::Remediate => none("the state before is not known"),
        }
    }

    /// `cancel` of this command, the undo that the standard itself offers.
    #[must_use]
    pub fn cancel(&self) -> Undo {
        Undo::Command(Box::new(Self {
            action: Action::Cancel,
            target: Target { kind: TargetKind::Command, value: self.command_id.clone().into() },
            args: Args::default(),
            command_id: format!("{}-undo", self.command_id),
        }))
    }

    fn undo_set(&self, inverse: impl Fn(Action, Map<String, Value>) -> Undo) -> Undo {
        let extra = &self.args.extra;
        if extra.contains_key("password") {
            return Undo::None("the old password is gone; its owner sets a new one".to_owned());
        }
        if extra.contains_key("sessions") {
            return Undo::None("ended sessions are not continued; the owner signs in again".to_owned());
        }
        match (extra.len(), extra.get("enabled").and_then(Value::as_bool)) {
            (1, Some(enabled)) => inverse(Action::Set, Map::from_iter([("enabled".to_owned(), Value::Bool(!enabled))])),
            _ => Undo::None("the value before is not known".to_owned()),
        }
    }

    /// When the consumer ends it by itself.
    #[must_use]
    pub fn expires(&self, from: Moment) -> Option<Moment> {
        let duration = Duration::from_millis(self.args.duration?);
        from.checked_add_signed(chrono::TimeDelta::from_std(duration).ok()?)
    }
}

#[cfg(test)]
mod tests;
