//! The graph: operators and the edges between them. One graph runs all queries; equal sub-plans are one node.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::JoinType;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;

use crate::catalog::{Stream, Table};
use crate::sql::sequence::{Designator, Skip, Step};
use crate::sql::window_kind::{WindowKind, Windows};

mod name;

pub(crate) use name::{Meaning, StateName};

/// A node's index in the graph. Inputs have smaller indices than the nodes that read them.
pub(crate) type NodeId = usize;

/// One operator, shared by every query that needs it.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) spec: Spec,
    pub(crate) inputs: Vec<Edge>,
    /// The columns of its output that SQL sees.
    pub(crate) schema: SchemaRef,
    /// Says what the node does and on what; equal fingerprints are equal nodes.
    pub(crate) fingerprint: String,
    /// What its state is called, in this program and in the next one.
    pub(crate) state: StateName,
}

/// Where a node's rows come from.
#[derive(Debug, Clone)]
pub(crate) struct Edge {
    pub(crate) from: NodeId,
    /// The key by which rows are sent to the worker that owns it; `None` stays within the worker.
    pub(crate) exchange: Option<ExchangeKey>,
}

/// What the key of an exchange is computed from.
#[derive(Debug, Clone)]
pub(crate) enum ExchangeKey {
    /// Expressions over the row.
    Columns(Vec<Arc<dyn PhysicalExpr>>),
    /// The row's identity.
    Identity,
}

/// What an operator does, before it has any state.
#[derive(Debug, Clone)]
pub(crate) enum Spec {
    /// Events of a stream enter here.
    Source(Arc<Stream>),
    /// Columns of the input by index.
    Select(Vec<usize>),
    /// Rows for which a predicate is TRUE.
    Filter(Arc<dyn PhysicalExpr>),
    /// One expression per output column.
    Project(Vec<Arc<dyn PhysicalExpr>>),
    /// All rows of all inputs, under the schema of the first.
    Union,
    /// Adds `window_start` and `window_end`.
    AssignWindow {
        kind: WindowKind,
        /// Whether a row that is in several windows becomes several rows.
        expands: bool,
    },
    /// Rows joined with a look-up table.
    Lookup(LookupSpec),
    /// Rows of two streams joined within a span of time.
    Join(JoinSpec),
    /// Another column as the event time.
    Retime(RetimeSpec),
    /// Grouped aggregates per window.
    Window(WindowSpec),
    /// Functions over frames that slide.
    Over(OverSpec),
    /// Sequences of rows of one key.
    Sequence(SequenceSpec),
    /// Hits with identity, one per cause.
    Emit(EmitSpec),
    /// Marks repeats as suppressed.
    Cooldown(CooldownSpec),
    /// Hits leave here.
    Sink(SinkSpec),
    /// Hits as rows of the derived stream.
    Publish(PublishSpec),
}

/// A join of rows with a table.
#[derive(Debug, Clone)]
pub(crate) struct LookupSpec {
    pub(crate) table: Arc<Table>,
    /// What happens to the table's rows before they are joined.
    pub(crate) steps: Vec<TableStep>,
    /// The schema of the table's side after these steps.
    pub(crate) table_schema: SchemaRef,
    /// Key expressions over the row and over the table's side, pairwise of one type.
    pub(crate) row_keys: Vec<Arc<dyn PhysicalExpr>>,
    pub(crate) table_keys: Vec<Arc<dyn PhysicalExpr>>,
    /// A further condition over both, in output order.
    pub(crate) residual: Option<Arc<dyn PhysicalExpr>>,
    /// The schema that `residual` is written against: both sides in output order.
    pub(crate) pair_schema: SchemaRef,
    /// `Inner`, `Left`, `LeftSemi` or `LeftAnti`, where left is the row.
    pub(crate) join_type: JoinType,
    /// Whether the table's columns come first in the output.
    pub(crate) table_first: bool,
    /// Whether NULL keys match each other.
    pub(crate) null_equals_null: bool,
}

/// A step on the rows of a table.
#[derive(Debug, Clone)]
pub(crate) enum TableStep {
    Select(Vec<usize>),
    Filter(Arc<dyn PhysicalExpr>),
    Project(Vec<Arc<dyn PhysicalExpr>>, SchemaRef),
}

