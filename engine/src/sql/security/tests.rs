//! What the security functions say of honest and of hostile text, as constants and as columns.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, StringViewArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::util::display::array_value_to_string;
use datafusion::common::DFSchema;
use datafusion::logical_expr::{Expr, col};
use proptest::prelude::*;

use crate::sql::functions::FUNCTIONS;
use crate::sql::lower::physical;
use crate::sql::plan::condition;
use crate::sql::total::evaluate;

/// The value of a call as text, `NULL` for none. Constants and columns must agree.
fn call(name: &str, args: &[Option<&str>]) -> String {
    let fields: Vec<Field> = (0..args.len()).map(|at| Field::new(format!("c{at}"), DataType::Utf8View, true)).collect();
    let schema = Arc::new(Schema::new(fields));
    let columns: Vec<ArrayRef> =
        args.iter().map(|arg| Arc::new(StringViewArray::from(vec![*arg, None, *arg])) as ArrayRef).collect();
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns).expect("columns fit");
    let function = FUNCTIONS.scalar.get(name).expect("the function is registered");
    let of = |exprs: Vec<Expr>| {
        let dfschema = DFSchema::try_from(schema.as_ref().clone()).expect("a schema");
        let expr = physical(&function.call(exprs), &dfschema).expect("a plan");
        let mut failures = 0;
        let values = evaluate(expr.as_ref(), &batch, &mut failures).expect("a total function");
        assert_eq!(failures, 0, "{name} never fails");
        let shown = |row: usize| match values.is_null(row) {
            true => "NULL".to_owned(),
            false => array_value_to_string(&values, row).expect("printable"),
        };
        (shown(0), shown(1), shown(2))
    };
    let (value, null, again) = of((0..args.len()).map(|at| col(format!("c{at}"))).collect());
    assert_eq!(
        (null.as_str(), &again),
        ("NULL", &value),
        "{name}: NULL gives NULL, and rows do not depend on each other"
    );
    // A constant that cannot be read is refused when planned, so only the first argument is tried as one.
    let constant = Expr::Literal(datafusion::common::ScalarValue::Utf8View(args[0].map(str::to_owned)), None);
    let first_constant = std::iter::once(constant).chain((1..args.len()).map(|at| col(format!("c{at}")))).collect();
    assert_eq!(of(first_constant).0, value, "{name}: constants and columns agree");
    value
}

/// Checks calls of one function: the arguments, then what is expected.
fn check(name: &str, cases: &[(&[&str], &str)]) {
    for (args, expected) in cases {
        let args: Vec<Option<&str>> = args.iter().map(|arg| Some(*arg)).collect();
        assert_eq!(call(name, &args), *expected, "{name}{args:?}");
    }
}

#[test]
fn an_address_is_in_a_network_or_not_or_is_no_address() {
    check(
        "cidr_match",
        &[
            (&["10.1.2.3", "10.0.0.0/8"], "true"),
            (&["11.1.2.3", "10.0.0.0/8"], "false"),
            (&["10.1.2.3", "10.1.2.3"], "true"),
            (&["10.1.2.3", "10.9.9.9/8"], "true"),
            (&["255.255.255.255", "0.0.0.0/0"], "true"),
            (&["2001:db8::1", "2001:db8::/32"], "true"),
            (&["2001:db9::1", "2001:db8::/32"], "false"),
            (&["2001:db8::1", "::/0"], "true"),
            (&["10.1.2.3", "::/0"], "false"),
            (&["::ffff:10.1.2.3", "10.0.0.0/8"], "true"),
            (&["10.1.2.3", "::ffff:10.0.0.0/104"], "true"),
            (&["[fe80::1%eth0]", "fe80::/10"], "true"),
            (&[" 10.1.2.3 ", " 10.0.0.0/8 "], "true"),
            (&["010.1.2.3", "10.0.0.0/8"], "NULL"),
            (&["10.1.2", "10.0.0.0/8"], "NULL"),
            (&["", "10.0.0.0/8"], "NULL"),
            (&["10.1.2.3' OR 1=1", "10.0.0.0/8"], "NULL"),
            (&["10.1.2.3", "10.0.0.0/33"], "NULL"),
            (&["10.1.2.3", "10.0.0.0/-1"], "NULL"),
            (&["10.1.2.3", "10.0.0.0/+8"], "NULL"),
            (&["10.1.2.3", "10.0.0.0/"], "NULL"),
            (&["10.1.2.3", "10.0.0.0/99999999999"], "NULL"),
            (&["10.1.2.3", ""], "NULL"),
        ],
    );
}

