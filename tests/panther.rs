//! Correlations of Panther's, written as detections of ours (`tests/panther`), must fire where Panther's own tests say so.
//!
//! What the rules of a correlation have found are the events here. Every test is a tenant, so that one run holds them all. The
//! tests themselves are not part of the project; where they are absent this is skipped.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use chrono::DateTime;
use serde_json::{Map, Value, json};

use crate::support::events::rfc3339;
use crate::support::project::{Finished, Project, weir};
use crate::support::rows::{Alert, Summary, lines, ndjson};
use crate::support::skip::recordings;

const PROJECT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/panther");

/// Where the first event of every test is put, so that they lie side by side: 1 January 2026.
const FIRST_US: i64 = 1_767_225_600_000_000;

/// A test of a correlation.
struct Correlation {
    id: String,
    rule: String,
    fires: bool,
    /// Time after the first, and the event.
    events: Vec<(i64, Value)>,
}

#[test]
fn every_correlation_fires_where_it_must_and_nowhere_else() {
    let name = "panther::every_correlation_fires_where_it_must_and_nowhere_else";
    let Some(folder) = recordings(name, "panther") else { return };
    let tests = correlations(&folder.join("correlation_tests.jsonl.gz"));
    let alerts = replayed(&tests);

    let mut wrong = Vec::new();
    for test in &tests {
        let fired = alerts.get(&detection_of(&test.rule)).is_some_and(|tenants| tenants.contains(&test.id));
        if fired != test.fires {
            wrong.push(format!("{}: {}", test.id, if fired { "fires, and must not" } else { "does not fire" }));
        }
    }
    assert!(wrong.is_empty(), "{} of {} tests disagree:\n{}", wrong.len(), tests.len(), wrong.join("\n"));
}

#[test]
fn every_correlation_has_a_detection() {
    let name = "panther::every_correlation_has_a_detection";
    let Some(folder) = recordings(name, "panther") else { return };
    let rules = lines(&folder.join("rule_metadata.jsonl.gz"));
    let missing: Vec<String> = rules
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).expect("a rule is JSON"))
        .filter(|rule| rule["AnalysisType"] == "correlation_rule")
        .map(|rule| detection_of(text(&rule["RuleID"])))
        .filter(|id| !written().contains(id))
        .collect();
    assert!(missing.is_empty(), "not written yet: {missing:#?}");
}

/// `AWS.Console.Sign-In` is `panther.aws.console.sign_in`.
fn detection_of(rule: &str) -> String {
    format!("panther.{}", rule.to_lowercase().replace('-', "_"))
}

/// The ids of the detections of the project.
fn written() -> BTreeSet<String> {
    let folder = std::fs::read_dir(Path::new(PROJECT).join("detections")).expect("the detections can be listed");
    let id = |file: std::io::Result<std::fs::DirEntry>| {
        let sql = std::fs::read_to_string(file.expect("a detection").path()).expect("a detection can be read");
        let line = sql.lines().next().and_then(|line| line.split('"').nth(1));
        line.expect("a detection begins with its id").to_owned()
    };
    folder.map(id).collect()
}

fn correlations(file: &Path) -> Vec<Correlation> {
    let tests = lines(file);
    assert!(tests.len() >= 50, "the tests are complete");
    tests.iter().map(|line| correlation(&serde_json::from_str(line).expect("a test is JSON"))).collect()
}

fn correlation(test: &Value) -> Correlation {
    let rules = rules_of(test);
    let id = text(&test["test_id"]);
    let mut found: Vec<(i64, Value)> = Vec::new();
    for output in list(&test["rule_outputs"]) {
        let rule = &rules[text(&output["ID"])];
        for (field, values) in object(&output["Matches"]) {
            for (value, times) in object(values) {
                let event = json!({ "tenant": id, "rule_id": rule });
                found.extend(list(times).iter().map(|time| (time_us(time), with_field(event.clone(), field, value))));
            }
        }
    }
    let first = found.iter().map(|(time_us, _)| *time_us).min().unwrap_or_default();
    Correlation {
        id: id.to_owned(),
        rule: text(&test["rule_id"]).to_owned(),
        fires: test["expected"].as_bool().expect("a test says whether it fires"),
        events: found.into_iter().map(|(time_us, event)| (time_us - first, event)).collect(),
    }
}

/// The rules of a correlation, by the names that its tests use for them.
fn rules_of(test: &Value) -> BTreeMap<String, String> {
    let parts = list(&test["detection"]).iter().flat_map(|part| {
        let steps = part.get("Group").or_else(|| part.get("Sequence"));
        list(steps.expect("a correlation is a group or a sequence"))
    });
    parts.map(|step| (text(&step["ID"]).to_owned(), text(&step["RuleID"]).to_owned())).collect()
}

/// Whole numbers are minutes.
fn time_us(time: &Value) -> i64 {
    let read = |text: &str| DateTime::parse_from_rfc3339(text).expect("a time").timestamp_micros();
    time.as_i64().map_or_else(|| read(text(time)), |minutes| minutes * 60_000_000)
}

/// Puts a value under its path.
fn with_field(mut event: Value, path: &str, value: &str) -> Value {
    let mut place = &mut event;
    for name in path.split('.') {
        place = place
            .as_object_mut()
            .expect("a path goes through objects")
            .entry(name)
            .or_insert_with(|| Value::Object(Map::new()));
    }
    *place = Value::from(value);
    event
}

/// Which tests each detection fired in.
fn replayed(tests: &[Correlation]) -> BTreeMap<String, BTreeSet<String>> {
    let mut events: Vec<&(i64, Value)> = tests.iter().flat_map(|test| &test.events).collect();
    events.sort_by_key(|(after_us, _)| *after_us);
    let records = events.iter().map(|(after_us, event)| {
        let mut event = event.clone();
        event["time"] = rfc3339(FIRST_US + after_us).into();
        format!("{event}\n")
    });
    let folder = Project::new(&[]);
    let input = folder.write("rule_match.ndjson", records.collect::<String>());

    let mut replay = weir();
    replay.args(["replay", "-C", PROJECT, "--input"]).arg(format!("rule_match={}", input.display()));
    let finished = Finished::from(replay.output().expect("weir can be started")).expect_code(0);
    let summary = Summary::read(&finished.stderr);
    assert_eq!(summary.events(), events.len(), "every event is read");
    assert_eq!((summary.late(), summary.rejected()), (0, 0), "none is late or rejected");
    let mut fired: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for alert in ndjson(&finished.stdout).iter().map(Alert::read) {
        fired.entry(alert.detection.clone()).or_default().insert(alert.field("tenant"));
    }
    fired
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

fn list(value: &Value) -> &Vec<Value> {
    value.as_array().unwrap_or_else(|| panic!("{value} is no list"))
}

fn object(value: &Value) -> &Map<String, Value> {
    value.as_object().unwrap_or_else(|| panic!("{value} is no object"))
}
