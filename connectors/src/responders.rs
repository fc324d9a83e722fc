//! HTTP to responders: sends what the playbooks' room has rendered, and says what came of it.
//!
//! Nothing is decided here: not what a status means, nor whether to try again. Limits hold for every exchange: time,
//! size of the answer, exchanges at once per responder; and a responder that fails again and again is left alone for a
//! while, so that its runs wait without holding a connection.

use std::collections::HashMap;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response};
use serde_json::Value;
use tokio::sync::Semaphore;
use weir_playbooks::http::{Auth, HttpFailure, HttpRequest, HttpResponse, Method};

mod breaker;

use self::breaker::Breaker;

/// Largest answer that is read.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Redirects that are followed within one host.
const REDIRECTS_MAX: usize = 3;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Where secrets come from: the value of a name for a responder.
pub type Secrets = Arc<dyn Fn(&str, &str) -> Option<String> + Send + Sync>;

/// Sends requests.
#[derive(Clone)]
pub struct HttpSender {
    client: Client,
    secrets: Secrets,
    at_once_max: usize,
    lines: Arc<Mutex<HashMap<String, Line>>>,
}

/// What is known about the way to one responder.
#[derive(Clone)]
struct Line {
    slots: Arc<Semaphore>,
    breaker: Arc<Mutex<Breaker>>,
}

