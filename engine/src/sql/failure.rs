//! What the planner refuses, in an author's words and at its place.

use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::judge::{Text, judge, said, ungrouped};
use super::lower::Refusal;
use super::plan::Planner;
use super::tokens::{is_word, place_of_word, span_of, tokenize};
use crate::error::{Diagnostic, Place, Span, codes};

/// The diagnostics for a failure to plan `query`: the planner stops at the first mistake, so each expression is tried
/// by itself for further ones. Places in the syntax tree are places of the file already.
pub(crate) fn explain(
    planner: &Planner<'_>,
    query: &ast::Query,
    text: &Text<'_>,
    error: &DataFusionError,
) -> Vec<Diagnostic> {
    let mut told = judge(planner, query, text);
    told.extend(ungrouped(query, text));
    // Where an expression is wrong by itself, the planner's own words about the whole add nothing.
    if told.is_empty() {
        let message = message_of(error);
        let constant = || message.split('\'').nth(1).and_then(|constant| text.place_of_constant(constant));
        let span = diagnostic_span(error).or_else(constant).unwrap_or_else(|| Span::at(text.start()));
        told.push(said(&message).at(span));
    }
    told.sort_by_key(|diagnostic| diagnostic.span);
    told
}

/// The innermost message, without the names of DataFusion's phases.
pub(super) fn message_of(error: &DataFusionError) -> String {
    let text = error.find_root().strip_backtrace();
    if text.contains("regex parse error") {
        return unreadable_pattern(&text);
    }
    let text = text
        .strip_prefix("Error during planning: ")
        .or_else(|| text.strip_prefix("Schema error: "))
        .or_else(|| text.strip_prefix("This feature is not implemented: "))
        .unwrap_or(&text);
    text.lines().next().unwrap_or(text).trim_end_matches('.').to_owned()
}

fn diagnostic_span(error: &DataFusionError) -> Option<Span> {
    let DataFusionError::Diagnostic(diagnostic, _) = error else { return None };
    diagnostic.span.map(|span| Span {
        start: Place { line: span.start.line as u32, column: span.start.column as u32 },
        end: Place { line: span.end.line as u32, column: span.end.column as u32 },
    })
}

/// How a regular expression is written.
pub(super) const OF_PATTERNS: &str = "write it as Rust's regex crate reads it: without look-around and backreferences, \
    and with a backslash before a sign that is meant as such";

/// What is wrong with a regular expression, without a place.
pub(super) fn bad_pattern(pattern: &str) -> Option<Diagnostic> {
    let error = regex::Regex::new(pattern).err()?;
    Some(Diagnostic::error(codes::PLAN, unreadable_pattern(&error.to_string())).hint(OF_PATTERNS))
}

/// The parser of regular expressions draws the pattern over several lines and says what is wrong in the last one.
fn unreadable_pattern(text: &str) -> String {
    let wrong = text.lines().rev().find_map(|line| line.strip_prefix("error: ")).unwrap_or("it is too large");
    format!("a regular expression cannot be read: {wrong}")
}

/// What the planner or its optimiser refuses for a reason of its own.
pub(super) fn of_planning(error: &DataFusionError) -> Refusal {
    let message = message_of(error);
    if message.contains("does not support logical expression Exists") {
        let hint = "count in a WITH first: WITH many AS (SELECT ..., window_end AS time FROM TUMBLE(...) GROUP BY ... \
                    HAVING ...), and ask EXISTS (SELECT 1 FROM many WHERE ...)";
        return Refusal::new(
            codes::UNSUPPORTED,
            "`EXISTS` of groups, with GROUP BY, HAVING or an aggregate, does not run",
            hint,
        );
    }
    let Diagnostic { code, message, hint, .. } = said(&message);
    Refusal { code, message, hint, about: pattern_word(&error.to_string()).map(str::to_owned) }
}

/// The name of the function whose pattern cannot be read.
fn pattern_word(text: &str) -> Option<&'static str> {
    let names = ["regexp_like", "regexp_match", "regexp_replace", "regexp_count", "regexp_instr"];
    names.into_iter().find(|name| text.contains(name)).filter(|_| text.contains("regex parse error"))
}

/// The place of what a plan was refused for. A plan keeps none, so it is found by the words that stand for it: the names
/// and keywords of the message, else those that the code is about. A refusal can name its word itself.
pub(crate) fn place_of_refusal(sql: &str, start: Place, refusal: &Refusal) -> Span {
    let usual: &[&str] = match refusal.code {
        codes::UNBOUNDED => &["GROUP", "OVER", "DISTINCT", "JOIN", "EXISTS", "FROM"],
        codes::WRONG_WINDOW_TIME => &["TUMBLE", "SESSION", "MATCH_RECOGNIZE", "OVER", "SELECT"],
        codes::NOT_ON_A_STREAM => &["ORDER", "LIMIT", "JOIN", "SELECT"],
        codes::UNSUPPORTED => &["JOIN", "OVER", "UNION", "SELECT"],
        codes::NO_TIME => &["SELECT"],
        _ => &[],
    };
    if refusal.message.starts_with("`EXISTS` of groups")
        && let Some(span) = exists_of_groups(sql, start)
    {
        return span;
    }
    let constant = refusal.message.strip_prefix("`'").and_then(|rest| rest.split_once("'`"));
    if let Some(span) = constant.and_then(|(constant, _)| Text::new(sql, start).place_of_constant(constant)) {
        return span;
    }
    let about = refusal.about.as_deref().into_iter();
    let mut words = about.chain(words_of(&refusal.message)).chain(usual.iter().copied());
    words.find_map(|word| place_of_word(sql, start, word)).unwrap_or_else(|| Span::at(start))
}

/// The first `EXISTS` whose brackets hold a `GROUP BY` or `HAVING`.
fn exists_of_groups(sql: &str, start: Place) -> Option<Span> {
    let (tokens, _) = tokenize(sql, start);
    let is_of_groups = |at: usize| {
        let mut depth = 0_usize;
        for token in &tokens[at + 1..] {
            match token.token {
                Token::LParen => depth += 1,
                Token::RParen => depth = depth.saturating_sub(1),
                _ if depth == 1 && ["GROUP", "HAVING"].iter().any(|word| is_word(&token.token, word)) => return true,
                _ => {}
            }
            if depth == 0 {
                return false;
            }
        }
        false
    };
    let found = (0..tokens.len()).find(|at| is_word(&tokens[*at].token, "EXISTS") && is_of_groups(*at))?;
    span_of(tokens[found].span)
}

/// The names of SQL that a message is about: what it quotes, then its keywords. A column has its relation in front, which
/// the author may not have written.
fn words_of(message: &str) -> impl Iterator<Item = &str> {
    let quoted = message.split('`').skip(1).step_by(2).filter_map(|quoted| quoted.split(['(', ' ']).next());
    let is_keyword = |word: &&str| word.len() > 1 && word.chars().all(|c| c.is_ascii_uppercase());
    let keywords = message.split('`').step_by(2).flat_map(|plain| plain.split(|c: char| !c.is_alphanumeric()));
    quoted.chain(keywords.filter(is_keyword))
}
