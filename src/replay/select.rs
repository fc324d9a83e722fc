//! Which detection files a `--detections GLOB` means.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use globset::GlobBuilder;
use walkdir::WalkDir;

use crate::project::{self, SourceFile};

/// The files that the patterns mean, each once, sorted by path. A pattern is relative to the project folder `dir`, or to
/// the current folder where nothing matches there; a folder means every `.sql` file below it. Files outside of the
/// project are welcome.
pub(crate) fn detection_files(patterns: &[String], dir: &Path) -> anyhow::Result<Vec<SourceFile>> {
    let current = std::env::current_dir().context("the current folder is gone")?;
    let mut paths = BTreeSet::new();
    for pattern in patterns {
        let mut found = matching(pattern, dir)?;
        if found.is_empty() && current != dir {
            found = matching(pattern, &current)?;
        }
        if found.is_empty() {
            bail!("no detection file matches `{pattern}`, neither in {} nor in {}", dir.display(), current.display());
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

    fn folder() -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a folder");
        for path in ["detections/a/one.sql", "detections/a/two.sql", "detections/b/three.sql", "detections/b/three.md"]
        {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
            std::fs::write(path, "SELECT 1").expect("a file");
        }
        dir
    }

    fn selected(patterns: &[&str]) -> Result<Vec<String>, String> {
        let dir = folder();
        let root = dir.path().canonicalize().expect("a folder");
        let patterns = patterns.iter().map(|&pattern| pattern.to_owned()).collect::<Vec<_>>();
        detection_files(&patterns, &root)
            .map(|files| files.into_iter().map(|file| file.path).collect())
            .map_err(|error| error.to_string())
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
    fn pattern_without_a_file_is_refused() {
        let error = selected(&["detections/c/*.sql"]).expect_err("no such file");
        assert!(error.starts_with("no detection file matches `detections/c/*.sql`"), "{error}");
    }
}
