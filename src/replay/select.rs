//! Which detection files a `--detections GLOB` means: by id or by path.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use globset::{Glob, GlobBuilder};
use walkdir::WalkDir;
use weir_engine::error::nearest;

use crate::project::{self, Project, SourceFile};

/// The files that the patterns mean, each once, sorted by path.
///
/// A pattern stands for the detections of the project whose ids it matches, and for files: relative to the project
/// folder, or to the current folder where nothing matches there. A folder means every `.sql` file below it. Files outside
/// of the project are welcome.
pub(crate) fn detection_files(patterns: &[String], project: &Project) -> anyhow::Result<Vec<SourceFile>> {
    let dir = &project.dir;
    let current = std::env::current_dir().context("the current folder is gone")?;
    let mut paths = BTreeSet::new();
    for pattern in patterns {
        let mut found = of_ids(pattern, project)?;
        found.extend(matching(pattern, dir)?);
        if found.is_empty() && current != *dir {
            found = matching(pattern, &current)?;
        }
        if found.is_empty() {
            return Err(nothing_matches(pattern, project, &current));
        }
        paths.extend(found);
    }
    let read = |path: PathBuf| {
        let text = project::read_text(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let path = named(&path, dir, &current);
        Ok(SourceFile { path, text })
    };
    paths.into_iter().map(read).collect()
}

/// The files of the detections whose ids match.
fn of_ids(pattern: &str, project: &Project) -> anyhow::Result<Vec<PathBuf>> {
    // What is no pattern of ids may still be the name of a file.
    let Ok(glob) = Glob::new(pattern) else { return Ok(Vec::new()) };
    let glob = glob.compile_matcher();
    let means = |file: &&SourceFile| id(&file.text).is_some_and(|id| id == pattern || glob.is_match(&id));
    let paths = project.detections.iter().filter(means).map(|file| project.dir.join(&file.path).canonicalize());
    Ok(paths.collect::<Result<_, _>>()?)
}

/// The id that the header of a detection says, whether or not the rest of it can be read.
fn id(text: &str) -> Option<String> {
    let header = text.lines().map_while(|line| line.strip_prefix("--!"));
    let mut written = header.filter_map(|line| line.parse::<toml::Table>().ok());
    written.find_map(|line| line.get("id")?.as_str().map(str::to_owned))
}

fn nothing_matches(pattern: &str, project: &Project, current: &Path) -> anyhow::Error {
    let ids = project.detections.iter().filter_map(|file| id(&file.text)).collect::<Vec<_>>();
    let names = ids.iter().chain(project.detections.iter().map(|file| &file.path)).map(String::as_str);
    let hint = nearest(pattern, names).map_or_else(String::new, |hint| format!("; {hint}"));
    let dir = project.dir.display();
    let place = match project.dir == current {
        true => format!("in {dir}"),
        false => format!("neither in {dir} nor in {}", current.display()),
    };
    anyhow::anyhow!("no detection has an id or a file that matches `{pattern}`, {place}{hint}")
}

/// A path as its reader knows it: relative to the project, else to the current folder, else absolute.
fn named(path: &Path, dir: &Path, current: &Path) -> String {
    let base = if path.starts_with(dir) { dir } else { current };
    project::relative(base, path)
}

fn matching(pattern: &str, base: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let whole = base.join(pattern);
    if whole.is_file() {
        return Ok(vec![whole.canonicalize()?]);
    }
    let whole = if whole.is_dir() { whole.join("**/*.sql") } else { whole };
    let text = whole.to_string_lossy().into_owned();
    let glob = GlobBuilder::new(&text)
        .literal_separator(true)
        .build()
        .with_context(|| format!("`{pattern}` is not a pattern"))?
        .compile_matcher();
    let mut paths = Vec::new();
    // Names in a pattern come back resolved, so that two ways to one file are one.
    for entry in WalkDir::new(fixed_part(&whole)).follow_links(true).into_iter().filter_map(Result::ok) {
        let is_sql = entry.path().extension().is_some_and(|extension| extension == "sql");
        if entry.file_type().is_file() && is_sql && glob.is_match(entry.path()) {
            paths.push(entry.path().canonicalize()?);
        }
    }
    Ok(paths)
}

/// The leading folders of a pattern that are no pattern themselves: where the search begins.
fn fixed_part(pattern: &Path) -> PathBuf {
    let is_fixed = |part: &std::path::Component<'_>| !part.as_os_str().to_string_lossy().contains(['*', '?', '[', '{']);
    pattern.components().take_while(is_fixed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Need;

    fn folder() -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a folder");
        for (path, text) in [
            ("detections/a/one.sql", "--! id = \"door.one\"\n--! titel = \"no title\"\nSELECT 1"),
            ("detections/a/two.sql", "-- no header\nSELECT 1"),
            ("detections/b/three.sql", "--! title = \"Three\"\n--! id = 'gate.three' # its name\nSELECT 1"),
            ("detections/b/three.md", "--! id = \"door.four\""),
        ] {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
            std::fs::write(path, text).expect("a file");
        }
        dir
    }

    fn selected(patterns: &[&str]) -> Result<Vec<String>, String> {
        let dir = folder();
        let root = dir.path().canonicalize().expect("a folder");
        let (project, _) = Project::load(&root, Need::Texts);
        let patterns = patterns.iter().map(|&pattern| pattern.to_owned()).collect::<Vec<_>>();
        detection_files(&patterns, &project)
            .map(|files| files.into_iter().map(|file| file.path).collect())
            .map_err(|error| error.to_string().replace(&root.display().to_string(), "ROOT"))
    }

    #[test]
    fn ids_and_patterns_of_ids_select_their_files() {
        let files = |names: &[&str]| Ok(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>());
        assert_eq!(selected(&["gate.three"]), files(&["detections/b/three.sql"]));
        assert_eq!(selected(&["door.*"]), files(&["detections/a/one.sql"]), "a header with a mistake has an id");
        assert_eq!(
            selected(&["*.{one,three}", "detections/a/one.sql"]),
            files(&["detections/a/one.sql", "detections/b/three.sql"]),
            "once by its id and once by its path is once"
        );
    }

    #[test]
    fn patterns_folders_and_files_select_each_file_once() {
        assert_eq!(
            selected(&["detections/**/*.sql", "detections/a/one.sql"]).as_deref(),
            Ok(["detections/a/one.sql", "detections/a/two.sql", "detections/b/three.sql"].map(String::from).as_slice())
        );
        assert_eq!(selected(&["detections/b"]).as_deref(), Ok(["detections/b/three.sql"].map(String::from).as_slice()));
        assert_eq!(
            selected(&["detections/*/t*.sql"]).as_deref(),
            Ok(["detections/a/two.sql", "detections/b/three.sql"].map(String::from).as_slice())
        );
    }

    #[test]
    fn pattern_that_matches_nothing_is_refused_with_the_nearest_name() {
        let refused = |pattern: &str| selected(&[pattern]).expect_err("there is none");
        let error = refused("detections/c/*.sql");
        let expected = "no detection has an id or a file that matches `detections/c/*.sql`, neither in ROOT nor in ";
        assert!(error.starts_with(expected), "{error}");
        assert!(refused("gate.tree").ends_with("; did you mean `gate.three`?"), "{}", refused("gate.tree"));
        let misspelt = refused("detections/a/tow.sql");
        assert!(misspelt.ends_with("; did you mean `detections/a/two.sql`?"), "{misspelt}");
        assert_eq!(refused("door.["), "`door.[` is not a pattern");
    }
}
