//! The arguments of every command, with the help that a reader of `--help` sees.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand};

use crate::print::Format;
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
#[derive(Debug, Args)]
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
    #[command(hide = true)]
    Demo(Unbuilt),
    /// Write a new project folder that works
    Init(InitArgs),
    /// Run the pipeline until stopped
    #[command(hide = true)]
    Run(Unbuilt),
    /// Check every text of the project and show all errors at once
    Check(CheckArgs),
    /// Run rule tests
    #[command(hide = true)]
    Test(Unbuilt),
    /// Run detections over recorded events
    #[command(hide = true)]
    Replay(Unbuilt),
    /// Query the archive with one SELECT
    Hunt(HuntArgs),
    /// Show how a detection runs
    #[command(hide = true)]
    Explain(Unbuilt),
    /// Work with cases
    #[command(hide = true)]
    Case(Unbuilt),
    /// Answer a playbook that asks
    #[command(hide = true)]
    Approve(Unbuilt),
    /// Work with playbooks
    #[command(hide = true)]
    Playbook(Unbuilt),
    /// Look at rejected records
    #[command(hide = true)]
    DeadLetters(Unbuilt),
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
pub(super) struct Unbuilt {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    rest: Vec<OsString>,
}

/// `weir init`
#[derive(Debug, Args)]
#[command(after_help = "Example: weir init my-project && weir check -C my-project && weir test -C my-project")]
pub(crate) struct InitArgs {
    /// The folder to write; it must be empty or not exist
    #[arg(value_name = "DIR")]
    pub(crate) target: PathBuf,
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
#[command(after_help = "Behind FROM stand the project's streams and views, its look-up tables, and alerts, actions, cases, \
                        late_events and dead_letters.\n\n\
                        Example: weir hunt 'SELECT time, title FROM alerts WHERE user = $who' --param who=alice")]
pub(crate) struct HuntArgs {
    /// One SELECT; `-` reads it from standard input
    #[arg(value_name = "SQL", required_unless_present = "file", conflicts_with = "file")]
    pub(crate) sql: Option<String>,
    /// Read the SELECT from a file
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// A value for `$name`: a number, true or false, an RFC 3339 time, or text; quotes make text of anything
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) param: Vec<String>,
    /// Memory it may use before it works on disk [default: as configured]
    #[arg(long, value_name = "MB", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) memory_mb: Option<u32>,
    /// How long it may take, for example 30s or 5 minutes [default: as configured]
    #[arg(long, value_name = "TIME")]
    pub(crate) timeout: Option<String>,
}

/// `weir schema`
#[derive(Debug, Args)]
#[command(after_help = "Example: weir schema playbook > playbook.schema.json")]
pub(crate) struct SchemaArgs {
    /// Which file format
    #[arg(value_enum)]
    pub(crate) name: SchemaName,
}
