//! Window tables on the batch side: ordinary joins and projections that give each row its windows.

use datafusion::common::{Result, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, lit};

use super::window_kind::WindowKind;
use super::window_table::{WINDOW_END, WINDOW_START, WindowTable};

/// The name under which each window of a row is told from the others.
const SHIFT: &str = "__window_shift";

/// The same rows, with the same windows, out of what DataFusion runs.
pub(crate) fn to_batch(table: &WindowTable) -> Result<LogicalPlan> {
    let time = table.time.clone();
    match table.kind {
        WindowKind::Tumble { size_us, offset_us } => {
            let start = bin(size_us, time, offset_us)?;
            with_ends(table, table.input.clone(), start.clone(), start + interval(size_us))
        }
        WindowKind::Hop { slide_us, size_us, offset_us } => {
            let start = bin(slide_us, time.clone(), offset_us)? - shift();
            let end = start.clone() + interval(size_us);
            let shifts = (0..table.kind.windows_per_row()).map(|steps| steps.saturating_mul(slide_us));
            let rows = shifted(table, shifts, end.clone().gt(time))?;
            with_ends(table, rows, start, end)
        }
        WindowKind::Cumulate { step_us, size_us, offset_us } => {
            let start = bin(size_us, time.clone(), offset_us)?;
            let end = start.clone() + shift();
            let shifts = (1..=table.kind.windows_per_row()).map(|steps| steps.saturating_mul(step_us));
            let rows = shifted(table, shifts, end.clone().gt(time))?;
            with_ends(table, rows, start, end)
        }
    }
}

/// Each row of the input with each shift for which `holds`.
fn shifted(table: &WindowTable, shifts: impl Iterator<Item = i64>, holds: Expr) -> Result<LogicalPlan> {
    let values = shifts.map(|us| vec![interval(us)]).collect();
    let first = LogicalPlanBuilder::values(values)?;
    let name = first.schema().field(0).name().clone();
    let shifts = first.project(vec![datafusion::prelude::ident(name).alias(SHIFT)])?.build()?;
    LogicalPlanBuilder::from(table.input.clone()).cross_join(shifts)?.filter(holds)?.build()
}

/// The columns of the input, then both ends.
fn with_ends(table: &WindowTable, rows: LogicalPlan, start: Expr, end: Expr) -> Result<LogicalPlan> {
    let qualifier = table.input.schema().iter().next().and_then(|(qualifier, _)| qualifier.cloned());
    let named = |expr: Expr, name: &str| match &qualifier {
        Some(qualifier) => expr.alias_qualified(Some(qualifier.clone()), name),
        None => expr.alias(name),
    };
    let columns = table.input.schema().columns().into_iter().map(Expr::Column);
    let ends = [named(start, WINDOW_START), named(end, WINDOW_END)];
    LogicalPlanBuilder::from(rows).project(columns.chain(ends))?.build()
}

fn shift() -> Expr {
    datafusion::prelude::ident(SHIFT)
}

fn interval(us: i64) -> Expr {
    lit(ScalarValue::new_interval_mdn(0, 0, us.saturating_mul(1000)))
}

/// The start of the tumbling window that holds `time`.
fn bin(size_us: i64, time: Expr, offset_us: i64) -> Result<Expr> {
    let bin = super::functions::FUNCTIONS
        .scalar
        .get("date_bin")
        .cloned()
        .ok_or_else(|| DataFusionError::Plan("date_bin is not registered".to_owned()))?;
    let origin = lit(ScalarValue::TimestampMicrosecond(Some(offset_us), None));
    Ok(bin.call(vec![interval(size_us), time, origin]))
}
