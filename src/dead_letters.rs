//! `weir dead-letters list`: what was rejected, with reason and place, out of the archive.

use std::fmt::Write as _;

use crate::cli::{DeadLettersCommand, DeadLettersListArgs, Globals, HuntArgs};
use crate::exit::{CommandError, CommandResult};
use crate::hunt;

/// Lists rejected records.
pub(crate) fn run(globals: &Globals, command: &DeadLettersCommand) -> CommandResult {
    match command {
        DeadLettersCommand::List(args) => hunt::list(globals, &query(args), nothing(args)),
        DeadLettersCommand::Replay(_) => {
            let version = env!("CARGO_PKG_VERSION");
            let text = format!("`weir dead-letters replay` is not part of version {version} yet");
            Err(CommandError::usage(anyhow::anyhow!(text)))
        }
    }
}

/// What is said where nothing is listed.
fn nothing(args: &DeadLettersListArgs) -> &'static str {
    let is_narrow = args.from.is_some() || [&args.stream, &args.reason, &args.topic].iter().any(|one| one.is_some());
    if is_narrow { "there are no such dead letters" } else { "there are no dead letters" }
}

/// The list is a hunt; what was typed goes in as parameters and is never SQL.
fn query(args: &DeadLettersListArgs) -> HuntArgs {
    let filters = [("stream", &args.stream), ("reason", &args.reason), ("topic", &args.topic)];
    let set = || filters.iter().filter_map(|(column, value)| Some((*column, value.as_ref()?)));
    let mut conditions = set().map(|(column, _)| format!("{column} = ${column}")).collect::<Vec<_>>();
    let raw = if args.raw { ", CAST(raw AS STRING) AS raw" } else { "" };
    let mut sql = format!("SELECT time, stream, topic, partition, \"offset\", reason, detail{raw} FROM dead_letters");
    conditions.extend(args.from.as_ref().map(|_| "time >= $from".to_owned()));
    if !conditions.is_empty() {
        // Writing to a text cannot fail.
        let _infallible = write!(sql, " WHERE {}", conditions.join(" AND "));
    }
    let _infallible = write!(sql, " ORDER BY time DESC, topic, partition, \"offset\" LIMIT {}", args.limit);
    let mut param = set().map(|(column, value)| format!("{column}='{value}'")).collect::<Vec<_>>();
    param.extend(args.from.map(|from| format!("from={}", from.to_rfc3339())));
    HuntArgs { sql: Some(sql), file: None, param, memory_mb: None, timeout: None }
}
