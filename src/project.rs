//! A project folder: its texts, by kind, with names relative to the folder. What cannot be read is a diagnostic too.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;
use weir_engine::{Diagnostic, Place, Span};

use crate::config::{self, Config, Need};
use crate::render::Texts;

/// A text of the project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SourceFile {
    /// Its path relative to the project folder, with `/`; as given where it lies outside.
    pub(crate) path: String,
    /// Its content.
    pub(crate) text: String,
}

/// Everything a project folder holds, read once.
#[derive(Debug)]
pub(crate) struct Project {
    /// The folder.
    pub(crate) dir: PathBuf,
    /// What `weir.toml` means; defaults where there is none.
    pub(crate) config: Config,
    /// `streams/**/*.sql`
    pub(crate) streams: Vec<SourceFile>,
    /// `detections/**/*.sql`
    pub(crate) detections: Vec<SourceFile>,
    /// `detections/**/*.md`
    pub(crate) runbooks: Vec<SourceFile>,
    /// `detections/**/*.test.yaml`
    pub(crate) tests: Vec<SourceFile>,
    /// `playbooks/**/*.yaml`
    pub(crate) playbooks: Vec<SourceFile>,
    /// `playbooks/**/*.test.yaml`
    pub(crate) playbook_tests: Vec<SourceFile>,
    /// `responders/**/*.yaml`
    pub(crate) responders: Vec<SourceFile>,
    /// `exceptions/**/*.yaml`
    pub(crate) exceptions: Vec<SourceFile>,
    config_text: Option<String>,
}

impl Project {
    /// Reads the folder `dir`.
    ///
    /// All that is wrong with its files as files, and with `weir.toml`, is in the diagnostics. An error among them
    /// with the code [`NOT_A_PROJECT`](config::codes::NOT_A_PROJECT) says that there is nothing to work with.
    pub(crate) fn load(dir: &Path, need: Need) -> (Self, Vec<Diagnostic>) {
        let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
        let mut reader = Reader { dir: &dir, diagnostics: Vec::new() };
        let config_text = reader.config_text();
        let text = config_text.as_deref().unwrap_or("");
        let (config, mut diagnostics) = Config::read(text, &dir, &config::variable, need);
        let (tests, _) = reader.folder("detections", &[".test.yaml", ".test.yml"], &[]);
        let (runbooks, _) = reader.folder("detections", &[".md"], &[]);
        let (playbook_tests, _) = reader.folder("playbooks", &[".test.yaml", ".test.yml"], &[]);
        let (streams, any_streams) = reader.folder("streams", &[".sql"], &[]);
        let (detections, any_detections) = reader.folder("detections", &[".sql"], &[]);
        let (playbooks, any_playbooks) = reader.folder("playbooks", &[".yaml", ".yml"], &[".test.yaml", ".test.yml"]);
        let (responders, _) = reader.folder("responders", &[".yaml", ".yml"], &[]);
        let (exceptions, _) = reader.folder("exceptions", &[".yaml", ".yml"], &[]);
        diagnostics.append(&mut reader.diagnostics);
        if config_text.is_none() && !(any_streams || any_detections || any_playbooks) {
            diagnostics.push(not_a_project(&dir));
        }
        let project = Self {
            config,
            streams,
            detections,
            runbooks,
            tests,
            playbooks,
            playbook_tests,
            responders,
            exceptions,
            config_text,
            dir,
        };
        (project, diagnostics)
    }

    /// All texts by name, for showing lines of them.
    pub(crate) fn texts(&self) -> Texts<'_> {
        let files = [
            &self.streams,
            &self.detections,
            &self.tests,
            &self.playbooks,
            &self.playbook_tests,
            &self.responders,
            &self.exceptions,
        ];
        let config = self.config_text.as_deref().map(|text| (config::FILE, text));
        files.into_iter().flatten().map(|file| (file.path.as_str(), file.text.as_str())).chain(config).collect()
    }

    /// The text of `weir.toml`, where there is one.
    pub(crate) fn config_text(&self) -> Option<&str> {
        self.config_text.as_deref()
    }

    /// How many files were read.
    pub(crate) fn file_count(&self) -> usize {
        self.texts().len()
    }
}

/// Says in what a project folder differs from this one, and how to come by one.
fn not_a_project(dir: &Path) -> Diagnostic {
    let message = if dir.is_dir() {
        let what = "holds no Weir project: no weir.toml, and no streams/, detections/ or playbooks/ with files";
        format!("{} {what}", dir.display())
    } else {
        format!("there is no folder {}", dir.display())
    };
    Diagnostic::error(config::codes::NOT_A_PROJECT, message)
        .hint("`weir init DIR` writes a working one; `weir -C DIR ...` names one that lies elsewhere")
}

struct Reader<'a> {
    dir: &'a Path,
    diagnostics: Vec<Diagnostic>,
}

