//! Window tables on the batch side: ordinary joins and projections that give each row its windows.

use std::sync::Arc;

use datafusion::common::{Result, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::functions_aggregate::min_max::{max_udaf, min_udaf};
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::functions_window::expr_fn::lag;
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{
    AggregateUDF, Expr, ExprFunctionExt, LogicalPlan, LogicalPlanBuilder, WindowFrame, WindowFrameBound,
    WindowFrameUnits, WindowFunctionDefinition, lit, when,
};
use datafusion::prelude::ident;

use super::window_kind::{WindowKind, Windows};
use super::window_table::{WINDOW_END, WINDOW_START, WindowTable};

/// The name under which each window of a row is told from the others.
const SHIFT: &str = "__window_shift";
/// What a session is made of: the time before a row's, the number of its session, and that one's first and last time.
const BEFORE: &str = "__session_before";
const NUMBER: &str = "__session_number";
const FIRST: &str = "__session_first";
const LAST: &str = "__session_last";

/// The same rows, with the same windows, out of what DataFusion runs.
pub(crate) fn to_batch(table: &WindowTable) -> Result<LogicalPlan> {
    let time = table.time.clone();
    let kind = match table.windows {
        Windows::Fixed(kind) => kind,
        Windows::Sessions { gap_us } => return sessions(table, gap_us),
    };
    match kind {
        WindowKind::Tumble { size_us, offset_us } => {
            let start = bin(size_us, time, offset_us)?;
            with_ends(table, table.input.clone(), start.clone(), start + interval(size_us))
        }
        WindowKind::Hop { slide_us, size_us, offset_us } => {
            let start = bin(slide_us, time.clone(), offset_us)? - shift();
            let end = start.clone() + interval(size_us);
            let shifts = (0..kind.windows_per_row()).map(|steps| steps.saturating_mul(slide_us));
            let rows = shifted(table, shifts, end.clone().gt(time))?;
            with_ends(table, rows, start, end)
        }
        WindowKind::Cumulate { step_us, size_us, offset_us } => {
            let start = bin(size_us, time.clone(), offset_us)?;
            let end = start.clone() + shift();
            let shifts = (1..=kind.windows_per_row()).map(|steps| steps.saturating_mul(step_us));
            let rows = shifted(table, shifts, end.clone().gt(time))?;
            with_ends(table, rows, start, end)
        }
    }
}

/// The rows with their sessions: those of a key are numbered by how many gaps lie before them.
fn sessions(table: &WindowTable, gap_us: i64) -> Result<LogicalPlan> {
    let time = || table.time.clone();
    let in_time = || vec![time().sort(true, false)];
    let before = lag(time(), Some(1), None).partition_by(table.keys.clone()).order_by(in_time()).build()?.alias(BEFORE);
    let rows = LogicalPlanBuilder::from(table.input.clone()).window(vec![before])?;
    let is_first = ident(BEFORE).is_null().or((ident(BEFORE) + interval(gap_us)).lt_eq(time()));
    let is_first = when(is_first, lit(1_i64)).otherwise(lit(0_i64))?;
    // Rows of one time have one number, whichever of them comes first: a frame of RANGE holds its peers.
    let number = over(sum_udaf(), is_first).window_frame(up_to_peers());
    let number = number.partition_by(table.keys.clone()).order_by(in_time()).build()?.alias(NUMBER);
    let rows = rows.window(vec![number])?;
    let session: Vec<Expr> = table.keys.iter().cloned().chain([ident(NUMBER)]).collect();
    let whole = |function: Arc<AggregateUDF>| over(function, time()).partition_by(session.clone()).build();
    let rows = rows.window(vec![whole(min_udaf())?.alias(FIRST), whole(max_udaf())?.alias(LAST)])?.build()?;
    with_ends(table, rows, ident(FIRST), ident(LAST) + interval(gap_us))
}

/// All rows before a row, and those of its time.
fn up_to_peers() -> WindowFrame {
    let first = WindowFrameBound::Preceding(ScalarValue::UInt64(None));
    WindowFrame::new_bounds(WindowFrameUnits::Range, first, WindowFrameBound::CurrentRow)
}

/// An aggregate as a window function.
fn over(function: Arc<AggregateUDF>, arg: Expr) -> Expr {
    Expr::from(WindowFunction::new(WindowFunctionDefinition::AggregateUDF(function), vec![arg]))
}

/// Each row of the input with each shift for which `holds`.
fn shifted(table: &WindowTable, shifts: impl Iterator<Item = i64>, holds: Expr) -> Result<LogicalPlan> {
    let values = shifts.map(|us| vec![interval(us)]).collect();
    let first = LogicalPlanBuilder::values(values)?;
    let name = first.schema().field(0).name().clone();
    let shifts = first.project(vec![ident(name).alias(SHIFT)])?.build()?;
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
    ident(SHIFT)
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
