//! Random queries out of what runs today.

use proptest::prelude::*;
use proptest::sample::{select as one_of, subsequence};

use super::joins::Cause;

/// A query, and what its alerts are about.
#[derive(Debug, Clone)]
pub(super) struct Select {
    pub(super) sql: String,
    /// How many columns lead with the group's key, before the window; `None` for a row-level query.
    pub(super) groups: Option<usize>,
    /// Whether its windows are sessions.
    pub(super) has_sessions: bool,
    /// How long repeats are suppressed, and the columns that say whose.
    pub(super) cooldown: Option<(i64, Vec<&'static str>)>,
    /// Whether late events are not seen.
    pub(super) only_on_time: bool,
    /// The same question as batch is asked it, where ties have to be broken in words.
    pub(super) batch: Option<String>,
    /// What a row was caused by, if by a join.
    pub(super) joined: Option<Cause>,
}

impl Select {
    pub(super) const fn row_level(sql: String) -> Self {
        Self { sql, groups: None, has_sessions: false, cooldown: None, only_on_time: false, batch: None, joined: None }
    }

    /// Rows whose values depend on others, so that late events are not seen.
    pub(super) const fn on_time(sql: String) -> Self {
        Self { sql, groups: None, has_sessions: false, cooldown: None, only_on_time: true, batch: None, joined: None }
    }

