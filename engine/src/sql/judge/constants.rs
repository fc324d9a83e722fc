//! Constants that cannot be what they are compared with, and patterns and units that cannot be read. What they stand in
//! would be NULL for every event. Also what may be wrong with a plan that DataFusion takes all the same.

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::{self as plan, ExprSchemable, LogicalPlan, Operator};
use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, TypedString, Value, ValueWithSpan, WindowType};

use super::functions::arguments;
use super::{Text, frames};
use crate::error::{Diagnostic, codes};
use crate::sql::failure::bad_pattern;
use crate::sql::functions::FUNCTIONS;
use crate::sql::plan::Planner;
use crate::sql::types::type_name;

/// Functions whose second argument is a regular expression.
const OF_PATTERNS: [&str; 5] = ["regexp_count", "regexp_instr", "regexp_like", "regexp_match", "regexp_replace"];

/// Functions whose first argument is a unit of time.
const OF_UNITS: [&str; 4] = ["date_part", "datepart", "date_trunc", "datetrunc"];

/// Whether a plan may hold something that is refused although it can be planned. It keeps no places, so the text is
/// searched only then.
pub(in crate::sql) fn may_hold_a_mistake(plan: &LogicalPlan) -> bool {
    let mut found = false;
    let searched = plan.apply_with_subqueries(|node| {
        let inputs = node.inputs();
        let schema = inputs.first().map(|input| input.schema().as_ref());
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                found |= may_be_bad(expr, schema);
                Ok(TreeNodeRecursion::Continue)
            })
        })
    });
    found || searched.is_err()
}

/// Whether what a function or a CASE takes for a condition may be none.
fn may_be_no_condition(condition: &plan::Expr, schema: Option<&DFSchema>) -> bool {
    match condition {
        plan::Expr::Cast(_) | plan::Expr::TryCast(_) => true,
        other => schema.is_none_or(|schema| other.get_type(schema).is_ok_and(|given| given != DataType::Boolean)),
    }
}

fn may_be_bad(expr: &plan::Expr, schema: Option<&DFSchema>) -> bool {
    let no_condition = |filter: Option<&plan::Expr>| filter.is_some_and(|filter| may_be_no_condition(filter, schema));
    match expr {
        plan::Expr::Case(plan::Case { expr: None, when_then_expr, .. }) => {
            when_then_expr.iter().any(|(when, _)| may_be_no_condition(when, schema))
        }
        plan::Expr::AggregateFunction(call) => no_condition(call.params.filter.as_deref()),
        plan::Expr::WindowFunction(call) => no_condition(call.params.filter.as_deref()) || frames::may_be_bad(call),
        plan::Expr::Cast(plan::Cast { expr, field }) | plan::Expr::TryCast(plan::TryCast { expr, field }) => {
            literal(expr).is_some_and(|text| !fits(text, field.data_type()))
        }
        plan::Expr::BinaryExpr(plan::BinaryExpr { left, op, right }) => match op {
            Operator::RegexMatch | Operator::RegexIMatch | Operator::RegexNotMatch | Operator::RegexNotIMatch => {
                literal(right).is_some_and(|pattern| bad_pattern(pattern).is_some())
            }
            Operator::Eq | Operator::NotEq | Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq => {
                is_null(left) || is_null(right)
            }
            _ => false,
        },
        plan::Expr::ScalarFunction(call) => {
            let name = call.func.name();
            let argument = |at: usize| call.args.get(at).and_then(literal);
            if OF_PATTERNS.contains(&name) {
                return argument(1).is_some_and(|pattern| bad_pattern(pattern).is_some());
            }
            OF_UNITS.contains(&name) && argument(0).is_some_and(|unit| !is_unit_of(name, unit))
        }
        _ => false,
    }
}

fn literal(expr: &plan::Expr) -> Option<&str> {
    match expr {
        plan::Expr::Literal(value, _) => value.try_as_str().flatten(),
        plan::Expr::Cast(plan::Cast { expr, field }) | plan::Expr::TryCast(plan::TryCast { expr, field })
            if field.data_type().is_string() =>
        {
            literal(expr)
        }
        _ => None,
    }
}

