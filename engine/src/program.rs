//! The program: all queries of a project, planned and lowered into one graph. It has no state and can be shared.

mod allowance;
mod budget;
mod edits;
mod explain;
mod parts;
mod publish;
mod reads;
mod settling;
mod weight;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;

use crate::batch::ColumnSet;
use crate::catalog::{Catalog, Relation, Stream};
use crate::error::{Diagnostic, codes, nearest};
use crate::graph::{CooldownSpec, Edge, EmitSpec, Graph, Meaning, NodeId, PublishSpec, SinkSpec, Spec};
use crate::late_events::LATE_EVENTS;
use crate::operator::{PROVISIONAL, hit_schema};
use crate::query::{Published, PublishedValue, Query};
use crate::sql::failure::place_of_refusal;
use crate::sql::lower::{Lowered, Lowering, Refusal, source_node};
use crate::sql::plan::{Planner, optimize, published_schema};
use crate::sql::window_kind::{Windows, span_in_words};
pub use budget::{Excess, Limit, StateBudget};
pub(crate) use edits::Before;
pub use edits::{Continuation, Reason};
pub(crate) use parts::QueryPart;
use publish::published_value;
use reads::{
    Reads, compile_order, decoded_columns, has_event_as_cause, named_ids, read_by, reads_published, tables_of,
};

/// All queries in one graph.
#[derive(Debug)]
pub struct Program {
    pub(crate) graph: Graph,
    queries: Vec<Compiled>,
    streams: BTreeMap<String, (Arc<Stream>, ColumnSet)>,
    tables: Vec<Arc<str>>,
    parts: Vec<QueryPart>,
}

/// One query of the program.
#[derive(Debug)]
struct Compiled {
    id: Arc<str>,
    output: Option<SchemaRef>,
    plan: Option<LogicalPlan>,
    is_row_level: bool,
    is_early: bool,
    nodes: Vec<NodeId>,
    reads: Vec<Reads>,
}

/// What is wrong with a text: of a query by index, of a view by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Whose text it is.
    pub text: FaultyText,
    /// What is wrong.
    pub diagnostic: Diagnostic,
}

/// A text that was compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FaultyText {
    /// A query, by its index.
    Query(usize),
    /// A view, by its name.
    View(String),
}

impl Program {
    /// Compiles what can be compiled, and says what is wrong with the rest. Queries keep their index either way.
    #[must_use]
    pub fn compile(catalog: &Catalog, published: &Published, queries: Vec<Query>) -> (Self, Vec<Fault>) {
        let planner = Planner::new(catalog, published);
        let mut faults: Vec<Fault> = vec![];
        let plans: Vec<Option<LogicalPlan>> = queries
            .iter()
            .enumerate()
            .map(|(index, query)| match plan(&planner, query) {
                Ok(plan) => Some(plan),
                Err(diagnostics) => {
                    faults.extend(diagnostics.into_iter().map(|diagnostic| of_query(index, diagnostic)));
                    None
                }
            })
            .collect();
        faults.extend(planner.plan_views().into_iter().map(|(name, diagnostic)| of_view(catalog, name, diagnostic)));

        let streams = decoded_columns(catalog, plans.iter().flatten());
        let columns = streams.iter().map(|(name, (_, columns))| (name.clone(), columns.clone())).collect();
        let mut compiler = Compiler {
            graph: Graph::default(),
            columns,
            published,
            queries: &queries,
            lowered: (0..queries.len()).map(|_| None).collect(),
        };
        for index in compile_order(&queries, &plans, published, &mut faults) {
            let Some(plan) = &plans[index] else { continue };
            if let Err(diagnostic) = compiler.query(index, plan) {
                faults.push(of_query(index, diagnostic));
            }
        }
        compiler.judged(&streams);
        let Compiler { graph, lowered, .. } = compiler;
        let tables = tables_of(&graph);
        let queries = queries
            .iter()
            .zip(lowered)
            .zip(plans)
            .map(|((query, lowered), plan)| Compiled::new(query, lowered, plan, &graph, published))
            .collect();
        (Self { graph, queries, streams, tables, parts: vec![] }.with_parts(), faults)
    }