    pub(super) const fn windowed(sql: String, groups: usize) -> Self {
        Self {
            sql,
            groups: Some(groups),
            has_sessions: false,
            cooldown: None,
            only_on_time: true,
            batch: None,
            joined: None,
        }
    }
}

pub(super) fn texts(all: &[&str]) -> BoxedStrategy<String> {
    one_of(all.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>()).boxed()
}

/// Puts strategies in the place of `#` in a template.
pub(super) fn filled(template: &'static str, parts: Vec<BoxedStrategy<String>>) -> BoxedStrategy<String> {
    parts
        .prop_map(move |parts| {
            let mut pieces = template.split('#');
            let first = pieces.next().unwrap_or_default().to_owned();
            pieces.zip(parts).fold(first, |text, (piece, part)| text + &part + piece)
        })
        .boxed()
}

fn number(depth: u32) -> BoxedStrategy<String> {
    let leaf = texts(&[
        "n",
        "n",
        "1",
        "3",
        "0",
        "CAST(k AS BIGINT)",
        "factorial(n)",
        "date_part('year', to_timestamp(k))",
        "length(t)",
        "CAST(NULL AS BIGINT)",
    ]);
    if depth == 0 {
        return leaf;
    }
    let inner = || number(depth - 1);
    prop_oneof![
        3 => leaf,
        1 => filled("(# + #)", vec![inner(), inner()]),
        1 => filled("(# - 2 * #)", vec![inner(), inner()]),
        1 => filled("(# / #)", vec![inner(), inner()]),
        1 => filled("(# % #)", vec![inner(), inner()]),
        1 => filled("CASE WHEN # THEN # ELSE # END", vec![condition(depth - 1), inner(), inner()]),
        1 => filled("coalesce(#, #)", vec![inner(), inner()]),
        1 => filled("nullif(#, #)", vec![inner(), inner()]),
    ]
    .boxed()
}

fn text(depth: u32) -> BoxedStrategy<String> {
    let leaf = texts(&[
        "k",
        "t",
        "'x'",
        "upper(k)",
        "CAST(n AS STRING)",
        "substr(t, 1, 1)",
        "substr(t, 1, n)",
        "chr(n)",
        "split_part(t, 'y', n)",
        "CAST(NULL AS STRING)",
    ]);
    if depth == 0 {
        return leaf;
    }
    let inner = || text(depth - 1);
    prop_oneof![
        3 => leaf,
        1 => filled("(# || #)", vec![inner(), inner()]),
        1 => filled("concat(#, '-', #)", vec![inner(), inner()]),
        1 => filled("CASE WHEN # THEN # END", vec![condition(depth - 1), inner()]),
        1 => filled("CASE # WHEN 'a' THEN 'first' WHEN 'b' THEN # ELSE 'z' END", vec![inner(), inner()]),
    ]
    .boxed()
}

fn condition(depth: u32) -> BoxedStrategy<String> {
    let atom = prop_oneof![
        2 => texts(&[
            "b", "b IS NOT TRUE", "k IS NULL", "k IS NOT NULL", "k IN ('a', 'b')", "k NOT IN ('a', NULL)",
            "t LIKE 'x%'", "t NOT LIKE '%y'", "t ILIKE 'X_'", "n BETWEEN 1 AND 3", "n NOT BETWEEN 0 AND 2", "f >= 1.5",
            "f / n > 0.5", "k IS DISTINCT FROM t", "starts_with(t, 'x')", "regexp_like(t, '^x')", "k < t",
            "time < TIMESTAMP '1970-01-01 00:02:00'", "NULL", "1 = 0",
        ]),
        1 => filled("# > #", vec![number(0), number(0)]),
        1 => filled("# <= #", vec![number(0), number(0)]),
        1 => filled("# = #", vec![text(0), text(0)]),
        1 => filled("# <> #", vec![text(0), text(0)]),
    ]
    .boxed();
    if depth == 0 {
        return atom;
    }
    let inner = || condition(depth - 1);
    prop_oneof![
        2 => atom,
        1 => filled("(# AND #)", vec![inner(), inner()]),
        1 => filled("(# OR #)", vec![inner(), inner()]),
        1 => filled("NOT (#)", vec![inner()]),
        1 => filled("(CASE WHEN # THEN # ELSE # END)", vec![inner(), inner(), inner()]),
        1 => filled("# > #", vec![number(depth - 1), number(depth - 1)]),
        1 => filled("# = #", vec![text(depth - 1), text(depth - 1)]),
    ]
    .boxed()
}

/// A `WITH` and a name behind `FROM` that has the columns time, id, k, t, n, f and b.
fn relation() -> BoxedStrategy<(String, String)> {
    let own = |name: &str| (String::new(), name.to_owned());
    let named = |body: String| (format!("WITH c AS ({body}) "), "c".to_owned());
    let joins = texts(&["JOIN", "LEFT JOIN"]);
    let residual = texts(&["", "", " AND s.n > tab.weight", " AND tab.tag LIKE 'x%'", " AND s.b"]);
    let sub = texts(&[
        "k IN (SELECT key FROM tab)",
        "k IN (SELECT key FROM tab WHERE weight > 1)",
        "EXISTS (SELECT 1 FROM tab WHERE tab.key = s.k AND tab.weight > s.n)",
        "NOT EXISTS (SELECT 1 FROM tab WHERE tab.key = s.k)",
        "NOT EXISTS (SELECT 1 FROM tab WHERE tab.key = s.k AND tab.weight < s.n)",
    ]);
    prop_oneof![
        3 => Just(own("s")),
        2 => Just(own("v")),
        2 => Just(own("w")),
        1 => condition(1).prop_map(move |p| named(format!("SELECT time, id, k, t, n, f, b FROM s WHERE {p}"))),
        1 => (text(1), number(1)).prop_map(move |(k, n)| {
            named(format!("SELECT time, id, {k} AS k, t, {n} AS n, f, b FROM v"))
        }),
        2 => (joins, residual).prop_map(move |(join, residual)| named(format!(
            "SELECT s.time, s.id, s.k, tab.tag AS t, tab.weight AS n, s.f, s.b FROM s {join} tab ON s.k = tab.key{residual}"
        ))),
        1 => Just(named(
            "SELECT s.time, s.id, tab.key AS k, s.t, s.n, s.f, s.b FROM tab JOIN s ON upper(s.k) = upper(tab.key)".to_owned()
        )),
        2 => (sub, condition(0)).prop_map(move |(sub, p)| {
            named(format!("SELECT time, id, k, t, n, f, b FROM s WHERE {sub} AND ({p}) IS NOT FALSE"))
        }),
    ]
    .boxed()
}

fn rows() -> BoxedStrategy<Select> {
    (relation(), text(2), number(2), prop::option::of(condition(2)))
        .prop_map(|((with, from), c1, c2, filter)| {
            let filter = filter.map(|filter| format!(" WHERE {filter}")).unwrap_or_default();
            let sql = format!("{with}SELECT time, id, {c1} AS c1, {c2} AS c2, f FROM {from}{filter}");
            Select::row_level(sql)
        })
        .boxed()
}

const AGGREGATES: [&str; 21] = [
    "count(*)",
    "count(n)",
    "sum(n)",
    "min(n)",
    "max(n)",
    "min(t)",
    "max(t)",
    "avg(f)",
    "avg(n)",
    "count(DISTINCT t)",
    "count(*) FILTER (WHERE b)",
    "sum(n) FILTER (WHERE k = 'a')",
    "sum(f)",
    "stddev(f)",
    "median(n)",
    "bool_or(b)",
    "sum(DISTINCT n)",
    "max(f)",
    "min(time)",
    "CASE WHEN count(*) > 2 THEN 'high' ELSE 'low' END",
    "count(*) * 2",
];

/// Conditions that never turn false again.
const MONOTONE: [&str; 8] = [
    "count(*) >= 2",
    "count(DISTINCT t) > 1",
    "max(n) > 3",
    "min(n) < 1",
    "2 <= count(n)",
    "max(t) >= 'xy'",
    "count(*) FILTER (WHERE b) > 1",
    "min(f) <= 0",
];

/// Conditions that may.
const OTHER: [&str; 10] = [
    "count(*) = 2",
    "sum(n) > 3",
    "avg(n) < 2",
    "max(n) < 3",
    "min(n) > 0",
    "count(*) < 3",
    "sum(f) >= 1.5",
    "count(n) = count(*)",
    "NOT (count(*) >= 3)",
    "max(n) IS NULL",
];

fn having() -> BoxedStrategy<String> {
    let monotone = || texts(&MONOTONE);
    let any = || prop_oneof![texts(&MONOTONE), texts(&OTHER)].boxed();
    prop_oneof![
        3 => monotone(),
        2 => filled("# AND #", vec![monotone(), monotone()]),
        2 => filled("# OR #", vec![monotone(), monotone()]),
        2 => texts(&OTHER),
        2 => filled("# AND #", vec![any(), any()]),
        2 => filled("# OR #", vec![any(), any()]),
        1 => filled("NOT (#)", vec![any()]),
        1 => filled("CASE WHEN # THEN # END", vec![any(), any()]),
    ]
    .boxed()
}

/// How rows come to their windows.
#[derive(Debug, Clone, Copy)]
struct Frame {
    /// What stands behind `FROM`, with `@` for the relation.
    call: &'static str,
    start: &'static str,
    end: &'static str,
    by: &'static [&'static str],
}