fn is_null(expr: &plan::Expr) -> bool {
    match expr {
        plan::Expr::Literal(value, _) => value.is_null(),
        plan::Expr::Cast(plan::Cast { expr, .. }) | plan::Expr::TryCast(plan::TryCast { expr, .. }) => is_null(expr),
        _ => false,
    }
}

/// Whether a text can be read as a value of a type, as far as that is asked here.
fn fits(text: &str, data_type: &DataType) -> bool {
    let is_asked = data_type.is_numeric() || matches!(data_type, DataType::Timestamp(..) | DataType::Date32);
    !is_asked || ScalarValue::Utf8View(Some(text.to_owned())).cast_to(data_type).is_ok()
}

/// Whether a function takes a text for a unit of time: it is asked with a time that any unit can be taken of.
fn is_unit_of(name: &str, unit: &str) -> bool {
    let Some(function) = FUNCTIONS.scalar.get(name) else { return true };
    let values = [ScalarValue::from(unit), ScalarValue::TimestampMicrosecond(Some(0), None)];
    let fields: Vec<FieldRef> = values.iter().map(|value| Field::new("x", value.data_type(), true).into()).collect();
    let scalars: Vec<_> = values.iter().map(Some).collect();
    let of_types = plan::ReturnFieldArgs { arg_fields: &fields, scalar_arguments: &scalars };
    let Ok(return_field) = function.return_field_from_args(of_types) else { return false };
    let call = plan::ScalarFunctionArgs {
        args: values.clone().map(plan::ColumnarValue::Scalar).to_vec(),
        arg_fields: fields,
        number_rows: 1,
        return_field,
        config_options: ConfigOptions::new().into(),
    };
    function.invoke_with_args(call).is_ok()
}

/// The constants of an expression that are told here.
pub(super) fn bad(planner: &Planner<'_>, schema: &DFSchema, text: &Text<'_>, expr: &Expr) -> Vec<Diagnostic> {
    let comparison = Comparison { planner, schema, text };
    match expr {
        Expr::BinaryOp { left, op, right } if is_comparison(op) => {
            let null = comparison.with_null(expr, left, op, right);
            let constants = [comparison.never(left, right), comparison.never(right, left)];
            null.into_iter().chain(constants.into_iter().flatten()).collect()
        }
        Expr::BinaryOp { op, right, .. } if is_regex(op) => pattern(text, right).into_iter().collect(),
        Expr::Between { expr, low, high, .. } => {
            [low, high].into_iter().filter_map(|constant| comparison.never(expr, constant)).collect()
        }
        Expr::InList { expr, list, .. } => {
            list.iter().filter_map(|constant| comparison.never(expr, constant)).collect()
        }
        Expr::TypedString(TypedString { value, .. }) => comparison.unreadable(expr, value).into_iter().collect(),
        Expr::Function(function) => {
            let name = function.name.to_string().trim_matches('"').to_lowercase();
            let arguments = arguments(&function.args);
            let type_of = |part: &Expr| comparison.type_of(part);
            if let Some(WindowType::WindowSpec(spec)) = &function.over
                && let Some(frame) = frames::bad(&type_of, text, spec)
            {
                return vec![frame];
            }
            if OF_PATTERNS.contains(&name.as_str()) {
                return arguments.get(1).and_then(|argument| pattern(text, argument)).into_iter().collect();
            }
            if OF_UNITS.contains(&name.as_str()) {
                return arguments.first().and_then(|argument| unit(text, &name, argument)).into_iter().collect();
            }
            vec![]
        }
        _ => vec![],
    }
}

fn is_comparison(op: &BinaryOperator) -> bool {
    use BinaryOperator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq)
}

fn is_regex(op: &BinaryOperator) -> bool {
    use BinaryOperator::{PGRegexIMatch, PGRegexMatch, PGRegexNotIMatch, PGRegexNotMatch};
    matches!(op, PGRegexMatch | PGRegexIMatch | PGRegexNotMatch | PGRegexNotIMatch)
}

