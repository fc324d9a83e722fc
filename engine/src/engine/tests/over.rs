//! Functions over frames that slide, through the engine's border.

use super::*;

#[test]
fn a_sliding_count_sees_its_peers_and_forgets_what_is_older_than_its_frame() {
    let sql = "SELECT time, user_name, count(*) OVER (PARTITION BY user_name ORDER BY time
               RANGE INTERVAL '5 minutes' PRECEDING) AS failures FROM signin WHERE status = 'Failure' QUALIFY failures >= 3";
    let mut events = failures("ann", 0, 3);
    events.extend(failures("bob", 0, 2));
    // At 302 the failures of 0 and 1 are too old, that of 2 is not.
    events.extend(
        [(302, "1.1.1.2"), (302, "1.1.1.3"), (700, "1.1.1.1")]
            .map(|(time, ip)| event(time, "ann", "Failure", ip, None)),
    );
    let expected = ["1970-01-01T00:00:02|ann|3 x1", "1970-01-01T00:05:02|ann|3 x1", "1970-01-01T00:05:02|ann|3 x1"];
    check(vec![query("q", sql)], &[events], &expected);
}

#[test]
fn first_and_last_values_of_a_frame_are_those_in_order_of_time() {
    let sql =
        "SELECT time, first_value(bytes) OVER w AS f, last_value(bytes) OVER w AS l, nth_value(bytes, 2) OVER w AS n
               FROM signin WINDOW w AS (PARTITION BY user_name ORDER BY time RANGE INTERVAL '10 seconds' PRECEDING)";
    let at = |time: i64, bytes: Option<i64>| event(time, "ann", "", "", bytes);
    let events = vec![vec![at(0, Some(1)), at(5, None), at(12, Some(3)), at(40, Some(4))]];
    let expected = [
        "1970-01-01T00:00:00|1|1| x1",
        "1970-01-01T00:00:05|1|| x1",
        "1970-01-01T00:00:12||3|3 x1",
        "1970-01-01T00:00:40|4|4| x1",
    ];
    check(vec![query("q", sql)], &events, &expected);
}

#[test]
fn windows_in_the_key_bound_what_a_number_of_rows_remembers() {
    let sql = "SELECT time, row_number() OVER (PARTITION BY user_name, window_end ORDER BY time) AS number
               FROM TUMBLE(signin, time, INTERVAL '1 minute')";
    let events = vec![[0, 59, 60].map(|time| event(time, "ann", "", "", None)).to_vec()];
    let expected = ["1970-01-01T00:00:00|1 x1", "1970-01-01T00:00:59|2 x1", "1970-01-01T00:01:00|1 x1"];
    check(vec![query("q", sql)], &events, &expected);
}

#[test]
fn a_late_event_is_not_in_a_frame() {
    let sql = "SELECT time, count(*) OVER (ORDER BY time RANGE INTERVAL '1 hour' PRECEDING) AS n FROM signin";
    let events = vec![[100, 10, 101].map(|time| event(time, "ann", "", "", None)).to_vec()];
    check(vec![query("q", sql)], &events, &["1970-01-01T00:01:40|1 x1", "1970-01-01T00:01:41|2 x1"]);
}

#[test]
fn frames_over_results_of_windows_go_by_the_end_of_the_window() {
    let sql = "WITH m AS (SELECT user_name, window_end AS time, count(*) AS c FROM TUMBLE(signin, time, INTERVAL '1 minute')
               GROUP BY user_name, window_end HAVING count(*) >= 1)
               SELECT time, sum(c) OVER (PARTITION BY user_name ORDER BY time RANGE INTERVAL '2 minutes' PRECEDING) AS total FROM m";
    let events = vec![[0, 1, 70, 130, 190].map(|time| event(time, "ann", "", "", None)).to_vec()];
    let expected = [
        "1970-01-01T00:01:00|2 x1",
        "1970-01-01T00:02:00|3 x1",
        "1970-01-01T00:03:00|4 x1",
        "1970-01-01T00:04:00|3 x1",
    ];
    check(vec![query("q", sql)], &events, &expected);
}

