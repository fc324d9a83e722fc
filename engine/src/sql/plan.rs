//! From resolved SQL to a bound, analysed and optimised logical plan. Both sides use it: the live side lowers the plan
//! to operators, the batch side runs it with DataFusion.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result as PlanResult, ScalarValue, TableReference, plan_err};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::planner::{ContextProvider, ExprPlanner, RelationPlanner};
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{
    AggregateUDF, Expr, ExprSchemable, Extension, HigherOrderUDF, LogicalPlan, ScalarUDF, TableSource, WindowUDF,
};
use datafusion::optimizer::analyzer::type_coercion::TypeCoercion;
use datafusion::optimizer::decorrelate_predicate_subquery::DecorrelatePredicateSubquery;
use datafusion::optimizer::eliminate_outer_join::EliminateOuterJoin;
use datafusion::optimizer::extract_equijoin_predicate::ExtractEquijoinPredicate;
use datafusion::optimizer::optimize_projections::OptimizeProjections;
use datafusion::optimizer::push_down_filter::PushDownFilter;
use datafusion::optimizer::simplify_expressions::{ExprSimplifier, SimplifyExpressions};
use datafusion::optimizer::{Analyzer, Optimizer, OptimizerContext, OptimizerRule};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::sql::planner::{ParserOptions, PlannerContext, SqlToRel};
use datafusion::sql::sqlparser::ast;

use super::functions::FUNCTIONS;
use super::judge::{self, Text};
use super::parse::{Runs, parse_condition, parse_select};
use super::resolve::{RelationColumns, Relations, Resolved, resolve, resolve_condition};
use super::sequence::{Sequence, SequencePlanner};
use super::total::totalize;
use super::window_table::{WindowTable, WindowTablePlanner};
use crate::catalog::{Catalog, Relation, Stream, TIME_TYPE, Table};
use crate::error::{Diagnostic, Place, Span, codes};
use crate::query::Published;

/// What stands behind a table scan of a plan.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// Events from outside.
    Stream(Arc<Stream>),
    /// A look-up table.
    Table(Arc<Table>),
    /// The derived stream of all alerts.
    Published,
}

/// A relation as DataFusion's planner sees it.
#[derive(Debug)]
pub(crate) struct RelationSource {
    pub(crate) source: Source,
    schema: SchemaRef,
}

impl TableSource for RelationSource {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

/// A view as DataFusion's planner sees it: its plan stands in for it.
struct ViewSource {
    plan: LogicalPlan,
    schema: SchemaRef,
}

impl TableSource for ViewSource {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn get_logical_plan(&self) -> Option<Cow<'_, LogicalPlan>> {
        Some(Cow::Borrowed(&self.plan))
    }
}

/// The names of all functions, for name resolution.
static FUNCTION_NAMES: LazyLock<BTreeSet<String>> =
    LazyLock::new(|| FUNCTIONS.names().into_iter().map(str::to_owned).collect());

/// Where the batch side finds the rows of a relation; `None` leaves it to the catalog.
pub(crate) type SourceOverride<'a> = &'a dyn Fn(&str) -> Option<Arc<dyn TableSource>>;

/// Plans texts against one catalog. Views are planned once, when first named.
pub(crate) struct Planner<'a> {
    catalog: &'a Catalog,
    published: &'a Published,
    overrides: Option<SourceOverride<'a>>,
    options: ConfigOptions,
    relation_planners: Vec<Arc<dyn RelationPlanner>>,
    state: RefCell<PlannerState>,
}

#[derive(Default)]
struct PlannerState {
    views: HashMap<String, Option<LogicalPlan>>,
    in_progress: Vec<String>,
    /// Diagnostics of views, by view name.
    diagnostics: Vec<(String, Diagnostic)>,
    /// Columns of open streams that somebody named.
    open: BTreeMap<String, BTreeSet<String>>,
}

