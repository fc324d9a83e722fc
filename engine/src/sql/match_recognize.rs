//! `MATCH_RECOGNIZE` in the form that sqlparser reads. Words are only dropped or moved, so every place stays the author's:
//! `WITHIN INTERVAL '..'` becomes the first definition, under a name that nobody can write; `SKIP TO v` becomes
//! `SKIP TO LAST v`, which is what it means; `RUNNING` and `FINAL` go, since one row per match makes them one.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Word};

use super::tokens::is_word;

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
        kept.push(token.clone());
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
