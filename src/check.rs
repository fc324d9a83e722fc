//! `weir check`: everything that can be known without data, all errors of all files at once.

use std::io::Write;

use weir_engine::{Diagnostic, Level};

use crate::cli::{CheckArgs, Globals};
use crate::config::Need;
use crate::exit::{CommandResult, Outcome};
use crate::print::Format;
use crate::project::Project;
use crate::render;
use crate::stdout::{self, Stdout};

/// Checks the project and prints what is wrong.
pub(crate) fn run(globals: &Globals, _args: &CheckArgs) -> CommandResult {
    let (project, mut diagnostics) = Project::load(&globals.dir, Need::Texts);
    render::sort(&mut diagnostics);
    let mut out = Stdout::lock();
    match Format::or_default(globals.format) {
        Format::Table => print_reports(&project, &diagnostics, &mut out)?,
        Format::Json | Format::Csv => print_lines(&diagnostics, &mut out)?,
    }
    out.finish()?;
    let failed = diagnostics.iter().any(|diagnostic| diagnostic.level == Level::Error);
    Ok(if failed { Outcome::FoundFailures } else { Outcome::Done })
}

fn print_reports(project: &Project, diagnostics: &[Diagnostic], out: &mut Stdout) -> std::io::Result<()> {
    let texts = project.texts();
    let color = stdout::has_color();
    for diagnostic in diagnostics {
        writeln!(out, "{}", render::report(diagnostic, &texts, color))?;
    }
    Ok(())
}

fn print_lines(diagnostics: &[Diagnostic], out: &mut Stdout) -> std::io::Result<()> {
    for diagnostic in diagnostics {
        serde_json::to_writer(&mut *out, diagnostic)?;
        out.write_all(b"\n")?;
    }
    Ok(())
}
