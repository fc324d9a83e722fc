//! Edits of a project that runs: its folder is looked at every now and then, and at once on SIGHUP.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use blake3::Hash;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use walkdir::WalkDir;
use weir_engine::Level;

use super::ready::{Ready, Refused, digests};
use crate::config;
use crate::render;

/// How often the folder is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// What decides what runs.
const WATCHED: [&str; 5] = ["streams", "detections", "exceptions", "playbooks", "responders"];

/// What became of edits since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct EditCounts {
    /// Those that run.
    pub(crate) taken: u64,
    /// Those with mistakes, and those that could not be started.
    pub(crate) refused: u64,
}

/// Watches over the folder of a project.
pub(super) struct Edits {
    dir: PathBuf,
    hangup: Signal,
    counts: watch::Sender<EditCounts>,
    /// The folder as it was when it was read last.
    read: Look,
    /// The folder as it was at the last look.
    seen: Look,
    config: Option<String>,
    /// What was refused last, so that it is told once.
    refused: Option<BTreeMap<String, Hash>>,
}

/// The names, sizes and times of all files together.
pub(super) type Look = u64;

impl Edits {
    /// Watches over the folder that `running` was read from, which looked like `read` before that.
    pub(super) fn watch(running: &Ready, read: Look) -> std::io::Result<Self> {
        let dir = running.project.dir.clone();
        let hangup = signal(SignalKind::hangup())?;
        let config = running.project.config_text().map(str::to_owned);
        Ok(Self { dir, hangup, counts: watch::Sender::default(), read, seen: read, config, refused: None })
    }

    /// What became of edits so far, and from now on.
    pub(super) fn counts(&self) -> watch::Receiver<EditCounts> {
        self.counts.subscribe()
    }

    /// An edit runs.
    pub(super) fn taken(&self) {
        self.counts.send_modify(|counts| counts.taken += 1);
    }

    /// An edit does not.
    pub(super) fn refused(&self) {
        self.counts.send_modify(|counts| counts.refused += 1);
    }

    /// Waits until the project is another one than `running`, and one that can run.
    pub(super) async fn next(&mut self, running: &Arc<Ready>) -> anyhow::Result<Ready> {
        loop {
            let is_asked = tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => false,
                _ = self.hangup.recv() => true,
            };
            let dir = self.dir.clone();
            let look =
                tokio::task::spawn_blocking(move || look(&dir)).await.context("looking at the project panicked")?;
            // Who writes several files is not done before there is nothing new at a second look.
            let is_settled = std::mem::replace(&mut self.seen, look) == look;
            if !is_asked && (look == self.read || !is_settled) {
                continue;
            }
            self.read = look;
            if is_asked {
                tracing::info!("SIGHUP: reading the project again");
            }
            if let Some(ready) = self.read(running, is_asked).await? {
                return Ok(ready);
            }
        }
    }

    /// Reads the project; `None` where it says the same, or nothing that can run.
    async fn read(&mut self, running: &Arc<Ready>, is_asked: bool) -> anyhow::Result<Option<Ready>> {
        let of = Arc::clone(running);
        let read = move || Ready::load(&of.project.dir, Some(&of.project.config));
        let read = tokio::task::spawn_blocking(read).await.context("reading the project panicked")?;
        let (project, digests) = match &read {
            Ok(ready) => (&ready.project, ready.digests()),
            Err(refused) => (&refused.project, digests(&refused.project)),
        };
        let config = project.config_text().map(str::to_owned);
        if config != self.config {
            self.config = config;
            tracing::warn!("{} was edited; what it says holds from the next start on", config::FILE);
        }
        if digests == running.digests() {
            if self.refused.take().is_some() || is_asked {
                tracing::info!("the project says what runs already");
            }
            return Ok(None);
        }
        match read {
            Ok(ready) => Ok(Some(ready)),
            Err(refused) => {
                if is_asked || self.refused.as_ref() != Some(&digests) {
                    self.refuse(*refused);
                }
                self.refused = Some(digests);
                Ok(None)
            }
        }
    }

    fn refuse(&self, refused: Refused) {
        let mut errors = refused.diagnostics;
        errors.retain(|diagnostic| diagnostic.level == Level::Error);
        render::sort(&mut errors);
        for error in &errors {
            tracing::error!("{error}");
        }
        let count = weir_engine::error::counted(errors.len(), "error");
        tracing::error!("the edited project has {count}; what ran before runs on");
        self.refused();
    }
}

/// What can be seen of the folder without reading its files.
pub(super) fn look(dir: &Path) -> Look {
    let mut hasher = DefaultHasher::new();
    let folders = WATCHED.iter().map(|folder| dir.join(folder)).chain([dir.join(config::FILE)]);
    let entries = folders.flat_map(|folder| WalkDir::new(folder).follow_links(true).sort_by_file_name());
    for entry in entries.flatten() {
        entry.path().strip_prefix(dir).unwrap_or(entry.path()).hash(&mut hasher);
        if let Ok(about) = entry.metadata() {
            (about.len(), about.modified().ok()).hash(&mut hasher);
        }
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_notices_files_that_come_change_and_go() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("detections/family/one.sql");
        let looks = [
            look(folder.path()),
            {
                std::fs::create_dir_all(file.parent().unwrap()).unwrap();
                std::fs::write(&file, "SELECT 1").unwrap();
                look(folder.path())
            },
            {
                std::fs::write(&file, "SELECT 12").unwrap();
                look(folder.path())
            },
            {
                std::fs::rename(&file, folder.path().join("detections/two.sql")).unwrap();
                look(folder.path())
            },
            {
                std::fs::write(folder.path().join(config::FILE), "").unwrap();
                look(folder.path())
            },
        ];
        let different: std::collections::BTreeSet<_> = looks.iter().collect();
        assert_eq!(different.len(), looks.len());
        std::fs::create_dir_all(folder.path().join("archive")).unwrap();
        std::fs::write(folder.path().join("archive/part-0.parquet"), "x").unwrap();
        assert_eq!(look(folder.path()), looks[4], "what Weir writes itself is no edit");
    }
}