const fn table(call: &'static str) -> Frame {
    Frame { call, start: "window_start", end: "window_end", by: &["window_start", "window_end"] }
}

const TUMBLING: [Frame; 5] = [
    table("TUMBLE(@, time, INTERVAL '5 seconds')"),
    table("TUMBLE(@, time, INTERVAL '10 seconds')"),
    table("TUMBLE(@, time, INTERVAL '7 seconds')"),
    table("TUMBLE(@, time, INTERVAL '1 minute', INTERVAL '2 seconds')"),
    Frame {
        call: "@",
        start: "date_bin(INTERVAL '5 seconds', time)",
        end: "date_bin(INTERVAL '5 seconds', time) + INTERVAL '5 seconds'",
        by: &["date_bin(INTERVAL '5 seconds', time)"],
    },
];

const OVERLAPPING: [Frame; 9] = [
    table("HOP(@, time, INTERVAL '5 seconds', INTERVAL '15 seconds')"),
    table("HOP(@, time, INTERVAL '5 seconds', INTERVAL '5 seconds')"),
    table("HOP(@, time, INTERVAL '5 seconds', INTERVAL '12 seconds')"),
    table("HOP(@, time, INTERVAL '5 seconds', INTERVAL '3 seconds', INTERVAL '1 second')"),
    table("HOP(@, time, INTERVAL '1 second', INTERVAL '10 seconds')"),
    table("HOP(@, time, INTERVAL '4 seconds', INTERVAL '1 minute', INTERVAL '-3 seconds')"),
    table("CUMULATE(@, time, INTERVAL '5 seconds', INTERVAL '20 seconds')"),
    table("CUMULATE(@, time, INTERVAL '1 second', INTERVAL '10 seconds', INTERVAL '2 seconds')"),
    table("TABLE(HOP(TABLE @, DESCRIPTOR(time), INTERVAL '10 seconds', INTERVAL '25 seconds'))"),
];

