//! The usual mistakes behind text that is no SQL: what an author probably meant at the word where the parser gave up.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Word};

use super::functions::FUNCTIONS;
use super::interval;
use super::tokens::{is_word, place_of, shown};
use crate::error::nearest;

/// Words that begin what may follow a complete `SELECT`.
const CLAUSES: [&str; 10] = ["FROM", "WHERE", "GROUP", "HAVING", "QUALIFY", "UNION", "JOIN", "LEFT", "INNER", "WINDOW"];

/// A place in the words of a text.
struct At<'a> {
    tokens: &'a [TokenWithSpan],
    index: usize,
}

impl<'a> At<'a> {
    fn token(&self) -> &'a Token {
        &self.tokens[self.index].token
    }

    fn before(&self, distance: usize) -> Option<&'a Token> {
        self.index.checked_sub(distance).map(|before| &self.tokens[before].token)
    }

    fn is_before(&self, distance: usize, word: &str) -> bool {
        self.before(distance).is_some_and(|token| is_word(token, word))
    }

    fn after(&self, distance: usize) -> Option<&'a Token> {
        self.tokens.get(self.index + distance).map(|token| &token.token)
    }
}

/// The usual mistakes behind a syntax error at this token.
pub(super) fn inside(message: &str, tokens: &[TokenWithSpan], index: usize) -> Option<String> {
    let at = At { tokens, index };
    let token = at.token();
    let is_comma = |token: Option<&Token>| token == Some(&Token::Comma);
    if is_comma(at.before(1)) && *token != Token::Comma {
        return Some(format!("remove the comma before {}", shown(Some(token))));
    }
    if is_comma(at.before(2)) && at.is_before(1, "SELECT") {
        return Some("remove the comma before `SELECT`".to_owned());
    }
    if at.is_before(1, "SELECT") && is_word(token, "FROM") {
        return Some("name the columns between SELECT and FROM".to_owned());
    }
    if at.is_before(1, "IN") && message.contains('(') {
        return Some(match token {
            Token::Word(word) => {
                format!("a list of values stands in brackets; for a list column write array_has({word}, ...)")
            }
            other => format!("a list of values stands in brackets: IN ({other})"),
        });
    }
    if at.is_before(1, "IS") {
        return Some(format!("to compare with {}, write =", shown(Some(token))));
    }
    if at.is_before(1, "LIKE") && *token == Token::Mod {
        return Some("a pattern is a text: LIKE '%...%'".to_owned());
    }
    if message.contains("AND") && is_comma(Some(token)) {
        return Some("write BETWEEN low AND high".to_owned());
    }
    if at.before(1).is_some_and(is_constant) && is_constant(token) {
        return Some(format!("a comma is missing before `{token}`"));
    }
    match token {
        Token::Overlap => Some("write AND".to_owned()),
        Token::Lt if at.before(1) == Some(&Token::Eq) => Some("write <=".to_owned()),
        Token::Gt if at.before(1) == Some(&Token::Eq) => Some("write >=".to_owned()),
        Token::LBrace => Some("a parameter is written $name".to_owned()),
        Token::Word(Word { value, quote_style: None, keyword, .. })
            if *keyword != Keyword::NoKeyword && message.contains("identifier") =>
        {
            Some(format!("to use `{value}` as a name, quote it: \"{value}\""))
        }
        Token::Word(Word { value, .. }) if message.contains("date/time field") => {
            nearest(value, ["second", "minute", "hour", "day", "week", "month", "quarter", "year"])
        }
        _ => unended_case(tokens),
    }
}

