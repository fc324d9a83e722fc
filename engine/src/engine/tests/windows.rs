//! Windows that overlap or grow: what is said of them, and when.

use super::*;

/// Activities and rows in the order in which they left, one event at a time.
fn said(sql: &str, events: Vec<Value>) -> Vec<(Activity, String)> {
    let hits = run(&compile(vec![query("q", sql)]), &[events], RUNS[1]);
    hits.iter().map(|hit| (hit.activity, show(hit))).collect()
}

#[test]
fn an_event_is_in_every_window_that_hops_over_it() {
    let sql = "SELECT window_start AS ws, window_end AS we, count(*) AS n
               FROM HOP(failures, time, INTERVAL '10 seconds', INTERVAL '25 seconds') GROUP BY window_start, window_end";
    let events = vec![vec![event(12, "ann", "Failure", "1.1.1.1", None), event(24, "bob", "Failure", "1.1.1.1", None)]];
    let expected = [
        "1969-12-31T23:59:50|1970-01-01T00:00:15|1 x1",
        "1970-01-01T00:00:00|1970-01-01T00:00:25|2 x1",
        "1970-01-01T00:00:10|1970-01-01T00:00:35|2 x1",
        "1970-01-01T00:00:20|1970-01-01T00:00:45|1 x1",
    ];
    check(vec![query("q", sql)], &events, &expected);
}

#[test]
fn an_event_between_windows_that_leave_gaps_is_in_none() {
    let sql = "SELECT window_start AS ws, count(*) AS n
               FROM HOP(failures, time, INTERVAL '10 seconds', INTERVAL '3 seconds') GROUP BY window_start";
    let events = vec![vec![event(12, "ann", "Failure", "1.1.1.1", None), event(13, "bob", "Failure", "1.1.1.1", None)]];
    check(vec![query("q", sql)], &events, &["1970-01-01T00:00:10|1 x1"]);
}

#[test]
fn a_cumulating_window_grows_from_one_start() {
    let sql = "SELECT window_start AS ws, window_end AS we, count(*) AS n
               FROM CUMULATE(failures, time, INTERVAL '10 seconds', INTERVAL '30 seconds')
               GROUP BY window_start, window_end";
    let events = vec![vec![event(12, "ann", "Failure", "1.1.1.1", None), event(21, "bob", "Failure", "1.1.1.1", None)]];
    let expected = ["1970-01-01T00:00:00|1970-01-01T00:00:20|1 x1", "1970-01-01T00:00:00|1970-01-01T00:00:30|2 x1"];
    check(vec![query("q", sql)], &events, &expected);
}

#[test]
fn a_threshold_over_hopping_windows_fires_once_in_each_window_at_the_event_that_crosses_it() {
    let sql = "SELECT who, window_start AS ws, count(*) AS n
               FROM HOP(failures, time, INTERVAL '10 seconds', INTERVAL '20 seconds')
               GROUP BY who, window_start, window_end HAVING count(*) >= 2";
    let events = vec![
        event(9, "ann", "Failure", "1.1.1.1", None),
        event(11, "ann", "Failure", "1.1.1.1", None),
        event(12, "ann", "Failure", "1.1.1.1", None),
    ];
    let expected = [
        (Activity::Create, "ann|1970-01-01T00:00:00|2 x1".to_owned()),
        (Activity::Create, "ann|1970-01-01T00:00:10|2 x1".to_owned()),
        (Activity::Update, "ann|1970-01-01T00:00:00|3 x1".to_owned()),
    ];
    assert_eq!(said(sql, events), expected);
}

#[test]
fn a_threshold_is_crossed_at_its_event_wherever_the_events_before_it_lie() {
    let sql = "SELECT who, window_start AS ws, count(*) AS n
               FROM HOP(failures, time, INTERVAL '10 seconds', INTERVAL '20 seconds')
               GROUP BY who, window_start, window_end HAVING count(*) >= 2";
    for before in [1, 11, 19] {
        let after = before + 3;
        let events = [before, after, after + 1].map(|at| event(at + 20, "ann", "Failure", "1.1.1.1", None));
        let first = said(sql, events.to_vec()).into_iter().next();
        let told = first.map(|(activity, text)| (activity, text.ends_with("|2 x1")));
        assert_eq!(
            told,
            Some((Activity::Create, true)),
            "the second of the events from {before} on is the one that crosses it"
        );
    }
}

#[test]
fn a_condition_on_the_window_itself_is_asked_of_each_window() {
    let sql = "SELECT window_start AS ws, count(*) AS n
               FROM HOP(failures, time, INTERVAL '10 seconds', INTERVAL '20 seconds')
               GROUP BY window_start, window_end
               HAVING count(*) >= 1 AND window_start > TIMESTAMP '1970-01-01 00:00:05'";
    let events = vec![event(11, "ann", "Failure", "1.1.1.1", None)];
    assert_eq!(said(sql, events), [(Activity::Create, "1970-01-01T00:00:10|1 x1".to_owned())]);
}

#[test]
fn a_row_in_several_windows_is_an_alert_in_each() {
    let sql =
        "SELECT time, window_start AS ws, who FROM HOP(failures, time, INTERVAL '10 seconds', INTERVAL '20 seconds')";
    let events = vec![vec![event(12, "ann", "Failure", "1.1.1.1", None)]];
    let expected = ["1970-01-01T00:00:12|1970-01-01T00:00:00|ann x1", "1970-01-01T00:00:12|1970-01-01T00:00:10|ann x1"];
    check(vec![query("q", sql)], &events, &expected);
    let hits = run(&compile(vec![query("q", sql)]), &events, RUNS[0]);
    assert!(hits.iter().all(|hit| hit.events.is_empty()), "the row of a window is no event: {hits:?}");
}

