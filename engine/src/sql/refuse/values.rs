//! Calls and values that mean something, and do not run on a stream.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, Query, TableFactor, Visit, Visitor,
};
use datafusion::sql::sqlparser::tokenizer::TokenWithSpan;

use crate::error::{Diagnostic, Span, codes};
use crate::sql::functions::FUNCTIONS;
use crate::sql::judge::Text;
use crate::sql::lower::Refusal;
use crate::sql::parse::spot;
use crate::sql::tokens::word_before;
use crate::sql::{aggregate, join, over};

/// Functions whose value depends on when or how often they are called.
const NON_DETERMINISTIC: &[&str] = &[
    "now",
    "current_timestamp",
    "current_date",
    "current_time",
    "today",
    "localtime",
    "localtimestamp",
    "random",
    "rand",
    "uuid",
    "uuidv4",
    "uuidv7",
    "gen_random_uuid",
    "version",
];

/// Every call and value in the tree that does not run on a stream.
pub(super) fn refuse(tree: &impl Visit, tokens: &[TokenWithSpan], text: &Text<'_>) -> Vec<Diagnostic> {
    let mut refusing = Refusing { tokens, text, relations: Vec::new(), diagnostics: Vec::new() };
    let ControlFlow::Continue(()) = tree.visit(&mut refusing);
    refusing.diagnostics
}

struct Refusing<'a> {
    tokens: &'a [TokenWithSpan],
    text: &'a Text<'a>,
    /// Arguments of table functions, by their address in the tree: a `SELECT` among them is no value.
    relations: Vec<*const Expr>,
    diagnostics: Vec<Diagnostic>,
}

impl Visitor for Refusing<'_> {
    type Break = std::convert::Infallible;

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Self::Break> {
        if let TableFactor::Table { args, .. } = factor {
            let arguments = args.iter().flat_map(|args| &args.args);
            self.relations.extend(arguments.filter_map(|argument| match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(std::ptr::from_ref(expr)),
                _ => None,
            }));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Self::Break> {
        match expr {
            Expr::Function(function) => self.function(expr, function),
            Expr::Subquery(_) if !self.relations.contains(&std::ptr::from_ref(expr)) => {
                let message = "a SELECT as a value does not run on a stream";
                let hint = "put it into a WITH and join it, with a bound in time";
                self.tell(Refusal::new(codes::UNSUPPORTED, message, hint), self.text.whole(expr));
            }
            Expr::InSubquery { subquery, negated: true, .. } => self.tell(join::not_in(), self.not_before(subquery)),
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

impl Refusing<'_> {
    fn function(&mut self, expr: &Expr, function: &Function) {
        let name = function.name.to_string().to_lowercase();
        if NON_DETERMINISTIC.contains(&name.as_str()) {
            let message = format!("`{name}` gives another value in every run");
            let hint = "use the event's own time, so that a replay gives the same alerts";
            return self.tell(Refusal::new(codes::NON_DETERMINISTIC, message, hint), spot(expr));
        }
        let aggregate = FUNCTIONS.aggregate.get(&name).map(|function| function.name());
        let window = FUNCTIONS.window.get(&name).map(|function| function.name());
        let refused = if function.over.is_some() {
            aggregate.or(window).filter(|name| !over::runs(name)).map(over::refused)
        } else {
            aggregate.filter(|name| !aggregate::runs(name)).map(aggregate::depends_on_order)
        };
        if let Some(refused) = refused {
            self.tell(refused, spot(expr));
        }
    }

    /// The `NOT` in front of a query.
    fn not_before(&self, query: &Query) -> Option<Span> {
        word_before(self.tokens, "NOT", spot(query).map(|span| span.start))
    }

    fn tell(&mut self, refused: Refusal, at: Option<Span>) {
        let Refusal { code, message, hint, .. } = refused;
        self.diagnostics.push(Diagnostic::error(code, message).at(at).maybe_hint(hint));
    }
}
