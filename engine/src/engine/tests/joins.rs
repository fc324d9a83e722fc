//! Joins of streams: what is refused and how, absence in silence, alerts as a side, the bound in words.

use super::*;

fn refusal(sql: &str) -> crate::Diagnostic {
    let (_, faults) = Program::compile(&catalog(), &published(), vec![query("q", sql)]);
    faults.into_iter().next().expect("the query is refused").diagnostic
}

#[test]
fn a_join_that_would_remember_for_ever_is_refused_with_a_way_out() {
    let within = "b.time BETWEEN a.time AND a.time + INTERVAL '1 minute'";
    let cases = [
        ("SELECT a.time FROM signin a JOIN signin b USING (user_name)".to_owned(), "D012 29", "no time bound"),
        ("SELECT a.time FROM signin a, signin b WHERE a.bytes < b.bytes".to_owned(), "D012 15", "no time bound"),
        (
            "SELECT a.time FROM signin a JOIN signin b ON a.user_name = b.user_name AND b.time > a.time".to_owned(),
            "D012 29",
            "on one side only",
        ),
        (
            // As an interval, no number of hours is as much as a day.
            "SELECT a.time FROM signin a JOIN signin b ON b.time > a.time AND b.time - a.time < INTERVAL '1 day'"
                .to_owned(),
            "D012 29",
            "on one side only",
        ),
        (
            "SELECT time FROM signin a WHERE NOT EXISTS (SELECT 1 FROM signin b WHERE b.user_name = a.user_name)"
                .to_owned(),
            "D012 37",
            "no time bound",
        ),
        (
            format!("SELECT time FROM signin a WHERE user_name NOT IN (SELECT user_name FROM signin b WHERE {within})"),
            "D016 43",
            "once a NULL is among",
        ),
        (
            format!("SELECT time FROM signin a WHERE bytes > 1 OR EXISTS (SELECT 1 FROM signin b WHERE {within})"),
            "D016 46",
            "beside OR",
        ),
        (format!("SELECT a.time FROM signin a FULL JOIN signin b ON {within}"), "D016 29", "FULL JOIN"),
    ];
    for (sql, code_and_column, reason) in cases {
        let diagnostic = refusal(&sql);
        let column = diagnostic.span.map_or(0, |span| span.start.column);
        assert_eq!(format!("{} {column}", diagnostic.code), code_and_column, "{sql}");
        assert!(diagnostic.message.contains(reason), "{sql}: {}", diagnostic.message);
        assert!(diagnostic.hint.is_some(), "{sql}");
    }
}

#[test]
fn a_join_by_the_place_of_a_window_is_bounded() {
    let window = "SELECT user_name, window_start, count(*) AS c FROM TUMBLE(signin, time, INTERVAL '10 seconds')
        GROUP BY user_name, window_start, window_end";
    let sql = format!(
        "WITH a AS ({window}), b AS ({window})
         SELECT a.user_name, a.window_start, b.c FROM a JOIN b ON a.window_start = b.window_start AND a.c < b.c"
    );
    let events = vec![failures("ann", 10, 1), failures("bob", 11, 2), failures("cid", 25, 3)];
    check(vec![query("q", &sql)], &events, &["ann|1970-01-01T00:00:10|2 x1"]);
}

#[test]
fn absence_is_told_when_its_source_has_gone_idle() {
    let sql = "SELECT a.time, a.user_name FROM signin a WHERE a.status = 'Failure' AND NOT EXISTS (
        SELECT 1 FROM signin b WHERE b.status = 'Success' AND b.user_name = a.user_name
        AND b.time BETWEEN a.time AND a.time + INTERVAL '10 seconds')";
    let program = compile(vec![query("q", sql)]);
    let mut engine = Engine::new(Arc::clone(&program), 2, &[indicators()]).expect("tables are given");
    (0..2).for_each(|partition| engine.add_partition("signin", PartitionId(partition)));
    engine.start();
    let first = [event(10, "ann", "Failure", "", None), event(11, "bob", "Failure", "", None)];
    let second = [event(15, "bob", "Success", "", None), event(51, "zoe", "Success", "", None)];
    let mut hits = engine.push(batch(&program, 0, &first)).expect("rows").hits;
    hits.extend(engine.push(batch(&program, 1, &second)).expect("rows").hits);
    assert_eq!(last(&hits), Vec::<String>::new(), "the first partition may still hold what is missed");
    hits.extend(engine.idle_partition("signin", PartitionId(0)).expect("silence").hits);
    assert_eq!(last(&hits), ["1970-01-01T00:00:10|ann x1"]);
    assert_eq!(hits[0].time.0, 20_000_000, "an absence has the time at which it is certain");
    assert_eq!(hits[0].events.len(), 1, "its cause is one event");
}

