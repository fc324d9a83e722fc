//! What the planner says of types, in an author's words.

use arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::ExprSchemable;
use datafusion::sql::sqlparser::ast::Expr;

use super::{Text, functions};
use crate::error::{Diagnostic, codes, nearest};
use crate::sql::failure::{OF_PATTERNS, message_of};
use crate::sql::functions::FUNCTIONS;
use crate::sql::plan::Planner;
use crate::sql::types::type_name;

const CONVERT: &str = "convert one side with CAST, or correct the declared type";

/// What is wrong with an expression whose parts are right.
pub(super) fn of(
    planner: &Planner<'_>,
    schema: &DFSchema,
    text: &Text<'_>,
    expr: &Expr,
    error: &DataFusionError,
) -> Diagnostic {
    let message = message_of(error);
    let type_of = |part: &Expr| planner.coerced(part, schema).and_then(|part| part.get_type(schema)).ok();
    let diagnostic = match expr {
        Expr::Function(function) => return functions::of(&type_of, text, function, expr, &message),
        Expr::Substring { substring_from: None, substring_for: None, .. } => {
            Diagnostic::error(codes::WRONG_TYPE, "`substr` takes 2 or 3 arguments, and 1 is given")
                .hint("write substr(text, from), or substr(text, from, length)")
        }
        Expr::Like { expr: left, pattern: right, .. } | Expr::ILike { expr: left, pattern: right, .. } => {
            not_like(type_of(left), type_of(right)).unwrap_or_else(|| said(&message))
        }
        Expr::BinaryOp { left, right, .. } => match (type_of(left), type_of(right)) {
            (Some(left_type), Some(right_type)) => {
                let is_choice = text.quoted(left).contains("||") || text.quoted(right).contains("||");
                let or = (is_choice && left_type == DataType::Boolean).then_some("`||` joins texts; write OR");
                let hint = or.map_or_else(|| way_out(&message, &left_type, &right_type), str::to_owned);
                said(&message).hint(hint)
            }
            _ => said(&message),
        },
        Expr::InList { expr, .. } => match type_of(expr) {
            Some(data_type) => said(&message).hint(way_out(&message, &data_type, &data_type)),
            None => said(&message),
        },
        Expr::UnaryOp { op, expr } => match type_of(expr) {
            Some(data_type) => {
                let message = format!("`{op}` cannot be applied to {}", type_name(&data_type));
                Diagnostic::error(codes::WRONG_TYPE, message).hint("it goes with numbers and spans of time")
            }
            None => said(&message),
        },
        _ => said(&message),
    };
    diagnostic.at(text.whole(expr))
}

fn not_like(left: Option<DataType>, right: Option<DataType>) -> Option<Diagnostic> {
    let other = [left?, right?].into_iter().find(|data_type| !data_type.is_string() && !data_type.is_null())?;
    let hint = match other {
        DataType::List(_) => MEMBER,
        DataType::Struct(_) => FIELD,
        _ => "make a text of it with CAST(... AS STRING)",
    };
    let message = format!("`LIKE` compares texts, and one side is {}", type_name(&other));
    Some(Diagnostic::error(codes::WRONG_TYPE, message).hint(hint))
}

const MEMBER: &str = "to look for a member of a list write array_has(list, 'value')";
const FIELD: &str = "compare one of its fields, as in src.ip = '10.0.0.1'; a list of values is written IN ('a', 'b')";

/// What to do about two types that do not go together.
fn way_out(message: &str, left: &DataType, right: &DataType) -> String {
    let any = |is: fn(&DataType) -> bool| is(left) || is(right);
    let is_span = |data_type: &DataType| matches!(data_type, DataType::Duration(_) | DataType::Interval(_));
    let hint = if left.is_string() && right.is_string() && message.contains('+') {
        "texts are joined with ||"
    } else if any(|data_type| matches!(data_type, DataType::List(_))) {
        MEMBER
    } else if any(|data_type| matches!(data_type, DataType::Struct(_))) {
        FIELD
    } else if any(|data_type| *data_type == DataType::Boolean) {
        "a BOOLEAN is a condition by itself: write it alone, or NOT in front of it"
    } else if is_span(left) || is_span(right) {
        "write a span of time as INTERVAL '5 minutes'"
    } else if any(|data_type| matches!(data_type, DataType::Timestamp(..))) && any(DataType::is_numeric) {
        "write a time as TIMESTAMP '2026-01-31 12:00:00', or make one of seconds with to_timestamp_seconds(...)"
    } else {
        CONVERT
    };
    hint.to_owned()
}