impl<'a> Planner<'a> {
    pub(crate) fn new(catalog: &'a Catalog, published: &'a Published) -> Self {
        Self {
            catalog,
            published,
            overrides: None,
            options: ConfigOptions::new(),
            relation_planners: vec![Arc::new(WindowTablePlanner), Arc::new(SequencePlanner)],
            state: RefCell::default(),
        }
    }

    /// A planner for the batch side: some relations are read from elsewhere.
    pub(crate) fn with_overrides(mut self, overrides: SourceOverride<'a>) -> Self {
        self.overrides = Some(overrides);
        self
    }

    /// Plans every view, so that a mistake in one nobody reads is found too.
    pub(crate) fn plan_views(&self) -> Vec<(String, Diagnostic)> {
        for view in self.catalog.views() {
            self.view_plan(&view.name);
        }
        std::mem::take(&mut self.state.borrow_mut().diagnostics)
    }

    /// The bound and analysed plan of one `SELECT`.
    pub(crate) fn plan_select(
        &self,
        sql: &str,
        start: Place,
        params: &BTreeMap<String, ScalarValue>,
    ) -> Result<LogicalPlan, Vec<Diagnostic>> {
        let runs = if self.overrides.is_some() { Runs::OnArchive } else { Runs::OnStreams };
        let text = Text::new(sql, start);
        let query = parse_select(sql, start, runs, params)
            .map_err(|refused| refused.with(|query| self.names_and_types(query, &text).err().unwrap_or_default()))?;
        let query = self.names_and_types(query, &text)?;
        let plan = self.bind(&query).map_err(|error| super::failure::explain(self, &query, &text, &error))?;
        if judge::may_hold_a_mistake(&plan) {
            let bad = judge::what_passes(self, &query, &text);
            if !bad.is_empty() {
                return Err(bad);
            }
        }
        Ok(plan)
    }

    /// The `SELECT` with exact names; where some mean nothing, also what is wrong with the types of the others. Nothing may
    /// be wrong with it but what it reads.
    fn names_and_types(&self, query: Box<ast::Query>, text: &Text<'_>) -> Result<Box<ast::Query>, Vec<Diagnostic>> {
        let (Resolved { query, open_columns, reads_faulty, .. }, mut told) = resolve(query, self, &FUNCTION_NAMES);
        {
            let mut state = self.state.borrow_mut();
            for (stream, columns) in open_columns {
                state.open.entry(stream.to_lowercase()).or_default().extend(columns);
            }
        }
        if told.is_empty() && !reads_faulty {
            return Ok(query);
        }
        for diagnostic in &mut told {
            text.move_to_type(diagnostic);
        }
        let mut more = judge::judge(self, &query, text);
        more.extend(judge::ungrouped(&query, text));
        let begins = |one: &Diagnostic| one.span.map(|span| span.start);
        more.retain(|one| told.iter().all(|other| begins(other) != begins(one)));
        told.append(&mut more);
        told.sort_by_key(|diagnostic| diagnostic.span);
        Err(told)
    }

    fn bind(&self, query: &ast::Query) -> PlanResult<LogicalPlan> {
        let plan = super::first_seen::place(self.to_rel(query)?)?;
        let plan = Analyzer::with_rules(vec![Arc::new(TypeCoercion::new())]).execute_and_check(
            plan,
            &self.options,
            |_, _| {},
        )?;
        totalize(plan)
    }

    /// The plan of a `SELECT` as it stands, its types not yet brought together.
    pub(crate) fn to_rel(&self, query: &ast::Query) -> PlanResult<LogicalPlan> {
        let statement = ast::Statement::Query(Box::new(query.clone()));
        SqlToRel::new_with_options(self, parser_options()).sql_statement_to_plan(statement)
    }