    /// The streams that are read, and the columns that have to be decoded; without `late_events`, which is made here.
    pub fn streams(&self) -> impl Iterator<Item = (&Arc<Stream>, &ColumnSet)> {
        let given = self.streams.iter().filter(|(name, _)| *name != LATE_EVENTS);
        given.map(|(_, (stream, columns))| (stream, columns))
    }

    /// The columns that have to be decoded of one stream, if any query reads it.
    #[must_use]
    pub fn columns(&self, stream: &str) -> Option<(&Arc<Stream>, &ColumnSet)> {
        self.streams.get(&stream.to_lowercase()).map(|(stream, columns)| (stream, columns))
    }

    /// The look-up tables that are read.
    #[must_use]
    pub fn tables(&self) -> &[Arc<str>] {
        &self.tables
    }

    /// The columns of a query's rows; `None` if it did not compile.
    #[must_use]
    pub fn output_schema(&self, query: usize) -> Option<&SchemaRef> {
        self.queries.get(query)?.output.as_ref()
    }

    /// The names of the relations that a query reads: streams, look-up tables, and the stream of all alerts. Views stand
    /// for what they read. Empty if it did not compile.
    pub fn read_by(&self, query: usize) -> impl Iterator<Item = &str> {
        self.queries.get(query).into_iter().flat_map(|query| &query.reads).map(|reads| reads.name.as_str())
    }

    /// The streams and tables that a query reads, each with the columns that it reads of them.
    pub fn columns_read_by(&self, query: usize) -> impl Iterator<Item = (&str, &[String])> {
        self.queries.get(query).into_iter().flat_map(|query| &query.reads).map(Reads::parts)
    }

    /// The ids of all queries, by index.
    pub fn ids(&self) -> impl Iterator<Item = &Arc<str>> {
        self.queries.iter().map(|query| &query.id)
    }
}

impl Compiled {
    fn new(
        query: &Query,
        lowered: Option<Ready>,
        plan: Option<LogicalPlan>,
        graph: &Graph,
        published: &Published,
    ) -> Self {
        let Some(ready) = lowered else {
            return Self {
                id: Arc::clone(&query.id),
                output: None,
                plan: None,
                is_row_level: false,
                is_early: false,
                nodes: vec![],
                reads: vec![],
            };
        };
        let mut nodes = BTreeSet::new();
        let mut open = vec![ready.sink];
        while let Some(node) = open.pop() {
            // What other queries publish is theirs to explain.
            if !matches!(graph.nodes[node].spec, Spec::Publish(_)) && nodes.insert(node) {
                open.extend(graph.nodes[node].inputs.iter().map(|edge| edge.from));
            }
        }
        Self {
            id: Arc::clone(&query.id),
            output: Some(ready.schema),
            reads: plan.as_ref().map(|plan| read_by(plan, published)).unwrap_or_default(),
            plan,
            is_row_level: ready.lowered.is_row_level,
            is_early: !graph.early_windows(ready.emit).is_empty(),
            nodes: nodes.into_iter().collect(),
        }
    }
}

fn of_query(index: usize, diagnostic: Diagnostic) -> Fault {
    Fault { text: FaultyText::Query(index), diagnostic }
}

/// What is wrong with a view, in its file.
fn of_view(catalog: &Catalog, name: String, diagnostic: Diagnostic) -> Fault {
    let diagnostic = match catalog.get(&name) {
        Some(Relation::View(view)) => diagnostic.in_file(view.file.clone()),
        _ => diagnostic,
    };
    Fault { text: FaultyText::View(name), diagnostic }
}

