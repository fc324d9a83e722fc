//! Function calls: names found without regard to case, arguments resolved, and what is known about the result.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArgumentList, FunctionArguments,
    HavingBound, Ident, ObjectNamePart, OrderByExpr, Value, ValueWithSpan, WindowFrameBound, WindowSpec, WindowType,
};

use super::Resolver;
use super::scope::Clause;
use super::shape::Shape;
use crate::error::{Diagnostic, codes, nearest};
use crate::sql::first_seen;
use crate::sql::flink::WINDOW_FUNCTIONS;
use crate::sql::functions::FUNCTIONS;
use crate::sql::parse::spot;
use crate::sql::tokens::span_of;

/// Functions that DataFusion's planner knows by itself, beside those that are registered.
const PLANNED: &[&str] = &["make_map", "unnest", "grouping", "struct"];

/// Functions whose result is one of their first argument's values.
const PASSING: &[&str] = &[
    "min",
    "max",
    "first_value",
    "last_value",
    "nth_value",
    "lag",
    "lead",
    "any_value",
    "coalesce",
    "nvl",
    "nullif",
    "arrow_cast",
    "mode",
    "ifnull",
];

impl Resolver<'_> {
    pub(super) fn function(&mut self, function: &mut Function) -> Shape {
        let name = self.function_name(function);
        if name == first_seen::NAME {
            return self.first_seen(function);
        }
        let looks_at_rows = FUNCTIONS.aggregate.contains_key(&name) || function.over.is_some();
        match self.scopes.last().map(|scope| scope.clause) {
            Some(Clause::Rows) if looks_at_rows => {
                self.in_clause(Clause::Elsewhere, |resolver| resolver.call(&name, function))
            }
            _ => self.call(&name, function),
        }
    }

    fn call(&mut self, name: &str, function: &mut Function) -> Shape {
        let shapes = self.arguments(&mut function.args);
        self.arguments(&mut function.parameters);
        if let Some(filter) = &mut function.filter {
            self.expr(filter);
        }
        self.order_by_exprs(&mut function.within_group);
        match &mut function.over {
            Some(WindowType::WindowSpec(spec)) => self.window(spec),
            Some(WindowType::NamedWindow(name)) => lower(name),
            None => {}
        }
        result_shape(name, &shapes, &function.args)
    }

    /// The registered spelling of the function's name.
    fn function_name(&mut self, function: &mut Function) -> String {
        let place = spot(&function.name);
        let [ObjectNamePart::Identifier(ident)] = &mut function.name.0[..] else {
            let message = format!("there is no function `{}`; a function's name has one part", function.name);
            let hint = as_a_method(&function.name.0, self.functions);
            self.diagnostics.push(Diagnostic::error(codes::UNKNOWN_FUNCTION, message).at(place).maybe_hint(hint));
            return String::new();
        };
        let name = ident.value.to_lowercase();
        if !self.functions.contains(&name) && !PLANNED.contains(&name.as_str()) {
            let known = self.functions.iter().map(String::as_str).chain(PLANNED.iter().copied());
            let message = format!("there is no function `{}`", ident.value);
            let window = WINDOW_FUNCTIONS.iter().find(|window| window.eq_ignore_ascii_case(&name));
            let hint = match window {
                Some(window) => Some(format!("a window stands behind FROM: FROM {window}(stream, time, ...)")),
                None => synonym(&name).map(str::to_owned).or_else(|| nearest(&name, known)),
            };
            self.diagnostics
                .push(Diagnostic::error(codes::UNKNOWN_FUNCTION, message).at(span_of(ident.span)).maybe_hint(hint));
        }
        let needs_over = function.over.is_none() && is_of_rows_alone(&name);
        if needs_over && self.functions.contains(&name) {
            let message = format!("`{name}` looks at other rows, and nothing says at which");
            let hint = format!("write {name}(...) OVER (PARTITION BY ... ORDER BY time)");
            self.diagnostics
                .push(Diagnostic::error(codes::UNKNOWN_FUNCTION, message).at(span_of(ident.span)).hint(hint));
        }
        ident.value.clone_from(&name);
        name
    }

    fn arguments(&mut self, arguments: &mut FunctionArguments) -> Vec<Shape> {
        match arguments {
            FunctionArguments::None => Vec::new(),
            FunctionArguments::Subquery(query) => vec![self.scalar_query(query)],
            FunctionArguments::List(FunctionArgumentList { args, clauses, .. }) => {
                let shapes = args.iter_mut().map(|argument| self.argument(argument)).collect();
                for clause in clauses {
                    match clause {
                        FunctionArgumentClause::OrderBy(exprs) => self.order_by_exprs(exprs),
                        FunctionArgumentClause::Limit(expr) => drop(self.expr(expr)),
                        FunctionArgumentClause::Having(HavingBound(_, expr)) => drop(self.expr(expr)),
                        _ => {}
                    }
                }
                shapes
            }
        }
    }

    fn argument(&mut self, argument: &mut FunctionArg) -> Shape {
        let (FunctionArg::Named { arg, .. } | FunctionArg::ExprNamed { arg, .. } | FunctionArg::Unnamed(arg)) =
            argument;
        match arg {
            FunctionArgExpr::Expr(expr) => self.expr(expr),
            FunctionArgExpr::Wildcard => Shape::Unknown,
            FunctionArgExpr::QualifiedWildcard(name) => {
                let message = format!("`{name}.*` is not an argument of a function");
                self.diagnostics.push(Diagnostic::error(codes::UNSUPPORTED, message).at(spot(name)).hint("write `*`"));
                Shape::Unknown
            }
            FunctionArgExpr::WildcardWithOptions(_) => {
                let message = "`*` takes no options inside a function";
                self.diagnostics.push(Diagnostic::error(codes::UNSUPPORTED, message));
                Shape::Unknown
            }
        }
    }

    pub(super) fn window(&mut self, spec: &mut WindowSpec) {
        if let Some(name) = &mut spec.window_name {
            lower(name);
        }
        for expr in &mut spec.partition_by {
            self.expr(expr);
        }
        self.order_by_exprs(&mut spec.order_by);
        if let Some(frame) = &mut spec.window_frame {
            for bound in std::iter::once(&mut frame.start_bound).chain(&mut frame.end_bound) {
                if let WindowFrameBound::Preceding(Some(expr)) | WindowFrameBound::Following(Some(expr)) = bound {
                    self.expr(expr);
                }
            }
        }
    }

    pub(super) fn order_by_exprs(&mut self, exprs: &mut [OrderByExpr]) {
        for order in exprs {
            self.expr(&mut order.expr);
        }
    }
}