    fn view_plan(&self, name: &str) -> Option<LogicalPlan> {
        let key = name.to_lowercase();
        if let Some(known) = self.state.borrow().views.get(&key) {
            return known.clone();
        }
        let Some(Relation::View(view)) = self.catalog.get(name) else { return None };
        if self.state.borrow().in_progress.contains(&key) {
            let cycle = Diagnostic::error(codes::CYCLE, format!("view `{}` reads itself", view.name))
                .at(Span::at(view.start))
                .hint("a view may read streams, tables and other views, but never itself");
            self.state.borrow_mut().diagnostics.push((view.name.clone(), cycle));
            return None;
        }
        self.state.borrow_mut().in_progress.push(key.clone());
        let planned = self.plan_select(&view.sql, view.start, &BTreeMap::new());
        let mut state = self.state.borrow_mut();
        state.in_progress.pop();
        let plan = match planned {
            Ok(plan) => Some(plan),
            Err(diagnostics) => {
                state.diagnostics.extend(diagnostics.into_iter().map(|diagnostic| (view.name.clone(), diagnostic)));
                None
            }
        };
        state.views.insert(key, plan.clone());
        plan
    }

    fn source(&self, name: &str) -> PlanResult<Arc<dyn TableSource>> {
        if let Some(source) = self.overrides.and_then(|overrides| overrides(name)) {
            return Ok(source);
        }
        if !self.published.name.is_empty() && name.eq_ignore_ascii_case(&self.published.name) {
            let schema = published_schema(self.published);
            return Ok(Arc::new(RelationSource { source: Source::Published, schema }));
        }
        match self.catalog.get(name) {
            Some(Relation::Stream(stream)) => {
                let mut fields: Vec<Arc<Field>> = stream.all_columns().iter().cloned().collect();
                if let Some(open) = self.state.borrow().open.get(&stream.name.to_lowercase()) {
                    fields.extend(open.iter().map(|name| Arc::new(Field::new(name, DataType::Utf8View, true))));
                }
                let schema = Arc::new(Schema::new(fields));
                Ok(Arc::new(RelationSource { source: Source::Stream(stream), schema }))
            }
            Some(Relation::Table(table)) => {
                let schema = table.schema();
                Ok(Arc::new(RelationSource { source: Source::Table(table), schema }))
            }
            Some(Relation::View(view)) => match self.view_plan(&view.name) {
                Some(plan) => {
                    let schema = Arc::clone(plan.schema().inner());
                    Ok(Arc::new(ViewSource { plan, schema }))
                }
                None => plan_err!("view `{}` has errors of its own", view.name),
            },
            None => plan_err!("no relation `{name}`"),
        }
    }

    /// The columns of a relation whose rows come from elsewhere: those of the catalog, and whatever more is there
    /// can be named.
    fn overridden(&self, name: &str, there: &Fields) -> RelationColumns {
        let mut columns = match self.catalog.get(name) {
            // What Weir makes itself is archived as it is, without the columns that records have.
            Some(Relation::Stream(stream)) if !self.catalog.is_own(name) => {
                RelationColumns { open: false, ..RelationColumns::of_stream(&stream) }
            }
            Some(Relation::Table(table)) => RelationColumns::of_table(&table),
            Some(Relation::Stream(_) | Relation::View(_)) | None => {
                return RelationColumns::of_output(name, there.clone());
            }
        };
        let known =
            |field: &Field| columns.columns.find(field.name()).is_some() || columns.hidden.find(field.name()).is_some();
        let further: Vec<_> = there.iter().filter(|field| !known(field)).cloned().collect();
        columns.hidden = columns.hidden.iter().cloned().chain(further).collect();
        columns
    }

    /// An expression over a schema, with its types brought together.
    pub(crate) fn coerced(&self, expr: &ast::Expr, schema: &DFSchema) -> PlanResult<Expr> {
        let planner = SqlToRel::new_with_options(self, parser_options());
        let expr = planner.sql_to_expr(expr.clone(), schema, &mut PlannerContext::new())?;
        let context = SimplifyContext::builder().with_schema(Arc::new(schema.clone())).build();
        let expr = ExprSimplifier::new(context).coerce(expr, schema)?;
        // A function looks at its constants when it is asked for its type.
        expr.to_field(schema)?;
        Ok(expr)
    }
}

