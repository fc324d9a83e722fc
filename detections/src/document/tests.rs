use proptest::prelude::*;

use crate::{exceptions, header, rule_test};

/// Pieces of which files of this room are made, so that random texts get further than the first character.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "--! (id|title|severity|entities|params|attack|cooldown) = ",
        r#"("a.b"|"""|'''|\{ user = "x" \}|\["T1110"\]|1|2026-01-01|\}|\[|"1 hour"|"low")"#,
        "(\n|\r\n| |\t|--!|--|;)",
        "(- |  |cases:|name:|given:|expect:|repeat:|every:|event:|where:|expires:|&a|\\*a|\\{|\\}|\\[|\\]|\\$\\{i\\})",
        "\\PC{0,8}",
        "(SELECT 1\n|é|\u{1F980}|\u{feff}|\u{0})",
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_text_makes_a_reader_panic_and_every_place_is_in_the_text(text in pieces()) {
        let lines = text.split('\n').count() as u32;
        let found = [
            header::parse("x.sql", &text).err().unwrap_or_default(),
            rule_test::parse("x.test.yaml", &text).err().unwrap_or_default(),
            exceptions::parse("x.yaml", &text).1,
        ];
        for diagnostic in found.into_iter().flatten() {
            prop_assert!(diagnostic.file.is_some());
            if let Some(span) = diagnostic.span {
                prop_assert!((1..=lines + 1).contains(&span.start.line), "{diagnostic} in {text:?}");
                prop_assert!(span.start.column >= 1);
            }
        }
    }
}

#[test]
fn deep_nesting_and_alias_bombs_are_refused() {
    let deep = format!("cases: {}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(rule_test::parse("x.test.yaml", &deep).is_err());
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let items = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{items}]\n"));
    }
    assert!(rule_test::parse("x.test.yaml", &bomb).is_err());
    let deep = format!("--! params = {}1{}\nSELECT 1", "{ a = ".repeat(50_000), " }".repeat(50_000));
    assert!(header::parse("x.sql", &deep).is_err());
}