#[test]
fn private_addresses_are_those_that_mean_nothing_outside() {
    let private = [
        "10.0.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "127.0.0.1",
        "169.254.1.1",
        "100.64.0.1",
        "::1",
        "fd00::1",
        "fe80::1",
        "::ffff:192.168.1.1",
        "0.0.0.0",
        "::",
    ];
    let public = ["172.32.0.1", "100.128.0.1", "8.8.8.8", "2606:4700::1111", "224.0.0.1"];
    private.iter().for_each(|ip| check("ip_in_private", &[(&[ip], "true")]));
    public.iter().for_each(|ip| check("ip_in_private", &[(&[ip], "false")]));
    ["", "localhost", "10.0.0.1:80"].iter().for_each(|ip| check("ip_in_private", &[(&[ip], "NULL")]));
}

#[test]
fn a_domain_ends_with_whole_labels() {
    check(
        "domain_suffix",
        &[
            (&["www.example.com", "example.com"], "true"),
            (&["example.com", "example.com"], "true"),
            (&["WWW.Example.COM.", "example.com"], "true"),
            (&["www.example.com", ".Example.com."], "true"),
            (&["www.example.com", "*.example.com"], "true"),
            (&["notexample.com", "example.com"], "false"),
            (&["example.com.evil.net", "example.com"], "false"),
            (&["com", "example.com"], "false"),
            (&["www.BÜCHER.de", "bücher.de"], "true"),
            (&["", "example.com"], "NULL"),
            (&["a..example.com", "example.com"], "NULL"),
            (&["a b.example.com", "example.com"], "NULL"),
            (&["www.example.com", ""], "NULL"),
            (&["www.example.com", "."], "NULL"),
        ],
    );
}

#[test]
fn the_registered_domain_follows_the_public_suffix_list() {
    check(
        "registered_domain",
        &[
            (&["a.b.Evil.co.uk"], "evil.co.uk"),
            (&["www.example.com."], "example.com"),
            (&["someone.github.io"], "someone.github.io"),
            (&["host.corp"], "host.corp"),
            (&["co.uk"], "NULL"),
            (&["localhost"], "NULL"),
            (&["10.1.2.3"], "NULL"),
            (&["::1"], "NULL"),
            (&["https://example.com/"], "NULL"),
            (&["..."], "NULL"),
            (&[""], "NULL"),
        ],
    );
}

#[test]
fn entropy_is_bits_per_character() {
    check("entropy", &[(&[""], "0.0"), (&["aaaa"], "0.0"), (&["ab"], "1.0"), (&["abcd"], "2.0"), (&["äöüß"], "2.0")]);
}

#[test]
fn base64_is_read_as_attackers_write_it() {
    check(
        "decode_base64",
        &[
            (&["aGVsbG8="], "hello"),
            (&["aGVsbG8"], "hello"),
            (&["aGVs\r\nbG8="], "hello"),
            (&["Pz8_Pj4-"], "???>>>"),
            (&["Pz8/Pj4+"], "???>>>"),
            (&["SQBFAFgA"], "IEX"),
            (&["//5JAEUAWAA="], "IEX"),
            (&["SQBFAFgA2Nhh"], "\u{49}\u{45}\u{58}\u{fffd}"),
            (&[""], ""),
            (&["A"], "NULL"),
            (&["not base64!"], "NULL"),
            (&["gICA"], "NULL"),
        ],
    );
}

#[test]
fn urls_come_apart_as_a_browser_sees_them() {
    let url = "HTTPS://User:pw@Exämple.COM:8443/a%20b/../c?q=1&r=2#top";
    check(
        "parse_url",
        &[
            (&[url, "scheme"], "https"),
            (&[url, "HOST"], "xn--exmple-cua.com"),
            (&[url, "port"], "8443"),
            (&[url, "path"], "/c"),
            (&[url, "query"], "q=1&r=2"),
            (&[url, "fragment"], "top"),
            (&["http://[2001:db8::1]/", "host"], "2001:db8::1"),
            (&["http://0x7f.1/", "host"], "127.0.0.1"),
            (&["http://a/", "port"], "80"),
            (&["http://a/", "query"], "NULL"),
            (&["javascript:alert(1)", "host"], "NULL"),
            (&["javascript:alert(1)", "scheme"], "javascript"),
            (&["example.com/x", "host"], "NULL"),
            (&["http://", "host"], "NULL"),
            (&["", "host"], "NULL"),
            (&[url, "user"], "NULL"),
        ],
    );
}

