//! `weir hunt`: one `SELECT` over the archive, with the same names, views and functions as a detection.
//!
//! A hunt only reads. It runs within a limit of memory, beyond which it works on disk, and within a limit of time.
//! Reading order: [`relations`] (what stands behind `FROM`), [`plan`] (text to plan), [`sequence`] (what DataFusion does not
//! run), [`output`] (rows to text).

mod memory;
mod output;
mod params;
mod plan;
mod progress;
mod relations;
mod sequence;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use chrono::Utc;
use datafusion::common::ScalarValue;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::StreamExt;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use weir_connectors::archive::{Archive, ArchiveError};
use weir_connectors::location::Location;
use weir_connectors::table::TableError;
use weir_engine::error::counted;
use weir_engine::{Catalog, Diagnostic, sql};

use crate::check::stop_on_errors;
use crate::cli::{Globals, HuntArgs};
use crate::config::{self, Config, Need};
use crate::exit::{Blame, CommandError, CommandResult, Outcome};
use crate::print::Format;
use crate::project::Project;
use crate::{render, stdout};
use memory::SharedPool;
use output::Output;
use progress::Progress;

/// What a text is called in messages that did not come from a file.
const SPOKEN: &str = "hunt";

/// The writer whose epochs the tables of the archive count.
const ARCHIVE_APP: &str = "weir";

/// What a hunt may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Memory; what needs more is written to disk in between.
    pub(crate) memory_bytes: usize,
    /// Time from the beginning to the last row.
    pub(crate) timeout: Duration,
}

/// Why a hunt gave no rows, or stopped giving them.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HuntError {
    /// The text is wrong.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Text(Vec<Diagnostic>),
    /// The archive cannot be read.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A look-up table cannot be read.
    #[error(transparent)]
    Table(#[from] TableError),
    /// It needs more memory than it may use, even with the disk.
    #[error("the hunt needs more than its {0} MB of memory; ask for a shorter time, or allow more with --memory-mb")]
    Memory(usize),
    /// It took too long.
    #[error("the hunt took longer than {0:?}; ask for a shorter time, or allow more with --timeout")]
    Timeout(Duration),
    /// It failed while it ran.
    #[error("the hunt failed: {0}")]
    Run(Box<DataFusionError>),
}

/// A hunt that has begun.
pub(crate) struct Hunt {
    plan: Arc<dyn ExecutionPlan>,
    schema: SchemaRef,
    rows: mpsc::Receiver<Result<RecordBatch, DataFusionError>>,
    /// Reads the rows; ends with the hunt.
    _reader: JoinSet<()>,
    limits: Limits,
    deadline: Instant,
    /// Bytes of Parquet of all tables that it names: the most it can read.
    bytes_max: u64,
}

impl fmt::Debug for Hunt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hunt").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// Begins a hunt over the archive. `base` is the project folder, where look-up tables lie.
///
/// # Errors
/// Everything that is wrong with the text, with its place; or what cannot be read.
pub(crate) async fn hunt(
    archive: &Archive,
    catalog: &Catalog,
    base: &Path,
    text: &str,
    params: &BTreeMap<String, ScalarValue>,
    limits: Limits,
) -> Result<Hunt, HuntError> {
    let deadline = Instant::now() + limits.timeout;
    let beginning = async {
        let relations = relations::mentioned(archive, catalog, base, text).await?;
        let context = context(limits).map_err(|error| failed(error, limits))?;
        let logical = plan::plan(catalog, &relations, text, params).map_err(HuntError::Text)?;
        let frame = context.execute_logical_plan(logical).await.map_err(|error| failed(error, limits))?;
        let task = Arc::new(frame.task_ctx());
        let plan = frame.create_physical_plan().await.map_err(|error| failed(error, limits))?;
        let rows = execute_stream(Arc::clone(&plan), task).map_err(|error| failed(error, limits))?;
        let (schema, (rows, reader)) = (rows.schema(), read_apart(rows));
        Ok(Hunt { plan, schema, rows, _reader: reader, limits, deadline, bytes_max: relations.bytes })
    };
    tokio::time::timeout_at(deadline, beginning).await.unwrap_or(Err(HuntError::Timeout(limits.timeout)))
}

impl Hunt {
    /// The columns of its rows.
    pub(crate) fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// The next rows; `None` at the end.
    ///
    /// # Errors
    /// It failed, or a limit was reached.
    pub(crate) async fn next(&mut self) -> Result<Option<RecordBatch>, HuntError> {
        match tokio::time::timeout_at(self.deadline, self.rows.recv()).await {
            Ok(None) => Ok(None),
            Ok(Some(Ok(batch))) => Ok(Some(batch)),
            Ok(Some(Err(error))) => Err(failed(error, self.limits)),
            Err(_elapsed) => Err(HuntError::Timeout(self.limits.timeout)),
        }
    }

