//! Tests that cannot run here: they say so, and are counted as skipped.
//!
//! Rust's test harness knows no skipping at run time. A test that lacks what it needs calls [`skip`] and returns; the
//! line goes to standard error and to the file that `tests/run` names in `WEIR_TEST_SKIPS`, which subtracts it from
//! the passed ones.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;

/// Records that `test` did not run, and why.
pub(crate) fn skip(test: &str, reason: &str) {
    eprintln!("SKIPPED {test}: {reason}");
    let Some(file) = std::env::var_os("WEIR_TEST_SKIPS") else { return };
    let mut file = OpenOptions::new().append(true).create(true).open(file).expect("the file of skips can be opened");
    // One write of one line, so that tests which skip at the same moment do not mix their words.
    file.write_all(format!("{test}: {reason}\n").as_bytes()).expect("the file of skips can be written");
}

/// The folder of third-party recordings, or a skip of `test` where there is none.
pub(crate) fn recordings(test: &str, folder: &str) -> Option<PathBuf> {
    let root = match std::env::var_os("WEIR_TEST_DATA") {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data"),
    };
    let found = root.join(folder);
    if found.is_dir() {
        return Some(found);
    }
    skip(test, &format!("no recordings in {} (set WEIR_TEST_DATA)", found.display()));
    None
}

/// True where only the quick tests are wanted; `test` is then a skip.
pub(crate) fn only_quick(test: &str) -> bool {
    let quick = std::env::var_os("WEIR_TEST_QUICK").is_some();
    if quick {
        skip(test, "it is long, and only the quick tests were asked for");
    }
    quick
}
