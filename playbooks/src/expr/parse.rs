//! The text of a condition to its tree: a tokenizer and one function per level of precedence.

use serde_json::Value;

use super::{Expr, Op, Operand, Wrong};
use crate::fields::{Kind, Names};
use crate::problem::codes;

/// Nesting deeper than this is refused, so that no text can exhaust the stack.
const DEPTH_MAX: usize = 64;

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Number(f64),
    Sign(&'static str),
}

/// The tree of a condition, and what is wrong with it: every unknown field, and where its grammar breaks, if it does.
pub(super) fn parse(text: &str, names: &Names) -> (Option<Expr>, Vec<Wrong>) {
    let tokens = match tokens(text) {
        Ok(tokens) => tokens,
        Err(wrong) => return (None, vec![wrong]),
    };
    let mut parser = Parser { tokens, at: 0, end: text.len(), names, depth: 0, unknown: Vec::new() };
    let parsed = parser.or().and_then(|expr| match parser.tokens.get(parser.at) {
        None => Ok(expr),
        Some((offset, token)) => {
            Err(syntax(*offset, format!("unexpected {}", show(token)), Some("join conditions with `and` or `or`")))
        }
    });
    let mut wrongs = parser.unknown;
    match parsed {
        Ok(expr) => (Some(expr), wrongs),
        Err(wrong) => {
            wrongs.push(wrong);
            (None, wrongs)
        }
    }
}

/// How many bytes the word takes that `rest` begins with.
pub(super) fn word_length(rest: &str) -> usize {
    let Some(first) = rest.chars().next() else { return 0 };
    match token(rest, first) {
        Ok((_, length)) => length,
        // A quote that nobody closed goes on to the end.
        Err(_) if first == '\'' || first == '"' => rest.len(),
        Err(_) => first.len_utf8(),
    }
}

fn syntax(offset: usize, message: impl Into<String>, hint: Option<&str>) -> Wrong {
    Wrong { code: codes::CONDITION_SYNTAX, offset, message: message.into(), hint: hint.map(str::to_owned) }
}

fn show(token: &Token) -> String {
    match token {
        Token::Word(word) => format!("`{word}`"),
        Token::Text(text) => format!("'{text}'"),
        Token::Number(number) => number.to_string(),
        Token::Sign(sign) => format!("`{sign}`"),
    }
}

const SIGNS: [&str; 12] = ["<=", ">=", "!=", "<>", "==", "=", "<", ">", "(", ")", "[", "]"];

fn tokens(text: &str) -> Result<Vec<(usize, Token)>, Wrong> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        }
        let (token, length) = token(&text[at..], first).map_err(|wrong| Wrong { offset: at, ..wrong })?;
        tokens.push((at, token));
        at += length;
    }
    Ok(tokens)
}

/// The token that `rest` begins with, and how many bytes it takes.
fn token(rest: &str, first: char) -> Result<(Token, usize), Wrong> {
    if first == ',' {
        Ok((Token::Sign(","), 1))
    } else if let Some(sign) = SIGNS.into_iter().find(|sign| rest.starts_with(sign)) {
        Ok((Token::Sign(sign), sign.len()))
    } else if first == '\'' || first == '"' {
        let (literal, length) = quoted(rest, first).ok_or_else(|| syntax(0, "text without closing quote", None))?;
        Ok((Token::Text(literal), length))
    } else if first.is_ascii_digit() || first == '-' {
        let length = rest[1..].find(|c: char| !c.is_ascii_digit() && c != '.').map_or(rest.len(), |n| n + 1);
        let number =
            rest[..length].parse().map_err(|error| syntax(0, format!("`{}`: {error}", &rest[..length]), None))?;
        Ok((Token::Number(number), length))
    } else if first.is_alphabetic() || first == '_' {
        let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_' && c != '.').unwrap_or(rest.len());
        Ok((Token::Word(rest[..length].to_owned()), length))
    } else {
        let hint = if first == '$' { Some("conditions name fields without `${}`") } else { None };
        Err(syntax(0, format!("unexpected `{first}`"), hint))
    }
}

/// A quoted text in which a doubled quote stands for one, and how many bytes it takes.
fn quoted(rest: &str, quote: char) -> Option<(String, usize)> {
    let mut literal = String::new();
    let mut chars = rest.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c != quote {
            literal.push(c);
        } else if chars.peek().is_some_and(|(_, next)| *next == quote) {
            literal.push(quote);
            chars.next();
        } else {
            return Some((literal, at + quote.len_utf8()));
        }
    }
    None
}

struct Parser<'a> {
    tokens: Vec<(usize, Token)>,
    at: usize,
    end: usize,
    names: &'a Names,
    depth: usize,
    unknown: Vec<Wrong>,
}