    /// All rows at once.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub(crate) async fn collect(mut self) -> Result<Vec<RecordBatch>, HuntError> {
        let mut batches = Vec::new();
        while let Some(batch) = self.next().await? {
            batches.push(batch);
        }
        Ok(batches)
    }

    /// Bytes of Parquet read up to now.
    pub(crate) fn bytes_read(&self) -> u64 {
        progress::bytes_read(self.plan.as_ref())
    }
}

/// Reads rows in a task of its own: an operator that computes for a long time without a pause (a cross join, say) must
/// not keep the deadline from being noticed.
fn read_apart(
    mut rows: SendableRecordBatchStream,
) -> (mpsc::Receiver<Result<RecordBatch, DataFusionError>>, JoinSet<()>) {
    let (sender, receiver) = mpsc::channel(1);
    let mut reader = JoinSet::new();
    reader.spawn(async move {
        while let Some(batch) = rows.next().await {
            if sender.send(batch).await.is_err() {
                return;
            }
        }
    });
    (receiver, reader)
}

/// A session in which a hunt runs.
fn context(limits: Limits) -> Result<SessionContext, DataFusionError> {
    let mut config = SessionConfig::new().with_information_schema(false);
    let options = config.options_mut();
    // Pushing struct fields below a union of views gives branches of different types, or an ambiguous schema (DataFusion 55).
    options.optimizer.enable_leaf_expression_pushdown = false;
    // What is planned as never NULL may be NULL after all, as in `x NOT IN ('a', NULL)` (DataFusion 55).
    options.execution.skip_physical_aggregate_schema_check = true;
    // Every sort sets memory aside for merging what it wrote to disk; with little memory the default takes all of it.
    let partitions = options.execution.target_partitions.max(1);
    let share = limits.memory_bytes / partitions / 8;
    options.execution.sort_spill_reservation_bytes = share.min(options.execution.sort_spill_reservation_bytes);
    let pool = Arc::new(SharedPool::new(limits.memory_bytes, partitions));
    let runtime = RuntimeEnvBuilder::new().with_memory_pool(pool).build_arc()?;
    let state = SessionStateBuilder::new_with_default_features().with_config(config).with_runtime_env(runtime);
    let state = state.with_query_planner(Arc::new(sequence::HuntPlanner));
    Ok(SessionContext::new_with_state(state.with_physical_optimizer_rules(sql::batch_rules()).build()))
}

fn failed(error: DataFusionError, limits: Limits) -> HuntError {
    match error.find_root() {
        DataFusionError::ResourcesExhausted(_) => HuntError::Memory(limits.memory_bytes >> 20),
        _ => HuntError::Run(Box::new(error)),
    }
}

/// The archive that a configuration names.
pub(crate) fn archive(config: &Config) -> Result<Archive, CommandError> {
    let location = Location::at(&config.archive.url, &config::exposed(&config.archive.options)).usage()?;
    Ok(Archive::new(location, ARCHIVE_APP))
}

/// Runs the command.
pub(crate) fn run(globals: &Globals, args: &HuntArgs) -> CommandResult {
    look(globals, args, None)
}

/// The same for the list of another command. Where nothing is listed, `nothing` is said on standard error.
pub(crate) fn list(globals: &Globals, args: &HuntArgs, nothing: &str) -> CommandResult {
    look(globals, args, Some(nothing).filter(|_| Format::is_for_people(globals.format)))
}

