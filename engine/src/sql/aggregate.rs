//! Lowering of `GROUP BY` over windows.

use std::sync::Arc;

use datafusion::common::DFSchema;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::expr::{AggregateFunction, AggregateFunctionParams, Sort};
use datafusion::logical_expr::{Aggregate, Cast, Expr, TryCast};
use datafusion::physical_expr::aggregate::AggregateExprBuilder;

use super::in_order;
use super::lower::{Lowered, Lowering, Refusal, column_index, names, relaxed, unsupported};
use super::session;
use super::sketch::percentile_of;
use super::time_column::TimeColumn;
use super::window_columns::WindowColumns;
use super::window_kind::{WindowKind, Windows, span_in_words};
use super::window_table::{WINDOW_START, interval_us};
use crate::error::codes;
use crate::graph::{AggregateKind, AggregateSpec, Edge, Meaning, Spec, WindowSpec};

/// Aggregates that DataFusion computes and whose value does not depend on the order of their input.
const ORDER_INDEPENDENT: &[&str] = &[
    "approx_distinct",
    "approx_median",
    "approx_percentile_cont",
    "avg",
    "bit_and",
    "bit_or",
    "bit_xor",
    "bool_and",
    "bool_or",
    "corr",
    "count",
    "covar_pop",
    "covar_samp",
    "max",
    "mean",
    "median",
    "min",
    "stddev",
    "stddev_pop",
    "stddev_samp",
    "sum",
    "var",
    "var_pop",
    "var_samp",
    "percentile_cont",
];

/// Those among them that keep every value they are told.
pub(super) const KEEPING_ALL: &[&str] = &["median", "percentile_cont"];

/// Lowers an aggregate over rows that a window table assigned; `early` is a monotone condition on its output.
pub(super) fn lower(
    lowering: &mut Lowering<'_>,
    aggregate: &Aggregate,
    below: Lowered,
    early: Option<&Expr>,
) -> Result<Lowered, Refusal> {
    let input = aggregate.input.schema();
    let window = window_of(aggregate, &below, input)?;
    let mut keys = vec![];
    let (mut starts, mut ends) = (vec![], vec![]);
    for (place, expr) in aggregate.group_expr.iter().enumerate() {
        match column_index(expr, input) {
            Some(column) if window.starts.contains(&column) => starts.push(place),
            Some(column) if window.ends.contains(&column) => ends.push(place),
            _ if Some(place) == window.bin => starts.push(place),
            _ => {
                below.refuse_hollow(expr, input)?;
                keys.push((lowering.physical(expr, input)?, place));
            }
        }
    }
    aggregate.aggr_expr.iter().try_for_each(|expr| below.refuse_hollow(expr, input))?;
    let aggregates = aggregate
        .aggr_expr
        .iter()
        .map(|expr| aggregate_spec(lowering, expr, input, below.time))
        .collect::<Result<Vec<_>, _>>()?;
    let schema = relaxed(&aggregate.schema);
    let of_windows = conditions(&below, aggregate, starts.first(), ends.first())?;
    let moves = |condition: &Expr| window.windows.is_sessions() && session::reads_end(condition, aggregate, &ends);
    let early = early.filter(|early| below.is_row_level && !moves(early) && !of_windows.iter().any(moves));
    let early_predicate = early.map(|expr| lowering.physical(expr, &aggregate.schema)).transpose()?;
    let allowed_us = if window.windows.is_sessions() { 0 } else { lowering.allowed_us };
    // A group counts the same, whatever makes it speak.
    let counted = format!(
        "window {} group by {} aggregates {}{}",
        window.windows,
        names(&aggregate.group_expr),
        names(&aggregate.aggr_expr),
        if allowed_us > 0 { format!(" allowing {}", span_in_words(allowed_us)) } else { String::new() },
    );
    let what = format!("{counted} early {}", early.map_or_else(|| "never".to_owned(), ToString::to_string));
    let edge = Edge::by(below.node, keys.iter().map(|(expr, _)| Arc::clone(expr)).collect());
    let groups = aggregate.group_expr.len();
    let spec = WindowSpec {
        windows: window.windows,
        keys,
        starts: starts.clone(),
        ends: ends.clone(),
        aggregates,
        early: early_predicate.clone(),
        allowed_us,
    };
    let mut lagging: Vec<TimeColumn> = ends.iter().skip(1).map(|end| TimeColumn::exact(*end)).collect();
    // How far back a session began has no bound.
    if let Some(kind) = window.windows.fixed() {
        let (behind_us, ahead_us) = (kind.size_us(), -kind.shortest_us());
        lagging.extend(starts.iter().map(|start| TimeColumn { column: *start, behind_us, ahead_us }));
    }
    let width = schema.fields().len();
    let mut node =
        lowering.graph.add_with((&what, Meaning::Of(&counted)), Spec::Window(spec), vec![edge], Arc::clone(&schema));
    for condition in of_windows {
        let predicate = lowering.physical(&condition, &aggregate.schema)?;
        let what = format!("filter {condition}");
        node = lowering.graph.add(&what, Spec::Filter(predicate), vec![Edge::local(node)], Arc::clone(&schema));
    }
    let moving = if window.windows.is_sessions() { ends.as_slice() } else { &[] };
    Ok(Lowered {
        node,
        time: ends.first().copied(),
        lagging,
        window: None,
        is_row_level: false,
        is_early: early_predicate.is_some(),
        fixed: (0..width).map(|column| column < groups && !moving.contains(&column)).collect(),
        tables: below.tables,
    })
}

