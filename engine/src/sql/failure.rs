//! What the planner refuses, in an author's words and at the smallest expression that it refuses.

use std::ops::ControlFlow;

use datafusion::error::DataFusionError;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast::{self, Spanned, Visit, Visitor};

use super::plan::Planner;
use super::tokens::span_of;
use crate::error::{Diagnostic, Place, Span, codes, nearest};

/// The diagnostic for a failure to plan `query`. Places in the syntax tree are places of the file already.
pub(crate) fn explain(planner: &Planner<'_>, query: &ast::Query, error: &DataFusionError, start: Place) -> Diagnostic {
    let message = message_of(error);
    let (code, hint) = classify(&message);
    let span = diagnostic_span(error).or_else(|| locate(planner, query));
    Diagnostic::error(code, message).at(span.unwrap_or_else(|| Span::at(start))).maybe_hint(hint)
}

/// The innermost message, without the names of DataFusion's phases.
pub(super) fn message_of(error: &DataFusionError) -> String {
    let text = error.find_root().strip_backtrace();
    let text = text
        .strip_prefix("Error during planning: ")
        .or_else(|| text.strip_prefix("Schema error: "))
        .or_else(|| text.strip_prefix("This feature is not implemented: "))
        .unwrap_or(&text);
    text.lines().next().unwrap_or(text).trim_end_matches('.').to_owned()
}

fn classify(message: &str) -> (&'static str, Option<String>) {
    let lower = message.to_lowercase();
    if lower.contains("invalid function") || lower.contains("unknown function") {
        let name = message.split('\'').nth(1).unwrap_or_default();
        return (codes::UNKNOWN_FUNCTION, nearest(name, super::functions::FUNCTIONS.names()));
    }
    let is_type =
        ["coerce", "coercion", "comparison operation", "type", "cast"].iter().any(|word| lower.contains(word));
    if is_type {
        return (codes::WRONG_TYPE, Some("convert one side with CAST, or correct the declared type".to_owned()));
    }
    (codes::PLAN, None)
}

fn diagnostic_span(error: &DataFusionError) -> Option<Span> {
    let DataFusionError::Diagnostic(diagnostic, _) = error else { return None };
    diagnostic.span.map(|span| Span {
        start: Place { line: span.start.line as u32, column: span.start.column as u32 },
        end: Place { line: span.end.line as u32, column: span.end.column as u32 },
    })
}

/// The place of what a plan was refused for, found by the word that stands for it.
pub(crate) fn place_of_refusal(sql: &str, start: Place, code: &str) -> Span {
    let words: &[&str] = match code {
        codes::UNBOUNDED => &["GROUP", "DISTINCT", "SELECT"],
        codes::WRONG_WINDOW_TIME => &["TUMBLE", "SELECT"],
        codes::NOT_ON_A_STREAM => &["ORDER", "LIMIT", "JOIN", "SELECT"],
        codes::UNSUPPORTED => &["JOIN", "OVER", "UNION", "SELECT"],
        codes::NO_TIME => &["SELECT"],
        _ => &[],
    };
    words.iter().find_map(|word| super::tokens::place_of_word(sql, start, word)).unwrap_or_else(|| Span::at(start))
}

/// The smallest expression of any `SELECT` of the query that has no type over that select's relations.
fn locate(planner: &Planner<'_>, query: &ast::Query) -> Option<Span> {
    let mut selects = Selects { with: query.with.as_ref(), found: vec![] };
    let _done: ControlFlow<()> = query.visit(&mut selects);
    selects.found.into_iter().find_map(|select| {
        let schema = match planner.plan_from(&select.from, selects.with) {
            Ok(LogicalPlan::Projection(projection)) => projection.input.schema().as_ref().clone(),
            Ok(plan) => plan.schema().as_ref().clone(),
            Err(_) => return None,
        };
        let mut smallest = Smallest { planner, schema: &schema, failing: None };
        let _done: ControlFlow<()> = select.visit(&mut smallest);
        smallest.failing.and_then(|expr| span_of(expr.span()))
    })
}

struct Selects<'q> {
    with: Option<&'q ast::With>,
    found: Vec<ast::Select>,
}

impl Visitor for Selects<'_> {
    type Break = ();

    fn post_visit_query(&mut self, query: &ast::Query) -> ControlFlow<()> {
        if let ast::SetExpr::Select(select) = query.body.as_ref() {
            self.found.push(select.as_ref().clone());
        }
        ControlFlow::Continue(())
    }
}

/// Visits children before parents, so the first expression that fails has no failing part.
struct Smallest<'s, 'p> {
    planner: &'s Planner<'p>,
    schema: &'s datafusion::common::DFSchema,
    failing: Option<ast::Expr>,
}

impl Visitor for Smallest<'_, '_> {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &ast::Expr) -> ControlFlow<()> {
        let is_checkable = matches!(
            expr,
            ast::Expr::BinaryOp { .. }
                | ast::Expr::Function(_)
                | ast::Expr::Like { .. }
                | ast::Expr::ILike { .. }
                | ast::Expr::Between { .. }
                | ast::Expr::InList { .. }
                | ast::Expr::UnaryOp { .. }
                | ast::Expr::Case { .. }
                | ast::Expr::Cast { .. }
        );
        if is_checkable && self.planner.coerced(expr, self.schema).is_err() {
            self.failing = Some(expr.clone());
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }
}
