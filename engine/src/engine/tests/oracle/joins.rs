//! Random joins of streams with streams, with themselves, with results of windows, and windows over joins.

use proptest::prelude::*;

use super::grammar::{Select, texts};

/// What a row of a query over joins was caused by, told by the columns of its output.
#[derive(Debug, Clone)]
pub(super) enum Cause {
    /// The event whose `id` this column holds; NULL for none.
    Event(&'static str),
    /// The group of a key, a start and an end.
    Window([&'static str; 3]),
    /// The left and the right of a join.
    Join(Box<Cause>, Box<Cause>),
}

impl Cause {
    fn join(left: Self, right: Self) -> Self {
        Self::Join(Box::new(left), Box::new(right))
    }
}

fn of_join(sql: String, cause: Cause) -> Select {
    Select { joined: Some(cause), ..Select::on_time(sql) }
}

/// A bound in time between `left` and `right`.
fn bound(left: &'static str, right: &'static str) -> BoxedStrategy<String> {
    texts(&[
        "# BETWEEN @ AND @ + INTERVAL '5 seconds'",
        "# BETWEEN @ - INTERVAL '3 seconds' AND @ + INTERVAL '3 seconds'",
        "@ BETWEEN # - INTERVAL '20 seconds' AND #",
        "@ - # <= INTERVAL '4 seconds' AND # <= @",
        "# - @ BETWEEN INTERVAL '-2 seconds' AND INTERVAL '1 second'",
        "# > @ AND # < @ + INTERVAL '2 seconds'",
        "# >= @ + INTERVAL '1 second' AND # - INTERVAL '8 seconds' <= @",
        "# <= @ - INTERVAL '1 second' AND @ - INTERVAL '1 minute' < #",
        "# = @",
        "(# = @ OR # BETWEEN @ + INTERVAL '2 seconds' AND @ + INTERVAL '3 seconds')",
        "# < @ AND # > @ + INTERVAL '1 second'",
        "# BETWEEN @ - INTERVAL '1 day' AND @ + INTERVAL '1 hour'",
    ])
    .prop_map(move |text| text.replace('@', &format!("{left}.time")).replace('#', &format!("{right}.time")))
    .boxed()
}

fn keys(left: &'static str, right: &'static str) -> BoxedStrategy<String> {
    texts(&[
        "@.k = #.k",
        "@.k = #.k",
        "@.k = #.k AND @.t = #.t",
        "@.n = #.n",
        "upper(@.k) = upper(#.k)",
        "@.k IS NOT DISTINCT FROM #.k",
        "@.f = #.f",
        "TRUE",
    ])
    .prop_map(move |text| text.replace('@', left).replace('#', right))
    .boxed()
}

fn residual(left: &'static str, right: &'static str) -> BoxedStrategy<String> {
    texts(&[
        "",
        "",
        "",
        " AND @.n < #.n",
        " AND #.b",
        " AND @.f > 1",
        " AND (@.t LIKE 'x%' OR #.n > 2)",
        " AND @.id <> #.id",
        " AND 10 / @.n > #.n",
    ])
    .prop_map(move |text| text.replace('@', left).replace('#', right))
    .boxed()
}

/// All that a join of two says.
fn on(left: &'static str, right: &'static str) -> BoxedStrategy<String> {
    let times = (bound(left, right), keys(left, right), residual(left, right));
    times.prop_map(|(bound, keys, residual)| format!("{keys} AND {bound}{residual}")).boxed()
}

fn relation() -> BoxedStrategy<String> {
    texts(&["s", "s", "r", "r", "v", "w"])
}

/// Pairs.
fn pairs() -> BoxedStrategy<Select> {
    let kinds = texts(&["JOIN", "JOIN", "LEFT JOIN", "RIGHT JOIN", ","]);
    let wheres = texts(&["", "", " AND b.n > 0", " AND a.t IS NOT NULL", " AND a.n + b.n > 2"]);
    (relation(), kinds, relation(), on("a", "b"), wheres)
        .prop_map(|(left, kind, right, on, further)| {
            let condition = match kind.as_str() {
                "," => format!(", {right} AS b WHERE {on}{further}"),
                kind => format!(" {kind} {right} AS b ON {on} WHERE TRUE{further}"),
            };
            let columns =
                "coalesce(a.time, b.time) AS time, a.time AS at, b.time AS bt, a.id AS id, b.id AS bid, a.n, b.t";
            let cause = Cause::join(Cause::Event("id"), Cause::Event("bid"));
            of_join(format!("SELECT {columns} FROM {left} AS a{condition}"), cause)
        })
        .boxed()
}

/// Rows that have a match, or none.
fn existence() -> BoxedStrategy<Select> {
    let kinds = texts(&["EXISTS", "NOT EXISTS", "NOT EXISTS", "IN"]);
    (relation(), kinds, relation(), on("a", "b"), relation(), on("a", "c"), any::<bool>())
        .prop_map(|(left, kind, right, first, third, second, has_second)| {
            let one = match kind.as_str() {
                "IN" => format!("a.k IN (SELECT b.k FROM {right} AS b WHERE {first})"),
                kind => format!("{kind} (SELECT 1 FROM {right} AS b WHERE {first})"),
            };
            let other = match has_second {
                true => format!(" AND NOT EXISTS (SELECT 1 FROM {third} AS c WHERE {second})"),
                false => String::new(),
            };
            of_join(format!("SELECT a.time, a.id, a.k, a.n FROM {left} AS a WHERE {one}{other}"), Cause::Event("id"))
        })
        .boxed()
}

/// Three in a row, and a condition of existence over a join.
fn three() -> BoxedStrategy<Select> {
    // DataFusion's batch gives all inner joins in a row the null equality of the last.
    let on = |left, right| on(left, right).prop_map(|on| on.replace("IS NOT DISTINCT FROM", "=")).boxed();
    let kinds = || texts(&["JOIN", "JOIN", "LEFT JOIN"]);
    let third = prop_oneof![on("a", "c"), on("b", "c")];
    let exists = prop::option::of((texts(&["EXISTS", "NOT EXISTS"]), relation(), on("a", "d")));
    ((relation(), relation(), relation()), on("a", "b"), (kinds(), third), exists)
        .prop_map(|((one, two, three), first, (kind, second), exists)| {
            let filter = exists.map_or_else(String::new, |(kind, from, on)| {
                format!(" WHERE {kind} (SELECT 1 FROM {from} AS d WHERE {on})")
            });
            let columns = "a.time, a.id AS id, b.id AS bid, c.id AS cid, c.n";
            let cause = Cause::join(Cause::join(Cause::Event("id"), Cause::Event("bid")), Cause::Event("cid"));
            let from = format!("{one} AS a JOIN {two} AS b ON {first} {kind} {three} AS c ON {second}");
            of_join(format!("SELECT {columns} FROM {from}{filter}"), cause)
        })
        .boxed()
}

/// Windows over joins, by any of the times.
fn counted() -> BoxedStrategy<Select> {
    let joins = (relation(), texts(&["JOIN", "LEFT JOIN"]), relation(), on("a", "b"), texts(&["a.time", "b.time"]));
    let pairs = joins.prop_map(|(left, kind, right, on, time)| {
        let kind = if time == "b.time" { "JOIN".to_owned() } else { kind };
        format!("SELECT {time} AS time, a.k AS k, b.n AS n FROM {left} AS a {kind} {right} AS b ON {on}")
    });
    let exists = (relation(), texts(&["EXISTS", "NOT EXISTS"]), relation(), on("a", "b"));
    let exists = exists.prop_map(|(left, kind, right, on)| {
        format!("SELECT a.time, a.k, a.n FROM {left} AS a WHERE {kind} (SELECT 1 FROM {right} AS b WHERE {on})")
    });
    let having = texts(&["", "", " HAVING count(*) >= 2", " HAVING max(n) < 4"]);
    (prop_oneof![2 => pairs, 1 => exists], having)
        .prop_map(|(joined, having)| {
            let sql = format!(
                "WITH j AS ({joined}) SELECT k AS g0, window_start, window_end, count(*) AS c, sum(n) AS n
                 FROM TUMBLE(j, time, INTERVAL '5 seconds') GROUP BY k, window_start, window_end{having}"
            );
            Select::windowed(sql, 1)
        })
        .boxed()
}

/// Results of windows joined with each other and with rows.
fn of_windows() -> BoxedStrategy<Select> {
    let window = "SELECT k AS g, window_start AS ws, window_end AS we, count(*) AS c FROM TUMBLE(@, time, #)
        GROUP BY k, window_start, window_end";
    let having = || texts(&["", " HAVING count(*) >= 2", " HAVING count(*) < 3"]);
    let sizes = texts(&["INTERVAL '5 seconds'", "INTERVAL '7 seconds'"]);
    let both = texts(&[
        "a.ws = b.ws",
        "a.we = b.we",
        "a.ws = b.we",
        "b.we BETWEEN a.we AND a.we + INTERVAL '10 seconds'",
        "b.ws < a.we AND a.ws < b.we",
    ]);
    let ends = |alias: &str| format!("{alias}.g AS {alias}g, {alias}.ws AS {alias}s, {alias}.we AS {alias}e");
    let windows = (relation(), relation(), having(), sizes.clone(), texts(&["JOIN", "LEFT JOIN"]), both).prop_map(
        move |(one, two, having, size, kind, on)| {
            let a = window.replace('@', &one).replace('#', "INTERVAL '5 seconds'");
            let b = window.replace('@', &two).replace('#', &size);
            let columns = format!("a.we AS time, {}, {}, a.c, b.c AS d", ends("a"), ends("b"));
            let cause = Cause::join(Cause::Window(["ag", "as", "ae"]), Cause::Window(["bg", "bs", "be"]));
            let on = format!("a.g = b.g AND {on}");
            of_join(format!("WITH a AS ({a}{having}), b AS ({b}) SELECT {columns} FROM a {kind} b ON {on}"), cause)
        },
    );
    let rows = (relation(), relation(), having(), sizes, texts(&["JOIN", "LEFT JOIN"])).prop_map(
        move |(one, two, having, size, kind)| {
            let b = window.replace('@', &two).replace('#', &size);
            let columns = format!("a.time, a.id AS id, {}, b.c", ends("b"));
            let cause = Cause::join(Cause::Event("id"), Cause::Window(["bg", "bs", "be"]));
            let on = "a.k = b.g AND a.time >= b.ws AND a.time < b.we + INTERVAL '3 seconds'";
            of_join(format!("WITH b AS ({b}{having}) SELECT {columns} FROM {one} AS a {kind} b ON {on}"), cause)
        },
    );
    prop_oneof![windows, rows].boxed()
}

/// Joins with a table below or above.
fn with_table() -> BoxedStrategy<Select> {
    (relation(), relation(), on("a", "b"), texts(&["JOIN", "LEFT JOIN"]), any::<bool>())
        .prop_map(|(left, right, on, kind, is_below)| {
            let cause = Cause::join(Cause::Event("id"), Cause::Event("bid"));
            let sql = if is_below {
                let a = format!(
                    "SELECT a.time, a.id, a.k, tab.tag AS t, tab.weight AS n, a.f, a.b FROM {left} AS a {kind} tab ON a.k = tab.key"
                );
                format!("WITH a AS ({a}) SELECT a.time, a.id, b.id AS bid, a.n FROM a JOIN {right} AS b ON {on}")
            } else {
                let tab = format!("{kind} tab ON b.k = tab.key");
                format!("SELECT a.time, a.id, b.id AS bid, tab.tag FROM {left} AS a JOIN {right} AS b ON {on} {tab}")
            };
            of_join(sql, cause)
        })
        .boxed()
}

/// Any query over a join of streams.
pub(super) fn select() -> BoxedStrategy<Select> {
    prop_oneof![4 => pairs(), 4 => existence(), 2 => three(), 3 => counted(), 2 => of_windows(), 1 => with_table()]
        .boxed()
}