fn frame() -> BoxedStrategy<Frame> {
    prop_oneof![1 => one_of(TUMBLING.to_vec()), 1 => one_of(OVERLAPPING.to_vec())].boxed()
}

fn windows(having: BoxedStrategy<Option<String>>) -> BoxedStrategy<Select> {
    let keys = subsequence(vec!["k", "t", "n % 2", "upper(k)", "b", "CASE WHEN n > 2 THEN 'big' END", "f"], 0..3);
    let aggregates = subsequence(AGGREGATES.to_vec(), 1..4);
    (relation(), keys, aggregates, frame(), prop::option::of(condition(1)), having)
        .prop_map(|((with, from), keys, aggregates, frame, filter, having)| {
            let filter = filter.map(|filter| format!(" WHERE {filter}")).unwrap_or_default();
            let having = having.map(|having| format!(" HAVING {having}")).unwrap_or_default();
            let groups = keys.len();
            let mut columns: Vec<String> = keys.iter().zip(0..).map(|(key, at)| format!("{key} AS g{at}")).collect();
            let Frame { call, start, end, by } = frame;
            let from = call.replace('@', &from);
            columns.extend([format!("{start} AS window_start"), format!("{end} AS window_end")]);
            columns.extend(aggregates.iter().zip(0..).map(|(aggregate, at)| format!("{aggregate} AS a{at}")));
            let by: Vec<&str> = keys.into_iter().chain(by.iter().copied()).collect();
            let (columns, by) = (columns.join(", "), by.join(", "));
            let sql = format!("{with}SELECT {columns} FROM {from}{filter} GROUP BY {by}{having}");
            Select::windowed(sql, groups)
        })
        .boxed()
}

/// Aggregates that do not grow with their session.
const OF_SESSIONS: [&str; 12] = [
    "count(*)",
    "count(n)",
    "sum(n)",
    "min(n)",
    "max(t)",
    "avg(f)",
    "count(*) FILTER (WHERE b)",
    "sum(f)",
    "stddev(f)",
    "bool_or(b)",
    "min(time)",
    "CASE WHEN count(*) > 2 THEN 'high' ELSE 'low' END",
];

const SESSIONS: [&str; 6] = [
    "SESSION(@, time, INTERVAL '3 seconds'#)",
    "SESSION(@, time, INTERVAL '5 seconds'#)",
    "SESSION(@, time, INTERVAL '1 second'#)",
    "SESSION(@, time, INTERVAL '0.7 seconds'#)",
    "SESSION(@, time, '20 seconds'#)",
    "SESSION(@, time, INTERVAL '2 minutes'#)",
];

