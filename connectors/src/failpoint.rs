//! Named points at which a debug build ends itself, so that a test can show what a sudden death there costs: nothing.
//!
//! `WEIR_FAILPOINTS=epoch.outputs_written=3` ends the process when it is at that point for the third time, without a
//! destructor, a flush or a word to anybody. Spans that are too long for a test are settings beside them
//! (`archive.period_ms=200`). A release reads no variable and has no points.

use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// The variable that arms points: `NAME=NUMBER`, joined by commas.
pub const VARIABLE: &str = "WEIR_FAILPOINTS";

/// Every point. The kill test ends a process once at each, and fails where one is never reached.
pub const POINTS: [&str; 38] = [
    // Taking over from the last process.
    "resume.taken_over",
    "resume.restored",
    // An epoch becomes one manifest.
    "epoch.outputs_written",
    "epoch.snapshot_written",
    "epoch.before_manifest",
    "epoch.after_manifest",
    "epoch.told_to_group",
    "epoch.joined_part_written",
    "epoch.joined_part_taken",
    // An object is put in its place on a disk.
    "object.before_name",
    "object.named",
    // Alerts and dead letters of an epoch, and the cursor, in one transaction.
    "kafka.before_begin",
    "kafka.begun",
    "kafka.records_sent",
    "kafka.before_commit",
    "kafka.committed",
    "kafka.delivered",
    // A copy of an alert leaves before its epoch.
    "fast.before_send",
    "fast.sent",
    // Alerts are handed to response.
    "playbooks.before_alert",
    "playbooks.journaled",
    "playbooks.after_alert",
    "playbooks.before_cursor",
    "playbooks.after_cursor",
    // Runs, cases and audit in SQLite.
    "journal.before_write",
    "journal.before_commit",
    "journal.committed",
    // Rows become files, and files a version of a table.
    "archive.before_files",
    "archive.files_written",
    "archive.committed",
    "archive.flushed",
    "archive.before_compaction",
    "archive.compacted",
    "archive.cleaned_up",
    // What no sink needs any more is deleted.
    "retention.before",
    "retention.manifest_deleted",
    "retention.part_deleted",
    "retention.done",
];

/// Spans and limits that a test may change.
const SETTINGS: [&str; 5] =
    ["archive.period_ms", "archive.files_max", "epoch.parts_max", "fast.timeout_ms", "retention.period_ms"];

static ARMED: OnceLock<Mutex<BTreeMap<String, u64>>> = OnceLock::new();

/// Why points cannot be armed. Whose fault: whoever set the variable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FailpointError {
    /// It is no list of names and numbers.
    #[error("{VARIABLE}: {0:?} is not NAME=NUMBER with a number above 0")]
    Malformed(String),
    /// There is no such point.
    #[error("{VARIABLE}: there is no point {0:?}")]
    Unknown(String),
}

/// Arms the points that the environment names, and gives the text of the variable where it has one.
///
/// # Errors
/// A name that is no point, or a text that is no number.
pub fn arm() -> Result<Option<String>, FailpointError> {
    if !cfg!(debug_assertions) {
        return Ok(None);
    }
    let Some(text) = std::env::var(VARIABLE).ok().filter(|text| !text.is_empty()) else { return Ok(None) };
    let armed = ARMED.get_or_init(Mutex::default);
    *armed.lock().unwrap_or_else(PoisonError::into_inner) = read(&text)?;
    Ok(Some(text))
}

fn read(text: &str) -> Result<BTreeMap<String, u64>, FailpointError> {
    let number = |pair: &str| {
        let (name, number) = pair.split_once('=')?;
        Some((name.to_owned(), number.parse().ok().filter(|number| *number > 0)?))
    };
    let mut armed = BTreeMap::new();
    for pair in text.split(',') {
        let (name, number) = number(pair).ok_or_else(|| FailpointError::Malformed(pair.to_owned()))?;
        if !POINTS.contains(&name.as_str()) && !SETTINGS.contains(&name.as_str()) {
            return Err(FailpointError::Unknown(name));
        }
        armed.insert(name, number);
    }
    Ok(armed)
}

/// The process is at a point; it ends here where that was asked for.
#[inline]
pub fn reach(point: &'static str) {
    if !cfg!(debug_assertions) {
        return;
    }
    debug_assert!(POINTS.contains(&point), "{point} is not in the list of points");
    let Some(armed) = ARMED.get() else { return };
    let mut armed = armed.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(left) = armed.get_mut(point) {
        *left -= 1;
        if *left == 0 {
            std::process::abort();
        }
    }
}

/// A span of the program, or what a test has made of it.
#[must_use]
pub fn span(setting: &'static str, usual: Duration) -> Duration {
    Duration::from_millis(limit(setting, usual.as_millis() as u64))
}

/// A limit of the program, or what a test has made of it.
#[must_use]
pub fn limit(setting: &'static str, usual: u64) -> u64 {
    if !cfg!(debug_assertions) {
        return usual;
    }
    debug_assert!(SETTINGS.contains(&setting), "{setting} is not in the list of settings");
    let armed = ARMED.get().map(|armed| armed.lock().unwrap_or_else(PoisonError::into_inner));
    armed.and_then(|armed| armed.get(setting).copied()).unwrap_or(usual)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_and_settings_are_read_with_their_numbers() {
        let armed = read("epoch.after_manifest=3,archive.period_ms=200").unwrap();
        let expected = [("archive.period_ms".to_owned(), 200), ("epoch.after_manifest".to_owned(), 3)];
        assert_eq!(armed, BTreeMap::from(expected));
    }

    #[test]
    fn what_would_never_end_the_process_is_refused() {
        assert_eq!(read("epoch.nowhere=1"), Err(FailpointError::Unknown("epoch.nowhere".to_owned())));
        for text in ["epoch.after_manifest", "epoch.after_manifest=0", "epoch.after_manifest=often"] {
            assert_eq!(read(text), Err(FailpointError::Malformed(text.to_owned())));
        }
    }

    #[test]
    fn a_name_is_there_once() {
        let names: std::collections::BTreeSet<_> = POINTS.iter().chain(&SETTINGS).collect();
        assert_eq!(names.len(), POINTS.len() + SETTINGS.len());
    }
}
