//! `MATCH_RECOGNIZE` in the form that sqlparser reads, and its parts. Words are only dropped or moved, so every place stays the
//! author's: `WITHIN INTERVAL '..'` becomes the first definition, under a name that nobody can write; `SKIP TO v` becomes
//! `SKIP TO LAST v`, which is what it means; `{- v -}` stands in parentheses; `RUNNING` and `FINAL` go, since one row per
//! match makes them one.

use datafusion::sql::sqlparser::ast::{
    AfterMatchSkip, Expr, MatchRecognizePattern, Measure, OrderByExpr, SymbolDefinition, TableAlias, TableFactor,
};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Word};

use super::tokens::is_word;

/// What is written in a `MATCH_RECOGNIZE`.
pub(crate) struct Written<'a> {
    pub(crate) table: &'a mut TableFactor,
    pub(crate) partition_by: &'a mut Vec<Expr>,
    pub(crate) order_by: &'a mut Vec<OrderByExpr>,
    pub(crate) measures: &'a mut Vec<Measure>,
    pub(crate) skip: &'a mut Option<AfterMatchSkip>,
    pub(crate) pattern: &'a mut MatchRecognizePattern,
    /// What `DEFINE` says, and the span of a match.
    pub(crate) symbols: &'a mut Vec<SymbolDefinition>,
    pub(crate) alias: &'a mut Option<TableAlias>,
}

impl<'a> Written<'a> {
    /// The parts of a relation; `None` if it is none of this kind.
    pub(crate) fn of(factor: &'a mut TableFactor) -> Option<Self> {
        let TableFactor::MatchRecognize {
            table,
            partition_by,
            order_by,
            measures,
            after_match_skip: skip,
            pattern,
            symbols,
            alias,
            // One row per match, or it was refused before.
            rows_per_match: _,
        } = factor
        else {
            return None;
        };
        Some(Self { table, partition_by, order_by, measures, skip, pattern, symbols, alias })
    }
}

/// The name under which the definitions hold the span of a match.
pub(crate) const WITHIN: &str = "\u{1}within";

/// Rewrites every `MATCH_RECOGNIZE` of the list.
pub(super) fn prepare(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    if !tokens.iter().any(|token| is_word(&token.token, "MATCH_RECOGNIZE")) {
        return tokens;
    }
    let mut kept = Vec::with_capacity(tokens.len() + 2);
    let mut depth = 0_usize;
    // Depths at which a MATCH_RECOGNIZE is open, and how many tokens had been kept when it was opened.
    let mut open: Vec<(usize, Option<Vec<TokenWithSpan>>)> = vec![];
    let mut at = 0;
    while at < tokens.len() {
        let token = &tokens[at];
        let is_at = |index: usize, word: &str| tokens.get(index).is_some_and(|token| is_word(&token.token, word));
        match token.token {
            Token::LParen => {
                depth += 1;
                if at > 0 && is_at(at - 1, "MATCH_RECOGNIZE") {
                    open.push((depth, None));
                }
            }
            Token::RParen => {
                if open.last().is_some_and(|(of, _)| *of == depth) {
                    open.pop();
                }
                depth = depth.saturating_sub(1);
            }
            _ => {}
        }
        if let Some((_, within)) = open.last_mut().filter(|(of, _)| *of == depth) {
            if is_at(at, "WITHIN") && at > 0 && tokens[at - 1].token == Token::RParen {
                let end = (at + 1..tokens.len()).find(|index| is_at(*index, "DEFINE")).unwrap_or(tokens.len());
                *within = Some(tokens[at..end].to_vec());
                at = end;
                continue;
            }
            if is_at(at, "DEFINE") {
                kept.push(token.clone());
                kept.extend(within.take().map(definition).unwrap_or_default());
                at += 1;
                continue;
            }
            let is_call = matches!(tokens.get(at + 2), Some(token) if token.token == Token::LParen);
            if (is_at(at, "RUNNING") || is_at(at, "FINAL")) && is_call && tokens[at + 1].token != Token::LParen {
                at += 1;
                continue;
            }
            if is_at(at, "SKIP") && is_at(at + 1, "TO") && !["NEXT", "FIRST", "LAST"].iter().any(|w| is_at(at + 2, w)) {
                kept.extend_from_slice(&tokens[at..at + 2]);
                kept.push(TokenWithSpan { token: word("LAST", None, Keyword::LAST), span: tokens[at + 1].span });
                at += 2;
                continue;
            }
        }
        // Behind a variable, `{` would begin a quantifier.
        let of = |token: Token| TokenWithSpan { token, span: tokens[at].span };
        let is_next = |next: Token| tokens.get(at + 1).is_some_and(|token| token.token == next);
        if !open.is_empty() && token.token == Token::LBrace && is_next(Token::Minus) {
            kept.push(of(Token::LParen));
        }
        kept.push(token.clone());
        if !open.is_empty() && token.token == Token::RBrace && at > 0 && tokens[at - 1].token == Token::Minus {
            kept.push(of(Token::RParen));
        }
        at += 1;
    }
    kept
}

/// `WITHIN <span>` as `<name> AS <span> ,`.
fn definition(within: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let span = within[0].span;
    let of = |token: Token| TokenWithSpan { token, span };
    let mut tokens = vec![of(word(WITHIN, Some('"'), Keyword::NoKeyword)), of(word("AS", None, Keyword::AS))];
    tokens.extend(within.into_iter().skip(1));
    tokens.push(of(Token::Comma));
    tokens
}

fn word(value: &str, quote_style: Option<char>, keyword: Keyword) -> Token {
    Token::Word(Word { value: value.to_owned(), quote_style, keyword })
}
