//! Window functions behind `FROM`: `TUMBLE(s, time, INTERVAL '5 minutes')` and its like. Their first argument is a
//! relation, their second one of its columns; they add `window_start` and `window_end`.

use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, Ident, Interval, ObjectName, TableAlias, Value, ValueWithSpan,
};
use datafusion::sql::sqlparser::tokenizer::Span as SqlSpan;

use super::Resolver;
use super::from::{Named, alias_of};
use super::scope::{Scope, Source};
use super::shape::{Column, Shape};
use crate::catalog::TIME_TYPE;
use crate::error::{Diagnostic, codes};
use crate::sql::interval::refuse_length;
use crate::sql::parse::spot;
use crate::sql::tokens::{exact, span_of};
use crate::sql::types::type_name;

/// How a window function is called: name, arguments after the time column, and how many of them are durations.
struct Form {
    name: &'static str,
    text: &'static str,
    required: usize,
    durations: usize,
    keys: bool,
}

const FORMS: &[Form] = &[
    Form { name: "TUMBLE", text: "TUMBLE(stream, time, size [, offset])", required: 1, durations: 2, keys: false },
    Form { name: "HOP", text: "HOP(stream, time, slide, size [, offset])", required: 2, durations: 3, keys: false },
    Form { name: "SESSION", text: "SESSION(stream, time, gap [, keys])", required: 1, durations: 1, keys: true },
    Form {
        name: "CUMULATE",
        text: "CUMULATE(stream, time, step, size [, offset])",
        required: 2,
        durations: 3,
        keys: false,
    },
];