fn plan(planner: &Planner<'_>, query: &Query) -> Result<LogicalPlan, Vec<Diagnostic>> {
    let plan = planner.plan_select(&query.sql, query.start, &query.params)?;
    optimize(plan).map_err(|error| {
        let refusal = Refusal::from(error);
        let span = place_of_refusal(&query.sql, query.start, &refusal);
        vec![Diagnostic::error(refusal.code, refusal.message).at(span).maybe_hint(refusal.hint)]
    })
}

/// A query that is in the graph.
#[derive(Debug)]
struct Ready {
    lowered: Lowered,
    schema: SchemaRef,
    emit: NodeId,
    sink: NodeId,
    reads_published: bool,
}

struct Compiler<'a> {
    graph: Graph,
    columns: BTreeMap<String, ColumnSet>,
    published: &'a Published,
    queries: &'a [Query],
    lowered: Vec<Option<Ready>>,
}

impl Compiler<'_> {
    /// Streams that are read for their clocks alone enter the graph too.
    fn judged(&mut self, streams: &BTreeMap<String, (Arc<Stream>, ColumnSet)>) {
        for (stream, columns) in streams.values() {
            source_node(&mut self.graph, stream, columns);
        }
    }

    /// Lowers one query down to its sink.
    fn query(&mut self, index: usize, plan: &LogicalPlan) -> Result<(), Diagnostic> {
        let query = &self.queries[index];
        let place = |refusal: Refusal| {
            let span = place_of_refusal(&query.sql, query.start, &refusal);
            Diagnostic::error(refusal.code, refusal.message).at(span).maybe_hint(refusal.hint)
        };
        let named = named_ids(plan, self.queries);
        let mut graph = std::mem::take(&mut self.graph);
        let mut published = |graph: &mut Graph, columns: &[String]| self.published_node(graph, columns, &named);
        let lowered = Lowering::new(&mut graph, &self.columns, &mut published, query.allowed_lateness_us).lower(plan);
        self.graph = graph;
        let lowered = lowered.map_err(place)?;
        if lowered.is_row_level && lowered.times().next().is_none() {
            return Err(place(Refusal::new(
                codes::NO_TIME,
                "this detection has no time column: no column of its output is the event time",
                "select the event time too: the column that the stream declares as event_time, or `_time`, which every stream has",
            )));
        }
        if query.allowed_lateness_us > 0 {
            allowance::check(&self.graph, lowered.node)?;
        }
        let reads_published = reads_published(plan);
        let ready = self.finish(index, query, lowered, reads_published)?;
        self.lowered[index] = Some(ready);
        Ok(())
    }

    /// The nodes behind a query's last operator: identity, cooldown, sink.
    fn finish(
        &mut self,
        index: usize,
        query: &Query,
        lowered: Lowered,
        reads_published: bool,
    ) -> Result<Ready, Diagnostic> {
        let schema = Arc::clone(&self.graph.nodes[lowered.node].schema);
        let exceptions = query
            .exceptions
            .iter()
            .map(|exception| {
                let condition = crate::sql::plan::condition(&exception.condition, &schema);
                let first = |mistakes: Vec<Diagnostic>| {
                    let unknown = || Diagnostic::error(codes::PLAN, "this condition cannot be planned");
                    mistakes.into_iter().next().unwrap_or_else(unknown)
                };
                Ok((Arc::clone(&exception.name), condition.map_err(first)?))
            })
            .collect::<Result<Vec<_>, Diagnostic>>()?;
        let names: Vec<Arc<str>> = exceptions.iter().map(|(name, _)| Arc::clone(name)).collect();
        let spec = EmitSpec {
            id: Arc::clone(&query.id),
            is_row_level: lowered.is_row_level,
            is_revised: query.allowed_lateness_us > 0,
            is_of_sessions: self.graph.early_windows(lowered.node).into_iter().any(Windows::is_sessions),
            exceptions,
        };
        let hits = hit_schema(&schema);
        let edge = Edge::by_identity(lowered.node);
        let what = format!("emit {}", query.id);
        // What was stated stays stated: ids know the detection and the cause, and not the text.
        let of = format!("{what} of {}", if lowered.is_row_level { "rows" } else { "groups" });
        let emit = self.graph.add_with((&what, Meaning::Alone(&of)), Spec::Emit(spec), vec![edge], hits);
        let mut last = emit;
        if let Some(period_us) = query.cooldown_us {
            // Which hit repeats which is a matter of their times, and that of a session moves until it is over.
            self.graph.settle(emit, &|windows| windows.is_sessions());
            last = self.cooldown(query, (lowered.node, emit), period_us, &names)?;
        }
        let spec = SinkSpec {
            query: index,
            has_event_as_cause: has_event_as_cause(&self.graph, lowered.node),
            exceptions: names,
            tables: lowered.tables.clone(),
        };
        let of_last = Arc::clone(&self.graph.nodes[last].schema);
        let what = format!("sink {}", query.id);
        let sink = self.graph.add(&what, Spec::Sink(spec), vec![Edge::local(last)], of_last);
        Ok(Ready { lowered, schema, emit, sink, reads_published })
    }

    fn cooldown(
        &mut self,
        query: &Query,
        (node, emit): (NodeId, NodeId),
        period_us: i64,
        exceptions: &[Arc<str>],
    ) -> Result<NodeId, Diagnostic> {
        let schema = &Arc::clone(&self.graph.nodes[node].schema);
        let keys = query
            .cooldown_keys
            .iter()
            .map(|name| output_column(schema, name).ok_or_else(|| not_an_output(name, schema)))
            .collect::<Result<Vec<_>, _>>()?;
        let exprs = keys.iter().map(|key| column(schema, *key)).collect();
        let mut fields = self.graph.nodes[emit].schema.fields().to_vec();
        fields.push(Arc::new(Field::new("__suppressed_by", DataType::FixedSizeBinary(16), true)));
        fields.push(Arc::new(Field::new(PROVISIONAL, DataType::Boolean, false)));
        let is_revised = query.allowed_lateness_us > 0;
        let grain_us = if is_revised { 0 } else { settling::grain_us(&self.graph, node, &keys) };
        let settles_in_silence = !is_revised && (grain_us > 0 || settling::comes_in_order(&self.graph, node));
        let named = keys.iter().map(|key| schema.field(*key)).map(|key| format!("{}: {}", key.name(), key.data_type()));
        // What is folded into what is a matter of the entities, for as long as the period says now.
        let of = format!("cooldown {} by {}", query.id, named.collect::<Vec<_>>().join(", "));
        let spec = CooldownSpec { period_us, keys, grain_us, settles_in_silence, exceptions: exceptions.to_vec() };
        let what = format!("cooldown {} {}", query.id, span_in_words(period_us));
        let (edge, schema) = (Edge::by(emit, exprs), Arc::new(Schema::new(fields)));
        Ok(self.graph.add_with((&what, Meaning::Alone(&of)), Spec::Cooldown(spec), vec![edge], schema))
    }

    /// The union of what all readable queries publish, for a reader of these columns.
    fn published_node(
        &self,
        graph: &mut Graph,
        columns: &[String],
        named: &BTreeSet<usize>,
    ) -> Result<Lowered, Refusal> {
        let schema = published_schema(self.published);
        let (mut edges, mut beside) = (vec![], vec![]);
        for (index, ready) in self.lowered.iter().enumerate() {
            let Some(ready) = ready else { continue };
            if ready.reads_published && !named.contains(&index) {
                continue;
            }
            let query = &self.queries[index];
            if ready.reads_published {
                beside.push(&*query.id);
            }
            let at_create = self.is_fixed_by_cause(graph, ready, query, columns);
            let values = query
                .publish
                .iter()
                .zip(&self.published.columns)
                .map(|(value, (_, data_type))| published_value(value, data_type, &ready.schema))
                .collect::<Result<Vec<_>, _>>()?;
            let spec = PublishSpec { columns: values, row_schema: Arc::clone(&ready.schema), at_create };
            let what = format!("publish {} {}", query.id, if at_create { "at create" } else { "at close" });
            let node = graph.add(&what, Spec::Publish(spec), vec![Edge::local(ready.emit)], Arc::clone(&schema));
            edges.push(Edge::local(node));
        }
        let what = format!("all {}", self.published.name);
        // Who publishes may change as who writes to a topic may; only what a reader names is a part of what it reads.
        beside.sort_unstable();
        let of = format!("{what} and {}", beside.join(", "));
        let node = graph.add_with((&what, Meaning::Alone(&of)), Spec::Union, edges, Arc::clone(&schema));
        Ok(Lowered {
            node,
            time: Some(0),
            lagging: vec![],
            window: None,
            is_row_level: true,
            is_early: false,
            fixed: vec![true; schema.fields().len()],
            tables: vec![],
        })
    }

    /// Whether a hit's published values are certain when it is created, as far as a reader can see.
    fn is_fixed_by_cause(&self, graph: &Graph, ready: &Ready, query: &Query, columns: &[String]) -> bool {
        // What has closed may still be taken back.
        if query.allowed_lateness_us > 0 {
            return false;
        }
        let early = graph.early_windows(ready.emit);
        if ready.lowered.is_row_level || early.is_empty() {
            return true;
        }
        // The time of a session's alert is its end, which moves as long as rows come.
        if early.into_iter().any(|windows| windows.is_sessions()) {
            return false;
        }
        let read = query.publish.iter().zip(&self.published.columns).filter(|(_, (name, _))| columns.contains(name));
        read.into_iter().all(|(value, _)| match value {
            PublishedValue::Constant(_) => true,
            PublishedValue::Column { name, .. } | PublishedValue::Mapped { name, .. } => {
                output_column(&ready.schema, name).is_none_or(|at| ready.lowered.fixed[at])
            }
        })
    }
}

