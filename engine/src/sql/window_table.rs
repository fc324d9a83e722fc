//! `FROM TUMBLE(s, time, size)`: the window table functions as a node of the logical plan.
//!
//! The node adds `window_start` and `window_end` to its input. It lowers to panes on the live side and to ordinary joins
//! and projections on the batch side (`window_batch`).

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use datafusion::arrow::datatypes::Field;
use datafusion::common::{Column, DFSchema, DFSchemaRef, Result, ScalarValue, plan_err};
use datafusion::logical_expr::planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning};
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, UserDefinedLogicalNodeCore};
use datafusion::sql::sqlparser::ast;

use super::window_kind::{WindowKind, Windows};
use crate::catalog::TIME_TYPE;

/// First instant of a row's window.
pub(crate) const WINDOW_START: &str = "window_start";
/// The instant after the last of a row's window.
pub(crate) const WINDOW_END: &str = "window_end";

/// In how many windows one row may be.
const WINDOWS_PER_ROW_MAX: i64 = 10_000;

/// Adds `window_start` and `window_end` to its input.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct WindowTable {
    pub(crate) input: LogicalPlan,
    pub(crate) time: Expr,
    pub(crate) windows: Windows,
    /// Whose sessions they are; empty for other windows, and for sessions of all rows together.
    pub(crate) keys: Vec<Expr>,
    schema: DFSchemaRef,
}

impl PartialOrd for WindowTable {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

impl WindowTable {
    pub(crate) fn try_new(input: LogicalPlan, time: Expr, windows: Windows, keys: Vec<Expr>) -> Result<Self> {
        let qualifier = input.schema().iter().next().and_then(|(qualifier, _)| qualifier.cloned());
        let mut fields: Vec<_> =
            input.schema().iter().map(|(qualifier, field)| (qualifier.cloned(), Arc::clone(field))).collect();
        for name in [WINDOW_START, WINDOW_END] {
            fields.push((qualifier.clone(), Arc::new(Field::new(name, TIME_TYPE, false))));
        }
        let schema = Arc::new(DFSchema::new_with_metadata(fields, std::collections::HashMap::new())?);
        Ok(Self { input, time, windows, keys, schema })
    }

    /// The columns of the window's ends.
    pub(crate) fn ends(&self) -> [Expr; 2] {
        let qualifier = self.input.schema().iter().next().and_then(|(qualifier, _)| qualifier.cloned());
        [WINDOW_START, WINDOW_END].map(|name| Expr::Column(Column::new(qualifier.clone(), name)))
    }
}

impl UserDefinedLogicalNodeCore for WindowTable {
    fn name(&self) -> &'static str {
        "WindowTable"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        std::iter::once(&self.time).chain(&self.keys).cloned().collect()
    }

    /// A predicate on anything but the window itself means the same below the node. Where rows make the windows, that
    /// holds only of whole sessions, which the columns that are keys tell.
    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        let ends = [WINDOW_START, WINDOW_END].map(str::to_owned);
        let is_key =
            |name: &String| self.keys.iter().any(|key| matches!(key, Expr::Column(column) if column.name == *name));
        match self.windows {
            Windows::Fixed(_) => ends.into(),
            Windows::Sessions { .. } => {
                let columns = self.input.schema().fields().iter().map(|field| field.name().clone());
                columns.filter(|name| !is_key(name)).chain(ends).collect()
            }
        }
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WindowTable: {} over {}", self.windows, self.time)?;
        self.keys.iter().enumerate().try_for_each(|(at, key)| write!(f, "{}{key}", if at == 0 { " by " } else { ", " }))
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        match (exprs.split_first(), inputs.pop()) {
            (Some((time, keys)), Some(input)) => Self::try_new(input, time.clone(), self.windows, keys.to_vec()),
            _ => plan_err!("a window table has one input and one time column"),
        }
    }

    /// What is read of the output is read of the input, except for the two columns that are made here.
    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let width = self.input.schema().fields().len();
        let mut needed: Vec<usize> = output_columns.iter().copied().filter(|column| *column < width).collect();
        for column in self.expressions().iter().flat_map(Expr::column_refs) {
            needed.extend(self.input.schema().maybe_index_of_column(column));
        }
        needed.sort_unstable();
        needed.dedup();
        Some(vec![needed])
    }
}

/// Plans `TUMBLE(relation, time, size [, offset])` and its like, and `SESSION(relation, time, gap [, keys])`.
#[derive(Debug)]
pub(crate) struct WindowTablePlanner;

