//! `weir explain DETECTION`: from its text to what runs: plan, operators, state and what is read.

use crate::check;
use crate::cli::{ExplainArgs, Globals};
use crate::compile;
use crate::config::Need;
use crate::exit::{CommandError, CommandResult, Outcome};
use crate::project::Project;
use crate::stdout;

/// Prints how the detection runs.
pub(crate) fn run(globals: &Globals, args: &ExplainArgs) -> CommandResult {
    if args.uid.is_some() {
        let version = env!("CARGO_PKG_VERSION");
        let text = format!("`weir explain alert UID` is not part of version {version} yet");
        return Err(CommandError::usage(anyhow::anyhow!(text)));
    }
    let (project, diagnostics) = Project::load(&globals.dir, Need::Texts);
    check::stop_on_errors(&project, diagnostics)?;
    let rules = compile::rules(&project, &project.detections);
    let is_meant = |id: &str, file: &str| id == args.detection || file == args.detection;
    let Some(at) = rules.detections.iter().position(|detection| is_meant(&detection.id, &detection.file)) else {
        // The file may be there and have a header that cannot be read.
        let in_file = rules.diagnostics.iter().filter(|found| found.file.as_deref() == Some(args.detection.as_str()));
        check::stop_on_errors(&project, in_file.cloned().collect())?;
        let ids = rules.detections.iter().map(|detection| &*detection.id);
        let hint =
            weir_engine::error::nearest(&args.detection, ids).map(|hint| format!("; {hint}")).unwrap_or_default();
        return Err(CommandError::usage(anyhow::anyhow!("there is no detection `{}`{hint}", args.detection)));
    };
    let detection = &rules.detections[at];
    let Some(explained) = rules.program.explain(at) else {
        let file = Some(detection.file.as_str());
        let found = rules.diagnostics.iter().filter(|found| found.file.as_deref() == file).cloned().collect();
        check::stop_on_errors(&project, found)?;
        return Err(CommandError::usage(anyhow::anyhow!("{} does not compile", detection.id)));
    };
    let text = format!("{}: {}\n{}\n\n{}", detection.id, detection.title, detection.file, explained.trim_end());
    stdout::print(&text)?;
    Ok(Outcome::Done)
}
