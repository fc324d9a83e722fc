//! Alert ids outlive versions: cases, tickets and suppressions refer to them. These are pinned, and a change of one is
//! a break that users must be told of.

use super::*;

fn ids(program: &Arc<Program>, events: &[Vec<Value>], way: Run) -> Vec<String> {
    let ids: std::collections::BTreeSet<Uid> = run(program, events, way).iter().map(|hit| hit.uid).collect();
    ids.iter().map(ToString::to_string).collect()
}

fn pinned(sql: &str, events: &[Vec<Value>], expected: &[&str]) {
    let program = compile(vec![query("identity.example", sql)]);
    for way in RUNS {
        assert_eq!(ids(&program, events, way), expected, "run as {way:?}");
    }
}

#[test]
fn the_id_of_a_row_level_alert_is_its_query_and_its_record() {
    let events = [vec![event(10, "ann", "Failure", "1.1.1.1", Some(7)), event(11, "bob", "Failure", "1.1.1.1", None)]];
    let expected = ["1cc67b9cac2d13a272a2982652275708", "8632702b791cb4e0e9626d4fd7d04e85"];
    pinned("SELECT time, user_name FROM signin", &events, &expected);
    pinned("SELECT time, 'other columns' AS message, who FROM failures", &events, &expected);
}

#[test]
fn the_id_of_a_windowed_alert_is_its_query_its_group_and_its_window() {
    let events = [vec![event(61, "ann", "Failure", "1.1.1.1", Some(7))]];
    let sql = "SELECT user_name, bytes, count(*) AS n FROM TUMBLE(signin, time, INTERVAL '1 minute')
               GROUP BY user_name, bytes, window_start, window_end";
    pinned(sql, &events, &["fb064eb881e648a69de76d9e414747fe"]);
    let sql = "SELECT max(bytes) AS most, user_name FROM TUMBLE(signin, time, INTERVAL '1 minute')
               GROUP BY user_name, bytes, window_start HAVING count(*) > 0";
    pinned(sql, &events, &["fb064eb881e648a69de76d9e414747fe"]);
    let sql = "SELECT src_ip IS NULL AS hidden, bytes / 2.0 AS half, NULLIF(user_name, 'ann') AS nobody, count(*) AS n
               FROM TUMBLE(signin, time, INTERVAL '1 minute')
               GROUP BY src_ip IS NULL, bytes / 2.0, NULLIF(user_name, 'ann'), window_start";
    pinned(sql, &events, &["fc18ad49a6245021eeec48f64577e05c"]);
}

/// Two failures of one user, five seconds apart, and a success behind them.
fn attempts() -> [Vec<Value>; 1] {
    let failed = |at: i64| event(at, "ann", "Failure", "1.1.1.1", None);
    [vec![failed(61), failed(66), event(68, "ann", "Success", "1.1.1.1", None)]]
}

#[test]
fn the_id_of_a_windowed_alert_does_not_depend_on_the_kind_of_window() {
    let of = |from: &str| {
        format!(
            "SELECT who, count(*) AS n FROM {from} GROUP BY who, window_start, window_end HAVING window_end = TIMESTAMP '1970-01-01 00:02:00'"
        )
    };
    let one_minute = ["113e8df6c3ffd7bdd65d4abac0f9de3a"];
    pinned(&of("TUMBLE(failures, time, INTERVAL '1 minute')"), &attempts(), &one_minute);
    let hop = of("HOP(failures, time, INTERVAL '20 seconds', INTERVAL '1 minute')");
    pinned(&hop, &attempts(), &one_minute);
    let cumulate = of("CUMULATE(failures, time, INTERVAL '20 seconds', INTERVAL '1 minute')");
    pinned(&cumulate, &attempts(), &one_minute);
}

#[test]
fn the_id_of_a_session_is_its_query_its_group_and_its_start() {
    let of = |gap: &str, having: &str| {
        format!(
            "SELECT who, count(*) AS n FROM SESSION(failures, time, INTERVAL '{gap}', who)
             GROUP BY who, window_start, window_end {having}"
        )
    };
    let one_session = ["c2170f6565e7a45fdd54a525db97e3f8"];
    pinned(&of("6 seconds", ""), &attempts(), &one_session);
    pinned(&of("1 hour", "HAVING count(*) >= 2"), &attempts(), &one_session);
    pinned(&of("5 seconds", "HAVING max(time) < TIMESTAMP '1970-01-01 00:01:06'"), &attempts(), &one_session);
}

