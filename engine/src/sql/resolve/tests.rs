//! Names are found as authors mean them, and DataFusion plans what comes out as it stands.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::config::ConfigOptions;
use datafusion::common::{ScalarValue, TableReference};
use datafusion::execution::SessionStateDefaults;
use datafusion::logical_expr::logical_plan::builder::LogicalTableSource;
use datafusion::logical_expr::planner::ExprPlanner;
use datafusion::logical_expr::registry::{FunctionRegistry, MemoryFunctionRegistry};
use datafusion::logical_expr::{AggregateUDF, LogicalPlan, ScalarUDF, TableSource, WindowUDF};
use datafusion::sql::planner::{ContextProvider, ParserOptions, SqlToRel};

use super::*;
use crate::catalog::Catalog;
use crate::error::Place;
use crate::sql::parse::{Runs, parse_select};
use crate::sql::parse_catalog;

const STREAMS: &str = r#"
CREATE STREAM sysmon (
  UtcTime TIMESTAMP, Computer STRING, EventID INT, Image STRING, CommandLine STRING,
  user STRUCT<name STRING, Uid BIGINT>, actor STRUCT<user STRUCT<Name STRING, type STRING>>, tags STRING[],
  items ARRAY<STRUCT<Name STRING>>, "event.code" STRING, Hash STRING, hash STRING
) WITH (topic = 'a', event_time = 'UtcTime');
CREATE STREAM auth (time TIMESTAMP, user_name STRING, src_ip STRING, status STRING, user STRUCT<name STRING>)
  WITH (event_time = 'time');
CREATE STREAM raw (ts TIMESTAMP, host STRING) WITH (event_time = 'ts', columns = 'open');
CREATE STREAM other (ts TIMESTAMP) WITH (event_time = 'ts', columns = 'open');
CREATE STREAM nested (meta STRUCT<time TIMESTAMP>, x INT) WITH (event_time = 'meta.time');
CREATE TABLE intel (domain STRING, ip STRING, score INT) WITH (location = 'intel.csv');
"#;

struct Known(Catalog);

impl Relations for Known {
    fn columns(&self, name: &str) -> Option<RelationColumns> {
        match self.0.get(name)? {
            crate::Relation::Stream(stream) => Some(RelationColumns::of_stream(&stream)),
            crate::Relation::Table(table) => Some(RelationColumns::of_table(&table)),
            crate::Relation::View(_) => None,
        }
    }

    fn names(&self) -> Vec<String> {
        self.0.names().map(str::to_owned).collect()
    }
}

/// The least that DataFusion's planner needs.
struct Context {
    catalog: Catalog,
    open: BTreeMap<String, BTreeSet<String>>,
    options: ConfigOptions,
    functions: MemoryFunctionRegistry,
    planners: Vec<Arc<dyn ExprPlanner>>,
}

impl Context {
    fn new() -> Self {
        let text = STREAMS.to_owned();
        let (catalog, diagnostics) = parse_catalog(&[("streams.sql".to_owned(), text)]);
        assert!(diagnostics.is_empty(), "{diagnostics:?}");
        let mut functions = MemoryFunctionRegistry::new();
        for function in SessionStateDefaults::default_scalar_functions() {
            functions.register_udf(function).unwrap();
        }
        for function in SessionStateDefaults::default_aggregate_functions() {
            functions.register_udaf(function).unwrap();
        }
        for function in SessionStateDefaults::default_window_functions() {
            functions.register_udwf(function).unwrap();
        }
        let planners = SessionStateDefaults::default_expr_planners();
        Self { catalog, open: BTreeMap::new(), options: ConfigOptions::default(), functions, planners }
    }

    fn names(&self) -> BTreeSet<String> {
        self.functions.udfs().into_iter().chain(self.functions.udafs()).chain(self.functions.udwfs()).collect()
    }