fn parser_options() -> ParserOptions {
    ParserOptions {
        enable_ident_normalization: false,
        collect_spans: true,
        map_string_types_to_utf8view: true,
        ..ParserOptions::default()
    }
}

/// Optimises a bound plan with the fixed list of rules, every one of which keeps the meaning of a stream. Joins stay in
/// the order in which they are written: it is part of the identity of what they find.
pub(crate) fn optimize(plan: LogicalPlan) -> PlanResult<LogicalPlan> {
    let rules: Vec<Arc<dyn OptimizerRule + Send + Sync>> = vec![
        Arc::new(SimplifyExpressions::new()),
        Arc::new(DecorrelatePredicateSubquery::new()),
        Arc::new(ExtractEquijoinPredicate::new()),
        Arc::new(EliminateOuterJoin::new()),
        Arc::new(PushDownFilter::new()),
        Arc::new(SimplifyExpressions::new()),
        Arc::new(OptimizeProjections::new()),
    ];
    let context = OptimizerContext::new().with_skip_failing_rules(false).with_max_passes(4);
    let plan = Optimizer::with_rules(rules).optimize(plan, &context, |_, _| {})?;
    totalize(plan)
}

/// A condition over the output of a query, as an expression over its columns.
pub(crate) fn condition(text: &str, output: &SchemaRef) -> Result<Arc<dyn PhysicalExpr>, Vec<Diagnostic>> {
    let (catalog, published) = (Catalog::default(), Published::default());
    let planner = Planner::new(&catalog, &published);
    let condition = parse_condition(text, Place::START)?;
    let condition = resolve_condition(condition, "hit", output.fields(), &FUNCTION_NAMES)?;
    let refused = |error: DataFusionError| vec![Diagnostic::error(codes::PLAN, super::failure::message_of(&error))];
    let schema = DFSchema::try_from_qualified_schema("hit", output).map_err(refused)?;
    let bad = judge::judge_condition(&planner, &condition, &schema, &Text::new(text, Place::START));
    if !bad.is_empty() {
        return Err(bad);
    }
    let plan = || -> PlanResult<Arc<dyn PhysicalExpr>> {
        let expr = planner.coerced(&condition, &schema)?;
        let expr = super::total::total_condition(expr, &schema)?;
        super::lower::physical(&expr, &schema).map_err(|refusal| DataFusionError::Plan(refusal.message))
    };
    plan().map_err(refused)
}

/// Whether a text is a condition over these columns, such as that of an exception over a query's output.
///
/// # Errors
/// What is wrong with it; places count from the beginning of the text.
pub fn check_condition(text: &str, output: &SchemaRef) -> Result<(), Vec<Diagnostic>> {
    condition(text, output).map(drop)
}

/// The batch side of a bound plan: functions and sequences that go by the order of rows see them in the total order, and
/// window tables become ordinary joins and projections.
pub(crate) fn to_batch(plan: LogicalPlan) -> PlanResult<LogicalPlan> {
    let plan = plan.transform_up_with_subqueries(|node| match &node {
        LogicalPlan::Aggregate(aggregate) => Ok(match super::in_order::to_batch(aggregate)? {
            Some(plan) => Transformed::yes(plan),
            None => Transformed::no(node),
        }),
        _ => Ok(match extension::<Sequence>(&node) {
            Some(sequence) => Transformed::yes(sequence.to_batch()?),
            None => Transformed::no(node),
        }),
    })?;
    let plan = plan.data.transform_up_with_subqueries(|node| match extension::<WindowTable>(&node) {
        Some(window) => Ok(Transformed::yes(super::window_batch::to_batch(window)?)),
        None => Ok(Transformed::no(node)),
    })?;
    super::total_order::in_total_order(plan.data)
}

/// A node of ours.
pub(crate) fn extension<T: 'static>(plan: &LogicalPlan) -> Option<&T> {
    let LogicalPlan::Extension(Extension { node }) = plan else { return None };
    node.as_any().downcast_ref()
}

