//! HTTP as plain data: requests that are ready to be sent, and what came of them. Nothing here opens a socket.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The methods a responder may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// Reads.
    Get,
    /// Makes.
    Post,
    /// Replaces.
    Put,
    /// Changes.
    Patch,
    /// Removes.
    Delete,
}

impl Method {
    /// All, with the key that stands for them in a responder file.
    pub const ALL: [(&'static str, Self); 5] = [
        ("get", Self::Get),
        ("post", Self::Post),
        ("put", Self::Put),
        ("patch", Self::Patch),
        ("delete", Self::Delete),
    ];

    /// Its name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// How a request proves who sends it. Secrets are names; whoever sends the request looks them up.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Auth {
    /// Not at all.
    #[default]
    None,
    /// `Authorization: Bearer ...`.
    Bearer(String),
    /// `Authorization: Basic ...`.
    Basic {
        /// Name of the setting with the user.
        user: String,
        /// Name of the secret.
        password: String,
    },
    /// A header of the vendor's own.
    Header {
        /// The header.
        name: String,
        /// Text before the secret.
        prefix: String,
        /// Name of the secret.
        secret: String,
    },
}

/// A request that is ready but for its secret.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HttpRequest {
    /// The responder it belongs to.
    pub responder: String,
    /// Method.
    pub method: Method,
    /// Absolute URL.
    pub url: String,
    /// Headers apart from authentication.
    pub headers: Vec<(String, String)>,
    /// JSON body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Value>,
    /// Authentication.
    #[serde(default)]
    pub auth: Auth,
    /// Limit for the whole exchange.
    pub timeout_ms: u64,
}

impl fmt::Display for HttpRequest {
    /// One line, for people: method, URL and body.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method.as_str(), self.url)?;
        self.body.as_ref().map_or(Ok(()), |body| write!(f, " {body}"))
    }
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HttpResponse {
    /// Status.
    pub status: u16,
    /// `Retry-After`, where the answer has one.
    #[serde(default)]
    pub retry_after_ms: Option<u64>,
    /// The body as JSON; text where it is none.
    pub body: Value,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct HttpFailure {
    /// For people.
    pub message: String,
    /// Whether trying again may help.
    pub retriable: bool,
    /// Whether the request may have reached the other side.
    pub may_have_left: bool,
    /// Nothing was tried, because the responder is left alone for this long.
    #[serde(default)]
    pub left_alone_ms: Option<u64>,
}
