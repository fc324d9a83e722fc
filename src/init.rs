//! `weir init DIR`: a new project folder that works at once and can be read as an example.

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::Context as _;

use crate::cli::InitArgs;
use crate::exit::{Blame, CommandError, CommandResult, Outcome};
use crate::stdout::Stdout;

/// The files of a new project: path and content.
const TEMPLATE: &[(&str, &str)] = &[("weir.toml", include_str!("init/weir.toml"))];

/// Writes the folder and says what to do next.
pub(crate) fn run(args: &InitArgs) -> CommandResult {
    refuse_used_folder(args)?;
    let mut written = Vec::new();
    let mut kept = Vec::new();
    for (path, content) in TEMPLATE {
        let target = args.target.join(path);
        if target.exists() {
            kept.push(*path);
            continue;
        }
        write(&target, content.as_bytes()).outside()?;
        written.push(*path);
    }
    let mut out = Stdout::lock();
    for path in &kept {
        writeln!(out, "kept     {path}")?;
    }
    for path in &written {
        writeln!(out, "written  {path}")?;
    }
    out.finish()?;
    Ok(Outcome::Done)
}

/// A folder with files in it is somebody's work; it is written to only when that is asked for.
fn refuse_used_folder(args: &InitArgs) -> Result<(), CommandError> {
    let target = &args.target;
    if !target.exists() {
        return Ok(());
    }
    let context = || format!("cannot look into {}", target.display());
    let mut entries = fs::read_dir(target).with_context(context).usage()?;
    if entries.next().is_some() && !args.force {
        let message = "holds files already; name another folder, or add --force to put the missing files beside them";
        return Err(CommandError::usage(anyhow::anyhow!("{} {message}", target.display())));
    }
    Ok(())
}

fn write(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    }
    fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))
}