impl Reader<'_> {
    fn config_text(&mut self) -> Option<String> {
        let path = self.dir.join(config::FILE);
        path.exists().then(|| self.text(&path, config::FILE)).flatten()
    }

    /// The files below `folder` whose names end in one of `endings` and in none of `not`, sorted by path; and whether
    /// there were any, readable or not.
    fn folder(&mut self, folder: &str, endings: &[&str], not: &[&str]) -> (Vec<SourceFile>, bool) {
        let root = self.dir.join(folder);
        let mut files = Vec::new();
        let mut any = false;
        if !root.exists() {
            return (files, any);
        }
        for entry in WalkDir::new(&root).follow_links(true).sort_by_file_name() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    self.unreadable(folder, &error);
                    continue;
                }
            };
            let name = entry.file_name().to_string_lossy();
            let ends = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
            // Editors keep their own files beside ours, under names that begin with a dot.
            if entry.file_type().is_dir() || name.starts_with('.') || !ends(endings) || ends(not) {
                continue;
            }
            any = true;
            let relative = relative(self.dir, entry.path());
            if let Some(text) = self.text(entry.path(), &relative) {
                files.push(SourceFile { path: relative, text });
            }
        }
        (files, any)
    }

    fn text(&mut self, path: &Path, name: &str) -> Option<String> {
        match read_text(path) {
            Ok(text) => Some(text),
            Err(error) => {
                match error.get_ref().and_then(|inner| inner.downcast_ref::<NotUtf8>()) {
                    Some(bad) => self.diagnostics.push(bad.diagnostic().in_file(name)),
                    None => self.unreadable(name, &error),
                }
                None
            }
        }
    }

    fn unreadable(&mut self, name: &str, error: &dyn std::error::Error) {
        let message = format!("cannot read this: {error}");
        self.diagnostics.push(Diagnostic::error(config::codes::UNREADABLE, message).in_file(name));
    }
}

/// A file's text, without the mark that some editors put before the first character.
pub(crate) fn read_text(path: &Path) -> std::io::Result<String> {
    let text = decoded(std::fs::read(path)?).map_err(|bad| std::io::Error::new(ErrorKind::InvalidData, bad))?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// A file's text has a byte that UTF-8 does not have there.
#[derive(Debug, thiserror::Error)]
#[error("line {}, column {}: the byte 0x{byte:02X} is no UTF-8", place.line, place.column)]
struct NotUtf8 {
    place: Place,
    byte: u8,
    is_utf16: bool,
}

impl NotUtf8 {
    fn diagnostic(&self) -> Diagnostic {
        let message = format!("this is no UTF-8: the byte 0x{:02X} does not go here", self.byte);
        let hint = if self.is_utf16 {
            "the file is UTF-16; save it as UTF-8"
        } else {
            "save the file as UTF-8; an editor for Latin-1 or Windows-1252 writes such bytes for letters with accents"
        };
        Diagnostic::error(config::codes::UNREADABLE, message).at(Span::at(self.place)).hint(hint)
    }
}

fn decoded(bytes: Vec<u8>) -> Result<String, NotUtf8> {
    String::from_utf8(bytes).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        let bytes = error.as_bytes();
        let before = String::from_utf8_lossy(&bytes[..offset]);
        NotUtf8 {
            place: Place::of_offset(&before, offset),
            byte: bytes.get(offset).copied().unwrap_or_default(),
            is_utf16: bytes.starts_with(&[0xFF, 0xFE]) || bytes.starts_with(&[0xFE, 0xFF]),
        }
    })
}

/// A path relative to `dir` with `/` between its parts; the path itself where it lies elsewhere.
pub(crate) fn relative(dir: &Path, path: &Path) -> String {
    let inside = path.strip_prefix(dir).unwrap_or(path);
    let separator = std::path::MAIN_SEPARATOR_STR;
    inside.to_string_lossy().replace(separator, "/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(bytes: &[u8]) -> String {
        decoded(bytes.to_vec()).unwrap_err().diagnostic().in_file("x.sql").to_string()
    }

    #[test]
    fn bytes_that_are_no_utf_8_are_told_at_their_place() {
        assert_eq!(
            told(b"SELECT 1\n-- \xC3\xB6 f\xFCr"),
            "x.sql:2:7: C010 this is no UTF-8: the byte 0xFC does not go here; save the file as UTF-8; an editor for \
             Latin-1 or Windows-1252 writes such bytes for letters with accents"
        );
        assert_eq!(
            told(b"\xFF\xFES\0E\0"),
            "x.sql:1:1: C010 this is no UTF-8: the byte 0xFF does not go here; the file is UTF-16; save it as UTF-8"
        );
        assert_eq!(decoded("für".into()).unwrap(), "für");
    }
}
