use chrono::NaiveDate;
use weir_engine::Level;

use super::{Compiled, Texts, compile};

const STREAM: &str = "\
CREATE STREAM signin (
  time TIMESTAMP, user STRING, src_ip STRING, status STRING
) WITH (topic = 'signin', format = 'json', event_time = 'time');
";

const FAILURE: &str = "\
--! id = \"identity.failure\"
--! title = \"Failed sign-in\"
--! severity = \"low\"
--! entities = { user = \"user\" }
SELECT time, user, src_ip FROM signin WHERE status = 'Failure'
";

const EXCEPTION: &str = "\
- { name: scanner, detection: 'identity.*', where: \"src_ip = '10.0.0.9'\", owner: me, reason: ours, expires: 2026-06-30 }
";

fn texts(detections: &[(&str, &str)], exceptions: &str) -> Texts {
    let owned =
        |files: &[(&str, &str)]| files.iter().map(|(file, text)| ((*file).to_owned(), (*text).to_owned())).collect();
    Texts {
        streams: owned(&[("streams/signin.sql", STREAM)]),
        detections: owned(detections),
        runbooks: owned(&[("detections/identity/failure.md", "# Ask the user\n")]),
        exceptions: owned(&[("exceptions/all.yaml", exceptions)]),
    }
}

fn messages(compiled: &Compiled) -> Vec<String> {
    compiled.diagnostics.iter().map(ToString::to_string).collect()
}

fn check(detection: &str) -> Vec<String> {
    messages(&compile(&texts(&[("detections/x.sql", detection)], ""), None))
}

#[test]
fn a_good_project_has_nothing_wrong_with_it() {
    let compiled = compile(&texts(&[("detections/identity/failure.sql", FAILURE)], EXCEPTION), None);
    assert_eq!(messages(&compiled), Vec::<String>::new());
    assert_eq!(compiled.detections[0].runbook.as_deref(), Some("# Ask the user\n"));
    let schema = compiled.program.output_schema(0).expect("it was compiled");
    assert_eq!(
        schema.fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>(),
        ["time", "user", "src_ip"]
    );
}

#[test]
fn an_entity_that_is_no_column_is_refused_at_its_place() {
    let found = check(&FAILURE.replace("user = \"user\"", "src_ip = \"src_pi\""));
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(
        found[0].starts_with("detections/x.sql:4:27: D021 the entity `src_ip` is taken from `src_pi`"),
        "{found:#?}"
    );
    assert!(found[0].contains("did you mean `src_ip`?"), "{found:#?}");
}

#[test]
fn a_cooldown_over_an_entity_that_is_no_column_is_told_at_the_entity() {
    let cooled = FAILURE.replace("user = \"user\" }", "user = \"usr\" }\n--! cooldown = \"1 hour\"");
    let found = check(&cooled);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].starts_with("detections/x.sql:4:25: D021 the entity `user` is taken from `usr`"), "{found:#?}");
    assert!(found[0].contains("did you mean `user`?"), "{found:#?}");
}

#[test]
fn entities_meet_columns_without_regard_to_case() {
    assert_eq!(check(&FAILURE.replace("user = \"user\"", "user = \"USER\"")), Vec::<String>::new());
}

#[test]
fn a_mistake_in_the_sql_is_told_with_the_line_of_the_file() {
    let found = check(&FAILURE.replace("WHERE status", "WHERE stattus"));
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].starts_with("detections/x.sql:5:45: D004"), "{found:#?}");
    assert!(found[0].contains("`status`"), "{found:#?}");
}

#[test]
fn mistakes_of_all_files_are_told_at_once() {
    let files = [
        ("detections/a.sql", FAILURE.replace("low", "lowish")),
        ("detections/b.sql", FAILURE.replace("signin", "sigin")),
    ];
    let files: Vec<_> = files.iter().map(|(file, text)| (*file, text.as_str())).collect();
    let found = messages(&compile(&texts(&files, "- {}\n"), None));
    for expected in ["detections/a.sql:3:", "detections/b.sql:5:", "exceptions/all.yaml:1:"] {
        assert!(found.iter().any(|text| text.starts_with(expected)), "{expected} in {found:#?}");
    }
}

