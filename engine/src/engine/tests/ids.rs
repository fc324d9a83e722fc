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