fn look(globals: &Globals, args: &HuntArgs, nothing: Option<&str>) -> CommandResult {
    let (project, mut diagnostics) = Project::load(&globals.dir, Need::Texts);
    let streams = project.streams.iter().map(|file| (file.path.clone(), file.text.clone())).collect::<Vec<_>>();
    let (catalog, found) = sql::parse_catalog(&streams);
    diagnostics.extend(found);
    stop_on_errors(&project, diagnostics)?;
    let (name, text) = text(args)?;
    let params = params::parse(&args.param, Utc::now()).usage()?;
    let limits = limits(&project.config, args)?;
    let form = Form { format: Format::or_default(globals.format), nothing };
    let archive = archive(&project.config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().outside()?;
    let result = runtime.block_on(async {
        tokio::select! {
            result = print(&archive, &catalog, &project.dir, &text, &params, limits, form) => result,
            _ = tokio::signal::ctrl_c() => Err(Stop::Interrupted),
        }
    });
    // Whatever still reads or spills is dropped with its files; nobody waits for it.
    runtime.shutdown_background();
    match result {
        Ok(()) => Ok(Outcome::Done),
        Err(Stop::Hunt(HuntError::Text(diagnostics))) => Err(refusal(&name, &text, diagnostics)),
        Err(Stop::Hunt(error @ (HuntError::Memory(_) | HuntError::Timeout(_)))) => Err(CommandError::usage(error)),
        Err(Stop::Hunt(error)) => Err(CommandError::outside(error)),
        Err(Stop::Params(error)) => Err(CommandError::usage(error)),
        Err(Stop::Output(error)) => Err(error.into()),
        Err(Stop::Interrupted) => Err(CommandError::outside(anyhow::anyhow!("interrupted"))),
    }
}

/// Why the command stopped before the end.
enum Stop {
    Hunt(HuntError),
    /// A parameter that the text does not have.
    Params(anyhow::Error),
    Output(std::io::Error),
    Interrupted,
}

impl From<HuntError> for Stop {
    fn from(error: HuntError) -> Self {
        Self::Hunt(error)
    }
}

impl From<std::io::Error> for Stop {
    fn from(error: std::io::Error) -> Self {
        Self::Output(error)
    }
}

/// How rows are shown, and what is said instead where there are none.
struct Form<'a> {
    format: Format,
    nothing: Option<&'a str>,
}

async fn print(
    archive: &Archive,
    catalog: &Catalog,
    base: &Path,
    text: &str,
    params: &BTreeMap<String, ScalarValue>,
    limits: Limits,
    Form { format, nothing }: Form<'_>,
) -> Result<(), Stop> {
    let mut hunt = hunt(archive, catalog, base, text, params, limits).await?;
    // Only now, because what a text names is known for sure when it has been understood.
    params::refuse_unused(params, text).map_err(Stop::Params)?;
    if nothing.is_none() && archive.tables().await.is_ok_and(|tables| tables.is_empty()) {
        eprintln!("note: there is nothing yet in the archive at {}", archive.location().url());
    }
    let progress = Progress::start(hunt.bytes_max);
    let mut output = Output::new(format, &hunt.schema());
    let mut ticks = tokio::time::interval(Duration::from_millis(200));
    loop {
        let read = hunt.bytes_read();
        let batch = tokio::select! {
            batch = hunt.next() => batch?,
            _ = ticks.tick() => {
                progress.show(read);
                continue;
            }
        };
        let Some(batch) = batch else { break };
        progress.suspend(|| output.write(&batch))?;
    }
    progress.finish();
    match nothing.filter(|_| output.is_empty()) {
        Some(nothing) => eprintln!("{nothing}"),
        None => output.finish()?,
    }
    Ok(())
}

/// The text and what to call it: an argument, a file, or standard input for `-`.
fn text(args: &HuntArgs) -> Result<(String, String), CommandError> {
    match (&args.sql, &args.file) {
        (Some(sql), None) if sql == "-" => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("cannot read standard input").outside()?;
            Ok(("-".to_owned(), text))
        }
        (Some(sql), None) => Ok((SPOKEN.to_owned(), sql.clone())),
        (None, Some(file)) => {
            let text =
                std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display())).usage()?;
            Ok((file.display().to_string(), text))
        }
        _ => Err(CommandError::usage(anyhow::anyhow!("say what to look for: weir hunt \"SELECT ...\", -f FILE, or -"))),
    }
}

fn limits(config: &Config, args: &HuntArgs) -> Result<Limits, CommandError> {
    let timeout = match &args.timeout {
        None => config.hunt.timeout,
        Some(text) => {
            let us =
                sql::parse_duration_us(text).map_err(|error| anyhow::anyhow!("--timeout {text}: {error}")).usage()?;
            Duration::from_micros(us.unsigned_abs())
        }
    };
    let memory_bytes = args.memory_mb.map_or(config.hunt.memory_bytes, |mb| (mb as usize) << 20);
    Ok(Limits { memory_bytes, timeout })
}

/// Shows what is wrong with the text, all of it.
fn refusal(name: &str, text: &str, diagnostics: Vec<Diagnostic>) -> CommandError {
    let texts = [(name, text)].into_iter().collect();
    let count = diagnostics.len();
    for diagnostic in diagnostics {
        eprintln!("{}", render::report(&diagnostic.in_file(name), &texts, stdout::stderr_has_color()));
    }
    CommandError::usage(anyhow::anyhow!("the hunt has {}", counted(count, "error")))
}
