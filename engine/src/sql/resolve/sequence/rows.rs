//! Expressions over the rows of a match, rewritten so that every name says its row: `b.x` becomes `"last 1 0"."x"`,
//! `PREV(x)` a column of the row before, `count(b.*)` a numbered aggregate.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    AccessExpr, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, SymbolDefinition, Value,
    ValueWithSpan, VisitMut, VisitorMut, visit_expressions,
};
use datafusion::sql::sqlparser::tokenizer::Span as SqlSpan;

use super::{place_of, unknown_variable};
use crate::error::{Diagnostic, codes};
use crate::sql::functions::FUNCTIONS;
use crate::sql::resolve::scope::{Source, means};
use crate::sql::sequence::{AGGREGATES, Base, CLASSIFIER, Designator, EACH_ROW, MARK, MATCH, MATCH_TIME};
use crate::sql::tokens::exact;

/// How far FIRST, LAST, PREV and NEXT may reach.
const REACH_MAX: usize = 100;

/// The walk over one expression.
pub(super) struct Rewriter<'a> {
    variables: &'a [String],
    /// The relation that is matched.
    source: &'a Source,
    /// The variable whose condition this is; `None` in a measure.
    defining: Option<usize>,
    /// The row that all names speak of, inside a function that says so.
    inside: Option<String>,
    first_aggregate: usize,
    /// The rows that are spoken of, by made-up name, with the name that an author knows them by.
    pub(super) designators: BTreeMap<String, String>,
    pub(super) aggregates: Vec<SymbolDefinition>,
    pub(super) diagnostics: Vec<Diagnostic>,
}

impl<'a> Rewriter<'a> {
    pub(super) fn new(
        variables: &'a [String],
        source: &'a Source,
        defining: Option<usize>,
        first_aggregate: usize,
    ) -> Self {
        Self {
            variables,
            source,
            defining,
            inside: None,
            first_aggregate,
            designators: BTreeMap::new(),
            aggregates: vec![],
            diagnostics: vec![],
        }
    }

    fn variable(&self, name: &Ident) -> Option<usize> {
        self.variables.iter().position(|variable| means(name, variable))
    }

    /// The last row of a variable; in its own condition that is the row at hand, and so is the last of all.
    fn last(&self, variable: Option<usize>, nth: usize) -> Base {
        let is_current = variable.is_none() || (self.defining.is_some() && variable == self.defining);
        if is_current && nth == 0 { Base::Current } else { Base::Last(variable, nth) }
    }

    fn note(&mut self, designator: Designator) -> String {
        let name = designator.name();
        let variable = match designator.base {
            Base::First(Some(variable), _) | Base::Last(Some(variable), _) => Some(&self.variables[variable]),
            _ => None,
        };
        let meant = variable.map_or_else(|| self.source.alias.clone(), Clone::clone);
        self.designators.insert(name.clone(), meant);
        name
    }

    /// A name with its row in front.
    fn qualified(&mut self, parts: &[Ident]) -> Vec<Ident> {
        let [first, rest @ ..] = parts else { return parts.to_vec() };
        let variable = self.variable(first).filter(|_| !rest.is_empty());
        let is_relation = !rest.is_empty() && variable.is_none() && means(first, &self.source.alias);
        let may_be_a_column = self.source.open.is_some() || self.source.broken;
        if !rest.is_empty()
            && variable.is_none()
            && !is_relation
            && !may_be_a_column
            && self.source.matching(first).next().is_none()
        {
            self.diagnostics.push(unknown_variable(first, self.variables));
        }
        let named = if variable.is_some() || is_relation { rest } else { parts };
        let row = match self.inside.clone() {
            Some(row) => row,
            None => {
                let base = variable.map_or(Base::Current, |variable| self.last(Some(variable), 0));
                self.note(Designator { base, offset: 0 })
            }
        };
        std::iter::once(exact(row, first.span)).chain(named.iter().cloned()).collect()
    }