#[test]
fn a_match_speaks_at_the_first_and_only_once() {
    let sql = "SELECT a.time, a.user_name FROM signin a WHERE a.status = 'Failure' AND EXISTS (
        SELECT 1 FROM signin b WHERE b.status = 'Success' AND b.user_name = a.user_name
        AND b.time BETWEEN a.time AND a.time + INTERVAL '10 seconds')";
    let program = compile(vec![query("q", sql)]);
    let mut engine = Engine::new(Arc::clone(&program), 1, &[indicators()]).expect("tables are given");
    engine.start();
    let events = [
        event(10, "ann", "Failure", "", None),
        event(14, "ann", "Success", "", None),
        event(12, "ann", "Success", "", None),
        event(21, "ann", "Success", "", None),
    ];
    let hits: Vec<Vec<Hit>> = events
        .iter()
        .map(|event| engine.push(batch(&program, 0, std::slice::from_ref(event))).expect("a row").hits)
        .collect();
    assert_eq!(hits.iter().map(Vec::len).collect::<Vec<_>>(), [0, 1, 0, 0]);
    assert_eq!(hits[1][0].time.0, 10_000_000);
}

#[test]
fn alerts_are_joined_with_events_and_with_each_other() {
    let guessing = query(
        "guessing",
        "SELECT user_name AS who, count(*) AS n FROM TUMBLE(signin, time, INTERVAL '10 seconds')
         WHERE status = 'Failure' GROUP BY user_name, window_start, window_end HAVING count(*) >= 3",
    );
    let then = query(
        "then",
        "SELECT s.time, a.user FROM alerts a JOIN signin s ON s.user_name = a.user AND s.status = 'Success'
         AND s.time BETWEEN a.time - INTERVAL '10 seconds' AND a.time + INTERVAL '1 minute'
         WHERE a.detection = 'guessing'",
    );
    let twice = query(
        "twice",
        "SELECT b.time, a.user FROM alerts a JOIN alerts b ON a.user = b.user
         AND b.time > a.time AND b.time <= a.time + INTERVAL '20 seconds'
         WHERE a.detection = 'guessing' AND b.detection = 'guessing'",
    );
    let mut ann = failures("ann", 10, 3);
    ann.extend([event(14, "ann", "Success", "2.2.2.2", None), event(90, "ann", "Success", "2.2.2.2", None)]);
    let mut bob = failures("bob", 30, 4);
    bob.extend(failures("bob", 45, 3));
    let expected = ["1970-01-01T00:00:14|ann x1", "1970-01-01T00:00:50|bob x1", "ann|3 x1", "bob|3 x1", "bob|4 x1"];
    check(vec![guessing, then, twice], &[ann, bob], &expected);
}

#[test]
fn explain_says_how_long_each_side_is_remembered() {
    let sql = "SELECT a.time FROM signin a LEFT JOIN signin b ON a.user_name = b.user_name
        AND b.time BETWEEN a.time - INTERVAL '1 minute' AND a.time + INTERVAL '5 minutes'";
    let told = compile(vec![query("q", sql)]).explain(0).expect("it compiled");
    assert!(told.contains("left for 5 min, right for 1 min of event time behind the watermark"), "{told}");
    assert!(told.contains("when the watermark passes the bound"), "{told}");
}

#[test]
fn silence_closes_nothing_by_itself() {
    let sql = "SELECT user_name, count(*) AS n FROM TUMBLE(signin, time, INTERVAL '1 minute')
        GROUP BY user_name, window_start, window_end";
    let program = compile(vec![query("q", sql)]);
    // The second worker has no partition, the only partition of the first falls silent and comes back.
    let mut engine = Engine::new(Arc::clone(&program), 2, &[indicators()]).expect("tables are given");
    engine.add_partition("signin", PartitionId(0));
    engine.start();
    let mut hits = engine.push(batch(&program, 0, &failures("ann", 10, 1))).expect("rows").hits;
    hits.extend(engine.idle_partition("signin", PartitionId(0)).expect("silence").hits);
    assert_eq!(last(&hits), Vec::<String>::new());
    let outputs = engine.push(batch(&program, 0, &failures("ann", 12, 1))).expect("rows");
    assert_eq!(outputs.late, [], "who comes back in time is not late");
    hits.extend(engine.finish().expect("the end").hits);
    assert_eq!(last(&hits), ["ann|2 x1"]);
}
