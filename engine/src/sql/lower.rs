//! From an optimised plan to operators of the graph. What cannot run on a stream is refused here, with a way out.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::{DFSchema, DataFusionError};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{
    Aggregate, Expr, Extension, Filter, LogicalPlan, Projection, SubqueryAlias, TableScan, Union,
};
use datafusion::physical_expr::execution_props::ExecutionProps;
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};

use super::aggregate;
use super::join;
use super::lookup;
use super::monotone;
use super::over;
use super::plan::{RelationSource, Source};
use super::session;
use super::time_column::TimeColumn;
use super::under;
use super::window_columns::WindowColumns;
use super::window_table::WindowTable;
use crate::batch::ColumnSet;
use crate::catalog::{Stream, system};
use crate::error::codes;
use crate::graph::{Edge, Graph, Meaning, NodeId, RetimeSpec, Spec};
use crate::sql::window_kind::Windows;

/// A sub-plan in the graph, and what is known of its output.
#[derive(Debug, Clone)]
pub(crate) struct Lowered {
    pub(crate) node: NodeId,
    /// The column that is the event time.
    pub(crate) time: Option<usize>,
    /// Further columns that tell a time near the event time.
    pub(crate) lagging: Vec<TimeColumn>,
    /// The window that the rows are assigned to, and the columns that hold its ends.
    pub(crate) window: Option<WindowColumns>,
    /// Whether each row is an event, not a statement about a group.
    pub(crate) is_row_level: bool,
    /// Whether rows may come provisionally.
    pub(crate) is_early: bool,
    /// Which columns depend on the cause alone.
    pub(crate) fixed: Vec<bool>,
    /// Look-up tables read so far.
    pub(crate) tables: Vec<Arc<str>>,
}

/// Why a plan does not run on a stream.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
    /// The word of the text that it is about, where that is not the usual one of its code.
    pub(crate) about: Option<String>,
}

impl Refusal {
    pub(crate) fn new(code: &'static str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: Some(hint.into()), about: None }
    }

    /// The same, at the first place of a word in the text.
    pub(crate) fn about(self, word: impl Into<String>) -> Self {
        Self { about: Some(word.into()), ..self }
    }
}

impl From<DataFusionError> for Refusal {
    fn from(error: DataFusionError) -> Self {
        super::failure::of_planning(&error)
    }
}

/// Finds the node that stands for the derived stream, given the columns that are read of it.
pub(crate) type FindPublished<'a> = &'a mut dyn FnMut(&mut Graph, &[String]) -> Result<Lowered, Refusal>;

/// What lowering needs to know beside the plan.
pub(crate) struct Lowering<'a> {
    pub(crate) graph: &'a mut Graph,
    /// What is decoded of each stream, by lower-case name.
    pub(crate) columns: &'a BTreeMap<String, ColumnSet>,
    /// The node that stands for the derived stream, given the columns that are read of it.
    pub(crate) published: FindPublished<'a>,
    /// A monotone condition on the output of the aggregate that is lowered next.
    early: Option<Expr>,
    /// What must hold of the output of the window functions that are lowered next.
    of_functions: Option<Expr>,
    /// Whether an aggregate reads what is lowered next.
    under_aggregate: bool,
    /// By how much rows may be late and count in windows all the same.
    pub(super) allowed_us: i64,
}

impl<'a> Lowering<'a> {
    pub(crate) fn new(
        graph: &'a mut Graph,
        columns: &'a BTreeMap<String, ColumnSet>,
        published: FindPublished<'a>,
        allowed_us: i64,
    ) -> Self {
        Self { graph, columns, published, early: None, of_functions: None, under_aggregate: false, allowed_us }
    }

