//! `weir check`: every mistake of every kind of file at once, with carets below all of the words that are wrong, and nothing
//! that is only a consequence.

use crate::support::project::{Finished, Project};

const STREAM: &str = "CREATE STREAM door (at TIMESTAMP, who STRING, ok BOOLEAN)\n\
                      WITH (format = 'json', event_time = 'at', lateness = '10 seconds');\n";
const REFUSED: &str = "--! id = \"door.refused\"\n--! title = \"Refused\"\n--! severity = \"low\"\n\
                       SELECT at, who FROM door WHERE NOT ok\n";
const EDR: &str = "id: edr\nbase_url: https://edr.test\noperations:\n  - does: contain device\n    post: /x\n    \
                   undo: 'none: by hand'\n";

/// A project without mistakes, and these files.
fn project(files: &[(&str, &str)]) -> Project {
    let project = Project::new(&[
        ("streams/door.sql", STREAM),
        ("detections/refused.sql", REFUSED),
        ("responders/edr.yaml", EDR),
        ("playbooks/fine.yaml", "id: fine\nsteps:\n  - contain: device ${alert.entities.host}\n"),
    ]);
    for (path, text) in files {
        project.write(path, text);
    }
    project
}

/// The reports in their order, and that there are no others.
#[track_caller]
fn assert_told(checked: &Finished, reports: &[&str]) {
    let expected: String = reports.iter().map(|report| format!("{report}\n")).collect();
    let told = checked.stdout.rsplit_once("checked ").map_or("", |(told, _)| told);
    assert_eq!(told, expected);
}

#[test]
fn a_playbook_tells_mistakes_of_form_and_of_links_together() {
    let text = "id: p\nnmae: P\nsteps:\n  - contain: device ${alert.entities.hots}\n    responder: edrr\n  \
                - contian: device x\n  - notify: ${steps.1_containe.status}\n    retry: { attempts: 0 }\n";
    let checked = project(&[("playbooks/p.yaml", text)]).weir(&["check"]).expect_code(1);
    assert_told(
        &checked,
        &[
            "playbooks/p.yaml:2:1: error P002: unknown key `nmae`
    2 | nmae: P
      | ^^^^
      = did you mean `name`?
",
            "playbooks/p.yaml:4:21: error P005: unknown field `alert.entities.hots`
    4 |   - contain: device ${alert.entities.hots}
      |                     ^^^^^^^^^^^^^^^^^^^^^^
      = did you mean `host`?
",
            "playbooks/p.yaml:5:16: error P009: unknown responder `edrr`
    5 |     responder: edrr
      |                ^^^^
      = did you mean `edr`?
",
            "playbooks/p.yaml:6:5: error P008: `contian` is nothing a step can do
    6 |   - contian: device x
      |     ^^^^^^^
      = did you mean `contain`?
",
            "playbooks/p.yaml:7:5: error P010: no responder can `notify`
    7 |   - notify: ${steps.1_containe.status}
      |     ^^^^^^
      = describe `notify` in a file in `responders/`
",
            "playbooks/p.yaml:7:13: error P005: unknown field `steps.1_containe`
    7 |   - notify: ${steps.1_containe.status}
      |             ^^^^^^^^^^^^^^^^^^^^^^^^^^
      = did you mean `1_contain`?
",
            "playbooks/p.yaml:8:24: error P004: `attempts` is a whole number from 1 to 20, not `0`
    8 |     retry: { attempts: 0 }
      |                        ^
",
        ],
    );
}

