//! Replay: the same events give the same alerts, however they are packed, spread or computed.

use std::collections::BTreeMap;
use std::io::Write as _;

use crate::support::pipeline;
use crate::support::project::{Finished, Project};
use crate::support::rows::{Alert, Summary, last_by_uid, ndjson};
use crate::support::signins::{Entry, Outcome, assert_same_alerts, generate, oracle, outcome_of_alerts};

const EVENTS: usize = 30_000;
const FILES: usize = 3;

#[test]
fn plain_gzip_and_zstd_files_give_the_same_alerts() {
    let (project, files, expected) = recorded(1);
    let plain = std::fs::read(project.join(&files[0])).expect("the recorded events");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).expect("events can be packed");
    project.write("packed.ndjson.gz", gzip.finish().expect("events can be packed"));
    project.write("packed.ndjson.zst", zstd::encode_all(plain.as_slice(), 1).expect("events can be packed"));
    for file in [files[0].as_str(), "packed.ndjson.gz", "packed.ndjson.zst"] {
        let alerts = replay(&project, &[file], &[]);
        assert_same_alerts(&outcome_of_alerts(alerts.into_values()), &expected);
    }
}

#[test]
fn parallelism_and_the_order_of_files_change_no_alert() {
    let (project, files, expected) = recorded(FILES);
    let in_order: Vec<&str> = files.iter().map(String::as_str).collect();
    let reversed: Vec<&str> = in_order.iter().rev().copied().collect();
    let one = replay(&project, &in_order, &["--parallelism", "1"]);
    assert_same_alerts(&outcome_of_alerts(one.clone().into_values()), &expected);
    for (files, parallelism) in [(&in_order, "2"), (&in_order, "4"), (&reversed, "1"), (&reversed, "3")] {
        let other = replay(&project, files, &["--parallelism", parallelism]);
        assert_eq!(other, one, "{parallelism} shards over {files:?}");
    }
}

#[test]
fn the_summary_of_a_replay_adds_up() {
    let (project, files, expected) = recorded(FILES);
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let finished = run(&project, &files, &[]);
    let summary = Summary::read(&finished.stderr);
    let dead = expected.dead.len();
    let decoded: usize = expected.archived.values().sum();
    assert_eq!(summary.events(), decoded + dead, "in = on time + late + rejected");
    assert_eq!(summary.rejected(), dead);
    assert_eq!(summary.late(), expected.late);
    assert_eq!(summary.alerts(), expected.locked.len() + expected.guessing.len());
    assert!(summary.number("seconds") > 0.0 && summary.number("events_per_second") > 0.0);
}

#[test]
fn what_response_did_can_be_replayed_from_a_file() {
    let project = Project::new(&[]);
    project.write("streams/signin.sql", "CREATE STREAM signin (time TIMESTAMP) WITH (event_time = 'time');");
    project.write(
        "detections/fails.sql",
        "--! id = \"response.isolation_fails\"\n--! title = \"F\"\n--! severity = \"high\"\n\
         SELECT playbook, count(*) AS failures FROM TUMBLE(actions, time, INTERVAL '1 hour')\n\
         WHERE action = 'contain' AND status = 'failed' GROUP BY playbook, window_start, window_end HAVING count(*) >= 2",
    );
    let line = |minute: usize, status: &str| {
        format!(
            r#"{{"time":"2026-01-01T00:{minute:02}:00Z","playbook":"p","action":"contain","status":"{status}","change_id":"a.{minute}"}}"#
        )
    };
    project.write("actions.ndjson", [line(1, "failed"), line(2, "succeeded"), line(3, "failed")].join("\n"));
    let input = ["replay", "--input", "actions=actions.ndjson", "--alerts", "alerts.ndjson"];
    let summary = Summary::read(&project.weir(&input).expect_code(0).stderr);
    assert_eq!((summary.events(), summary.late()), (3, 0));
    let alerts = last_by_uid(ndjson(&project.read("alerts.ndjson")).iter().map(Alert::read));
    assert_eq!(alerts.len(), 1, "{alerts:?}");
    let refused = project.weir(&["replay", "--input", "late_events=actions.ndjson"]).expect_code(2);
    assert!(refused.stderr.contains("are made of what comes late"), "{}", refused.stderr);
}

#[test]
fn only_the_detections_that_were_named_are_replayed() {
    let (project, files, _) = recorded(1);
    let alerts = replay(&project, &[&files[0]], &["--detections", "detections/locked.sql"]);
    assert!(!alerts.is_empty());
    assert!(alerts.values().all(|alert| alert.detection == "test.locked"), "another detection was replayed");
}

/// A project with recorded events in this many files, each of which is a partition of the stream.
fn recorded(files: usize) -> (Project, Vec<String>, Outcome) {
    let project = pipeline::offline();
    let partitions = generate(7, EVENTS, files);
    let names = (0..files).map(|file| format!("signin-{file}.ndjson")).collect::<Vec<_>>();
    for (name, entries) in names.iter().zip(&partitions) {
        let mut text = Vec::new();
        for payload in entries.iter().map(Entry::payload) {
            text.extend_from_slice(&payload);
            text.push(b'\n');
        }
        project.write(name, text);
    }
    let expected = oracle(&partitions);
    assert!(expected.late > 0 && !expected.dead.is_empty() && expected.guessing.len() > 5, "events worth a test");
    // A replay keeps no archive: what the alerts say is compared, the rest is in the summary.
    (project, names, expected)
}

fn run(project: &Project, files: &[&str], more: &[&str]) -> Finished {
    let inputs: Vec<String> = files.iter().map(|file| format!("signin={file}")).collect();
    let mut arguments = vec!["replay"];
    arguments.extend(inputs.iter().flat_map(|input| ["--input", input]));
    arguments.extend(more);
    project.weir(&arguments).expect_code(0)
}

/// The last record of each alert of a replay.
fn replay(project: &Project, files: &[&str], more: &[&str]) -> BTreeMap<String, Alert> {
    let finished = run(project, files, more);
    last_by_uid(ndjson(&finished.stdout).iter().map(Alert::read))
}
