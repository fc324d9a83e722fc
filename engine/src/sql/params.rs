//! `$name` parameters: values from the header put into the syntax tree as literals.

use std::collections::BTreeMap;

use arrow::array::Array;
use chrono::DateTime;
use datafusion::common::ScalarValue;
use datafusion::sql::sqlparser::ast::{self, Expr, Value, ValueWithSpan};
use datafusion::sql::sqlparser::tokenizer::Span as SqlSpan;

use super::tokens::span_of;
use crate::error::{Diagnostic, codes, nearest};

const GIVE_IT_A_VALUE: &str = "give it a value: `params` in a detection's header, `--param` of a hunt";

/// The values of a query's parameters.
pub(super) struct Parameters<'a>(&'a BTreeMap<String, ScalarValue>);

impl<'a> Parameters<'a> {
    pub(super) fn new(params: &'a BTreeMap<String, ScalarValue>) -> Self {
        Self(params)
    }

    /// Replaces the expression if it is a parameter; a list parameter inside `IN (...)` becomes its members.
    pub(super) fn fill(&self, expr: &mut Expr) -> Result<(), Diagnostic> {
        match expr {
            Expr::Value(ValueWithSpan { value: Value::Placeholder(name), span }) => {
                let filled = literal(self.value(name, *span)?, *span).ok_or_else(|| unusable(name, *span))?;
                *expr = filled;
            }
            Expr::InList { list, .. } => self.fill_list(list)?,
            _ => {}
        }
        Ok(())
    }

    fn fill_list(&self, list: &mut Vec<Expr>) -> Result<(), Diagnostic> {
        let mut filled = Vec::with_capacity(list.len());
        for item in std::mem::take(list) {
            match &item {
                Expr::Value(ValueWithSpan { value: Value::Placeholder(name), span }) => {
                    let value = self.value(name, *span);
                    match value.as_ref().ok().and_then(|value| members(value)) {
                        Some(members) => {
                            for member in members {
                                filled.push(literal(&member, *span).ok_or_else(|| unusable(name, *span))?);
                            }
                        }
                        // The visitor comes by again and reports what is wrong with a single value.
                        None => filled.push(item),
                    }
                }
                _ => filled.push(item),
            }
        }
        *list = filled;
        Ok(())
    }

    fn value(&self, placeholder: &str, span: SqlSpan) -> Result<&'a ScalarValue, Diagnostic> {
        let name = placeholder.trim_start_matches('$');
        self.0.get(name).ok_or_else(|| {
            let known = self.0.keys().map(String::as_str);
            let hint = nearest(name, known).unwrap_or_else(|| GIVE_IT_A_VALUE.to_owned());
            Diagnostic::error(codes::UNKNOWN_PARAMETER, format!("there is no parameter `{placeholder}`"))
                .at(span_of(span))
                .hint(hint)
        })
    }
}

fn unusable(placeholder: &str, span: SqlSpan) -> Diagnostic {
    Diagnostic::error(codes::WRONG_TYPE, format!("the value of `{placeholder}` cannot be written in SQL"))
        .at(span_of(span))
}

/// The members of a list value.
fn members(value: &ScalarValue) -> Option<Vec<ScalarValue>> {
    let ScalarValue::List(list) = value else { return None };
    let items = list.is_valid(0).then(|| list.value(0))?;
    (0..items.len()).map(|at| ScalarValue::try_from_array(&items, at).ok()).collect()
}

/// A value as an author would have written it.
fn literal(value: &ScalarValue, span: SqlSpan) -> Option<Expr> {
    if value.is_null() {
        return Some(Expr::Value(Value::Null.with_span(span)));
    }
    if let Some(members) = members(value) {
        let elem = members.iter().map(|member| literal(member, span)).collect::<Option<_>>()?;
        return Some(Expr::Array(ast::Array { elem, named: true }));
    }
    let written = match value {
        ScalarValue::Boolean(Some(truth)) => Value::Boolean(*truth),
        ScalarValue::Utf8(Some(text)) | ScalarValue::LargeUtf8(Some(text)) | ScalarValue::Utf8View(Some(text)) => {
            Value::SingleQuotedString(text.clone())
        }
        ScalarValue::Float64(Some(number)) if number.is_finite() => {
            return Some(number_literal(&format!("{number:?}"), span));
        }
        ScalarValue::Float32(Some(number)) if number.is_finite() => {
            return Some(number_literal(&format!("{number:?}"), span));
        }
        ScalarValue::TimestampMicrosecond(Some(us), None) => return time_literal(*us, span),
        _ if value.data_type().is_integer() => return Some(number_literal(&value.to_string(), span)),
        _ => return None,
    };
    Some(Expr::Value(written.with_span(span)))
}

/// An instant as `TIMESTAMP '...'`.
fn time_literal(us: i64, span: SqlSpan) -> Option<Expr> {
    let text = DateTime::from_timestamp_micros(us)?.format("%Y-%m-%d %H:%M:%S%.6f").to_string();
    Some(Expr::TypedString(ast::TypedString {
        data_type: ast::DataType::Timestamp(None, ast::TimezoneInfo::None),
        value: Value::SingleQuotedString(text).with_span(span),
        uses_odbc_syntax: false,
    }))
}

/// A number; a negative one is a minus in front of a number, as the parser would make it.
fn number_literal(text: &str, span: SqlSpan) -> Expr {
    let number = |digits: &str| Expr::Value(Value::Number(digits.to_owned(), false).with_span(span));
    match text.strip_prefix('-') {
        Some(digits) => {
            Expr::Nested(Box::new(Expr::UnaryOp { op: ast::UnaryOperator::Minus, expr: Box::new(number(digits)) }))
        }
        None => number(text),
    }
}
