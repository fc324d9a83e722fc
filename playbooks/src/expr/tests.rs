//! Claims about conditions.

use serde_json::{Value, json};

use super::*;

fn read(text: &str) -> Result<Condition, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut names = fields::facts();
    names.add("steps", Names::Open);
    Condition::read(text, Span::START, text, &names, &mut problems).ok_or(problems)
}

fn holds(text: &str, scope: &Value) -> bool {
    read(text).unwrap_or_else(|problems| panic!("{text}: {problems:?}")).holds(scope)
}

fn refusal(text: &str) -> String {
    read(text).expect_err("must be refused")[0].to_string()
}

#[test]
fn conditions_over_an_alert_hold_as_they_read() {
    let scope = json!({"alert": {"severity": "high", "detection": "a.b", "count": 3, "attack": ["T1566"],
        "title": "it's bad", "entities": {"host": "ws1"}}, "steps": {"ask": {"approved": true}}});
    for text in [
        "alert.severity >= 'high'",
        "alert.severity < 'critical' and alert.severity != 'low'",
        "exists(alert.entities.host) and not exists(alert.entities.user)",
        "'T1566' in alert.attack",
        "alert.attack contains 'T1566'",
        "alert.detection in ['x', 'a.b'] AND alert.count > 2.5",
        "alert.detection not in ['x']",
        "alert.title = 'it''s bad'",
        "steps.ask.approved and (alert.count = 1 or alert.count == 3)",
        "not alert.entities.user = 'x'",
    ] {
        assert!(holds(text, &scope), "{text}");
    }
    for text in [
        "alert.severity >= 'critical'",
        "alert.entities.user = 'x'",
        "alert.entities.user != 'x'",
        "steps.other.approved",
    ] {
        assert!(!holds(text, &scope), "{text}");
    }
}

#[test]
fn severity_is_ordered_by_meaning_and_not_by_alphabet() {
    assert!(holds("alert.severity > 'high'", &json!({"alert": {"severity": "critical"}})));
    assert!(!holds("alert.severity > 'high'", &json!({"alert": {"severity": "low"}})));
}

#[test]
fn value_is_data_even_if_it_reads_like_a_condition() {
    let scope = json!({"alert": {"title": "' or true or '"}});
    assert!(!holds("alert.title = 'x'", &scope));
}

#[test]
fn mistakes_are_named_with_their_place() {
    assert_eq!(refusal("alert.severty = 'high'"), "1:1: P005 unknown field `alert.severty`; did you mean `severity`?");
    assert_eq!(refusal("alert.severity >= 'hgih'"), "1:19: P007 \"hgih\" is no severity; did you mean `high`?");
    assert_eq!(refusal("alert.count = 'three'"), "1:15: P007 a number cannot be compared with text");
    assert_eq!(refusal("alert.severity >= high"), "1:19: P005 unknown field `high`; quote text: 'high'");
    assert_eq!(
        refusal("alert.count"),
        "1:1: P007 a condition is true or false, and this is a number; compare it, or write `exists(...)`"
    );
    assert_eq!(refusal("(alert.count = 1"), "1:17: P006 `)` is missing");
    assert_eq!(
        refusal("alert.count = 1 alert.count = 2"),
        "1:17: P006 unexpected `alert.count`; join conditions with `and` or `or`"
    );
    assert_eq!(refusal("${alert.count} = 1"), "1:1: P006 unexpected `$`; conditions name fields without `${}`");
    assert_eq!(refusal("alert.title = 'x"), "1:15: P006 text without closing quote");
}

#[test]
fn nesting_without_end_is_refused_and_does_not_exhaust_the_stack() {
    assert!(refusal(&format!("{}true", "(".repeat(100_000))).contains("too deeply nested"));
}
