use proptest::prelude::*;

use super::*;

/// What is told, and the text that is left.
fn told(text: &str) -> (Vec<String>, String) {
    let readable = readable(text);
    let places = readable.lost.mistakes.iter().map(|mistake| {
        let Place { line, column } = mistake.place;
        format!("{line}:{column} {}", mistake.message.trim_start_matches("this is not YAML: "))
    });
    (places.collect(), readable.text.into_owned())
}

#[test]
fn text_without_mistakes_is_left_alone() {
    for text in ["", "# nothing\n", "a: 1\na: 2\n", "a: &x [1]\nb: *x\n", "a: |\n  b\n  \tc\n"] {
        let readable = readable(text);
        assert!(readable.is_whole(), "{text:?}");
        assert!(matches!(readable.text, Cow::Borrowed(left) if left == text), "{text:?}");
    }
}

#[test]
fn smallest_entry_that_cannot_be_read_is_cut_out() {
    let text =
        "id: p\nname: \"P\nsteps:\n  - notify: {a\n    id: first\n  - contain: device: x\n  - {b: [1}\n  - ask: y\n";
    let (found, left) = told(text);
    assert_eq!(found.len(), 4, "{found:#?}");
    for (found, place) in found.iter().zip(["2:7 ", "4:13 ", "6:20 ", "7:"]) {
        assert!(found.starts_with(place), "{found} is not at {place}");
    }
    assert_eq!(
        left,
        "id: p\nname: [[]]\nsteps:\n  - notify: [[]]\n    id: first\n  - contain: [[]]\n  - [[]]\n  - ask: y"
    );
}

#[test]
fn brackets_that_close_at_the_margin_belong_to_what_opened_them() {
    let (found, left) = told("cases: [\n  {name: x},\n]\nwith: [a\nlast: {\n}\n");
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].starts_with("4:7 "), "{found:#?}");
    assert_eq!(left, "cases: [\n  {name: x},\n]\nwith: [[]]\nlast: {\n}");
}

#[test]
fn list_at_the_margin_of_its_key_is_read_item_by_item() {
    let (found, left) = told("steps:\n- notify: a: b\n- ask: x\n");
    assert_eq!((found.len(), left.as_str()), (1, "steps:\n- notify: [[]]\n- ask: x"), "{found:#?}");
    let (found, left) = told("- a:  a:\n");
    assert_eq!((found.len(), left.as_str()), (1, "- a: [[]]"), "{found:#?}");
}

#[test]
fn entry_that_is_wrong_apart_from_what_is_inside_of_it_is_cut_out_whole() {
    let (found, left) = told("a:\n  b: [\n d: 2\ne: 1\n");
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].starts_with("2:6 "), "{found:#?}");
    assert_eq!(left, "a: [[]]\n\n\ne: 1");
}

#[test]
fn alias_of_another_entry_is_no_mistake() {
    let (found, left) = told("a: &x 1\nb: *x\nc: [\n");
    assert_eq!((found.len(), left.as_str()), (1, "a: &x 1\nb: *x\nc: [[]]"), "{found:#?}");
}

proptest! {
    #[test]
    fn what_is_left_of_any_text_can_be_read(
        pieces in prop::collection::vec("(- |  |a:|b: |\\{|\\}|\\[|\\]|\"|'|#|&x |\\*x|\\||\t|\n|\n  |\n- |c: 1\n|é|---\n)", 0..40)
    ) {
        let text = pieces.concat();
        let readable = readable(&text);
        let lines: Vec<&str> = readable.text.lines().collect();
        prop_assert!(mistake(&lines, 0).is_none(), "{text:?} leaves {:?}", readable.text);
        prop_assert!(lines.len() <= text.lines().count());
        prop_assert_eq!(readable.is_whole(), mistake(&text.lines().collect::<Vec<_>>(), 0).is_none());
        let last = text.lines().count().max(1) as u32 + 1;
        prop_assert!(readable.lost.mistakes.iter().all(|mistake| (1..=last).contains(&mistake.place.line)));
    }
}

