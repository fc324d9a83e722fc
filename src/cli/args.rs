//! The arguments of every command, with the help that a reader of `--help` sees.

use std::ffi::OsString;
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::{ArgAction, Args, Parser, Subcommand};

use super::response_args::{ApproveArgs, CaseCommand, PlaybookCommand};
use crate::init::Content;
use crate::print::Format;
use crate::replay::Input;
use crate::schema::SchemaName;
use crate::telemetry::LogFormat;

/// The security stream engine: Kafka in, SQL detections, alerts, playbooks, Parquet.
#[derive(Debug, Parser)]
#[command(
    name = "weir",
    version,
    propagate_version = false,
    arg_required_else_help = true,
    after_help = "Exit codes: 0 done; 1 the work found failures; 2 wrong usage or configuration; 3 the outside failed.\n\n\
                  Begin with: weir init my-project && weir check -C my-project && weir test -C my-project"
)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) globals: Globals,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// What can be said before or after any command.
#[derive(Debug, Clone, Args)]
pub(crate) struct Globals {
    /// The project folder
    #[arg(short = 'C', value_name = "DIR", default_value = ".", global = true)]
    pub(crate) dir: PathBuf,
    /// How rows are printed [default: table on a terminal, json when piped]
    #[arg(long, value_enum, global = true)]
    pub(crate) format: Option<Format>,
    /// Log more; -vv and -vvv more still (the variable WEIR_LOG takes a filter such as weir=debug)
    #[arg(short, long, action = ArgAction::Count, global = true)]
    pub(crate) verbose: u8,
    /// Log less
    #[arg(short, long, action = ArgAction::Count, global = true)]
    pub(crate) quiet: u8,
    /// How log lines are written
    #[arg(long, value_enum, default_value_t, global = true, hide_possible_values = false)]
    pub(crate) log_format: LogFormat,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show the phishing incident end to end, with nothing installed
    Demo(DemoArgs),
    /// Write a new project folder that works
    Init(InitArgs),
    /// Run the pipeline until stopped
    Run(RunArgs),
    /// Check every text of the project and show all errors at once
    Check(CheckArgs),
    /// Run rule tests
    Test(TestArgs),
    /// Run detections over recorded events
    Replay(ReplayArgs),
    /// Query the archive with one SELECT
    Hunt(HuntArgs),
    /// Show how a detection runs, or the evidence behind an alert
    Explain(ExplainArgs),
    /// Work with cases
    #[command(subcommand)]
    Case(CaseCommand),
    /// Answer a playbook that asks, or list what is asked
    Approve(ApproveArgs),
    /// Work with playbooks
    #[command(subcommand)]
    Playbook(PlaybookCommand),
    /// Look at rejected records
    #[command(subcommand)]
    DeadLetters(DeadLettersCommand),
    /// Work with threat intelligence
    #[command(hide = true)]
    Intel(Unbuilt),
    /// Work with Sigma rules
    #[command(hide = true)]
    Sigma(Unbuilt),
    /// Print the JSON Schema of a file format, for editors
    Schema(SchemaArgs),
}

impl Command {
    /// The word that names it on the command line.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Demo(_) => "demo",
            Self::Init(_) => "init",
            Self::Run(_) => "run",
            Self::Check(_) => "check",
            Self::Test(_) => "test",
            Self::Replay(_) => "replay",
            Self::Hunt(_) => "hunt",
            Self::Explain(_) => "explain",
            Self::Case(_) => "case",
            Self::Approve(_) => "approve",
            Self::Playbook(_) => "playbook",
            Self::DeadLetters(_) => "dead-letters",
            Self::Intel(_) => "intel",
            Self::Sigma(_) => "sigma",
            Self::Schema(_) => "schema",
        }
    }
}

/// Takes whatever follows a command that a later version brings, so that it can be refused by name.
#[derive(Debug, Args)]
pub(crate) struct Unbuilt {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    rest: Vec<OsString>,
}

/// `weir demo`
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Where the demo's project is written [default: weir-demo in the folder for temporary files]
    // Its own id, because `-C` of every command is called `dir` already.
    #[arg(id = "demo_dir", long = "dir", value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

/// `weir run`
#[derive(Debug, Args)]
#[command(after_help = "It goes on where the last run stopped, and stops cleanly on SIGTERM and Ctrl-C.")]
pub(crate) struct RunArgs {}

/// `weir init`
#[derive(Debug, Args)]
#[command(after_help = "Example: weir init my-project && weir check -C my-project && weir test -C my-project")]
pub(crate) struct InitArgs {
    /// The folder to write; it must be empty or not exist
    #[arg(value_name = "DIR")]
    pub(crate) target: PathBuf,
    /// How much of the shipped content goes into it
    #[arg(long, value_enum, default_value_t)]
    pub(crate) content: Content,
    /// Write into a folder that holds other files; files of ours that exist already are left as they are
    #[arg(long)]
    pub(crate) force: bool,
}

/// `weir check`
#[derive(Debug, Args)]
#[command(after_help = "Exit code 1 if there is an error. With --format json, one diagnostic per line.\n\n\
                        Example: weir check -C my-project")]
pub(crate) struct CheckArgs {}

/// `weir hunt`
#[derive(Debug, Args)]
#[command(
    after_help = "Behind FROM stand the project's streams and views, its look-up tables, and alerts, actions, cases, \
                        coverage, late_events and dead_letters.\n\n\
                        Example: weir hunt 'SELECT time, title FROM alerts WHERE user = $who AND time > $from' \
                        --param who=alice --param from=-24h"
)]
pub(crate) struct HuntArgs {
    /// One SELECT; `-` reads it from standard input
    #[arg(value_name = "SQL", required_unless_present = "file", conflicts_with = "file")]
    pub(crate) sql: Option<String>,
    /// Read the SELECT from a file
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// A value for `$name`: a number, true or false, text such as a time, or `-24h` for the time so long ago; quotes make
    /// text of anything
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) param: Vec<String>,
    /// Memory it may use before it works on disk [default: as configured]
    #[arg(long, value_name = "MB", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) memory_mb: Option<u32>,
    /// How long it may take, for example 30s or 5 minutes [default: as configured]
    #[arg(long, value_name = "TIME")]
    pub(crate) timeout: Option<String>,
}