    /// The one variable that expressions speak of.
    fn spoken_of(&mut self, exprs: &[Expr], function: &Function) -> Option<Option<usize>> {
        let mut seen: Vec<Option<usize>> = vec![];
        for expr in exprs {
            let _infallible = visit_expressions(expr, |part| {
                let variable = match part {
                    Expr::Identifier(name) if !name.value.starts_with(MARK) => Some(None),
                    Expr::CompoundIdentifier(parts) => parts.first().map(|name| self.variable(name)),
                    _ => None,
                };
                seen.extend(variable.filter(|variable| !seen.contains(variable)));
                ControlFlow::<()>::Continue(())
            });
        }
        match seen[..] {
            [] => Some(None),
            [one] => Some(one),
            _ => {
                let message = format!("`{}` speaks of the rows of several variables", function.name);
                self.tell(&message, function, "name one variable: LAST(a.x) - LAST(b.x)");
                None
            }
        }
    }

    fn tell(&mut self, message: &str, function: &Function, hint: &str) {
        let at = place_of(&function.name);
        self.diagnostics.push(Diagnostic::error(codes::UNSUPPORTED, message).at(at).hint(hint));
    }

    fn call(&mut self, function: &Function) -> Option<Expr> {
        let name = function.name.to_string().to_lowercase();
        let span = datafusion::sql::sqlparser::ast::Spanned::span(&function.name);
        match name.as_str() {
            "first" | "last" | "prev" | "next" => {
                if self.inside.is_some() {
                    self.tell(
                        &format!("`{name}` inside another such function"),
                        function,
                        "PREV(LAST(a.x)) is what runs",
                    );
                    return None;
                }
                let (designator, mut value) = self.navigated(function)?;
                self.inside = Some(self.note(designator));
                let ControlFlow::Continue(()) = value.visit(self);
                self.inside = None;
                Some(Expr::Nested(Box::new(value)))
            }
            "classifier" => Some(of_match(MATCH, CLASSIFIER, span)),
            "match_time" if self.defining.is_none() => Some(of_match(MATCH, MATCH_TIME, span)),
            "match_number" => {
                self.tell(
                    "MATCH_NUMBER counts matches for ever, which is unbounded state",
                    function,
                    "the id of an alert tells matches apart",
                );
                None
            }
            _ if function.over.is_none() && FUNCTIONS.aggregate.contains_key(&name) => self.aggregate(function, span),
            _ => None,
        }
    }

    /// The row that FIRST, LAST, PREV or NEXT means, and the expression over it.
    fn navigated(&mut self, function: &Function) -> Option<(Designator, Expr)> {
        let name = function.name.to_string().to_lowercase();
        let args = plain(function);
        let is_step = name == "prev" || name == "next";
        let (value, nth) = match &args[..] {
            [value] => (value.clone(), usize::from(is_step)),
            [value, nth] if reach(nth).is_some() => (value.clone(), reach(nth).unwrap_or(0)),
            _ => {
                let message = format!("`{name}` takes an expression and how many rows, at most {REACH_MAX}");
                self.tell(&message, function, "write LAST(a.x), LAST(a.x, 1), PREV(x) or PREV(x, 2)");
                return None;
            }
        };
        if !is_step {
            let variable = self.spoken_of(std::slice::from_ref(&value), function)?;
            let base = if name == "first" { Base::First(variable, nth) } else { self.last(variable, nth) };
            return Some((Designator { base, offset: 0 }, value));
        }
        let (base, value) = match &value {
            Expr::Function(inner) if ["first", "last"].contains(&inner.name.to_string().to_lowercase().as_str()) => {
                let (inner, value) = self.navigated(inner)?;
                (inner.base, value)
            }
            _ => {
                let variable = self.spoken_of(std::slice::from_ref(&value), function)?;
                (self.last(variable, 0), value)
            }
        };
        let offset = nth as i64;
        Some((Designator { base, offset: if name == "prev" { -offset } else { offset } }, value))
    }

