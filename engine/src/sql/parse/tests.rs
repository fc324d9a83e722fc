//! One `SELECT` is read, everything else is refused at its place.

use proptest::prelude::*;

use super::*;

fn parse(text: &str, runs: Runs) -> Result<Box<Query>, Vec<Diagnostic>> {
    let list = ScalarValue::List(ScalarValue::new_list_nullable(
        &[ScalarValue::from("a"), ScalarValue::from("it's")],
        &arrow::datatypes::DataType::Utf8,
    ));
    let params = BTreeMap::from([
        ("failures".to_owned(), ScalarValue::from(10_i64)),
        ("below".to_owned(), ScalarValue::from(-2.5)),
        ("name".to_owned(), ScalarValue::from("o'brien")),
        ("window".to_owned(), ScalarValue::from("5 minutes")),
        ("hosts".to_owned(), list),
        ("strict".to_owned(), ScalarValue::from(true)),
        ("nothing".to_owned(), ScalarValue::Utf8(None)),
    ]);
    parse_select(text, Place::START, runs, &params).map_err(|refused| refused.diagnostics)
}

fn accepted(text: &str) -> String {
    match parse(text, Runs::OnStreams) {
        Ok(query) => query.to_string().split_whitespace().collect::<Vec<_>>().join(" "),
        Err(diagnostics) => panic!("{text}\n{}", told(&diagnostics)),
    }
}

fn told(diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn refusal(text: &str) -> String {
    match parse(text, Runs::OnStreams) {
        Ok(query) => panic!("accepted: {query}"),
        Err(diagnostics) => told(&diagnostics),
    }
}

#[test]
fn is_distinct_from_compares_what_stands_next_to_it() {
    use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr};
    for text in
        ["SELECT 1 FROM t WHERE a IS DISTINCT FROM b OR c", "SELECT 1 FROM t WHERE a IS NOT DISTINCT FROM b OR c"]
    {
        let query = parse(text, Runs::OnStreams).unwrap();
        let selection = query.body.as_select().and_then(|select| select.selection.as_ref());
        assert!(matches!(selection, Some(Expr::BinaryOp { op: BinaryOperator::Or, .. })), "{selection:?}");
    }
}

#[test]
fn every_construct_of_the_language_is_read() {
    let texts = [
        "SELECT actor.user.name, user, time, type, process.file.path FROM process_activity",
        "SELECT user FROM s WHERE user = 'x' AND user.name ILIKE '%a%' AND NOT (a IS NULL)",
        "SELECT named_struct('a', 1, 'b', x) AS s, {a: 1, 'b': x} AS d, [1, 2] AS l, ARRAY[1] AS m FROM t",
        "SELECT x::BIGINT, CAST(y AS VARCHAR), TRY_CAST(z AS INT), TIMESTAMP '2020-01-01 00:00:00' FROM t",
        "SELECT tags[1], m['key'], f(x)[1].name, (a).b FROM t",
        "SELECT count(*) FILTER (WHERE x > 1) AS n, count(DISTINCT a), array_agg(x ORDER BY t) FROM t GROUP BY k",
        "SELECT a FROM t WHERE b BETWEEN t AND t + INTERVAL '5 minutes' OR c IN ('x', 'y') OR d LIKE 'a\\_%' ESCAPE '\\'",
        "SELECT lag(x) OVER (PARTITION BY u ORDER BY time), row_number() OVER w FROM t WINDOW w AS (ORDER BY time)",
        "SELECT count(*) OVER (PARTITION BY u ORDER BY time RANGE INTERVAL '5 minutes' PRECEDING) AS n FROM t QUALIFY n > 3",
        "SELECT CASE WHEN a THEN 1 ELSE 2 END, CASE x WHEN 1 THEN 'a' END, EXTRACT(hour FROM time) FROM t",
        "SELECT a FROM t LEFT SEMI JOIN u ON t.x = u.x LEFT JOIN v USING (y) CROSS JOIN w",
        "SELECT a FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.a = t.a) AND (b, c) IN (SELECT b, c FROM v)",
        "WITH a AS (SELECT 1 AS x), b AS (SELECT * FROM a) SELECT x FROM b UNION ALL SELECT y FROM c",
        "SELECT DISTINCT a FROM t GROUP BY GROUPING SETS ((a), ())",
        "SELECT \"event.code\", `x y` FROM \"Weird Name\"",
        "SELECT a -- comment; with a semicolon\nFROM t /* block /* nested */ ; */;",
        "SELECT first_seen((user_name, country), INTERVAL '30 days') FROM t",
        "SELECT * EXCEPT (a), t.* EXCLUDE b FROM t",
        "(SELECT 1 AS x)",
    ];
    for text in texts {
        accepted(text);
    }
}