#[test]
fn words_of_other_systems_and_related_detections_that_are_not_there_are_told() {
    let related = REFUSED.replace("SELECT", "--! related = [\"door.refusd\", \"door.refused\"]\nSELECT");
    let other = related.replace("id = \"door.refused\"", "id = \"door.other\"");
    let text = "id: p\nsteps:\n  - isolate: device x\n  - contain: host x\n  - ask: 5\n";
    let checked = project(&[("detections/other.sql", &other), ("playbooks/p.yaml", text)]).weir(&["check"]);
    assert_told(
        &checked.expect_code(1),
        &[
            "detections/other.sql:4:16: warning D111: `related` names `door.refusd`, and no detection of this project has that id
    4 | --! related = [\"door.refusd\", \"door.refused\"]
      |                ^^^^^^^^^^^^^
      = did you mean `door.refused`?
",
            "playbooks/p.yaml:3:5: error P008: `isolate` is nothing a step can do
    3 |   - isolate: device x
      |     ^^^^^^^
      = did you mean `contain`?
",
            "playbooks/p.yaml:4:14: error P008: unknown kind of target `host`
    4 |   - contain: host x
      |              ^^^^
      = did you mean `device`?
",
            "playbooks/p.yaml:5:10: error P004: `ask` is followed by words for people, not by `5`
    5 |   - ask: 5
      |          ^
      = write `ask: About ${alert.title}`
",
        ],
    );
}

#[test]
fn a_responder_tells_all_its_mistakes_and_makes_none_in_playbooks() {
    let edr = "id: edr\nbase_url: https://edr.test\nauht: { bearer: T }\noperations:\n  - does: contain device\n    \
               post: /x/${target.hostnam}\n    undo: 'none: by hand'\n  - does: notify\n    post: y\n";
    let project = project(&[("responders/edr.yaml", edr), ("weir.toml", "[responders.edr]\nT = \"t\"\n")]);
    assert_told(
        &project.weir(&["check"]).expect_code(1),
        &[
            "responders/edr.yaml:3:1: error R002: unknown key `auht`
    3 | auht: { bearer: T }
      | ^^^^
      = did you mean `auth`?
",
            "responders/edr.yaml:6:14: error R005: unknown field `target.hostnam`
    6 |     post: /x/${target.hostnam}
      |              ^^^^^^^^^^^^^^^^^
      = did you mean `hostname`?
",
            "responders/edr.yaml:9:11: error R004: a path begins with `/` and is below `base_url`
    9 |     post: y
      |           ^
",
        ],
    );
    // Operations that are no YAML may be any.
    project.write("responders/edr.yaml", "id: edr\nbase_url: https://edr.test\noperations: [\n");
    let checked = project.weir(&["check"]).expect_code(1);
    assert!(checked.stdout.starts_with("responders/edr.yaml:"), "{}", checked.stdout);
    assert!(checked.stdout.ends_with("1 error, 0 warnings\n"), "{}", checked.stdout);
}

#[test]
fn a_rule_test_tells_mistakes_of_form_and_of_names_together() {
    let text = "cases:\n  - name: one\n    given:\n      dor: []\n    expect:\n      - { data: { whom: bo, hwo: bo } }\n    \
                lat: 1\n  - given: { gate: [] }\n    expect: []\n  - name: three\n    name: four\n    \
                given: {}\n    expect: 5\n";
    let checked = project(&[("detections/refused.test.yaml", text)]).weir(&["check"]).expect_code(1);
    let places: Vec<&str> = checked.stdout.lines().filter(|line| line.contains(": error ")).collect();
    assert_eq!(
        places,
        [
            "detections/refused.test.yaml:4:7: error T006: no stream is called `dor`",
            "detections/refused.test.yaml:6:19: error T006: the row of the alert has no column `whom`",
            "detections/refused.test.yaml:6:29: error T006: the row of the alert has no column `hwo`",
            "detections/refused.test.yaml:7:5: error T002: unknown key `lat` in the case",
            "detections/refused.test.yaml:8:5: error T005: the case has no `name`",
            "detections/refused.test.yaml:8:14: error T006: no stream is called `gate`",
            "detections/refused.test.yaml:11:5: error T001: the key `name` is there twice",
            "detections/refused.test.yaml:13:13: error T003: `expect` is a list, not a whole number",
        ]
    );
}

#[test]
fn a_rule_test_tells_what_it_gives_and_expects_wrongly() {
    let text = "with: ['gate.*']\ncases:\n  - name: one\n    given:\n      door:\n        - file: none.ndjson\n        \
                - repeat: 2\n          event: { at: '2026-01-01T00:00:00Z', who: '${j}' }\n    expect:\n      \
                - { severity: hihg, time: noon }\n";
    let checked = project(&[("detections/refused.test.yaml", text)]).weir(&["check"]).expect_code(1);
    assert_told(
        &checked,
        &[
            "detections/refused.test.yaml:1:8: error T007: no detection has an id like `gate.*`
    1 | with: ['gate.*']
      |        ^^^^^^^^
",
            "detections/refused.test.yaml:6:17: error T008: cannot read `none.ndjson`: No such file or directory (os error 2)
    6 |         - file: none.ndjson
      |                 ^^^^^^^^^^^
      = a file is named from the folder of the test
",
            "detections/refused.test.yaml:8:53: error T004: `${j}` is not a placeholder; write `${i}`, `${i + 1}`, `${i * 2}` or `${i % 3}`
    8 |           event: { at: '2026-01-01T00:00:00Z', who: '${j}' }
      |                                                     ^^^^^^
",
            "detections/refused.test.yaml:10:21: error T004: `hihg` is no severity of an alert
   10 |       - { severity: hihg, time: noon }
      |                     ^^^^
      = did you mean `high`?
",
            "detections/refused.test.yaml:10:33: error T004: `noon` is no time
   10 |       - { severity: hihg, time: noon }
      |                                 ^^^^
      = write it as 2026-01-31T08:00:00Z
",
        ],
    );
}

#[test]
fn what_is_no_yaml_hides_nothing_else_and_makes_no_mistakes() {
    let playbook = "id: p\nnmae: P\nsteps:\n  - contain: device: x\n    id: isolate\n  - contian: device y\n  \
                    - contain: device ${steps.isolate.external_id}\n    responder: edrr\n";
    let edr = "id: edr\nbase_url: https://edr.test\noperations:\n  - does: contain device\n    post: [\n    undo: \
               'none: by hand'\n  - does: notify\n    post: y\n";
    let exceptions = "- name: \"e\n  detection: dor.*\n  where: whom = 'bo'\n  owner: me\n  reason: r\n  \
                      expires: 2999-01-01\n- name: f\n  detection: door.*\n\twhere: 'true'\n";
    let rule_test = "cases:\n  - name: one\n    given: { door: []\n    expect: [ { data: { hwo: bo } } ]\n  \
                     - { name: two, given: {}, expect: [}\n  - name: three\n    given: { dor: [] }\n";
    let checked = project(&[
        ("playbooks/p.yaml", playbook),
        ("responders/edr.yaml", edr),
        ("exceptions/e.yaml", exceptions),
        ("exceptions/f.yaml", &exceptions.replace("\n\twhere", "\n  where")),
        ("detections/refused.test.yaml", rule_test),
    ]);
    let checked = checked.weir(&["check"]).expect_code(1);
    let told: Vec<&str> =
        checked.stdout.lines().filter(|line| line.contains(": error ") || line.contains(": warning ")).collect();
    assert_eq!(
        told,
        [
            "detections/refused.test.yaml:3:12: error T001: this is not YAML: unclosed bracket '{'",
            "detections/refused.test.yaml:4:25: error T006: the row of the alert has no column `hwo`",
            "detections/refused.test.yaml:5:37: error T001: this is not YAML: mismatched bracket '[' closed by '}'",
            "detections/refused.test.yaml:6:5: error T005: the case has no `expect`",
            "detections/refused.test.yaml:7:14: error T006: no stream is called `dor`",
            "exceptions/e.yaml:1:9: error X001: this is not YAML: unclosed quote",
            "exceptions/e.yaml:2:14: warning X007: the exception is about `dor.*`, and no detection of this project has \
             such an id",
            "exceptions/e.yaml:9:1: error X001: this line is indented with a tab",
            "exceptions/f.yaml:1:9: error X001: this is not YAML: unclosed quote",
            "exceptions/f.yaml:2:14: warning X007: the exception is about `dor.*`, and no detection of this project has \
             such an id",
            "exceptions/f.yaml:7:3: error X005: the exception has no `expires`",
            "exceptions/f.yaml:7:3: error X005: the exception has no `owner`",
            "exceptions/f.yaml:7:3: error X005: the exception has no `reason`",
            "playbooks/p.yaml:2:1: error P002: unknown key `nmae`",
            "playbooks/p.yaml:4:20: error P001: this is not YAML: mapping values are not allowed in this context",
            "playbooks/p.yaml:6:5: error P008: `contian` is nothing a step can do",
            "playbooks/p.yaml:8:16: error P009: unknown responder `edrr`",
            "responders/edr.yaml:5:11: error R001: this is not YAML: unclosed bracket '['",
            "responders/edr.yaml:8:11: error R004: a path begins with `/` and is below `base_url`",
        ]
    );
}

#[test]
fn a_tab_is_told_as_such() {
    let text = "id: p\nsteps:\n\t- contain: device x\n\t  respondr: edr\n";
    let checked = project(&[("playbooks/p.yaml", text)]).weir(&["check"]).expect_code(1);
    assert_told(
        &checked,
        &[
            "playbooks/p.yaml:3:1: error P001: this line is indented with a tab, and one more
    3 |     - contain: device x
      | ^^^^
      = YAML indents with spaces
",
            "playbooks/p.yaml:4:4: error P002: unknown key `respondr`
    4 |       respondr: edr
      |       ^^^^^^^^
      = did you mean `responder`?
",
        ],
    );
}

#[test]
fn an_exception_tells_mistakes_of_form_and_of_its_condition_together() {
    let text = "- name: e\n  detection: door.*\n  where: whom = 'bo'\n  ownr: me\n  reason: ''\n  expires: soon\n";
    let checked = project(&[("exceptions/e.yaml", text)]).weir(&["check"]).expect_code(1);
    let places: Vec<&str> = checked.stdout.lines().filter(|line| line.contains(": error ")).collect();
    assert_eq!(places.len(), 4, "{}", checked.stdout);
    for (line, start) in places.iter().zip([
        "exceptions/e.yaml:3:10: error D004: the condition does not fit door.refused: ",
        "exceptions/e.yaml:4:3: error X002: unknown key `ownr` in the exception",
        "exceptions/e.yaml:5:11: error X004: `reason` is empty",
        "exceptions/e.yaml:6:12: error X004: `soon` is not a day: ",
    ]) {
        assert!(line.starts_with(start), "{line} does not begin with {start}");
    }
}

#[test]
fn a_broken_line_of_the_configuration_hides_no_other() {
    let text = "[engine]\nepoch_ms = \"x\"\nparallelism =\n[http]\nlisten = 5\n[responders.edrr]\nbase_url = \"edr\"\n";
    let checked = project(&[("weir.toml", text)]).weir(&["check"]).expect_code(1);
    for expected in [
        "weir.toml:2:12: error C003: `epoch_ms`",
        "weir.toml:3:",
        "error C001: ",
        "weir.toml:5:10: error C003: `listen`",
        "weir.toml:7:12: error C003: ",
        "warning C013: there is no responder `edrr`",
    ] {
        assert!(checked.stdout.contains(expected), "{expected:?} is not in\n{}", checked.stdout);
    }
    assert!(checked.stdout.ends_with("4 errors, 1 warning\n"), "{}", checked.stdout);
}

#[test]
fn rows_of_a_table_are_told_and_those_that_are_too_many_are_counted() {
    let table = "CREATE TABLE staff (who STRING, level INT) WITH (location = 'tables/staff.csv', format = 'csv');\n";
    let rows: String = (0..23).map(|row| format!("w{row},high\n")).collect();
    let project = project(&[("streams/tables.sql", table), ("tables/staff.csv", &format!("who,level\nw,1\n{rows}"))]);
    let checked = project.weir(&["check"]).expect_code(1);
    assert!(checked.stdout.contains("tables/staff.csv:3:1: error L001: column level: "), "{}", checked.stdout);
    assert!(
        checked.stdout.contains("tables/staff.csv:22:1: error L001: 3 more mistakes follow\n"),
        "{}",
        checked.stdout
    );
    // The pipeline does not start without the row that a playbook may look up; nobody would know that it is missing.
    project.write("weir.toml", "[kafka]\nbootstrap_servers = \"127.0.0.1:1\"\n");
    let run = project.weir(&["run"]).expect_code(2);
    assert!(run.stderr.contains("tables/staff.csv:3:1: error L001"), "{}", run.stderr);
    assert!(run.stderr.contains("the project has errors (21 errors)"), "{}", run.stderr);
}

#[test]
fn a_detection_that_asks_for_fast_delivery_needs_a_topic_for_it() {
    let fast = REFUSED.replace("SELECT", "--! delivery = \"fast\"\nSELECT");
    let topic = "a".repeat(245);
    let config = format!("[alerts]\ntopic = \"{topic}\"\n");
    let project = project(&[("weir.toml", &config), ("detections/refused.sql", &fast)]);
    let checked = project.weir(&["check"]).expect_code(1);
    let told = format!(
        "detections/refused.sql:4:5: error C014: there is no topic for fast alerts: `{topic}.fast` is too long for one\n"
    );
    assert!(checked.stdout.starts_with(&told), "{}", checked.stdout);
    let hint = "    4 | --! delivery = \"fast\"\n      |     ^^^^^^^^\n      = name one in weir.toml: `fast_topic` under `[alerts]`\n";
    assert!(checked.stdout.contains(hint), "{}", checked.stdout);

    project.write("weir.toml", format!("{config}fast_topic = \"early\"\n"));
    project.weir(&["check"]).expect_code(0);
    // Nobody is bothered who does not ask for it.
    project.write("weir.toml", config);
    project.write("detections/refused.sql", REFUSED);
    project.weir(&["check"]).expect_code(0);
}