/// The schema of the derived stream.
pub(crate) fn published_schema(published: &Published) -> SchemaRef {
    let mut fields = vec![Field::new("time", TIME_TYPE, false), Field::new("uid", DataType::Utf8View, false)];
    fields.extend(published.columns.iter().map(|(name, data_type)| Field::new(name, data_type.clone(), true)));
    Arc::new(Schema::new(fields))
}

impl Relations for Planner<'_> {
    fn columns(&self, name: &str) -> Option<RelationColumns> {
        if let Some(source) = self.overrides.and_then(|overrides| overrides(name)) {
            return Some(self.overridden(name, source.schema().fields()));
        }
        if !self.published.name.is_empty() && name.eq_ignore_ascii_case(&self.published.name) {
            let columns = published_schema(self.published).fields().clone();
            return Some(RelationColumns::of_output(&self.published.name, columns));
        }
        if self.catalog.get(name).is_none() && self.catalog.is_broken(name) {
            return Some(RelationColumns::faulty(name));
        }
        match self.catalog.get(name)? {
            Relation::Stream(stream) => Some(RelationColumns::of_stream(&stream)),
            Relation::Table(table) => Some(RelationColumns::of_table(&table)),
            Relation::View(view) => Some(match self.view_plan(&view.name) {
                Some(plan) => RelationColumns::of_output(&view.name, plan.schema().inner().fields().clone()),
                None => RelationColumns::faulty(&view.name),
            }),
        }
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.catalog.names().map(str::to_owned).collect();
        if !self.published.name.is_empty() {
            names.push(self.published.name.clone());
        }
        names
    }
}

impl ContextProvider for Planner<'_> {
    fn get_table_source(&self, name: TableReference) -> PlanResult<Arc<dyn TableSource>> {
        self.source(name.table())
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &FUNCTIONS.expr_planners
    }

    fn get_relation_planners(&self) -> &[Arc<dyn RelationPlanner>] {
        &self.relation_planners
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        FUNCTIONS.scalar.get(&name.to_lowercase()).cloned()
    }

    fn get_higher_order_meta(&self, name: &str) -> Option<Arc<HigherOrderUDF>> {
        FUNCTIONS.higher_order.get(&name.to_lowercase()).cloned()
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        FUNCTIONS.aggregate.get(&name.to_lowercase()).cloned()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        FUNCTIONS.window.get(&name.to_lowercase()).cloned()
    }

    fn get_variable_type(&self, _variable_names: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        &self.options
    }

    fn udf_names(&self) -> Vec<String> {
        FUNCTIONS.scalar.keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        FUNCTIONS.higher_order.keys().cloned().collect()
    }

    fn udaf_names(&self) -> Vec<String> {
        FUNCTIONS.aggregate.keys().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        FUNCTIONS.window.keys().cloned().collect()
    }
}

/// The plan of a hunt: the same SQL over rows that are there. `source` gives the rows of a relation, and the catalog
/// the views over them.
///
/// # Errors
/// All that is wrong with the text.
pub fn plan_batch(
    catalog: &Catalog,
    sql: &str,
    params: &BTreeMap<String, ScalarValue>,
    source: &dyn Fn(&str) -> Option<Arc<dyn TableSource>>,
) -> Result<LogicalPlan, Vec<Diagnostic>> {
    let published = Published::default();
    let planner = Planner::new(catalog, &published).with_overrides(source);
    let plan = planner.plan_select(sql, Place::START, params);
    let of_views = std::mem::take(&mut planner.state.borrow_mut().diagnostics);
    let plan = plan.map_err(|mut diagnostics| {
        diagnostics.extend(of_views.into_iter().map(|(view, diagnostic)| Diagnostic {
            message: format!("view `{view}`: {}", diagnostic.message),
            ..diagnostic
        }));
        diagnostics
    })?;
    to_batch(plan).map_err(|error| vec![Diagnostic::error(codes::PLAN, super::failure::message_of(&error))])
}
