//! The command line: what can be asked for, and who answers. Parsing ends here; commands get typed values.

mod args;
mod response_args;

use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::filter::LevelFilter;

use crate::exit::{Blame, CommandError, CommandResult};
use crate::{
    case, check, dead_letters, demo, explain, hunt, init, playbook, replay, run as run_pipeline, schema, stdout,
    telemetry, test,
};
use args::{Cli, Command};

pub(crate) use args::{
    CheckArgs, DeadLettersCommand, DeadLettersListArgs, DemoArgs, ExplainArgs, Globals, HuntArgs, InitArgs, ReplayArgs,
    SchemaArgs, TestArgs,
};
pub(crate) use response_args::{
    ApproveArgs, CaseCloseArgs, CaseCommand, CaseListArgs, PlaybookCommand, PlaybookRunArgs,
};

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
    match &cli.command {
        Command::Init(args) => init::run(args),
        Command::Check(args) => check::run(&cli.globals, args),
        Command::Schema(args) => schema::run(args),
        Command::Test(args) => test::run(&cli.globals, args),
        Command::Replay(args) => replay::run(&cli.globals, args),
        Command::Hunt(args) => hunt::run(&cli.globals, args),
        Command::Explain(args) => explain::run(&cli.globals, args),
        Command::DeadLetters(command) => dead_letters::run(&cli.globals, command),
        Command::Case(command) => case::run(&cli.globals, command),
        Command::Approve(args) => case::approve(&cli.globals, args),
        Command::Playbook(command) => playbook::run(&cli.globals, command),
        Command::Run(_) => run_pipeline::run(&cli.globals),
        Command::Demo(args) => demo::run(&cli.globals, args),
        Command::Intel(_) | Command::Sigma(_) => Err(not_built(&cli.command)),
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