/// Conditions on windows that stand below the aggregate, as conditions on its output.
fn conditions(
    below: &Lowered,
    aggregate: &Aggregate,
    start: Option<&usize>,
    end: Option<&usize>,
) -> Result<Vec<Expr>, Refusal> {
    let columns = aggregate.schema.columns();
    let place = |name: &str| if name == WINDOW_START { start } else { end };
    let moved = |condition: &Expr| {
        let missing = condition.column_refs().into_iter().find(|column| place(&column.name).is_none());
        if let Some(missing) = missing {
            return Err(Refusal::new(
                codes::UNSUPPORTED,
                format!("a condition on `{}` needs it in GROUP BY", missing.name),
                format!("add {} to GROUP BY", missing.name),
            ));
        }
        let moved = condition.clone().transform(|expr| {
            Ok(match &expr {
                Expr::Column(column) => match place(&column.name) {
                    Some(place) => Transformed::yes(Expr::Column(columns[*place].clone())),
                    None => Transformed::no(expr),
                },
                _ => Transformed::no(expr),
            })
        });
        Ok(moved?.data)
    };
    below.window.iter().flat_map(|window| &window.conditions).map(moved).collect()
}

/// The window that bounds groups.
struct Bound {
    windows: Windows,
    /// Columns of the input that hold its ends.
    starts: Vec<usize>,
    ends: Vec<usize>,
    /// The group expression that is its start, where it is a `date_bin`.
    bin: Option<usize>,
}

/// The window that bounds the groups.
fn window_of(aggregate: &Aggregate, below: &Lowered, input: &DFSchema) -> Result<Bound, Refusal> {
    let unbounded = |message: &str| {
        Refusal::new(
            codes::UNBOUNDED,
            message,
            "read FROM TUMBLE(stream, time, INTERVAL '5 minutes') and add window_start, window_end to GROUP BY",
        )
    };
    if let Some(window) = &below.window {
        let is_end = |column: usize| window.starts.contains(&column) || window.ends.contains(&column);
        if !window.is_hollow && !window.windows.is_tumbling() {
            return Err(Refusal::new(
                codes::UNSUPPORTED,
                "GROUP BY does not run over overlapping windows whose rows were joined first",
                "join the streams in a WITH, and read the window from that",
            ));
        }
        if aggregate.group_expr.iter().any(|expr| column_index(expr, input).is_some_and(is_end)) {
            let (starts, ends) = (window.starts.clone(), window.ends.clone());
            names_one_window(aggregate, window, input)?;
            if window.windows.is_sessions() {
                session::check_keys(aggregate, window)?;
                session::refuse_growing(aggregate)?;
            }
            return Ok(Bound { windows: window.windows, starts, ends, bin: None });
        }
        return Err(unbounded(
            "unbounded state: this GROUP BY does not name its window, so its groups would grow for ever",
        ));
    }
    for (place, expr) in aggregate.group_expr.iter().enumerate() {
        if let Some((kind, time)) = bin_of(expr)?
            && below.time.is_some()
            && column_index(time, input) == below.time
        {
            return Ok(Bound { windows: Windows::Fixed(kind), starts: vec![], ends: vec![], bin: Some(place) });
        }
    }
    Err(unbounded("unbounded state: this aggregate has no window, so its groups would grow for ever"))
}

/// Windows that begin together are told apart by their ends alone, so a group must name that.
fn names_one_window(aggregate: &Aggregate, window: &WindowColumns, input: &DFSchema) -> Result<(), Refusal> {
    let names = |columns: &[usize]| {
        aggregate.group_expr.iter().any(|expr| column_index(expr, input).is_some_and(|index| columns.contains(&index)))
    };
    if matches!(window.windows, Windows::Fixed(WindowKind::Cumulate { .. })) && !names(&window.ends) {
        return Err(Refusal::new(
            codes::UNSUPPORTED,
            "the windows of CUMULATE begin together, so window_start alone puts them into one group",
            "add window_end to GROUP BY",
        ));
    }
    Ok(())
}