#[test]
fn pairs_give_the_value_of_a_key() {
    let line = r#"act=deny  src=10.0.0.1 msg="a b=c \"d\"" empty= last=x=y"#;
    check(
        "parse_kv",
        &[
            (&[line, "act"], "deny"),
            (&[line, "src"], "10.0.0.1"),
            (&[line, "msg"], r#"a b=c "d""#),
            (&[line, "b"], "NULL"),
            (&[line, "empty"], ""),
            (&[line, "last"], "x=y"),
            (&[line, "SRC"], "NULL"),
            (&["a: 1; b: 2;; c:3", "b", ";", ": "], "2"),
            (&["a: 1; b: 2;; c:3", "a", ";", ":"], " 1"),
            (&["a|b=1|c=2", "c", "|"], "2"),
            (&["k=\"never closed x=1", "x"], "1"),
            (&["k=v", "k", "", "="], "NULL"),
            (&["k=v", "k", ",", ""], "NULL"),
            (&["=v", ""], "v"),
            (&["", "k"], "NULL"),
        ],
    );
}

#[test]
fn json_gives_the_value_at_a_path() {
    let json = r#"{"a":{"b":[{"c":"x\ny"},2.50,true,null,1e999]},"d.e":"dotted","n":1,"n":2,"o":{"k":[1, 2]}}"#;
    check(
        "json_get",
        &[
            (&[json, "a.b[0].c"], "x\ny"),
            (&[json, "$.a.b[1]"], "2.50"),
            (&[json, "a.b[2]"], "true"),
            (&[json, "a.b[3]"], "NULL"),
            (&[json, "a.b[4]"], "1e999"),
            (&[json, "a.b[5]"], "NULL"),
            (&[json, r#"["d.e"]"#], "dotted"),
            (&[json, "n"], "2"),
            (&[json, "o"], r#"{"k":[1, 2]}"#),
            (&[json, "n.x"], "NULL"),
            (&[json, "a[0]"], "NULL"),
            (&["[[1,2],[3]]", "[0][1]"], "2"),
            (&["\"s\"", "$"], "s"),
            (&["{\"a\":1", "a"], "NULL"),
            (&["", "a"], "NULL"),
            (&[json, ""], "NULL"),
            (&[json, "a..b"], "NULL"),
            (&[json, "a[x]"], "NULL"),
            (&[json, "a[-1]"], "NULL"),
        ],
    );
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    check("json_get", &[(&[&deep, "[0]"], &deep[1..deep.len() - 1])]);
}

#[test]
fn a_constant_pattern_that_cannot_be_read_is_the_authors_mistake() {
    let schema =
        Arc::new(Schema::new(vec![Field::new("ip", DataType::Utf8View, true), Field::new("n", DataType::Int64, true)]));
    let said = |text: &str| condition(text, &schema).map(|_| ()).map_err(|mistakes| mistakes[0].to_string());
    assert_eq!(said("cidr_match(ip, '10.0.0.0/8')"), Ok(()));
    assert_eq!(said("levenshtein(ip, '10.0.0.1') < 3"), Ok(()));
    let refused = [
        "cidr_match(ip, '10.0.0.0/99')",
        "parse_url(ip, 'hots') = 'a'",
        "json_get(ip, 'a..b') = 'a'",
        "cidr_match(n, '10.0.0.0/8')",
        "cidr_match(ip)",
        "domain_suffix(ip, '')",
    ];
    for text in refused {
        assert!(said(text).is_err_and(|message| message.contains("; write ")), "{text}: {:?}", said(text));
    }
}

proptest! {
    #[test]
    fn nothing_that_text_can_be_fails(text in ".{0,60}", other in ".{0,12}", third in ".{0,3}") {
        for name in ["ip_in_private", "registered_domain", "entropy", "decode_base64"] {
            call(name, &[Some(&text)]);
        }
        for name in ["cidr_match", "domain_suffix", "parse_url", "parse_kv", "json_get"] {
            call(name, &[Some(&text), Some(&other)]);
        }
        call("parse_kv", &[Some(&text), Some(&other), Some(&third)]);
    }

    #[test]
    fn what_was_encoded_is_decoded(text in "[a-zA-Z0-9 ]{1,40}") {
        use base64::Engine as _;
        let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let encoded = base64::engine::general_purpose::STANDARD.encode(wide);
        prop_assert_eq!(call("decode_base64", &[Some(&encoded)]), text.clone());
        let encoded = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text.as_bytes());
        prop_assert_eq!(call("decode_base64", &[Some(&encoded)]), text);
    }
}
