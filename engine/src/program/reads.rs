//! What plans read: the columns of streams that have to be decoded, and which queries build on which.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::{Field, Fields};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, LogicalPlan, TableSource};

use super::{Fault, of_query};
use crate::batch::ColumnSet;
use crate::catalog::{Catalog, Stream, system};
use crate::error::{Diagnostic, Span, codes};
use crate::graph::{Graph, JoinKind, NodeId, Spec};
use crate::late_events::{LATE_EVENTS, OF_THE_ROW};
use crate::query::{Published, Query};
use crate::sql::plan::{RelationSource, Source, extension};
use crate::sql::sequence::Sequence;
use crate::sql::tokens::place_of_word;
use crate::sql::window_kind::WindowKind;

/// A stream and the columns of it that are read, by name.
type Read = (Arc<Stream>, BTreeMap<String, Arc<Field>>);

/// For every stream, the union of the columns that plans read.
///
/// Whoever reads `late_events` has all streams from outside judged, so that its answer does not depend on what others read.
pub(super) fn decoded_columns<'a>(
    catalog: &Catalog,
    plans: impl Iterator<Item = &'a LogicalPlan>,
) -> BTreeMap<String, (Arc<Stream>, ColumnSet)> {
    let mut wanted: BTreeMap<String, Read> = BTreeMap::new();
    for plan in plans {
        each_scan(plan, &mut |source, fields| {
            if let Source::Stream(stream) = &source.source {
                let entry =
                    wanted.entry(stream.name.to_lowercase()).or_insert_with(|| (Arc::clone(stream), BTreeMap::new()));
                let read = fields.iter().filter(|field| ![system::TIME, system::RAW].contains(&field.name().as_str()));
                entry.1.extend(read.map(|field| (field.name().clone(), Arc::clone(field))));
            }
        });
    }
    if let Some((_, read)) = wanted.get(LATE_EVENTS) {
        let further = OF_THE_ROW.into_iter().filter(|(name, ..)| read.contains_key(*name));
        let further: Vec<_> = further
            .map(|(_, name, data_type)| (name.to_owned(), Arc::new(Field::new(name, data_type, true))))
            .collect();
        for stream in catalog.streams() {
            let entry =
                wanted.entry(stream.name.to_lowercase()).or_insert_with(|| (Arc::clone(stream), BTreeMap::new()));
            entry.1.extend(further.iter().cloned());
        }
    }
    wanted
        .into_iter()
        .map(|(name, (stream, fields))| {
            // Declared columns in their order, then the others by name.
            let place =
                |name: &str| stream.columns.iter().position(|column| column.name() == name).unwrap_or(usize::MAX);
            let mut columns: Vec<_> = fields.into_values().collect();
            columns.sort_by_key(|field| (place(field.name()), field.name().clone()));
            (name, (stream, ColumnSet { columns: Fields::from(columns) }))
        })
        .collect()
}

/// What one plan reads of one relation.
#[derive(Debug)]
pub(super) struct Reads {
    /// The stream or table.
    pub(super) name: String,
    /// Its columns, in their order; for an event that only counts, none.
    columns: Vec<String>,
}

impl Reads {
    /// Name and columns.
    pub(super) fn parts(&self) -> (&str, &[String]) {
        (&self.name, &self.columns)
    }

    /// Name and columns, for people.
    pub(super) fn in_words(&self) -> String {
        match &self.columns[..] {
            [] => format!("{}: no column", self.name),
            columns => format!("{}: {}", self.name, columns.join(", ")),
        }
    }
}

/// What a plan reads, by the names of the relations.
pub(super) fn read_by(plan: &LogicalPlan, published: &Published) -> Vec<Reads> {
    let mut wanted: BTreeMap<String, Reads> = BTreeMap::new();
    each_scan(plan, &mut |source, fields| {
        let name = match &source.source {
            Source::Stream(stream) => &stream.name,
            Source::Table(table) => &table.name,
            Source::Published => &published.name,
        };
        let reads = wanted.entry(name.to_lowercase()).or_insert_with(|| Reads { name: name.clone(), columns: vec![] });
        reads.columns.extend(fields.iter().map(|field| field.name().clone()));
        let schema = source.schema();
        // Declared columns in their order, then the others by name.
        reads.columns.sort_by_key(|name| (schema.index_of(name).unwrap_or(usize::MAX), name.clone()));
        reads.columns.dedup();
    });
    wanted.into_values().collect()
}

