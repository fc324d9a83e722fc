//! Functions that look at several rows, where there is only one: aggregates and windows in a `WHERE`, aggregates inside
//! each other.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr, Function, Query, Select, SelectItem, Visit, Visitor};

use crate::error::{Diagnostic, codes};
use crate::sql::first_seen;
use crate::sql::judge::{Text, is_aggregate};

/// What is misplaced in a `SELECT`; those inside of it are looked at by themselves.
pub(super) fn misplaced(select: &Select, text: &Text<'_>) -> Vec<Diagnostic> {
    let mut diagnostics = vec![];
    if let Some(condition) = &select.selection {
        diagnostics.extend(found_in(condition, text, true));
    }
    let items = select.projection.iter().filter_map(|item| match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr),
        _ => None,
    });
    for part in items.chain(&select.having).chain(&select.qualify) {
        diagnostics.extend(found_in(part, text, false));
    }
    diagnostics
}

fn found_in(expr: &Expr, text: &Text<'_>, is_of_where: bool) -> Vec<Diagnostic> {
    let mut search = Search { text, is_of_where, queries: 0, aggregates: 0, diagnostics: vec![] };
    let ControlFlow::Continue(()) = expr.visit(&mut search);
    search.diagnostics
}

struct Search<'s> {
    text: &'s Text<'s>,
    is_of_where: bool,
    /// How many queries and aggregates are open.
    queries: usize,
    aggregates: usize,
    diagnostics: Vec<Diagnostic>,
}

impl Search<'_> {
    fn told(&self, expr: &Expr, function: &Function) -> Option<Diagnostic> {
        let name = function.name.to_string().to_lowercase();
        let quoted = self.text.quoted(expr);
        let is_aggregate = is_aggregate(function);
        let (message, hint) = if self.is_of_where && is_aggregate && self.aggregates == 0 {
            let message = format!("`{name}` is of a group of events, and WHERE is a condition on each event");
            (message, format!("write it behind GROUP BY: HAVING {quoted} ..."))
        } else if self.is_of_where && function.over.is_some() && name != first_seen::NAME {
            let message =
                format!("`{name} OVER` looks at the events that WHERE lets through, so it cannot stand in it");
            (message, "write the condition behind WHERE: QUALIFY ...".to_owned())
        } else if is_aggregate && self.aggregates > 0 && !self.is_of_where {
            let message = format!("`{name}` stands inside another aggregate");
            (message, "compute the inner one in a WITH, and the outer one over its rows".to_owned())
        } else {
            return None;
        };
        Some(Diagnostic::error(codes::PLAN, message).at(self.text.whole(expr)).hint(hint))
    }

    fn is_aggregate(expr: &Expr) -> bool {
        matches!(expr, Expr::Function(function) if is_aggregate(function))
    }
}

impl Visitor for Search<'_> {
    type Break = std::convert::Infallible;

    fn pre_visit_query(&mut self, _query: &Query) -> ControlFlow<Self::Break> {
        self.queries += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &Query) -> ControlFlow<Self::Break> {
        self.queries -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Self::Break> {
        if self.queries == 0
            && let Expr::Function(function) = expr
        {
            let told = self.told(expr, function);
            self.diagnostics.extend(told);
        }
        self.aggregates += usize::from(self.queries == 0 && Self::is_aggregate(expr));
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Self::Break> {
        self.aggregates -= usize::from(self.queries == 0 && Self::is_aggregate(expr));
        ControlFlow::Continue(())
    }
}