#[test]
fn windows_are_read_in_both_forms() {
    let short = "SELECT a FROM TUMBLE(s, time, INTERVAL '5' MINUTE) AS w";
    assert_eq!(
        accepted("SELECT a FROM TABLE(TUMBLE(TABLE s, DESCRIPTOR(time), INTERVAL '5' MINUTE)) AS w"),
        accepted(short)
    );
    assert_eq!(
        accepted("select a from table ( tumble ( table s , descriptor ( time ) , interval '5' minute ) ) as w")
            .to_lowercase(),
        accepted(short).to_lowercase()
    );
    assert_eq!(
        accepted(
            "SELECT a FROM TABLE(HOP(TABLE s, DESCRIPTOR(m.t), INTERVAL '1 minute', INTERVAL '5 minutes')) JOIN u ON a = b"
        ),
        accepted("SELECT a FROM HOP(s, m.t, INTERVAL '1 minute', INTERVAL '5 minutes') JOIN u ON a = b")
    );
    assert_eq!(
        accepted("SELECT a FROM TABLE(SESSION(TABLE s PARTITION BY (u, v), DESCRIPTOR(t), INTERVAL '5' MINUTE))"),
        accepted("SELECT a FROM SESSION(s, t, INTERVAL '5' MINUTE, u, v)")
    );
    assert_eq!(accepted("SELECT tumble, hop, session FROM t"), "SELECT tumble, hop, session FROM t");
}

#[test]
fn places_survive_the_rewriting_of_windows() {
    let text = "SELECT a FROM TABLE(TUMBLE(TABLE s, DESCRIPTOR(time), INTERVAL '5' MINUTE)) WHERE a = ";
    assert!(refusal(text).starts_with("1:86: D001"), "{}", refusal(text));
}

#[test]
fn parameters_become_literals() {
    assert_eq!(
        accepted("SELECT a FROM t WHERE b >= $failures AND c = $name"),
        "SELECT a FROM t WHERE b >= 10 AND c = 'o''brien'"
    );
    assert_eq!(accepted("SELECT a FROM t WHERE b < $below AND $strict"), "SELECT a FROM t WHERE b < (-2.5) AND true");
    assert_eq!(accepted("SELECT a FROM t WHERE h IN ($hosts, 'b')"), "SELECT a FROM t WHERE h IN ('a', 'it''s', 'b')");
    assert_eq!(accepted("SELECT array_has($hosts, h) FROM t"), "SELECT array_has(ARRAY['a', 'it''s'], h) FROM t");
    assert_eq!(
        accepted("SELECT a FROM TUMBLE(s, t, INTERVAL $window)"),
        "SELECT a FROM TUMBLE(s, t, INTERVAL '5 minutes')"
    );
    assert_eq!(accepted("SELECT $nothing AS x"), "SELECT NULL AS x");
    assert_eq!(
        refusal("SELECT a FROM t WHERE b > $failure OR $1 = 2"),
        "1:27: D008 there is no parameter `$failure`; did you mean `failures`?\n\
         1:39: D008 there is no parameter `$1`; give it a value: `params` in a detection's header, `--param` of a hunt"
    );
}