#[test]
fn line_that_is_indented_like_no_other_is_told_as_such() {
    let (found, left) = told("steps:\n  - notify: hi\n   id: x\n  - ask: y\n");
    assert_eq!(found, ["3:4 this is indented like nothing above it"]);
    assert_eq!(left, "steps:\n  - [[]]\n\n  - ask: y");
}

#[test]
fn tabs_are_told_once_and_the_rest_is_read() {
    let (found, left) = told("steps:\n\t- notify: hi\n\t- ask: x\n");
    assert_eq!(found, ["2:1 this line is indented with a tab, and one more"]);
    assert_eq!(left, "steps:\n - notify: hi\n - ask: x");
    let (found, left) = told("- name: a\n\twhere: x\n");
    assert_eq!((found, left.as_str()), (vec!["2:1 this line is indented with a tab".to_owned()], ""));
    let (found, left) = told("text: |\n  make:\n  \tcc\nname: [x\n");
    assert_eq!(found, ["4:7 unclosed bracket '['"], "a tab in a text is no indent");
    assert_eq!(left, "text: |\n  make:\n  \tcc\nname: [[]]");
}

#[test]
fn what_follows_from_a_mistake_is_not_told_and_the_rest_is() {
    let codes = Codes { syntax: "S1", missing: "S2", follow_ups: &[("id", "S3")] };
    let at = |code, line| Diagnostic::error(code, "x").at(Span::at(Place { line, column: 1 }));
    let judged = |text: &str| {
        let mut found = vec![at("S9", 1), at("S9", 2), at("S2", 3), at("S3", 3)];
        readable(text).judge("f", &codes, &mut found);
        found.iter().map(|one| one.code).collect::<Vec<_>>()
    };
    assert_eq!(judged("a: 1\nb: 2\n"), ["S9", "S9", "S2", "S3"]);
    assert_eq!(judged("a: 1\nb: [\n"), ["S9", "S2", "S3", "S1"], "the refusal of what stands there");
    assert_eq!(judged("a: 1\nid: [\n"), ["S9", "S2", "S1"], "whoever names it");
    assert_eq!(judged("a: 1\n[b\n"), ["S9", "S1"], "a key that may be there");
}

#[test]
fn what_follows_from_an_entry_with_nothing_left_in_it_is_not_told() {
    let codes = Codes { syntax: "S1", missing: "S2", follow_ups: &[("id", "S3"), ("-", "S4")] };
    let at = |code, line| Diagnostic::error(code, "x").at(Span::at(Place { line, column: 1 }));
    let judged = |text: &str| {
        let mut found = vec![at("S9", 1), at("S2", 1), at("S3", 1), at("S4", 1), at("S9", 2), at("S9", 3), at("S9", 4)];
        readable(text).judge("f", &codes, &mut found);
        let told = found.iter().map(|one| format!("{} {}", one.code, one.span.map_or(0, |span| span.start.line)));
        told.filter(|told| !told.starts_with("S1 ")).collect::<Vec<_>>()
    };
    let key = judged("a: 1\nid:\n  [b\nc: 1\n");
    assert_eq!(key, ["S9 1", "S2 1", "S4 1", "S9 4"], "its key is known");
    let lines = judged("a: 1\nb: [x,\n  y\nc: 1\n");
    assert_eq!(lines, ["S9 1", "S2 1", "S3 1", "S4 1", "S9 4"], "all its lines");
    let item = judged("a:\n  - {b: [1}\n  - c: x\n");
    assert_eq!(item, ["S9 1", "S2 1", "S3 1", "S9 3", "S9 4"], "an entry of a list");
    let item = judged("a:\n  - b: x\n   c: y\n  - d: z\n");
    assert_eq!(item, ["S9 1", "S2 1", "S3 1", "S9 4"], "one of two lines");
    assert_eq!(judged("- a: x\n\tb: x\n"), [] as [&str; 0], "nothing is known of a text that cannot be read");
}