fn each_scan(plan: &LogicalPlan, visit: &mut dyn FnMut(&RelationSource, &Fields)) {
    let _infallible = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            let source = scan.source.as_ref() as &dyn std::any::Any;
            if let Some(source) = source.downcast_ref::<RelationSource>() {
                visit(source, scan.projected_schema.fields());
            }
        }
        Ok(TreeNodeRecursion::Continue)
    });
}

pub(super) fn reads_published(plan: &LogicalPlan) -> bool {
    let mut reads = false;
    each_scan(plan, &mut |source, _| reads |= matches!(source.source, Source::Published));
    reads
}

pub(super) fn tables_of(graph: &Graph) -> Vec<Arc<str>> {
    let tables: BTreeSet<Arc<str>> = graph
        .nodes
        .iter()
        .filter_map(|node| match &node.spec {
            Spec::Lookup(lookup) => Some(Arc::from(lookup.table.name.as_str())),
            _ => None,
        })
        .collect();
    tables.into_iter().collect()
}

/// Whether each row of a node is caused by one event, whose uid it then has: not by a group in a window, not by a pair,
/// not by a sequence, and not by an event in one of several windows.
pub(super) fn has_event_as_cause(graph: &Graph, node: NodeId) -> bool {
    let node = &graph.nodes[node];
    let of = |input: usize| node.inputs.get(input).is_none_or(|edge| has_event_as_cause(graph, edge.from));
    match &node.spec {
        Spec::Window(_) | Spec::Sequence(_) => false,
        Spec::AssignWindow { kind, .. } if !matches!(kind, WindowKind::Tumble { .. }) => false,
        Spec::Publish(_) => true,
        Spec::Join(join) => matches!(join.kind, JoinKind::Semi | JoinKind::Anti) && of(usize::from(join.is_swapped)),
        _ => (0..node.inputs.len()).all(of),
    }
}

/// The queries a reader of the derived stream names by a constant.
pub(super) fn named_ids(plan: &LogicalPlan, queries: &[Query]) -> BTreeSet<usize> {
    let mut named = BTreeSet::new();
    let _infallible = plan.apply_with_subqueries(|node| {
        // What a sequence looks for is hidden from the optimiser, and stands apart.
        let hidden = extension::<Sequence>(node).into_iter().flat_map(Sequence::hidden).cloned();
        for expr in node.expressions().into_iter().chain(hidden) {
            let _infallible = expr.apply(|part| {
                if let Expr::Literal(value, _) = part
                    && let Some(Some(text)) = value.try_as_str()
                {
                    named.extend(queries.iter().position(|query| *query.id == *text));
                }
                Ok(TreeNodeRecursion::Continue)
            });
        }
        Ok(TreeNodeRecursion::Continue)
    });
    named
}

/// The queries in an order in which those that are read come before those that read them.
pub(super) fn compile_order(
    queries: &[Query],
    plans: &[Option<LogicalPlan>],
    published: &Published,
    faults: &mut Vec<Fault>,
) -> Vec<usize> {
    let readers: BTreeSet<usize> =
        (0..queries.len()).filter(|index| plans[*index].as_ref().is_some_and(reads_published)).collect();
    let mut order: Vec<usize> = (0..queries.len()).filter(|index| !readers.contains(index)).collect();
    let mut waiting: BTreeMap<usize, BTreeSet<usize>> = readers
        .iter()
        .filter_map(|index| Some((*index, named_ids(plans[*index].as_ref()?, queries))))
        .map(|(index, named)| (index, named.intersection(&readers).copied().collect()))
        .collect();
    while !waiting.is_empty() {
        let ready: Vec<usize> = waiting
            .iter()
            .filter(|(_, named)| named.iter().all(|named| !waiting.contains_key(named)))
            .map(|(index, _)| *index)
            .collect();
        if ready.is_empty() {
            for (index, named) in &waiting {
                let others: Vec<&str> = named.iter().map(|named| &*queries[*named].id).collect();
                let message =
                    format!("this reads the {} of {}, which wait for it in turn", published.name, others.join(", "));
                let query = &queries[*index];
                let place = place_of_word(&query.sql, query.start, &published.name);
                let cycle = Diagnostic::error(codes::CYCLE, message)
                    .at(place.unwrap_or_else(|| Span::at(query.start)))
                    .hint("detections may build on each other, but not in a circle");
                faults.push(of_query(*index, cycle));
            }
            break;
        }
        for index in ready {
            waiting.remove(&index);
            order.push(index);
        }
    }
    order
}