#[test]
fn mistakes_are_told_at_their_place() {
    let cases = [
        // One SELECT and nothing else.
        ("", "1:1: D002"),
        ("-- nothing", "1:1: D002"),
        ("DROP TABLE t", "1:1: D002"),
        ("INSERT INTO t SELECT 1", "1:1: D002"),
        ("COPY t TO 'x'", "1:1: D002"),
        ("SET x = 1", "1:1: D002"),
        ("EXPLAIN SELECT 1", "1:1: D002"),
        ("SELECT 1;\n SELECT 2", "2:2: D002"),
        ("SELECT 1; DROP TABLE t;", "1:11: D002"),
        ("SELECT a INTO t FROM s", "1:10: D002"),
        ("SELECT a FROM s FOR UPDATE", "1:17: D002"),
        ("WITH a AS (SELECT 1) INSERT INTO t SELECT 1", "1:22: D002"),
        ("WITH a AS (SELECT 1) DELETE FROM t", "1:22: D002"),
        ("SLECT a FROM t", "1:1: D002 one SELECT is allowed here, not `SLECT`; did you mean `SELECT`?"),
        // Syntax.
        ("SELECT a,\n FROM t", "2:2: D001 expected an expression, found `FROM`; remove the comma before `FROM`"),
        ("SELECT a FROM", "1:14: D001"),
        ("SELECT a FROM t WHERE", "1:22: D001"),
        ("SELECT a FROM t WHERE a = 'x", "1:27: D001 unterminated string literal"),
        ("SELECT a FROM t WHERE (a = 1", "1:29: D001"),
        ("SELECT a FROM t WHERE a = 1)", "1:28: D001"),
        ("SELECT ä, ö FROM t WHERE €", "1:26: D001"),
        ("SELECT a FORM t", "1:10: D001 `FORM` does not go here; did you mean `FROM`?"),
        ("SELECT a FROM t WHERE a && b", "1:25: D001 `&&` does not go here; write AND"),
        ("SELECT CASE WHEN a THEN 1 FROM t", "; a CASE ends with END"),
        (
            "SELECT a FROM t WHERE f(a",
            "1:26: D001 expected `)`, found the end; the bracket in line 1, column 24 is not closed",
        ),
        ("SELECT a FROM t UNION ALL TABLE u", "1:27: D002"),
        ("WITH x AS (SELECT 1 AS a), SELECT a FROM x", "; remove the comma before `SELECT`"),
        ("SELECT a FROM t JOIN u", "1:22: D001 a JOIN needs a condition; add ON ..., USING (...), or write CROSS JOIN"),
        ("SELECT a FROM t GROUP a", "1:17: D001 expected the end of the SELECT, found `GROUP`; write GROUP BY"),
        ("* FROM t", "1:1: D001"),
        // What has no meaning on a stream.
        ("SELECT a FROM t ORDER BY a", "1:17: D013"),
        ("SELECT a FROM t ORDER BY count(*) OVER (ORDER BY b)", "1:17: D013"),
        ("SELECT a FROM t\nLIMIT 5", "2:1: D013"),
        ("SELECT a FROM t OFFSET 5", "1:17: D013"),
        ("SELECT a FROM t FETCH FIRST 5 ROWS ONLY", "1:17: D013"),
        ("SELECT DISTINCT ON (a) a FROM t", "1:21: D013"),
        ("SELECT a FROM (SELECT a FROM t ORDER BY a LIMIT 3) x", "1:32: D013"),
        ("SELECT a FROM t WHERE a = now()", "1:27: D014"),
        ("SELECT CURRENT_TIMESTAMP AS x FROM t", "1:8: D014"),
        ("SELECT a FROM t WHERE b IN (SELECT uuid() FROM u)", "1:36: D014"),
        // What is not supported, and is never ignored.
        ("SELECT a FROM t JOIN r FOR SYSTEM_TIME AS OF t.time AS r USING (a)", "1:22: D016"),
        (
            "SELECT a FROM t MATCH_RECOGNIZE (ORDER BY x ALL ROWS PER MATCH PATTERN (a b+) DEFINE a AS a.x > 1) AS m",
            "1:45: D016",
        ),
        ("SELECT a FROM t NATURAL JOIN u", "1:30: D016"),
        ("SELECT a FROM t, LATERAL (SELECT 1) x", "D016"),
        ("SELECT a FROM generate_series(1, 5)", "1:15: D016"),
        ("SELECT a FROM read_csv('/etc/passwd')", "1:15: D016"),
        ("WITH RECURSIVE a AS (SELECT 1) SELECT 1 FROM a", "1:1: D016"),
        ("SELECT a FROM t TABLESAMPLE (5 ROWS)", "D0"),
    ];
    for (text, expected) in cases {
        let refused = refusal(text);
        assert!(refused.contains(expected), "{text}\nexpected {expected}\ngot      {refused}");
    }
}

#[test]
fn a_place_is_shifted_by_where_the_text_begins() {
    let at = |text: &str| {
        let start = Place { line: 14, column: 7 };
        told(&parse_select(text, start, Runs::OnStreams, &BTreeMap::new()).unwrap_err().diagnostics)
    };
    assert!(at("SELECT a,\nFROM t").starts_with("15:1: D001"), "{}", at("SELECT a,\nFROM t"));
    assert!(at("SELECT a, FROM t").starts_with("14:17: D001"));
    assert!(at("SELECT 'x").starts_with("14:14: D001"));
    assert!(at("").starts_with("14:7: D002"));
}

#[test]
fn hunts_may_order_and_limit() {
    parse("SELECT DISTINCT ON (a) a, now() FROM t ORDER BY a LIMIT 5 OFFSET 2", Runs::OnArchive).unwrap();
    let refused = told(&parse("DROP TABLE t", Runs::OnArchive).unwrap_err());
    assert!(refused.starts_with("1:1: D002"));
}

