//! `first_seen(keys, interval)`: where it may stand, what its arguments are, and by which time it goes. What comes out is
//! a window function: `first_seen(time, interval) OVER (PARTITION BY keys ORDER BY time)`.

use arrow::datatypes::DataType;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, OrderByExpr,
    OrderByOptions, WindowSpec, WindowType,
};
use datafusion::sql::sqlparser::tokenizer::Span as SqlSpan;

use super::Resolver;
use super::names::column_expr;
use super::scope::{Clause, Source};
use super::shape::Shape;
use crate::catalog::system;
use crate::error::{Diagnostic, Span, codes};
use crate::sql::first_seen::NAME;
use crate::sql::interval;
use crate::sql::parse::spot;

/// How it is called.
const FORM: &str = "first_seen(user_name, INTERVAL '30 days'), or first_seen((user_name, country), INTERVAL '30 days')";

/// What to do where it may not stand.
const AS_A_COLUMN: &str = "make it a column first: WITH n AS (SELECT *, first_seen(...) AS is_new FROM ...), and use is_new as any other column";

impl Resolver<'_> {
    /// The condition of a `WHERE`, in which `first_seen` may stand between the `AND`s.
    pub(super) fn condition_of_where(&mut self, condition: &mut Expr) {
        match condition {
            Expr::Nested(inner) => self.condition_of_where(inner),
            Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
                self.condition_of_where(left);
                self.condition_of_where(right);
            }
            Expr::Function(function) if is_first_seen(function) => {
                self.in_clause(Clause::Rows, |resolver| drop(resolver.function(function)));
            }
            other => self.in_clause(Clause::Where, |resolver| drop(resolver.expr(other))),
        }
    }

    /// Does something inside a clause of the `SELECT` at hand.
    pub(super) fn in_clause<T>(&mut self, clause: Clause, act: impl FnOnce(&mut Self) -> T) -> T {
        let set = |resolver: &mut Self, clause| {
            resolver.scopes.last_mut().map(|scope| std::mem::replace(&mut scope.clause, clause))
        };
        let before = set(self, clause);
        let done = act(self);
        set(self, before.unwrap_or_default());
        done
    }

    /// One call of `first_seen`.
    pub(super) fn first_seen(&mut self, function: &mut Function) -> Shape {
        let place = spot(&function.name);
        if !self.may_be_asked(place) {
            return Shape::Unknown;
        }
        let Some((mut keys, mut interval)) = self.keys_and_interval(function, place) else { return Shape::Unknown };
        self.in_clause(Clause::Elsewhere, |resolver| keys.iter_mut().for_each(|key| drop(resolver.expr(key))));
        self.span_of_time(&mut interval, FORM);
        if let Expr::Interval(interval) = &interval {
            let refused = interval::unreadable(interval).or_else(|| interval::refuse_length(interval, FORM));
            self.diagnostics.extend(refused);
        }
        let Some(time) = self.time_of_rows(place) else { return Shape::Unknown };
        let options = OrderByOptions { asc: None, nulls_first: None };
        function.over = Some(WindowType::WindowSpec(WindowSpec {
            window_name: None,
            partition_by: keys,
            order_by: vec![OrderByExpr { expr: time.clone(), options, with_fill: None }],
            window_frame: None,
        }));
        let args = [time, interval].map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))).to_vec();
        function.args =
            FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses: Vec::new() });
        Shape::Leaf(DataType::Boolean)
    }

    /// Whether it may stand here, where it is clear which rows it is asked of.
    fn may_be_asked(&mut self, place: Option<Span>) -> bool {
        let clause = self.scopes.last().map_or(Clause::Elsewhere, |scope| scope.clause);
        let message = match clause {
            _ if self.scopes.len() > 1 => "`first_seen` is not asked inside a subquery of a condition",
            Clause::Rows => return true,
            Clause::Where => {
                "`first_seen` stands alone between the ANDs of a WHERE, so that it is clear which rows it has seen"
            }
            Clause::Elsewhere => {
                "`first_seen` is asked in a WHERE, or in the columns or the QUALIFY of a SELECT without GROUP BY"
            }
        };
        self.diagnostics.push(Diagnostic::error(codes::UNSUPPORTED, message).at(place).hint(AS_A_COLUMN));
        false
    }

    /// The two arguments, and nothing else.
    fn keys_and_interval(&mut self, function: &Function, place: Option<Span>) -> Option<(Vec<Expr>, Expr)> {
        let plain = |arg: &FunctionArg| match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
            _ => None,
        };
        let list = match &function.args {
            FunctionArguments::List(list) if list.duplicate_treatment.is_none() && list.clauses.is_empty() => list,
            _ => return self.wrongly_called(place),
        };
        let is_bare = function.over.is_none() && function.filter.is_none() && function.null_treatment.is_none();
        match (list.args.iter().map(plain).collect::<Option<Vec<_>>>().as_deref(), is_bare) {
            (Some([_]), true) => {
                let message = "unbounded state: `first_seen` without an interval would remember every key for ever";
                self.diagnostics.push(Diagnostic::error(codes::UNBOUNDED, message).at(place).hint(FORM));
                None
            }
            (Some([Expr::Tuple(keys), interval]), true) => Some((keys.clone(), interval.clone())),
            (Some([Expr::Nested(key), interval]), true) => Some((vec![key.as_ref().clone()], interval.clone())),
            (Some([key, interval]), true) => Some((vec![key.clone()], interval.clone())),
            _ => self.wrongly_called(place),
        }
    }

    fn wrongly_called<T>(&mut self, place: Option<Span>) -> Option<T> {
        let message = "`first_seen` takes its keys and an interval, and no other clause";
        self.diagnostics.push(Diagnostic::error(codes::SYNTAX, message).at(place).hint(FORM));
        None
    }

    /// The event time of the rows behind `FROM`: of a stream `_time`, of what a `SELECT` gives its column `time`.
    fn time_of_rows(&mut self, place: Option<Span>) -> Option<Expr> {
        let sources = &self.scopes.last()?.sources;
        if sources.iter().any(|source| source.broken) {
            return None;
        }
        let times: Vec<(&str, &str)> =
            sources.iter().filter_map(|source| Some((source.alias.as_str(), time_column(source)?))).collect();
        let diagnostic = match times[..] {
            [(alias, column)] => return Some(column_expr(alias, column, SqlSpan::empty())),
            [] => Diagnostic::error(
                codes::NO_TIME,
                "`first_seen` goes by the event time, and no column here is called `time`",
            )
            .hint("select the event time under the name `time` in the SELECT below"),
            _ => Diagnostic::error(codes::UNSUPPORTED, "`first_seen` does not look at a join of streams")
                .hint("ask it of one stream in a WITH and join what comes out, or join in a WITH and ask it of that"),
        };
        self.diagnostics.push(diagnostic.at(place));
        None
    }
}

fn is_first_seen(function: &Function) -> bool {
    function.name.to_string().eq_ignore_ascii_case(NAME)
}

fn time_column(source: &Source) -> Option<&str> {
    let named = |name: &str| source.columns.iter().find(|column| column.name.eq_ignore_ascii_case(name));
    named(system::TIME).or_else(|| named("time")).map(|column| column.name.as_str())
}
