use std::collections::BTreeMap;

use super::files;
use crate::{Confidence, Detection, Status, Texts, rule_test};

/// Shipped detections by path without `.sql`.
fn detections() -> BTreeMap<String, Detection> {
    let mut detections = BTreeMap::new();
    for file in files() {
        let Some(name) = file.path.strip_prefix("detections/").and_then(|path| path.strip_suffix(".sql")) else {
            continue;
        };
        match crate::parse(&file.path, file.text) {
            Ok(detection) => drop(detections.insert(name.to_owned(), detection)),
            Err(found) => panic!("{found:#?}"),
        }
    }
    detections
}

#[test]
fn every_shipped_file_is_text_in_a_known_place() {
    let files = files();
    assert!(files.iter().any(|file| file.path.starts_with("streams/")));
    for file in &files {
        let known = [".sql", ".test.yaml", ".md", ".csv", ".ndjson"].iter().any(|ending| file.path.ends_with(ending));
        assert!(known, "{} is of no known kind", file.path);
        assert!(!file.text.contains('\r'), "{} has Windows line ends", file.path);
        assert!(file.text.ends_with('\n'), "{} does not end with a line", file.path);
    }
}

#[test]
fn every_shipped_detection_has_a_complete_header() {
    for (name, detection) in detections() {
        assert_eq!(&*detection.id, name.replace('/', "."), "{name}: the id is folder and file");
        assert_eq!(name.matches('/').count(), 1, "{name}: one folder, which is the family");
        assert!(detection.description.is_some(), "{name} has no description");
        assert!(detection.owner.is_some(), "{name} has no owner");
        assert!(!detection.attack.is_empty(), "{name} has no ATT&CK id");
        assert!(!detection.entities.is_empty(), "{name} has no entities");
        let is_sure = detection.confidence >= Some(Confidence(95));
        assert!(is_sure || !detection.false_positives.is_empty(), "{name} is not sure and names no false positives");
        assert_ne!(detection.status, Status::Deprecated, "{name} is shipped and deprecated");
    }
}

#[test]
fn every_shipped_detection_has_a_test_with_a_case_that_fires_and_one_that_does_not() {
    let texts: BTreeMap<_, _> = files().into_iter().map(|file| (file.path, file.text)).collect();
    let mut wrong = Vec::new();
    for name in detections().keys() {
        let path = format!("detections/{name}.test.yaml");
        let Some(text) = texts.get(&path) else {
            wrong.push(format!("{path} is missing"));
            continue;
        };
        match rule_test::parse(&path, text) {
            Err(found) => wrong.extend(found.iter().map(ToString::to_string)),
            Ok(test) if test.cases.iter().all(|case| case.expect.is_empty()) => {
                wrong.push(format!("{path} has no case that fires"));
            }
            Ok(test) if test.cases.iter().all(|case| !case.expect.is_empty()) => {
                wrong.push(format!("{path} has no case that stays quiet"));
            }
            Ok(_) => {}
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn every_shipped_test_stands_beside_a_detection() {
    let detections = detections();
    for file in files() {
        let Some(name) = file.path.strip_prefix("detections/").and_then(|path| path.strip_suffix(".test.yaml")) else {
            continue;
        };
        assert!(detections.contains_key(name), "{} tests nothing", file.path);
    }
}

#[test]
fn every_shipped_title_is_used_once() {
    let mut titles = BTreeMap::new();
    for (name, detection) in detections() {
        if let Some(other) = titles.insert(detection.title.clone(), name.clone()) {
            panic!("{name} and {other} are both called {:?}", detection.title);
        }
    }
}

#[test]
fn every_example_of_an_exception_is_about_a_shipped_detection() {
    let text = include_str!("../../exceptions/examples.yaml");
    let (exceptions, found) = crate::exceptions::parse("exceptions/examples.yaml", text);
    assert_eq!(found, []);
    let detections = detections();
    for exception in exceptions {
        let covered = detections.values().any(|detection| exception.covers(&detection.id));
        assert!(covered, "`{}` is about nothing", exception.name);
    }
}

#[test]
fn the_shipped_content_compiles_as_one_project() {
    let files = files();
    let pick = |root: &str, ending: &str| -> Vec<(String, String)> {
        let wanted = files.iter().filter(|file| file.path.starts_with(root) && file.path.ends_with(ending));
        wanted.map(|file| (file.path.clone(), file.text.to_owned())).collect()
    };
    let texts = Texts {
        streams: pick("streams/", ".sql"),
        detections: pick("detections/", ".sql"),
        runbooks: pick("detections/", ".md"),
        exceptions: Vec::new(),
    };
    let compiled = crate::compile(&texts, None);
    let mut found = compiled.diagnostics.clone();
    let lines =
        |path: &str| files.iter().any(|file| file.path.ends_with(path)).then(Vec::new).ok_or("not there".into());
    for (path, text) in pick("detections/", ".test.yaml") {
        found.extend(
            rule_test::parse(&path, &text)
                .map_or_else(|found| found, |test| rule_test::check(&test, &compiled, &lines)),
        );
    }
    let found: Vec<_> = found.iter().map(ToString::to_string).collect();
    assert_eq!(found, Vec::<String>::new());
}
