//! What is wrong with the expressions of a `SELECT`, each judged by itself: the planner stops at the first mistake, and
//! an author wants to hear of all of them.
//!
//! An expression is judged over the relations behind its `FROM`. One that holds another with a mistake, or a name that
//! means nothing, is not: whatever were said of it might follow from that.

mod constants;
mod frames;
mod functions;
mod grouping;
mod sequences;
mod text;
mod words;

use std::collections::HashSet;
use std::ops::ControlFlow;

use arrow::datatypes::{DataType, Field};
use datafusion::common::{DFSchema, Result as PlanResult};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{ExprSchemable, LogicalPlan};
use datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Cte, Expr, Function, JoinConstraint, NamedWindowDefinition, NamedWindowExpr, Query, Select,
    SelectItem, SetExpr, TableWithJoins, UnaryOperator, Value, Visit, Visitor, With,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;

pub(super) use constants::may_hold_a_mistake;
pub(super) use grouping::{is_aggregate, ungrouped};
pub(crate) use text::Text;
pub(super) use words::said;

use super::failure::message_of;
use super::functions::FUNCTIONS;
use super::plan::Planner;
use super::refuse::constraint_of;
use super::resolve::demand_nothing;
use crate::error::Diagnostic;

/// Everything that can be told of the expressions of a query.
pub(super) fn judge(planner: &Planner<'_>, query: &Query, text: &Text<'_>) -> Vec<Diagnostic> {
    Judge::new(planner, text, true).over(query)
}

/// What is wrong with a query that can be planned: constants that cannot be what they are compared with, or cannot be read,
/// and conditions that are none.
pub(super) fn what_passes(planner: &Planner<'_>, query: &Query, text: &Text<'_>) -> Vec<Diagnostic> {
    Judge::new(planner, text, false).over(query)
}

/// Everything that can be told of a condition over the columns of `schema`.
pub(super) fn judge_condition(
    planner: &Planner<'_>,
    condition: &Expr,
    schema: &DFSchema,
    text: &Text<'_>,
) -> Vec<Diagnostic> {
    let mut judge = Judge::new(planner, text, true);
    judge.schemas.push(Some(schema.clone()));
    judge.want(condition, "WHERE");
    let ControlFlow::Continue(()) = condition.visit(&mut judge);
    judge.diagnostics
}

struct Judge<'j, 'p> {
    planner: &'j Planner<'p>,
    text: &'j Text<'j>,
    /// Whether more is told than constants and conditions. Of a query that can be planned, nothing else is wrong.
    tells_types: bool,
    /// The `WITH` queries that can be planned, and how many there are outside of each open query.
    ctes: Vec<Cte>,
    outside: Vec<usize>,
    /// The columns of each open `SELECT`, where they are known.
    schemas: Vec<Option<DFSchema>>,
    /// Expressions that stand where a condition is wanted, by their address in the tree, and what wants it.
    conditions: HashSet<(*const Expr, &'static str)>,
    /// Whether each open expression holds a mistake.
    broken: Vec<bool>,
    diagnostics: Vec<Diagnostic>,
}

impl<'j, 'p> Judge<'j, 'p> {
    fn new(planner: &'j Planner<'p>, text: &'j Text<'j>, tells_types: bool) -> Self {
        Self {
            planner,
            text,
            tells_types,
            ctes: vec![],
            outside: vec![],
            schemas: vec![],
            conditions: HashSet::new(),
            broken: vec![],
            diagnostics: vec![],
        }
    }

    fn over(mut self, query: &Query) -> Vec<Diagnostic> {
        let ControlFlow::Continue(()) = query.visit(&mut self);
        self.diagnostics.sort_by_key(|diagnostic| diagnostic.span);
        self.diagnostics
    }

    /// The columns that the expressions of a `SELECT` speak of, and the aliases that its later clauses may use.
    fn schema_of(&self, select: &Select) -> Option<DFSchema> {
        let own = plan_from(self.planner, &select.from, &self.ctes).ok().map(columns_of);
        let rows = sequences::rows_of_matches(self.planner, select, &self.ctes);
        let own = match (own, rows) {
            (Some(own), Some(rows)) => own.join(&rows).unwrap_or(own),
            (own, rows) => own.or(rows)?,
        };
        let outer = self.schemas.last().and_then(Option::as_ref);
        let schema = outer.and_then(|outer| own.join(outer).ok()).unwrap_or(own);
        let aliases = select.projection.iter().filter_map(|item| match item {
            SelectItem::ExprWithAlias { expr, alias } => Some((alias.value.as_str(), expr)),
            _ => None,
        });
        let is_new = |(name, _): &(&str, &Expr)| schema.fields().iter().all(|field| field.name() != name);
        let typed = aliases.filter(is_new).filter_map(|(name, expr)| {
            let data_type = self.planner.coerced(expr, &schema).ok()?.get_type(&schema).ok()?;
            Some((None, Field::new(name, data_type, true).into()))
        });
        let typed = DFSchema::new_with_metadata(typed.collect(), std::collections::HashMap::new());
        Some(typed.and_then(|typed| schema.join(&typed)).unwrap_or(schema))
    }

