//! What an author wrote for an output column: its place, and the constants that it can be. Whoever knows what a column
//! stands for can refuse a misspelt constant before an event comes.

use std::collections::BTreeMap;

use datafusion::common::ScalarValue;
use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Query, SelectItem, SetExpr, UnaryOperator, Value,
    ValueWithSpan,
};

use super::parse::{Runs, parse_select, spot};
use super::tokens::span_of;
use crate::error::{Place, Span};

/// Functions that pass one of their arguments on.
const CHOOSING: &[&str] = &["coalesce", "ifnull", "nvl"];

/// An output column as it stands in the text, once for each `SELECT` that a `UNION` is made of.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Written {
    /// The first place where it is written; `None` where only a `*` stands for it.
    pub span: Option<Span>,
    /// The texts and numbers that its value can be, with their places; a parameter is its value.
    pub constants: Vec<(ScalarValue, Option<Span>)>,
}

/// How the output column of that name, whatever its case, is written. A text that cannot be read has nothing to say.
#[must_use]
pub fn written(sql: &str, start: Place, params: &BTreeMap<String, ScalarValue>, column: &str) -> Written {
    let mut found = Written::default();
    let Some(query) = read(sql, start, params) else { return found };
    let mut lists = Vec::new();
    select_lists(&query.body, &mut lists);
    let Some(first) = lists.first() else { return found };
    let at = first.iter().position(|item| is_named(item, column));
    for list in lists {
        let by_name = list.iter().find(|item| is_named(item, column));
        // The names of a UNION are those of its first SELECT; the others go by their order.
        let by_order = || list.get(at?).filter(|_| !list.iter().any(is_star));
        let Some(expr) = by_name.or_else(by_order).and_then(expression) else { continue };
        found.span = found.span.or_else(|| spot(expr));
        constants(expr, &mut found.constants);
    }
    found
}

/// The names of the output columns as they are written, with the places of those that are no aliases; `None` where they are
/// not all written, because of a `*` or of a value without a name.
#[must_use]
pub fn written_names(
    sql: &str,
    start: Place,
    params: &BTreeMap<String, ScalarValue>,
) -> Option<Vec<(String, Option<Span>)>> {
    let query = read(sql, start, params)?;
    let mut lists = Vec::new();
    select_lists(&query.body, &mut lists);
    let place = |item: &SelectItem| match item {
        SelectItem::UnnamedExpr(column) => spot(column),
        _ => None,
    };
    let named = |item: &SelectItem| Some((name_of(item)?.to_owned(), place(item)));
    lists.first()?.iter().map(named).collect()
}

/// The tree of a text, if its names can be read; what is refused of its values does not matter here.
fn read(sql: &str, start: Place, params: &BTreeMap<String, ScalarValue>) -> Option<Box<Query>> {
    parse_select(sql, start, Runs::OnStreams, params).or_else(|refused| refused.query.ok_or(())).ok()
}

fn select_lists<'a>(body: &'a SetExpr, lists: &mut Vec<&'a [SelectItem]>) {
    match body {
        SetExpr::Select(select) => lists.push(&select.projection),
        SetExpr::Query(query) => select_lists(&query.body, lists),
        SetExpr::SetOperation { left, right, .. } => {
            select_lists(left, lists);
            select_lists(right, lists);
        }
        _ => {}
    }
}

fn is_named(item: &SelectItem, column: &str) -> bool {
    name_of(item).is_some_and(|name| name.eq_ignore_ascii_case(column))
}

fn name_of(item: &SelectItem) -> Option<&str> {
    match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(&alias.value),
        SelectItem::UnnamedExpr(Expr::Identifier(ident)) => Some(&ident.value),
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => parts.last().map(|ident| ident.value.as_str()),
        _ => None,
    }
}

const fn is_star(item: &SelectItem) -> bool {
    matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..))
}

const fn expression(item: &SelectItem) -> Option<&Expr> {
    match item {
        SelectItem::ExprWithAlias { expr, .. } | SelectItem::UnnamedExpr(expr) => Some(expr),
        _ => None,
    }
}

fn constants(expr: &Expr, found: &mut Vec<(ScalarValue, Option<Span>)>) {
    match expr {
        Expr::Value(value) => found.extend(scalar(value, "").map(|scalar| (scalar, span_of(value.span)))),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => {
            if let Expr::Value(value) = &**expr {
                found.extend(scalar(value, "-").map(|scalar| (scalar, span_of(value.span))));
            }
        }
        Expr::Nested(inner) | Expr::Cast { expr: inner, .. } => constants(inner, found),
        Expr::Case { conditions, else_result, .. } => {
            conditions.iter().for_each(|when| constants(&when.result, found));
            else_result.iter().for_each(|result| constants(result, found));
        }
        Expr::Function(function) if CHOOSING.contains(&function.name.to_string().to_lowercase().as_str()) => {
            arguments(function).for_each(|argument| constants(argument, found));
        }
        _ => {}
    }
}

fn arguments(function: &Function) -> impl Iterator<Item = &Expr> {
    let list = match &function.args {
        FunctionArguments::List(list) => list.args.as_slice(),
        _ => &[],
    };
    list.iter().filter_map(|argument| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    })
}

fn scalar(value: &ValueWithSpan, sign: &str) -> Option<ScalarValue> {
    match &value.value {
        Value::SingleQuotedString(text) => Some(ScalarValue::Utf8View(Some(text.clone()))),
        Value::Number(digits, _) => format!("{sign}{digits}").parse().ok().map(|n| ScalarValue::Float64(Some(n))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(sql: &str) -> Vec<String> {
        let params = BTreeMap::from([("loud".to_owned(), ScalarValue::from("high"))]);
        let place = |span: Option<Span>| span.map_or(0, |span| span.start.column);
        let written = written(sql, Place::START, &params, "severity");
        let constants = written.constants.iter().map(|(value, span)| format!("{value}@{}", place(*span)));
        std::iter::once(format!("@{}", place(written.span))).chain(constants).collect()
    }

    #[test]
    fn constants_are_found_wherever_the_value_is_chosen() {
        assert_eq!(told("SELECT 'a' AS severity"), ["@8", "a@8"]);
        assert_eq!(told("SELECT time, (-5) AS Severity FROM s"), ["@16", "-5@16"]);
        assert_eq!(told("SELECT $loud AS severity"), ["@8", "high@8"]);
        assert_eq!(
            told("SELECT CASE x WHEN 1 THEN 'a' WHEN 'no' THEN y ELSE coalesce(z, 'b') END AS severity FROM s"),
            ["@8", "a@27", "b@65"]
        );
    }

    #[test]
    fn other_selects_of_a_union_go_by_name_or_order() {
        assert_eq!(told("SELECT x, 'a' AS severity FROM s UNION ALL SELECT y, 'b' FROM t"), ["@11", "a@11", "b@54"]);
        assert_eq!(told("SELECT 'a' AS severity, x FROM s UNION ALL SELECT * FROM t"), ["@8", "a@8"]);
    }

    #[test]
    fn what_is_no_constant_has_only_a_place() {
        assert_eq!(told("SELECT i.severity FROM i"), ["@8"]);
        assert_eq!(told("SELECT upper('a') AS severity FROM i"), ["@8"]);
        assert_eq!(told("SELECT * FROM i"), ["@0"]);
        assert_eq!(told("SELECT FROM"), ["@0"]);
    }
}
