//! `weir init DIR`: a new project folder that works at once and can be read as an example.

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::Context as _;
use clap::ValueEnum;

use crate::cli::InitArgs;
use crate::exit::{Blame, CommandError, CommandResult, Outcome};
use crate::stdout::Stdout;

/// The example project: path and content of each file.
const EXAMPLE: &[(&str, &str)] = &[
    ("README.md", include_str!("init/README.md")),
    ("weir.toml", include_str!("init/weir.toml")),
    ("streams/app_signin.sql", include_str!("init/streams/app_signin.sql")),
    ("tables/bad_addresses.csv", include_str!("init/tables/bad_addresses.csv")),
    ("detections/signin/repeated_failures.sql", include_str!("init/detections/signin/repeated_failures.sql")),
    (
        "detections/signin/repeated_failures.test.yaml",
        include_str!("init/detections/signin/repeated_failures.test.yaml"),
    ),
    ("detections/signin/repeated_failures.md", include_str!("init/detections/signin/repeated_failures.md")),
    ("detections/signin/listed_address.sql", include_str!("init/detections/signin/listed_address.sql")),
    ("detections/signin/listed_address.test.yaml", include_str!("init/detections/signin/listed_address.test.yaml")),
    ("exceptions/signin.yaml", include_str!("init/exceptions/signin.yaml")),
    ("playbooks/tell_the_team.yaml", include_str!("init/playbooks/tell_the_team.yaml")),
    ("samples/app_signin.ndjson", include_str!("init/samples/app_signin.ndjson")),
];

/// The one shipped file that the example needs: who carries out its `notify`.
const EXAMPLE_RESPONDER: &str = "responders/chat.yaml";

/// How much of what is shipped goes into a new project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Content {
    /// A small example: one stream, two detections with tests, a playbook.
    #[default]
    Example,
    /// The example and everything that is shipped: log sources with OCSF views, detections, playbooks, responders.
    All,
}

/// Writes the folder and says what to do next.
pub(crate) fn run(args: &InitArgs) -> CommandResult {
    refuse_used_folder(args)?;
    let mut written = Vec::new();
    let mut kept = Vec::new();
    for (path, content) in files(args.content) {
        let target = args.target.join(&path);
        if target.exists() {
            kept.push(path);
            continue;
        }
        write(&target, content).outside()?;
        written.push(path);
    }
    let mut out = Stdout::lock();
    kept.iter().try_for_each(|path| writeln!(out, "kept     {path}"))?;
    written.iter().try_for_each(|path| writeln!(out, "written  {path}"))?;
    let dir = args.target.display();
    writeln!(
        out,
        "\nNext:\n  weir check -C {dir}\n  weir test -C {dir}\n  \
         weir replay -C {dir} --input app_signin={dir}/samples/app_signin.ndjson"
    )?;
    out.finish()?;
    Ok(Outcome::Done)
}

/// The files to write, sorted by path; a file of the example goes before a shipped one of its name.
fn files(content: Content) -> Vec<(String, &'static str)> {
    let mut files = EXAMPLE.iter().map(|&(path, text)| (path.to_owned(), text)).collect::<Vec<_>>();
    let rules = weir_detections::library::files().into_iter().map(|file| (file.path, file.text));
    let response = weir_playbooks::library::files().into_iter().map(|file| (file.path, file.text));
    let is_wanted = |path: &str| content == Content::All || path == EXAMPLE_RESPONDER;
    let shipped = rules.chain(response).filter(|(path, _)| is_wanted(path)).collect::<Vec<_>>();
    for (path, text) in shipped {
        if !files.iter().any(|(example, _)| *example == path) {
            files.push((path, text));
        }
    }
    files.sort();
    files
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

fn write(path: &Path, content: &str) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    }
    fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn under(folder: &Path, path: &str, found: &mut Vec<String>) {
        for entry in fs::read_dir(folder).expect("a folder") {
            let entry = entry.expect("an entry");
            let path = format!("{path}{}", entry.file_name().to_string_lossy());
            if entry.path().is_dir() { under(&entry.path(), &format!("{path}/"), found) } else { found.push(path) }
        }
    }

    #[test]
    fn every_file_of_the_template_is_written() {
        let mut found = Vec::new();
        under(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src/init")), "", &mut found);
        found.sort();
        let mut listed = EXAMPLE.iter().map(|&(path, _)| path.to_owned()).collect::<Vec<_>>();
        listed.sort();
        assert_eq!(listed, found);
    }

    #[test]
    fn example_has_its_responder_and_all_has_what_is_shipped() {
        let example = files(Content::Example);
        assert_eq!(example.len(), EXAMPLE.len() + 1);
        assert!(example.iter().any(|(path, _)| path == EXAMPLE_RESPONDER));
        let all = files(Content::All);
        let shipped = weir_detections::library::files().len() + weir_playbooks::library::files().len();
        assert_eq!(all.len(), EXAMPLE.len() + shipped, "no shipped file has the name of an example");
    }
}