#[test]
fn two_detections_of_one_id_are_refused() {
    let compiled = compile(&texts(&[("detections/a.sql", FAILURE), ("detections/b.sql", FAILURE)], ""), None);
    let found = messages(&compiled);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(
        found[0]
            .starts_with("detections/b.sql:1:5: D108 the id `identity.failure` is that of detections/a.sql already")
    );
    assert_eq!(compiled.detections.len(), 1);
}

#[test]
fn a_related_detection_that_is_not_there_is_a_warning() {
    let with = |lines: &str| FAILURE.replace("--! entities", &format!("{lines}\n--! entities"));
    let first = with("--! related = [\"identity.othr\", \"identity.other\", \"network.scan\"]");
    // What has mistakes of its own is there all the same, and says what it says.
    let other = with("--! related = \"identity.failur\"").replace("identity.failure", "identity.other");
    let files = [("detections/a.sql", &*first), ("detections/b.sql", &other.replace("low", "lowish"))];
    let compiled = compile(&texts(&files, ""), None);
    assert_eq!(
        messages(&compiled),
        [
            "detections/a.sql:4:16: D111 `related` names `identity.othr`, and no detection of this project has that id; \
             did you mean `identity.other`?",
            "detections/a.sql:4:51: D111 `related` names `network.scan`, and no detection of this project has that id; \
             write the `id` of another file's header, or take it out",
            "detections/b.sql:3:16: D104 `lowish` is not a severity; one of informational, low, medium, high, \
             critical, fatal",
            "detections/b.sql:4:15: D111 `related` names `identity.failur`, and no detection of this project has that id; \
             did you mean `identity.failure`?",
        ]
    );
    assert_eq!(compiled.detections.len(), 1);
    assert!(compiled.diagnostics.iter().filter(|one| one.code == "D111").all(|one| one.level == Level::Warning));
}

#[test]
fn nothing_is_missed_under_related_where_an_id_cannot_be_read() {
    let first = FAILURE.replace("--! entities", "--! related = \"identity.other\"\n--! entities");
    let other = FAILURE.replace("id = \"identity.failure\"", "id = \"Identity Other\"");
    let files = [("detections/a.sql", &*first), ("detections/b.sql", &*other)];
    let found = messages(&compile(&texts(&files, ""), None));
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].starts_with("detections/b.sql:1:10: D104 `Identity Other` is not an id"), "{found:#?}");
}

#[test]
fn an_exception_about_nothing_is_a_warning() {
    let exception = EXCEPTION.replace("identity.*", "identity.failures");
    let found = messages(&compile(&texts(&[("detections/a.sql", FAILURE)], &exception), None));
    assert_eq!(
        found,
        [
            "exceptions/all.yaml:1:31: X007 the exception is about `identity.failures`, and no detection of this project has \
         such an id; did you mean `identity.failure`?"
        ]
    );
}

#[test]
fn the_syntax_of_a_condition_is_judged_though_its_detection_is_not_there() {
    let exception = EXCEPTION.replace("identity.*", "network.*");
    let broken = exception.replace("src_ip = '10.0.0.9'", "no_column = 1 AND ((");
    let found = |exceptions: &str| {
        let found = messages(&compile(&texts(&[("detections/a.sql", FAILURE)], exceptions), None));
        found.iter().map(|one| one.split_inclusive(' ').take(2).collect::<String>()).collect::<Vec<_>>()
    };
    let dead = "exceptions/all.yaml:1:31: X007 ";
    assert_eq!(found(&broken), [dead, "exceptions/all.yaml:1:72: D001 "]);
    assert_eq!(found(&exception), [dead]);
}

