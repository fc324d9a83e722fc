//! Columns that a `SELECT` over groups takes of no row in particular.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Function, GroupByExpr, Query, Select, SelectItem, TableFactor, Value, Visit, Visitor,
};

use super::Text;
use super::sequences::factors;
use crate::error::{Diagnostic, codes};
use crate::sql::functions::FUNCTIONS;

/// The columns that are neither in `GROUP BY` nor inside an aggregate, in any `SELECT` that has either.
pub(in crate::sql) fn ungrouped(query: &Query, text: &Text<'_>) -> Vec<Diagnostic> {
    let mut ungrouped = Ungrouped { text, diagnostics: vec![] };
    let ControlFlow::Continue(()) = query.visit(&mut ungrouped);
    ungrouped.diagnostics
}

struct Ungrouped<'u> {
    text: &'u Text<'u>,
    diagnostics: Vec<Diagnostic>,
}

impl Visitor for Ungrouped<'_> {
    type Break = std::convert::Infallible;

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<Self::Break> {
        let keys = keys(select);
        // What such a key stands for may be what is missing below.
        if keys.iter().any(|key| matches!(key, Expr::Identifier(_))) {
            return ControlFlow::Continue(());
        }
        let parts: Vec<&Expr> = select.projection.iter().filter_map(expression).chain(&select.having).collect();
        if keys.is_empty() && !parts.iter().any(|part| holds_an_aggregate(part)) {
            if let Some(having) = &select.having {
                let message = "`HAVING` is a condition on groups, and this SELECT has no GROUP BY";
                let hint = "write WHERE for a condition on events";
                self.diagnostics.push(Diagnostic::error(codes::PLAN, message).at(self.text.whole(having)).hint(hint));
            }
            return ControlFlow::Continue(());
        }
        let relations = relations(select);
        for part in parts {
            let mut columns = Columns { keys: &keys, relations: &relations, covered: 0, found: vec![] };
            let ControlFlow::Continue(()) = part.visit(&mut columns);
            let told = columns.found.iter().map(|column| self.told(column)).collect::<Vec<_>>();
            self.diagnostics.extend(told);
        }
        ControlFlow::Continue(())
    }
}

impl Ungrouped<'_> {
    fn told(&self, column: &Expr) -> Diagnostic {
        let name = self.text.quoted(column);
        let message = format!("`{name}` is neither in GROUP BY nor inside an aggregate");
        let hint = format!("add it to GROUP BY, or take one of its values, as in max({name})");
        Diagnostic::error(codes::PLAN, message).at(self.text.whole(column)).hint(hint)
    }
}

/// What a `SELECT` groups by; a number or an alias stands for its column.
fn keys(select: &Select) -> Vec<Expr> {
    let GroupByExpr::Expressions(exprs, _) = &select.group_by else { return vec![] };
    let meant = |expr: &Expr| match expr {
        Expr::Value(value) => match &value.value {
            Value::Number(number, _) => {
                let at = number.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
                at.and_then(|at| select.projection.get(at)).and_then(expression).cloned()
            }
            _ => None,
        },
        Expr::Identifier(name) => select.projection.iter().find_map(|item| match item {
            SelectItem::ExprWithAlias { expr, alias } if alias == name => Some(expr.clone()),
            _ => None,
        }),
        _ => None,
    };
    exprs.iter().map(|expr| meant(bare(expr)).unwrap_or_else(|| bare(expr).clone())).collect()
}

fn bare(expr: &Expr) -> &Expr {
    match expr {
        Expr::Nested(inner) => bare(inner),
        _ => expr,
    }
}

const fn expression(item: &SelectItem) -> Option<&Expr> {
    match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr),
        _ => None,
    }
}

/// The names of what stands behind `FROM`; columns of anything else are an outer `SELECT`'s.
fn relations(select: &Select) -> BTreeSet<String> {
    let named = factors(select).filter_map(|factor| match factor {
        TableFactor::Table { alias, .. }
        | TableFactor::Derived { alias, .. }
        | TableFactor::MatchRecognize { alias, .. } => alias.as_ref().map(|alias| alias.name.value.clone()),
        _ => None,
    });
    named.collect()
}

pub(in crate::sql) fn is_aggregate(function: &Function) -> bool {
    let name = function.name.to_string().trim_matches('"').to_lowercase();
    function.over.is_none() && FUNCTIONS.aggregate.contains_key(&name)
}

fn holds_an_aggregate(expr: &Expr) -> bool {
    let found = datafusion::sql::sqlparser::ast::visit_expressions(expr, |part| match part {
        Expr::Function(function) if is_aggregate(function) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    found.is_break()
}

/// Finds columns outside of keys and aggregates.
struct Columns<'c> {
    keys: &'c [Expr],
    relations: &'c BTreeSet<String>,
    /// How many keys, aggregates and queries are open.
    covered: usize,
    found: Vec<Expr>,
}

impl Columns<'_> {
    fn covers(&self, expr: &Expr) -> bool {
        let is_column = matches!(expr, Expr::CompoundIdentifier(_));
        is_column || self.keys.contains(expr) || matches!(expr, Expr::Function(function) if is_aggregate(function))
    }
}

impl Visitor for Columns<'_> {
    type Break = std::convert::Infallible;

    fn pre_visit_query(&mut self, _query: &Query) -> ControlFlow<Self::Break> {
        self.covered += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &Query) -> ControlFlow<Self::Break> {
        self.covered -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Self::Break> {
        if self.covered == 0
            && let Expr::CompoundIdentifier(parts) = expr
            && !self.keys.contains(expr)
            && parts.first().is_some_and(|relation| self.relations.contains(&relation.value))
        {
            self.found.push(expr.clone());
        }
        if self.covers(expr) {
            self.covered += 1;
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Self::Break> {
        if self.covers(expr) {
            self.covered -= 1;
        }
        ControlFlow::Continue(())
    }
}