/// Sessions of each group. Conditions on rows stand before them; those behind are on the sessions themselves.
fn sessions(having: BoxedStrategy<Option<String>>) -> BoxedStrategy<Select> {
    let keys = subsequence(vec!["k", "t", "n % 2", "upper(k)", "b", "CASE WHEN n > 2 THEN 'big' END", "f"], 0..3);
    let aggregates = subsequence(OF_SESSIONS.to_vec(), 1..4);
    let filters = ["window_start > TIMESTAMP '1970-01-01 00:01:45'", "window_end <= TIMESTAMP '1970-01-01 00:02:00'"];
    let filter = prop::option::weighted(0.2, texts(&filters));
    let by = one_of(vec!["window_start, window_end", "window_end, window_start"]);
    (relation(), keys, aggregates, texts(&SESSIONS), filter, by, having)
        .prop_map(|((with, from), keys, aggregates, call, filter, by, having)| {
            let filter = filter.map(|filter| format!(" WHERE {filter}")).unwrap_or_default();
            let having = having.map(|having| format!(" HAVING {having}")).unwrap_or_default();
            let groups = keys.len();
            let mut columns: Vec<String> = keys.iter().zip(0..).map(|(key, at)| format!("{key} AS g{at}")).collect();
            columns.extend(["window_start".to_owned(), "window_end".to_owned()]);
            columns.extend(aggregates.iter().zip(0..).map(|(aggregate, at)| format!("{aggregate} AS a{at}")));
            let own: String = keys.iter().map(|key| format!(", {key}")).collect();
            let from = call.replace('@', &from).replace('#', &own);
            let by: Vec<&str> = keys.into_iter().chain([by]).collect();
            let (columns, by) = (columns.join(", "), by.join(", "));
            let sql = format!("{with}SELECT {columns} FROM {from}{filter} GROUP BY {by}{having}");
            Select { has_sessions: true, ..Select::windowed(sql, groups) }
        })
        .boxed()
}

const IN_ORDER: [&str; 19] = [
    "first_value(n)",
    "first_value(t ORDER BY time)",
    "last_value(n)",
    "last_value(k ORDER BY time)",
    "first_value(n) IGNORE NULLS",
    "last_value(f) FILTER (WHERE b)",
    "array_agg(n)",
    "array_agg(t ORDER BY time)",
    "array_agg(n) FILTER (WHERE b)",
    "array_agg(DISTINCT k)",
    "nth_value(n, 2)",
    "array_agg(t)[-1]",
    "array_agg(DISTINCT n)[2]",
    "cardinality(array_agg(DISTINCT n))",
    "approx_percentile_cont(n, 0.9)",
    "approx_percentile_cont(0.3) WITHIN GROUP (ORDER BY f)",
    "approx_median(n)",
    "approx_distinct(t)",
    "count(*)",
];

/// Values in the order of events, and sketches.
pub(super) fn in_order() -> BoxedStrategy<Select> {
    let aggregates = subsequence(IN_ORDER.to_vec(), 1..4);
    let session = one_of(SESSIONS.to_vec()).prop_map(table);
    let frame = prop_oneof![3 => frame(), 1 => session];
    let filter = prop::option::of(condition(0));
    let having = texts(&["", "", " HAVING count(*) >= 2", " HAVING first_value(t) LIKE 'x%'"]);
    (relation(), aggregates, frame, filter, having)
        .prop_map(|((with, relation), aggregates, frame, filter, having)| {
            let Frame { call, start, end, by } = frame;
            let has_sessions = call.starts_with("SESSION");
            let filter = filter.filter(|_| !has_sessions).map(|filter| format!(" WHERE {filter}")).unwrap_or_default();
            let mut columns =
                vec!["k AS g0".to_owned(), format!("{start} AS window_start"), format!("{end} AS window_end")];
            columns.extend(aggregates.iter().zip(0..).map(|(aggregate, at)| format!("{aggregate} AS a{at}")));
            let (columns, by) = (columns.join(", "), by.join(", "));
            let from = call.replace('@', &relation).replace('#', ", k");
            let sql = format!("{with}SELECT {columns} FROM {from}{filter} GROUP BY k, {by}{having}");
            Select { has_sessions, ..Select::windowed(sql, 1) }
        })
        .boxed()
}

/// Any query of sessions.
pub(super) fn of_sessions() -> BoxedStrategy<Select> {
    sessions(prop::option::weighted(0.7, session_having()).boxed())
}

