use serde_json::json;

use super::{ItemKind, parse};

const GOOD: &str = r#"
with: ["identity.*"]
cases:
  - name: ten failures fire
    given:
      signin:
        - { time: "2026-01-01T00:00:00Z", user: ann, port: 22, zip: 01234, ratio: 0.5, ok: yes }
        - repeat: 12
          every: 10s
          event: { time: "2026-01-01T00:01:00Z", user: "bob-${i}" }
        - file: data/x.ndjson
        - "{ not json"
    tables:
      indicators: [ { value: evil.example, score: 90 } ]
    expect:
      - { severity: high, data: { user: ann, failures: 10 }, count: 1 }
      - finding_info.analytic.uid: identity.guessing
    rejected: 1
  - name: quiet
    given: { signin: [] }
    expect: []
"#;

fn errors(text: &str) -> Vec<String> {
    parse("a.test.yaml", text).expect_err("a mistake").iter().map(ToString::to_string).collect()
}

#[test]
fn a_good_test_is_understood() {
    let test = parse("a.test.yaml", GOOD).expect("a good test");
    assert_eq!(test.with, ["identity.*"]);
    assert_eq!(test.cases.len(), 2);
    let case = &test.cases[0];
    assert_eq!((case.name.as_str(), case.span.start.line, case.rejected), ("ten failures fire", 4, 1));
    let kinds: Vec<_> = case.given[0].items.iter().map(|item| item.kind.clone()).collect();
    assert_eq!(
        kinds,
        [
            ItemKind::Event(json!({
                "time": "2026-01-01T00:00:00Z", "user": "ann", "port": 22, "zip": "01234", "ratio": 0.5, "ok": "yes"
            })),
            ItemKind::Repeat {
                times: 12,
                every_us: Some(10_000_000),
                event: json!({ "time": "2026-01-01T00:01:00Z", "user": "bob-${i}" }),
            },
            ItemKind::File("data/x.ndjson".to_owned()),
            ItemKind::Raw("{ not json".to_owned()),
        ]
    );
    assert_eq!(case.tables[0].rows, [json!({ "value": "evil.example", "score": 90 })]);
    assert_eq!(case.expect[0].span.start.line, 16);
    assert_eq!(case.expect[1].fields, [("finding_info.analytic.uid".to_owned(), json!("identity.guessing"))]);
    assert!(test.cases[1].expect.is_empty());
}

#[test]
fn a_misspelt_key_is_refused_with_the_nearest_one() {
    let found = errors(&GOOD.replace("    rejected: 1", "    rejectd: 1"));
    assert_eq!(found, ["a.test.yaml:18:5: T002 unknown key `rejectd` in the case; did you mean `rejected`?"]);
    let found = errors(&GOOD.replace("severity: high", "severty: high"));
    assert_eq!(found, ["a.test.yaml:16:11: T002 an alert has no `severty`; did you mean `severity`?"]);
    let found = errors(&GOOD.replace("every: 10s", "evry: 10s"));
    assert_eq!(found, ["a.test.yaml:9:11: T002 unknown key `evry` in the repetition; did you mean `every`?"]);
}

#[test]
fn a_case_says_what_it_shows_what_comes_and_what_is_expected() {
    let found = errors("cases:\n  - tables: {}\n");
    assert_eq!(found.len(), 3, "{found:#?}");
    for key in ["`name`", "`given`", "`expect`"] {
        assert!(found.iter().any(|text| text.contains("T005") && text.contains(key)), "{key} in {found:#?}");
    }
    assert!(errors("with: x\n")[0].contains("T005 the test has no `cases`"));
    assert!(errors("cases: []\n")[0].contains("a test without cases shows nothing"));
}

#[test]
fn two_cases_of_one_name_are_refused() {
    let found = errors(&GOOD.replace("name: quiet", "name: ten failures fire"));
    assert_eq!(found, ["a.test.yaml:19:11: T004 two cases are called `ten failures fire`"]);
}