    /// Remembers that a condition is wanted in the place of an expression.
    fn want(&mut self, expr: &Expr, by: &'static str) {
        self.conditions.insert((std::ptr::from_ref(expr), by));
    }

    fn wanted_by(&self, expr: &Expr) -> Option<&'static str> {
        let address = std::ptr::from_ref(expr);
        WANTING.into_iter().find(|by| self.conditions.contains(&(address, *by)))
    }

    /// Judges an expression whose parts are right; tells whether it is wrong.
    fn is_wrong(&mut self, expr: &Expr) -> bool {
        let Some(schema) = self.schemas.last().and_then(Option::as_ref) else { return true };
        let bad = constants::bad(self.planner, schema, self.text, expr);
        if !bad.is_empty() {
            self.diagnostics.extend(bad);
            return true;
        }
        let is_judged = self.tells_types || self.wanted_by(expr).is_some();
        if !is_judged || is_of_conditions(expr) {
            return false;
        }
        let typed = self.planner.coerced(expr, schema).and_then(|typed| typed.get_type(schema));
        let diagnostic = match typed {
            Ok(data_type) => self.not_a_condition(expr, &data_type),
            Err(error) if self.tells_types && is_sure(expr, &error) => {
                Some(words::of(self.planner, schema, self.text, expr, &error))
            }
            Err(_) => return true,
        };
        let is_wrong = diagnostic.is_some();
        self.diagnostics.extend(diagnostic);
        is_wrong
    }

    /// A window that has a name is no part of the expressions that use it.
    fn judge_named_windows(&mut self, select: &Select) {
        let Some(schema) = self.schemas.last().and_then(Option::as_ref) else { return };
        let type_of = |part: &Expr| self.planner.coerced(part, schema).and_then(|part| part.get_type(schema)).ok();
        let specs = select.named_window.iter().filter_map(|NamedWindowDefinition(_, window)| match window {
            NamedWindowExpr::WindowSpec(spec) => Some(spec),
            NamedWindowExpr::NamedWindow(_) => None,
        });
        let bad: Vec<_> = specs.filter_map(|spec| frames::bad(&type_of, self.text, spec)).collect();
        self.diagnostics.extend(bad);
    }

    fn not_a_condition(&self, expr: &Expr, data_type: &DataType) -> Option<Diagnostic> {
        let by = self.wanted_by(expr)?;
        let fits = matches!(data_type, DataType::Boolean | DataType::Null);
        (!fits).then(|| words::no_condition(self.text, expr, data_type, by))
    }
}

/// What wants conditions.
const WANTING: [&str; 10] = ["AND", "OR", "NOT", "WHERE", "HAVING", "QUALIFY", "ON", "DEFINE", "WHEN", "FILTER"];

/// Whether an expression is made of conditions, each of which is judged by itself.
fn is_of_conditions(expr: &Expr) -> bool {
    matches!(
        expr,
        Expr::BinaryOp { op: BinaryOperator::And | BinaryOperator::Or, .. }
            | Expr::UnaryOp { op: UnaryOperator::Not, .. }
            | Expr::Nested(_)
    )
}

/// Whether an expression that has no type would have none anywhere. A name may mean something elsewhere, and a function
/// of other rows is more than its arguments.
fn is_sure(expr: &Expr, error: &DataFusionError) -> bool {
    let message = message_of(error);
    match expr {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::CompoundFieldAccess { .. } => false,
        Expr::Value(_) | Expr::Wildcard(_) | Expr::QualifiedWildcard(..) | Expr::Interval(_) | Expr::Tuple(_) => false,
        Expr::Exists { .. } | Expr::Subquery(_) | Expr::GroupingSets(_) | Expr::Cube(_) | Expr::Rollup(_) => false,
        Expr::Cast { .. } | Expr::TypedString(_) => message.contains("cast"),
        Expr::InSubquery { .. } => message.contains("compatible types") || message.contains("coerc"),
        Expr::Function(function) => is_known(function) && (function.over.is_none() || is_about_arguments(&message)),
        _ => true,
    }
}

