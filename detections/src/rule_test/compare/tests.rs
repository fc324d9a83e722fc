use serde_json::{Value, json};
use weir_engine::{Place, Span};

use super::{Problem, compare};
use crate::rule_test::Expected;

fn alert(uid: &str, severity: &str, data: Value) -> Value {
    json!({
        "time_dt": "2026-01-01T00:00:00Z",
        "severity": severity,
        "status_id": 1,
        "count": 1,
        "finding_info": {
            "uid": uid, "title": "T",
            "attacks": [{ "technique": { "uid": "T1110" }, "sub_technique": { "uid": "T1110.001" } }],
        },
        "evidences": [{ "data": data }],
        "unmapped": { "weir": { "entities": { "user": "ann" } } },
    })
}

fn expect(fields: Value) -> Expected {
    let Value::Object(fields) = fields else { panic!("a map") };
    Expected { span: Span::at(Place { line: 7, column: 1 }), fields: fields.into_iter().collect(), written: Vec::new() }
}

fn check(expected: Value, alert: &Value) -> Vec<String> {
    compare(&[expect(expected)], std::slice::from_ref(alert)).iter().map(ToString::to_string).collect()
}

#[test]
fn fields_that_are_not_named_are_not_looked_at() {
    let alert = alert("a", "High", json!({ "user": "ann", "failures": 10 }));
    for expected in [
        json!({}),
        json!({ "severity": "high" }),
        json!({ "data": { "user": "ann" }, "count": 1 }),
        json!({ "data": { "USER": "ann" } }),
        json!({ "data.failures": 10.0 }),
        json!({ "attack": ["T1110.001"] }),
        json!({ "entities": { "user": "ann" }, "title": "T", "uid": "a" }),
        json!({ "finding_info.attacks.0.technique.uid": "T1110" }),
        json!({ "time": "2026-01-01T00:00:00.000+00:00", "suppressed": false, "withdrawn": false, "late": false }),
        json!({ "data": { "nothing": null }, "exception": null }),
    ] {
        assert_eq!(check(expected.clone(), &alert), Vec::<String>::new(), "{expected}");
    }
}

#[test]
fn a_difference_names_its_path_and_both_values() {
    let alert = alert("a1", "Medium", json!({ "user": "ann", "failures": 12 }));
    let found = check(json!({ "severity": "high", "data": { "user": "ann", "failures": 10 } }), &alert);
    assert_eq!(
        found,
        [
            "alert a1 is not as expected in line 7:\n  severity       expected \"high\"\n                 actual   \"Medium\"\n  \
         data.failures  expected 10\n                 actual   12"
        ]
    );
}

#[test]
fn text_is_not_a_number() {
    let alert = alert("a", "High", json!({ "port": "22" }));
    assert_eq!(check(json!({ "data": { "port": 22 }, "count": 1 }), &alert).len(), 1);
}

#[test]
fn floats_are_compared_to_twelve_digits() {
    let alert = alert("a", "High", json!({ "share": 0.300_000_000_000_000_04 }));
    assert!(check(json!({ "data": { "share": 0.3 } }), &alert).is_empty());
    assert!(!check(json!({ "data": { "share": 0.300_000_001 }, "count": 1 }), &alert).is_empty());
}

#[test]
fn a_missing_and_an_unexpected_alert_are_told_apart() {
    let alert = alert("a", "High", json!({ "user": "eve" }));
    let problems = compare(&[expect(json!({ "data": { "user": "ann" }, "count": 5 }))], &[alert]);
    assert!(matches!(problems[0], Problem::Missing { line: 7, .. }), "{problems:?}");
    assert!(matches!(problems[1], Problem::Unexpected { .. }), "{problems:?}");
    assert!(problems[0].to_string().contains("data.user  \"ann\""), "{}", problems[0]);
    assert!(problems[1].to_string().contains("{\"user\":\"eve\"}"), "{}", problems[1]);
}

#[test]
fn a_lone_wrong_field_is_a_difference_and_not_two_alerts() {
    let alert = alert("a", "High", json!({ "user": "eve" }));
    let problems = compare(&[expect(json!({ "data": { "user": "ann" } }))], &[alert]);
    assert!(matches!(problems.as_slice(), [Problem::Differs { .. }]), "{problems:?}");
}

#[test]
fn a_vague_expectation_leaves_the_alert_that_a_strict_one_needs() {
    let alerts = [alert("a", "High", json!({ "user": "ann" })), alert("b", "High", json!({ "user": "bob" }))];
    let vague = expect(json!({ "severity": "high" }));
    let strict = expect(json!({ "data": { "user": "ann" } }));
    assert_eq!(compare(&[vague, strict], &alerts), []);
}

#[test]
fn the_nearest_alert_is_taken_for_a_wrong_expectation() {
    let alerts = [
        alert("a", "Low", json!({ "user": "ann", "failures": 3 })),
        alert("b", "High", json!({ "user": "bob", "failures": 9 })),
    ];
    let expected = [
        expect(json!({ "severity": "high", "data": { "user": "bob", "failures": 10 } })),
        expect(json!({ "severity": "low", "data": { "user": "ann", "failures": 3 } })),
    ];
    let problems = compare(&expected, &alerts);
    assert!(
        matches!(problems.as_slice(), [Problem::Differs { uid, fields, .. }] if uid == "b" && fields.len() == 1),
        "{problems:?}"
    );
}

#[test]
fn suppressed_alerts_count_only_where_an_expectation_speaks_of_them() {
    let mut suppressed = alert("b", "High", json!({ "user": "ann" }));
    suppressed["status_id"] = json!(3);
    let alerts = [alert("a", "High", json!({ "user": "ann" })), suppressed];
    assert_eq!(compare(&[expect(json!({ "count": 1 }))], &alerts), []);
    let both = [expect(json!({ "suppressed": false })), expect(json!({ "suppressed": true }))];
    assert_eq!(compare(&both, &alerts), []);
    assert_eq!(compare(&both[..1], &alerts).len(), 1);
}

#[test]
fn no_alerts_where_none_are_expected_is_right() {
    assert_eq!(compare(&[], &[]), []);
    assert_eq!(compare(&[], &[alert("a", "High", json!({}))]).len(), 1);
}

#[test]
fn two_records_are_told_apart_by_path() {
    let one = json!({ "a": 1, "b": { "c": [1, 2], "d": 1 }, "same": true });
    let two = json!({ "b": { "c": [1, 3], "e": 5, "d": 1 }, "same": true });
    let paths: Vec<_> =
        super::unlike(&one, &two).into_iter().map(|(path, one, two)| format!("{path} {one} {two}")).collect();
    assert_eq!(paths, ["a 1 null", "b.c.1 2 3", "b.e null 5"]);
}
