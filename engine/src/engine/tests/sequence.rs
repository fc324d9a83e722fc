//! `MATCH_RECOGNIZE` through the border of the engine.

use super::*;

fn sequence(body: &str) -> String {
    format!("SELECT * FROM signin MATCH_RECOGNIZE (PARTITION BY user_name ORDER BY time {body}) AS m")
}

/// One user's sign-ins; `F` fails and `S` succeeds, at these seconds.
fn signins(user: &str, what: &[(i64, &str)]) -> Vec<Value> {
    let status = |what: &str| if what == "F" { "Failure" } else { "Success" };
    what.iter().map(|(at, what)| event(*at, user, status(what), "1.1.1.1", Some(*at))).collect()
}

#[test]
fn failures_then_a_success_are_found_per_user() {
    let sql = sequence(
        "MEASURES LAST(s.time) AS time, count(f.*) AS failures, FIRST(f.bytes) AS first
         AFTER MATCH SKIP PAST LAST ROW PATTERN (f{3,} S) WITHIN INTERVAL '1 minute'
         DEFINE F AS Status = 'Failure', s AS s.status = 'Success'",
    );
    let ann = signins("ann", &[(0, "F"), (1, "F"), (2, "F"), (3, "F"), (4, "S"), (5, "F"), (6, "S")]);
    // The third failure is just in time, the success is not.
    let bob = signins("bob", &[(0, "F"), (1, "F"), (59, "F"), (60, "S"), (61, "S")]);
    check(vec![query("q", &sql)], &[ann.clone(), bob], &["ann|1970-01-01T00:00:04|4|0 x1"]);
    let hits = run(&compile(vec![query("q", &sql)]), &[ann], RUNS[0]);
    assert_eq!(hits[0].events, [], "a sequence is no event, and its hash is the uid of none");
}

#[test]
fn a_missing_last_step_fires_at_its_deadline() {
    let sql = sequence(
        "MEASURES MATCH_TIME() AS time, a.bytes AS began
         PATTERN (a b{0}) WITHIN INTERVAL '10 seconds' DEFINE a AS status = 'Failure', b AS status = 'Success'",
    );
    let events = signins("ann", &[(0, "F"), (9, "S"), (20, "F"), (30, "S"), (40, "F")]);
    let expected = ["ann|1970-01-01T00:00:30|20 x1", "ann|1970-01-01T00:00:50|40 x1"];
    check(vec![query("q", &sql)], &[events], &expected);
}

#[test]
fn earlier_rows_can_be_compared_and_windowed() {
    let rising = sequence(
        "MEASURES time AS time, CLASSIFIER() AS c, sum(up.bytes) AS total, max(bytes) - min(bytes) AS spread
         AFTER MATCH SKIP TO LAST up PATTERN (start up{2}) WITHIN INTERVAL '1 hour'
         DEFINE up AS up.bytes > PREV(bytes) AND up.bytes > LAST(start.bytes)",
    );
    let sql = format!(
        "WITH m AS ({rising}) SELECT user_name, count(*) AS n, max(total) AS most
         FROM TUMBLE(m, time, INTERVAL '1 minute') GROUP BY user_name, window_start, window_end"
    );
    let events = signins("ann", &[(0, "F"), (10, "F"), (20, "F"), (30, "F"), (40, "F"), (70, "F")]);
    check(
        vec![query("q", &rising)],
        std::slice::from_ref(&events),
        &["ann|1970-01-01T00:00:20|up|30|20 x1", "ann|1970-01-01T00:00:40|up|70|20 x1"],
    );
    check(vec![query("q", &sql)], &[events], &["ann|2|70 x1"]);
}

#[test]
fn a_match_that_had_to_wait_is_in_its_window_all_the_same() {
    // More failures could follow until the minute is over; meanwhile bob's events move the clock past the window.
    let greedy = sequence(
        "MEASURES LAST(f.time) AS time, count(f.*) AS failures
         PATTERN (f+) WITHIN INTERVAL '1 minute' DEFINE f AS Status = 'Failure'",
    );
    let sql = format!(
        "WITH m AS ({greedy}) SELECT user_name, window_start AS ws, max(failures) AS most
         FROM TUMBLE(m, time, INTERVAL '5 seconds') GROUP BY user_name, window_start, window_end"
    );
    let events = [signins("ann", &[(0, "F"), (10, "F")]), signins("bob", &[(55, "S"), (200, "S")])].concat();
    check(vec![query("q", &sql)], &[events], &["ann|1970-01-01T00:00:10|2 x1"]);
}

