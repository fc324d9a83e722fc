//! Random queries with frames that slide.

use proptest::prelude::*;

use super::grammar::{Select, filled, texts};

/// Functions whose value does not depend on how ties are broken, over frames with an interval.
fn ranged() -> BoxedStrategy<String> {
    let function = texts(&[
        "count(*)",
        "count(*)",
        "count(n)",
        "count(DISTINCT t)",
        "count(DISTINCT n)",
        "sum(n)",
        "sum(f)",
        "avg(n)",
        "avg(f)",
        "min(n)",
        "max(n)",
        "min(t)",
        "max(f)",
        "max(time)",
        "count(*) FILTER (WHERE b)",
        "sum(n) FILTER (WHERE k = 'a')",
        "min(f) FILTER (WHERE n > 1)",
    ]);
    let span = texts(&["0 seconds", "1 microsecond", "1 second", "5 seconds", "5 seconds", "30 seconds", "2 hours"]);
    let key = texts(&["PARTITION BY k ", "PARTITION BY k ", "PARTITION BY k, t ", "PARTITION BY upper(k), n % 2 ", ""]);
    filled("# OVER (#ORDER BY time RANGE INTERVAL '#' PRECEDING)", vec![function, key, span])
}

fn passing() -> BoxedStrategy<String> {
    texts(&["", "", " QUALIFY o1 >= 2", " QUALIFY o0 < 3 OR o1 IS NULL", " QUALIFY o0 = o1 AND k IS NOT NULL"])
}

/// Any query with frames that slide.
pub(super) fn select() -> BoxedStrategy<Select> {
    let from = texts(&[
        "s",
        "v",
        "w",
        "(SELECT time, id, k, t, n, f, b FROM v WHERE t LIKE 'x%')",
        "(SELECT time, id, concat(k, '-', t) AS k, t, n / (n - 2) AS n, f * 3 AS f, b FROM s)",
        "(SELECT s.time, s.id, s.k, tab.tag AS t, tab.weight AS n, s.f, s.b FROM s LEFT JOIN tab ON s.k = tab.key)",
        "(SELECT s.time, s.id, tab.key AS k, s.t, s.n, s.f, s.b FROM tab JOIN s ON s.k = tab.key AND s.n > tab.weight)",
    ]);
    let filter = texts(&[
        "",
        "",
        " WHERE n > 0",
        " WHERE k = 'a' AND n > 0",
        " WHERE k IN ('a', 'b')",
        " WHERE b IS NOT TRUE OR t LIKE '%y'",
    ]);
    let inside = (from, ranged(), ranged(), filter, passing()).prop_map(|(from, o0, o1, filter, passing)| {
        format!(
            "SELECT time, id, k, CAST({o0} AS DOUBLE) AS o0, CAST({o1} AS DOUBLE) AS o1 FROM {from}{filter}{passing}"
        )
    });
    let twice = (texts(&["s", "v", "w"]), ranged(), ranged(), passing()).prop_map(|(from, o0, o1, passing)| {
        format!(
            "WITH i AS (SELECT time, id, k, t, n, f, b, CAST({o0} AS DOUBLE) AS x FROM {from}) \
             SELECT time, id, k, x AS o0, CAST({o1} AS DOUBLE) AS o1 FROM i WHERE x >= 1 OR x IS NULL{passing}"
        )
    });
    let named = (texts(&["s", "v"]), passing()).prop_map(|(from, passing)| {
        format!(
            "SELECT time, id, k, count(*) OVER w AS o0, sum(n) OVER W AS o1 FROM {from}{passing} \
             WINDOW w AS (PARTITION BY k ORDER BY time RANGE INTERVAL '5 seconds' PRECEDING)"
        )
    });
    prop_oneof![4 => inside, 2 => twice, 1 => named].prop_map(Select::on_time).boxed()
}

