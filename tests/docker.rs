//! The container's project: what `docker compose up` runs is checked as any other project.

use std::path::Path;
use std::process::Command;

use crate::support::project::{Finished, weir};
use crate::support::rows::{Alert, Summary, last_by_uid, ndjson};

const DOCKER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docker");

#[test]
fn the_project_of_the_container_has_no_mistake() {
    let checked = weir_in_docker(&["check", "--format", "json"]).expect_code(0);
    assert_eq!(checked.stdout.lines().filter(|line| line.contains("\"level\"")).collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn the_detection_of_the_container_passes_its_tests() {
    weir_in_docker(&["test"]).expect_code(0);
}

#[test]
fn the_sample_producer_sets_off_the_detection() {
    let sample = Command::new("bash").args(["sample/signins.sh", "130", "0"]).current_dir(DOCKER).output();
    let sample = sample.expect("bash can be run");
    assert!(sample.status.success(), "{}", String::from_utf8_lossy(&sample.stderr));
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let events = folder.path().join("signins.ndjson");
    std::fs::write(&events, sample.stdout).expect("the sample can be written");

    let input = format!("signins={}", events.display());
    let replayed = weir_in_docker(&["replay", "--input", &input]).expect_code(0);
    // Two bursts of failures, of one user or of two, and one line that is cut off.
    assert_eq!(Summary::read(&replayed.stderr).rejected(), 1);
    let alerts = last_by_uid(ndjson(&replayed.stdout).iter().map(Alert::read));
    assert!(alerts.values().any(|alert| alert.detection == "identity.password_guessing"), "{alerts:?}");
}

#[test]
fn every_topic_of_the_project_is_created() {
    let created = read("sample/create-topics.sh");
    let config: toml::Table = read("weir.toml").parse().expect("weir.toml is TOML");
    let written = ["alerts", "dead_letters"].map(|part| config[part]["topic"].as_str().expect("a topic").to_owned());
    let streams = read("streams/signins.sql");
    let read_topic = streams.split("topic = '").nth(1).and_then(|rest| rest.split('\'').next()).expect("a topic");
    for topic in written.iter().map(String::as_str).chain([read_topic]) {
        assert!(created.split_whitespace().any(|word| word.trim_end_matches(';') == topic), "{topic} is not created");
    }
}

#[test]
fn the_build_of_the_image_sees_every_source() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let ignored = ignored();
    let mut seen = 0;
    for top in ["src", "engine", "detections", "playbooks", "connectors", "benches", "Cargo.toml", "Cargo.lock"] {
        for entry in walkdir::WalkDir::new(root.join(top)) {
            let entry = entry.expect("a source can be read");
            let path = entry.path().strip_prefix(root).expect("a path below the root");
            assert!(!ignored.is_match(path), "{} is kept from the build", path.display());
            seen += 1;
        }
    }
    assert!(seen > 100, "the sources were looked at");
    for path in ["target", "archive", "docker/state", "weir.db", "docker/weir.db-wal"] {
        assert!(ignored.is_match(path), "{path} is no source");
    }
}

/// What `docker build` leaves out. What lies below a folder that is left out is left out with it; a walk comes by the
/// folder first.
fn ignored() -> globset::GlobSet {
    let mut patterns = globset::GlobSetBuilder::new();
    for line in read("Dockerfile.dockerignore").lines().filter(|line| !line.starts_with('#')) {
        patterns.add(globset::GlobBuilder::new(line).literal_separator(true).build().expect("a pattern"));
    }
    patterns.build().expect("patterns")
}

#[test]
fn the_image_is_built_with_the_toolchain_of_the_project() {
    let toolchain = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/rust-toolchain.toml"));
    let toolchain: toml::Table = toolchain.expect("rust-toolchain.toml").parse().expect("it is TOML");
    let channel = toolchain["toolchain"]["channel"].as_str().expect("a channel");
    let dockerfile = read("Dockerfile");
    assert!(dockerfile.contains(&format!("FROM rust:{channel}-")), "the base image is another Rust than {channel}");
    assert!(dockerfile.contains(&format!("ENV RUSTUP_TOOLCHAIN={channel}\n")), "the toolchain is not {channel}");
}

fn weir_in_docker(args: &[&str]) -> Finished {
    let output = weir().args(["-C", DOCKER]).args(args).output().expect("weir can be started");
    Finished::from(output)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(DOCKER).join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}