#[test]
fn dead_names_in_exceptions_are_told_beside_other_mistakes() {
    let other = FAILURE.replace("identity.failure", "identity.other").replace("user, src_ip FROM", "user FROM");
    let draft = FAILURE.replace("identity.failure", "identity.draft").replace("low", "lowish");
    let files = [("detections/a.sql", FAILURE), ("detections/b.sql", &*other), ("detections/c.sql", &*draft)];
    let exceptions = "\
- { name: one, detection: [identity.failure, identity.othr], ownr: me, reason: r, expires: 2026-06-30 }
- { name: two, detection: [identity.failure, identity.other], where: src_ip = 'x' OR usr = 'y', owner: me, reason: r, expires: 2026-06-30 }
- { name: old, detection: 'network.*', where: anything, owner: me, reason: r, expires: 2026-01-01 }
- { name: row, detection: identity.other, where: hit OR hit.usr = 'y' OR bytes > 3, owner: me, reason: r, expires: 2026-06-30 }
- { name: draft, detection: identity.draft, where: usr = 'y', owner: me, reason: r, expires: 2026-06-30 }
";
    let found = messages(&compile(&texts(&files, exceptions), "2026-05-01".parse().ok()));
    assert_eq!(
        found,
        [
            "detections/c.sql:3:16: D104 `lowish` is not a severity; one of informational, low, medium, high, \
             critical, fatal",
            "exceptions/all.yaml:1:3: X005 the exception has no `where`; write an SQL condition over the detection's columns",
            "exceptions/all.yaml:1:46: X007 the exception is about `identity.othr`, and no detection of this project has \
             such an id; did you mean `identity.other`?",
            "exceptions/all.yaml:1:62: X002 unknown key `ownr` in the exception; did you mean `owner`?",
            "exceptions/all.yaml:2:70: D004 the condition does not fit identity.other: there is no column `src_ip`; \
             the columns of the alert's row, `hit`, are time, user",
            "exceptions/all.yaml:2:86: D004 the condition does not fit identity.failure: there is no column `usr`; \
             did you mean `user`?",
            "exceptions/all.yaml:3:27: X007 the exception is about `network.*`, and no detection of this project has \
             such an id",
            "exceptions/all.yaml:3:88: X006 the exception `old` expired 120 days ago, on 2026-01-01; ask me to renew it, \
             or delete it",
            "exceptions/all.yaml:4:50: D004 the condition does not fit identity.other: `hit` is a whole row and no column; \
             write `hit.time`, or one of its columns alone: time, user",
            "exceptions/all.yaml:4:61: D004 the condition does not fit identity.other: the alert's row, `hit`, has no column \
             `usr`; did you mean `user`?",
            "exceptions/all.yaml:4:74: D004 the condition does not fit identity.other: there is no column `bytes`; \
             the columns of the alert's row, `hit`, are time, user",
            "exceptions/all.yaml:5:52: D004 the condition does not fit identity.draft: there is no column `usr`; \
             did you mean `user`?",
        ]
    );
}

#[test]
fn explain_says_what_this_detection_reads_and_no_other() {
    let detection =
        |id: &str, sql: &str| format!("--! id = \"{id}\"\n--! title = \"T\"\n--! severity = \"low\"\n{sql}\n");
    let sql = [
        ("a.columns", "SELECT time, user FROM signin", "signin: time, user"),
        ("a.filter", "SELECT time FROM signin WHERE status = 'x'", "signin: time, status"),
        (
            "a.alerts",
            "SELECT window_end AS time, severity, count(*) AS n FROM TUMBLE(alerts, time, INTERVAL '5 minutes') \
             GROUP BY window_start, window_end, severity",
            "alerts: time, severity",
        ),
        ("a.late", "SELECT time, stream, late_ms FROM late_events", "late_events: time, stream, late_ms"),
        ("a.actions", "SELECT time, status FROM actions WHERE playbook = 'p'", "actions: time, playbook, status"),
        ("a.cases", "SELECT time, title FROM cases", "cases: time, title"),
        (
            "a.table",
            "SELECT s.time, s.user FROM signin s JOIN staff ON staff.name = s.user",
            "signin: time, user\n  staff: name",
        ),
    ];
    let files: Vec<_> = sql.iter().map(|(id, sql, _)| (format!("detections/{id}.sql"), detection(id, sql))).collect();
    let files: Vec<_> = files.iter().map(|(file, text)| (file.as_str(), text.as_str())).collect();
    let mut texts = texts(&files, "");
    let staff = "CREATE TABLE staff (name STRING, team STRING) WITH (location = 'staff.csv', format = 'csv');";
    texts.streams.push(("streams/staff.sql".to_owned(), staff.to_owned()));
    let compiled = compile(&texts, None);
    assert_eq!(messages(&compiled), Vec::<String>::new());
    for (at, (id, _, reads)) in sql.iter().enumerate() {
        let explained = compiled.program.explain(at).expect("it was compiled");
        assert!(explained.contains(&format!("\nreads\n  {reads}\n\nemission\n")), "{id}: {explained}");
    }
}