    fn aggregate(&mut self, function: &Function, span: SqlSpan) -> Option<Expr> {
        if self.inside.is_some() {
            self.tell("an aggregate inside FIRST, LAST, PREV, NEXT or another aggregate", function, "take it out");
            return None;
        }
        if function.filter.is_some() || !function.within_group.is_empty() {
            self.tell(
                "FILTER and WITHIN GROUP do not run over the rows of a match",
                function,
                "define a variable instead",
            );
            return None;
        }
        let mut function = function.clone();
        let mut of = None;
        let one = || {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(
                Value::Number("1".to_owned(), false).with_span(span),
            )))
        };
        if let FunctionArguments::List(list) = &mut function.args {
            for argument in &mut list.args {
                let FunctionArg::Unnamed(value) = argument else { continue };
                let variable = match value {
                    FunctionArgExpr::Wildcard => None,
                    FunctionArgExpr::QualifiedWildcard(name) => {
                        let ident = name.0.last().and_then(|part| part.as_ident())?;
                        let Some(variable) = self.variable(ident) else {
                            self.diagnostics.push(unknown_variable(ident, self.variables));
                            // A column that is not there has no type that could be judged.
                            return Some(of_match(AGGREGATES, &ident.value, span));
                        };
                        Some(variable)
                    }
                    _ => continue,
                };
                of = Some(variable);
                *argument = one();
            }
        }
        let of = match of {
            Some(of) => of,
            None => self.spoken_of(&plain(&function), &function)?,
        };
        self.inside = Some(EACH_ROW.to_owned());
        let ControlFlow::Continue(()) = function.args.visit(self);
        self.inside = None;
        let number = self.first_aggregate + self.aggregates.len();
        let of = of.map_or_else(|| "*".to_owned(), |variable| variable.to_string());
        let symbol = exact(format!("{AGGREGATES} {of}"), span);
        self.aggregates.push(SymbolDefinition { symbol, definition: Expr::Function(function) });
        Some(of_match(AGGREGATES, &number.to_string(), span))
    }
}

impl VisitorMut for Rewriter<'_> {
    type Break = std::convert::Infallible;

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        match expr {
            Expr::Identifier(name) if !name.value.starts_with(MARK) => {
                let parts = self.qualified(std::slice::from_ref(name));
                *expr = Expr::CompoundIdentifier(parts);
            }
            Expr::CompoundIdentifier(parts) if !parts[0].value.starts_with(MARK) => {
                let parts = self.qualified(parts);
                *expr = Expr::CompoundIdentifier(parts);
            }
            Expr::CompoundFieldAccess { root, access_chain } => {
                // The names of fields are no columns; they are marked until the walk has passed them.
                if let (Expr::Identifier(name), Some(AccessExpr::Dot(Expr::Identifier(field)))) =
                    (&**root, access_chain.first())
                {
                    **root = Expr::CompoundIdentifier(vec![name.clone(), field.clone()]);
                    access_chain.remove(0);
                }
                for access in access_chain {
                    if let AccessExpr::Dot(Expr::Identifier(field)) = access {
                        field.value.insert(0, MARK);
                    }
                }
            }
            Expr::Function(function) => {
                if let Some(value) = self.call(&function.clone()) {
                    *expr = value;
                }
            }
            Expr::Exists { .. } | Expr::InSubquery { .. } | Expr::Subquery(_) => {
                let message = "a SELECT inside DEFINE or MEASURES does not run";
                let hint = "join before MATCH_RECOGNIZE, in a WITH";
                self.diagnostics.push(Diagnostic::error(codes::UNSUPPORTED, message).at(place_of(expr)).hint(hint));
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        if let Expr::CompoundFieldAccess { access_chain, .. } = expr {
            for access in access_chain {
                if let AccessExpr::Dot(Expr::Identifier(field)) = access {
                    field.value = field.value.trim_start_matches(MARK).to_owned();
                }
            }
        }
        ControlFlow::Continue(())
    }
}

fn of_match(relation: &str, name: &str, span: SqlSpan) -> Expr {
    Expr::CompoundIdentifier(vec![exact(relation, span), exact(name, span)])
}

fn plain(function: &Function) -> Vec<Expr> {
    let FunctionArguments::List(list) = &function.args else { return vec![] };
    let args = list.args.iter().filter_map(|arg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
        _ => None,
    });
    args.collect()
}

fn reach(expr: &Expr) -> Option<usize> {
    match expr {
        Expr::Value(ValueWithSpan { value: Value::Number(digits, _), .. }) => {
            digits.parse().ok().filter(|nth| *nth <= REACH_MAX)
        }
        _ => None,
    }
}
