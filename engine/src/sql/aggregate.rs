//! Lowering of `GROUP BY` over windows.

use std::sync::Arc;

use datafusion::common::DFSchema;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::{Aggregate, Expr};
use datafusion::physical_expr::aggregate::AggregateExprBuilder;

use super::lower::{Lowered, Lowering, Refusal, TimeColumn, WindowColumns, column_index, names, relaxed, unsupported};
use super::window_table::WindowKind;
use crate::error::codes;
use crate::graph::{AggregateKind, AggregateSpec, Edge, Spec, WindowSpec};

/// Aggregates that DataFusion computes and whose value does not depend on the order of their input.
const ORDER_INDEPENDENT: &[&str] = &[
    "approx_distinct",
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
            _ => keys.push((lowering.physical(expr, input)?, place)),
        }
    }
    let aggregates =
        aggregate.aggr_expr.iter().map(|expr| aggregate_spec(lowering, expr, input)).collect::<Result<Vec<_>, _>>()?;
    let schema = relaxed(&aggregate.schema);
    let early = early.filter(|_| below.is_row_level);
    let early_predicate = early.map(|expr| lowering.physical(expr, &aggregate.schema)).transpose()?;
    let what = format!(
        "window {} group by {} aggregates {} early {}",
        window.kind,
        names(&aggregate.group_expr),
        names(&aggregate.aggr_expr),
        early.map_or_else(|| "never".to_owned(), ToString::to_string),
    );
    let exchange = keys.iter().map(|(expr, _)| Arc::clone(expr)).collect();
    let groups = aggregate.group_expr.len();
    let spec = WindowSpec {
        kind: window.kind,
        keys,
        starts: starts.clone(),
        ends: ends.clone(),
        aggregates,
        early: early_predicate.clone(),
    };
    let WindowKind::Tumble { size_us, .. } = window.kind;
    let further = starts.iter().map(|start| TimeColumn { column: *start, behind_us: size_us, ahead_us: -size_us });
    let lagging = ends.iter().skip(1).map(|end| TimeColumn::exact(*end)).chain(further).collect();
    let width = schema.fields().len();
    let node = lowering.graph.add(&what, Spec::Window(spec), vec![Edge::by(below.node, exchange)], schema);
    Ok(Lowered {
        node,
        time: ends.first().copied(),
        lagging,
        window: None,
        is_row_level: false,
        is_early: early_predicate.is_some(),
        fixed: (0..width).map(|column| column < groups).collect(),
        tables: below.tables,
    })
}

/// The window that bounds the groups.
fn window_of(aggregate: &Aggregate, below: &Lowered, input: &DFSchema) -> Result<WindowColumns, Refusal> {
    let unbounded = |message: &str| {
        Refusal::new(
            codes::UNBOUNDED,
            message,
            "read FROM TUMBLE(stream, time, INTERVAL '5 minutes') and add window_start, window_end to GROUP BY",
        )
    };
    let Some(window) = &below.window else {
        return Err(unbounded("unbounded state: this aggregate has no window, so its groups would grow for ever"));
    };
    let groups_by_window = aggregate.group_expr.iter().any(|expr| {
        column_index(expr, input).is_some_and(|column| window.starts.contains(&column) || window.ends.contains(&column))
    });
    if groups_by_window {
        Ok(window.clone())
    } else {
        Err(unbounded("unbounded state: this GROUP BY does not name its window, so its groups would grow for ever"))
    }
}

fn aggregate_spec(lowering: &Lowering<'_>, expr: &Expr, input: &DFSchema) -> Result<AggregateSpec, Refusal> {
    let function = match expr {
        Expr::Alias(alias) => return aggregate_spec(lowering, &alias.expr, input),
        Expr::AggregateFunction(function) => function,
        other => return Err(unsupported(&format!("`{other}` as an aggregate"))),
    };
    let AggregateFunction { func, params } = function;
    if !ORDER_INDEPENDENT.contains(&func.name()) || !params.order_by.is_empty() {
        return Err(Refusal::new(
            codes::UNSUPPORTED,
            format!("`{}` depends on the order of its rows", func.name()),
            "use count, count(DISTINCT ...), sum, min, max, avg, stddev or another aggregate without an order",
        ));
    }
    let args = lowering.physical_all(&params.args, input)?;
    let filter = params.filter.as_deref().map(|filter| lowering.physical(filter, input)).transpose()?;
    let is_single = params.args.len() == 1;
    let function = match (func.name(), params.distinct) {
        ("count", false) if is_single => AggregateKind::Count,
        ("count", true) if is_single => AggregateKind::CountDistinct,
        ("sum", false) => AggregateKind::Sum,
        ("min", _) => AggregateKind::Min,
        ("max", _) => AggregateKind::Max,
        (_, distinct) => {
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