/// What to write for `column.function(...)`.
fn as_a_method(parts: &[ObjectNamePart], functions: &BTreeSet<String>) -> Option<String> {
    let (last, value) = parts.split_last()?;
    let name = last.as_ident()?.value.to_lowercase();
    let value = value.iter().map(ToString::to_string).collect::<Vec<_>>().join(".");
    functions.contains(&name).then(|| format!("write {name}({value}, ...)"))
}

/// Whether a function is one of rows in an `OVER` and nothing else.
fn is_of_rows_alone(name: &str) -> bool {
    let is_other = FUNCTIONS.scalar.contains_key(name) || FUNCTIONS.aggregate.contains_key(name);
    FUNCTIONS.window.contains_key(name) && !is_other && name != first_seen::NAME
}

/// What other systems call a function, and what to write here.
fn synonym(name: &str) -> Option<&'static str> {
    Some(match name {
        "if" | "iif" | "switch" => "write CASE WHEN condition THEN value ELSE value END",
        "isnull" | "is_null" | "isempty" => {
            "write column IS NULL; for another value in its place, coalesce(column, value)"
        }
        "isnotnull" | "isnotempty" => "write column IS NOT NULL",
        "dcount" | "count_distinct" | "countdistinct" | "approx_count_distinct" | "dc" => {
            "write count(DISTINCT column)"
        }
        "countif" | "count_if" | "sumif" => "write count(*) FILTER (WHERE condition)",
        "matches" | "match" | "rlike" | "regex_match" | "regexp" => "write regexp_like(column, 'pattern')",
        "charindex" | "indexof" | "locate" => "write strpos(text, part)",
        "len" | "strlen" => "write length(text)",
        "tostring" | "to_string" | "str" => "write CAST(value AS STRING)",
        "toint" | "to_int" | "tolong" | "to_number" => "write CAST(value AS BIGINT)",
        "dateadd" | "date_add" | "date_sub" | "timestampadd" => "add a span of time: time + INTERVAL '5 minutes'",
        "datediff" | "date_diff" | "timestampdiff" => "subtract the times: a - b < INTERVAL '5 minutes'",
        "cidrmatch" | "ipv4_is_in_range" | "inet_contains" => "write cidr_match(ip, '10.0.0.0/8')",
        "values" | "collect_list" | "collect_set" | "make_list" | "make_set" => "write array_agg(column)",
        _ => return None,
    })
}

/// Names of windows are compared without case; DataFusion compares them as they are.
pub(super) fn lower(name: &mut Ident) {
    if name.quote_style.is_none() {
        name.value = name.value.to_lowercase();
    }
}

fn result_shape(name: &str, shapes: &[Shape], arguments: &FunctionArguments) -> Shape {
    let first = || shapes.first().cloned().unwrap_or(Shape::Unknown);
    match name {
        "named_struct" => named_struct(shapes, arguments),
        "array_agg" => Shape::List(Arc::new(first())),
        "make_array" => Shape::List(Arc::new(first())),
        "unnest" | "array_element" | "element_at" | "list_extract" | "array_first" => first().item(),
        "array_distinct" | "array_sort" | "array_slice" | "array_remove" | "array_append" => first(),
        name if PASSING.contains(&name) => shapes.iter().cloned().reduce(Shape::or).unwrap_or(Shape::Unknown),
        _ => Shape::Unknown,
    }
}

fn named_struct(shapes: &[Shape], arguments: &FunctionArguments) -> Shape {
    let FunctionArguments::List(FunctionArgumentList { args, .. }) = arguments else {
        return Shape::Unknown;
    };
    let mut fields = Vec::with_capacity(args.len() / 2);
    for (pair, shape) in args.chunks(2).zip(shapes.iter().skip(1).step_by(2)) {
        match pair.first() {
            Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(ValueWithSpan {
                value: Value::SingleQuotedString(name),
                ..
            })))) => fields.push((name.clone(), shape.clone())),
            _ => return Shape::Unknown,
        }
    }
    Shape::Struct(fields.into())
}
