//! Columns, fields, aliases, functions, types.

use super::*;

#[test]
fn unquoted_names_resolve_without_case_and_come_out_as_declared() {
    assert_eq!(
        exact("select COMMANDLINE, eventid from SysMon where COMPUTER = 'a'"),
        r#"SELECT "sysmon"."CommandLine", "sysmon"."EventID" FROM "sysmon" WHERE "sysmon"."Computer" = 'a'"#
    );
    assert_eq!(output("SELECT s.utctime, S.IMAGE FROM sysmon s"), "UtcTime, Image");
}

#[test]
fn quoted_names_resolve_exactly() {
    assert_eq!(
        output(r#"SELECT "CommandLine", "event.code", "Hash", "hash" FROM "sysmon""#),
        "CommandLine, event.code, Hash, hash"
    );
    let refused = refusal(r#"SELECT "commandline" FROM sysmon"#);
    assert_eq!(refused, "1:8: D004 there is no column `commandline`; did you mean `CommandLine`?");
    assert!(refusal(r#"SELECT Image FROM "Sysmon""#).starts_with("1:19: D003"));
    assert!(exact("SELECT `event.code` FROM sysmon").starts_with(r#"SELECT "sysmon"."event.code""#));
}

#[test]
fn a_name_that_differs_in_case_only_is_ambiguous_until_quoted() {
    assert_eq!(
        refusal("SELECT hash FROM sysmon"),
        "1:8: D005 `hash` could mean several columns; write one of sysmon.\"Hash\", sysmon.\"hash\""
    );
}

#[test]
fn struct_paths_resolve_field_by_field() {
    assert_eq!(
        exact("SELECT USER.NAME, s.user.uid, actor.user.name AS n, s.Actor.User.Type FROM sysmon s"),
        r#"SELECT "s"."user"['name'] AS "name", "s"."user"['Uid'] AS "Uid", "s"."actor"['user']['Name'] AS "n", "s"."actor"['user']['type'] AS "type" FROM "sysmon" AS "s""#
            .replace("\"sysmon\" AS \"s\"", "\"sysmon\" \"s\"")
    );
    assert_eq!(output("SELECT user['name'] FROM sysmon"), "name");
    assert_eq!(output("SELECT items[1].name, tags[1] AS tag FROM sysmon"), "Name, tag");
    assert_eq!(
        refusal("SELECT actor.user.nmae FROM sysmon"),
        "1:19: D004 there is no field `nmae`; did you mean `Name`?"
    );
    assert_eq!(refusal("SELECT image.x FROM sysmon"), "1:14: D004 STRING has no field `x`");
    assert!(refusal("SELECT tags.x FROM sysmon").starts_with("1:13: D004 a list has no field `x`"));
}

#[test]
fn unknown_names_are_told_with_the_nearest_and_their_place() {
    let cases = [
        ("SELECT comandline FROM sysmon", "1:8: D004 there is no column `comandline`; did you mean `CommandLine`?"),
        ("SELECT s.imge FROM sysmon s", "1:10: D004 `s` has no column `imge`; did you mean `Image`?"),
        ("SELECT x.image FROM sysmon s", "1:8: D004 there is no relation or column `x`; did you mean `s`?"),
        ("SELECT image\nFROM sysmn", "2:6: D003 there is no stream, view or table `sysmn`; did you mean `sysmon`?"),
        ("SELECT lowr(image) FROM sysmon", "1:8: D007 there is no function `lowr`; did you mean `lower`?"),
        (
            "SELECT time FROM auth, sysmon s WHERE user.name = 'x'",
            "1:39: D005 `user` could mean several columns; write one of auth.user, s.user",
        ),
    ];
    for (sql, expected) in cases {
        assert_eq!(refusal(sql), expected, "{sql}");
    }
}

#[test]
fn all_mistakes_are_told_at_once_in_order() {
    assert_eq!(
        refusal("SELECT a1, lowr(b1) FROM auth WHERE c1 = 1").lines().map(|line| &line[..10]).collect::<Vec<_>>(),
        ["1:8: D004 ", "1:12: D007", "1:17: D004", "1:37: D004"]
    );
}

#[test]
fn correlated_subqueries_reach_fields_of_the_outer_row() {
    let sql = "SELECT s.Computer FROM sysmon s WHERE NOT EXISTS (
        SELECT * FROM auth a WHERE a.user.name = s.user.NAME AND a.time BETWEEN s.utctime AND s.utctime + INTERVAL '2 minutes')";
    assert_eq!(output(sql), "Computer");
    assert_eq!(
        output("SELECT image FROM sysmon WHERE EventID IN (SELECT score FROM intel WHERE ip = Computer)"),
        "Image"
    );
    assert_eq!(
        output("SELECT (SELECT max(score) FROM intel i WHERE i.ip = s.Computer) AS score FROM sysmon s"),
        "score"
    );
}

#[test]
fn fields_of_derived_structs_are_known() {
    assert_eq!(
        output(
            "WITH v AS (SELECT named_struct('Name', user_name) AS Actor, {ip: src_ip} AS src FROM auth)
                SELECT actor.name, src.IP FROM v"
        ),
        "Name, ip"
    );
    assert!(
        refusal("SELECT x.nme FROM (SELECT named_struct('name', user_name) AS x FROM auth)")
            .contains("did you mean `name`?")
    );
    // Nothing is known about the result of this function: the field is taken as typed.
    assert_eq!(
        Context::new().resolve("SELECT x.Foo FROM (SELECT abs(score) AS x FROM intel)").unwrap().output[0].name,
        "Foo"
    );
}

#[test]
fn fields_can_be_grouped_and_ranked_by() {
    assert_eq!(
        output("SELECT USER.name, count(*) AS n FROM auth GROUP BY user.NAME HAVING n > 1 AND max(user.name) > 'a'"),
        "name, n"
    );
    assert_eq!(output("SELECT user.name AS who, count(*) AS n FROM auth GROUP BY WHO"), "who, n");
    assert_eq!(output("SELECT a.user.name FROM auth a GROUP BY 1"), "name");
    assert_eq!(
        output(
            "SELECT image FROM sysmon QUALIFY row_number() OVER (PARTITION BY actor.user.name ORDER BY user.uid) = 1"
        ),
        "Image"
    );
    assert_eq!(
        output("SELECT lag(tags[1]) OVER W AS x, Tags[1] FROM sysmon WINDOW w AS (ORDER BY utctime)"),
        "x, Tags[1]"
    );
}

#[test]
fn select_aliases_are_known_where_sql_allows_them() {
    assert_eq!(
        output("SELECT user_name AS U, count(*) AS N FROM auth GROUP BY u HAVING n > $n ORDER BY N DESC"),
        "U, N"
    );
    assert_eq!(
        output("SELECT user_name, count(*) OVER (PARTITION BY USER_NAME ORDER BY time RANGE INTERVAL '5 minutes' PRECEDING) AS failures
                FROM auth QUALIFY FAILURES >= 3"),
        "user_name, failures"
    );
    let refused = refusal("SELECT lower(user_name) AS who FROM auth WHERE who = 'x'");
    assert!(refused.starts_with("1:48: D004 there is no column `who`; it is an alias of this SELECT"), "{refused}");
}

#[test]
fn columns_win_over_aliases_except_in_order_by() {
    assert!(exact("SELECT lower(status) AS status FROM auth GROUP BY status").ends_with(r#"GROUP BY "auth"."status""#));
    assert!(exact("SELECT lower(status) AS status FROM auth ORDER BY status").ends_with(r#"ORDER BY "status""#));
}

#[test]
fn output_columns_need_different_names() {
    assert!(refusal("SELECT user_name, lower(src_ip) AS user_name FROM auth").starts_with("1:19: D019"));
    assert_eq!(output("SELECT count(*), max(score) FROM intel"), "count(*), max(score)");
}

#[test]
fn a_thousand_alternatives_are_planned() {
    let alternatives: Vec<_> = (0..3_000).map(|n| format!("image LIKE '%{n}'")).collect();
    let sql = format!("SELECT image FROM sysmon WHERE {}", alternatives.join(" OR "));
    assert_eq!(output(&sql), "Image");
}

#[test]
fn conditions_of_exceptions_see_the_output() {
    let columns = Fields::from(vec![Field::new("User", DataType::Utf8View, true)]);
    let names = Context::new().names();
    let condition = crate::sql::parse::parse_condition("lower(user) = 'x'", Place::START).unwrap();
    let resolved = resolve_condition(condition, "hit", &columns, &names).unwrap();
    assert_eq!(resolved.to_string(), r#"lower("hit"."User") = 'x'"#);
    let condition = crate::sql::parse::parse_condition("usr = 'x'", Place { line: 7, column: 3 }).unwrap();
    let refused = told(&resolve_condition(condition, "hit", &columns, &names).unwrap_err());
    assert_eq!(refused, "7:3: D004 there is no column `usr`; did you mean `User`?");
}

#[test]
fn types_in_casts_are_those_of_columns() {
    let typed = |data_type: &str| {
        let plan = plan(&format!("SELECT CAST(status AS {data_type}) AS x FROM auth"));
        plan.schema().field(0).data_type().clone()
    };
    assert_eq!(typed("STRING"), DataType::Utf8View);
    assert_eq!(typed("VARCHAR(10)"), DataType::Utf8View);
    assert_eq!(typed("TIMESTAMP"), crate::catalog::TIME_TYPE);
    assert_eq!(typed("TIMESTAMP WITH TIME ZONE"), crate::catalog::TIME_TYPE);
    assert_eq!(typed("UBIGINT"), DataType::UInt64);
    assert_eq!(typed("BIGINT UNSIGNED"), DataType::UInt64);
    assert_eq!(typed("DECIMAL(10, 2)"), DataType::Decimal128(10, 2));
    assert_eq!(
        output(
            "SELECT status::int AS x, TIMESTAMP '2020-01-01T00:00:00Z' AS y, TRY_CAST(status AS INT[]) AS z FROM auth"
        ),
        "x, y, z"
    );
    assert_eq!(refusal("SELECT status::INET AS x FROM auth"), "1:8: D006 there is no type `INET`; write STRING");
}

#[test]
fn usual_mistakes_get_a_useful_hint() {
    let cases = [
        (r#"SELECT time FROM auth WHERE status = "Failure""#, "a text is written in single quotes: 'Failure'"),
        ("SELECT time FROM auth GROUP BY TUMBLE(time, INTERVAL '5' MINUTE)", "a window stands behind FROM"),
        (
            "SELECT time FROM auth WHERE status = failed",
            "the columns of `auth` are time, user_name, src_ip, status, user",
        ),
    ];
    for (sql, expected) in cases {
        assert!(refusal(sql).contains(expected), "{sql}: {}", refusal(sql));
    }
    assert_eq!(output("SELECT time FROM auth WHERE status RLIKE 'x' AND status NOT REGEXP 'y'"), "time");
}

proptest::proptest! {
    #[test]
    fn no_query_makes_the_resolver_panic(words in proptest::collection::vec(word(), 0..16)) {
        let context = Context::new();
        let words = words.join(" ");
        drop(context.resolve(&format!("SELECT {words}")));
        drop(context.resolve(&format!("SELECT {words} FROM auth a JOIN raw r ON a.time = r.ts")));
        drop(context.resolve(&format!("WITH w AS (SELECT time, user FROM auth) SELECT time FROM w JOIN sysmon s {words}")));
    }
}

fn word() -> impl proptest::strategy::Strategy<Value = &'static str> {
    proptest::sample::select(vec![
        "a",
        "a.time",
        "user",
        "user.name",
        "status",
        "r.x",
        "x.y.z",
        "*",
        "a.*",
        ",",
        ",",
        "(",
        ")",
        "FROM",
        "auth",
        "w",
        "raw r",
        "TUMBLE(auth,",
        "INTERVAL '5 m')",
        "USING (time)",
        "ON",
        "=",
        "AND",
        "1",
        "'x'",
        "AS",
        "b",
        "count(*)",
        "max(",
        "OVER ()",
        "GROUP BY",
        "HAVING",
        "QUALIFY",
        "ORDER BY",
        "EXISTS (",
        "SELECT",
        "WHERE",
        "UNION",
        "JOIN",
        "LEFT SEMI",
        "FULL",
        "[1]",
        "['k']",
        ".f",
        "::INT",
        "CASE WHEN",
        "THEN",
        "END",
        "named_struct('k',",
        "{k: 1}",
        "IN (",
        "VALUES (1, 2)",
        "EXCEPT (user)",
    ])
}