impl Parser<'_> {
    fn offset(&self) -> usize {
        self.tokens.get(self.at).map_or(self.end, |(offset, _)| *offset)
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.tokens.get(self.at), Some((_, Token::Word(found))) if found.eq_ignore_ascii_case(word))
    }

    fn accept_word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        self.at += usize::from(found);
        found
    }

    fn accept_sign(&mut self, sign: &str) -> bool {
        let found = matches!(self.tokens.get(self.at), Some((_, Token::Sign(found))) if *found == sign);
        self.at += usize::from(found);
        found
    }

    fn expect_sign(&mut self, sign: &str) -> Result<(), Wrong> {
        if self.accept_sign(sign) { Ok(()) } else { Err(syntax(self.offset(), format!("`{sign}` is missing"), None)) }
    }

    fn or(&mut self) -> Result<Expr, Wrong> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(syntax(self.offset(), "too deeply nested", None));
        }
        let mut left = self.and()?;
        while self.accept_word("or") {
            left = Expr::Or(Box::new(left), Box::new(self.and()?));
        }
        self.depth -= 1;
        Ok(left)
    }

    fn and(&mut self) -> Result<Expr, Wrong> {
        let mut left = self.not()?;
        while self.accept_word("and") {
            left = Expr::And(Box::new(left), Box::new(self.not()?));
        }
        Ok(left)
    }

    fn not(&mut self) -> Result<Expr, Wrong> {
        let mut negated = false;
        while self.accept_word("not") {
            negated = !negated;
        }
        let expr = self.primary()?;
        Ok(if negated { Expr::Not(Box::new(expr)) } else { expr })
    }

    fn primary(&mut self) -> Result<Expr, Wrong> {
        if self.accept_sign("(") {
            let expr = self.or()?;
            self.expect_sign(")")?;
            return Ok(expr);
        }
        if self.accept_word("exists") {
            self.expect_sign("(")?;
            let Operand::Field { path, .. } = self.operand()? else {
                return Err(syntax(
                    self.offset(),
                    "`exists` asks for a field",
                    Some("write `exists(alert.entities.host)`"),
                ));
            };
            self.expect_sign(")")?;
            return Ok(Expr::Exists(path));
        }
        let left = self.operand()?;
        let Some(op) = self.operator() else { return alone(left) };
        let right = self.operand()?;
        let as_severity = [&left, &right].iter().any(|operand| operand.kind() == Kind::Severity);
        Ok(Expr::Compare { left, op, right, as_severity })
    }

    fn operator(&mut self) -> Option<Op> {
        const WORDS: [(&str, Op); 2] = [("in", Op::In), ("contains", Op::Contains)];
        const OPERATORS: [(&str, Op); 8] = [
            ("<=", Op::AtMost),
            (">=", Op::AtLeast),
            ("!=", Op::Unequal),
            ("<>", Op::Unequal),
            ("==", Op::Equal),
            ("=", Op::Equal),
            ("<", Op::Less),
            (">", Op::Greater),
        ];
        if self.is_word("not")
            && matches!(self.tokens.get(self.at + 1), Some((_, Token::Word(word))) if word.eq_ignore_ascii_case("in"))
        {
            self.at += 2;
            return Some(Op::NotIn);
        }
        let word = WORDS.into_iter().find(|(word, _)| self.accept_word(word));
        word.or_else(|| OPERATORS.into_iter().find(|(sign, _)| self.accept_sign(sign))).map(|(_, op)| op)
    }

    fn operand(&mut self) -> Result<Operand, Wrong> {
        let offset = self.offset();
        let Some((_, token)) = self.tokens.get(self.at).cloned() else {
            return Err(syntax(offset, "the condition ends too early", None));
        };
        self.at += 1;
        match token {
            Token::Text(text) => Ok(Operand::Literal { value: Value::String(text), offset }),
            Token::Number(number) => Ok(Operand::Literal { value: number_value(number), offset }),
            Token::Sign("[") => self.list(offset),
            Token::Word(word) if word.eq_ignore_ascii_case("true") || word.eq_ignore_ascii_case("false") => {
                Ok(Operand::Literal { value: Value::Bool(word.eq_ignore_ascii_case("true")), offset })
            }
            Token::Word(word) => Ok(self.field(&word, offset)),
            Token::Sign(sign) => Err(syntax(offset, format!("unexpected `{sign}`"), None)),
        }
    }

    fn list(&mut self, offset: usize) -> Result<Operand, Wrong> {
        let mut items = Vec::new();
        while !self.accept_sign("]") {
            let at = self.offset();
            match self.operand()? {
                Operand::Literal { value, .. } if !value.is_array() => items.push(value),
                _ => return Err(syntax(at, "a list holds text and numbers", None)),
            }
            if !self.accept_sign(",") {
                self.expect_sign("]")?;
                break;
            }
        }
        Ok(Operand::Literal { value: Value::Array(items), offset })
    }

    /// A field; an unknown one is told, and the rest is read as if it could be anything.
    fn field(&mut self, word: &str, offset: usize) -> Operand {
        let path: Vec<String> = word.split('.').map(str::to_owned).collect();
        let kind = self.names.kind(&path).unwrap_or_else(|unknown| {
            let hint = if path.len() == 1 { Some(format!("quote text: '{word}'")) } else { unknown.hint };
            self.unknown.push(Wrong { code: codes::PLAYBOOK_FIELD, offset, message: unknown.message, hint });
            Kind::Any
        });
        Operand::Field { path, kind, offset }
    }
}

/// An operand that stands by itself must be true or false.
fn alone(operand: Operand) -> Result<Expr, Wrong> {
    match operand {
        Operand::Field { path, kind: Kind::Bool | Kind::Any, .. } => Ok(Expr::Is(path)),
        Operand::Literal { value: Value::Bool(truth), .. } => Ok(Expr::Constant(truth)),
        other => Err(Wrong {
            code: codes::CONDITION_TYPES,
            offset: other.offset(),
            message: format!("a condition is true or false, and this is {}", other.kind().name()),
            hint: Some("compare it, or write `exists(...)`".to_owned()),
        }),
    }
}

fn number_value(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() < 9e15 { Value::from(number as i64) } else { Value::from(number) }
}
