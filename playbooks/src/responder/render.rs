//! From a described call and facts to a request. A value can fill its place and nothing else: the number of path
//! segments, the names of query parameters, headers and JSON keys are those of the file, for every value.

use serde_json::Value;
use url::Url;

use crate::http::HttpRequest;
use crate::template::{RenderError, Template};

use super::{Call, Responder};

/// Longest URL that is sent.
const URL_BYTES_MAX: usize = 8_000;

impl Responder {
    /// The request for a call. Only a call that changes something (`keyed`) carries the idempotency key: a vendor would
    /// answer the change with the remembered answer of a look-up.
    ///
    /// Errors: a value is absent, or would change the structure of the request.
    pub fn render(&self, call: &Call, scope: &Value, keyed: bool) -> Result<HttpRequest, RenderError> {
        let mut headers = Vec::new();
        for (name, template) in self.headers.iter().chain(&call.headers) {
            headers.push((name.clone(), header(name, template, scope)?));
        }
        if keyed
            && let (Some(name), Some(key)) =
                (&self.idempotency_header, scope.pointer("/run/action_id").and_then(Value::as_str))
        {
            headers.push((name.clone(), key.to_owned()));
        }
        Ok(HttpRequest {
            responder: self.id.clone(),
            method: call.method,
            url: self.url(call, scope)?,
            headers,
            body: call.body.as_ref().map(|body| body.render(scope)).transpose()?,
            auth: self.auth.clone(),
            timeout_ms: self.timeout.as_millis() as u64,
        })
    }

    /// Stands for the base URL in a dry run where its setting is missing; no such host exists (RFC 2606).
    fn unresolved(&self) -> String {
        let host = format!("https://{}.invalid", self.id.replace('_', "-"));
        let path = self.base_url.split_once('}').map_or("", |(_, path)| path.trim_end_matches('/'));
        if path.contains("${") { host } else { host + path }
    }

    fn url(&self, call: &Call, scope: &Value) -> Result<String, RenderError> {
        let base =
            self.base.as_ref().map_or_else(|| self.unresolved(), |base| base.as_str().trim_end_matches('/').to_owned());
        let mut url = base.clone();
        for segment in &call.segments {
            url.push('/');
            url.push_str(&encode(&self::segment(segment, scope)?));
        }
        let mut separator = '?';
        for (name, template) in &call.query {
            // A parameter whose lone value is absent is left out, as in bodies.
            let value = match template.text(scope) {
                Err(RenderError::Missing(_)) if template.only_field().is_some() => continue,
                other => other?,
            };
            url.push(separator);
            url.push_str(&encode(name));
            url.push('=');
            url.push_str(&encode(&value));
            separator = '&';
        }
        check(&base, &url, call.segments.len())?;
        Ok(url)
    }
}

fn segment(template: &Template, scope: &Value) -> Result<String, RenderError> {
    let text = template.text(scope)?;
    // URL parsers resolve `.` and `..` even when they are percent-encoded.
    if matches!(text.as_str(), "." | "..") || text.is_empty() {
        return Err(RenderError::Structure(format!("{text:?} cannot be a part of a path")));
    }
    if text.chars().any(char::is_control) {
        return Err(RenderError::Structure("a part of a path holds control characters".to_owned()));
    }
    Ok(text)
}

fn header(name: &str, template: &Template, scope: &Value) -> Result<String, RenderError> {
    let text = template.text(scope)?;
    if text.chars().all(|c| c == ' ' || c.is_ascii_graphic()) && text.len() <= 1_000 {
        Ok(text)
    } else {
        Err(RenderError::Structure(format!(
            "the value of header `{name}` is too long or holds characters a header cannot carry"
        )))
    }
}

/// Percent-encodes all but unreserved characters (RFC 3986, section 2.3).
fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// A second look with another pair of eyes: the URL as its parser reads it still has the author's structure.
fn check(base: &str, url: &str, segments: usize) -> Result<(), RenderError> {
    let structure = |what: &str| RenderError::Structure(format!("a value changes the {what} of the URL"));
    if url.len() > URL_BYTES_MAX {
        return Err(RenderError::Structure("the URL is too long".to_owned()));
    }
    let parse = |text: &str| Url::parse(text).map_err(|error| RenderError::Structure(error.to_string()));
    let (base, url) = (parse(base)?, parse(url)?);
    let count = |url: &Url| url.path_segments().map_or(0, |parts| parts.filter(|part| !part.is_empty()).count());
    if base.origin() != url.origin() || !url.username().is_empty() || url.password().is_some() {
        Err(structure("host"))
    } else if count(&url) != count(&base) + segments {
        Err(structure("path"))
    } else {
        Ok(())
    }
}
