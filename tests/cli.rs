//! The command line as scripts use it: exit codes, what goes where, and what a new project does.

use serde_json::Value;

use crate::support::project::{Finished, Project, weir};
use crate::support::rows::{Alert, Summary, last_by_uid, ndjson};

const STREAM: &str = "CREATE STREAM door (at TIMESTAMP, who STRING, room STRING, ok BOOLEAN)\n\
                      WITH (format = 'json', event_time = 'at', lateness = '10 seconds');\n";

fn detection(id: &str, sql: &str) -> String {
    format!("--! id = \"{id}\"\n--! title = \"A test\"\n--! severity = \"low\"\n{sql}\n")
}

fn door() -> Project {
    let refused = detection("door.refused", "SELECT at, who, room FROM door WHERE NOT ok");
    Project::new(&[("streams/door.sql", STREAM), ("detections/refused.sql", &refused)])
}

fn run(args: &[&str]) -> Finished {
    Finished::from(weir().args(args).output().expect("weir can be started"))
}

#[test]
fn a_new_project_checks_tests_and_alerts() {
    let folder = Project::new(&[]);
    folder.weir(&["init", "x"]).expect_code(0);
    folder.weir(&["check", "-C", "x"]).expect_code(0);
    let tested = folder.weir(&["test", "-C", "x", "--junit", "results.xml"]).expect_code(0);
    assert!(tested.stdout.ends_with(" passed, 0 failed\n"), "{}", tested.stdout);
    assert!(folder.read("results.xml").contains("failures=\"0\""));
    let input = "app_signin=x/samples/app_signin.ndjson";
    let replayed = folder.weir(&["replay", "-C", "x", "--input", input, "--alerts", "alerts.ndjson"]).expect_code(0);
    assert_eq!(replayed.stdout, "", "alerts went to the file");
    let alerts = last_by_uid(ndjson(&folder.read("alerts.ndjson")).iter().map(Alert::read));
    let summary = Summary::read(&replayed.stderr);
    assert_eq!((summary.alerts(), summary.rejected(), summary.late()), (alerts.len(), 0, 0));
    assert!(alerts.values().any(|alert| alert.detection == "signin.repeated_failures"));
    assert!(alerts.values().any(|alert| alert.detection == "signin.listed_address"));
}

#[test]
fn init_leaves_a_folder_with_files_alone_unless_it_is_forced() {
    let folder = Project::new(&[("x/README.md", "mine")]);
    folder.weir(&["init", "x"]).expect_code(2).expect_stderr("holds files already");
    folder.weir(&["init", "x", "--force"]).expect_code(0);
    assert_eq!(folder.read("x/README.md"), "mine");
    assert!(folder.join("x/weir.toml").exists());
}

#[test]
fn check_reports_every_mistake_of_every_file_at_once() {
    let column = detection("a.column", "SELECT at, whom FROM door");
    let project = Project::new(&[
        ("weir.toml", "[kafka]\nbootstrap_server = \"a:1\"\n"),
        ("streams/door.sql", STREAM),
        ("detections/column.sql", &column),
        ("detections/stream.sql", &detection("a.stream", "SELECT at FROM dor")),
        ("detections/time.sql", &detection("a.time", "SELECT who FROM door")),
        (
            "detections/header.sql",
            "--! id = \"a.header\"\n--! titel = \"x\"\n--! severity = \"low\"\nSELECT at FROM door\n",
        ),
        ("detections/lost.test.yaml", "cases:\n  - { name: x, given: {}, expect: [] }\n"),
        ("playbooks/p.yaml", "id: p\nname: P\nsteps:\n  - notify: \"${alert.titel}\"\n"),
        (
            "exceptions/e.yaml",
            "- { name: e, detection: a.*, where: 'true', owner: me, reason: r, expires: 2020-01-01 }\n",
        ),
    ]);
    let checked = project.weir(&["check"]).expect_code(1);
    for expected in [
        "weir.toml:2:1: error C002: unknown key `bootstrap_server`",
        "detections/column.sql:4:12: error D004: ",
        "    4 | SELECT at, whom FROM door\n      |            ^^^^\n",
        "detections/stream.sql:4:16: error D003: ",
        "detections/time.sql:4:1: error D010: ",
        "detections/header.sql:2:5: error D102: ",
        "detections/lost.test.yaml: error T007: ",
        "playbooks/p.yaml:4:",
        "exceptions/e.yaml:1:",
        "error X006: ",
    ] {
        assert!(checked.stdout.contains(expected), "{expected:?} is not in\n{}", checked.stdout);
    }
    assert!(checked.stdout.lines().last().is_some_and(|line| line.contains("errors, ")), "{}", checked.stdout);
}

