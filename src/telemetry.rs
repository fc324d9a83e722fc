//! Logs of the program itself, on standard error.
//!
//! `error` means that someone must act now, `warn` that someone should look today, `info` tells the life of the
//! process. The content of an event is never logged at `info` or above.

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// The variable whose value, a filter such as `weir=debug,rdkafka=info`, overrides `-v` and `-q`.
const FILTER_VARIABLE: &str = "WEIR_LOG";

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum LogFormat {
    /// For reading.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// Starts logging. `level` applies to our own rooms; libraries are heard from `warn` on, unless tracing is asked for.
///
/// # Errors
/// The filter in `WEIR_LOG` that cannot be read.
pub(crate) fn start(level: LevelFilter, format: LogFormat) -> anyhow::Result<()> {
    let filter = match std::env::var(FILTER_VARIABLE) {
        Ok(text) if !text.is_empty() => EnvFilter::try_new(&text)
            .map_err(|error| anyhow::anyhow!("{FILTER_VARIABLE}={text:?} is not a log filter: {error}"))?,
        _ => default_filter(level)?,
    };
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(crate::stdout::stderr_has_color());
    match format {
        LogFormat::Text => subscriber.with_target(level >= LevelFilter::DEBUG).init(),
        LogFormat::Json => subscriber.json().init(),
    }
    Ok(())
}

fn default_filter(level: LevelFilter) -> anyhow::Result<EnvFilter> {
    let libraries = if level == LevelFilter::TRACE { LevelFilter::INFO } else { LevelFilter::WARN.min(level) };
    let rooms = ["weir", "weir_engine", "weir_detections", "weir_playbooks", "weir_connectors"];
    rooms.iter().try_fold(EnvFilter::default().add_directive(libraries.into()), |filter, room| {
        Ok(filter.add_directive(format!("{room}={level}").parse()?))
    })
}
