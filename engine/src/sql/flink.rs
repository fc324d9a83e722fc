//! Flink's window syntax, rewritten to the short form before parsing: `TABLE(TUMBLE(TABLE s, DESCRIPTOR(time), size))`
//! becomes `TUMBLE(s, time, size)`. Words are only dropped or moved, so every place stays the author's.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::tokens::is_word;

/// The table functions that cut a stream into windows.
pub(crate) const WINDOW_FUNCTIONS: &[&str] = &["TUMBLE", "HOP", "SESSION", "CUMULATE"];

/// Rewrites every window call of the list.
pub(super) fn shorten(mut tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut at = 0;
    while at < tokens.len() {
        let name = if starts(&tokens, at, &["TABLE"]) && is_open(&tokens, at + 1) { at + 2 } else { at };
        let is_window = WINDOW_FUNCTIONS.iter().any(|function| starts(&tokens, name, &[function]));
        if !is_window || !is_open(&tokens, name + 1) {
            at += 1;
            continue;
        }
        let Some(close) = closing(&tokens, name + 1) else { break };
        if name > at {
            if !matches!(tokens.get(close + 1), Some(token) if token.token == Token::RParen) {
                at += 1;
                continue;
            }
            tokens.remove(close + 1);
        }
        let call: Vec<TokenWithSpan> = tokens.splice(name..=close, []).collect();
        let call = shorten_call(call);
        let length = call.len();
        tokens.splice(name..name, call);
        if name > at {
            tokens.drain(at..name);
        }
        at += length;
    }
    tokens
}

/// `TUMBLE ( TABLE s , DESCRIPTOR ( time ) , ... )` without the words that say nothing. The keys of
/// `TABLE s PARTITION BY keys` move to the end, where `SESSION` has them.
fn shorten_call(call: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut kept: Vec<TokenWithSpan> = Vec::with_capacity(call.len());
    let mut keys: Vec<TokenWithSpan> = Vec::new();
    let mut at = 0;
    while at < call.len() {
        if is_word(&call[at].token, "TABLE") && at == 2 {
            at += 1;
        } else if is_word(&call[at].token, "DESCRIPTOR") && is_open(&call, at + 1) {
            let close = closing(&call, at + 1).unwrap_or(call.len() - 1);
            kept.extend_from_slice(&call[at + 2..close]);
            at = close + 1;
        } else if starts(&call, at, &["PARTITION", "BY"]) && keys.is_empty() {
            let end = partition_end(&call, at + 2);
            let parens = is_open(&call, at + 2) && closing(&call, at + 2) == Some(end - 1);
            keys = if parens { call[at + 3..end - 1].to_vec() } else { call[at + 2..end].to_vec() };
            at = end;
        } else {
            kept.push(call[at].clone());
            at += 1;
        }
    }
    if !keys.is_empty()
        && let Some(close) = kept.pop()
    {
        kept.push(TokenWithSpan { token: Token::Comma, span: keys[0].span });
        kept.append(&mut keys);
        kept.push(close);
    }
    kept
}

/// Where `PARTITION BY`'s keys end: before `, DESCRIPTOR`, or behind their parentheses.
fn partition_end(call: &[TokenWithSpan], from: usize) -> usize {
    if is_open(call, from) {
        return closing(call, from).map_or(call.len() - 1, |close| close + 1);
    }
    (from..call.len())
        .find(|at| call[*at].token == Token::Comma && starts(call, at + 1, &["DESCRIPTOR"]))
        .unwrap_or(call.len() - 1)
}

fn starts(tokens: &[TokenWithSpan], at: usize, words: &[&str]) -> bool {
    words
        .iter()
        .enumerate()
        .all(|(index, word)| tokens.get(at + index).is_some_and(|token| is_word(&token.token, word)))
}

fn is_open(tokens: &[TokenWithSpan], at: usize) -> bool {
    tokens.get(at).is_some_and(|token| token.token == Token::LParen)
}

/// The parenthesis that closes the one at `open`.
fn closing(tokens: &[TokenWithSpan], open: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}
