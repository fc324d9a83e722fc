//! The program: command line, configuration, wiring, tasks, clocks, HTTP and hunting.
//!
//! Reading order: [`cli`] (what can be asked for), [`project`] and [`config`] (what is in a project folder), then one
//! module per command: [`check`], [`test`], [`replay`], [`init`], [`schema`]. [`exit`] says how a command ends,
//! [`stdout`] is the only place that writes results.

mod check;
mod cli;
mod compile;
mod config;
mod exit;
mod hunt;
mod init;
mod print;
mod project;
mod render;
mod respond;
mod schema;
mod stdout;
mod telemetry;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