#[test]
fn wrong_types_and_values_are_refused_at_their_place() {
    let cases = [
        ("repeat: 12", "repeat: 0", "8:19: T004 `repeat` is a whole number from 1 to 100000, not 0"),
        ("every: 10s", "every: soon", "9:18: T004 `soon` is not a duration"),
        (
            "given: { signin: [] }",
            "given: { signin: 5 }",
            "20:22: T003 `given.signin` is a list of events, not a whole number",
        ),
        ("expect: []", "expect: [ 5 ]", "21:15: T003 `an expected alert` is a map"),
        ("rejected: 1", "rejected: -1", "18:15: T004 `rejected` is a whole number from 0"),
    ];
    for (good, bad, expected) in cases {
        let found = errors(&GOOD.replace(good, bad));
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(found[0].contains(expected), "{found:#?}");
    }
}

#[test]
fn a_placeholder_that_is_none_is_refused_at_its_text() {
    let found = errors(&GOOD.replace("bob-${i}", "bob-${j}"));
    assert_eq!(
        found,
        ["a.test.yaml:10:56: T004 `${j}` is not a placeholder; write `${i}`, `${i + 1}`, `${i * 2}` or `${i % 3}`"]
    );
    let found = errors(&GOOD.replace("bob-${i}", "bob-${i"));
    assert_eq!(found, ["a.test.yaml:10:56: T004 `bob-${i` opens `${` and does not close it"]);
    let found = errors(&GOOD.replace("bob-${i}", "${i * 800000000000000000}"));
    assert_eq!(found.len(), 1, "the twelfth is too large: {found:#?}");
    let found = errors(&GOOD.replace("\"identity.*\"", "\"identity.[\""));
    assert_eq!(found, ["a.test.yaml:2:8: T004 `identity.[` is no pattern: unclosed character class; missing ']'"]);
}

#[test]
fn what_no_alert_can_have_is_refused_at_its_value() {
    let told = |written: &str, expected: &str| {
        let found = errors(&GOOD.replace("severity: high, ", &format!("{written}, ")));
        assert_eq!(found, [format!("a.test.yaml:16:{expected}")], "{written}");
    };
    told("severity: hihg", "21: T004 `hihg` is no severity of an alert; did you mean `high`?");
    told(
        "severity: 4",
        "21: T003 `severity` is one of informational, low, medium, high, critical, fatal, not a whole number",
    );
    told("severity_id: 9", "24: T004 `severity_id` is a whole number from 1 to 6, not 9");
    told("status: open", "19: T004 `open` is no status of an alert; one of new, suppressed, deleted");
    told("activity: opened", "21: T004 `opened` is no activity of an alert; one of create, update, close");
    told("time: noon", "17: T004 `noon` is no time; write it as 2026-01-31T08:00:00Z");
    told("time: 1767225600", "17: T003 `time` is a time in text, not a whole number");
    told("suppressed: maybe", "23: T003 `suppressed` is true or false, not text");
    told(
        "confidence: sure",
        "23: T004 `sure` is no confidence of an alert; a number from 0 to 100, or one of low, medium, high",
    );
    told("confidence: 101", "23: T004 `confidence` is a whole number from 0 to 100, not 101");
    told("risk_score: 10001", "23: T004 `risk_score` is a number from 0 to 10000, not 10001");
    told("attack: [T1110, x]", "27: T004 `x` is not an ATT&CK id");
    told("entities: { usr: ann }", "23: T004 `usr` is not a kind of entity; did you mean `user`?");
    told("title: 5", "18: T003 `title` is text, not a whole number");
    told("entities.user: ann", "11: T002 an alert has no `entities.user`; write `entities: { user: ... }`");
    told("finding_inf.uid: x", "11: T002 an alert has no `finding_inf.uid`; did you mean `finding_info`?");
    for good in ["severity: HIGH", "severity: null", "status: New", "confidence: low", "time: '2026-01-01 00:00:00'"] {
        let text = GOOD.replace("severity: high", good);
        assert!(parse("a.test.yaml", &text).is_ok(), "{good}");
    }
}

#[test]
fn yaml_that_is_none_is_refused_at_its_place() {
    let found = errors("cases:\n  - name: [\n");
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("a.test.yaml:") && found[0].contains("T001"), "{found:#?}");
}
