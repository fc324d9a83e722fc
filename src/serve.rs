//! Our own HTTP while the pipeline runs: whether it lives, whether it is ready, and what it has counted.

mod metrics;

use std::net::SocketAddr;

use anyhow::Context as _;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use weir_engine::EventTime;

use crate::pump::Progress;
use crate::run::EditCounts;
use metrics::exposition;

/// What is told of the process.
#[derive(Clone)]
struct Told {
    progress: watch::Receiver<Progress>,
    edits: watch::Receiver<EditCounts>,
}

/// Serves until the handle is aborted or dropped with the runtime.
pub(crate) async fn start(
    listen: SocketAddr,
    progress: watch::Receiver<Progress>,
    edits: watch::Receiver<EditCounts>,
) -> anyhow::Result<JoinHandle<()>> {
    let listener =
        TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen} ([http] listen)"))?;
    let routes = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readiness))
        .route("/metrics", get(metrics))
        .with_state(Told { progress, edits });
    tracing::info!(%listen, "serving /healthz, /readyz and /metrics");
    Ok(tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, routes).await {
            tracing::error!(%error, "the HTTP server has ended; the pipeline goes on");
        }
    }))
}

/// Whether events are read: not while the state cannot be written.
async fn readiness(State(told): State<Told>) -> (StatusCode, String) {
    match &told.progress.borrow().waiting {
        None => (StatusCode::OK, "ready\n".to_owned()),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}

async fn metrics(State(told): State<Told>) -> impl IntoResponse {
    let now = EventTime(chrono::Utc::now().timestamp_micros());
    let text = exposition(&told.progress.borrow(), *told.edits.borrow(), now);
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_waits_for_its_state_is_not_ready_and_says_why() {
        let progress = watch::Sender::new(Progress::default());
        let (_edits, edits) = watch::channel(EditCounts::default());
        let told = Told { progress: progress.subscribe(), edits };
        assert_eq!(readiness(State(told.clone())).await.0, StatusCode::OK);
        progress.send_modify(|progress| progress.waiting = Some("the state cannot be written: full".to_owned()));
        let answer = readiness(State(told)).await;
        assert_eq!(answer, (StatusCode::SERVICE_UNAVAILABLE, "the state cannot be written: full\n".to_owned()));
    }
}
