//! The program: command line, configuration, wiring, tasks, clocks, HTTP and hunting.
//!
//! Reading order: [`cli`] (what can be asked for), [`project`] and [`config`] (what is in a project folder), then one
//! module per command: [`check`], [`test`], [`replay`], [`init`], [`schema`]. [`exit`] says how a command ends,
//! [`stdout`] is the only place that writes results.

mod case;
mod check;
mod cli;
mod compile;
mod config;
mod dead_letters;
mod demo;
mod exit;
mod explain;
mod hunt;
mod init;
mod playbook;
mod print;
mod project;
mod pump;
mod render;
mod replay;
mod respond;
mod run;
mod schema;
mod serve;
mod service;
mod stdout;
mod telemetry;
mod test;
mod yaml;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