/// Says that a value stands where a condition is wanted.
pub(super) fn no_condition(text: &Text<'_>, expr: &Expr, data_type: &DataType, by: &str) -> Diagnostic {
    let quoted = text.quoted(expr);
    let message = format!("`{by}` takes a condition, and `{quoted}` is {}", type_name(data_type));
    let hint = match expr {
        Expr::Value(_) => format!("write the whole comparison: column = {quoted}, or column IN (..., {quoted})"),
        _ if data_type.is_string() => format!("compare it: {quoted} = '...', or {quoted} IS NOT NULL"),
        _ if data_type.is_numeric() => format!("compare it: {quoted} > 0, or {quoted} IS NOT NULL"),
        _ => format!("compare it with something, or write {quoted} IS NOT NULL"),
    };
    Diagnostic::error(codes::WRONG_TYPE, message).at(text.whole(expr)).hint(hint)
}

/// A message of the planner, with its code and a way out, without a place.
pub(in crate::sql) fn said(message: &str) -> Diagnostic {
    let (code, hint) = classify(message);
    Diagnostic::error(code, in_our_words(message)).maybe_hint(hint)
}

fn in_our_words(message: &str) -> String {
    if let Some(rest) = message.strip_prefix("Cannot infer common argument type for comparison operation ")
        && let Some((left, operator, right)) = operands(rest)
    {
        return format!("`{operator}` cannot compare {left} with {right}");
    }
    if let Some(rest) = message.strip_prefix("Cannot coerce arithmetic expression ")
        && let Some((left, operator, right)) = operands(rest.trim_end_matches(" to valid types"))
    {
        return format!("`{operator}` cannot be applied to {left} and {right}");
    }
    if let Some(rest) = message.strip_prefix("There isn't a common type to coerce ")
        && let Some((types, operator)) = rest.trim_end_matches(" expression").rsplit_once(" in ")
        && let Some((left, right)) = types.split_once(" and ")
    {
        return format!("`{operator}` cannot compare {} with {}", sql_type(left), sql_type(right));
    }
    if let Some(rest) = message.strip_prefix("Can not find compatible types to compare ")
        && let Some((left, right)) = rest.split_once(" with ")
    {
        let right = right.trim_matches(['[', ']']).split(", ").map(sql_type).collect();
        return format!("`IN` cannot compare {} with {}", sql_type(left), distinct(right).join(" and "));
    }
    if let Some(rest) = message.split("Cannot cast string ").nth(1)
        && let Some((text, rest)) = rest.split_once(" to value of ")
        && let Some((data_type, _)) = rest.split_once(" type")
    {
        return format!("`{text}` is no {}", sql_type(data_type));
    }
    if let Some(rest) = message.strip_prefix("Failed to coerce then (")
        && let Some((then, rest)) = rest.split_once(") and else (")
    {
        let otherwise = rest.rsplit_once(") to common types").map_or(rest, |(types, _)| types);
        return format!("the values of this CASE do not go together: {} and {}", of_list(then), of_list(otherwise));
    }
    message.to_owned()
}

fn distinct(mut names: Vec<String>) -> Vec<String> {
    names.dedup();
    names
}

/// The types of a list, by their names in SQL.
fn of_list(text: &str) -> String {
    text.split(", ").map(sql_type).collect::<Vec<_>>().join(", ")
}

/// Splits `Int64 = Utf8View` into its parts.
fn operands(text: &str) -> Option<(String, String, String)> {
    let operators = text.split_whitespace().filter(|word| !word.chars().any(char::is_alphanumeric) || *word == "IS");
    let operator = operators.into_iter().next()?.to_owned();
    let (left, right) = text.split_once(&format!(" {operator} "))?;
    Some((sql_type(left), operator, sql_type(right)))
}

/// A type by its name in SQL.
fn sql_type(text: &str) -> String {
    let text = text.trim();
    text.parse().ok().map_or_else(|| text.to_owned(), |data_type| type_name(&data_type))
}

fn classify(message: &str) -> (&'static str, Option<String>) {
    let lower = message.to_lowercase();
    if lower.contains("invalid function") || lower.contains("unknown function") {
        let name = message.split('\'').nth(1).unwrap_or_default();
        return (codes::UNKNOWN_FUNCTION, nearest(name, FUNCTIONS.names()));
    }
    if lower.contains("a regular expression cannot be read") {
        return (codes::PLAN, Some(OF_PATTERNS.to_owned()));
    }
    if message.starts_with("`DEFINE` takes a condition") {
        return (codes::WRONG_TYPE, Some("write a comparison, such as A.n > 1".to_owned()));
    }
    let is_type = ["coerce", "coercion", "comparison operation", "compatible types", "type", "cast", "call to '"]
        .iter()
        .any(|word| lower.contains(word));
    if is_type { (codes::WRONG_TYPE, Some(CONVERT.to_owned())) } else { (codes::PLAN, None) }
}
