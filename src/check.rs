//! `weir check`: everything that can be known without data, all errors of all files at once.

use std::io::Write;
use std::path::Path;

use chrono::Utc;
use weir_engine::{Diagnostic, Level};

use crate::cli::{CheckArgs, Globals};
use crate::compile::{self, Texts};
use crate::config::{self, Need};
use crate::exit::{CommandError, CommandResult, Outcome};
use crate::print::Format;
use crate::project::Project;
use crate::render;
use crate::stdout::{self, Stdout};

/// Checks the project and prints what is wrong.
pub(crate) fn run(globals: &Globals, _args: &CheckArgs) -> CommandResult {
    let (project, mut diagnostics) = Project::load(&globals.dir, Need::Texts);
    let (texts, found) = compile::read(&project, Utc::now().date_naive());
    diagnostics.extend(found);
    diagnostics.extend(tables(&project.dir, &texts));
    render::sort(&mut diagnostics);
    // For programs there are formats; a person who pipes this to a pager wants to read it all the same.
    match globals.format {
        None | Some(Format::Table) => print_reports(&project, &texts, &diagnostics)?,
        Some(Format::Json | Format::Csv) => print_lines(&diagnostics)?,
    }
    Ok(if has_errors(&diagnostics) { Outcome::FoundFailures } else { Outcome::Done })
}

/// Whether any of them is an error.
pub(crate) fn has_errors(diagnostics: &[Diagnostic]) -> bool {
    diagnostics.iter().any(|diagnostic| diagnostic.level == Level::Error)
}

/// What a command does that cannot work with a broken project: it shows what is wrong, all of it, and stops. Warnings
/// are left to `weir check`.
pub(crate) fn stop_on_errors(project: &Project, mut diagnostics: Vec<Diagnostic>) -> Result<(), CommandError> {
    if !has_errors(&diagnostics) {
        return Ok(());
    }
    diagnostics.retain(|diagnostic| diagnostic.level == Level::Error);
    render::sort(&mut diagnostics);
    let (texts, color) = (project.texts(), stdout::stderr_has_color());
    for diagnostic in &diagnostics {
        eprintln!("{}", render::report(diagnostic, &texts, color));
    }
    let not_a_project = diagnostics.iter().any(|diagnostic| diagnostic.code == config::codes::NOT_A_PROJECT);
    let what = if not_a_project { "there is no project here" } else { "the project has errors" };
    Err(CommandError::usage(anyhow::anyhow!("{what} ({})", render::counted(diagnostics.len(), "error"))))
}

/// Look-up tables are read too: a row that does not fit is found here and not at the start of the pipeline.
fn tables(dir: &Path, texts: &Texts) -> Vec<Diagnostic> {
    let failed = texts.catalog.tables().filter_map(|table| weir_connectors::table::load(table, dir).err());
    failed
        .flat_map(|error| error.diagnostics())
        .map(|mut diagnostic| {
            diagnostic.file = diagnostic.file.map(|file| crate::project::relative(dir, Path::new(&file)));
            diagnostic
        })
        .collect()
}

fn print_reports(project: &Project, texts: &Texts, diagnostics: &[Diagnostic]) -> std::io::Result<()> {
    let mut out = Stdout::lock();
    let sources = project.texts();
    let color = stdout::has_color();
    for diagnostic in diagnostics {
        writeln!(out, "{}", render::report(diagnostic, &sources, color))?;
    }
    writeln!(
        out,
        "checked {}: {}, {}, {}; {}",
        render::counted(project.file_count(), "file"),
        render::counted(texts.catalog.streams().count(), "stream"),
        render::counted(texts.detections.len(), "detection"),
        render::counted(texts.playbooks.len(), "playbook"),
        render::summary(diagnostics),
    )?;
    out.finish()
}

fn print_lines(diagnostics: &[Diagnostic]) -> std::io::Result<()> {
    let mut out = Stdout::lock();
    for diagnostic in diagnostics {
        serde_json::to_writer(&mut out, diagnostic)?;
        out.write_all(b"\n")?;
    }
    out.finish()
}
