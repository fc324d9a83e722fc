//! The command line: what can be asked for, and who answers. Parsing ends here; commands get typed values.

mod args;

use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::filter::LevelFilter;

use crate::exit::{Blame, CommandError, CommandResult, Outcome};
use crate::{check, hunt, init, schema, stdout, telemetry};
use args::{Cli, Command};

pub(crate) use args::{CheckArgs, Globals, HuntArgs, InitArgs, SchemaArgs};

/// Runs the command line of this process and says with which code to exit.
pub(crate) fn main() -> ExitCode {
    // Wrong usage ends in here, with exit code 2 and the usage on standard error.
    let cli = Cli::parse();
    match run(cli) {
        Ok(outcome) => outcome.into(),
        // Whoever read our output has seen enough, as in `weir hunt ... | head`.
        Err(error) if error.is_broken_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            let label = if stdout::stderr_has_color() { "\u{1b}[1;31merror:\u{1b}[0m" } else { "error:" };
            eprintln!("{label} {error}");
            error.code()
        }
    }
}

fn run(cli: Cli) -> CommandResult {
    telemetry::start(level(&cli.globals, &cli.command), cli.globals.log_format).usage()?;
    match cli.command {
        Command::Init(args) => init::run(&args),
        Command::Check(args) => check::run(&cli.globals, &args),
        Command::Hunt(args) => hunt::run(&cli.globals, &args),
        Command::Schema(args) => schema::run(&args),
        Command::Demo(_)
        | Command::Run(_)
        | Command::Test(_)
        | Command::Replay(_)
        | Command::Explain(_)
        | Command::Case(_)
        | Command::Approve(_)
        | Command::Playbook(_)
        | Command::DeadLetters(_)
        | Command::Intel(_)
        | Command::Sigma(_) => Err(not_built(&cli.command)),
    }
}

/// What `-v` and `-q` mean: a tool is silent unless something is wrong, the pipeline tells its life.
fn level(globals: &Globals, command: &Command) -> LevelFilter {
    let quiet = i16::from(globals.quiet);
    let base = if matches!(command, Command::Run(_)) { 2 } else { 1 };
    match base + i16::from(globals.verbose) - quiet {
        ..=-1 => LevelFilter::OFF,
        0 => LevelFilter::ERROR,
        1 => LevelFilter::WARN,
        2 => LevelFilter::INFO,
        3 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    }
}

fn not_built(command: &Command) -> CommandError {
    let version = env!("CARGO_PKG_VERSION");
    CommandError::usage(anyhow::anyhow!("`weir {}` is not part of version {version} yet", command.name()))
}