/// Conditions on sessions, without aggregates that grow with them.
fn session_having() -> BoxedStrategy<String> {
    let grows = |having: &String| !having.contains("DISTINCT");
    having().prop_filter("grows with its session", grows).boxed()
}

/// What a query may do with the results of windows: ask more of them, join them with a table, count them again.
fn over_windows() -> BoxedStrategy<Select> {
    let inner = "SELECT k AS g0, window_start, window_end, count(*) AS c, max(n) AS m, min(t) AS t
         FROM # GROUP BY k, window_start, window_end";
    let calls = [
        "TUMBLE(@, time, INTERVAL '5 seconds')",
        "HOP(@, time, INTERVAL '5 seconds', INTERVAL '15 seconds')",
        "CUMULATE(@, time, INTERVAL '5 seconds', INTERVAL '15 seconds')",
        "SESSION(@, time, INTERVAL '5 seconds', k)",
    ];
    let from = (texts(&calls), texts(&["s", "v", "w"])).prop_map(|(call, from)| call.replace('@', &from)).boxed();
    let having =
        prop_oneof![2 => Just(String::new()), 3 => session_having().prop_map(|having| format!(" HAVING {having}"))];
    let outer = texts(&[
        "SELECT g0, window_start, window_end, c + 1 AS c, m FROM i",
        "SELECT g0, window_start, window_end, c FROM i WHERE c >= 2",
        "SELECT g0, window_start, window_end, c FROM i WHERE c >= 2 AND m > 2",
        "SELECT g0, window_start, window_end, c FROM i WHERE c < 3",
        "SELECT g0, window_start, window_end, c FROM i WHERE t LIKE 'x%' OR g0 = 'a'",
        "SELECT g0, window_start, window_end, c FROM (SELECT g0, window_start, window_end, c * 2 AS c FROM i) WHERE c > 3",
        "SELECT i.g0, i.window_start, i.window_end, i.c, tab.tag FROM i LEFT JOIN tab ON i.g0 = tab.key",
        "SELECT i.g0, i.window_start, i.window_end, i.c, tab.tag FROM i JOIN tab ON i.g0 = tab.key WHERE tab.weight < i.c",
        "SELECT g0, window_start, window_end, c FROM i WHERE g0 IN (SELECT key FROM tab)",
        "SELECT g0, window_start, window_end, c FROM i WHERE EXISTS (SELECT 1 FROM tab WHERE tab.key = i.g0 AND tab.weight < i.c)",
    ]);
    (filled(inner, vec![from]), having, outer)
        .prop_map(|(inner, having, outer)| {
            let has_sessions = inner.contains("SESSION");
            let sql = format!("WITH i AS ({inner}{having}) {outer}");
            Select { has_sessions, ..Select::windowed(sql, 1) }
        })
        .boxed()
}

/// A windowed query with a condition on its groups.
pub(super) fn threshold() -> BoxedStrategy<Select> {
    prop_oneof![
        2 => windows(having().prop_map(Some).boxed()),
        1 => over_windows(),
        1 => sessions(session_having().prop_map(Some).boxed()),
    ]
    .boxed()
}

/// Any query.
pub(super) fn select() -> BoxedStrategy<Select> {
    prop_oneof![3 => rows(), 2 => windows(prop::option::of(having()).boxed())].boxed()
}

/// Any query whose repeats are suppressed.
pub(super) fn cooling() -> BoxedStrategy<Select> {
    let period = one_of(vec![1_i64, 1_000_000, 5_000_000, 30_000_000, 5_000_000_000]);
    (prop_oneof![rows(), threshold()], period, any::<bool>())
        .prop_map(|(select, period, by_key)| {
            let key = match select.groups {
                None => Some("c1"),
                Some(groups) => (groups > 0).then_some("g0"),
            };
            let keys = key.filter(|_| by_key).into_iter().collect();
            Select { cooldown: Some((period, keys)), ..select }
        })
        .boxed()
}
