//! Which patterns run: sequences of variables, groups, alternatives and repetitions of what matches at least one row.

use datafusion::sql::sqlparser::ast::{MatchRecognizePattern, MatchRecognizeSymbol};

use crate::error::{Diagnostic, Span, codes};
use crate::sql::resolve::scope::means;
use crate::sql::sequence::{STEPS_MAX, each_symbol, is_nullable, repeats, size, split_missing};
use crate::sql::tokens::{exact, span_of};

/// The most variables of a pattern.
const VARIABLES_MAX: usize = 64;

/// Makes the names of variables exact: all go as the first was written.
pub(super) fn name(pattern: &mut MatchRecognizePattern, variables: &mut Vec<String>) {
    let mut symbol = |symbol: &mut MatchRecognizeSymbol| {
        if let MatchRecognizeSymbol::Named(name) = symbol {
            let known = variables.iter().find(|variable| means(name, variable)).cloned();
            let known = known.unwrap_or_else(|| {
                variables.push(name.value.clone());
                name.value.clone()
            });
            *name = exact(known, name.span);
        }
    };
    match pattern {
        MatchRecognizePattern::Symbol(one) | MatchRecognizePattern::Exclude(one) => symbol(one),
        MatchRecognizePattern::Permute(symbols) => symbols.iter_mut().for_each(symbol),
        MatchRecognizePattern::Concat(parts) | MatchRecognizePattern::Alternation(parts) => {
            parts.iter_mut().for_each(|part| name(part, variables));
        }
        MatchRecognizePattern::Group(inner) | MatchRecognizePattern::Repetition(inner, _) => name(inner, variables),
    }
}

/// Where a pattern begins.
pub(super) fn place(pattern: &MatchRecognizePattern) -> Option<Span> {
    let mut first = None;
    each_symbol(pattern, &mut |symbol| {
        if let MatchRecognizeSymbol::Named(name) = symbol {
            first = first.or_else(|| span_of(name.span));
        }
    });
    first
}

/// Everything in a pattern that does not run.
pub(super) fn refused(pattern: &MatchRecognizePattern, variables: usize) -> Vec<Diagnostic> {
    let mut diagnostics = vec![];
    let missing = split_missing(pattern);
    match missing {
        Some((before, name)) => {
            before.iter().for_each(|part| check(part, place(pattern), &mut diagnostics));
            if before.iter().all(is_nullable) {
                diagnostics.push(matches_nothing(pattern));
            }
            let mut is_before = false;
            let note = &mut |symbol: &MatchRecognizeSymbol| {
                is_before |= matches!(symbol, MatchRecognizeSymbol::Named(other) if other.value == name);
            };
            before.iter().for_each(|part| each_symbol(part, note));
            if is_before {
                let message = format!("`{name}` cannot both be there and be missing");
                let hint = "define a second variable for the row that must not follow";
                diagnostics.push(Diagnostic::error(codes::UNSUPPORTED, message).at(place(pattern)).hint(hint));
            }
        }
        None => {
            check(pattern, place(pattern), &mut diagnostics);
            if is_nullable(pattern) {
                diagnostics.push(matches_nothing(pattern));
            }
        }
    }
    if size(pattern) > STEPS_MAX {
        let message = format!("this pattern is longer than {STEPS_MAX} steps, counting each repeat");
        diagnostics.push(Diagnostic::error(codes::UNSUPPORTED, message).at(place(pattern)).hint("repeat less often"));
    }
    if variables > VARIABLES_MAX {
        let message = format!("a pattern has at most {VARIABLES_MAX} variables");
        diagnostics.push(Diagnostic::error(codes::UNSUPPORTED, message).at(place(pattern)));
    }
    diagnostics
}

fn matches_nothing(pattern: &MatchRecognizePattern) -> Diagnostic {
    Diagnostic::error(codes::UNSUPPORTED, "this pattern can match no row at all")
        .at(place(pattern))
        .hint("make one part of it obligatory, as in `a+` for `a*`")
}

/// Checks a part of a pattern. An anchor has no name whose place could be told; the whole stands in for it.
fn check(pattern: &MatchRecognizePattern, whole: Option<Span>, diagnostics: &mut Vec<Diagnostic>) {
    let at = place(pattern).or(whole);
    let mut told = |message: &str, hint: &str| {
        diagnostics.push(Diagnostic::error(codes::UNSUPPORTED, message).at(at).hint(hint));
    };
    match pattern {
        MatchRecognizePattern::Symbol(MatchRecognizeSymbol::Start | MatchRecognizeSymbol::End) => {
            told("`^` and `$` have no meaning on a stream, which has no first and no last row", "remove them");
        }
        MatchRecognizePattern::Symbol(MatchRecognizeSymbol::Named(_)) => {}
        MatchRecognizePattern::Exclude(_) => told(
            "exclusion `{- v -}` is not supported: one row comes out per match",
            "write the variable plainly; for a step that must be missing, end the pattern with `v{0}`",
        ),
        MatchRecognizePattern::Permute(_) => {
            told("PERMUTE is not supported", "write the orders as alternatives: (a b | b a)");
        }
        MatchRecognizePattern::Concat(parts) | MatchRecognizePattern::Alternation(parts) => {
            parts.iter().for_each(|part| check(part, whole, diagnostics));
        }
        MatchRecognizePattern::Group(inner) => check(inner, whole, diagnostics),
        MatchRecognizePattern::Repetition(..) => {
            let Some((inner, least, most, _)) = repeats(pattern) else { return };
            if most == Some(0) {
                told(
                    "a step that must be missing stands at the end of the whole pattern",
                    "write it last, as in PATTERN (a b{0})",
                );
            } else if most.is_some_and(|most| most < least) {
                told("this repetition ends before it begins", "write {least,most}");
            } else if matches!(inner, MatchRecognizePattern::Repetition(..)) {
                told("two quantifiers follow each other", "put the inner one into a group: (a{2}){3}");
            } else if is_nullable(inner) {
                told("what is repeated can match no row at all", "make it obligatory: `(a+)*` is the same as `a*`");
            }
            check(inner, whole, diagnostics);
        }
    }
}