    fn resolve(&self, sql: &str) -> Result<Resolved, Vec<Diagnostic>> {
        let params = BTreeMap::from([("n".to_owned(), ScalarValue::from(5_i64))]);
        let query = parse_select(sql, Place::START, Runs::OnArchive, &params)?;
        resolve(query, &Known(self.catalog.clone()), &self.names())
    }
}

impl ContextProvider for Context {
    fn get_table_source(&self, name: TableReference) -> datafusion::error::Result<Arc<dyn TableSource>> {
        let relation =
            Known(self.catalog.clone()).columns(name.table()).filter(|relation| relation.name == name.table());
        let Some(relation) = relation else {
            return datafusion::common::plan_err!("no {name}");
        };
        let open = self.open.get(&relation.name).cloned().unwrap_or_default();
        let open = open.into_iter().map(|name| Arc::new(Field::new(name, DataType::Utf8View, true)));
        let fields: Vec<_> = relation.columns.iter().chain(relation.hidden.iter()).cloned().chain(open).collect();
        Ok(Arc::new(LogicalTableSource::new(Arc::new(Schema::new(fields)))))
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.planners
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.functions.udf(name).ok()
    }

    fn get_higher_order_meta(&self, _name: &str) -> Option<Arc<datafusion::logical_expr::HigherOrderUDF>> {
        None
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.functions.udaf(name).ok()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.functions.udwf(name).ok()
    }

    fn get_variable_type(&self, _names: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        &self.options
    }

    fn udf_names(&self) -> Vec<String> {
        self.functions.udfs().into_iter().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.functions.udafs().into_iter().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        self.functions.udwfs().into_iter().collect()
    }
}

/// Resolves and plans; the output columns of the resolver and of the plan must agree.
fn plan(sql: &str) -> LogicalPlan {
    let mut context = Context::new();
    let resolved = context.resolve(sql).unwrap_or_else(|diagnostics| panic!("{sql}: {}", told(&diagnostics)));
    context.open = resolved.open_columns;
    let options = ParserOptions::new().with_enable_ident_normalization(false);
    let text = resolved.query.to_string();
    let statement = datafusion::sql::sqlparser::ast::Statement::Query(resolved.query);
    let plan = SqlToRel::new_with_options(&context, options)
        .sql_statement_to_plan(statement)
        .unwrap_or_else(|error| panic!("{sql}\n{text}\n{error}"));
    let expected: Vec<_> = resolved.output.iter().map(|column| column.name.as_str()).collect();
    let planned: Vec<_> = plan.schema().fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(expected, planned, "{sql}\n{text}");
    plan
}

fn output(sql: &str) -> String {
    plan(sql).schema().fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>().join(", ")
}