impl Resolver<'_> {
    pub(super) fn window_table(
        &mut self,
        name: &mut ObjectName,
        alias: &mut Option<TableAlias>,
        args: &mut Vec<FunctionArg>,
        span: SqlSpan,
    ) -> Option<Source> {
        let function = self.relation_ident(name)?;
        let form = FORMS.iter().find(|form| form.name.eq_ignore_ascii_case(&function.value))?;
        *name = ObjectName::from(Ident::with_span(function.span, form.name));
        let mut exprs = self.plain_arguments(args, form, span)?;
        let relation = match exprs.first() {
            Some(Expr::Identifier(ident)) => ident.clone(),
            other => {
                let message =
                    format!("the first argument of {} is the name of a stream, view or WITH query", form.name);
                let at = other.and_then(spot).or_else(|| span_of(span));
                self.diagnostics.push(Diagnostic::error(codes::SYNTAX, message).at(at).hint(form.text));
                return None;
            }
        };
        let named = self.named(&relation)?;
        exprs.remove(0);
        let inner = Source {
            alias: named.planned.clone(),
            columns: named.columns.clone(),
            open: named.open.clone(),
            span: relation.span,
            broken: false,
        };
        if !exprs.first().is_some_and(is_name) {
            let Some(time) = default_time(&named, relation.span) else {
                let message = format!("{} does not say by which column of `{}` it goes", form.name, named.called);
                self.diagnostics
                    .push(Diagnostic::error(codes::WRONG_WINDOW_TIME, message).at(span_of(span)).hint(form.text));
                return None;
            };
            exprs.insert(0, time);
        }
        self.window_arguments(&mut exprs, inner, form, span);
        let first = Expr::Identifier(exact(&named.planned, relation.span));
        *args =
            std::iter::once(first).chain(exprs).map(|expr| FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))).collect();
        Some(self.windowed(named, alias, relation.span))
    }

    /// The arguments as expressions, without names and stars.
    fn plain_arguments(&mut self, args: &[FunctionArg], form: &Form, span: SqlSpan) -> Option<Vec<Expr>> {
        let plain = args.iter().map(|arg| match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
            _ => None,
        });
        let exprs: Option<Vec<Expr>> = plain.collect();
        if exprs.is_none() {
            let message = format!("the arguments of {} go by their order, without names", form.name);
            self.diagnostics.push(Diagnostic::error(codes::UNSUPPORTED, message).at(span_of(span)).hint(form.text));
        }
        exprs
    }

    /// The arguments after the relation: its time column, durations, keys. They see the relation and nothing else.
    fn window_arguments(&mut self, exprs: &mut [Expr], inner: Source, form: &Form, span: SqlSpan) {
        let given = exprs.len() - 1;
        if given < form.required || (given > form.durations && !form.keys) {
            let message = format!("{} is called with {} arguments", form.name, given + 2);
            self.diagnostics.push(Diagnostic::error(codes::SYNTAX, message).at(span_of(span)).hint(form.text));
        }
        let outside = std::mem::replace(&mut self.scopes, vec![Scope { sources: vec![inner], ..Scope::default() }]);
        for (at, expr) in exprs.iter_mut().enumerate() {
            if at > 0 && at <= form.durations {
                self.span_of_time(expr, form.text);
                // Behind the lengths may stand an offset, which may be anything.
                if at <= form.required {
                    self.diagnostics.extend(length(expr).and_then(|length| refuse_length(length, form.text)));
                }
            }
            let place = spot(expr);
            let shape = self.expr(expr);
            if let (0, Shape::Leaf(data_type)) = (at, shape)
                && data_type != TIME_TYPE
            {
                let message = format!("windows go by a TIMESTAMP, and this is {}", type_name(&data_type));
                self.diagnostics.push(Diagnostic::error(codes::WRONG_WINDOW_TIME, message).at(place));
            }
        }
        self.scopes = outside;
    }

    /// A duration is an interval, or a text that says one, such as the value of a parameter.
    pub(super) fn span_of_time(&mut self, expr: &mut Expr, hint: &str) {
        match expr {
            Expr::Interval(_) => {}
            Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(_), .. }) => {
                let value = std::mem::replace(expr, Expr::Value(Value::Null.with_empty_span()));
                *expr = Expr::Interval(Interval {
                    value: Box::new(value),
                    leading_field: None,
                    leading_precision: None,
                    last_field: None,
                    fractional_seconds_precision: None,
                });
            }
            other => {
                let message = "expected a duration such as INTERVAL '5 minutes'";
                self.diagnostics.push(Diagnostic::error(codes::WRONG_TYPE, message).at(spot(other)).hint(hint));
            }
        }
    }

    /// The relation with its windows.
    fn windowed(&mut self, named: Named, alias: &mut Option<TableAlias>, span: SqlSpan) -> Source {
        let Named { called, mut columns, open, .. } = named;
        for name in ["window_start", "window_end"] {
            if columns.iter().any(|column| column.name == name) {
                let message = format!("`{called}` already has a column `{name}`");
                self.diagnostics.push(
                    Diagnostic::error(codes::UNSUPPORTED, message)
                        .at(span_of(span))
                        .hint("give the column another name in a WITH before the window"),
                );
            }
            columns.push(Column::new(name, Shape::Leaf(TIME_TYPE)));
        }
        let alias = alias.get_or_insert_with(|| alias_of(&called, span));
        if !alias.columns.is_empty() {
            let message = "new names for the columns go with a SELECT, not with a window";
            self.diagnostics.push(Diagnostic::error(codes::UNSUPPORTED, message).at(span_of(alias.name.span)));
        }
        alias.name = exact(&alias.name.value, alias.name.span);
        Source { alias: alias.name.value.clone(), columns, open, span: alias.name.span, broken: false }
    }
}

fn length(expr: &Expr) -> Option<&Interval> {
    match expr {
        Expr::Interval(interval) => Some(interval),
        _ => None,
    }
}

fn is_name(expr: &Expr) -> bool {
    matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::CompoundFieldAccess { .. })
}

/// The relation's own time column, written out.
fn default_time(named: &Named, span: SqlSpan) -> Option<Expr> {
    let path = named.time.as_ref()?;
    if named.columns.iter().any(|column| column.name == *path) {
        return Some(Expr::Identifier(exact(path, span)));
    }
    Some(Expr::CompoundIdentifier(path.split('.').map(|part| exact(part, span)).collect()))
}
