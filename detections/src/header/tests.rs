use super::parse;
use crate::detection::{Confidence, Delivery, Param, Severity, Status};
use crate::entity::EntityKind;

const GOOD: &str = "\
--! id       = \"identity.password_guessing\"
--! title    = \"Password guessing\"
--! severity = \"high\"
-- a comment between header lines
--! status   = \"stable\"
--! owner    = \"identity-team\"
--! description = \"\"\"
--! Someone tries many passwords
--! until one fits.\"\"\"
--! author   = [\"Ann\", \"Bob\"]
--! date     = 2026-01-31
--! version  = 3
--! confidence = 80
--! risk_score = 40
--! attack   = [\"T1110.001\", \"TA0006\"]
--! entities = { user = \"user_name\", src_ip = \"src_ip\" }
--! cooldown = \"1 hour\"
--! playbook = \"contain_account\"
--! params   = { failures = 10, ratio = 0.5, realm = \"corp\", strict = true }
--! false_positives = [\"password rotation of service accounts\"]

SELECT time FROM signin
WHERE failures >= $failures
";

fn errors(text: &str) -> Vec<String> {
    let found = parse("x.sql", text).expect_err("the header is wrong");
    found.iter().map(ToString::to_string).collect()
}

/// A header that is right but for `line`.
fn with(line: &str) -> String {
    format!("--! id = \"a.b\"\n--! title = \"T\"\n--! severity = \"low\"\n--! {line}\nSELECT 1\n")
}

fn one_error(line: &str) -> String {
    let mut found = errors(&with(line));
    assert_eq!(found.len(), 1, "{found:#?}");
    found.remove(0)
}

#[test]
fn every_key_of_a_good_header_is_understood() {
    let detection = parse("identity/password_guessing.sql", GOOD).expect("a good header");
    assert_eq!(&*detection.id, "identity.password_guessing");
    assert_eq!(detection.family(), "identity");
    assert_eq!(detection.severity, Severity::High);
    assert_eq!(detection.status, Status::Stable);
    assert_eq!(detection.description.as_deref(), Some("Someone tries many passwords\nuntil one fits."));
    assert_eq!(detection.author.as_deref(), Some("Ann, Bob"));
    assert_eq!(detection.date.as_deref(), Some("2026-01-31"));
    assert_eq!(detection.version.as_deref(), Some("3"));
    assert_eq!(detection.confidence, Some(Confidence(80)));
    assert_eq!(detection.risk_score, Some(40));
    assert_eq!(detection.attack, ["T1110.001", "TA0006"]);
    assert_eq!(detection.entities[&EntityKind::User], "user_name");
    assert_eq!(detection.cooldown_us, Some(3_600_000_000));
    assert_eq!(detection.playbook.as_deref(), Some("contain_account"));
    assert_eq!(detection.params["failures"], Param::Int(10));
    assert_eq!(detection.params["ratio"], Param::Float(0.5));
    assert_eq!(detection.params["realm"], Param::Text("corp".to_owned()));
    assert_eq!(detection.params["strict"], Param::Bool(true));
}

#[test]
fn alerts_leave_with_their_epoch_unless_the_header_says_otherwise() {
    let delivery = |line: &str| parse("x.sql", &with(line)).expect("a good header").delivery;
    assert_eq!(delivery("owner = \"me\""), Delivery::Exact);
    assert_eq!(delivery("delivery = \"exact\""), Delivery::Exact);
    assert_eq!(delivery("delivery = \"fast\""), Delivery::Fast);
}

#[test]
fn the_sql_begins_below_the_last_header_line() {
    let detection = parse("x.sql", GOOD).expect("a good header");
    assert_eq!(detection.sql_start.line, 21);
    assert_eq!(detection.sql, "\nSELECT time FROM signin\nWHERE failures >= $failures\n");
}

#[test]
fn values_are_found_in_the_file_and_not_in_the_cut_out_toml() {
    let detection = parse("x.sql", GOOD).expect("a good header");
    let user = detection.place("entities.user").expect("it has a place");
    assert_eq!((user.start.line, user.start.column), (16, 25));
    assert_eq!(user.end.column, 36);
    let indented = parse("x.sql", &GOOD.replace("--! entities", "  --!entities")).expect("a good header");
    assert_eq!(indented.place("entities.user").expect("it has a place").start.column, 26);
}

#[test]
fn windows_line_ends_and_a_byte_order_mark_change_nothing() {
    let text = format!("\u{feff}{}", GOOD.replace('\n', "\r\n"));
    let detection = parse("x.sql", &text).expect("a good header");
    assert_eq!(detection.sql_start.line, 21);
    assert_eq!(detection.attack, ["T1110.001", "TA0006"]);
}

#[test]
fn a_misspelt_key_is_refused_with_the_nearest_one() {
    assert_eq!(
        one_error("severty = \"high\""),
        "x.sql:4:5: D102 unknown key `severty` in the header; did you mean `severity`?"
    );
    assert!(one_error("colour = \"red\"").contains("known keys are id, title"));
}

#[test]
fn what_every_detection_needs_is_missed() {
    let found = errors("--! owner = \"me\"\nSELECT 1");
    let codes: Vec<_> = found.iter().filter(|text| text.contains("D105")).collect();
    assert_eq!(codes.len(), 3, "{found:#?}");
    for key in ["`id`", "`title`", "`severity`"] {
        assert!(found.iter().any(|text| text.contains(key)), "{key} in {found:#?}");
    }
    assert_eq!(errors("SELECT 1").len(), 3);
}

#[test]
fn a_wrong_value_is_refused_with_a_way_out() {
    let cases = [
        ("status = \"stabel\"", "4:14: D104 `stabel` is not a status; did you mean `stable`?"),
        ("delivery = \"fats\"", "4:16: D104 `fats` is not a delivery; did you mean `fast`?"),
        ("delivery = \"soon\"", "4:16: D104 `soon` is not a delivery; one of exact, fast"),
        ("confidence = 101", "D104 `confidence` is a whole number from 0 to 100, or `low`, `medium` or `high`"),
        ("risk_score = -1", "D104 `risk_score` is a whole number from 0 to 10000, not -1"),
        ("attack = [\"t1110.001\"]", "D104 `t1110.001` is not an ATT&CK id; did you mean `T1110.001`?"),
        ("attack = \"T11\"", "D104 `T11` is not an ATT&CK id; an ATT&CK id is a technique"),
        ("date = \"yesterday\"", "D104 `yesterday` is not a day; write a day as YYYY-MM-DD"),
        ("date = \"2026-02-30\"", "D104 `2026-02-30` is not a day"),
        ("entities = { usr = \"x\" }", "4:18: D104 `usr` is not a kind of entity; did you mean `user`?"),
        ("params = { \"a b\" = 1 }", "D104 `a b` cannot name a parameter"),
    ];
    for (line, expected) in cases {
        let found = one_error(line);
        assert!(found.contains(expected), "{line}: {found}");
    }
    let found = errors(&with("cooldown = \"soon\"\n--! entities = { user = \"u\" }"));
    assert_eq!(found.len(), 1);
    assert!(found[0].contains("D104 `soon` is not a duration; write one such as"), "{found:?}");
}

#[test]
fn a_value_of_the_wrong_type_is_refused() {
    let cases = [
        ("owner = 5", "D103 `owner` is text, not a whole number"),
        ("tags = [\"a\", 1]", "D103 `tags` is a list of texts, not a whole number"),
        ("entities = [\"user\"]", "D103 `entities` is a map, not a list"),
        ("entities = { user = 1 }", "D103 `entities.user` is the name of an output column, not a whole number"),
        ("params = { xs = [1] }", "D103 `params.xs` is a number, text, true or false, not a list"),
        ("confidence = true", "D103 `confidence` is a whole number"),
    ];
    for (line, expected) in cases {
        let found = one_error(line);
        assert!(found.contains(expected), "{line}: {found}");
    }
}

#[test]
fn all_mistakes_are_reported_in_the_order_of_the_text() {
    let found = errors("--! id = \"Not An Id\"\n--! titel = \"T\"\n--! severity = \"urgent\"\n");
    let lines: Vec<_> = found.iter().map(|text| text.split(':').nth(1).unwrap_or_default()).collect();
    assert_eq!(lines, ["1", "2", "3", "4"], "{found:#?}");
}

#[test]
fn toml_that_is_none_is_refused_at_its_place() {
    let found = errors("--! id = \"a.b\n--! title = \"T\"\nSELECT 1");
    assert_eq!(
        found,
        [
            "x.sql:1:1: D105 the header has no `severity`; one of informational, low, medium, high, critical, fatal",
            "x.sql:1:14: D101 invalid basic string, expected `\"`",
        ],
        "an id may be there, a severity is not"
    );
}

#[test]
fn an_entry_that_is_no_toml_hides_no_other_and_is_told_once() {
    let text = "\
--! id = \"a.b\"
--! titel = \"T\"
--! severity = \"urgent\"
--! attack = [T1110,
--!   \"T1078\",
--! ]
--! owner me
--! description = \"\"\"
--!   owner = nobody
--! \"\"\"
--! entities = { user = \"user\"
--! cooldown = \"1 hour\"
--! status = test
--! status = \"test\"
--! version = 1
--! version = 2
SELECT 1
";
    let found = errors(text);
    assert_eq!(
        found,
        [
            "x.sql:2:5: D102 unknown key `titel` in the header; did you mean `title`?",
            "x.sql:3:16: D104 `urgent` is not a severity; one of informational, low, medium, high, critical, fatal",
            "x.sql:4:15: D101 `T1110` is text and stands in quotes; write `\"T1110\"`",
            "x.sql:7:11: D101 key with no value, expected `=`",
            "x.sql:11:31: D101 unclosed inline table, expected `}`",
            "x.sql:13:14: D101 `test` is text and stands in quotes; write `\"test\"`",
            "x.sql:16:5: D101 the key `version` is there twice",
        ]
    );
}

#[test]
fn what_is_no_toml_is_said_in_plain_words() {
    let told = |line: &str, expected: &str| assert_eq!(one_error(line), format!("x.sql:4:{expected}"), "{line}");
    told("cooldown = 1 hour", "16: D101 `1 hour` is text and stands in quotes; write `\"1 hour\"`");
    told(
        "playbook = tell the team",
        "16: D101 `tell the team` is text and stands in quotes; write `\"tell the team\"`",
    );
    told("status: \"test\"", "11: D101 a key is followed by `=` and not by `:`");
    told("entities = { user: \"user\" }", "22: D101 a key is followed by `=` and not by `:`");
    told(
        "description = \"\"\"\n--! status of it, and\n--! owner too",
        "19: D101 the text that begins here is not closed; close it with `\"\"\"`",
    );
    told("attack = [\"T1078\" \"T1079\"]", "23: D101 missing comma between array elements, expected `,`");
}

#[test]
fn a_table_in_the_header_is_read_up_to_what_is_wrong() {
    let found = errors(&with("version = 1\n--! [params]\n--! n = 3\n--! m = x\n--! o = [4]"));
    assert_eq!(
        found,
        [
            "x.sql:7:9: D101 `x` is text and stands in quotes; write `\"x\"`",
            "x.sql:8:9: D103 `params.o` is a number, text, true or false, not a list",
        ]
    );
}

#[test]
fn a_header_line_below_the_sql_is_not_taken_for_a_comment() {
    let found = errors(&format!("{}  --! owner = \"me\"\n", with("version = 1")));
    assert_eq!(
        found,
        [
            "x.sql:6:3: D107 a header line below the SQL has no effect; move it to the top of the file, or write `--` if it is a comment"
        ]
    );
}

#[test]
fn a_file_without_sql_is_refused() {
    let found = errors("--! id = \"a.b\"\n--! title = \"T\"\n--! severity = \"low\"\n-- nothing yet\n");
    assert_eq!(found, ["x.sql:4:1: D106 the detection has no SQL; write one SELECT below the header"]);
}

#[test]
fn ids_are_dotted_words_or_uuids() {
    for id in ["a", "a.b_c.d-2", "0123abcd-0123-4567-89AB-0123456789ab"] {
        let text = with("version = 1").replace("a.b", id);
        assert_eq!(&*parse("x.sql", &text).expect("a good id").id, id);
    }
    for id in ["A.b", "a..b", ".a", "a b", "a/b", "ä"] {
        let text = with("version = 1").replace("a.b", id);
        assert!(errors(&text)[0].contains("is not an id"), "{id}");
    }
}

#[test]
fn a_cooldown_without_entities_is_refused() {
    assert!(one_error("cooldown = \"1 hour\"").contains("a cooldown needs entities"));
}

#[test]
fn severity_in_another_case_is_understood() {
    let text = with("version = 1").replace("\"low\"", "\"High\"");
    assert_eq!(parse("x.sql", &text).expect("a good header").severity, Severity::High);
}
