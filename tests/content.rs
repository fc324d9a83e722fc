//! The shipped content as a user gets it: written out, checked and tested by the binary.

use std::collections::BTreeSet;
use std::path::Path;

use crate::support::project::{Finished, Project, weir};

#[test]
fn the_shipped_content_has_no_mistake_and_passes_its_own_tests() {
    let (_folder, content) = written_out();
    let checked = weir_in(&content, &["check", "--format", "json"]).expect_code(0);
    let found: Vec<&str> = checked.stdout.lines().filter(|line| line.contains("\"level\"")).collect();
    assert!(found.is_empty(), "warnings in shipped content:\n{}", found.join("\n"));
    weir_in(&content, &["test"]).expect_code(0);
}

#[test]
fn every_shipped_detection_has_a_test_beside_it() {
    let library = Path::new(env!("CARGO_MANIFEST_DIR")).join("detections/library");
    let files: BTreeSet<String> = walkdir::WalkDir::new(&library)
        .into_iter()
        .map(|entry| entry.expect("the library can be read").path().display().to_string())
        .collect();
    let detections: Vec<&String> = files.iter().filter(|file| file.ends_with(".sql")).collect();
    assert!(detections.len() >= 20, "only {} detections are shipped", detections.len());
    let untested: Vec<&String> =
        detections.into_iter().filter(|file| !files.contains(&file.replace(".sql", ".test.yaml"))).collect();
    assert!(untested.is_empty(), "without a test: {untested:#?}");
}

fn written_out() -> (Project, std::path::PathBuf) {
    let folder = Project::new(&[]);
    let content = folder.join("all");
    let output = weir().arg("init").arg(&content).args(["--content", "all"]).output().expect("weir can be started");
    Finished::from(output).expect_code(0);
    (folder, content)
}

fn weir_in(project: &Path, args: &[&str]) -> Finished {
    Finished::from(weir().arg("-C").arg(project).args(args).output().expect("weir can be started"))
}