/// Why there is no sender.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up HTTP")]
pub struct SetupError(#[source] reqwest::Error);

impl HttpSender {
    /// A sender with a limit of exchanges with one responder at once. TLS is rustls with Mozilla's roots.
    ///
    /// Errors: TLS cannot be set up.
    pub fn new(secrets: Secrets, at_once_max: usize) -> Result<Self, SetupError> {
        let client = Client::builder()
            .user_agent(concat!("weir/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(Policy::custom(|attempt| {
                let same = attempt.previous().first().is_some_and(|first| first.origin() == attempt.url().origin());
                // A secret or a command never follows a redirect to another host.
                if same && attempt.previous().len() <= REDIRECTS_MAX { attempt.follow() } else { attempt.stop() }
            }))
            .build()
            .map_err(SetupError)?;
        Ok(Self { client, secrets, at_once_max: at_once_max.max(1), lines: Arc::default() })
    }

    /// Sends a request and reads the answer.
    ///
    /// Errors: there is no answer; the failure says whether the request may have left.
    pub async fn send(&self, request: &HttpRequest) -> Result<HttpResponse, HttpFailure> {
        let line = self.line(&request.responder);
        let limit = Duration::from_millis(request.timeout_ms);
        let started = Instant::now();
        if let Err(wait) = lock(&line.breaker).admit(started) {
            let message =
                format!("{} failed too often; it is tried again in {} s", request.responder, wait.as_secs() + 1);
            // Up to the next millisecond, or a run would come back too early and be sent away again.
            let left_alone_ms = Some(wait.as_millis() as u64 + 1);
            return Err(HttpFailure { message, retriable: true, may_have_left: false, left_alone_ms });
        }
        let result = match tokio::time::timeout(limit, line.slots.acquire()).await {
            Err(_) | Ok(Err(_)) => {
                let message = format!("{} answers none of {} requests that wait", request.responder, self.at_once_max);
                return Err(HttpFailure { message, retriable: true, may_have_left: false, left_alone_ms: None });
            }
            Ok(Ok(_slot)) => self.exchange(request, limit.saturating_sub(started.elapsed())).await,
        };
        let is_well = match &result {
            Ok(response) => response.status < 500,
            Err(failure) => !failure.retriable,
        };
        lock(&line.breaker).observe(is_well, Instant::now());
        result
    }

    fn line(&self, responder: &str) -> Line {
        let new = || Line { slots: Arc::new(Semaphore::new(self.at_once_max)), breaker: Arc::default() };
        lock(&self.lines).entry(responder.to_owned()).or_insert_with(new).clone()
    }

    async fn exchange(&self, request: &HttpRequest, left: Duration) -> Result<HttpResponse, HttpFailure> {
        let builder = self.build(request)?.timeout(left);
        let response = builder.send().await.map_err(|error| failure(error, request.timeout_ms))?;
        let status = response.status().as_u16();
        let retry_after_ms = retry_after(response.headers());
        let body = read(response, request.timeout_ms).await?;
        Ok(HttpResponse { status, retry_after_ms, body })
    }

    fn build(&self, request: &HttpRequest) -> Result<RequestBuilder, HttpFailure> {
        let method = match request.method {
            Method::Get => reqwest::Method::GET,
            Method::Post => reqwest::Method::POST,
            Method::Put => reqwest::Method::PUT,
            Method::Patch => reqwest::Method::PATCH,
            Method::Delete => reqwest::Method::DELETE,
        };
        let mut builder = self.client.request(method, &request.url);
        for (name, value) in &request.headers {
            builder = builder.header(header_name(name)?, header_value(name, value)?);
        }
        if let Some(body) = &request.body {
            builder = builder.json(body);
        }
        self.authenticate(builder, request)
    }

    fn authenticate(&self, builder: RequestBuilder, request: &HttpRequest) -> Result<RequestBuilder, HttpFailure> {
        let secret = |name: &str| {
            (self.secrets)(&request.responder, name)
                .ok_or_else(|| refused(format!("the secret `{name}` of responder {} is not set", request.responder)))
        };
        Ok(match &request.auth {
            Auth::None => builder,
            Auth::Bearer(name) => builder.bearer_auth(secret(name)?),
            Auth::Basic { user, password } => builder.basic_auth(secret(user)?, Some(secret(password)?)),
            Auth::Header { name, prefix, secret: of } => {
                let mut value = header_value(name, &format!("{prefix}{}", secret(of)?))?;
                value.set_sensitive(true);
                builder.header(header_name(name)?, value)
            }
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // A panic while holding these locks leaves counters at worst one off.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn refused(message: String) -> HttpFailure {
    HttpFailure { message, retriable: false, may_have_left: false, left_alone_ms: None }
}

fn header_name(name: &str) -> Result<HeaderName, HttpFailure> {
    HeaderName::from_bytes(name.as_bytes()).map_err(|error| refused(format!("`{name}` is no header: {error}")))
}

fn header_value(name: &str, value: &str) -> Result<HeaderValue, HttpFailure> {
    // The value may be a secret and is not quoted.
    HeaderValue::from_str(value)
        .map_err(|error| refused(format!("the value of header `{name}` cannot be sent: {error}")))
}

/// Reads a body up to the limit: JSON where it is JSON, else text.
async fn read(mut response: Response, limit_ms: u64) -> Result<Value, HttpFailure> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| failure(error, limit_ms))? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > ANSWER_BYTES_MAX {
            let message = format!("the answer is larger than {ANSWER_BYTES_MAX} bytes");
            return Err(HttpFailure { message, retriable: false, may_have_left: true, left_alone_ms: None });
        }
    }
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    Ok(serde_json::from_slice(&bytes).unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned())))
}

fn failure(error: reqwest::Error, limit_ms: u64) -> HttpFailure {
    // The address is in the journal beside this message; the error's own copy is left out, and so are headers.
    let error = error.without_url();
    let (message, retriable) = if error.is_timeout() {
        (format!("no answer within {limit_ms} ms"), true)
    } else if error.is_builder() {
        (format!("the request cannot be sent: {}", chain(&error)), false)
    } else if error.is_connect() {
        (format!("cannot connect: {}", chain(&error)), true)
    } else {
        (format!("the exchange broke off: {}", chain(&error)), true)
    };
    let may_have_left = !error.is_connect() && !error.is_builder();
    HttpFailure { message, retriable, may_have_left, left_alone_ms: None }
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

/// `Retry-After` in seconds or as a date (RFC 9110, section 10.2.3).
fn retry_after(headers: &HeaderMap) -> Option<u64> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(seconds.saturating_mul(1_000));
    }
    let date = chrono::DateTime::parse_from_rfc2822(text).ok()?;
    let wait = date.signed_duration_since(chrono::Utc::now()).num_milliseconds();
    Some(wait.max(0) as u64)
}

#[cfg(test)]
mod tests;
