//! One `SELECT`, and nothing else: text to a syntax tree whose parameters are values and whose places are the file's.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use datafusion::common::ScalarValue;
use datafusion::sql::sqlparser::ast::{Expr, Query};
use datafusion::sql::sqlparser::ast::{Spanned, VisitMut, VisitorMut};
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Word};

use super::dialect::WeirDialect;
use super::judge::Text;
use super::params::Parameters;
use super::tokens::{is_word, lower_first, place_of, shown, span_of, tokenize};
use super::{as_of, balance, depth, flink, hints, match_recognize, refuse};
use crate::error::{Diagnostic, Place, Span, codes, nearest};

/// Where a `SELECT` runs, which decides what it may say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Runs {
    /// Over streams, for ever: no `ORDER BY`, no `LIMIT`, nothing that changes from run to run.
    OnStreams,
    /// Over the archive, once.
    OnArchive,
}

/// A text that is refused before any of its names is looked up.
#[derive(Debug)]
pub(crate) struct Refused {
    /// What is wrong with the text alone.
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// The tree, where its names can be judged all the same.
    pub(crate) query: Option<Box<Query>>,
}

/// Mistakes that leave every name what it is.
const NAMES_HOLD: &[&str] = &[codes::UNKNOWN_PARAMETER, codes::NOT_ON_A_STREAM, codes::PLAN];

impl Refused {
    fn new(mut diagnostics: Vec<Diagnostic>, of_values: Vec<Diagnostic>, query: Box<Query>) -> Self {
        let names_hold = diagnostics.iter().all(|diagnostic| NAMES_HOLD.contains(&diagnostic.code));
        diagnostics.extend(of_values);
        Self { diagnostics: sorted(diagnostics), query: names_hold.then_some(query) }
    }

    /// Everything that is wrong, together with what `judge` finds in the tree; of two mistakes at one place, the first
    /// is told.
    pub(crate) fn with(self, judge: impl FnOnce(Box<Query>) -> Vec<Diagnostic>) -> Vec<Diagnostic> {
        let Self { mut diagnostics, query } = self;
        let mut more = query.map(judge).unwrap_or_default();
        let begins = |one: &Diagnostic| one.span.map(|span| span.start);
        more.retain(|one| diagnostics.iter().all(|told| begins(told) != begins(one)));
        diagnostics.append(&mut more);
        sorted(diagnostics)
    }
}

impl From<Diagnostic> for Refused {
    fn from(diagnostic: Diagnostic) -> Self {
        Self { diagnostics: vec![diagnostic], query: None }
    }
}

/// Reads exactly one `SELECT`.
///
/// `start` is the place of the file at which `text` begins; all places of the tree and of diagnostics are the file's.
///
/// # Errors
/// Everything that is wrong with the text alone, before any name is looked up.
pub(crate) fn parse_select(
    text: &str,
    start: Place,
    runs: Runs,
    params: &BTreeMap<String, ScalarValue>,
) -> Result<Box<Query>, Refused> {
    let tokens = select_tokens(text, start)?;
    let mut parser = parser(&tokens);
    let mut query = parser.parse_query().map_err(|error| syntax_error(&error, &tokens))?;
    expect_end(&parser, &tokens)?;
    let mut diagnostics = as_of::rewrite(&mut query);
    balance::balance(&mut query);
    let refuse::Refusals { of_clauses, of_values } = refuse::refuse(&query, &tokens, &Text::new(text, start), runs);
    diagnostics.extend(of_clauses);
    diagnostics.extend(fill_parameters(&mut *query, params));
    if diagnostics.is_empty() && of_values.is_empty() {
        return Ok(query);
    }
    Err(Refused::new(diagnostics, of_values, query))
}

/// The names of the `$name` parameters of a text, as far as it can be read; what stands in comments and texts is none.
#[must_use]
pub fn parameters(text: &str) -> BTreeSet<String> {
    let (tokens, _) = tokenize(text, Place::START);
    let named = tokens.into_iter().filter_map(|token| match token.token {
        Token::Placeholder(name) => Some(name.trim_start_matches('$').to_owned()),
        _ => None,
    });
    named.collect()
}

