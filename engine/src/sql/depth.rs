//! How deep a syntax tree may get. sqlparser counts parentheses; it does not count `a || b || c ...`, which leans the
//! tree to the left by one level per operator and, long enough, overflows the stack of whoever walks or drops it.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::tokens::{is_word, span_of};
use crate::error::{Diagnostic, codes};

/// `AND` and `OR` in one chain. The chain is made shallow after parsing.
const LOGICAL_MAX: usize = 4_000;

/// Other operators in one chain, and branches of one UNION.
const OPERATORS_MAX: usize = 300;

/// Brackets inside brackets. sqlparser tries some readings twice per level, so that the time doubles with each.
const BRACKETS_MAX: usize = 24;

/// What leans the tree at one level of brackets.
#[derive(Default, Clone, Copy)]
struct Chain {
    logical: usize,
    operators: usize,
    set_operations: usize,
    /// `BETWEEN`s that still wait for their `AND`.
    betweens: usize,
}

/// Refuses a text whose tree would be too deep.
pub(super) fn check(tokens: &[TokenWithSpan]) -> Result<(), Diagnostic> {
    let mut levels = vec![Chain::default()];
    for token in tokens {
        match token.token {
            Token::LParen | Token::LBracket | Token::LBrace => levels.push(Chain::default()),
            Token::RParen | Token::RBracket | Token::RBrace => {
                if levels.len() > 1 {
                    levels.pop();
                }
            }
            _ => {
                if let Some(chain) = levels.last_mut() {
                    count(chain, &token.token);
                }
            }
        }
        let sum = |part: fn(&Chain) -> usize| levels.iter().map(part).sum::<usize>();
        let (message, hint) = if levels.len() > BRACKETS_MAX + 1 {
            (format!("brackets nest more than {BRACKETS_MAX} levels"), "give the inner parts names with WITH")
        } else if sum(|chain| chain.logical) > LOGICAL_MAX {
            (format!("more than {LOGICAL_MAX} conditions in one chain"), LISTS)
        } else if sum(|chain| chain.operators + chain.set_operations) > OPERATORS_MAX {
            (format!("more than {OPERATORS_MAX} operators in one chain"), LISTS)
        } else {
            continue;
        };
        return Err(Diagnostic::error(codes::SYNTAX, message).at(span_of(token.span)).hint(hint));
    }
    Ok(())
}

const LISTS: &str = "put long lists of values into `IN (...)`, or into a table and join it";

fn count(chain: &mut Chain, token: &Token) {
    const LOGICAL: &[&str] = &["AND", "OR"];
    const SET: &[&str] = &["UNION", "EXCEPT", "INTERSECT", "MINUS"];
    const CLAUSES: &[&str] = &[
        "SELECT", "FROM", "WHERE", "GROUP", "HAVING", "QUALIFY", "ORDER", "BY", "ON", "WHEN", "THEN", "ELSE", "END",
        "AS",
    ];
    const OPERATORS: &[&str] = &[
        "IS", "IN", "LIKE", "ILIKE", "BETWEEN", "SIMILAR", "COLLATE", "AT", "NOT", "NOTNULL", "ISNULL", "REGEXP",
        "RLIKE", "OVERLAPS", "MEMBER", "DIV", "XOR", "GLOB", "MATCH", "OPERATOR", "CASE", "INTERVAL",
    ];
    let any = |words: &[&str]| words.iter().any(|word| is_word(token, word));
    match token {
        Token::Comma | Token::SemiColon => *chain = Chain { set_operations: chain.set_operations, ..Chain::default() },
        Token::Word(_) => {
            if any(SET) {
                chain.set_operations += 1;
            } else if any(CLAUSES) {
                *chain = Chain { set_operations: chain.set_operations, ..Chain::default() };
            } else if any(LOGICAL) {
                if chain.betweens > 0 {
                    chain.betweens -= 1;
                } else {
                    chain.logical += 1;
                    chain.operators = 0;
                }
            } else if any(OPERATORS) {
                chain.operators += 1;
                chain.betweens += usize::from(is_word(token, "BETWEEN"));
            }
        }
        Token::Period | Token::Number(..) | Token::SingleQuotedString(_) | Token::Placeholder(_) | Token::Colon => {}
        _ => chain.operators += 1,
    }
}