fn written(expr: &Expr) -> Option<&Value> {
    match expr {
        Expr::Value(ValueWithSpan { value, .. }) => Some(value),
        Expr::Nested(inner) => written(inner),
        _ => None,
    }
}

fn written_text(expr: &Expr) -> Option<&str> {
    match written(expr) {
        Some(Value::SingleQuotedString(text)) => Some(text),
        _ => None,
    }
}

fn pattern(text: &Text<'_>, expr: &Expr) -> Option<Diagnostic> {
    Some(bad_pattern(written_text(expr)?)?.at(text.whole(expr)))
}

fn unit(text: &Text<'_>, name: &str, expr: &Expr) -> Option<Diagnostic> {
    const UNITS: [&str; 8] = ["second", "minute", "hour", "day", "week", "month", "quarter", "year"];
    let unit = written_text(expr).filter(|unit| !is_unit_of(name, unit))?;
    let hint = crate::error::nearest(unit, UNITS).unwrap_or_else(|| format!("the units are {}", UNITS.join(", ")));
    let message = format!("`{name}` knows no unit `'{unit}'`");
    Some(Diagnostic::error(codes::PLAN, message).at(text.whole(expr)).hint(hint))
}

/// Judges what constants are compared with.
struct Comparison<'c, 'p> {
    planner: &'c Planner<'p>,
    schema: &'c DFSchema,
    text: &'c Text<'c>,
}

impl Comparison<'_, '_> {
    /// A text that can never be read as what it is compared with.
    fn never(&self, with: &Expr, constant: &Expr) -> Option<Diagnostic> {
        let text = written_text(constant).filter(|_| written(with).is_none())?;
        let data_type = self.type_of(with).filter(|data_type| !fits(text, data_type))?;
        let name = type_name(&data_type);
        let (constant_text, with_text) = (self.constant(constant, text), self.text.quoted(with));
        let message = format!("{constant_text} is no {name}, so a comparison with `{with_text}` is never true");
        let hint = if data_type.is_numeric() {
            format!("compare with a number, or compare texts: CAST({with_text} AS STRING) = ...")
        } else {
            how_to_write(&data_type).to_owned()
        };
        Some(Diagnostic::error(codes::WRONG_TYPE, message).at(self.text.whole(constant)).hint(hint))
    }

    /// `TIMESTAMP 'x'`.
    fn unreadable(&self, expr: &Expr, value: &ValueWithSpan) -> Option<Diagnostic> {
        let Value::SingleQuotedString(text) = &value.value else { return None };
        let data_type = self.type_of(expr).filter(|data_type| !fits(text, data_type))?;
        let message = format!("`'{text}'` is no {}", type_name(&data_type));
        Some(Diagnostic::error(codes::WRONG_TYPE, message).at(self.text.whole(expr)).hint(how_to_write(&data_type)))
    }

    /// `x = NULL`, where the author wrote NULL.
    fn with_null(&self, whole: &Expr, left: &Expr, op: &BinaryOperator, right: &Expr) -> Option<Diagnostic> {
        let is_null = |expr: &Expr| written(expr) == Some(&Value::Null) && !self.text.quoted(expr).starts_with('$');
        let other = if is_null(right) { left } else { is_null(left).then_some(right)? };
        let is = if *op == BinaryOperator::NotEq { "IS NOT NULL" } else { "IS NULL" };
        let diagnostic = Diagnostic::error(codes::WRONG_TYPE, "a comparison with NULL is never true");
        Some(diagnostic.at(self.text.whole(whole)).hint(format!("write {} {is}", self.text.quoted(other))))
    }

    /// A constant as it is written; the value of a parameter too.
    fn constant(&self, expr: &Expr, value: &str) -> String {
        let quoted = self.text.quoted(expr);
        if quoted.starts_with('$') { format!("`{quoted}`, which is '{value}',") } else { format!("`{quoted}`") }
    }

    fn type_of(&self, expr: &Expr) -> Option<DataType> {
        self.planner.coerced(expr, self.schema).and_then(|expr| expr.get_type(self.schema)).ok()
    }
}

fn how_to_write(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Date32 => "write a day as '2026-01-31'",
        _ => "write a time as '2026-01-31 12:00:00'",
    }
}