/// Reads exactly one condition, such as that of an exception.
///
/// # Errors
/// As [`parse_select`].
pub(crate) fn parse_condition(text: &str, start: Place) -> Result<Expr, Vec<Diagnostic>> {
    let tokens = checked_tokens(text, start).map_err(|diagnostic| vec![diagnostic])?;
    let mut parser = parser(&tokens);
    let mut condition = parser.parse_expr().map_err(|error| vec![syntax_error(&error, &tokens)])?;
    expect_end(&parser, &tokens).map_err(|diagnostic| vec![diagnostic])?;
    balance::balance(&mut condition);
    let refused = refuse::refuse(&condition, &tokens, &Text::new(text, start), Runs::OnStreams);
    let mut diagnostics = [refused.of_clauses, refused.of_values].concat();
    diagnostics.extend(fill_parameters(&mut condition, &BTreeMap::new()));
    if diagnostics.is_empty() { Ok(condition) } else { Err(sorted(diagnostics)) }
}

fn parser(tokens: &[TokenWithSpan]) -> Parser<'static> {
    Parser::new(&WeirDialect).with_tokens_with_locations(tokens.to_vec())
}

fn sorted(mut diagnostics: Vec<Diagnostic>) -> Vec<Diagnostic> {
    diagnostics.sort_by_key(|diagnostic| diagnostic.span);
    diagnostics
}

fn fill_parameters(tree: &mut impl VisitMut, params: &BTreeMap<String, ScalarValue>) -> Vec<Diagnostic> {
    let mut filling = Filling { params: Parameters::new(params), diagnostics: Vec::new() };
    let ControlFlow::Continue(()) = tree.visit(&mut filling);
    filling.diagnostics
}

struct Filling<'a> {
    params: Parameters<'a>,
    diagnostics: Vec<Diagnostic>,
}

impl VisitorMut for Filling<'_> {
    type Break = std::convert::Infallible;

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        if let Err(diagnostic) = self.params.fill(expr) {
            self.diagnostics.push(diagnostic);
        }
        ControlFlow::Continue(())
    }
}

/// The tokens of a text that begins like one `SELECT` and is one statement.
fn select_tokens(text: &str, start: Place) -> Result<Vec<TokenWithSpan>, Diagnostic> {
    let mut tokens = checked_tokens(text, start)?;
    if let Some(end) = tokens.iter().position(|token| token.token == Token::SemiColon) {
        if let Some(second) = tokens[end..].iter().find(|token| token.token != Token::SemiColon) {
            return Err(Diagnostic::error(
                codes::NOT_ONE_SELECT,
                "a second statement begins here; one SELECT is allowed",
            )
            .at(span_of(second.span))
            .hint("put each SELECT into a file of its own, or join them with UNION ALL"));
        }
        tokens.truncate(end);
    }
    let Some(first) = tokens.first() else {
        return Err(Diagnostic::error(codes::NOT_ONE_SELECT, "there is no SELECT here").at(Span::at(start)));
    };
    match &first.token {
        Token::LParen => Ok(tokens),
        token if is_word(token, "SELECT") || is_word(token, "WITH") => Ok(tokens),
        Token::Word(Word { value, quote_style: None, .. }) => {
            let hint = nearest(value, ["SELECT", "WITH"])
                .unwrap_or_else(|| "write one SELECT, with or without a WITH in front".to_owned());
            Err(Diagnostic::error(codes::NOT_ONE_SELECT, format!("one SELECT is allowed here, not `{value}`"))
                .at(span_of(first.span))
                .hint(hint))
        }
        token => {
            Err(Diagnostic::error(codes::SYNTAX, format!("expected SELECT, found `{token}`")).at(span_of(first.span)))
        }
    }
}

/// The tokens of a text, in short form, if there are not too many to nest.
fn checked_tokens(text: &str, start: Place) -> Result<Vec<TokenWithSpan>, Diagnostic> {
    let (tokens, error) = tokenize(text, start);
    if let Some(error) = error {
        return Err(error);
    }
    depth::check(&tokens)?;
    Ok(match_recognize::prepare(flink::shorten(tokens)))
}