#[test]
fn an_expired_exception_is_an_error_and_hides_nothing() {
    let day = |text: &str| text.parse::<NaiveDate>().ok();
    let files = [("detections/a.sql", FAILURE)];
    let last_day = compile(&texts(&files, EXCEPTION), day("2026-06-30"));
    assert_eq!((last_day.exceptions.len(), last_day.diagnostics.len()), (1, 0));
    let next_day = compile(&texts(&files, EXCEPTION), day("2026-07-01"));
    assert!(next_day.exceptions.is_empty());
    assert!(messages(&next_day)[0].contains("X006 the exception `scanner` expired 1 day ago"));
}

#[test]
fn a_condition_that_is_no_sql_over_the_columns_is_refused() {
    let exception = EXCEPTION.replace("src_ip = '10.0.0.9'", "source_ip = '10.0.0.9'");
    let found = messages(&compile(&texts(&[("detections/a.sql", FAILURE)], &exception), None));
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].starts_with("exceptions/all.yaml:1:"), "{found:#?}");
}

#[test]
fn detections_that_read_each_others_alerts_in_a_circle_are_refused() {
    let detection = |id: &str, other: &str| {
        format!(
            "--! id = \"{id}\"\n--! title = \"T\"\n--! severity = \"low\"\n\
             SELECT time, user FROM alerts WHERE detection = '{other}'\n"
        )
    };
    let (one, other) = (detection("a.one", "a.other"), detection("a.other", "a.one"));
    let found = messages(&compile(&texts(&[("detections/1.sql", &one), ("detections/2.sql", &other)], ""), None));
    assert!(found.iter().any(|text| text.contains("D015")), "{found:#?}");
}

#[test]
fn a_mistake_in_the_header_does_not_hide_those_in_the_sql() {
    let found =
        check(&FAILURE.replace("low", "lowish").replace("status", "stattus").replace("\"user\" }", "\"usr\" }"));
    let places = ["3:16: D104", "4:25: D021", "5:45: D004"].map(|place| format!("detections/x.sql:{place} "));
    assert_eq!(found.len(), 3, "{found:#?}");
    assert!(found.iter().zip(&places).all(|(found, place)| found.starts_with(place)), "{found:#?}");
}

#[test]
fn a_column_that_is_misspelt_where_it_is_selected_is_not_missed_as_an_entity_too() {
    let found = check(&FAILURE.replace("time, user,", "time, usr,"));
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].contains(" D004 ") && found[0].contains("`usr`"), "{found:#?}");
}

#[test]
fn a_header_that_is_no_toml_does_not_hide_the_sql_and_its_parameters_are_not_missed() {
    let found = check(
        &FAILURE
            .replace("\"low\"", "\"low\"\n--! params = { n = 3, }}")
            .replace("status = 'Failure'", "stattus = $name AND user = $n"),
    );
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found[0].starts_with("detections/x.sql:4:") && found[0].contains(" D101 "), "{found:#?}");
    assert!(found[1].starts_with("detections/x.sql:6:45: D004 "), "{found:#?}");
    let misspelt = check(&FAILURE.replace("\"low\"", "\"low\"\n--! parms = { n = 3 }").replace("'Failure'", "$n"));
    assert_eq!(misspelt.len(), 1, "{misspelt:#?}");
    assert!(misspelt[0].contains("D102 unknown key `parms`"), "{misspelt:#?}");
    // Where the parameters are known, one that is not among them is told all the same.
    let found = check(&FAILURE.replace("low", "lowish").replace("'Failure'", "$failure"));
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found[1].starts_with("detections/x.sql:5:54: D008 "), "{found:#?}");
}

#[test]
fn what_others_say_about_a_file_with_a_faulty_header_is_not_a_second_mistake() {
    let reader = "--! id = \"a.b\"\n--! title = \"T\"\n--! severity = \"low\"\n\
                  SELECT time, user FROM alerts WHERE detection = 'identity.failure'\n";
    let broken = FAILURE.replace("low", "lowish");
    let compiled = compile(&texts(&[("detections/a.sql", &broken), ("detections/b.sql", reader)], EXCEPTION), None);
    assert_eq!(messages(&compiled).len(), 1, "{:#?}", messages(&compiled));
    assert_eq!((compiled.detections.len(), compiled.drafts.len()), (1, 1));
    assert!(compiled.program.output_schema(0).is_some() && compiled.program.output_schema(1).is_none());
}