#[test]
fn one_mistake_hides_no_other_and_makes_no_other() {
    let expired =
        "- { name: e, detection: a.fine, where: \"nobody = 'x'\", owner: me, reason: r, expires: 2020-01-01 }\n";
    let project = Project::new(&[
        ("weir.toml", "[engine]\nepoch_ms = \"x\"\n"),
        ("streams/door.sql", STREAM),
        ("streams/gate.sql", "CREATE STREAM gate (at TIMESTAMPP, who STRING)\nWITH (event_time = 'when');\n"),
        (
            "streams/tables.sql",
            "CREATE TABLE staff (who STRING) WITH (location = 'tables/staff.csv', format = 'csv');\n",
        ),
        ("detections/gate.sql", &detection("a.gate", "SELECT at, who FROM gate WHERE size > 3")),
        ("detections/fine.sql", &detection("a.fine", "SELECT at, who FROM door")),
        ("detections/types.sql", &detection("a.types", "SELECT at, who + true AS x FROM door\nWHERE ok + ok > 1")),
        ("detections/cidr.sql", &detection("a.cidr", "SELECT at FROM door WHERE cidr_match(who, 'banana')")),
        ("exceptions/e.yaml", expired),
    ]);
    let checked = project.weir(&["check"]).expect_code(1);
    for expected in [
        "weir.toml:2:12: error C003: `epoch_ms` takes a whole number that is not negative, not \"x\"",
        "streams/gate.sql:1:",
        "streams/gate.sql:2:20: error D004: `event_time` names `when`",
        "streams/tables.sql:1:14: error L001: ",
        "detections/types.sql:4:12: error D006: ",
        "detections/types.sql:5:7: error D006: ",
        "   4 | SELECT at FROM door WHERE cidr_match(who, 'banana')\n      |                                           ^^^^^^^^\n",
        "error X006: ",
        "exceptions/e.yaml:1:41: error D004: ",
    ] {
        assert!(checked.stdout.contains(expected), "{expected:?} is not in\n{}", checked.stdout);
    }
    assert!(!checked.stdout.contains("detections/gate.sql"), "what follows from a broken stream:\n{}", checked.stdout);
    for word in ["Utf8", "Boolean ", "coerc", "u64"] {
        assert!(!checked.stdout.contains(word), "{word} is no word of ours:\n{}", checked.stdout);
    }
}

#[test]
fn check_in_json_is_one_diagnostic_per_line() {
    let project = door();
    project.write("detections/column.sql", detection("a.column", "SELECT at, whom FROM door"));
    let checked = project.weir(&["check", "--format", "json"]).expect_code(1);
    let rows = ndjson(&checked.stdout);
    assert_eq!(rows.len(), 1, "{}", checked.stdout);
    assert_eq!(rows[0]["file"], "detections/column.sql");
    assert_eq!(rows[0]["code"], "D004");
    assert_eq!(rows[0]["span"]["start"]["line"], 4);
    assert!(rows[0]["hint"].as_str().is_some_and(|hint| hint.contains("`who`")), "{}", rows[0]);
}

#[test]
fn a_folder_without_a_project_is_named_as_such() {
    let folder = Project::new(&[]);
    folder.weir(&["check"]).expect_code(2).expect_stderr("holds no Weir project");
    folder.weir(&["check", "-C", "nowhere"]).expect_code(2).expect_stderr("there is no folder");
    folder.weir(&["demo", "--dir", "."]).expect_code(2).expect_stderr("not an earlier demo's");
    folder.weir(&["test"]).expect_code(2).expect_stderr("weir init DIR");
    folder.weir(&["replay", "--input", "a=b"]).expect_code(2).expect_stderr("holds no Weir project");
}