fn expect_end(parser: &Parser<'_>, tokens: &[TokenWithSpan]) -> Result<(), Diagnostic> {
    let next = parser.peek_token_ref();
    if next.token == Token::EOF {
        return Ok(());
    }
    let into = is_word(&next.token, "INTO");
    let code = if into { codes::NOT_ONE_SELECT } else { codes::SYNTAX };
    let index = tokens.iter().position(|token| token.span == next.span);
    if let Some((before, hint)) = index.and_then(|index| hints::misspelt_clause(tokens, index)) {
        let word = &tokens[before];
        let message = format!("`{}` does not go here", word.token);
        return Err(Diagnostic::error(code, message).at(span_of(word.span)).hint(hint));
    }
    let message = format!("expected the end of the SELECT, found `{}`", next.token);
    let hint = index.and_then(|index| hints::behind(tokens, index));
    Err(Diagnostic::error(code, message).at(span_of(next.span)).maybe_hint(hint))
}

/// A refusal of sqlparser in our words: its place taken out of its message, its sentence made ours.
fn syntax_error(error: &ParserError, tokens: &[TokenWithSpan]) -> Diagnostic {
    let text = match error {
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => text.as_str(),
        ParserError::RecursionLimitExceeded => "this nests too deeply",
    };
    let (message, location) = split_place(text);
    let index = location
        .and_then(|place| tokens.iter().position(|token| place_of(token.span.start) == place))
        .map(|index| found_index(message, tokens, index));
    let span = match (index, location) {
        (Some(index), _) => span_of(tokens[index].span),
        (None, Some(place)) => Some(Span::at(place)),
        (None, None) => tokens.last().map(|token| Span::at(place_of(token.span.end))),
    };
    let hint = match index {
        Some(index) => hints::inside(message, tokens, index),
        None => hints::at_the_end(tokens),
    };
    let message = in_our_words(message, index.map(|index| &tokens[index].token));
    Diagnostic::error(codes::SYNTAX, message).at(span).maybe_hint(hint)
}

fn in_our_words(message: &str, token: Option<&Token>) -> String {
    if message.starts_with("No infix parser") {
        return format!("{} does not go here", shown(token));
    }
    let message = lower_first(message);
    if message.contains("DISTINCT | [form] NORMALIZED FROM after IS") {
        return format!("`IS` goes with NULL, TRUE, FALSE and DISTINCT FROM, not with {}", shown(token));
    }
    let parts = message.strip_prefix("expected").and_then(|rest| rest.trim_start_matches(':').split_once(", found: "));
    let Some((wanted, found)) = parts else { return message };
    let wanted = wanted.trim_start();
    let symbol = wanted.chars().all(|ch| ch.is_ascii_punctuation());
    let wanted = if symbol { format!("`{wanted}`") } else { wanted.to_owned() };
    let found = if found == "EOF" { "the end".to_owned() } else { format!("`{found}`") };
    format!("expected {wanted}, found {found}")
}

/// The token that a message is about. For a reserved word sqlparser names the word and gives the place behind it.
fn found_index(message: &str, tokens: &[TokenWithSpan], index: usize) -> usize {
    let Some((_, found)) = message.rsplit_once(", found: ") else {
        return index;
    };
    let is_found = |index: usize| tokens[index].token.to_string() == found;
    match index.checked_sub(1) {
        Some(before) if !is_found(index) && is_found(before) => before,
        _ => index,
    }
}

/// Splits ` at Line: 3, Column: 7` off the end of a message.
fn split_place(text: &str) -> (&str, Option<Place>) {
    let Some((message, place)) = text.rsplit_once(" at Line: ") else {
        return (text, None);
    };
    let numbers = place.split_once(", Column: ").and_then(|(line, column)| {
        Some(Place { line: line.trim().parse().ok()?, column: column.trim().parse().ok()? })
    });
    (message, numbers)
}

/// Where a part of a tree stands.
pub(super) fn spot(part: &impl Spanned) -> Option<Span> {
    span_of(part.span())
}
