//! Lowering of joins with a look-up table.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::{JoinType, NullEquality};
use datafusion::logical_expr::{Expr, Join, LogicalPlan};

use super::lower::{Lowered, Lowering, Refusal, column_index, physical, relaxed, unsupported};
use super::plan::{RelationSource, Source};
use super::time_column::TimeColumn;
use crate::catalog::Table;
use crate::error::codes;
use crate::graph::{Edge, LookupSpec, Spec, TableStep};

/// Lowers a join of rows with a table.
pub(super) fn lower(lowering: &mut Lowering<'_>, join: &Join) -> Result<Lowered, Refusal> {
    let table_first = is_table(&join.left);
    if join.null_aware {
        return Err(super::join::not_in());
    }
    let (row_plan, table_plan) = if table_first { (&join.right, &join.left) } else { (&join.left, &join.right) };
    let join_type = row_side_type(join.join_type, table_first)?;
    let below = lowering.lower(row_plan)?;
    super::session::refuse_lookup(&below)?;
    let (table, steps, table_schema) = table_side(table_plan)?;

    let mut row_keys = vec![];
    let mut table_keys = vec![];
    for (left, right) in &join.on {
        let (row, side) = if table_first { (right, left) } else { (left, right) };
        below.refuse_hollow(row, row_plan.schema())?;
        row_keys.push(physical(row, row_plan.schema())?);
        table_keys.push(physical(side, table_plan.schema())?);
    }
    let pair = join.left.schema().join(join.right.schema())?;
    join.filter.iter().try_for_each(|filter| below.refuse_hollow(filter, row_plan.schema()))?;
    let residual = join.filter.as_ref().map(|filter| physical(filter, &pair)).transpose()?;
    let schema = relaxed(&join.schema);
    let spec = LookupSpec {
        table: Arc::clone(&table),
        steps,
        table_schema,
        row_keys,
        table_keys,
        residual,
        pair_schema: relaxed(&pair),
        join_type,
        table_first,
        null_equals_null: join.null_equality == NullEquality::NullEqualsNull,
    };
    let what = format!(
        "lookup {join_type} {} on {}: {}",
        table.name,
        super::join::condition(join),
        table_plan.display_indent()
    );
    let node = lowering.graph.add(&what, Spec::Lookup(spec), vec![Edge::local(below.node)], schema);
    Ok(joined(below, node, join, table_first, &table))
}

/// What is known of the joined rows.
fn joined(below: Lowered, node: usize, join: &Join, table_first: bool, table: &Table) -> Lowered {
    let keeps_table =
        !matches!(join.join_type, JoinType::LeftSemi | JoinType::LeftAnti | JoinType::RightSemi | JoinType::RightAnti);
    let table_width = match (keeps_table, table_first) {
        (false, _) => 0,
        (true, true) => join.left.schema().fields().len(),
        (true, false) => join.right.schema().fields().len(),
    };
    let shift = if table_first { table_width } else { 0 };
    let of_table = vec![below.is_row_level; table_width];
    let times = below.times().map(|time| TimeColumn { column: time.column + shift, ..time }).collect();
    let fixed = if table_first {
        of_table.into_iter().chain(below.fixed).collect()
    } else {
        below.fixed.into_iter().chain(of_table).collect()
    };
    let mut tables = below.tables;
    let name: Arc<str> = table.name.as_str().into();
    if !tables.contains(&name) {
        tables.push(name);
        tables.sort();
    }
    let window = below.window.map(|mut window| {
        window.starts.iter_mut().chain(&mut window.ends).for_each(|column| *column += shift);
        window
    });
    Lowered { node, window, fixed, tables, ..below }.with_times(times)
}

/// The join as seen from the rows: `Inner`, `Left`, `LeftSemi` or `LeftAnti`.
fn row_side_type(join_type: JoinType, table_first: bool) -> Result<JoinType, Refusal> {
    let seen = if table_first { join_type.swap() } else { join_type };
    match seen {
        JoinType::Inner | JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti => Ok(seen),
        other => Err(Refusal::new(
            codes::NOT_ON_A_STREAM,
            format!("a {other} join would wait for rows of the stream that may never come"),
            "put the stream on the side that keeps its rows: FROM stream s LEFT JOIN table t ON ...",
        )),
    }
}

/// Whether a side of the join is a look-up table.
pub(super) fn has_table(join: &Join) -> bool {
    is_table(&join.left) || is_table(&join.right)
}

fn is_table(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::TableScan(scan) => {
            let source = scan.source.as_ref() as &dyn std::any::Any;
            source.downcast_ref::<RelationSource>().is_some_and(|source| matches!(source.source, Source::Table(_)))
        }
        LogicalPlan::SubqueryAlias(_) | LogicalPlan::Projection(_) | LogicalPlan::Filter(_) => {
            plan.inputs().into_iter().all(is_table)
        }
        _ => false,
    }
}

/// The table and what happens to its rows before the join.
fn table_side(plan: &LogicalPlan) -> Result<(Arc<Table>, Vec<TableStep>, SchemaRef), Refusal> {
    match plan {
        LogicalPlan::SubqueryAlias(alias) => table_side(&alias.input),
        LogicalPlan::TableScan(scan) => {
            let source = scan.source.as_ref() as &dyn std::any::Any;
            let Some(Source::Table(table)) = source.downcast_ref::<RelationSource>().map(|source| &source.source)
            else {
                return Err(unsupported(scan.table_name.table()));
            };
            let names: Vec<&str> = scan.projected_schema.fields().iter().map(|field| field.name().as_str()).collect();
            let indices =
                names.iter().filter_map(|name| table.columns.iter().position(|column| column.name() == name)).collect();
            Ok((Arc::clone(table), vec![TableStep::Select(indices)], relaxed(&scan.projected_schema)))
        }
        LogicalPlan::Filter(filter) => {
            let (table, mut steps, schema) = table_side(&filter.input)?;
            steps.push(TableStep::Filter(physical(&filter.predicate, filter.input.schema())?));
            Ok((table, steps, schema))
        }
        LogicalPlan::Projection(projection) => {
            let (table, mut steps, _) = table_side(&projection.input)?;
            let input = projection.input.schema();
            let schema = relaxed(&projection.schema);
            let plain: Option<Vec<usize>> = projection.expr.iter().map(|expr| column_index(expr, input)).collect();
            steps.push(match plain {
                Some(indices) => TableStep::Select(indices),
                None => {
                    let exprs = projection.expr.iter().map(|expr: &Expr| physical(expr, input));
                    TableStep::Project(exprs.collect::<Result<Vec<_>, _>>()?, Arc::clone(&schema))
                }
            });
            Ok((table, steps, schema))
        }
        other => Err(unsupported(other.display().to_string().split(':').next().unwrap_or("this clause"))),
    }
}