fn column(schema: &SchemaRef, at: usize) -> Arc<dyn PhysicalExpr> {
    Arc::new(Column::new(schema.field(at).name(), at))
}

/// The place of an output column: its exact name, or the only one that differs in case.
pub(crate) fn output_column(schema: &Schema, name: &str) -> Option<usize> {
    let fields = schema.fields();
    fields.iter().position(|field| field.name() == name).or_else(|| {
        let mut alike = fields.iter().enumerate().filter(|(_, field)| field.name().eq_ignore_ascii_case(name));
        match (alike.next(), alike.next()) {
            (Some((at, _)), None) => Some(at),
            _ => None,
        }
    })
}

fn not_an_output(name: &str, schema: &Schema) -> Diagnostic {
    let names: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let hint = nearest(name, names.iter().copied()).unwrap_or_else(|| format!("its columns are {}", names.join(", ")));
    Diagnostic::error(codes::NOT_AN_OUTPUT, format!("`{name}` is not a column of the SELECT")).hint(hint)
}

/// The consumers of every node: who reads it, and as which input.
pub(crate) fn consumers(graph: &Graph) -> Vec<Vec<(NodeId, usize)>> {
    let mut consumers = vec![vec![]; graph.nodes.len()];
    for (node, spec) in graph.nodes.iter().enumerate() {
        for (input, edge) in spec.inputs.iter().enumerate() {
            consumers[edge.from].push((node, input));
        }
    }
    consumers
}

/// Source nodes by lower-case stream name.
pub(crate) fn sources(graph: &Graph) -> HashMap<String, NodeId> {
    graph
        .nodes
        .iter()
        .enumerate()
        .filter_map(|(node, spec)| match &spec.spec {
            Spec::Source(stream) => Some((stream.name.to_lowercase(), node)),
            _ => None,
        })
        .collect()
}
