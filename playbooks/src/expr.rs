//! Conditions: a small typed language over facts. Values are data; nothing in it can act or loop.
//!
//! ```text
//! alert.severity >= 'high' and exists(alert.entities.host)
//! 'T1566.002' in alert.attack or alert.detection in ['a', 'b']
//! not steps.isolate.approved
//! ```
//!
//! Comparisons with an absent value are false, so `not (a = b)` holds where `a` is absent; ask `exists(a)` to tell.

use serde_json::Value;

use crate::facts::Severity;
use crate::fields::{self, Kind, Names};
use crate::problem::{Place, Problem, Span, codes};

mod parse;

/// A checked condition.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    pub(crate) expr: Expr,
    /// As its author wrote it.
    pub text: String,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Expr {
    Or(Box<Expr>, Box<Expr>),
    And(Box<Expr>, Box<Expr>),
    Not(Box<Expr>),
    Exists(Vec<String>),
    Compare {
        left: Operand,
        op: Op,
        right: Operand,
        as_severity: bool,
    },
    /// A field that is true or false by itself.
    Is(Vec<String>),
    Constant(bool),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Operand {
    Field { path: Vec<String>, kind: Kind, offset: usize },
    Literal { value: Value, offset: usize },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    Equal,
    Unequal,
    Less,
    AtMost,
    Greater,
    AtLeast,
    In,
    NotIn,
    Contains,
}

/// What is wrong with a condition, and at which byte of it.
#[derive(Debug)]
pub(crate) struct Wrong {
    pub(crate) code: &'static str,
    pub(crate) offset: usize,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl Wrong {
    /// The word that is wrong, in a file where the condition begins at `start` and stands on one line.
    fn span(&self, text: &str, start: Place) -> Span {
        let (before, rest) = text.split_at_checked(self.offset).unwrap_or((text, ""));
        let column = start.column + before.chars().count() as u32;
        let width = rest[..parse::word_length(rest)].chars().count().max(1) as u32;
        let place = |column| Place { line: start.line, column };
        Span { start: place(column), end: place(column + width) }
    }
}

impl Condition {
    /// Reads and checks a condition that stands at `place` of `source`.
    pub(crate) fn read(
        text: &str,
        span: Span,
        source: &str,
        names: &Names,
        problems: &mut Vec<Problem>,
    ) -> Option<Self> {
        let (expr, mut wrongs) = parse::parse(text, names);
        if let Some(expr) = &expr {
            check(expr, &mut wrongs);
        }
        let is_whole = wrongs.is_empty();
        let written = crate::template::find(source, span, text.trim_end()).filter(|_| !text.contains('\n'));
        for wrong in wrongs {
            let span = written.map_or(span, |written| wrong.span(text, written.start));
            problems.push(Problem::new(wrong.code, span, wrong.message).maybe_hint(wrong.hint));
        }
        expr.filter(|_| is_whole).map(|expr| Self { expr, text: text.to_owned() })
    }

    /// Whether the condition holds for these facts.
    #[must_use]
    pub fn holds(&self, scope: &Value) -> bool {
        holds(&self.expr, scope)
    }
}

fn holds(expr: &Expr, scope: &Value) -> bool {
    match expr {
        Expr::Or(left, right) => holds(left, scope) || holds(right, scope),
        Expr::And(left, right) => holds(left, scope) && holds(right, scope),
        Expr::Not(inner) => !holds(inner, scope),
        Expr::Exists(path) => fields::get(scope, path).is_some(),
        Expr::Is(path) => fields::get(scope, path) == Some(&Value::Bool(true)),
        Expr::Constant(truth) => *truth,
        Expr::Compare { left, op, right, as_severity } => {
            let (Some(left), Some(right)) = (left.value(scope), right.value(scope)) else { return false };
            compare(left, *op, right, *as_severity)
        }
    }
}

impl Operand {
    fn value<'a>(&'a self, scope: &'a Value) -> Option<&'a Value> {
        match self {
            Self::Field { path, .. } => fields::get(scope, path),
            Self::Literal { value, .. } => Some(value),
        }
    }

    const fn offset(&self) -> usize {
        match self {
            Self::Field { offset, .. } | Self::Literal { offset, .. } => *offset,
        }
    }

    const fn kind(&self) -> Kind {
        match self {
            Self::Field { kind, .. } => *kind,
            Self::Literal { value: Value::String(_), .. } => Kind::Text,
            Self::Literal { value: Value::Number(_), .. } => Kind::Number,
            Self::Literal { value: Value::Bool(_), .. } => Kind::Bool,
            Self::Literal { value: Value::Array(_), .. } => Kind::Texts,
            Self::Literal { .. } => Kind::Any,
        }
    }
}

fn compare(left: &Value, op: Op, right: &Value, as_severity: bool) -> bool {
    use std::cmp::Ordering::{Equal, Greater, Less};
    let order = || match (left, right) {
        (Value::Number(a), Value::Number(b)) => a.as_f64().partial_cmp(&b.as_f64()),
        (Value::String(a), Value::String(b)) if as_severity => Some(Severity::of_word(a)?.cmp(&Severity::of_word(b)?)),
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        _ => None,
    };
    match op {
        Op::Equal => order() == Some(Equal),
        Op::Unequal => order().is_some_and(|order| order != Equal),
        Op::Less => order() == Some(Less),
        Op::AtMost => matches!(order(), Some(Less | Equal)),
        Op::Greater => order() == Some(Greater),
        Op::AtLeast => matches!(order(), Some(Greater | Equal)),
        Op::In => is_in(left, right),
        Op::NotIn => !is_in(left, right),
        Op::Contains => match (left, right) {
            (Value::String(text), Value::String(part)) => text.contains(part.as_str()),
            (Value::Array(_), _) => is_in(right, left),
            _ => false,
        },
    }
}

fn is_in(value: &Value, list: &Value) -> bool {
    list.as_array().is_some_and(|items| items.iter().any(|item| compare(value, Op::Equal, item, false)))
}

/// Refuses comparisons of things that do not go together.
fn check(expr: &Expr, wrongs: &mut Vec<Wrong>) {
    match expr {
        Expr::Or(left, right) | Expr::And(left, right) => {
            check(left, wrongs);
            check(right, wrongs);
        }
        Expr::Not(inner) => check(inner, wrongs),
        Expr::Exists(_) | Expr::Is(_) | Expr::Constant(_) => {}
        Expr::Compare { left, op, right, .. } => wrongs.extend(check_compare(left, *op, right).err()),
    }
}

fn check_compare(left: &Operand, op: Op, right: &Operand) -> Result<(), Wrong> {
    let (a, b) = (left.kind(), right.kind());
    let wrong = |operand: &Operand, message: String, hint: Option<String>| {
        Err(Wrong { code: codes::CONDITION_TYPES, offset: operand.offset(), message, hint })
    };
    match op {
        Op::In | Op::NotIn if !matches!(b, Kind::Texts | Kind::Any) => {
            wrong(right, format!("`in` needs a list, not {}", b.name()), Some("write `x in ['a', 'b']`".to_owned()))
        }
        Op::Contains if !matches!(a, Kind::Texts | Kind::Text | Kind::Any) => {
            wrong(left, format!("`contains` looks into text or a list, not {}", a.name()), None)
        }
        Op::In | Op::NotIn | Op::Contains => Ok(()),
        _ => {
            for (field, literal) in [(left, right), (right, left)] {
                if let (Kind::Severity, Operand::Literal { value, .. }) = (field.kind(), literal) {
                    let word = value.as_str().unwrap_or_default();
                    if Severity::of_word(word).is_none() {
                        let words = Severity::ALL.map(Severity::as_str);
                        let hint = crate::problem::nearest(word, words);
                        return wrong(literal, format!("{value} is no severity"), hint);
                    }
                }
            }
            let text_like = |kind| if kind == Kind::Severity { Kind::Text } else { kind };
            if a == Kind::Any || b == Kind::Any || text_like(a) == text_like(b) {
                return Ok(());
            }
            wrong(right, format!("{} cannot be compared with {}", a.name(), b.name()), None)
        }
    }
}

#[cfg(test)]
mod tests;