#[test]
fn wrong_usage_is_exit_code_two_and_help_is_zero() {
    run(&["--help"]).expect_code(0);
    run(&["replay", "--help"]).expect_code(0);
    run(&["nonsense"]).expect_code(2);
    run(&["replay"]).expect_code(2);
    run(&["check", "--format", "xml"]).expect_code(2);
    let project = door();
    let door_file = project.write("a.ndjson", "");
    let file = door_file.display().to_string();
    project.weir(&["replay", "--input", "nostream.ndjson"]).expect_code(2).expect_stderr("STREAM=FILE");
    project.weir(&["replay", "--input", &format!("dor={file}")]).expect_code(2).expect_stderr("did you mean `door`?");
    project.weir(&["replay", "--input", "door=missing.ndjson"]).expect_code(2).expect_stderr("missing.ndjson");
    project.weir(&["replay", "--input", &format!("door={file}"), "--detections", "x/*.sql"]).expect_code(2);
    project.weir(&["test", "nothing-of-that-name"]).expect_code(2).expect_stderr("no test matches");
    project.weir(&["test", "detections/refusd.test.yaml"]).expect_code(2).expect_stderr("cannot read it");
    project.weir(&["explain", "alert"]).expect_code(2).expect_stderr("needs the id of an alert");
    project
        .weir(&["hunt", "SELECT who FROM door WHERE who = $who", "--param", "whom=al"])
        .expect_code(2)
        .expect_stderr("`$who`");
    project.weir(&["explain", "door.refusd"]).expect_code(2).expect_stderr("did you mean `door.refused`?");
}

#[test]
fn what_is_not_built_says_so_and_is_not_listed() {
    let help = run(&["--help"]).expect_code(0).stdout;
    for command in ["intel", "sigma"] {
        run(&[command, "list"]).expect_code(2).expect_stderr("is not part of version");
        assert!(!help.contains(&format!("  {command}")), "{help}");
    }
    let project = door();
    for flag in [&["--archive", "--diff", "main"][..], &["--sigma", "rules"]] {
        let args = [&["replay"], flag].concat();
        project.weir(&args).expect_code(2).expect_stderr("is not part of version");
    }
}

#[test]
fn a_failing_test_is_exit_code_one_and_shows_the_difference() {
    let project = door();
    project.write(
        "detections/refused.test.yaml",
        "cases:\n  - name: bo is refused\n    given:\n      door: [ { at: '2026-01-01T00:00:00Z', who: al, ok: false } ]\n    \
         expect: [ { data: { who: bo } } ]\n  - name: nobody is refused\n    given:\n      \
         door: [ { at: '2026-01-01T00:00:00Z', who: al, ok: true } ]\n    expect: []\n",
    );
    let tested = project.weir(&["test", "--junit", "r.xml"]).expect_code(1);
    assert!(tested.stdout.contains("FAIL  bo is refused (line 2)"), "{}", tested.stdout);
    assert!(tested.stdout.contains("\"bo\"") && tested.stdout.contains("\"al\""), "{}", tested.stdout);
    assert!(tested.stdout.ends_with("1 passed, 1 failed\n"), "{}", tested.stdout);
    assert!(project.read("r.xml").contains("failures=\"1\""));
    project.weir(&["test", "nobody is"]).expect_code(0);
    project.weir(&["test", "door.refused"]).expect_code(1);
}