/// A join of two streams. Its first side is the one whose rows are kept where the other has none.
#[derive(Debug, Clone)]
pub(crate) struct JoinSpec {
    pub(crate) kind: JoinKind,
    /// Whether the node's second input is the first side.
    pub(crate) is_swapped: bool,
    /// The least and greatest `second time - first time` of a match, in microseconds.
    pub(crate) least_us: i64,
    pub(crate) most_us: i64,
    /// Key expressions of both sides, pairwise comparable.
    pub(crate) keys: [Vec<Arc<dyn PhysicalExpr>>; 2],
    /// A further condition over the columns of both inputs.
    pub(crate) residual: Option<Arc<dyn PhysicalExpr>>,
    /// The schema that `residual` is written against: both inputs in order.
    pub(crate) pair_schema: SchemaRef,
    /// Whether NULL keys match each other.
    pub(crate) null_equals_null: bool,
}

/// What a join of two streams puts out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JoinKind {
    /// Pairs.
    Inner,
    /// Pairs, and rows of the first side without a match.
    Left,
    /// Rows of the first side with a match.
    Semi,
    /// Rows of the first side without a match.
    Anti,
}

/// A column that becomes the event time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RetimeSpec {
    pub(crate) column: usize,
    /// How far the column may be before the time that rows had.
    pub(crate) behind_us: i64,
}

/// Grouped aggregates over windows.
#[derive(Debug, Clone)]
pub(crate) struct WindowSpec {
    pub(crate) windows: Windows,
    /// Group expressions other than the window's ends, with their place in the output.
    pub(crate) keys: Vec<(Arc<dyn PhysicalExpr>, usize)>,
    /// Places of `window_start` in the output.
    pub(crate) starts: Vec<usize>,
    /// Places of `window_end` in the output.
    pub(crate) ends: Vec<usize>,
    /// Aggregates, in output order after the group expressions.
    pub(crate) aggregates: Vec<AggregateSpec>,
    /// A monotone condition over the output; a group states itself provisionally when it first holds.
    pub(crate) early: Option<Arc<dyn PhysicalExpr>>,
    /// By how much rows may be late and count all the same.
    pub(crate) allowed_us: i64,
}

/// One aggregate.
#[derive(Debug, Clone)]
pub(crate) struct AggregateSpec {
    pub(crate) function: AggregateKind,
    pub(crate) args: Vec<Arc<dyn PhysicalExpr>>,
    pub(crate) filter: Option<Arc<dyn PhysicalExpr>>,
}

/// How an aggregate is kept.
#[derive(Debug, Clone)]
pub(crate) enum AggregateKind {
    /// Rows, or values that are not NULL.
    Count,
    /// Different values.
    CountDistinct,
    /// Sum, in the type DataFusion gives it.
    Sum,
    /// Least value.
    Min,
    /// Greatest value.
    Max,
    /// Values in the order of their rows.
    InOrder(InOrder),
    /// Through DataFusion's accumulator.
    Other(Arc<AggregateFunctionExpr>),
}

/// What is kept of values in an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InOrder {
    pub(crate) keep: Keep,
    /// Whether values that are NULL are left out.
    pub(crate) ignores_nulls: bool,
    /// The place of the one that is told, from one, or from the end if it is negative; `None` for all that are kept.
    pub(crate) element: Option<i64>,
}

/// Which values are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// The first by (time, uid).
    First,
    /// The last by (time, uid).
    Last,
    /// The first so many by (time, uid).
    All,
    /// Different ones: the first so many in their own order.
    Distinct,
}

/// Functions over frames that slide along each key.
#[derive(Debug, Clone)]
pub(crate) struct OverSpec {
    /// The expressions of `PARTITION BY`.
    pub(crate) keys: Vec<Arc<dyn PhysicalExpr>>,
    /// Functions, in output order after the columns of the input.
    pub(crate) functions: Vec<OverFunction>,
}

/// One function of an `OVER`.
#[derive(Debug, Clone)]
pub(crate) struct OverFunction {
    pub(crate) kind: OverKind,
    pub(crate) arg: Option<Arc<dyn PhysicalExpr>>,
    pub(crate) filter: Option<Arc<dyn PhysicalExpr>>,
    pub(crate) frame: OverFrame,
}