#[test]
fn a_reserved_column_that_cannot_be_what_it_stands_for_is_refused() {
    let with = |columns: &str| check(&FAILURE.replace("src_ip FROM", &format!("src_ip, {columns} FROM")));
    let told = |columns: &str, at: &str, message: &str| {
        let found = with(columns);
        assert_eq!(found.len(), 1, "{columns}: {found:#?}");
        assert!(found[0].starts_with(&format!("detections/x.sql:5:{at}: D109 {message}")), "{columns}: {found:#?}");
    };
    told("'hihg' AS severity", "28", "`hihg` is not a severity; did you mean `high`?");
    told(
        "CASE WHEN src_ip = '::1' THEN 'low' ELSE 'urgent!' END AS Severity",
        "69",
        "`urgent!` is not a severity; `severity` is a word, one of informational,",
    );
    told("5 AS severity", "28", "`5` is not a severity; `severity` is a word");
    told("length(user) AS severity", "28", "the column `severity` cannot be a severity; `severity` is a word");
    told("101 AS confidence", "28", "`101` is not a confidence; `confidence` is a number from 0 to 100");
    told("'hgh' AS confidence", "28", "`hgh` is not a confidence; did you mean `high`?");
    told("user AS risk_score", "28", "the column `risk_score` cannot be a risk_score");
    told("-1 AS risk_score", "29", "`-1` is not a risk_score; `risk_score` is a number from 0 to 10000");
    // A mistake elsewhere in the SQL does not hide it.
    let found = check(&FAILURE.replace("src_ip FROM", "src_ip, 'hihg' AS severity FROM").replace("status", "stattus"));
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found[0].contains("5:28: D109") && found[1].contains(" D004 "), "{found:#?}");
    for good in [
        "'HIGH' AS severity, 'low' AS confidence, 10000 AS risk_score",
        "coalesce(status, 'info') AS severity, '97.5' AS confidence, length(user) AS risk_score",
        "CASE WHEN user = 'root' THEN 'high' END AS severity, length(user) AS confidence",
        "NULL AS severity, NULL AS confidence, NULL AS risk_score",
    ] {
        assert_eq!(with(good), Vec::<String>::new(), "{good}");
    }
}

#[test]
fn an_exception_that_is_no_condition_is_told_in_plain_words() {
    let told = |condition: &str| {
        let exception = EXCEPTION.replace("src_ip = '10.0.0.9'", condition);
        messages(&compile(&texts(&[("detections/x.sql", FAILURE)], &exception), None))
    };
    let fit = "the condition does not fit identity.failure";
    assert_eq!(
        told("src_ip"),
        [format!(
            "exceptions/all.yaml:1:53: D006 {fit}: `WHERE` takes a condition, and `src_ip` is STRING; compare it: \
             src_ip = '...', or src_ip IS NOT NULL"
        )]
    );
    assert_eq!(
        told("time = 'x'"),
        [format!(
            "exceptions/all.yaml:1:60: D006 {fit}: `'x'` is no TIMESTAMP, so a comparison with `time` is never true; \
             write a time as '2026-01-31 12:00:00'"
        )]
    );
}

#[test]
fn an_allowance_that_cannot_be_kept_is_refused_in_the_header() {
    let found = check(&FAILURE.replace("\"low\"", "\"low\"\n--! allowed_lateness = \"10 minutes\""));
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(
        found[0].starts_with("detections/x.sql:4:24: D016 `allowed_lateness` applies to TUMBLE, HOP"),
        "{found:#?}"
    );
    let found = check(&FAILURE.replace("\"low\"", "\"low\"\n--! allowed_lateness = \"soon\""));
    assert!(found[0].starts_with("detections/x.sql:4:24: "), "{found:#?}");
}

#[test]
fn a_parameter_that_the_sql_does_not_name_is_a_warning() {
    let with = FAILURE.replace("\"low\"", "\"low\"\n--! params = { status = \"Failure\", n = 3 }");
    let misspelt = check(&with.replace("'Failure'", "$status AND src_ip = $m"));
    assert_eq!(misspelt.len(), 1, "a name that is misspelt is told once: {misspelt:#?}");
    assert!(misspelt[0].contains(" D008 "), "{misspelt:#?}");
    let found = check(&with.replace("'Failure'", "$status -- not $n"));
    assert_eq!(
        found,
        ["detections/x.sql:4:36: D110 the SQL does not name the parameter `n`; write `$n` where its value is meant, \
         or take it out"]
    );
}
