//! `weir schema NAME`: the JSON Schema of a file format, so that an editor can complete and check it.

use clap::ValueEnum;
use schemars::Schema;

use crate::cli::SchemaArgs;
use crate::exit::{Blame, CommandError, CommandResult, Outcome};
use crate::{config, stdout};

/// A file format with a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SchemaName {
    /// weir.toml
    Config,
    /// The header of a detection file, in its `--!` lines
    #[value(alias = "header")]
    Detection,
    /// detections/**/*.test.yaml
    #[value(alias = "rule-test")]
    Test,
    /// exceptions/*.yaml
    Exceptions,
    /// playbooks/*.yaml
    Playbook,
    /// responders/*.yaml
    Responder,
}

/// Prints the schema.
pub(crate) fn run(args: &SchemaArgs) -> CommandResult {
    let schema = schema(args.name).ok_or_else(|| {
        CommandError::usage(anyhow::anyhow!("the schema of {:?} is not part of this version", args.name))
    })?;
    stdout::print(&serde_json::to_string_pretty(&schema).usage()?)?;
    Ok(Outcome::Done)
}

fn schema(name: SchemaName) -> Option<Schema> {
    match name {
        SchemaName::Config => Some(config::schema()),
        SchemaName::Detection => weir_detections::schema::schema("detection"),
        SchemaName::Test => weir_detections::schema::schema("rule-test"),
        SchemaName::Exceptions => weir_detections::schema::schema("exceptions"),
        SchemaName::Playbook => Some(weir_playbooks::schema::playbook()),
        SchemaName::Responder => Some(weir_playbooks::schema::responder()),
    }
}
