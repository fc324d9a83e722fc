//! `weir check`: everything that can be known without data, all errors of all files at once.

use std::io::Write;

use weir_engine::error::counted;
use weir_engine::{Diagnostic, Level};

use crate::cli::{CheckArgs, Globals};
use crate::compile;
use crate::config::{self, Need};
use crate::exit::{CommandError, CommandResult, Outcome};
use crate::print::{Format, Rows};
use crate::project::Project;
use crate::render::{self, Texts};
use crate::stdout::{self, Stdout};

/// Checks the project and prints what is wrong.
pub(crate) fn run(globals: &Globals, _args: &CheckArgs) -> CommandResult {
    let (project, mut diagnostics) = Project::load(&globals.dir, Need::Texts);
    if diagnostics.iter().any(|diagnostic| diagnostic.code == config::codes::NOT_A_PROJECT) {
        // There is nothing to check: the folder was named wrongly.
        stop_on_errors(&project, std::mem::take(&mut diagnostics))?;
    }
    let rules = compile::rules(&project, &project.detections);
    diagnostics.extend(rules.diagnostics.iter().cloned());
    let (tests, found) = compile::tests(&project, &rules);
    diagnostics.extend(found);
    let (response, found) = compile::response(&project, &rules);
    diagnostics.extend(found);
    diagnostics.extend(compile::without_fast_topic(&rules, &project.config));
    // A row of a table that does not fit is found here and not at the start of the pipeline.
    let (_, found) = compile::tables(rules.catalog.tables().map(|table| table.name.as_str()), &rules, &project.dir);
    diagnostics.extend(found);
    render::sort(&mut diagnostics);
    // For programs there are formats; a person who pipes this to a pager wants to read it all the same.
    match globals.format {
        None | Some(Format::Table) => {
            let counts = [
                (project.file_count(), "file"),
                (rules.catalog.streams().count(), "stream"),
                (rules.detections.len(), "detection"),
                (tests.iter().map(|test| test.cases.len()).sum(), "test case"),
                (response.playbooks.len(), "playbook"),
            ];
            print_reports(&project.texts(), &diagnostics, &counts)?;
        }
        Some(Format::Json) => print_lines(&diagnostics)?,
        Some(Format::Csv) => rows(&diagnostics).print(Format::Csv)?,
    }
    Ok(if has_errors(&diagnostics) { Outcome::FoundFailures } else { Outcome::Done })
}

/// Whether any of them is an error.
pub(crate) fn has_errors(diagnostics: &[Diagnostic]) -> bool {
    diagnostics.iter().any(|diagnostic| diagnostic.level == Level::Error)
}

/// What a command does that cannot work with a broken project: it shows what is wrong, all of it, and stops. Warnings
/// are left to `weir check`.
pub(crate) fn stop_on_errors(project: &Project, diagnostics: Vec<Diagnostic>) -> Result<(), CommandError> {
    stop_on_errors_in(&project.texts(), diagnostics)
}

/// The same for texts that are not all in the project.
pub(crate) fn stop_on_errors_in(texts: &Texts<'_>, diagnostics: Vec<Diagnostic>) -> Result<(), CommandError> {
    if !has_errors(&diagnostics) {
        return Ok(());
    }
    let not_a_project = diagnostics.iter().any(|diagnostic| diagnostic.code == config::codes::NOT_A_PROJECT);
    let count = tell_errors(texts, diagnostics);
    let what = if not_a_project { "there is no project here" } else { "the project has errors" };
    Err(CommandError::usage(anyhow::anyhow!("{what} ({})", counted(count, "error"))))
}

/// What a command does that can work with a broken project: it shows what is wrong and goes on without the broken parts.
pub(crate) fn go_on_without(project: &Project, diagnostics: Vec<Diagnostic>) {
    if has_errors(&diagnostics) {
        let count = tell_errors(&project.texts(), diagnostics);
        eprintln!("the project has errors ({}); going on without its broken parts", counted(count, "error"));
    }
}

/// Shows errors on standard error; gives how many there are.
fn tell_errors(texts: &Texts<'_>, mut diagnostics: Vec<Diagnostic>) -> usize {
    diagnostics.retain(|diagnostic| diagnostic.level == Level::Error);
    render::sort(&mut diagnostics);
    let color = stdout::stderr_has_color();
    for diagnostic in &diagnostics {
        eprintln!("{}", render::report(diagnostic, texts, color));
    }
    diagnostics.len()
}

fn print_reports(texts: &Texts<'_>, diagnostics: &[Diagnostic], counts: &[(usize, &str)]) -> std::io::Result<()> {
    let mut out = Stdout::lock();
    let color = stdout::has_color();
    for diagnostic in diagnostics {
        writeln!(out, "{}", render::report(diagnostic, texts, color))?;
    }
    let counts = counts.iter().map(|&(count, noun)| counted(count, noun)).collect::<Vec<_>>().join(", ");
    writeln!(out, "checked {counts}: {}", render::summary(diagnostics))?;
    out.finish()
}

fn rows(diagnostics: &[Diagnostic]) -> Rows {
    let mut rows = Rows::new(&["file", "line", "column", "level", "code", "message", "hint"]);
    for diagnostic in diagnostics {
        let start = diagnostic.span.map(|span| span.start);
        rows.push(vec![
            diagnostic.file.clone().into(),
            start.map(|start| start.line).into(),
            start.map(|start| start.column).into(),
            if diagnostic.level == Level::Error { "error" } else { "warning" }.into(),
            diagnostic.code.into(),
            diagnostic.message.clone().into(),
            diagnostic.hint.clone().into(),
        ]);
    }
    rows
}

fn print_lines(diagnostics: &[Diagnostic]) -> std::io::Result<()> {
    let mut out = Stdout::lock();
    for diagnostic in diagnostics {
        serde_json::to_writer(&mut out, diagnostic)?;
        out.write_all(b"\n")?;
    }
    out.finish()
}
