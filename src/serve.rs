//! Our own HTTP while the pipeline runs: whether it lives, whether it is ready, and what it has counted.

mod metrics;

use std::net::SocketAddr;

use anyhow::Context as _;
use axum::Router;
use axum::extract::State;
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
        .route("/readyz", get(|| async { "ready\n" }))
        .route("/metrics", get(metrics))
        .with_state(Told { progress, edits });
    tracing::info!(%listen, "serving /healthz, /readyz and /metrics");
    Ok(tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, routes).await {
            tracing::error!(%error, "the HTTP server has ended; the pipeline goes on");
        }
    }))
}

async fn metrics(State(told): State<Told>) -> impl IntoResponse {
    let now = EventTime(chrono::Utc::now().timestamp_micros());
    let text = exposition(&told.progress.borrow(), *told.edits.borrow(), now);
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], text)
}
