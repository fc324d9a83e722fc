use super::check;
use crate::compile::{Compiled, Texts, compile};
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

/// The mistakes of a header are told at the header. What may follow from them is not told a second time.
#[test]
fn a_detection_whose_header_has_mistakes_is_there_all_the_same() {
    let stream = "CREATE STREAM signin (time TIMESTAMP, user STRING) \
                  WITH (topic = 'signin', format = 'json', event_time = 'time');";
    let detection = |id: &str, severity: &str| {
        format!(
            "--! id = {id}\n--! title = \"T\"\n--! severity = \"{severity}\"\n--! entities = {{ user = \"user\" }}\n\
             SELECT time, user FROM signin\n"
        )
    };
    let compiled = |files: &[(&str, String)]| {
        let detections = files.iter().map(|(file, text)| ((*file).to_owned(), text.clone())).collect();
        let streams = vec![("streams/signin.sql".to_owned(), stream.to_owned())];
        compile(&Texts { streams, detections, ..Texts::default() }, None)
    };
    let found = |file: &str, case: &str, compiled: &Compiled| {
        let test = rule_test::parse(file, case).expect("a good test");
        check(&test, compiled, &no_file).iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let case = "
with: ['a.*']
cases:
  - name: c
    given: { signin: [] }
    expect:
      - { detection: a.draft }
      - { detection: a.nothing }
      - { entities: { host: ws1 } }
";
    let faulty = compiled(&[("draft.sql", detection("\"a.draft\"", "lowish"))]);
    assert_eq!((faulty.detections.len(), faulty.drafts.len()), (0, 1));
    let expected = [
        "draft.test.yaml:8:22: T007 no detection has the id `a.nothing`",
        "draft.test.yaml:9:23: T006 a.draft names no entity `host`; its entities are user",
    ];
    assert_eq!(found("draft.test.yaml", case, &faulty), expected);
    let nameless = compiled(&[("good.sql", detection("\"b.good\"", "low")), ("draft.sql", detection("7", "low"))]);
    assert_eq!((nameless.detections.len(), nameless.drafts.len()), (1, 1));
    let expected = ["good.test.yaml:9:23: T006 b.good names no entity `host`; its entities are user"];
    assert_eq!(found("good.test.yaml", case, &nameless), expected, "the id that cannot be read may be any");
}

/// What is wrong with a stream or table is told where it is made, and once.
#[test]
fn a_stream_or_table_with_mistakes_is_there_all_the_same() {
    let streams = "CREATE STREAM signin (time TIMESTAMP user STRING) WITH (event_time = 'time');\n\
                   CREATE TABLE hosts (name STRNG) WITH (location = 'hosts.csv');\n\
                   CREATE STREAM logon (time TIMESTAMP, who STRING) WITH (event_time = 'time');\n";
    let detection = "--! id = \"a.b\"\n--! title = \"T\"\n--! severity = \"low\"\n\
                     SELECT user, count(*) AS n, nosuch FROM TUMBLE(signin, time, '1 hour') GROUP BY user\n";
    let joined = "--! id = \"a.c\"\n--! title = \"T\"\n--! severity = \"low\"\n\
                  SELECT l.time, l.whoo, s.user, nosuch FROM logon l JOIN signin s ON s.user = l.who AND s.time = l.time\n";
    let texts = Texts {
        streams: vec![("streams/signin.sql".to_owned(), streams.to_owned())],
        detections: vec![("a.sql".to_owned(), detection.to_owned()), ("b.sql".to_owned(), joined.to_owned())],
        ..Texts::default()
    };
    let compiled = compile(&texts, None);
    let places = compiled.diagnostics.iter().map(|one| format!("{} {}", one.file.as_deref().unwrap_or(""), one.code));
    assert_eq!(places.collect::<Vec<_>>(), ["b.sql D004", "streams/signin.sql D001", "streams/signin.sql D006"]);
    assert_eq!(compiled.diagnostics[0].message, "`l` has no column `whoo`");
    let case = "
cases:
  - name: c
    given: { SIGNIN: [], sigin: [] }
    tables: { hosts: [{ name: a }], host: [] }
    expect: []
";
    let test = rule_test::parse("a.test.yaml", case).expect("a good test");
    let found: Vec<_> = check(&test, &compiled, &no_file).iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        ["a.test.yaml:4:26: T006 no stream is called `sigin`", "a.test.yaml:5:37: T006 no table is called `host`",]
    );
}

#[test]
fn what_nobody_may_give_is_refused_however_it_is_written_and_what_nobody_knows_is_left_alone() {
    let case = "
cases:
  - name: c
    given: { signin: [], Alerts: [], Late_Events: [] }
    expect: []
";
    let test = rule_test::parse("nothing.test.yaml", case).expect("a good test");
    let found: Vec<_> = check(&test, &project(), &no_file).iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "nothing.test.yaml: T007 there is no detection beside this test",
            "nothing.test.yaml:4:26: T006 `alerts` are made by detections, and cannot be given; \
             give the events that other detections find something in, and name those in `with`",
            "nothing.test.yaml:4:38: T006 `late_events` are made of what comes late, and cannot be given; \
             give events of a stream, one of them behind the others by more than its lateness",
        ]
    );
}