#[test]
fn rejected_records_are_told_with_their_line_and_can_be_kept() {
    let project = door();
    project.write(
        "a.ndjson",
        "{\"at\":\"2026-01-01T00:00:00Z\",\"who\":\"al\",\"ok\":false}\n\n{\"at\":\n{\"who\":\"bo\",\"ok\":false}\n",
    );
    let replayed =
        project.weir(&["replay", "--input", "door=a.ndjson", "--dead-letters", "dead.ndjson"]).expect_code(0);
    assert!(
        replayed.stderr.contains("a.ndjson:3: ") && replayed.stderr.contains("a.ndjson:4: "),
        "{}",
        replayed.stderr
    );
    let summary = Summary::read(&replayed.stderr);
    assert_eq!((summary.events(), summary.rejected(), summary.alerts()), (3, 2, 1));
    let dead = ndjson(&project.read("dead.ndjson"));
    let reasons = dead.iter().map(|letter| &letter["reason"]).collect::<Vec<_>>();
    assert_eq!(reasons, [&Value::from("truncated_json"), &Value::from("missing_time")]);
    assert_eq!(dead[1]["offset"], 4);
}

#[test]
fn a_file_that_breaks_off_gives_what_was_read_and_is_the_outsides_fault() {
    let project = door();
    let mut packed = zstd::encode_all(&b"{\"at\":\"2026-01-01T00:00:00Z\",\"who\":\"al\",\"ok\":false}\n"[..], 1)
        .expect("it can be packed");
    packed.truncate(packed.len() - 3);
    project.write("a.ndjson.zst", packed);
    let replayed = project.weir(&["replay", "--input", "door=a.ndjson.zst"]).expect_code(3);
    assert!(replayed.stderr.contains("broke off"), "{}", replayed.stderr);
}

#[test]
fn a_detection_outside_of_the_project_can_be_replayed() {
    let project = door();
    let other = Project::new(&[("mine.sql", &detection("mine.all", "SELECT at, who FROM door"))]);
    project.write("a.ndjson", "{\"at\":\"2026-01-01T00:00:00Z\",\"who\":\"al\",\"ok\":true}\n");
    let glob = other.join("*.sql").display().to_string();
    let replayed = project.weir(&["replay", "--input", "door=a.ndjson", "--detections", &glob]).expect_code(0);
    let alerts = ndjson(&replayed.stdout);
    assert_eq!(alerts.len(), 1);
    assert_eq!(Alert::read(&alerts[0]).detection, "mine.all");
}