/// What the names of a text become, on one line.
fn exact(sql: &str) -> String {
    plan(sql);
    let resolved = Context::new().resolve(sql).unwrap();
    resolved.query.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

fn told(diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn refusal(sql: &str) -> String {
    match Context::new().resolve(sql) {
        Ok(resolved) => panic!("{sql} was accepted: {}", resolved.query),
        Err(diagnostics) => told(&diagnostics),
    }
}

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
fn with_queries_hide_relations_and_each_other() {
    assert_eq!(output("WITH auth AS (SELECT user_name AS who FROM auth) SELECT WHO FROM Auth"), "who");
    assert_eq!(
        output("WITH a AS (SELECT 1 AS x), b AS (WITH a AS (SELECT 2 AS y) SELECT y FROM a) SELECT x, y FROM a, b"),
        "x, y"
    );
    assert_eq!(
        output("WITH g (n, c) AS (SELECT user_name, count(*) FROM auth GROUP BY user_name) SELECT C, N FROM g"),
        "c, n"
    );
    assert!(refusal("WITH a AS (SELECT 1 AS x), A AS (SELECT 2 AS y) SELECT 1 FROM a").contains("D018"));
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
fn using_is_an_on_and_its_column_is_one() {
    assert_eq!(
        exact("SELECT ip, score FROM (SELECT src_ip AS IP FROM auth) a JOIN intel USING (ip)"),
        r#"SELECT "a"."IP", "intel"."score" FROM (SELECT "auth"."src_ip" AS "IP" FROM "auth") "a" JOIN "intel" ON "a"."IP" = "intel"."ip""#
    );
    assert_eq!(output("SELECT * FROM intel a JOIN intel b USING (domain, ip, score)"), "domain, ip, score");
    assert_eq!(output("SELECT ip FROM intel a FULL JOIN intel b USING (ip)"), "ip");
    assert_eq!(
        output("SELECT a.score FROM intel a JOIN intel b USING (ip) JOIN intel c USING (ip) WHERE ip = 'x'"),
        "score"
    );
    assert!(refusal("SELECT 1 FROM intel a JOIN auth b USING (ip)").starts_with("1:42: D004"));
}

#[test]
fn semi_and_anti_joins_show_one_side() {
    assert_eq!(output("SELECT src_ip FROM auth a LEFT SEMI JOIN intel i ON i.ip = a.src_ip"), "src_ip");
    assert!(refusal("SELECT score FROM auth a LEFT ANTI JOIN intel i ON i.ip = a.src_ip").starts_with("1:8: D004"));
}

#[test]
fn a_star_is_written_out_without_hidden_columns() {
    assert_eq!(output("SELECT * FROM intel"), "domain, ip, score");
    assert_eq!(
        output("SELECT a.* EXCEPT (STATUS, user), score FROM auth a JOIN intel ON ip = src_ip"),
        "time, user_name, src_ip, score"
    );
    assert_eq!(output("SELECT _topic, _OFFSET FROM auth"), "_topic, _offset");
    assert!(
        refusal("SELECT * FROM auth a JOIN sysmon s ON a.time = s.UtcTime")
            .contains("1:8: D019 two columns of this SELECT are called `user`")
    );
    assert!(refusal("SELECT x.* FROM auth a").starts_with("1:8: D003"));
    assert!(refusal("SELECT * EXCEPT (sttus) FROM auth").contains("did you mean `status`?"));
}

#[test]
fn open_streams_take_any_name_and_report_it() {
    let resolved = Context::new()
        .resolve(r#"SELECT HOST, Image, r."EventData.Foo", EventData.Bar, r.a.b FROM raw r WHERE Level = '4'"#)
        .unwrap();
    let names: Vec<_> = resolved.open_columns["raw"].iter().map(String::as_str).collect();
    assert_eq!(names, ["EventData.Bar", "EventData.Foo", "Image", "Level", "a.b"]);
    let names: Vec<_> = resolved.output.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["host", "Image", "EventData.Foo", "EventData.Bar", "a.b"]);
    assert_eq!(output("SELECT Image, count(*) AS n FROM raw GROUP BY Image HAVING n > 1"), "Image, n");
    assert_eq!(output("SELECT r.Image FROM raw r JOIN intel i ON i.ip = r.DestinationIp WHERE score > 1"), "Image");
}

#[test]
fn open_streams_refuse_what_has_no_single_meaning() {
    assert_eq!(refusal("SELECT * FROM raw"), "1:8: D016 `*` has no end on the open stream `raw`; name the columns");
    assert!(
        refusal("SELECT Image FROM raw, other")
            .contains("D005 `Image` could mean several columns; write one of raw.Image, other.Image")
    );
    assert!(refusal("SELECT 1 FROM auth WHERE EXISTS (SELECT 1 FROM raw r WHERE r.x = status)").contains("1:66: D005"));
    assert_eq!(
        output("SELECT user_name FROM auth WHERE EXISTS (SELECT * FROM raw r WHERE r.x = auth.status)"),
        "user_name"
    );
}

#[test]
fn windows_take_a_relation_and_its_time() {
    let exact = |sql: &str| {
        let resolved = Context::new().resolve(sql).unwrap_or_else(|diagnostics| panic!("{}", told(&diagnostics)));
        resolved.query.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let long = "SELECT USER_NAME, window_start, count(*) AS n FROM TABLE(TUMBLE(TABLE auth, DESCRIPTOR(time), INTERVAL '5' MINUTE)) GROUP BY user_name, window_start";
    assert_eq!(
        exact(long),
        r#"SELECT "auth"."user_name", "auth"."window_start", count(*) AS "n" FROM TUMBLE("auth", "auth"."time", INTERVAL '5' MINUTE) AS "auth" GROUP BY "auth"."user_name", "auth"."window_start""#
    );
    assert!(
        exact("SELECT window_end FROM hop(sysmon, INTERVAL '1 minute', INTERVAL '5 minutes') h")
            .contains(r#"FROM HOP("sysmon", "sysmon"."UtcTime", INTERVAL '1 minute', INTERVAL '5 minutes') "h""#)
    );
    assert!(
        exact("SELECT x FROM TUMBLE(nested, INTERVAL '1 minute')")
            .contains(r#"TUMBLE("nested", "nested"."meta"['time'], "#)
    );
    assert!(
        exact("WITH f AS (SELECT time, src_ip FROM auth) SELECT src_ip FROM SESSION(f, time, '10 minutes', src_ip)")
            .contains(r#"SESSION("f", "f"."time", INTERVAL '10 minutes', "f"."src_ip") AS "f""#)
    );
    assert!(exact("SELECT 1 AS one FROM TABLE(SESSION(TABLE auth PARTITION BY user_name, DESCRIPTOR(time), INTERVAL '5' MINUTES))")
        .contains(r#"SESSION("auth", "auth"."time", INTERVAL '5' MINUTES, "auth"."user_name")"#));
}

#[test]
fn wrong_windows_are_told() {
    let cases = [
        ("SELECT 1 FROM TUMBLE(auth, user_name, INTERVAL '5 minutes')", "1:28: D011"),
        ("SELECT 1 FROM TUMBLE(intel, INTERVAL '5 minutes')", "1:15: D011"),
        ("SELECT 1 FROM TUMBLE(auth, tme, INTERVAL '5 minutes')", "1:28: D004"),
        ("SELECT 1 FROM TUMBLE(auth, time)", "D001 TUMBLE is called with 2 arguments"),
        ("SELECT 1 FROM TUMBLE(auth, time, 5)", "1:34: D006"),
        ("SELECT 1 FROM HOP(auth, time, INTERVAL '5 minutes')", "D001 HOP is called with 3 arguments"),
        ("SELECT 1 FROM TUMBLE(auht, time, INTERVAL '5 minutes')", "1:22: D003"),
    ];
    for (sql, expected) in cases {
        let refused = refusal(sql);
        assert!(refused.contains(expected), "{sql}: {refused}");
    }
}

#[test]
fn output_columns_need_different_names() {
    assert!(refusal("SELECT user_name, lower(src_ip) AS user_name FROM auth").starts_with("1:19: D019"));
    assert_eq!(output("SELECT count(*), max(score) FROM intel"), "count(*), max(score)");
}

#[test]
fn two_relations_need_different_names() {
    assert!(refusal("SELECT 1 FROM auth, AUTH").contains("D018 two relations are called `auth` here"));
    assert_eq!(output("SELECT a.time FROM auth a, auth b"), "time");
}

#[test]
fn unions_take_the_names_of_the_first() {
    assert_eq!(output("SELECT user_name AS who FROM auth UNION ALL SELECT ip FROM intel ORDER BY WHO"), "who");
    assert_eq!(output("SELECT w.WHO FROM (SELECT user_name AS who FROM auth UNION ALL SELECT ip FROM intel) w"), "who");
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

#[test]
fn a_relation_that_does_not_exist_is_told_once() {
    assert!(refusal("SELECT a, x.b, * FROM nothing x JOIN auth USING (a) WHERE c = 1").lines().count() == 1);
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