/// `weir test`
#[derive(Debug, Args)]
#[command(after_help = "Exit code 1 if a test fails.\n\n\
                        Examples:\n  weir test\n  weir test signin.repeated_failures\n  \
                        weir test 'detections/windows/*' --junit results.xml")]
pub(crate) struct TestArgs {
    /// Only tests whose detection, path or case matches: a part of the name, or a pattern with `*`
    pub(crate) pattern: Option<String>,
    /// Also write the results as JUnit XML
    #[arg(long, value_name = "FILE")]
    pub(crate) junit: Option<PathBuf>,
}

/// `weir replay`
#[derive(Debug, Args)]
#[command(after_help = "Files are NDJSON, plain or packed with gzip or zstd. Several files of one stream are its \
                        partitions; all inputs are read in step with their event times. The last line on standard \
                        error is the account of every record that was read:\n  \
                        replayed: events=.. alerts=.. late=.. rejected=.. seconds=.. events_per_second=..\n\
                        alerts counts alert ids whose last record does not withdraw them; events counts every line \
                        that is not blank, rejected ones included. With -v the whole ledger is shown.\n\n\
                        Examples:\n  weir replay --input app_signin=samples/app_signin.ndjson\n  \
                        weir replay --input sysmon=a.ndjson.gz --input sysmon=b.ndjson.gz \\\n    \
                        --detections 'detections/windows/**/*.sql' --alerts alerts.ndjson\n  \
                        weir replay --input app_signin=samples/app_signin.ndjson --detections 'signin.*'")]
pub(crate) struct ReplayArgs {
    /// Events of a stream; several at once or one after the other (`-` reads standard input)
    #[arg(
        long = "input",
        value_name = "STREAM=FILE",
        num_args = 1..,
        required_unless_present_any = ["archive", "sigma"]
    )]
    pub(crate) inputs: Vec<Input>,
    /// Only these detections: ids, files inside the project or not, or patterns of either; may be given several times
    /// [default: all of the project]
    #[arg(long, value_name = "GLOB")]
    pub(crate) detections: Vec<String>,
    /// Where alerts are written, one JSON record per line [default: standard output]
    #[arg(long, value_name = "FILE")]
    pub(crate) alerts: Option<PathBuf>,
    /// Where rejected records are written, with reason and position, one JSON object per line
    #[arg(long, value_name = "FILE")]
    pub(crate) dead_letters: Option<PathBuf>,
    /// Shards [default: engine.parallelism of weir.toml, or the number of processors]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) parallelism: Option<u16>,
    /// Replay the archive instead of files
    #[arg(long, conflicts_with = "inputs")]
    pub(crate) archive: bool,
    /// The first instant of the archive to replay: a date, or an RFC 3339 time
    #[arg(long, value_name = "T", requires = "archive")]
    pub(crate) from: Option<String>,
    /// The instant of the archive before which to stop
    #[arg(long, value_name = "T", requires = "archive")]
    pub(crate) to: Option<String>,
    /// Compare with the detections of another revision
    #[arg(long, hide = true, value_name = "REV")]
    pub(crate) diff: Option<String>,
    /// Replay Sigma rules
    #[arg(long, hide = true, value_name = "PATH")]
    pub(crate) sigma: Option<PathBuf>,
}

/// `weir dead-letters`
#[derive(Debug, Subcommand)]
pub(crate) enum DeadLettersCommand {
    /// List rejected records of the archive, the newest first
    List(DeadLettersListArgs),
    /// Send rejected records through the pipeline again
    #[command(hide = true)]
    Replay(Unbuilt),
}

/// `weir dead-letters list`
#[derive(Debug, Args)]
#[command(after_help = "Example: weir dead-letters list --reason truncated_json --limit 20 --raw")]
pub(crate) struct DeadLettersListArgs {
    /// Only records that were meant for this stream
    #[arg(long, value_name = "NAME")]
    pub(crate) stream: Option<String>,
    /// Only this reason, such as truncated_json, bad_time or too_large
    #[arg(long)]
    pub(crate) reason: Option<String>,
    /// Only records of this topic or file
    #[arg(long)]
    pub(crate) topic: Option<String>,
    /// Only records from this time on, in RFC 3339
    #[arg(long, value_name = "TIME")]
    pub(crate) from: Option<DateTime<Utc>>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) limit: u32,
    /// Also the bytes of the record, as text where they are text
    #[arg(long)]
    pub(crate) raw: bool,
}

/// `weir explain`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  weir explain identity.password_guessing\n  \
                        weir explain alert 55924db60f333332769a4d21e8db12a0")]
pub(crate) struct ExplainArgs {
    /// The detection's id, or its file; or the word `alert`
    #[arg(value_name = "DETECTION")]
    pub(crate) what: String,
    /// After `alert`: the id of an alert of the archive, for the events behind it
    #[arg(value_name = "UID")]
    pub(crate) uid: Option<String>,
}

/// `weir schema`
#[derive(Debug, Args)]
#[command(after_help = "Example: weir schema playbook > playbook.schema.json")]
pub(crate) struct SchemaArgs {
    /// Which file format
    #[arg(value_enum)]
    pub(crate) name: SchemaName,
}
