//! What stands behind `FROM`.

use super::*;

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
fn a_relation_that_does_not_exist_is_told_once() {
    assert!(refusal("SELECT a, x.b, * FROM nothing x JOIN auth USING (a) WHERE c = 1").lines().count() == 1);
}