#[test]
fn what_a_sequence_cannot_say_is_refused_with_its_place() {
    let of = |body: &str| format!("SELECT * FROM signin MATCH_RECOGNIZE ({body})");
    let common = "WITHIN INTERVAL '1 minute' DEFINE a AS a.bytes > 1";
    let cases = [
        (of("ORDER BY time MEASURES a.time AS time PATTERN (a b) DEFINE a AS true"), "D012"),
        (of(&format!("MEASURES time AS time PATTERN (a b) {common}")), "D011"),
        (of(&format!("ORDER BY time DESC MEASURES time AS time PATTERN (a b) {common}")), "D011"),
        (of(&format!("ORDER BY bytes MEASURES time AS time PATTERN (a b) {common}")), "D011"),
        (of(&format!("ORDER BY time MEASURES time AS time PATTERN (a*) {common}")), "D016"),
        (of(&format!("ORDER BY time MEASURES time AS time PATTERN ((a*)+ b) {common}")), "D016"),
        (of(&format!("ORDER BY time MEASURES time AS time PATTERN (b{{0}} a) {common}")), "D016"),
        (of(&format!("ORDER BY time MEASURES time AS time PATTERN (^ a) {common}")), "D016"),
        (of(&format!("ORDER BY time MEASURES time AS time PATTERN ({{- a -}} b) {common}")), "D016"),
        (of(&format!("ORDER BY time MEASURES time AS time PATTERN (PERMUTE(a, b)) {common}")), "D016"),
        (of(&format!("ORDER BY time MEASURES time AS time ALL ROWS PER MATCH PATTERN (a b) {common}")), "D016"),
        (of(&format!("ORDER BY time MEASURES MATCH_NUMBER() AS n PATTERN (a b) {common}")), "D016"),
        (of(&format!("ORDER BY time MEASURES time AS time PATTERN (a b) {common}, c AS true")), "D004"),
        (of(&format!("ORDER BY time MEASURES a.tyme AS time PATTERN (a b) {common}")), "D004"),
        (of(&format!("ORDER BY time MEASURES LAST(a.bytes + b.bytes) AS n PATTERN (a b) {common}")), "D016"),
        (of(&format!("ORDER BY time MEASURES a.bytes AS n PATTERN (a b) {common}, b AS now() > time")), "D014"),
        (of(&format!("ORDER BY time MEASURES time AS time, 1 AS Time PATTERN (a b) {common}")), "D018"),
        (
            of(&format!("PARTITION BY upper(user_name) ORDER BY time MEASURES time AS time PATTERN (a b) {common}")),
            "D016",
        ),
    ];
    for (sql, code) in cases {
        let (at, message) = refused(&sql);
        assert!(at.starts_with(code), "{sql}\n{at} {message}");
        assert!(!message.contains('\u{1}') && at.contains(':'), "{sql}\n{at} {message}");
    }
}

#[test]
fn an_unknown_column_of_a_variable_is_told_at_its_place() {
    let sql = "SELECT * FROM signin MATCH_RECOGNIZE (ORDER BY time MEASURES a.tyme AS time
               PATTERN (a b) WITHIN INTERVAL '1 minute' DEFINE a AS LAST(a.bites) > 1)";
    let (_, faults) = Program::compile(&catalog(), &published(), vec![query("q", sql)]);
    let told: Vec<String> = faults.iter().map(|fault| fault.diagnostic.message.clone()).collect();
    assert_eq!(told, ["`a` has no column `tyme`", "`signin` has no column `bites`"]);
}

/// The columns of the rows that wait in the sequence of the only query, and the program in words.
fn waiting(sql: &str) -> (Vec<String>, String) {
    let program = compile(vec![query("q", sql)]);
    let of_sequence = |node: &&crate::graph::Node| matches!(node.spec, crate::graph::Spec::Sequence(_));
    let node = program.graph.nodes.iter().find(of_sequence).expect("a sequence");
    let schema = &program.graph.nodes[node.inputs[0].from].schema;
    let names = schema.fields().iter().map(|field| field.name().clone()).collect();
    (names, program.explain(0).expect("it compiled"))
}

#[test]
fn rows_wait_with_the_columns_that_are_read_and_no_others() {
    let (columns, explained) = waiting(&sequence(
        "MEASURES LAST(b.time) AS time, max(a.bytes) AS most
         PATTERN (a+ b) WITHIN INTERVAL '1 minute' DEFINE a AS status = 'Failure', b AS status = 'Success'",
    ));
    assert_eq!(columns, ["time", "user_name", "Status", "bytes"]);
    assert!(explained.contains("  signin: time, user_name, Status, bytes\n"), "{explained}");
    let (columns, explained) = waiting(&sequence(
        "MEASURES MATCH_TIME() AS time PATTERN (a b) WITHIN INTERVAL '1 minute' DEFINE a AS status = 'Failure'",
    ));
    assert_eq!(columns, ["time", "user_name", "Status"]);
    assert!(explained.contains("  signin: time, user_name, Status\n"), "{explained}");
}

#[test]
fn a_condition_on_the_keys_is_asked_before_rows_wait_and_no_other_is() {
    let body = "MEASURES MATCH_TIME() AS time, b.bytes AS bytes
        PATTERN (a b) WITHIN INTERVAL '1 minute' DEFINE a AS status = 'Failure'";
    let (_, explained) = waiting(&format!("{} WHERE m.user_name = 'ann' AND m.bytes > 7", sequence(body)));
    let place = |text: &str| explained.find(text).unwrap_or_else(|| panic!("no {text} in {explained}"));
    let operators = place("operators\n");
    let asked = operators + explained[operators..].find("user_name = ").expect("the condition on the key");
    let matched = operators + explained[operators..].find("sequence by ").expect("the sequence");
    let kept = operators + explained[operators..].find("bytes > ").expect("the condition on a measure");
    assert!(asked < matched && matched < kept, "{explained}");
}