#[test]
fn date_bin_in_group_by_is_a_tumbling_window() {
    let sql = "SELECT date_bin(INTERVAL '1 minute', time) AS minute, who, count(*) AS n FROM failures
               GROUP BY date_bin(INTERVAL '1 minute', time), who";
    let events = vec![failures("ann", 58, 4)];
    let expected = ["1970-01-01T00:00:00|ann|2 x1", "1970-01-01T00:01:00|ann|2 x1"];
    check(vec![query("q", sql)], &events, &expected);
    let hits = run(&compile(vec![query("q", sql)]), &events, RUNS[0]);
    assert_eq!(hits.iter().map(|hit| hit.time.0 / 1_000_000).collect::<Vec<_>>(), [60, 120]);
}

#[test]
fn a_list_holds_the_first_thousand_values_in_order() {
    let sql = "SELECT cardinality(array_agg(bytes)) AS n, array_agg(bytes)[1] AS least, array_agg(bytes)[1000] AS most,
               cardinality(array_agg(DISTINCT bytes)) AS different, array_agg(DISTINCT bytes)[1000] AS greatest
               FROM HOP(signin, time, INTERVAL '1 minute', INTERVAL '2 hours') GROUP BY window_start, window_end
               HAVING window_end = TIMESTAMP '1970-01-01 02:00:00'";
    // One a second, numbered from the last to the first.
    let events = (0..1200).map(|at| event(at, "ann", "Failure", "1.1.1.1", Some(2000 - at))).collect();
    check(vec![query("q", sql)], &[events], &["1000|2000|1001|1000|1800 x1"]);
    let told = compile(vec![query("q", sql)]).explain(0).expect("it compiled");
    assert!(told.contains("of each list at most 1000 values"), "{told}");
}

#[test]
fn windows_without_meaning_or_bound_are_refused() {
    let hop = |durations: &str| {
        let by = "GROUP BY window_start, window_end";
        refused(&format!("SELECT count(*) AS n FROM HOP(failures, time, {durations}) {by}")).1
    };
    assert_eq!(hop("INTERVAL '0 seconds', INTERVAL '5 minutes'"), "`INTERVAL '0 seconds'` is not longer than nothing");
    assert_eq!(
        hop("INTERVAL '1 second', INTERVAL '1 day'"),
        "an event would be in more than 10000 windows; give HOP a greater step"
    );
    let cumulate = |size: &str, by: &str| {
        let from = format!("CUMULATE(failures, time, INTERVAL '10 seconds', INTERVAL '{size}')");
        refused(&format!("SELECT count(*) AS n FROM {from} GROUP BY {by}"))
    };
    assert_eq!(
        cumulate("25 seconds", "window_end").1,
        "the size of CUMULATE is a multiple of its step, as in INTERVAL '1 minute', INTERVAL '1 hour'"
    );
    let (code, message) = cumulate("30 seconds", "window_start");
    assert!(code.starts_with("D016"), "{code}");
    assert_eq!(message, "the windows of CUMULATE begin together, so window_start alone puts them into one group");
    let computed = "SELECT count(*) AS n FROM HOP(failures, time, INTERVAL '10 seconds', INTERVAL '20 seconds')
                    WHERE window_start > time GROUP BY window_start";
    assert_eq!(
        refused(computed).1,
        "`window_start` is computed with before GROUP BY, where a row is in several windows"
    );
    let origin = "SELECT count(*) AS n FROM signin
                  GROUP BY date_bin(INTERVAL '1 minute', time, TIMESTAMP '2000-01-01 00:00:03')";
    assert_eq!(refused(origin).1, "date_bin with an origin does not run on a stream");
    let over = "SELECT time, count(*) OVER (PARTITION BY who ORDER BY time ROWS 2 PRECEDING) AS n
                FROM HOP(failures, time, INTERVAL '10 seconds', INTERVAL '20 seconds')";
    assert_eq!(refused(over).1, "OVER does not run over rows that are in several windows");
    let other_time =
        "SELECT count(*) AS n FROM signin GROUP BY date_bin(INTERVAL '1 minute', to_timestamp_micros(bytes))";
    assert!(refused(other_time).0.starts_with("D012"), "{:?}", refused(other_time));
}

#[test]
fn joined_rows_of_overlapping_windows_are_copied_or_refused() {
    let join = "FROM HOP(failures, time, INTERVAL '10 seconds', INTERVAL '20 seconds') h";
    let semi = "EXISTS (SELECT 1 FROM signin s WHERE s.user_name = h.who AND s.bytes = 1
                AND s.time BETWEEN h.time - INTERVAL '5 seconds' AND h.time + INTERVAL '5 seconds')";
    let counted = format!("SELECT count(*) AS n {join} WHERE {semi} GROUP BY window_start");
    assert_eq!(refused(&counted).1, "GROUP BY does not run over overlapping windows whose rows were joined first");
    let rows = format!("SELECT h.time, h.window_start AS ws {join} WHERE {semi}");
    let events = vec![vec![event(12, "ann", "Failure", "1.1.1.1", Some(1))]];
    let expected = ["1970-01-01T00:00:12|1970-01-01T00:00:00 x1", "1970-01-01T00:00:12|1970-01-01T00:00:10 x1"];
    check(vec![query("q", &rows)], &events, &expected);
}
