//! Tokens for SASL/OAUTHBEARER: the client-credentials grant of OAuth 2.0 (RFC 6749, section 4.4).
//!
//! librdkafka can do this only when it is built with curl; Weir has an HTTP client already.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rdkafka::client::OAuthToken;

use super::settings::KafkaSettings;

/// Where tokens come from, and as whom.
#[derive(Clone)]
pub(super) struct Oauth {
    endpoint: String,
    client_id: String,
    client_secret: String,
    scope: Option<String>,
}

/// A token that could not be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum OauthError {
    #[error("the token endpoint cannot be reached")]
    Http(#[from] reqwest::Error),
    #[error("the token endpoint cannot be asked")]
    Runtime(#[from] std::io::Error),
    #[error("the token endpoint answered {status}")]
    Refused { status: reqwest::StatusCode },
}

#[derive(serde::Deserialize)]
struct Answer {
    access_token: String,
    #[serde(default = "an_hour")]
    expires_in: i64,
}

fn an_hour() -> i64 {
    3600
}

/// Settings that Weir acts on itself and librdkafka must not see.
pub(super) const OAUTH_PREFIX: &str = "sasl.oauthbearer.";

impl Oauth {
    /// The token source that settings name, if they do.
    pub(super) fn of(settings: &KafkaSettings) -> Option<Self> {
        let get = |key: &str| settings.get(&format!("{OAUTH_PREFIX}{key}")).map(str::to_owned);
        Some(Self {
            endpoint: get("token.endpoint.url")?,
            client_id: get("client.id")?,
            client_secret: get("client.secret")?,
            scope: get("scope"),
        })
    }

    /// Asks for a token. Blocks; librdkafka calls it in good time before the last token expires.
    pub(super) fn token(&self) -> Result<OAuthToken, OauthError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let answer = runtime.block_on(self.ask())?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let lifetime_ms = now.as_millis() as i64 + answer.expires_in.max(1) * 1000;
        Ok(OAuthToken { token: answer.access_token, principal_name: self.client_id.clone(), lifetime_ms })
    }

    async fn ask(&self) -> Result<Answer, OauthError> {
        let client = reqwest::Client::builder().timeout(Duration::from_secs(10)).build()?;
        let mut form = vec![("grant_type", "client_credentials")];
        form.extend(self.scope.as_deref().map(|scope| ("scope", scope)));
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let answer = client
            .post(&self.endpoint)
            .basic_auth(&self.client_id, Some(&self.client_secret))
            .header(reqwest::header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(body)
            .send()
            .await?;
        if !answer.status().is_success() {
            return Err(OauthError::Refused { status: answer.status() });
        }
        Ok(answer.json().await?)
    }
}