/// The tumbling window that `date_bin(size, time)` stands for, and its time. An origin makes DataFusion compute in
/// nanoseconds, which do not reach all event times.
fn bin_of(expr: &Expr) -> Result<Option<(WindowKind, &Expr)>, Refusal> {
    let Expr::ScalarFunction(call) = unaliased(expr) else { return Ok(None) };
    match (call.func.name(), call.args.as_slice()) {
        ("date_bin", [size, time]) => {
            let size_us = interval_us(size).ok().filter(|size_us| *size_us > 0);
            Ok(size_us.map(|size_us| (WindowKind::Tumble { size_us, offset_us: 0 }, time)))
        }
        ("date_bin", [_, _, _]) => Err(Refusal::new(
            codes::UNSUPPORTED,
            "date_bin with an origin does not run on a stream",
            "read FROM TUMBLE(stream, time, size, offset) and add window_start, window_end to GROUP BY",
        )),
        _ => Ok(None),
    }
}

fn unaliased(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => unaliased(&alias.expr),
        other => other,
    }
}

/// One aggregate; `time` is the column of the event time.
fn aggregate_spec(
    lowering: &Lowering<'_>,
    expr: &Expr,
    input: &DFSchema,
    time: Option<usize>,
) -> Result<AggregateSpec, Refusal> {
    let function = match expr {
        Expr::Alias(alias) => return aggregate_spec(lowering, &alias.expr, input, time),
        Expr::AggregateFunction(function) => function,
        other => return Err(unsupported(&format!("`{other}` as an aggregate"))),
    };
    let AggregateFunction { func, params } = function;
    let in_order = in_order::kept(function);
    match in_order {
        Some(kept) => in_order::check_order(function, kept.keep, input, time)?,
        None if !ORDER_INDEPENDENT.contains(&func.name()) || !is_unordered(function) => {
            return Err(depends_on_order(func.name()));
        }
        None if func.name() == "approx_percentile_cont" => check_percentile(params.args.get(1))?,
        None => {}
    }
    let args = lowering.physical_all(&params.args, input)?;
    let filter = params.filter.as_deref().map(|filter| lowering.physical(filter, input)).transpose()?;
    let is_single = params.args.len() == 1;
    let function = match (func.name(), params.distinct, in_order) {
        (_, _, Some(kept)) => AggregateKind::InOrder(kept),
        ("count", false, _) if is_single => AggregateKind::Count,
        ("count", true, _) if is_single => AggregateKind::CountDistinct,
        ("sum", false, _) => AggregateKind::Sum,
        ("min", ..) => AggregateKind::Min,
        ("max", ..) => AggregateKind::Max,
        (_, distinct, _) => {
            let built = AggregateExprBuilder::new(Arc::clone(func), args.clone())
                .schema(Arc::new(input.as_arrow().clone()))
                .alias(expr.schema_name().to_string())
                .with_distinct(distinct)
                .build()?;
            AggregateKind::Other(Arc::new(built))
        }
    };
    Ok(AggregateSpec { function, args, filter })
}

/// Whether a call has no order, or the one of its values that `WITHIN GROUP` gives a percentile.
fn is_unordered(function: &AggregateFunction) -> bool {
    let AggregateFunctionParams { args, order_by, .. } = &function.params;
    let is_of_values = |sort: &Sort| sort.asc && args.first().map(uncast) == Some(uncast(&sort.expr));
    order_by.is_empty() || (function.func.supports_within_group_clause() && order_by.iter().all(is_of_values))
}

/// What is converted, if anything is.
fn uncast(expr: &Expr) -> &Expr {
    match expr {
        Expr::Cast(Cast { expr, .. }) | Expr::TryCast(TryCast { expr, .. }) => uncast(expr),
        other => other,
    }
}

fn check_percentile(percentile: Option<&Expr>) -> Result<(), Refusal> {
    match percentile {
        Some(Expr::Literal(value, _)) if percentile_of(value).is_some() => Ok(()),
        _ => Err(Refusal::new(
            codes::UNSUPPORTED,
            "`approx_percentile_cont` is called with another percentile than a constant from 0 to 1",
            "write approx_percentile_cont(x, 0.95)",
        )),
    }
}

/// Whether an aggregate of that name runs over a stream, at least with some arguments.
pub(super) fn runs(name: &str) -> bool {
    ORDER_INDEPENDENT.contains(&name) || in_order::FUNCTIONS_KEPT.contains(&name)
}

/// What is said of an aggregate whose value would differ from run to run.
pub(super) fn depends_on_order(name: &str) -> Refusal {
    let hint = match name {
        "string_agg" => "write array_to_string(array_agg(x), ', '), whose values stand in the order of events",
        "nth_value" => "write nth_value(x, 2) with a constant place, which is not 0",
        "any_value" => "write first_value(x), which is that of the first event",
        "approx_percentile_cont_with_weight" => {
            "write approx_percentile_cont(x, 0.95), of which every value counts once"
        }
        _ => "use count, count(DISTINCT ...), sum, min, max, avg, stddev or another aggregate without an order",
    };
    let message = format!("`{name}` depends on the order in which its rows come");
    Refusal::new(codes::UNSUPPORTED, message, hint)
}