/// The rows of a key that a function sees.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OverFrame {
    /// Rows that are older than the current one by more than this are forgotten.
    pub(crate) horizon_us: i64,
    /// How many rows before the current one are seen; `None` for all that are not forgotten.
    pub(crate) rows: Option<u64>,
    /// Whether rows of the same time behind the current one are seen.
    pub(crate) with_peers: bool,
}

/// What a function makes of its frame.
#[derive(Debug, Clone)]
pub(crate) enum OverKind {
    /// Rows, or values that are not NULL.
    Count,
    /// Different values.
    CountDistinct,
    /// Sum of integers or doubles.
    Sum,
    /// Mean, as a double.
    Average,
    /// Least value.
    Min,
    /// Greatest value.
    Max,
    /// First value, NULL or not.
    First,
    /// Last value, NULL or not.
    Last,
    /// The value at this place, from one.
    Nth(u64),
    /// The first value of a full frame of counted rows, else this one.
    Lag(ScalarValue),
    /// Rows of the key so far.
    RowNumber,
    /// Whether no earlier row of the key is in the frame.
    FirstSeen,
}

/// Sequences of rows of one key.
#[derive(Debug, Clone)]
pub(crate) struct SequenceSpec {
    pub(crate) keys: Vec<Arc<dyn PhysicalExpr>>,
    /// Every row of a match is less than this behind its first.
    pub(crate) within_us: i64,
    pub(crate) variables: Vec<Arc<str>>,
    /// What a row must be to match each variable; `None` is anything.
    pub(crate) conditions: Vec<Option<Formula>>,
    pub(crate) measures: Vec<Formula>,
    pub(crate) aggregates: Vec<SequenceAggregate>,
    pub(crate) steps: Vec<Step>,
    pub(crate) skip: Skip,
    /// How many rows before a match are looked at.
    pub(crate) rows_before: usize,
}

/// An expression over a row of slots.
#[derive(Debug, Clone)]
pub(crate) struct Formula {
    pub(crate) expr: Arc<dyn PhysicalExpr>,
    pub(crate) slots: Vec<Slot>,
    pub(crate) schema: SchemaRef,
    pub(crate) data_type: DataType,
    /// Whether it reads the row at hand alone.
    pub(crate) is_of_row: bool,
    /// Whether it reads the row at hand and its neighbours, but nothing of the match.
    pub(crate) is_of_place: bool,
}

/// What a slot is filled with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slot {
    /// A column of a row.
    Row(Designator, usize),
    /// An aggregate by number.
    Aggregate(usize),
    /// The name of the variable that the last row matches.
    Classifier,
    /// The time of the match.
    Time,
}

/// An aggregate over the rows of one variable, or of all.
#[derive(Debug, Clone)]
pub(crate) struct SequenceAggregate {
    pub(crate) of: Option<usize>,
    pub(crate) function: Arc<AggregateFunctionExpr>,
    pub(crate) args: Vec<Arc<dyn PhysicalExpr>>,
}

/// Hits of one query.
#[derive(Debug, Clone)]
pub(crate) struct EmitSpec {
    pub(crate) id: Arc<str>,
    /// Whether each row is an event of its own rather than a statement about a group.
    pub(crate) is_row_level: bool,
    /// Whether windows behind it allow for late rows, so that what they stated before that ends may change.
    pub(crate) is_revised: bool,
    /// Whether the time of a group may move as long as rows come.
    pub(crate) is_of_sessions: bool,
    /// Conditions that hide hits, with their names.
    pub(crate) exceptions: Vec<(Arc<str>, Arc<dyn PhysicalExpr>)>,
}

/// Repeats of one query.
#[derive(Debug, Clone)]
pub(crate) struct CooldownSpec {
    pub(crate) period_us: i64,
    /// Indices of the entity columns.
    pub(crate) keys: Vec<usize>,
    /// How far hits of the same entities are apart in time at least; 0 where they may have the same.
    pub(crate) grain_us: i64,
    /// Whether hits come in the order of time where their streams do, so that none is missing once these are silent.
    pub(crate) settles_in_silence: bool,
    /// The names of the exceptions that hits are marked with.
    pub(crate) exceptions: Vec<Arc<str>>,
}

