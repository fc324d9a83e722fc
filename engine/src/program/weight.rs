//! How many bytes the entries of an operator take at least, which together with the number of keys says what a detection
//! costs.
//!
//! A text is taken for 24 bytes and a list for five of its items. What hash tables and allocators add is not in it:
//! `benches/keys.rs` has measured up to four times as much.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema};
use datafusion::physical_expr::PhysicalExpr;

use crate::graph::{AggregateKind, Graph, Node, OverKind, OverSpec, Spec, WindowSpec};

const TEXT_BYTES: usize = 24;
const LIST_ITEMS: usize = 5;
/// A place in a hash table, at the load that it has on average.
const SLOT_BYTES: usize = 8;
/// Time, uid and arrival of a row.
const ROW_BYTES: usize = 8 + 16 + 16;
/// A vector or map of one's own.
const OWN_BYTES: usize = 48;

/// The weight of what a node remembers, in words; `None` where it remembers nothing.
pub(super) fn in_words(graph: &Graph, node: &Node) -> Option<String> {
    let input = |side: usize| Some(&*graph.nodes[node.inputs.get(side)?.from].schema);
    match &node.spec {
        Spec::Window(window) => Some(of_window(window, input(0)?)),
        Spec::Over(over) => Some(of_over(over, input(0)?)),
        Spec::Join(_) => {
            let side = |side| Some(ROW_BYTES + 2 * SLOT_BYTES + OWN_BYTES + row(input(side)?));
            Some(format!("at least {} bytes per row of the left, {} of the right", side(0)?, side(1)?))
        }
        Spec::Sequence(_) => Some(format!("at least {} bytes per row", ROW_BYTES + SLOT_BYTES + row(input(0)?))),
        Spec::Emit(_) => {
            Some(format!("at least {} bytes per alert", 16 + ROW_BYTES + SLOT_BYTES + OWN_BYTES + row(input(0)?)))
        }
        Spec::Cooldown(cooldown) => {
            let schema = input(0)?;
            let entity: usize = cooldown.keys.iter().map(|key| width(schema.field(*key).data_type())).sum();
            Some(format!(
                "at least {} bytes per entity, {} per alert",
                entity + 2 * OWN_BYTES + SLOT_BYTES,
                2 * ROW_BYTES + SLOT_BYTES
            ))
        }
        _ => None,
    }
}

fn of_window(window: &WindowSpec, input: &Schema) -> String {
    let keys: usize = window.keys.iter().map(|(key, _)| of_expr(key, input)).sum();
    let mut entry = keys + SLOT_BYTES + 8 + 16;
    let mut per_value = Vec::new();
    for aggregate in &window.aggregates {
        let value = aggregate.args.first().map_or(8, |arg| of_expr(arg, input));
        match &aggregate.function {
            AggregateKind::Count => entry += 8,
            AggregateKind::Sum => entry += 16,
            AggregateKind::Min | AggregateKind::Max => entry += 16 + value,
            AggregateKind::CountDistinct => {
                entry += 16;
                per_value.push(format!(", and {} per different value", value + SLOT_BYTES + 20));
            }
            AggregateKind::InOrder(_) => per_value.push(format!(", and {} per value that is kept", value + 24)),
            // What DataFusion's accumulators take at least.
            AggregateKind::Other(_) => entry += 2 * OWN_BYTES,
        }
    }
    format!("at least {entry} bytes per entry{}", per_value.concat())
}

fn of_over(over: &OverSpec, input: &Schema) -> String {
    let keys: usize = over.keys.iter().map(|key| of_expr(key, input)).sum();
    let (mut key, mut event) = (keys + SLOT_BYTES + 16, 0);
    for function in &over.functions {
        let value = function.arg.as_ref().map_or(0, |arg| of_expr(arg, input));
        match function.kind {
            OverKind::FirstSeen => key += 2 * ROW_BYTES,
            _ => {
                key += 16;
                event += 8 + 4 + 1 + value;
            }
        }
    }
    let events = if event > 0 { format!(", and {event} per event in its frames") } else { String::new() };
    format!("at least {key} bytes per key{events}; {} per event that waits for the watermark", ROW_BYTES + row(input))
}

fn of_expr(expr: &Arc<dyn PhysicalExpr>, input: &Schema) -> usize {
    expr.data_type(input).map_or(TEXT_BYTES, |data_type| width(&data_type))
}

fn row(schema: &Schema) -> usize {
    schema.fields().iter().map(|field| width(field.data_type())).sum()
}

fn width(data_type: &DataType) -> usize {
    match data_type {
        DataType::Boolean | DataType::Null => 1,
        DataType::Struct(fields) => fields.iter().map(|field| width(field.data_type())).sum(),
        DataType::List(item) | DataType::LargeList(item) => 8 + LIST_ITEMS * width(item.data_type()),
        DataType::FixedSizeBinary(bytes) => usize::try_from(*bytes).unwrap_or(0),
        other => other.primitive_width().unwrap_or(TEXT_BYTES),
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{Field, Fields};

    use super::*;

    #[test]
    fn values_weigh_what_they_are_made_of() {
        let item = Arc::new(Field::new("item", DataType::Int64, true));
        let fields =
            Fields::from(vec![Field::new("a", DataType::Utf8View, true), Field::new("b", DataType::Int32, true)]);
        assert_eq!(width(&DataType::Struct(fields)), TEXT_BYTES + 4);
        assert_eq!(width(&DataType::List(item)), 8 + 5 * 8);
        assert_eq!(width(&DataType::Boolean), 1);
    }
}