/// The usual mistakes where a text ends too early.
pub(super) fn at_the_end(tokens: &[TokenWithSpan]) -> Option<String> {
    let opening = ["AND", "OR", "NOT", "WHERE", "FROM", "BY", "ON", "HAVING"];
    if let Some(word) = opening.into_iter().find(|word| tokens.last().is_some_and(|last| is_word(&last.token, word))) {
        return Some(format!("something is missing behind {word}"));
    }
    let mut open = Vec::new();
    for token in tokens {
        match token.token {
            Token::LParen => open.push(token),
            Token::RParen => drop(open.pop()),
            _ => {}
        }
    }
    let bracket = open.pop().map(|token| place_of(token.span.start));
    let unclosed =
        bracket.map(|place| format!("the bracket in line {}, column {} is not closed", place.line, place.column));
    unclosed.or_else(|| unended_case(tokens))
}

/// Whether the word before the one where a complete `SELECT` should end is a misspelt clause, which the parser took for a
/// name.
pub(super) fn misspelt_clause(tokens: &[TokenWithSpan], index: usize) -> Option<(usize, String)> {
    let before = index.checked_sub(1)?;
    let Token::Word(Word { value, quote_style: None, keyword: Keyword::NoKeyword, .. }) = &tokens[before].token else {
        return None;
    };
    let follows_a_name = before > 0 && !matches!(tokens[before - 1].token, Token::Comma | Token::Period);
    (value.len() > 3 && follows_a_name).then(|| nearest(value, CLAUSES)).flatten().map(|hint| (before, hint))
}

/// The usual mistakes behind words that follow a complete `SELECT`.
pub(super) fn behind(tokens: &[TokenWithSpan], index: usize) -> Option<String> {
    let at = At { tokens, index };
    let token = at.token();
    if let Some(word) = ["GROUP", "ORDER", "PARTITION"].into_iter().find(|word| is_word(token, word)) {
        return Some(format!("write {word} BY"));
    }
    match token {
        Token::RParen => return Some("there is no `(` for it".to_owned()),
        Token::RArrow => return Some("write >= to compare".to_owned()),
        Token::Comma if at.before(1).is_some_and(is_constant) => {
            return Some("a list of values is written IN ('a', 'b')".to_owned());
        }
        Token::Word(word) if is_word(token, "NOT") => {
            return Some(format!("write <>, NOT IN (...) or NOT LIKE; `{word}` alone compares nothing"));
        }
        constant if is_constant(constant) && at.before(1).is_some_and(is_constant) => {
            return Some("several values are written IN ('a', 'b')".to_owned());
        }
        Token::Word(Word { value, quote_style: None, .. }) => {
            if let Some(hint) = at_a_word(&at, value) {
                return Some(hint);
            }
        }
        _ => {}
    }
    unended_case(tokens)
}

fn at_a_word(at: &At<'_>, value: &str) -> Option<String> {
    if let (Some(Token::Number(number, _)), true) = (at.before(1), interval::is_unit(value)) {
        return Some(format!("a span of time is written INTERVAL '{number} {value}'"));
    }
    if at.is_before(1, "FROM") && at.is_before(2, "AS") {
        return Some("a name is missing behind AS".to_owned());
    }
    let is_of_list = !at.tokens[..at.index].iter().any(|token| is_word(&token.token, "FROM"));
    if is_of_list && unended_case(at.tokens).is_none() {
        return Some(format!("a comma is missing before `{value}`"));
    }
    if FUNCTIONS.scalar.contains_key(&value.to_lowercase()) && at.after(1).is_some_and(is_constant) {
        return Some(format!("`{value}` is a function: write {}(column, value)", value.to_lowercase()));
    }
    let and = ["AND", "OR"].into_iter().find(|word| value.len() == 3 && nearest(value, [*word]).is_some());
    if let Some(word) = and {
        return Some(format!("did you mean `{word}`?"));
    }
    (value.len() > 3).then(|| nearest(value, CLAUSES)).flatten()
}

const fn is_constant(token: &Token) -> bool {
    matches!(token, Token::SingleQuotedString(_) | Token::Number(..))
}

fn unended_case(tokens: &[TokenWithSpan]) -> Option<String> {
    let count = |word| tokens.iter().filter(|token| is_word(&token.token, word)).count();
    (count("CASE") > count("END")).then(|| "a CASE ends with END".to_owned())
}