    /// Lowers a plan and everything below it.
    pub(crate) fn lower(&mut self, plan: &LogicalPlan) -> Result<Lowered, Refusal> {
        match plan {
            LogicalPlan::SubqueryAlias(SubqueryAlias { input, .. }) => self.lower(input),
            LogicalPlan::TableScan(scan) => self.scan(scan),
            LogicalPlan::Projection(projection) => self.projection(projection),
            LogicalPlan::Filter(filter) => self.filter(filter),
            LogicalPlan::Union(union) => self.union(union),
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate),
            LogicalPlan::Join(join) if lookup::has_table(join) => lookup::lower(self, join),
            LogicalPlan::Join(join) => join::lower(self, join),
            LogicalPlan::Extension(Extension { node }) => match node.as_any().downcast_ref::<WindowTable>() {
                Some(window) => self.window_table(window),
                None => super::sequence::lower(self, node.as_ref()),
            },
            LogicalPlan::Distinct(_) => Err(Refusal::new(
                codes::UNBOUNDED,
                "DISTINCT over a stream remembers every row for ever",
                "count per window instead: FROM TUMBLE(...) GROUP BY ..., window_start, window_end",
            )),
            LogicalPlan::Sort(_) | LogicalPlan::Limit(_) => Err(Refusal::new(
                codes::NOT_ON_A_STREAM,
                "a stream has no end, so it has no order and no first rows",
                "remove ORDER BY and LIMIT",
            )),
            LogicalPlan::EmptyRelation(_) | LogicalPlan::Values(_) => Err(no_stream()),
            LogicalPlan::Window(window) => {
                let condition = self.of_functions.take();
                let below = self.lower_rows(&window.input)?;
                over::lower(self, window, below, condition.as_ref())
            }
            LogicalPlan::Unnest(_) => Err(unsupported("UNNEST")),
            LogicalPlan::Subquery(_) => Err(unsupported("this subquery")),
            other => Err(unsupported(other.display().to_string().split(':').next().unwrap_or("this clause"))),
        }
    }

    fn scan(&mut self, scan: &TableScan) -> Result<Lowered, Refusal> {
        let source = scan.source.as_ref() as &dyn std::any::Any;
        let Some(source) = source.downcast_ref::<RelationSource>() else {
            return Err(unsupported(scan.table_name.table()));
        };
        let wanted: Vec<String> = scan.projected_schema.fields().iter().map(|field| field.name().clone()).collect();
        let below = match &source.source {
            Source::Stream(stream) => {
                let set = self.columns.get(&stream.name.to_lowercase()).cloned().unwrap_or_default();
                let node = source_node(self.graph, stream, &set);
                let schema = Arc::clone(&self.graph.nodes[node].schema);
                let time = schema.fields().iter().position(|field| *field.name() == stream.event_time);
                let is_time = time.is_some_and(|time| schema.field(time).data_type() == &crate::catalog::TIME_TYPE);
                let clock = schema.fields().iter().position(|field| field.name() == system::TIME);
                let time = time.filter(|_| is_time && wanted.contains(&stream.event_time));
                let width = schema.fields().len();
                Lowered {
                    node,
                    time: time.or(clock),
                    // The declared column and `_time` tell the same.
                    lagging: clock.filter(|_| time.is_some()).map(TimeColumn::exact).into_iter().collect(),
                    window: None,
                    is_row_level: true,
                    is_early: false,
                    fixed: vec![true; width],
                    tables: vec![],
                }
            }
            Source::Published => (self.published)(self.graph, &wanted)?,
            Source::Table(_) => return Err(no_stream()),
        };
        self.select_named(below, &wanted)
    }

    /// The columns of `wanted`, in its order.
    fn select_named(&mut self, below: Lowered, wanted: &[String]) -> Result<Lowered, Refusal> {
        let schema = Arc::clone(&self.graph.nodes[below.node].schema);
        let indices = wanted
            .iter()
            .map(|name| {
                schema.fields().iter().position(|field| field.name() == name).ok_or_else(|| Refusal {
                    code: codes::PLAN,
                    message: format!("column `{name}` is not decoded"),
                    hint: None,
                    about: None,
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        let selected: SchemaRef = Arc::new(schema.project(&indices).map_err(DataFusionError::from)?);
        let what = format!("select {}", wanted.join(", "));
        let moved = |column: usize| indices.iter().position(|index| *index == column);
        let node = self.graph.add(&what, Spec::Select(indices.clone()), vec![Edge::local(below.node)], selected);
        let times = below.times().filter_map(|time| Some(TimeColumn { column: moved(time.column)?, ..time })).collect();
        let fixed = indices.iter().map(|index| below.fixed[*index]).collect();
        Ok(Lowered { node, fixed, ..below }.with_times(times))
    }

    fn projection(&mut self, projection: &Projection) -> Result<Lowered, Refusal> {
        let below = self.lower(&projection.input)?;
        let input = projection.input.schema();
        for expr in projection.expr.iter().filter(|expr| column_index(expr, input).is_none()) {
            below.refuse_hollow(expr, input)?;
        }
        let exprs = self.physical_all(&projection.expr, input)?;
        let schema = relaxed(&projection.schema);
        let source_of = |expr: &Expr| column_index(expr, input);
        let follow = |columns: &[usize]| {
            let places = projection.expr.iter().enumerate();
            places
                .filter(|(_, expr)| source_of(expr).is_some_and(|index| columns.contains(&index)))
                .map(|(place, _)| place)
                .collect::<Vec<_>>()
        };
        let what = format!("project {}", names(&projection.expr));
        let node = self.graph.add(&what, Spec::Project(exprs), vec![Edge::local(below.node)], schema);
        let window = below.window.as_ref().map(|window| WindowColumns {
            windows: window.windows,
            starts: follow(&window.starts),
            ends: follow(&window.ends),
            is_hollow: window.is_hollow,
            conditions: window.conditions.clone(),
        });
        let fixed = projection.expr.iter().map(|expr| is_fixed(expr, input, &below.fixed)).collect();
        let times = below.times().flat_map(|time| {
            follow(&[time.column]).into_iter().map(move |column| TimeColumn { column, ..time }).collect::<Vec<_>>()
        });
        let times = times.collect();
        Ok(Lowered { node, window, fixed, ..below }.with_times(times))
    }

    fn filter(&mut self, filter: &Filter) -> Result<Lowered, Refusal> {
        let mut below = self.lower_under(&filter.input, &filter.predicate)?;
        let input = filter.input.schema();
        let conditions = below.take_window_conditions(&filter.predicate, input)?;
        session::refuse_fewer_rows(&below, &conditions)?;
        let Some(condition) = conjunction(conditions) else { return Ok(below) };
        let predicate = self.physical(&condition, input)?;
        let schema = Arc::clone(&self.graph.nodes[below.node].schema);
        let what = format!("filter {condition}");
        let node = self.graph.add(&what, Spec::Filter(predicate), vec![Edge::local(below.node)], schema);
        Ok(Lowered { node, ..below })
    }

    /// Lowers what stands under a condition. Directly over an aggregate the condition may let its window state itself
    /// early; a condition that may turn false again must not see provisional rows.
    fn lower_under(&mut self, plan: &LogicalPlan, condition: &Expr) -> Result<Lowered, Refusal> {
        if let Some((_, condition)) = under::over_node(plan, condition.clone(), under::window)? {
            self.of_functions = Some(condition);
            let lowered = self.lower(plan);
            self.of_functions = None;
            return lowered;
        }
        if let Some((aggregate, condition)) = under::over_node(plan, condition.clone(), under::aggregate)? {
            self.early = monotone::is_monotone(&condition, aggregate).then_some(condition);
            let lowered = self.lower(plan);
            self.early = None;
            return lowered;
        }
        let below = self.lower(plan)?;
        if below.is_early && !is_fixed(condition, plan.schema(), &below.fixed) {
            self.settle(below.node);
        }
        Ok(below)
    }

    /// Makes the windows behind `node` state themselves at their close only.
    pub(super) fn settle(&mut self, node: NodeId) {
        self.graph.settle(node, &|_| true);
    }

    /// The same rows with another of their times as the event time; `None` if the column is none of them.
    pub(super) fn timed_by(&mut self, below: Lowered, column: usize) -> Option<Lowered> {
        let by = below.times().find(|time| time.column == column)?;
        if by.is_exact() {
            return Some(Lowered { time: Some(column), ..below });
        }
        let schema = Arc::clone(&self.graph.nodes[below.node].schema);
        let what = format!("time by {} after {} µs", schema.field(column).name(), by.behind_us);
        let spec = Spec::Retime(RetimeSpec { column, behind_us: by.behind_us });
        let node = self.graph.add(&what, spec, vec![Edge::local(below.node)], schema);
        let times = below.times().map(|time| TimeColumn {
            column: time.column,
            behind_us: time.behind_us.saturating_add(by.ahead_us),
            ahead_us: time.ahead_us.saturating_add(by.behind_us),
        });
        let others = times.filter(|time| time.column != column);
        let times = std::iter::once(TimeColumn::exact(column)).chain(others).collect();
        Some(Lowered { node, window: None, ..below }.with_times(times))
    }

    fn union(&mut self, union: &Union) -> Result<Lowered, Refusal> {
        let inputs = union.inputs.iter().map(|input| self.lower(input)).collect::<Result<Vec<_>, _>>()?;
        let Some(first) = inputs.first().cloned() else { return Err(no_stream()) };
        let schema = relaxed(&union.schema);
        let same = |agree: bool| agree.then_some(());
        let in_all = |time: TimeColumn| {
            inputs.iter().try_fold(time, |widest, input| {
                let other = input.times().find(|other| other.column == time.column)?;
                Some(TimeColumn {
                    column: time.column,
                    behind_us: widest.behind_us.max(other.behind_us),
                    ahead_us: widest.ahead_us.max(other.ahead_us),
                })
            })
        };
        let times: Vec<TimeColumn> = first.times().filter_map(in_all).collect();
        if inputs.len() > 1 {
            inputs.iter().try_for_each(session::refuse_union)?;
        }
        let window = same(inputs.iter().all(|input| input.window == first.window)).and(first.window.clone());
        if window.is_none() && inputs.iter().any(|input| input.window.as_ref().is_some_and(|window| window.is_hollow)) {
            return Err(Refusal::new(
                codes::UNSUPPORTED,
                "a UNION of different windows under one GROUP BY has no windows of its own",
                "union the streams first, and read the window from the union",
            ));
        }
        if inputs.iter().any(|input| input.is_row_level != first.is_row_level) {
            return Err(Refusal::new(
                codes::UNSUPPORTED,
                "a UNION of events with results of windows does not run yet",
                "write two detections, or count both sides per window",
            ));
        }
        let fixed = (0..schema.fields().len()).map(|column| inputs.iter().all(|input| input.fixed[column])).collect();
        let edges = inputs.iter().map(|input| Edge::local(input.node)).collect();
        let mut tables: Vec<Arc<str>> = inputs.iter().flat_map(|input| input.tables.clone()).collect();
        tables.sort();
        tables.dedup();
        let node = self.graph.add("union", Spec::Union, edges, schema);
        let is_early = inputs.iter().any(|input| input.is_early);
        Ok(Lowered { node, window, is_early, fixed, tables, ..first }.with_times(times))
    }

    fn window_table(&mut self, window: &WindowTable) -> Result<Lowered, Refusal> {
        let below = self.lower_rows(&window.input)?;
        let time = column_index(&window.time, window.input.schema());
        let Some(below) = time.and_then(|time| self.timed_by(below, time)) else {
            let column = window.time.to_string();
            return Err(Refusal::new(
                codes::WRONG_WINDOW_TIME,
                format!("`{column}` is not the event time, so no watermark can close this window"),
                "give the column that the stream declares as event_time (of type TIMESTAMP), unchanged, or `_time`",
            ));
        };
        let width = window.input.schema().fields().len();
        let schema = relaxed(datafusion::logical_expr::UserDefinedLogicalNodeCore::schema(window));
        let kind = match window.windows {
            Windows::Fixed(kind) => kind,
            Windows::Sessions { .. } if self.under_aggregate => {
                return session::assigned(self, below, window.windows, schema);
            }
            Windows::Sessions { .. } => return Err(session::not_grouped()),
        };
        let is_hollow = self.under_aggregate && !window.windows.is_tumbling();
        let what = format!("assign {kind}{}", if is_hollow { " by time" } else { "" });
        let spec = Spec::AssignWindow { kind, expands: !is_hollow };
        let node = self.graph.add(&what, spec, vec![Edge::local(below.node)], schema);
        let mut fixed = below.fixed.clone();
        fixed.extend([true, true]);
        let columns = WindowColumns {
            windows: window.windows,
            starts: vec![width],
            ends: vec![width + 1],
            is_hollow,
            conditions: vec![],
        };
        let mut lagging = below.lagging.clone();
        if !is_hollow {
            let size_us = kind.size_us();
            lagging.push(TimeColumn { column: width, behind_us: size_us - 1, ahead_us: 0 });
            lagging.push(TimeColumn { column: width + 1, behind_us: -1, ahead_us: size_us });
        }
        Ok(Lowered { node, window: Some(columns), fixed, lagging, ..below })
    }

    fn aggregate(&mut self, aggregate: &Aggregate) -> Result<Lowered, Refusal> {
        let early = self.early.take();
        let was_under = std::mem::replace(&mut self.under_aggregate, true);
        let below = self.lower(&aggregate.input);
        self.under_aggregate = was_under;
        let below = below?;
        aggregate::lower(self, aggregate, below, early.as_ref())
    }

    /// Lowers what must have a row per window, whatever reads it.
    pub(super) fn lower_rows(&mut self, plan: &LogicalPlan) -> Result<Lowered, Refusal> {
        let was_under = std::mem::replace(&mut self.under_aggregate, false);
        let lowered = self.lower(plan);
        self.under_aggregate = was_under;
        lowered
    }

    /// A physical expression over the columns of `input`.
    pub(crate) fn physical(&self, expr: &Expr, input: &DFSchema) -> Result<Arc<dyn PhysicalExpr>, Refusal> {
        physical(expr, input)
    }

    pub(crate) fn physical_all<'e>(
        &self,
        exprs: impl IntoIterator<Item = &'e Expr>,
        input: &DFSchema,
    ) -> Result<Vec<Arc<dyn PhysicalExpr>>, Refusal> {
        exprs.into_iter().map(|expr| physical(expr, input)).collect()
    }
}

/// A physical expression over the columns of `input`.
pub(crate) fn physical(expr: &Expr, input: &DFSchema) -> Result<Arc<dyn PhysicalExpr>, Refusal> {
    Ok(create_physical_expr(expr, input, &ExecutionProps::new(), &Default::default())?)
}

/// The node at which a stream enters.
pub(crate) fn source_node(graph: &mut Graph, stream: &Arc<Stream>, set: &ColumnSet) -> NodeId {
    let (what, spec) = (format!("source {}", stream.name), Spec::Source(Arc::clone(stream)));
    // Another time or identity makes other events of the same records.
    let of = format!("{what} at {} in {} as {:?}", stream.event_time, stream.time_zone, stream.event_id);
    graph.add_with((&what, Meaning::Of(&of)), spec, vec![], source_schema(set))
}

/// The columns a source node has: what is decoded, then event time and raw bytes.
pub(crate) fn source_schema(set: &ColumnSet) -> SchemaRef {
    let own = [
        Arc::new(Field::new(system::TIME, crate::catalog::TIME_TYPE, true)),
        Arc::new(Field::new(system::RAW, DataType::BinaryView, true)),
    ];
    Arc::new(Schema::new(set.columns.iter().cloned().chain(own).collect::<Vec<_>>()))
}

/// The plan's schema in Arrow with every column nullable, since total expressions may make NULL of anything.
pub(crate) fn relaxed(schema: &DFSchema) -> SchemaRef {
    let nullable = |field: &Arc<Field>| Arc::new(field.as_ref().clone().with_nullable(true));
    Arc::new(Schema::new(schema.fields().iter().map(nullable).collect::<Vec<_>>()))
}

/// The input column that an expression passes on unchanged.
pub(crate) fn column_index(expr: &Expr, input: &DFSchema) -> Option<usize> {
    match expr {
        Expr::Column(column) => input.maybe_index_of_column(column),
        Expr::Alias(alias) => column_index(&alias.expr, input),
        _ => None,
    }
}

fn is_fixed(expr: &Expr, input: &DFSchema, fixed: &[bool]) -> bool {
    expr.column_refs().into_iter().all(|column| input.maybe_index_of_column(column).is_some_and(|index| fixed[index]))
}

pub(crate) fn names(exprs: &[Expr]) -> String {
    exprs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

pub(crate) fn no_stream() -> Refusal {
    Refusal::new(
        codes::NO_TIME,
        "this reads no stream, so it has no event time",
        "select from a stream or a view of one; tables can only be joined to it",
    )
}

pub(crate) fn unsupported(what: &str) -> Refusal {
    Refusal {
        code: codes::UNSUPPORTED,
        message: format!("{what} does not run on a stream yet"),
        hint: Some("README.md lists what runs today".to_owned()),
        about: None,
    }
}
