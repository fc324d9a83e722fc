//! Lowering of `MATCH_RECOGNIZE`: conditions and measures become formulas over slots of a row that the operator fills.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::common::{Column, DFSchema};
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::{Expr, ExprSchemable, UserDefinedLogicalNode, UserDefinedLogicalNodeCore};
use datafusion::physical_expr::aggregate::AggregateExprBuilder;

use super::{AGGREGATES, Base, CLASSIFIER, Designator, MATCH, Sequence, designator, each_row};
use crate::error::codes;
use crate::graph::{Edge, Formula, SequenceAggregate, SequenceSpec, Slot, Spec};
use crate::sql::lower::{Lowered, Lowering, Refusal, column_index, physical, relaxed, unsupported};

/// Lowers a sequence over rows whose event time orders it.
pub(in crate::sql) fn lower(
    lowering: &mut Lowering<'_>,
    node: &dyn UserDefinedLogicalNode,
) -> Result<Lowered, Refusal> {
    let Some(node) = node.as_any().downcast_ref::<Sequence>() else { return Err(unsupported(node.name())) };
    let below = lowering.lower(&node.input)?;
    let (said, input) = (&node.said, node.input.schema());
    let timed = column_index(&said.time, input).and_then(|time| lowering.timed_by(below, time));
    let below = timed.ok_or_else(|| {
        let message =
            format!("`{}` is not the event time, so no watermark can say that a sequence is complete", said.time);
        let hint =
            "order by the column that the stream declares as event_time (of type TIMESTAMP), unchanged, or by `_time`";
        let about = Some("MATCH_RECOGNIZE".to_owned());
        Refusal { about, ..Refusal::new(codes::WRONG_WINDOW_TIME, message, hint) }
    })?;
    let spec = spec(node)?;
    let schema = relaxed(UserDefinedLogicalNodeCore::schema(node));
    let edge = Edge::by(below.node, spec.keys.clone());
    let width = schema.fields().len();
    let of_measures = said.measures.iter().position(|(_, expr)| is_match_time(node, expr));
    let time = of_measures.map(|place| said.keys.len() + place);
    let graph_node = lowering.graph.add(&node.fingerprint(), Spec::Sequence(spec), vec![edge], schema);
    Ok(Lowered {
        node: graph_node,
        time,
        lagging: vec![],
        window: None,
        is_row_level: true,
        is_early: false,
        fixed: vec![true; width],
        tables: below.tables,
    })
}

/// What is matched, over the columns of the node's input.
pub(super) fn spec(node: &Sequence) -> Result<SequenceSpec, Refusal> {
    let (said, input) = (&node.said, node.input.schema());
    let formula = |expr: &Expr| formula(expr, &node.rows, input);
    let conditions = said.conditions.iter().map(|condition| condition.as_ref().map(formula).transpose());
    let conditions = conditions.collect::<Result<Vec<_>, _>>()?;
    let measures = said.measures.iter().map(|(_, expr)| formula(expr)).collect::<Result<Vec<_>, _>>()?;
    let aggregates = said.aggregates.iter().map(|(of, expr)| aggregate(*of, expr, input));
    let slots = || conditions.iter().flatten().chain(&measures).flat_map(|formula| &formula.slots);
    let offsets = slots().filter_map(|slot| match slot {
        Slot::Row(Designator { offset, .. }, _) => Some(*offset),
        Slot::Aggregate(_) | Slot::Classifier | Slot::Time => None,
    });
    let least = offsets.min().unwrap_or(0).min(0);
    Ok(SequenceSpec {
        keys: said.keys.iter().map(|key| physical(key, input)).collect::<Result<_, _>>()?,
        within_us: said.within_us,
        variables: said.variables.iter().map(|name| Arc::from(name.as_str())).collect(),
        aggregates: aggregates.collect::<Result<_, _>>()?,
        conditions,
        measures,
        steps: said.pattern.steps.clone(),
        skip: said.skip,
        rows_before: least.unsigned_abs() as usize,
    })
}

/// Whether an expression is the time of the match: of its last row, or the deadline of what is missing.
fn is_match_time(node: &Sequence, expr: &Expr) -> bool {
    let Expr::Column(column) = expr else { return false };
    if column.relation.as_ref().is_some_and(|relation| relation.table() == MATCH) {
        return column.name == super::MATCH_TIME;
    }
    let Expr::Column(time) = &node.said.time else { return false };
    let Some(Designator { base, offset: 0 }) = designator(column) else { return false };
    let is_last = match base {
        Base::Current | Base::Last(None, 0) => true,
        Base::Last(variable, 0) => variable == node.said.pattern.last,
        Base::First(..) | Base::Last(..) => false,
    };
    is_last && column.name == time.name && node.said.pattern.missing.is_none()
}

/// An expression over slots: the columns that it reads, each once.
fn formula(expr: &Expr, full: &DFSchema, input: &DFSchema) -> Result<Formula, Refusal> {
    let mut columns: Vec<Column> = expr.column_refs().into_iter().cloned().collect();
    columns.sort();
    let slots = columns.iter().map(|column| slot(column, input)).collect::<Result<Vec<_>, _>>()?;
    let fields = columns.iter().map(|column| {
        let (_, field) = full.qualified_field_from_column(column)?;
        Ok((column.relation.clone(), Arc::clone(field)))
    });
    let fields = fields.collect::<datafusion::common::Result<Vec<_>>>()?;
    let schema = DFSchema::new_with_metadata(fields, HashMap::new())?;
    let is_of_row =
        slots.iter().all(|slot| matches!(slot, Slot::Row(Designator { base: Base::Current, offset: 0 }, _)));
    let is_of_place = slots
        .iter()
        .all(|slot| matches!(slot, Slot::Row(Designator { base: Base::Current, .. }, _) | Slot::Classifier));
    let data_type = expr.get_type(&schema)?;
    let schema_of_slots = Arc::new(schema.as_arrow().clone());
    Ok(Formula { expr: physical(expr, &schema)?, slots, schema: schema_of_slots, data_type, is_of_row, is_of_place })
}

fn slot(column: &Column, input: &DFSchema) -> Result<Slot, Refusal> {
    let known = match column.relation.as_ref().map(|relation| relation.table()) {
        Some(AGGREGATES) => column.name.parse().ok().map(Slot::Aggregate),
        Some(MATCH) if column.name == CLASSIFIER => Some(Slot::Classifier),
        Some(MATCH) => Some(Slot::Time),
        _ => designator(column)
            .zip(input.fields().iter().position(|field| *field.name() == column.name))
            .map(|(row, place)| Slot::Row(row, place)),
    };
    known.ok_or_else(|| unsupported(&format!("`{}` in a sequence", column.name)))
}

fn aggregate(of: Option<usize>, expr: &Expr, input: &DFSchema) -> Result<SequenceAggregate, Refusal> {
    let Expr::AggregateFunction(AggregateFunction { func, params }) = expr else {
        return Err(unsupported(&format!("`{expr}` as an aggregate of a sequence")));
    };
    if params.filter.is_some() || !params.order_by.is_empty() {
        return Err(unsupported("FILTER or ORDER BY in an aggregate of a sequence"));
    }
    let schema = each_row(input)?;
    let args = params.args.iter().map(|arg| physical(arg, &schema)).collect::<Result<Vec<_>, _>>()?;
    let function = AggregateExprBuilder::new(Arc::clone(func), args.clone())
        .schema(Arc::new(schema.as_arrow().clone()))
        .alias(expr.schema_name().to_string())
        .with_distinct(params.distinct)
        .build()?;
    Ok(SequenceAggregate { of, function: Arc::new(function), args })
}
