//! `weir schema NAME`: the JSON Schema of a file format, so that an editor can complete and check it.

use clap::ValueEnum;
use schemars::Schema;

use crate::cli::SchemaArgs;
use crate::exit::{Blame, CommandResult, Outcome};
use crate::{config, stdout};

/// A file format with a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SchemaName {
    /// weir.toml
    Config,
}

/// Prints the schema.
pub(crate) fn run(args: &SchemaArgs) -> CommandResult {
    let text = serde_json::to_string_pretty(&schema(args.name)).usage()?;
    stdout::print(&text)?;
    Ok(Outcome::Done)
}

fn schema(name: SchemaName) -> Schema {
    match name {
        SchemaName::Config => config::schema(),
    }
}
