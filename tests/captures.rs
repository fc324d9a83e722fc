//! Real recordings of attacks through the shipped streams, views and detections: every record is accounted for, the
//! known techniques fire, and the counts stay what they are.
//!
//! The recordings are not part of the project; where they are absent this is skipped. `UPDATE_GOLDEN=1` rewrites the
//! golden file.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::support::project::{Finished, Project, weir};
use crate::support::rows::{Alert, Summary, last_by_uid, lines, ndjson};
use crate::support::skip::{only_quick, recordings};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/captures.txt");

#[test]
fn every_record_of_the_captures_is_accounted_for_and_the_counts_are_golden() {
    let name = "captures::every_record_of_the_captures_is_accounted_for_and_the_counts_are_golden";
    if only_quick(name) {
        return;
    }
    let Some(folder) = recordings(name, "captures") else { return };
    let shipped = Project::new(&[]);
    let written = weir().arg("init").arg(shipped.join("all")).args(["--content", "all"]).output();
    Finished::from(written.expect("weir can be started")).expect_code(0);

    let mut golden = String::from("# capture: events, late, rejected; then the alerts of each detection\n");
    for capture in captures(&folder) {
        golden.push_str(&counted(&shipped.join("all"), &capture));
    }
    compare(&golden);
}

/// The recordings, in the order of their names.
fn captures(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("the recordings can be listed");
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("a recording").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "gz"))
        .collect();
    files.sort();
    assert!(files.len() > 20, "the recordings are complete");
    files
}

/// Replays one recording; gives its part of the golden file.
fn counted(project: &Path, capture: &Path) -> String {
    let name = capture.file_name().expect("a file has a name").to_string_lossy();
    let stream = if name.starts_with("zeek") { "zeek" } else { "windows" };
    let output = weir()
        .args(["replay", "-C"])
        .arg(project)
        .arg("--input")
        .arg(format!("{stream}={}", capture.display()))
        .output()
        .expect("weir can be started");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {stderr}");
    let summary = Summary::read(&stderr);
    assert_eq!(summary.events(), lines(capture).len(), "{name}: every record is counted");

    let mut alerts: BTreeMap<String, usize> = BTreeMap::new();
    let stdout = String::from_utf8_lossy(&output.stdout);
    for alert in last_by_uid(ndjson(&stdout).iter().map(Alert::read)).into_values() {
        *alerts.entry(alert.detection).or_default() += 1;
    }
    let mut text = format!("\n{name}: {}, {}, {}\n", summary.events(), summary.late(), summary.rejected());
    for (detection, count) in alerts {
        writeln!(text, "  {detection}: {count}").expect("text can be written to a text");
    }
    text
}

fn compare(golden: &str) {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(Path::new(GOLDEN).parent().expect("a folder")).expect("the folder can be made");
        std::fs::write(GOLDEN, golden).expect("the golden file can be written");
        return;
    }
    let before = std::fs::read_to_string(GOLDEN).expect("the golden file can be read");
    let lines_of = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let (before, now) = (lines_of(&before), lines_of(golden));
    let gone: Vec<_> = before.iter().filter(|line| !now.contains(line)).collect();
    let come: Vec<_> = now.iter().filter(|line| !before.contains(line)).collect();
    assert!(before == now, "the counts changed (UPDATE_GOLDEN=1 accepts them)\n- {gone:#?}\n+ {come:#?}");
}