impl RelationPlanner for WindowTablePlanner {
    fn plan_relation(
        &self,
        relation: ast::TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        let (name, args, alias) = match &relation {
            ast::TableFactor::Table { name, args: Some(args), alias, .. } => (name, &args.args, alias),
            _ => return Ok(RelationPlanning::Original(Box::new(relation))),
        };
        let Some(function) = name.0.last().and_then(|part| part.as_ident()).map(|ident| ident.value.to_lowercase())
        else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let args = args.iter().map(unnamed).collect::<Result<Vec<_>>>()?;
        let durations = match function.as_str() {
            "tumble" | "session" => 1,
            "hop" | "cumulate" => 2,
            _ => return Ok(RelationPlanning::Original(Box::new(relation))),
        };
        let [from, time, further @ ..] = args.as_slice() else {
            return plan_err!("a window function takes a relation, its time column and durations");
        };
        let is_session = function == "session";
        if further.len() < durations || (further.len() > durations + 1 && !is_session) {
            return plan_err!("{relation} takes {durations} durations and an offset, not {}", further.len());
        }
        let (measures, keys) = further.split_at(if is_session { durations } else { further.len() });
        let input = context.plan(relation_of(from)?)?;
        let schema = Arc::clone(input.schema());
        let time = context.sql_to_expr((*time).clone(), &schema)?;
        let measures = measures
            .iter()
            .map(|expr| interval_us(&context.sql_to_expr((*expr).clone(), &schema)?))
            .collect::<Result<Vec<_>>>()?;
        let keys = keys.iter().map(|key| context.sql_to_expr((*key).clone(), &schema)).collect::<Result<Vec<_>>>()?;
        let windows = match measures.as_slice() {
            &[gap_us] if is_session => sessions(gap_us)?,
            measures => Windows::Fixed(kind_of(&function, measures)?),
        };
        let node = WindowTable::try_new(input, time, windows, keys)?;
        let plan = LogicalPlan::Extension(Extension { node: Arc::new(node) });
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias.clone()))))
    }
}

fn sessions(gap_us: i64) -> Result<Windows> {
    if gap_us <= 0 {
        return plan_err!("the gap of SESSION is longer than nothing, as in INTERVAL '10 minutes'");
    }
    Ok(Windows::Sessions { gap_us })
}

/// The kind of window that a function and its durations stand for.
fn kind_of(function: &str, measures: &[i64]) -> Result<WindowKind> {
    let kind = match (function, measures) {
        ("hop", &[slide_us, size_us]) => WindowKind::Hop { slide_us, size_us, offset_us: 0 },
        ("hop", &[slide_us, size_us, offset_us]) => WindowKind::Hop { slide_us, size_us, offset_us },
        ("cumulate", &[step_us, size_us]) => WindowKind::Cumulate { step_us, size_us, offset_us: 0 },
        ("cumulate", &[step_us, size_us, offset_us]) => WindowKind::Cumulate { step_us, size_us, offset_us },
        ("tumble", &[size_us]) => WindowKind::Tumble { size_us, offset_us: 0 },
        ("tumble", &[size_us, offset_us]) => WindowKind::Tumble { size_us, offset_us },
        _ => return plan_err!("{} takes other durations", function.to_uppercase()),
    };
    let name = function.to_uppercase();
    let (step_us, size_us) = match kind {
        WindowKind::Tumble { size_us, .. } => (size_us, size_us),
        WindowKind::Hop { slide_us, size_us, .. } => (slide_us, size_us),
        WindowKind::Cumulate { step_us, size_us, .. } => (step_us, size_us),
    };
    if step_us <= 0 || size_us <= 0 {
        return plan_err!("a window is longer than nothing; give {name} positive durations");
    }
    if matches!(kind, WindowKind::Cumulate { .. }) && size_us % step_us != 0 {
        return plan_err!(
            "the size of CUMULATE is a multiple of its step, as in INTERVAL '1 minute', INTERVAL '1 hour'"
        );
    }
    if kind.windows_per_row() > WINDOWS_PER_ROW_MAX {
        return plan_err!("an event would be in more than {WINDOWS_PER_ROW_MAX} windows; give {name} a greater step");
    }
    Ok(kind)
}

fn unnamed(arg: &ast::FunctionArg) -> Result<&ast::Expr> {
    match arg {
        ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr)) => Ok(expr),
        other => plan_err!("a window function takes plain arguments, not `{other}`"),
    }
}

/// The relation that the first argument names.
fn relation_of(expr: &ast::Expr) -> Result<ast::TableFactor> {
    let parts = match expr {
        ast::Expr::Identifier(ident) => vec![ident.clone()],
        ast::Expr::CompoundIdentifier(parts) => parts.clone(),
        ast::Expr::Subquery(query) => {
            return Ok(ast::TableFactor::Derived {
                lateral: false,
                subquery: query.clone(),
                alias: None,
                sample: None,
            });
        }
        other => return plan_err!("the first argument of a window function is a relation, not `{other}`"),
    };
    Ok(ast::TableFactor::Table {
        name: ast::ObjectName::from(parts),
        alias: None,
        args: None,
        with_hints: vec![],
        version: None,
        with_ordinality: false,
        partitions: vec![],
        json_path: None,
        sample: None,
        index_hints: vec![],
    })
}

/// A literal interval in microseconds. Months have no fixed length and are refused.
pub(crate) fn interval_us(expr: &Expr) -> Result<i64> {
    let Expr::Literal(value, _) = expr else {
        return plan_err!("a window's size is a literal interval such as INTERVAL '5 minutes', not `{expr}`");
    };
    let us = match value {
        ScalarValue::IntervalMonthDayNano(Some(value)) if value.months == 0 => i64::from(value.days)
            .checked_mul(86_400_000_000)
            .and_then(|days| days.checked_add(value.nanoseconds / 1000)),
        ScalarValue::IntervalDayTime(Some(value)) => i64::from(value.days)
            .checked_mul(86_400_000_000)
            .and_then(|days| days.checked_add(i64::from(value.milliseconds) * 1000)),
        _ => None,
    };
    us.map_or_else(|| plan_err!("a span of months has no fixed length; write it in days or shorter units"), Ok)
}
