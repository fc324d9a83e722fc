//! Random queries that ask what was not seen before.

use proptest::prelude::*;

use super::grammar::{Select, filled, texts};
use super::joins::Cause;

fn call() -> BoxedStrategy<String> {
    let keys = texts(&["k", "k", "(k)", "(k, t)", "(t, n % 2)", "upper(k)", "(b)", "CAST(n AS STRING)", "'all'"]);
    let span = texts(&["1 microsecond", "1 second", "3 seconds", "5 seconds", "5 seconds", "30 seconds", "2 hours"]);
    filled("first_seen(#, INTERVAL '#')", vec![keys, span])
}

fn condition() -> BoxedStrategy<String> {
    texts(&["n > 0", "k IN ('a', 'b')", "k IS NOT NULL", "(b IS NOT TRUE OR t LIKE '%y')", "k = 'a'"])
}

/// A `WHERE` with one or two of them, anywhere among other conditions.
fn passing() -> BoxedStrategy<String> {
    prop_oneof![
        2 => filled("#", vec![call()]),
        2 => filled("# AND #", vec![condition(), call()]),
        1 => filled("# AND (# AND #)", vec![call(), condition(), condition()]),
        1 => filled("# AND # AND #", vec![call(), condition(), call()]),
    ]
    .boxed()
}

fn from() -> BoxedStrategy<String> {
    texts(&[
        "s",
        "v",
        "w",
        "(SELECT time, id, k, t, n, f, b FROM v WHERE t LIKE 'x%')",
        "(SELECT time, id, concat(k, '-', t) AS k, t, n / (n - 2) AS n, f, b FROM s)",
        "(SELECT s.time, s.id, s.k, tab.tag AS t, tab.weight AS n, s.f, s.b FROM s LEFT JOIN tab ON s.k = tab.key)",
        "(SELECT time, id, k, t, n, f, b FROM s UNION ALL SELECT time, id, k, t, n + 1 AS n, f, b FROM s WHERE n > 0)",
    ])
}

/// Any query with `first_seen` whose rows are events.
pub(super) fn select() -> BoxedStrategy<Select> {
    let passes = filled("SELECT time, id, k, t FROM # WHERE #", vec![from(), passing()]);
    let column = filled(
        "SELECT time, id, k, # AS o0, # AS o1 FROM # WHERE # QUALIFY o0 OR NOT o1",
        vec![call(), call(), from(), condition()],
    );
    let twice = filled(
        "WITH i AS (SELECT time, id, k, t, n, b, # AS x FROM #) SELECT time, id, k, x FROM i WHERE # AND (x OR k = 'a')",
        vec![call(), from(), call()],
    );
    let beside = filled(
        "SELECT time, id, k, count(*) OVER (PARTITION BY k ORDER BY time RANGE INTERVAL '5 seconds' PRECEDING) AS c FROM # WHERE #",
        vec![from(), passing()],
    );
    prop_oneof![4 => passes, 2 => column, 2 => twice, 1 => beside].prop_map(Select::on_time).boxed()
}

/// Windows and joins over what was not seen before, and what was not seen before among joins.
pub(super) fn select_composed() -> BoxedStrategy<Select> {
    let windows = filled(
        "SELECT k AS g0, window_start, window_end, count(*) AS c, max(n) AS m FROM TUMBLE(#, time, INTERVAL '5 seconds') \
         WHERE # GROUP BY k, window_start, window_end",
        vec![texts(&["s", "v", "w"]), passing()],
    )
    .prop_map(|sql| Select::windowed(sql, 1));
    let exists = filled(
        "SELECT time, id, k, t FROM s AS a WHERE # AND EXISTS (SELECT 1 FROM r WHERE r.k = a.k AND \
         r.time BETWEEN a.time - INTERVAL '5 seconds' AND a.time + INTERVAL '3 seconds')",
        vec![call()],
    )
    .prop_map(|sql| Select { joined: Some(Cause::Event("id")), ..Select::on_time(sql) });
    let pair = || Cause::Join(Box::new(Cause::Event("id")), Box::new(Cause::Event("rid")));
    let pairs = filled(
        "WITH j AS (SELECT s.time, s.id, r.id AS rid, s.k, r.t, r.n, s.b FROM s JOIN r ON s.k = r.k AND \
         r.time BETWEEN s.time - INTERVAL '9 seconds' AND s.time) SELECT time, id, rid, k FROM j WHERE #",
        vec![passing()],
    )
    .prop_map(move |sql| Select { joined: Some(pair()), ..Select::on_time(sql) });
    let joined = filled(
        "WITH i AS (SELECT time, id, k FROM s WHERE #) SELECT i.time, i.id, r.id AS rid, i.k FROM i JOIN r ON \
         i.k = r.k AND r.time BETWEEN i.time AND i.time + INTERVAL '4 seconds'",
        vec![passing()],
    )
    .prop_map(move |sql| Select { joined: Some(pair()), ..Select::on_time(sql) });
    prop_oneof![3 => windows, 1 => exists, 1 => pairs, 1 => joined].boxed()
}
