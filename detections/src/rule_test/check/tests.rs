use super::check;
use crate::rule_test;
use crate::rule_test::run::tests::{no_file, project};

#[test]
fn a_test_without_a_detection_and_with_wrong_names_is_refused() {
    let case = "
cases:
  - name: quiet
    given: { sigin: [] }
    tables: { indicator: [] }
    expect: []
";
    let test = rule_test::parse("nothing.test.yaml", case).expect("a good test");
    let found: Vec<_> = check(&test, &project(), &no_file).iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "nothing.test.yaml: T007 there is no detection beside this test",
            "nothing.test.yaml:4:14: T006 no stream is called `sigin`; did you mean `signin`?",
            "nothing.test.yaml:5:15: T006 no table is called `indicator`; did you mean `indicators`?",
        ]
    );
}

#[test]
fn an_expected_column_that_the_row_cannot_have_is_refused() {
    let case = "
cases:
  - name: wrong columns
    given: { signin: [] }
    expect:
      - { data: { USER: ann } }
      - { data: { usr: ann } }
      - { data.account.name: ann }
      - { detection: identity.guessing, data: { failures: 3 } }
";
    let test = rule_test::parse("failure.test.yaml", case).expect("a good test");
    let found: Vec<_> = check(&test, &project(), &no_file).iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "failure.test.yaml:7:19: T006 the row of the alert has no column `usr`; did you mean `user`?",
            "failure.test.yaml:8:11: T006 the row of the alert has no column `account.name`; its columns are time, user, src_ip",
        ]
    );
}

#[test]
fn what_a_test_names_and_gives_is_checked_without_running_it() {
    let case = "
with: ['identity.*', 'network.*']
cases:
  - name: names and values
    given:
      signin:
        - file: data/none.ndjson
        - { repeat: 3, every: 10s, event: { user: ann } }
      other: []
      alerts: []
    tables:
      indicators: [ { ipp: 10.0.0.1 }, { ip: 10.0.0.1, score: high } ]
    expect:
      - { entities: { user: ann, host: ws1, group: null } }
      - { detection: identity.gessing }
";
    let project = project();
    let test = rule_test::parse("failure.test.yaml", case).expect("its form is good");
    let found: Vec<_> = check(&test, &project, &no_file).iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "failure.test.yaml:2:22: T007 no detection has an id like `network.*`",
            "failure.test.yaml:7:17: T008 cannot read `data/none.ndjson`: it is not there; \
             a file is named from the folder of the test",
            "failure.test.yaml:8:31: T004 `every` moves the event time, but the event has no `time`",
            "failure.test.yaml:9:7: T006 no stream is called `other`",
            "failure.test.yaml:10:7: T006 `alerts` are made by detections, and cannot be given; \
             give the events that other detections find something in, and name those in `with`",
            "failure.test.yaml:12:23: T006 the table `indicators` has no column `ipp`; did you mean `ip`?",
            "failure.test.yaml:12:63: T004 `score` of `indicators` is a whole number, not \"high\"",
            "failure.test.yaml:14:34: T006 identity.failure names no entity `host`; its entities are user, src_ip",
            "failure.test.yaml:15:22: T007 no detection has the id `identity.gessing`; did you mean `identity.guessing`?",
        ]
    );
}
