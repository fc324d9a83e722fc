//! A responder: how an OpenC2 command, a ticket or a message becomes HTTP calls of one vendor.
//!
//! ```yaml
//! id: generic_edr
//! base_url: ${EDR_URL}
//! auth: { bearer: EDR_TOKEN }
//! operations:
//!   - does: contain device
//!     lookup:
//!       - get: /devices?hostname=${target.hostname}
//!         take: { device_id: /devices/0/id }
//!     post: /devices/${found.device_id}/isolation
//!     body: { comment: "${args.comment}" }
//!     external_id: /action_id
//!     verify: { get: "/devices/${found.device_id}", expect: { /isolated: true } }
//! ```
//!
//! Structure is the author's: values are put into path segments and query values percent-encoded, into JSON as leaves,
//! and into headers only without control characters.

use std::time::Duration;

use url::Url;

use crate::body::Body;
use crate::http::{Auth, Method};
use crate::playbook::Operation;
use crate::problem::{Problem, Span, codes};
use crate::template::Template;

mod answer;
mod read;
mod render;

pub use self::answer::Answer;
#[cfg(test)]
pub(crate) use self::read::{AUTH_KEYS, LOOKUP_KEYS, OPERATION_KEYS, RESPONDER_KEYS, VERIFY_KEYS};

/// One responder.
#[derive(Debug, Clone, PartialEq)]
pub struct Responder {
    /// Its name in playbooks.
    pub id: String,
    /// One line for people.
    pub name: String,
    /// What it stands for and what to set.
    pub description: String,
    /// As written, with `${NAME}` for settings.
    pub base_url: String,
    /// Where the base URL stands in the file.
    pub base_url_span: Span,
    /// The base URL after [`resolve`](Self::resolve).
    pub base: Option<Url>,
    /// Whether secrets may be sent without TLS to other machines.
    pub allow_http: bool,
    /// How requests prove who sends them.
    pub auth: Auth,
    /// Headers of every request.
    pub headers: Vec<(String, Template)>,
    /// The header that carries the idempotency key.
    pub idempotency_header: Option<String>,
    /// Limit for one exchange.
    pub timeout: Duration,
    /// What it can do.
    pub operations: Vec<Described>,
}

/// What is known of a responder file that has mistakes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unread {
    /// The responder's name.
    pub id: Option<String>,
    /// What it can do; `None` where some of that cannot be read.
    pub does: Option<Vec<Operation>>,
    /// Every mistake in the text, each with its place.
    pub problems: Vec<Problem>,
}

/// How one operation is carried out.
#[derive(Debug, Clone, PartialEq)]
pub struct Described {
    /// The operation.
    pub does: Operation,
    /// Asked before something is made: what it finds is used instead.
    pub search: Option<Lookup>,
    /// Asked first, for values the vendor needs.
    pub lookups: Vec<Lookup>,
    /// The call itself.
    pub call: Call,
    /// Statuses that mean done; empty means every 2xx.
    pub success: Vec<u16>,
    /// Where the answer names what was made.
    pub external_id: Option<String>,
    /// Values of the answer to keep, by name and JSON pointer.
    pub take: Vec<(String, String)>,
    /// Proof that the command took effect.
    pub verify: Option<Verify>,
    /// How it is taken back.
    pub undo: UndoRule,
}

/// How an operation is taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UndoRule {
    /// By the inverse command, which the same file describes.
    Inverse,
    /// By `cancel command`, which the same file describes.
    Cancel,
    /// Not at all, and why.
    None(String),
}

/// One HTTP call to be filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// Method.
    pub method: Method,
    /// Path segments below the base URL.
    pub segments: Vec<Template>,
    /// Query parameters.
    pub query: Vec<(String, Template)>,
    /// Headers of this call.
    pub headers: Vec<(String, Template)>,
    /// JSON body.
    pub body: Option<Body>,
}

/// A call for values that the operation needs.
#[derive(Debug, Clone, PartialEq)]
pub struct Lookup {
    /// The call.
    pub call: Call,
    /// What to keep, by name and JSON pointer; later templates say `${found.NAME}`.
    pub take: Vec<(String, String)>,
}

/// A call that proves the state.
#[derive(Debug, Clone, PartialEq)]
pub struct Verify {
    /// The call.
    pub call: Call,
    /// JSON pointers and the values that must stand there.
    pub expect: Vec<(String, Body)>,
    /// How often it is asked.
    pub attempts: u32,
    /// How long to wait between.
    pub every: Duration,
}

impl Unread {
    /// Whether it can do an operation; `None` where that cannot be told.
    #[must_use]
    pub fn can(&self, operation: &Operation) -> Option<bool> {
        let does = self.does.as_ref()?;
        Some(does.contains(operation) || operation.without_property().is_some_and(|whole| does.contains(&whole)))
    }
}

impl Responder {
    /// Reads a responder file.
    ///
    /// Errors: every mistake in the text, and what is known all the same.
    pub fn parse(text: &str) -> Result<Self, Unread> {
        read::responder(text)
    }

    /// Whether it describes an operation.
    #[must_use]
    pub fn can(&self, operation: &Operation) -> bool {
        self.described(operation).is_some()
    }

    /// How it carries an operation out. A description of `set account` serves for everything that can be set.
    #[must_use]
    pub fn described(&self, operation: &Operation) -> Option<&Described> {
        let find = |wanted: &Operation| self.operations.iter().find(|described| described.does == *wanted);
        find(operation).or_else(|| find(&operation.without_property()?))
    }

    /// Puts another base URL in the place of the file's own.
    pub fn set_base_url(&mut self, base_url: impl Into<String>) {
        self.base_url = base_url.into();
        self.base = None;
    }

    /// Fills the settings into the base URL.
    ///
    /// Errors: a setting is missing, or the result is no base URL.
    pub fn resolve(&mut self, setting: &dyn Fn(&str) -> Option<String>) -> Result<(), Problem> {
        let problem = |message: String| Problem::new(codes::BAD_BASE_URL, self.base_url_span, message);
        let mut text = String::new();
        let mut rest = self.base_url.as_str();
        while let Some((before, behind)) = rest.split_once("${") {
            let (name, after) = behind.split_once('}').ok_or_else(|| problem("`${` without `}`".to_owned()))?;
            let value = setting(name).ok_or_else(|| {
                problem(format!("the setting `{name}` is missing"))
                    .hint(format!("set `{name}` in the environment or in weir.toml"))
            })?;
            text.push_str(before);
            text.push_str(&value);
            rest = after;
        }
        text.push_str(rest);
        self.base = Some(self.checked(&text).map_err(|why| problem(format!("`{text}` is no base URL: {why}")))?);
        Ok(())
    }

    fn checked(&self, text: &str) -> Result<Url, String> {
        let url = Url::parse(text).map_err(|error| error.to_string())?;
        let is_local = match url.host() {
            Some(url::Host::Domain(name)) => name == "localhost",
            Some(url::Host::Ipv4(address)) => address.is_loopback(),
            Some(url::Host::Ipv6(address)) => address.is_loopback(),
            None => return Err("it has no host".to_owned()),
        };
        if !matches!(url.scheme(), "http" | "https") {
            return Err("only http and https are spoken".to_owned());
        }
        if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
            return Err("it has no user, query or fragment".to_owned());
        }
        if url.scheme() == "http" && !is_local && self.auth != Auth::None && !self.allow_http {
            return Err("a secret would be sent without TLS; use https or write `allow_http: true`".to_owned());
        }
        Ok(url)
    }
}

#[cfg(test)]
mod tests;
