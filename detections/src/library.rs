//! The shipped content, inside the binary: log sources with their OCSF views, tables, and detections with their tests.

use include_dir::{Dir, include_dir};

static STREAMS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/streams");
static LIBRARY: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/library");
static TABLES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/tables");

/// One shipped file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShippedFile {
    /// Where it belongs in a project folder, with `/`: `streams/..`, `detections/..` or `tables/..`.
    pub path: String,
    /// Its content.
    pub text: &'static str,
}

/// Every shipped file, sorted by path.
#[must_use]
pub fn files() -> Vec<ShippedFile> {
    let mut files = Vec::new();
    collect(&STREAMS, "streams", &mut files);
    collect(&LIBRARY, "detections", &mut files);
    collect(&TABLES, "tables", &mut files);
    files.sort_by(|one, other| one.path.cmp(&other.path));
    files
}

fn collect(dir: &'static Dir<'static>, root: &str, files: &mut Vec<ShippedFile>) {
    for file in dir.files() {
        // Content is text; the test below says so for every file that is shipped.
        if let Some(text) = file.contents_utf8() {
            let path = file.path().to_string_lossy().replace(std::path::MAIN_SEPARATOR, "/");
            files.push(ShippedFile { path: format!("{root}/{path}"), text });
        }
    }
    dir.dirs().for_each(|dir| collect(dir, root, files));
}

#[cfg(test)]
mod tests;
