//! The fields that `${...}` and conditions may name, with their types, so that a misspelt one is found at load.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::problem::nearest;

/// The type of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Number,
    Bool,
    /// A list of text.
    Texts,
    /// One of the severity words, which have an order.
    Severity,
    /// Known at run time only.
    Any,
}

impl Kind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Number => "a number",
            Self::Bool => "true or false",
            Self::Texts => "a list of text",
            Self::Severity => "a severity",
            Self::Any => "anything",
        }
    }
}

/// A tree of names.
#[derive(Debug, Clone)]
pub(crate) enum Names {
    /// A field.
    Leaf(Kind),
    /// Fields with names.
    Branch(BTreeMap<String, Names>),
    /// Fields whose names are known at run time only.
    Open,
}

/// A name that is not in the tree.
#[derive(Debug)]
pub(crate) struct Unknown {
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl Names {
    pub(crate) fn branch<'a>(fields: impl IntoIterator<Item = (&'a str, Self)>) -> Self {
        Self::Branch(fields.into_iter().map(|(name, names)| (name.to_owned(), names)).collect())
    }

    /// Adds a name to a branch.
    pub(crate) fn add(&mut self, name: &str, names: Self) {
        if let Self::Branch(fields) = self {
            fields.insert(name.to_owned(), names);
        }
    }

    /// The type of a field.
    pub(crate) fn kind(&self, path: &[String]) -> Result<Kind, Unknown> {
        let mut at = self;
        for (depth, name) in path.iter().enumerate() {
            at = match at {
                Self::Open => return Ok(Kind::Any),
                Self::Leaf(_) => {
                    let message = format!("`{}` has no fields", path[..depth].join("."));
                    return Err(Unknown { message, hint: None });
                }
                Self::Branch(fields) => fields.get(name).ok_or_else(|| Unknown {
                    message: format!("unknown field `{}`", path[..=depth].join(".")),
                    hint: nearest(name, fields.keys().map(String::as_str)),
                })?,
            };
        }
        match at {
            Self::Leaf(kind) => Ok(*kind),
            Self::Open => Ok(Kind::Any),
            Self::Branch(fields) => Err(Unknown {
                message: format!("`{}` is a group of fields", path.join(".")),
                hint: fields
                    .keys()
                    .next()
                    .map(|first| format!("name one of them, such as `{}.{first}`", path.join("."))),
            }),
        }
    }
}

/// Kinds of entities an alert can name. The program's tests hold them equal to those of the detections.
pub const ENTITY_KINDS: [&str; 33] = [
    "user",
    "target_user",
    "group",
    "account",
    "session",
    "application",
    "host",
    "src_host",
    "dst_host",
    "device",
    "ip",
    "src_ip",
    "dst_ip",
    "mac",
    "port",
    "domain",
    "url",
    "user_agent",
    "country",
    "email",
    "sender",
    "recipient",
    "subject",
    "message_id",
    "hash",
    "file",
    "process",
    "process_id",
    "command_line",
    "registry_key",
    "service",
    "container",
    "resource",
];

fn leaves(fields: &[(&str, Kind)]) -> Names {
    Names::branch(fields.iter().map(|(name, kind)| (*name, Names::Leaf(*kind))))
}

/// The names that `when` can use: a playbook is chosen by its alert alone.
pub(crate) fn of_alert() -> Names {
    match facts() {
        Names::Branch(mut fields) => {
            fields.retain(|name, _| name == "alert");
            Names::Branch(fields)
        }
        other => other,
    }
}

/// The names of the facts that every playbook and responder can use: `alert`, `case`, `run` and `playbook`.
pub(crate) fn facts() -> Names {
    use Kind::{Number, Severity, Text, Texts};
    let mut alert = leaves(&[
        ("uid", Text),
        ("detection", Text),
        ("title", Text),
        ("message", Text),
        ("severity", Severity),
        ("severity_id", Number),
        ("confidence", Number),
        ("risk_score", Number),
        ("time", Text),
        ("count", Number),
        ("attack", Texts),
        ("runbook", Text),
    ]);
    alert.add("entities", Names::branch(ENTITY_KINDS.iter().map(|kind| (*kind, Names::Leaf(Text)))));
    alert.add("evidence", Names::Open);
    Names::branch([
        ("alert", alert),
        ("case", leaves(&[("id", Text), ("status", Text), ("title", Text), ("assignee", Text), ("verdict", Text)])),
        ("run", leaves(&[("id", Text), ("mode", Text), ("action_id", Text)])),
        ("playbook", leaves(&[("id", Text), ("name", Text)])),
        ("ticket", leaves(&[("id", Text)])),
    ])
}

/// The value a path names; `None` where there is none.
pub(crate) fn get<'a>(scope: &'a Value, path: &[String]) -> Option<&'a Value> {
    let mut at = scope;
    for name in path {
        at = match at {
            Value::Object(fields) => fields.get(name)?,
            Value::Array(items) => items.get(name.parse::<usize>().ok()?)?,
            _ => return None,
        };
    }
    (!at.is_null()).then_some(at)
}
