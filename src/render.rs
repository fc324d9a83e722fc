//! Diagnostics for people: place, code, sentence, the line of the text with carets below, and the way out.
//!
//! ```text
//! detections/login.sql:14:8: error D004: `sysmon` has no column `CommandLin`
//!    14 | SELECT CommandLin FROM sysmon
//!       |        ^^^^^^^^^^
//!       = did you mean `CommandLine`?
//! ```

use std::collections::HashMap;
use std::fmt::Write as _;

use weir_engine::error::counted;
use weir_engine::{Diagnostic, Level, Span};

/// Source lines longer than this many characters are shown in part.
const SHOWN_CHARACTERS_MAX: usize = 160;
/// A tab in a source line, as shown; carets count in the same measure.
const TAB: &str = "    ";

/// The texts that diagnostics speak about, by file name.
pub(crate) type Texts<'a> = HashMap<&'a str, &'a str>;

/// Sorts as a reader goes through them: by file, place and code; and drops repetitions.
pub(crate) fn sort(diagnostics: &mut Vec<Diagnostic>) {
    let key = |d: &Diagnostic| (d.file.clone(), d.span, d.level, d.code, d.message.clone());
    diagnostics.sort_by_cached_key(key);
    diagnostics.dedup();
}

/// The whole report about one diagnostic, several lines, with a line end.
pub(crate) fn report(diagnostic: &Diagnostic, texts: &Texts<'_>, color: bool) -> String {
    let paint = Paint { color };
    let mut report = String::new();
    if let Some(file) = &diagnostic.file {
        report.push_str(file);
        if let Some(span) = diagnostic.span {
            let _infallible = write!(report, ":{}:{}", span.start.line, span.start.column);
        }
        report.push_str(": ");
    }
    let (level, style) = match diagnostic.level {
        Level::Error => ("error", Style::Red),
        Level::Warning => ("warning", Style::Yellow),
    };
    let label = paint.with(style, &format!("{level} {}:", diagnostic.code));
    let _infallible = writeln!(report, "{label} {}", paint.with(Style::Bold, &diagnostic.message));
    let line = diagnostic.file.as_deref().and_then(|file| texts.get(file)).zip(diagnostic.span);
    let gutter = match line {
        Some((text, span)) => excerpt(&mut report, text, span, paint, style),
        None => 6,
    };
    if let Some(hint) = &diagnostic.hint {
        let mark = paint.with(Style::Blue, &format!("{:gutter$}=", ""));
        let _infallible = writeln!(report, "{mark} {}", hint.trim_end().replace('\n', &format!("\n{:gutter$}  ", "")));
    }
    report
}

/// How many errors and warnings there are, in words.
pub(crate) fn summary(diagnostics: &[Diagnostic]) -> String {
    let errors = diagnostics.iter().filter(|diagnostic| diagnostic.level == Level::Error).count();
    let warnings = diagnostics.len() - errors;
    format!("{}, {}", counted(errors, "error"), counted(warnings, "warning"))
}

/// Writes the line of `text` at which `span` begins and marks it; gives the width of the gutter.
fn excerpt(report: &mut String, text: &str, span: Span, paint: Paint, style: Style) -> usize {
    let number = span.start.line.to_string();
    let gutter = number.len().max(4) + 2;
    let line = text.lines().nth(span.start.line as usize - 1).unwrap_or("");
    let start = span.start.column as usize - 1;
    let length = line.chars().count();
    let end = if span.end.line == span.start.line { span.end.column as usize - 1 } else { length };
    let width = end.clamp(start + 1, length.max(start + 1)) - start;
    // A long line is shown around the mistake, from a little before it.
    let from = if length > SHOWN_CHARACTERS_MAX { start.saturating_sub(SHOWN_CHARACTERS_MAX / 2) } else { 0 };
    let before = visible(line.chars().skip(from).take(start - from));
    let marked = visible(line.chars().skip(start).take(width));
    let shown = visible(line.chars().skip(from).take(SHOWN_CHARACTERS_MAX));
    let bar = paint.with(Style::Blue, "|");
    let _infallible =
        writeln!(report, "{} {bar} {shown}", paint.with(Style::Blue, &format!("{number:>w$}", w = gutter - 1)));
    let carets = "^".repeat(marked.chars().count().clamp(1, SHOWN_CHARACTERS_MAX));
    let blank = " ".repeat(before.chars().count());
    let _infallible = writeln!(report, "{:gutter$}{bar} {blank}{}", "", paint.with(style, &carets));
    gutter
}

/// Characters as a terminal may show them: tabs widened, control characters as a replacement.
fn visible(characters: impl Iterator<Item = char>) -> String {
    characters.fold(String::new(), |mut shown, c| {
        match c {
            '\t' => shown.push_str(TAB),
            c if c.is_control() => shown.push(char::REPLACEMENT_CHARACTER),
            c => shown.push(c),
        }
        shown
    })
}

#[derive(Clone, Copy)]
enum Style {
    Bold,
    Red,
    Yellow,
    Blue,
}

#[derive(Clone, Copy)]
struct Paint {
    color: bool,
}

impl Paint {
    fn with(self, style: Style, text: &str) -> String {
        if !self.color {
            return text.to_owned();
        }
        let code = match style {
            Style::Bold => "1",
            Style::Red => "1;31",
            Style::Yellow => "1;33",
            Style::Blue => "34",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}

#[cfg(test)]
mod tests {
    use weir_engine::Place;

    use super::*;

    fn span(line: u32, start: u32, end: u32) -> Span {
        Span { start: Place { line, column: start }, end: Place { line, column: end } }
    }

    fn reported(text: &str, diagnostic: Diagnostic) -> String {
        report(&diagnostic.in_file("a.sql"), &Texts::from([("a.sql", text)]), false)
    }

    #[test]
    fn carets_stand_below_the_mistake() {
        let diagnostic = Diagnostic::error("D004", "no column `b`").at(span(2, 8, 9)).hint("did you mean `c`?");
        assert_eq!(
            reported("-- x\nSELECT b FROM s\n", diagnostic),
            "a.sql:2:8: error D004: no column `b`\n    2 | SELECT b FROM s\n      |        ^\n      = did you mean `c`?\n"
        );
    }

    #[test]
    fn tabs_are_as_wide_above_as_below() {
        let diagnostic = Diagnostic::warning("D004", "no").at(span(1, 2, 4));
        assert_eq!(reported("\tab", diagnostic), "a.sql:1:2: warning D004: no\n    1 |     ab\n      |     ^^\n");
    }

    #[test]
    fn place_beyond_the_text_is_still_reported() {
        let diagnostic = Diagnostic::error("D001", "unexpected end").at(span(9, 40, 41));
        let text = reported("a", diagnostic);
        assert!(text.starts_with("a.sql:9:40: error D001: unexpected end\n"), "{text}");
    }

    #[test]
    fn long_lines_are_shown_around_the_mistake() {
        let line = format!("{}HERE{}", "x".repeat(5000), "y".repeat(5000));
        let text = reported(&line, Diagnostic::error("D001", "no").at(span(1, 5001, 5005)));
        assert!(text.lines().all(|line| line.chars().count() < 250), "{text}");
        assert!(text.contains("HERE"));
    }

    #[test]
    fn reports_are_sorted_and_never_repeated() {
        let first = Diagnostic::error("D001", "x").at(span(3, 1, 2)).in_file("a.sql");
        let second = Diagnostic::error("D001", "x").at(span(1, 1, 2)).in_file("b.sql");
        let mut all = vec![second.clone(), first.clone(), second.clone()];
        sort(&mut all);
        assert_eq!(all, [first, second]);
    }
}