#[test]
fn all_refusals_are_told_at_once() {
    let refused = refusal("SELECT now(), $x FROM t ORDER BY a LIMIT 5");
    let codes: Vec<_> = refused.lines().map(|line| line.split(' ').nth(1).unwrap()).collect();
    assert_eq!(codes, ["D014", "D008", "D013", "D013"]);
}

#[test]
fn long_and_deep_texts_neither_overflow_nor_pass_unseen() {
    let chain = |n: usize, op: &str| format!("SELECT a FROM t WHERE {}", vec!["x"; n].join(op));
    accepted(&chain(3_900, " OR "));
    accepted(&chain(250, " || "));
    accepted(&format!("SELECT a FROM t WHERE x IN ({})", vec!["'v'"; 50_000].join(", ")));
    accepted(&format!("SELECT {}1{} AS x", "f(".repeat(20), ")".repeat(20)));
    accepted(&format!("SELECT {}1{} AS x", "(1 + ".repeat(20), ")".repeat(20)));
    accepted(&format!("{}SELECT 1{}", "SELECT a FROM (".repeat(8), ") x".repeat(8)));
    for text in [
        chain(5_000, " OR "),
        chain(5_000, " || "),
        format!("SELECT {}1{}", "(".repeat(10_000), ")".repeat(10_000)),
        format!("SELECT {} 1", "NOT ".repeat(10_000)),
        format!("SELECT {} 1", "- ".repeat(10_000)),
        format!("SELECT x{}", "::INT".repeat(10_000)),
        format!("SELECT x{}", " IS NULL".repeat(10_000)),
        format!("SELECT x{}", " BETWEEN 1 AND 2".repeat(5_000)),
        vec!["SELECT 1"; 5_000].join(" UNION ALL "),
        format!("{}SELECT 1{}", "SELECT 1 FROM (".repeat(10_000), ")".repeat(10_000)),
        format!("SELECT 1 FROM {}", "(".repeat(24)),
        format!("SELECT 1 FROM {}t{} WHERE", "(".repeat(24), ")".repeat(24)),
        format!("SELECT 1 FROM {}t", "(t JOIN ".repeat(24)),
        format!("SELECT {}1", "(SELECT ".repeat(24)),
        format!("SELECT {}1", "f(".repeat(24)),
        format!("SELECT {}1", "[".repeat(24)),
        format!("SELECT {}1", "{a: ".repeat(24)),
        format!("SELECT {}1", "CASE WHEN ".repeat(200)),
        format!("SELECT {}1", "x IN (SELECT ".repeat(24)),
        format!("SELECT {}1", "EXISTS (WITH a AS (".repeat(12)),
    ] {
        assert!(refusal(&text).contains("D001"));
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,80}") {
        drop(parse(&text, Runs::OnStreams));
        drop(parse_condition(&text, Place::START));
    }

    #[test]
    fn no_list_of_words_makes_the_parser_panic(words in proptest::collection::vec(word(), 0..24)) {
        let text = words.join(" ");
        drop(parse(&text, Runs::OnStreams));
        drop(parse(&format!("SELECT {text}"), Runs::OnArchive));
    }
}

/// Words of which texts are made that come further than noise.
fn word() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(vec![
        "SELECT",
        "FROM",
        "WHERE",
        "WITH",
        "AS",
        "(",
        ")",
        ",",
        "*",
        "a",
        "b.c",
        "'x'",
        "1",
        "$n",
        "TABLE",
        "TUMBLE",
        "DESCRIPTOR",
        "(",
        ")",
        "PARTITION",
        "BY",
        "ORDER",
        "LIMIT",
        "JOIN",
        "ON",
        "USING",
        "=",
        "AND",
        "OR",
        "CASE",
        "WHEN",
        "THEN",
        "END",
        "INTERVAL",
        "'5 minutes'",
        "IN",
        "EXISTS",
        "UNION",
        "ALL",
        "[",
        "]",
        "{",
        "}",
        ":",
        "::",
        "INT",
        "OVER",
        "GROUP",
        "HAVING",
        "QUALIFY",
        ";",
        "\"q\"",
        "FOR",
        "SYSTEM_TIME",
        "OF",
        "NOT",
        "LIKE",
        "VALUES",
        "count(*)",
    ])
}

#[test]
fn parameters_are_found_outside_of_comments_and_texts() {
    let text = "SELECT $a, '$b' -- $c\n FROM s /* $d */ WHERE x IN ($e) AND y > $a AND 'unclosed $f";
    assert_eq!(parameters(text).into_iter().collect::<Vec<_>>(), ["a", "e"]);
}