/// What is not known was told when names were looked up; so was a function that misses its `OVER`.
fn is_known(function: &Function) -> bool {
    let name = function.name.to_string().to_lowercase();
    let name = name.trim_matches('"');
    let over_rows = function.over.is_some() && FUNCTIONS.window.contains_key(name);
    over_rows || FUNCTIONS.scalar.contains_key(name) || FUNCTIONS.aggregate.contains_key(name)
}

fn is_about_arguments(message: &str) -> bool {
    ["coercion", "argument", "signature"].iter().any(|word| message.contains(word))
}

/// The plan of the relations of a `FROM` alone, whatever their joins demand.
fn plan_from(planner: &Planner<'_>, from: &[TableWithJoins], ctes: &[Cte]) -> PlanResult<LogicalPlan> {
    let mut query = Parser::new(&GenericDialect {})
        .try_with_sql("SELECT * FROM x")
        .and_then(|mut parser| parser.parse_query())
        .map_err(|error| DataFusionError::Plan(error.to_string()))?;
    if let SetExpr::Select(select) = query.body.as_mut() {
        select.from = from.to_vec();
        for join in select.from.iter_mut().flat_map(|table| &mut table.joins) {
            demand_nothing(&mut join.join_operator);
        }
    }
    query.with = with_of(ctes);
    planner.to_rel(&query)
}

/// The columns of what `SELECT *` reads.
fn columns_of(plan: LogicalPlan) -> DFSchema {
    match plan {
        LogicalPlan::Projection(projection) => projection.input.schema().as_ref().clone(),
        plan => plan.schema().as_ref().clone(),
    }
}

fn with_of(ctes: &[Cte]) -> Option<With> {
    let with = || With { with_token: AttachedToken::empty(), recursive: false, cte_tables: ctes.to_vec() };
    (!ctes.is_empty()).then(with)
}

/// Children come before parents, so a mistake is told of the smallest expression that has it.
impl Visitor for Judge<'_, '_> {
    type Break = std::convert::Infallible;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Self::Break> {
        self.outside.push(self.ctes.len());
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            let inner = cte.query.with.iter().flat_map(|with| &with.cte_tables);
            let in_sight: Vec<Cte> = self.ctes.iter().chain(inner).cloned().collect();
            let planned = self.planner.to_rel(&Query { with: with_of(&in_sight), ..cte.query.as_ref().clone() });
            if planned.is_ok() {
                self.ctes.push(cte.clone());
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &Query) -> ControlFlow<Self::Break> {
        self.ctes.truncate(self.outside.pop().unwrap_or_default());
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<Self::Break> {
        let schema = self.schema_of(select);
        self.schemas.push(schema);
        let clauses = [("WHERE", &select.selection), ("HAVING", &select.having), ("QUALIFY", &select.qualify)];
        for (by, condition) in clauses {
            condition.iter().for_each(|condition| self.want(condition, by));
        }
        self.judge_named_windows(select);
        sequences::conditions(select).for_each(|condition| self.want(condition, "DEFINE"));
        for join in select.from.iter().flat_map(|table| &table.joins) {
            if let Some(JoinConstraint::On(condition)) = constraint_of(&join.join_operator) {
                self.want(condition, "ON");
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, _select: &Select) -> ControlFlow<Self::Break> {
        self.schemas.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Self::Break> {
        self.broken.push(matches!(expr, Expr::Value(value) if matches!(value.value, Value::Placeholder(_))));
        match expr {
            Expr::BinaryOp { left, op: op @ (BinaryOperator::And | BinaryOperator::Or), right } => {
                let by = if *op == BinaryOperator::And { "AND" } else { "OR" };
                self.want(left, by);
                self.want(right, by);
            }
            Expr::UnaryOp { op: UnaryOperator::Not, expr } => self.want(expr, "NOT"),
            Expr::Case { operand: None, conditions, .. } => {
                conditions.iter().for_each(|branch| self.want(&branch.condition, "WHEN"));
            }
            Expr::Function(Function { filter: Some(condition), .. }) => self.want(condition, "FILTER"),
            Expr::Nested(inner) => {
                if let Some(by) = self.wanted_by(expr) {
                    self.want(inner, by);
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Self::Break> {
        let is_broken = self.broken.pop().unwrap_or_default() || self.is_wrong(expr);
        if is_broken && let Some(outer) = self.broken.last_mut() {
            *outer = true;
        }
        ControlFlow::Continue(())
    }
}
