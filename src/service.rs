//! Response as a project configures it: its playbooks, responders, guard, journal and secrets, put together.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Map, Value};
use weir_connectors::responders::HttpSender;
use weir_connectors::store::SqliteJournal;
use weir_detections::row::row_to_json;
use weir_engine::TableVersion;
use weir_playbooks::case::Grouping;
use weir_playbooks::facts::Severity;
use weir_playbooks::journal::{Journal, RunFilter};

use crate::compile::Response;
use crate::config::Config;
use crate::exit::{Blame, CommandError};
use crate::respond::{Lookup, Respond, Role, Setup};

/// Requests to one responder that may be under way at once.
const REQUESTS_AT_ONCE_MAX: usize = 8;
/// How long a command waits for the runs that it started.
const PATIENCE: Duration = Duration::from_secs(120);

/// Opens the journal of the project, and makes it where there is none.
pub(crate) fn journal(config: &Config) -> Result<SqliteJournal, CommandError> {
    SqliteJournal::open(&config.state.journal).outside()
}

/// Starts response. As a service it goes on with the unfinished runs of the journal.
pub(crate) async fn start(
    config: &Config,
    response: Response,
    lookup: Lookup,
    role: Role,
) -> Result<Respond, CommandError> {
    let journal = journal(config)?;
    let settings = config.clone();
    let secrets = Arc::new(move |responder: &str, name: &str| settings.responder_setting(responder, name));
    let sender = HttpSender::new(secrets, REQUESTS_AT_ONCE_MAX).outside()?;
    let setup = Setup {
        role,
        playbooks: response.playbooks,
        responders: response.responders,
        mode: config.playbooks.mode,
        rules: config.playbooks.guard.clone(),
        grouping: Grouping::default(),
        case_severity_min: Severity::High,
        lookup,
    };
    Respond::start(setup, Box::new(journal), sender).await.context("response cannot start").outside()
}

/// Waits until these runs have ended, or wait for something that is not ours to hurry: a person, or a responder that is
/// down. Those go on where the pipeline runs. Gives how many have ended.
pub(crate) async fn finished(respond: &Respond, config: &Config, runs: &[String]) -> Result<usize, CommandError> {
    let mut journal = journal(config)?;
    let mut changes = respond.changes();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        changes.borrow_and_update();
        let unfinished = RunFilter { unfinished: true, ..RunFilter::default() };
        let open = journal.runs(&unfinished).outside()?;
        let left = runs.iter().filter(|id| open.iter().any(|run| run.id == **id)).count();
        let is_over = left == 0 || !matches!(tokio::time::timeout_at(deadline, changes.changed()).await, Ok(Ok(())));
        if is_over {
            return Ok(runs.len() - left);
        }
    }
}

/// Finds rows in these tables for the `enrich` steps of playbooks.
pub(crate) fn lookup_in(tables: Vec<TableVersion>) -> Lookup {
    Arc::new(move |table, column, value| {
        let found = tables.iter().find(|version| version.name.eq_ignore_ascii_case(table));
        let version = found.ok_or_else(|| format!("there is no table `{table}`"))?;
        row_of(version, column, value)
    })
}

/// The first row whose column reads as `value`, whatever its type.
fn row_of(version: &TableVersion, column: &str, value: &str) -> Result<Option<Map<String, Value>>, String> {
    let schema = version.rows.schema();
    let name = schema.fields().iter().map(|field| field.name()).find(|name| name.eq_ignore_ascii_case(column));
    let name = name.ok_or_else(|| format!("the table `{}` has no column `{column}`", version.name))?;
    let rows = (0..version.rows.num_rows()).map(|row| row_to_json(&version.rows, row));
    let reads_so = |row: &Map<String, Value>| match &row[name.as_str()] {
        Value::String(text) => *text == value,
        Value::Null => false,
        other => other.to_string().as_str() == value,
    };
    Ok(rows.into_iter().find(reads_so))
}
