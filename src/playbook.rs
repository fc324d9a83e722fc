//! `weir playbook run`: one playbook on one alert, by hand.

use std::path::Path;

use anyhow::{Context as _, anyhow};
use serde_json::Value;
use weir_playbooks::journal::{Journal, RunFilter};
use weir_playbooks::run::Mode;

use crate::cli::{Globals, PlaybookCommand, PlaybookRunArgs};
use crate::config::Need;
use crate::exit::{Blame, CommandError, CommandResult, Outcome};
use crate::print::{Format, Rows};
use crate::project::Project;
use crate::respond::Role;
use crate::{check, compile, service};

/// Runs a playbook.
pub(crate) fn run(globals: &Globals, command: &PlaybookCommand) -> CommandResult {
    match command {
        PlaybookCommand::Run(args) => start(globals, args),
        PlaybookCommand::Import(_) | PlaybookCommand::Export(_) => {
            let version = env!("CARGO_PKG_VERSION");
            let text = format!("`weir playbook import` and `export` are not part of version {version} yet");
            Err(CommandError::usage(anyhow!(text)))
        }
    }
}

fn start(globals: &Globals, args: &PlaybookRunArgs) -> CommandResult {
    let (project, mut diagnostics) = Project::load(&globals.dir, Need::Everything);
    let rules = compile::rules(&project, &project.detections);
    let (mut response, found) = compile::response(&project, &rules);
    diagnostics.extend(found);
    check::stop_on_errors(&project, diagnostics)?;
    let known = response.playbooks.keys().cloned().collect::<Vec<_>>().join(", ");
    response.playbooks.retain(|id, _| *id == args.playbook);
    if response.playbooks.is_empty() {
        return Err(CommandError::usage(anyhow!("there is no playbook `{}`; there are {known}", args.playbook)));
    }
    if project.config.playbooks.mode == Mode::Live {
        check::stop_on_errors(&project, compile::unset(&response, &project.config))?;
    }
    let record = alert(&args.alert, args.uid.as_deref(), &args.playbook).usage()?;
    let names = rules.catalog.tables().map(|table| table.name.as_str());
    let (tables, found) = compile::tables(names, &rules, &project.dir);
    check::stop_on_errors(&project, found)?;
    let runtime = tokio::runtime::Runtime::new().outside()?;
    let runs = runtime.block_on(async {
        let respond = service::start(&project.config, response, service::lookup_in(tables), Role::Command).await?;
        let taken = respond.alert(&record).await.usage()?;
        service::finished(&respond, &project.config, &taken.runs).await?;
        respond.stop().await;
        Ok::<_, CommandError>(taken.runs)
    })?;
    if runs.is_empty() {
        let text = "it does not apply to this alert, which may be suppressed or provisional, or has run for it before; \
                    `weir case list` shows what was done";
        return Err(CommandError::usage(anyhow!(text)));
    }
    print_steps(&project, &runs, Format::or_default(globals.format))
}

/// The alert of a file of alert records, as if its detection named the playbook.
fn alert(path: &Path, uid: Option<&str>, playbook: &str) -> anyhow::Result<Value> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let records = serde_json::Deserializer::from_str(&text).into_iter::<Value>().collect::<Result<Vec<_>, _>>();
    let records = records.with_context(|| format!("{} does not hold alert records", path.display()))?;
    let uid_of = |record: &Value| record.pointer("/finding_info/uid").and_then(Value::as_str).map(str::to_owned);
    // The last record of an alert is the one that holds.
    let is_meant = |record: &&Value| uid.is_none_or(|uid| uid_of(record).as_deref() == Some(uid));
    let found = records.iter().rev().find(is_meant);
    let mut record = found.cloned().with_context(|| format!("{} holds no such alert", path.display()))?;
    record["unmapped"]["weir"]["playbook"] = playbook.into();
    Ok(record)
}

fn print_steps(project: &Project, runs: &[String], format: Format) -> CommandResult {
    let mut journal = service::journal(&project.config)?;
    let mut rows = Rows::new(&["run", "mode", "step", "status", "detail"]);
    let mut failed = false;
    for id in runs {
        let filter = RunFilter { id: Some(id.clone()), ..RunFilter::default() };
        for run in journal.runs(&filter).outside()? {
            failed |= run.status.as_str() == "failed";
            for step in &run.steps {
                let detail = step.error.clone().unwrap_or_default();
                let (mode, status) = (run.mode.as_str().into(), step.status.as_str().into());
                rows.push(vec![run.id.clone().into(), mode, step.id.clone().into(), status, detail.into()]);
            }
        }
    }
    rows.print(format)?;
    Ok(if failed { Outcome::FoundFailures } else { Outcome::Done })
}