#[test]
fn a_frame_without_a_bound_or_an_order_is_refused() {
    let over = |function: &str, over: &str| format!("SELECT time, {function} OVER ({over}) AS x FROM signin");
    let cases = [
        (over("count(*)", "PARTITION BY user_name ORDER BY time"), "D012 1:14", "would remember every key for ever"),
        (over("count(*)", "ORDER BY time ROWS UNBOUNDED PRECEDING"), "D012 1:14", "would remember every key for ever"),
        (over("sum(bytes)", "ORDER BY time ROWS 3 PRECEDING"), "D012 1:14", "would remember every key for ever"),
        (over("lag(bytes)", "PARTITION BY user_name ORDER BY time"), "D012 1:14", "would remember every key for ever"),
        (over("row_number()", "ORDER BY time"), "D012 1:14", "would remember every key for ever"),
        (over("count(*)", "PARTITION BY user_name"), "D011 1:23", "has no ORDER BY"),
        (over("lag(bytes)", "ORDER BY bytes"), "D011 1:25", "is not the event time"),
        (over("lag(bytes)", "ORDER BY time DESC"), "D011 1:25", "from the newest to the oldest"),
        (over("lag(bytes)", "ORDER BY time, src_ip"), "D011 1:25", "by more than the event time"),
        (over("lead(bytes)", "ORDER BY time"), "D016 1:14", "yet to come"),
        (
            over("stddev(bytes)", "ORDER BY time RANGE INTERVAL '1 hour' PRECEDING"),
            "D016 1:14",
            "does not run on a stream yet",
        ),
        (
            over("count(*)", "ORDER BY time RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND INTERVAL '1 hour' FOLLOWING"),
            "D016 1:23",
            "does not end at the current row",
        ),
        (
            format!(
                "{} QUALIFY time - lag(time) OVER (ORDER BY time) > INTERVAL '1 hour'",
                over("lag(bytes)", "ORDER BY time")
            ),
            "D012 1:14",
            "would remember every key for ever",
        ),
        (
            format!(
                "{} QUALIFY time - lag(time) OVER (ORDER BY time) < INTERVAL '1 hour'",
                over("lag(bytes, 2)", "ORDER BY time")
            ),
            "D012 1:14",
            "would remember every key for ever",
        ),
    ];
    for (sql, place, reason) in &cases {
        let (got, message) = refused(sql);
        assert_eq!(got, *place, "{sql}: {message}");
        assert!(message.contains(reason), "{sql}: {message}");
    }
}

#[test]
fn an_explanation_says_what_a_frame_remembers_and_when_it_speaks() {
    let sql = "SELECT time, count(*) OVER (ORDER BY time RANGE INTERVAL '1 hour' PRECEDING) AS n FROM signin";
    let said = compile(vec![query("q", sql)]).explain(0).expect("it compiled");
    assert!(said.contains("per key (0 columns) the rows of the last 1 h; dropped as the watermark passes"), "{said}");
    assert!(said.contains("when the watermark passes the event"), "{said}");
}

#[test]
fn rows_of_one_record_are_in_the_order_of_what_they_say() {
    let sql = "WITH both AS (SELECT time, who, 'b' AS tag FROM failures UNION ALL SELECT time, who, 'a' AS tag FROM failures)
               SELECT time, who, first_value(tag) OVER (PARTITION BY who ORDER BY time RANGE INTERVAL '1 minute' PRECEDING) AS first
               FROM both";
    check(vec![query("q", sql)], &[failures("ann", 1, 1)], &["1970-01-01T00:00:01|ann|a x2"]);
}

#[test]
fn an_explanation_says_how_long_a_key_is_remembered() {
    let sql = "SELECT time, user_name FROM signin WHERE first_seen((user_name, src_ip), INTERVAL '30 days')";
    let said = compile(vec![query("q", sql)]).explain(0).expect("it compiled");
    assert!(
        said.contains(
            "per key (2 columns) one entry, when it was last seen, for 30 d; dropped as the watermark passes"
        ),
        "{said}"
    );
    assert!(said.contains("when the watermark passes the event"), "{said}");
}
