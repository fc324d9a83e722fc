//! What an answer means: done, worth another try, or failed.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::http::{HttpFailure, HttpResponse};
use crate::template::RenderError;

use super::{Described, Lookup, Verify};

/// The meaning of an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// It is done.
    Done {
        /// What was made, as the vendor calls it.
        external_id: Option<String>,
        /// Values to keep.
        values: Map<String, Value>,
    },
    /// Another try may help.
    Retry {
        /// The vendor asks for this wait.
        after: Option<Duration>,
        /// For people.
        why: String,
    },
    /// Another try will not help.
    Failed {
        /// For people.
        why: String,
    },
}

/// Longest piece of an answer that is quoted in a message.
const QUOTE_CHARS_MAX: usize = 200;

impl Answer {
    pub(crate) fn of_failure(failure: &HttpFailure) -> Self {
        if failure.retriable {
            Self::Retry { after: None, why: failure.message.clone() }
        } else {
            Self::Failed { why: failure.message.clone() }
        }
    }

    fn of_status(response: &HttpResponse, success: &[u16]) -> Option<Self> {
        let status = response.status;
        let is_done = if success.is_empty() { (200..300).contains(&status) } else { success.contains(&status) };
        if is_done {
            return None;
        }
        let why = format!("answered {status}: {}", quote(&response.body));
        // 408 Request Timeout, 425 Too Early, 429 Too Many Requests, and the server's own trouble.
        Some(if matches!(status, 408 | 425 | 429 | 500..=599) {
            Self::Retry { after: response.retry_after_ms.map(Duration::from_millis), why }
        } else {
            Self::Failed { why }
        })
    }
}

impl Described {
    /// What the answer to the call means.
    #[must_use]
    pub fn judge(&self, response: &HttpResponse) -> Answer {
        if let Some(answer) = Answer::of_status(response, &self.success) {
            return answer;
        }
        let external_id = match &self.external_id {
            None => None,
            Some(pointer) => match response.body.pointer(pointer).and_then(scalar) {
                Some(id) => Some(id),
                None => {
                    return Answer::Failed { why: format!("the answer has no `{pointer}`: {}", quote(&response.body)) };
                }
            },
        };
        Answer::Done { external_id, values: take(&self.take, &response.body) }
    }
}

impl Lookup {
    /// What the answer to a look-up means. A value that is not there is a failure: acting without it would be guessing.
    #[must_use]
    pub fn judge(&self, response: &HttpResponse) -> Answer {
        if let Some(answer) = Answer::of_status(response, &[]) {
            return answer;
        }
        let values = take(&self.take, &response.body);
        match self.take.iter().find(|(name, _)| !values.contains_key(name)) {
            Some((name, pointer)) => Answer::Failed { why: format!("`{name}` was not found at `{pointer}`") },
            None => Answer::Done { external_id: None, values },
        }
    }

    /// What a search found; `None` where it found nothing.
    #[must_use]
    pub fn found(&self, response: &HttpResponse) -> Option<Map<String, Value>> {
        let values = take(&self.take, &response.body);
        (!values.is_empty()).then_some(values)
    }
}

impl Verify {
    /// Whether the answer proves the state; `Err` says what stands there instead.
    pub(crate) fn proves(&self, response: &HttpResponse, scope: &Value) -> Result<Result<(), String>, RenderError> {
        if !(200..300).contains(&response.status) {
            return Ok(Err(format!("answered {}: {}", response.status, quote(&response.body))));
        }
        for (pointer, body) in &self.expect {
            let wanted = body.render(scope)?;
            let found = response.body.pointer(pointer).unwrap_or(&Value::Null);
            if *found != wanted && scalar(found) != scalar(&wanted) {
                return Ok(Err(format!("`{pointer}` is {} and not {}", quote(found), quote(&wanted))));
            }
        }
        Ok(Ok(()))
    }
}

fn take(pointers: &[(String, String)], body: &Value) -> Map<String, Value> {
    let found = |pointer: &String| body.pointer(pointer).filter(|value| !value.is_null()).cloned();
    pointers.iter().filter_map(|(name, pointer)| Some((name.clone(), found(pointer)?))).collect()
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        _ => None,
    }
}

fn quote(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let cut: String = text.chars().filter(|c| !c.is_control()).take(QUOTE_CHARS_MAX).collect();
    if cut.len() < text.len() { format!("{cut}…") } else { cut }
}