#[test]
fn detections_are_replayed_by_id_and_by_pattern_of_ids() {
    let project = door();
    project.write("detections/all.sql", detection("gate.all", "SELECT at, who FROM door"));
    project.write("a.ndjson", "{\"at\":\"2026-01-01T00:00:00Z\",\"who\":\"al\",\"ok\":false}\n");
    let replay = |detections: &str| project.weir(&["replay", "--input", "door=a.ndjson", "--detections", detections]);
    let fired = |detections: &str| {
        let alerts = ndjson(&replay(detections).expect_code(0).stdout);
        alerts.iter().map(|alert| Alert::read(alert).detection).collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(fired("gate.all"), ["gate.all".to_owned()].into());
    assert_eq!(fired("*.{all,refused}"), ["door.refused".to_owned(), "gate.all".to_owned()].into());
    assert_eq!(fired("detections/refused.sql"), ["door.refused".to_owned()].into());
    replay("gate.al").expect_code(2).expect_stderr("did you mean `gate.all`?");
    replay("detections/refusd.sql").expect_code(2).expect_stderr("did you mean `detections/refused.sql`?");
}

#[test]
fn every_format_has_a_schema() {
    for name in ["config", "detection", "header", "test", "exceptions", "playbook", "responder"] {
        let schema: Value = serde_json::from_str(&run(&["schema", name]).expect_code(0).stdout).expect("JSON");
        assert!(schema.get("$schema").is_some(), "{name}");
    }
    run(&["schema", "nonsense"]).expect_code(2);
}

#[test]
fn explain_shows_plan_operators_and_what_is_read() {
    let explained = door().weir(&["explain", "door.refused"]).expect_code(0).stdout;
    for part in ["plan", "operators", "reads", "door: "] {
        assert!(explained.contains(part), "{part:?} is not in\n{explained}");
    }
}

#[test]
fn explain_says_where_fast_alerts_go() {
    let project = door();
    let said =
        "goes to `weir.alerts.fast` at once, at least once; weir.alerts has the record itself, once, with its epoch";
    assert!(!project.weir(&["explain", "door.refused"]).expect_code(0).stdout.contains("Delivery"));
    let text = project.read("detections/refused.sql").replace("SELECT", "--! delivery = \"fast\"\nSELECT");
    project.write("detections/refused.sql", text);
    let explained = project.weir(&["explain", "door.refused"]).expect_code(0).stdout;
    assert!(explained.contains(said), "{said:?} is not in\n{explained}");
}

#[test]
fn explain_in_json_is_one_object() {
    let project = door();
    let json = project.weir(&["explain", "door.refused", "--format", "json"]).expect_code(0).stdout;
    let explained: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(
        explained.as_object().map(|fields| fields.keys().map(String::as_str).collect::<Vec<_>>()),
        Some(vec!["id", "title", "file", "delivery", "explained"])
    );
    assert_eq!(
        (&explained["id"], &explained["title"], &explained["file"]),
        (&"door.refused".into(), &"A test".into(), &"detections/refused.sql".into())
    );
    // It says what people are told, to the letter.
    let told = project.weir(&["explain", "door.refused"]).expect_code(0).stdout;
    let text = explained["explained"].as_str().expect("text");
    assert!(text.contains("plan") && text.contains("reads"), "{text}");
    assert_eq!(told, format!("door.refused: A test\ndetections/refused.sql\n\n{text}\n"));
}

#[test]
fn a_playbook_runs_dry_on_an_alert_and_its_case_is_closed_by_hand() {
    let folder = Project::new(&[]);
    folder.weir(&["init", "x"]).expect_code(0);
    let input = "app_signin=x/samples/app_signin.ndjson";
    folder.weir(&["replay", "-C", "x", "--input", input, "--alerts", "alerts.ndjson"]).expect_code(0);
    let run = ["playbook", "run", "tell_the_team", "--alert", "alerts.ndjson", "-C", "x"];
    let steps = ndjson(&folder.weir(&run).expect_code(0).stdout);
    assert_eq!((steps.len(), &steps[0]["mode"], &steps[0]["status"]), (1, &"dry-run".into(), &"planned".into()));
    folder.weir(&run).expect_code(2).expect_stderr("has run for it before");

    let cases =
        |more: &[&str]| ndjson(&folder.weir(&[&["case", "list", "-C", "x"], more].concat()).expect_code(0).stdout);
    let id = cases(&[])[0]["id"].as_str().expect("an id").to_owned();
    folder.weir(&["case", "assign", &id, "ann", "--by", "bob", "-C", "x"]).expect_code(0);
    let shown: Value =
        serde_json::from_str(&folder.weir(&["case", "show", &id, "-C", "x"]).expect_code(0).stdout).expect("JSON");
    assert_eq!(shown["case"]["assignee"], "ann");
    assert_eq!(shown["runs"][0]["playbook"], "tell_the_team");
    let close = ["case", "close", &id, "--verdict", "benign", "--by", "bob", "-C", "x"];
    folder.weir(&["case", "close", &id, "--verdict", "good", "-C", "x"]).expect_code(2).expect_stderr("true_positive");
    // A table that cannot be read is told and counted, and does not keep the case open.
    folder.write("x/tables/bad_addresses.csv", "ip,reason\n1.2.3.4,bad,worse\n");
    let closed = folder.weir(&close).expect_code(0).expect_stderr("tables/bad_addresses.csv:");
    assert!(closed.stderr.contains("the project has errors (1 error); going on without"), "{}", closed.stderr);
    folder.weir(&close).expect_code(2).expect_stderr("closed");
    assert!(cases(&[]).is_empty());
    assert_eq!(cases(&["--all"])[0]["status"], "closed");
    let audit = folder.weir(&["case", "audit", "-C", "x"]).expect_code(0).stdout;
    assert!(audit.starts_with("the audit trail is whole"), "{audit}");
    folder.weir(&["approve", "no-such-run", "--by", "bob", "-C", "x"]).expect_code(2);
}

#[test]
fn a_live_playbook_does_not_start_without_what_its_responder_needs() {
    let folder = Project::new(&[
        ("weir.toml", "[playbooks]\nmode = \"live\"\n"),
        (
            "responders/chat.yaml",
            "id: chat\nname: Chat\nbase_url: ${NO_SUCH_URL}\noperations:\n  - { does: notify, post: /n, body: { t: \"${message.text}\" } }\n",
        ),
        ("playbooks/p.yaml", "id: p\nname: P\nsteps:\n  - notify: \"${alert.title}\"\n"),
        ("a.ndjson", "{}\n"),
    ]);
    folder.weir(&["check"]).expect_code(0);
    folder.weir(&["playbook", "run", "p", "--alert", "a.ndjson"]).expect_code(2).expect_stderr("`NO_SUCH_URL`");
}

#[test]
fn a_list_of_nothing_says_so_on_standard_error() {
    let project = door();
    let says = |args: &[&str], text: &str| {
        let listed = project.weir(args).expect_code(0);
        assert_eq!((listed.stdout.as_str(), listed.stderr.as_str()), ("", text), "{args:?}");
    };
    says(&["case", "list"], "no case is open; --all shows those that are closed\n");
    says(&["case", "list", "--format", "table"], "no case is open; --all shows those that are closed\n");
    says(&["case", "list", "--all"], "there is no case\n");
    says(&["case", "list", "--status", "closed"], "no case is closed\n");
    says(&["approve"], "no playbook asks anything\n");
    says(&["approve", "list"], "no playbook asks anything\n");
    says(&["dead-letters", "list"], "there are no dead letters\n");
    says(&["dead-letters", "list", "--stream", "door"], "there are no such dead letters\n");
    // Forms for programs say it in their own way.
    says(&["case", "list", "--format", "json"], "");
    says(&["approve", "--format", "json"], "");
    let header = project.weir(&["approve", "--format", "csv"]).expect_code(0);
    assert_eq!(header.stdout, "run,step,playbook,case,asked,expires,question\n");
    project.weir(&["case", "show", "none"]).expect_code(2);
    assert!(!project.join("weir.db").exists(), "who looks at a journal does not begin one");
}

#[test]
fn values_that_do_not_fit_are_null_and_told() {
    let project = door();
    project.write("a.ndjson", "{\"at\":\"2026-01-01T00:00:00Z\",\"who\":\"al\",\"ok\":\"perhaps\"}\n");
    let replayed = project.weir(&["replay", "--input", "door=a.ndjson"]).expect_code(0);
    let told = "misfits: 1 value of door.ok does not fit its type: it is NULL there and kept in `unmapped`";
    assert!(replayed.stderr.contains(told), "{}", replayed.stderr);
    assert_eq!(Summary::read(&replayed.stderr).alerts(), 0);
}

#[test]
fn a_field_that_does_not_fit_is_told_by_its_path() {
    let project = door();
    project.write(
        "streams/gate.sql",
        "CREATE STREAM gate (at TIMESTAMP, who STRUCT<id BIGINT>) WITH (format = 'json', event_time = 'at');\n",
    );
    project.write(
        "detections/gate.sql",
        "--! id = \"gate.seen\"\n--! title = \"Seen\"\n--! severity = \"low\"\nSELECT at AS time, who.id AS id FROM gate\n",
    );
    project.write("a.ndjson", "{\"at\":\"2026-01-01T00:00:00Z\",\"who\":{\"id\":\"x\"}}\n".repeat(2));
    let replayed = project.weir(&["replay", "--input", "gate=a.ndjson"]).expect_code(0);
    let told = "misfits: 2 values of gate.who.id do not fit its type: they are NULL there and kept in `unmapped`";
    assert!(replayed.stderr.contains(told), "{}", replayed.stderr);
}

#[test]
fn output_that_nobody_reads_on_is_no_error() {
    let script = format!("{} schema playbook | head -1; exit ${{PIPESTATUS[0]}}", env!("CARGO_BIN_EXE_weir"));
    let output = std::process::Command::new("bash").args(["-c", &script]).output().expect("bash can be run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
