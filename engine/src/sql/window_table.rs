//! `FROM TUMBLE(s, time, size)`: the window table functions as a node of the logical plan.
//!
//! The node adds `window_start` and `window_end` to its input. It lowers to panes on the live side and to an ordinary
//! projection on the batch side.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use datafusion::arrow::datatypes::Field;
use datafusion::common::{DFSchema, DFSchemaRef, Result, ScalarValue, plan_err};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning};
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, LogicalPlanBuilder, UserDefinedLogicalNodeCore, lit};
use datafusion::sql::sqlparser::ast;

use crate::catalog::TIME_TYPE;

/// First instant of a row's window.
pub(crate) const WINDOW_START: &str = "window_start";
/// The instant after the last of a row's window.
pub(crate) const WINDOW_END: &str = "window_end";

/// The kind of a window, with its measures in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum WindowKind {
    /// Back to back.
    Tumble {
        /// Length.
        size_us: i64,
        /// Shift of all windows against 1970-01-01T00:00:00Z.
        offset_us: i64,
    },
}

impl WindowKind {
    /// Start of the window that holds an instant.
    pub(crate) const fn start_of(self, time: i64) -> i64 {
        match self {
            Self::Tumble { size_us, offset_us } => {
                time.saturating_sub(time.saturating_sub(offset_us).rem_euclid(size_us))
            }
        }
    }

    /// End of the window that begins at `start`.
    pub(crate) const fn end_of(self, start: i64) -> i64 {
        match self {
            Self::Tumble { size_us, .. } => start.saturating_add(size_us),
        }
    }
}

impl fmt::Display for WindowKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tumble { size_us, offset_us: 0 } => write!(f, "tumble {}", span_in_words(*size_us)),
            Self::Tumble { size_us, offset_us } => {
                write!(f, "tumble {}, offset {}", span_in_words(*size_us), span_in_words(*offset_us))
            }
        }
    }
}

/// A span of time in the largest unit that it is a whole number of.
pub(crate) fn span_in_words(us: i64) -> String {
    let units = [(86_400_000_000, "d"), (3_600_000_000, "h"), (60_000_000, "min"), (1_000_000, "s"), (1_000, "ms")];
    let whole = units.iter().find(|(unit, _)| us != 0 && us % unit == 0);
    whole.map_or_else(|| format!("{us} µs"), |(unit, name)| format!("{} {name}", us / unit))
}

/// Adds `window_start` and `window_end` to its input.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct WindowTable {
    pub(crate) input: LogicalPlan,
    pub(crate) time: Expr,
    pub(crate) kind: WindowKind,
    schema: DFSchemaRef,
}

impl PartialOrd for WindowTable {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

impl WindowTable {
    pub(crate) fn try_new(input: LogicalPlan, time: Expr, kind: WindowKind) -> Result<Self> {
        let qualifier = input.schema().iter().next().and_then(|(qualifier, _)| qualifier.cloned());
        let mut fields: Vec<_> =
            input.schema().iter().map(|(qualifier, field)| (qualifier.cloned(), Arc::clone(field))).collect();
        for name in [WINDOW_START, WINDOW_END] {
            fields.push((qualifier.clone(), Arc::new(Field::new(name, TIME_TYPE, false))));
        }
        let schema = Arc::new(DFSchema::new_with_metadata(fields, std::collections::HashMap::new())?);
        Ok(Self { input, time, kind, schema })
    }

    /// The same as an ordinary projection, for the batch side.
    pub(crate) fn to_projection(&self) -> Result<LogicalPlan> {
        let WindowKind::Tumble { size_us, offset_us } = self.kind;
        let bin = super::functions::FUNCTIONS
            .scalar
            .get("date_bin")
            .cloned()
            .ok_or_else(|| DataFusionError::Plan("date_bin is not registered".to_owned()))?;
        let interval = |us: i64| lit(ScalarValue::new_interval_mdn(0, 0, us.saturating_mul(1000)));
        let start = bin.call(vec![
            interval(size_us),
            self.time.clone(),
            lit(ScalarValue::TimestampMicrosecond(Some(offset_us), None)),
        ]);
        let qualifier = self.schema.iter().next().and_then(|(qualifier, _)| qualifier.cloned());
        let named = |expr: Expr, name: &str| match &qualifier {
            Some(qualifier) => expr.alias_qualified(Some(qualifier.clone()), name),
            None => expr.alias(name),
        };
        let columns = self.input.schema().columns().into_iter().map(Expr::Column);
        let ends = [named(start.clone(), WINDOW_START), named(start + interval(size_us), WINDOW_END)];
        LogicalPlanBuilder::from(self.input.clone()).project(columns.chain(ends))?.build()
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
        vec![self.time.clone()]
    }

    /// A predicate on anything but the window itself means the same below the node.
    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        [WINDOW_START, WINDOW_END].map(str::to_owned).into()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WindowTable: {} over {}", self.kind, self.time)
    }

    fn with_exprs_and_inputs(&self, mut exprs: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        match (exprs.pop(), inputs.pop()) {
            (Some(time), Some(input)) => Self::try_new(input, time, self.kind),
            _ => plan_err!("a window table has one input and one time column"),
        }
    }

    /// What is read of the output is read of the input, except for the two columns that are made here.
    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let width = self.input.schema().fields().len();
        let mut needed: Vec<usize> = output_columns.iter().copied().filter(|column| *column < width).collect();
        for column in self.time.column_refs() {
            needed.extend(self.input.schema().maybe_index_of_column(column));
        }
        needed.sort_unstable();
        needed.dedup();
        Some(vec![needed])
    }
}

/// Plans `TUMBLE(relation, time, size [, offset])`.
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
        let function = name.0.last().and_then(|part| part.as_ident()).map(|ident| ident.value.to_lowercase());
        let args = args.iter().map(unnamed).collect::<Result<Vec<_>>>()?;
        match (function.as_deref(), args.as_slice()) {
            (Some("tumble"), [relation, time, size, rest @ ..]) if rest.len() < 2 => {
                let input = context.plan(relation_of(relation)?)?;
                let schema = Arc::clone(input.schema());
                let time = context.sql_to_expr((*time).clone(), &schema)?;
                let mut measure = |expr: &ast::Expr| interval_us(&context.sql_to_expr(expr.clone(), &schema)?);
                let size_us = measure(size)?;
                let offset_us = rest.first().map_or(Ok(0), |offset| measure(offset))?;
                if size_us <= 0 {
                    return plan_err!("a window is longer than nothing; give TUMBLE a positive size");
                }
                let node = WindowTable::try_new(input, time, WindowKind::Tumble { size_us, offset_us })?;
                let plan = LogicalPlan::Extension(Extension { node: Arc::new(node) });
                Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias.clone()))))
            }
            (Some("tumble"), _) => {
                plan_err!("TUMBLE takes a relation, its time column and a size: TUMBLE(s, time, INTERVAL '5 minutes')")
            }
            (Some(other @ ("hop" | "session" | "cumulate")), _) => {
                plan_err!("{} windows do not run yet; TUMBLE does", other.to_uppercase())
            }
            _ => Ok(RelationPlanning::Original(Box::new(relation))),
        }
    }
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
    us.map_or_else(|| plan_err!("`{expr}` is not an interval of days or shorter units"), Ok)
}