#[test]
fn the_id_of_a_row_in_a_window_is_its_record_and_the_window() {
    let sql = "SELECT time, who FROM HOP(failures, time, INTERVAL '30 seconds', INTERVAL '1 minute') WHERE time < window_start + INTERVAL '5 seconds'";
    pinned(sql, &attempts(), &["b3ee40301169f5a9af1e460907f442de"]);
}

#[test]
fn the_id_of_a_joined_alert_is_both_records_in_the_order_of_the_text() {
    let within = "b.time > a.time AND b.time <= a.time + INTERVAL '6 seconds'";
    let pair = format!("SELECT b.time FROM failures a JOIN failures b ON a.who = b.who AND {within}");
    pinned(&pair, &attempts(), &["bff9bbc2beab899bf20adb63caedeb75"]);
    let left = format!("SELECT a.time, b.who FROM failures a LEFT JOIN failures b ON a.who = b.who AND {within}");
    pinned(&left, &attempts(), &["27442c3633816bdba4f108d9525d933e", "bff9bbc2beab899bf20adb63caedeb75"]);
}

#[test]
fn the_id_of_a_presence_or_an_absence_is_its_own_record() {
    let within = "b.status = 'Success' AND b.time BETWEEN a.time AND a.time + INTERVAL '3 seconds'";
    let presence = format!(
        "SELECT a.time FROM signin a WHERE EXISTS (SELECT 1 FROM signin b WHERE {within}) AND a.status = 'Failure'"
    );
    let absence = format!("SELECT a.time FROM signin a WHERE NOT EXISTS (SELECT 1 FROM signin b WHERE {within})");
    let row = |at: i64| format!("SELECT time FROM signin WHERE time = TIMESTAMP '1970-01-01 00:01:0{at}'");
    pinned(&presence, &attempts(), &["40b01e90a7805c069e27caaae032b72c"]);
    pinned(&row(6), &attempts(), &["40b01e90a7805c069e27caaae032b72c"]);
    pinned(&absence, &attempts(), &["0e2b4cffaaafaf904d8ed31eb787c8ea"]);
    pinned(&row(1), &attempts(), &["0e2b4cffaaafaf904d8ed31eb787c8ea"]);
}

#[test]
fn the_id_of_a_sequence_is_its_records_in_their_order() {
    let sql = "SELECT time FROM signin MATCH_RECOGNIZE (
        PARTITION BY user_name ORDER BY time MEASURES s.time AS time
        PATTERN (f f s) WITHIN INTERVAL '1 minute' DEFINE f AS status = 'Failure', s AS status = 'Success') AS m";
    pinned(sql, &attempts(), &["377092eb38e4364227498c3d9e32eec6"]);
}

#[test]
fn the_id_of_a_row_with_predecessors_is_its_own_record() {
    let sql = "SELECT time, count(*) OVER (PARTITION BY who ORDER BY time RANGE INTERVAL '1 minute' PRECEDING) AS n
               FROM failures QUALIFY n >= 2";
    pinned(sql, &attempts(), &["40b01e90a7805c069e27caaae032b72c"]);
    pinned(
        "SELECT time FROM failures WHERE time = TIMESTAMP '1970-01-01 00:01:06'",
        &attempts(),
        &["40b01e90a7805c069e27caaae032b72c"],
    );
}

#[test]
fn the_id_of_what_was_not_seen_before_is_its_own_record() {
    let sql = "SELECT time, who FROM failures WHERE first_seen(who, INTERVAL '1 day')";
    pinned(sql, &attempts(), &["0e2b4cffaaafaf904d8ed31eb787c8ea"]);
    let sql = "SELECT time, first_seen((who), INTERVAL '3 seconds') AS is_new FROM failures QUALIFY is_new";
    pinned(sql, &attempts(), &["0e2b4cffaaafaf904d8ed31eb787c8ea", "40b01e90a7805c069e27caaae032b72c"]);
}
