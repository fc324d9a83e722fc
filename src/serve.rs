//! Our own HTTP while the pipeline runs: whether it lives, whether it is ready, and what it has counted.

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

use crate::pump::Progress;
use crate::run::EditCounts;

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
    let text = exposition(&told.progress.borrow(), *told.edits.borrow());
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], text)
}

/// The Prometheus text format.
fn exposition(progress: &Progress, edits: EditCounts) -> String {
    let mut text = String::new();
    let mut line = |line: std::fmt::Arguments<'_>| text.push_str(&format!("{line}\n"));
    line(format_args!(
        "# HELP weir_epoch The last committed epoch.\n# TYPE weir_epoch gauge\nweir_epoch {}",
        progress.epoch
    ));
    line(format_args!(
        "# HELP weir_records_total What became of the records of each stream.\n# TYPE weir_records_total counter"
    ));
    for (stream, ledger) in &progress.ledger {
        let outcomes = [("on_time", ledger.on_time), ("late", ledger.late), ("rejected", ledger.rejected)];
        for (outcome, count) in outcomes {
            line(format_args!("weir_records_total{{stream=\"{stream}\",outcome=\"{outcome}\"}} {count}"));
        }
    }
    line(format_args!(
        "# HELP weir_misfits_total Values that do not fit the type of their column: NULL there, kept in unmapped.\n\
         # TYPE weir_misfits_total counter"
    ));
    for (stream, columns) in &progress.nulled.misfits {
        for (column, count) in columns {
            let column = column.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            line(format_args!("weir_misfits_total{{stream=\"{stream}\",column=\"{column}\"}} {count}"));
        }
    }
    line(format_args!(
        "# HELP weir_failures_total Values that could not be computed and are NULL, such as a division by zero.\n\
         # TYPE weir_failures_total counter\nweir_failures_total {}",
        progress.nulled.failures
    ));
    line(format_args!(
        "# HELP weir_edits_total Edits of the project while it ran: those that run, and those that were refused.\n\
         # TYPE weir_edits_total counter\nweir_edits_total{{outcome=\"taken\"}} {}\n\
         weir_edits_total{{outcome=\"refused\"}} {}",
        edits.taken, edits.refused
    ));
    text
}

#[cfg(test)]
mod tests {
    use weir_connectors::state::{Ledger, Nulled};

    use super::*;

    #[test]
    fn metrics_account_for_every_record() {
        let ledger = Ledger { records: 7, on_time: 4, late: 2, rejected: 1 };
        let misfits = [("proxy".to_owned(), [("a \"b\"".to_owned(), 5)].into())].into();
        let nulled = Nulled { misfits, failures: 6 };
        let progress = Progress { epoch: 3, ledger: [("proxy".to_owned(), ledger)].into(), nulled };
        let text = exposition(&progress, EditCounts { taken: 8, refused: 9 });
        assert!(text.contains("weir_epoch 3\n"));
        assert!(text.contains("weir_records_total{stream=\"proxy\",outcome=\"late\"} 2\n"), "{text}");
        assert!(text.contains("weir_misfits_total{stream=\"proxy\",column=\"a \\\"b\\\"\"} 5\n"), "{text}");
        assert!(text.contains("weir_failures_total 6\n"), "{text}");
        assert!(text.contains("weir_edits_total{outcome=\"taken\"} 8\n"), "{text}");
        assert!(text.contains("weir_edits_total{outcome=\"refused\"} 9\n"), "{text}");
    }
}