/// The end of one query.
#[derive(Debug, Clone)]
pub(crate) struct SinkSpec {
    pub(crate) query: usize,
    /// Whether the cause of a hit is one event, rather than a group or a pair.
    pub(crate) has_event_as_cause: bool,
    pub(crate) exceptions: Vec<Arc<str>>,
    /// The look-up tables the query reads.
    pub(crate) tables: Vec<Arc<str>>,
}

/// What the hits of one query look like to `FROM alerts`.
#[derive(Debug, Clone)]
pub(crate) struct PublishSpec {
    /// One expression per published column after `time` and `uid`, over the query's output.
    pub(crate) columns: Vec<Arc<dyn PhysicalExpr>>,
    /// The query's output schema.
    pub(crate) row_schema: SchemaRef,
    /// Deliver when the hit is created rather than when it is final.
    pub(crate) at_create: bool,
}

/// All nodes, by index and by fingerprint.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    pub(crate) nodes: Vec<Node>,
    by_fingerprint: HashMap<String, NodeId>,
}

impl Graph {
    /// Adds a node, or finds the equal one that is there.
    pub(crate) fn add(&mut self, what: &str, spec: Spec, inputs: Vec<Edge>, schema: SchemaRef) -> NodeId {
        self.add_with((what, Meaning::Whole), spec, inputs, schema)
    }

    /// The same for a node whose state does not depend on everything that it does.
    pub(crate) fn add_with(
        &mut self,
        (what, meaning): (&str, Meaning<'_>),
        spec: Spec,
        inputs: Vec<Edge>,
        schema: SchemaRef,
    ) -> NodeId {
        let fingerprint = format!("{what} <- {}", inputs.iter().map(edge_name).collect::<Vec<_>>().join(", "));
        if let Some(existing) = self.by_fingerprint.get(&fingerprint) {
            return *existing;
        }
        let id = self.nodes.len();
        // What is decoded of a stream is a matter of all queries together.
        let columns = (!matches!(spec, Spec::Source(_))).then_some(schema.as_ref());
        let state = StateName::new(self, (what, meaning), &inputs, columns);
        self.by_fingerprint.insert(fingerprint.clone(), id);
        self.nodes.push(Node { spec, inputs, schema, fingerprint, state });
        id
    }

    /// Makes such windows behind `node` state themselves at their close only.
    pub(crate) fn settle(&mut self, node: NodeId, which: &dyn Fn(Windows) -> bool) {
        match &mut self.nodes[node].spec {
            Spec::Window(spec) if which(spec.windows) => spec.early = None,
            // What other queries publish is theirs.
            Spec::Window(_) | Spec::Publish(_) => {}
            _ => {
                let inputs: Vec<NodeId> = self.nodes[node].inputs.iter().map(|edge| edge.from).collect();
                inputs.into_iter().for_each(|input| self.settle(input, which));
            }
        }
    }

    /// The windows behind a node that state themselves early; a later filter may have settled them.
    pub(crate) fn early_windows(&self, node: NodeId) -> Vec<Windows> {
        let node = &self.nodes[node];
        match &node.spec {
            Spec::Window(spec) => spec.early.iter().map(|_| spec.windows).collect(),
            Spec::Publish(_) => vec![],
            _ => node.inputs.iter().flat_map(|edge| self.early_windows(edge.from)).collect(),
        }
    }
}

fn edge_name(edge: &Edge) -> String {
    format!("#{}{}", edge.from, key_name(edge))
}

fn key_name(edge: &Edge) -> String {
    match &edge.exchange {
        None => String::new(),
        Some(ExchangeKey::Identity) => " by identity".to_owned(),
        Some(ExchangeKey::Columns(keys)) => {
            format!(" by {}", keys.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
        }
    }
}

impl Edge {
    /// An edge within the worker.
    pub(crate) const fn local(from: NodeId) -> Self {
        Self { from, exchange: None }
    }

    /// An edge that brings equal keys together.
    pub(crate) fn by(from: NodeId, keys: Vec<Arc<dyn PhysicalExpr>>) -> Self {
        Self { from, exchange: Some(ExchangeKey::Columns(keys)) }
    }

    /// An edge that brings equal identities together.
    pub(crate) const fn by_identity(from: NodeId) -> Self {
        Self { from, exchange: Some(ExchangeKey::Identity) }
    }
}