/// Functions whose value depends on how ties are broken, which `@` may say to batch.
fn counted() -> BoxedStrategy<String> {
    let over = "(PARTITION BY k ORDER BY time@";
    let of_rows = texts(&[
        "count(*)",
        "count(t)",
        "count(DISTINCT t)",
        "sum(n)",
        "sum(f)",
        "avg(n)",
        "min(n)",
        "max(t)",
        "first_value(n)",
        "last_value(t)",
        "nth_value(n, 2)",
        "max(n) FILTER (WHERE b)",
    ]);
    let rows = texts(&["0", "1", "2"]);
    let picked = texts(&["first_value(n)", "last_value(t)", "nth_value(n, 2)"]);
    prop_oneof![
        1 => picked.prop_map(|pick| format!("{pick} OVER (PARTITION BY k ORDER BY time RANGE INTERVAL '5 seconds' PRECEDING)")),
        2 => texts(&["lag(n)", "lag(t, 2)", "lag(time)", "lag(n, 1, 70)"]).prop_map(move |lag| format!("{lag} OVER {over})")),
        3 => (of_rows, rows).prop_map(move |(function, rows)| format!("{function} OVER {over} ROWS {rows} PRECEDING)")),
    ]
    .boxed()
}

/// Any query over counted rows whose state has a bound.
pub(super) fn select_counted() -> BoxedStrategy<Select> {
    let lag = "lag(time, 2) OVER (PARTITION BY k ORDER BY time@)";
    let bound = texts(&[
        "time - # <= INTERVAL '5 seconds'",
        "time - # < INTERVAL '1 second'",
        "INTERVAL '30 seconds' >= time - #",
        "# >= time - INTERVAL '2 seconds'",
        "time <= # + INTERVAL '3 seconds'",
        "time - # BETWEEN INTERVAL '0 seconds' AND INTERVAL '2 seconds'",
        "time BETWEEN # AND # + INTERVAL '4 seconds' AND n IS NOT NULL",
    ])
    .prop_map(move |bound| bound.replace('#', lag));
    let from = texts(&[
        "s",
        "v",
        "w",
        "(SELECT s.time, s.id, s.k, tab.tag AS t, s.n, s.f, s.b FROM s JOIN tab ON s.k = tab.key AND tab.weight = 1)",
        "(SELECT time, id, k, t, n, f, b@ FROM s WHERE n > 0)",
        "(SELECT time, id, k, t, n, f, b@ FROM s UNION ALL SELECT time, id, k, t, n + 1 AS n, f, b@ FROM r)",
    ]);
    let bounded = (from, counted(), counted(), bound).prop_map(|(from, o0, o1, bound)| {
        format!(
            "SELECT time, id, k, CAST({o0} AS STRING) AS o0, CAST({o1} AS STRING) AS o1 FROM {from} QUALIFY {bound}"
        )
    });
    let more = || {
        let more = texts(&[
            "row_number() OVER (PARTITION BY k ORDER BY time@)",
            "count(*) OVER (PARTITION BY k ORDER BY time@ ROWS UNBOUNDED PRECEDING)",
        ]);
        prop_oneof![2 => counted(), 1 => more].prop_map(|function| function.replace("BY k", "BY k, window_start"))
    };
    let from = Just("s");
    let windowed = (from, more(), more()).prop_map(|(from, o0, o1)| {
        format!(
            "SELECT time, id, k, CAST({o0} AS STRING) AS o0, CAST({o1} AS STRING) AS o1 \
             FROM TUMBLE({from}, time, INTERVAL '5 seconds')"
        )
    });
    // Batch breaks ties as a stream does, whether it is told so or not; a view has no `_uid` to tell it by.
    let is_told = (prop_oneof![2 => bounded, 1 => windowed], any::<bool>());
    let has_uid = |sql: &str| !["FROM v", "FROM w", "JOIN tab"].iter().any(|from| sql.contains(from));
    is_told
        .prop_map(move |(sql, is_told)| Select {
            batch: (is_told && has_uid(&sql)).then(|| sql.replace('@', ", _uid")),
            ..Select::on_time(sql.replace('@', ""))
        })
        .boxed()
}
