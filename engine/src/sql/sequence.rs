//! `MATCH_RECOGNIZE` as a node of the logical plan.
//!
//! Resolving has written every name of `DEFINE` and `MEASURES` as a column of a *designated row* (`"first 0 2"."x"`), so
//! that such an expression is an ordinary one over a made-up schema: the planner types it, and the operator computes it
//! from a batch of one row. These expressions are not over the node's input, so the optimiser does not see them; the
//! node says itself which columns it needs.

mod batch;
mod lower;
mod pattern;

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::{Column, DFSchema, DFSchemaRef, Diagnostic, Result, Span, TableReference, plan_err};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::expr::{AggregateFunction, AggregateFunctionParams};
use datafusion::logical_expr::planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning};
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{Expr, ExprSchemable, Extension, LogicalPlan, UserDefinedLogicalNodeCore};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::sql::sqlparser::ast::{self, Spanned};
use datafusion::sql::sqlparser::tokenizer::Span as SqlSpan;

use super::failure::message_of;
use super::match_recognize::{WITHIN, Written};
use super::types::type_name;
use super::window_kind::span_in_words;
use super::window_table::interval_us;
use crate::catalog::TIME_TYPE;
pub use batch::BatchSequence;
pub(super) use lower::lower;
use pattern::compile;
pub(crate) use pattern::{Pattern, STEPS_MAX, Step, each_symbol, is_nullable, repeats, size, split_missing, variables};

/// Marks names that no author can write.
pub(crate) const MARK: char = '\u{1}';
/// The row whose values an aggregate is computed over.
pub(crate) const EACH_ROW: &str = "\u{1}each";
/// The relation whose columns are aggregates, by number.
pub(crate) const AGGREGATES: &str = "\u{1}aggregates";
/// The relation of what is known of a match as a whole.
pub(crate) const MATCH: &str = "\u{1}match";
/// The variable that the last row matches.
pub(crate) const CLASSIFIER: &str = "classifier";
/// The time of the match.
pub(crate) const MATCH_TIME: &str = "time";

/// A row that an expression speaks of. Variables are numbers; `None` is any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Base {
    /// The row at hand; in `MEASURES` the last of the match.
    Current,
    /// The n-th row of a variable, from the first.
    First(Option<usize>, usize),
    /// The n-th row of a variable, from the last.
    Last(Option<usize>, usize),
}

/// A row, and how many rows of the partition behind (or, negative, before) it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Designator {
    pub(crate) base: Base,
    pub(crate) offset: i64,
}

impl Designator {
    /// The name of the relation whose columns are those of this row.
    pub(crate) fn name(self) -> String {
        let of = |variable: Option<usize>| variable.map_or_else(|| "*".to_owned(), |variable| variable.to_string());
        let base = match self.base {
            Base::Current => "current * 0".to_owned(),
            Base::First(variable, nth) => format!("first {} {nth}", of(variable)),
            Base::Last(variable, nth) => format!("last {} {nth}", of(variable)),
        };
        format!("{MARK}{base} {}", self.offset)
    }

    fn parse(name: &str) -> Option<Self> {
        let parts: Vec<&str> = name.strip_prefix(MARK)?.split(' ').collect();
        let [kind, variable, nth, offset] = parts[..] else { return None };
        let variable = if variable == "*" { None } else { Some(variable.parse().ok()?) };
        let nth = nth.parse().ok()?;
        let base = match kind {
            "current" => Base::Current,
            "first" => Base::First(variable, nth),
            "last" => Base::Last(variable, nth),
            _ => return None,
        };
        Some(Self { base, offset: offset.parse().ok()? })
    }
}

/// Where matching goes on behind a match. A row that is not there, or is the first of the match, means the row behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Skip {
    PastLastRow,
    ToNextRow,
    ToFirst(usize),
    ToLast(usize),
}

/// What a `MATCH_RECOGNIZE` says, in exact names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Said {
    pub(crate) keys: Vec<Expr>,
    pub(crate) time: Expr,
    pub(crate) within_us: i64,
    pub(crate) variables: Vec<String>,
    /// One condition per variable; `None` is TRUE.
    pub(crate) conditions: Vec<Option<Expr>>,
    pub(crate) measures: Vec<(String, Expr)>,
    /// Aggregates over the rows of one variable or of all.
    pub(crate) aggregates: Vec<(Option<usize>, Expr)>,
    pub(crate) pattern: Pattern,
    pub(crate) skip: Skip,
}

/// The node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Sequence {
    pub(crate) input: LogicalPlan,
    pub(crate) said: Said,
    /// The columns by which a hunt puts the rows in order: key, time and uid. On a stream there are none.
    order: Vec<Expr>,
    /// The made-up schema of conditions and measures.
    rows: DFSchemaRef,
    schema: DFSchemaRef,
}

impl PartialOrd for Sequence {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

impl Sequence {
    fn try_new(input: LogicalPlan, said: Said, rows: DFSchema) -> Result<Self> {
        let mut fields = vec![];
        for key in &said.keys {
            // A condition on a key means the same below the node, where it has this name.
            let Expr::Column(column) = key else { return plan_err!("PARTITION BY takes columns, not `{key}`") };
            let (_, field) = key.to_field(input.schema())?;
            let field = field.as_ref().clone().with_name(&column.name).with_nullable(true);
            fields.push((column.relation.clone(), Arc::new(field)));
        }
        for (name, measure) in &said.measures {
            fields.push((None, Arc::new(Field::new(name, measure.get_type(&rows)?, true))));
        }
        let schema = Arc::new(DFSchema::new_with_metadata(fields, HashMap::new())?);
        Ok(Self { input, said, order: vec![], rows: Arc::new(rows), schema })
    }

    /// Conditions, measures and aggregates, which no rule of the optimiser sees.
    pub(crate) fn hidden(&self) -> impl Iterator<Item = &Expr> {
        let said = &self.said;
        let measures = said.measures.iter().map(|(_, expr)| expr);
        said.conditions.iter().flatten().chain(measures).chain(said.aggregates.iter().map(|(_, expr)| expr))
    }

    fn visible(&self) -> impl Iterator<Item = &Expr> {
        self.said.keys.iter().chain([&self.said.time]).chain(&self.order)
    }

    /// The names of the input's columns that are read.
    fn reads(&self) -> BTreeSet<String> {
        let read = self.hidden().chain(self.visible()).flat_map(|expr| expr.column_refs());
        read.map(|column| column.name.clone()).collect()
    }

    /// What is matched, for people.
    fn text(&self) -> String {
        let said = &self.said;
        let (keys, pattern) = (super::lower::names(&said.keys), said.pattern.show(&said.variables));
        format!("partition by {keys}, {pattern} within {}", span_in_words(said.within_us))
    }

    /// Everything that changes what the node does.
    pub(crate) fn fingerprint(&self) -> String {
        let said = &self.said;
        let text = format!(
            "sequence by {} order by {} within {} pattern {:?} variables {:?} define {:?} measures {:?} aggregates {:?} skip {:?}",
            super::lower::names(&said.keys),
            said.time,
            said.within_us,
            said.pattern,
            said.variables,
            said.conditions.iter().map(|expr| expr.as_ref().map(ToString::to_string)).collect::<Vec<_>>(),
            said.measures.iter().map(|(name, expr)| format!("{name} = {expr}")).collect::<Vec<_>>(),
            said.aggregates.iter().map(|(of, expr)| format!("{of:?} {expr}")).collect::<Vec<_>>(),
            said.skip,
        );
        text.replace("\\u{1}", "").replace(MARK, "")
    }
}

impl UserDefinedLogicalNodeCore for Sequence {
    fn name(&self) -> &'static str {
        "MatchRecognize"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        self.visible().cloned().collect()
    }

    /// A condition on the keys keeps or drops whole partitions. Any other would change which rows follow each other.
    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        self.said.measures.iter().map(|(name, _)| name.clone()).chain([batch::UID.to_owned()]).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MatchRecognize: {}", self.text())
    }

    fn with_exprs_and_inputs(&self, mut exprs: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        let order = exprs.split_off((self.said.keys.len() + 1).min(exprs.len()));
        match (exprs.pop(), inputs.pop()) {
            (Some(time), Some(input)) => {
                Ok(Self { input, order, said: Said { keys: exprs, time, ..self.said.clone() }, ..self.clone() })
            }
            _ => plan_err!("a sequence has one input and one time column"),
        }
    }

    fn necessary_children_exprs(&self, _output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let reads = self.reads();
        let fields = self.input.schema().fields().iter().enumerate();
        Some(vec![fields.filter(|(_, field)| reads.contains(field.name())).map(|(index, _)| index).collect()])
    }
}

/// Plans `relation MATCH_RECOGNIZE (...)`.
#[derive(Debug)]
pub(crate) struct SequencePlanner;

impl RelationPlanner for SequencePlanner {
    fn plan_relation(
        &self,
        mut relation: ast::TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        let Some(written) = Written::of(&mut relation) else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let planned = plan_sequence(written, context)?;
        Ok(RelationPlanning::Planned(Box::new(planned)))
    }
}

/// The node that a `MATCH_RECOGNIZE` in exact names stands for.
fn plan_sequence(written: Written<'_>, context: &mut dyn RelationPlannerContext) -> Result<PlannedRelation> {
    let Written { table, partition_by, order_by, measures, skip, pattern, symbols, alias } = written;
    let input = context.plan(table.clone())?;
    let input_schema = Arc::clone(input.schema());
    let keys = partition_by.drain(..).map(|key| context.sql_to_expr(key, &input_schema)).collect::<Result<Vec<_>>>()?;
    let Some(order) = order_by.drain(..).next() else { return plan_err!("MATCH_RECOGNIZE needs ORDER BY") };
    let time = context.sql_to_expr(order.expr, &input_schema)?;
    let variables = variables(pattern);
    let index = |name: &ast::Ident| variables.iter().position(|variable| *variable == name.value);
    let skip = match skip {
        None | Some(ast::AfterMatchSkip::PastLastRow) => Some(Skip::PastLastRow),
        Some(ast::AfterMatchSkip::ToNextRow) => Some(Skip::ToNextRow),
        Some(ast::AfterMatchSkip::ToFirst(name)) => index(name).map(Skip::ToFirst),
        Some(ast::AfterMatchSkip::ToLast(name)) => index(name).map(Skip::ToLast),
    };
    let Some(skip) = skip else { return plan_err!("AFTER MATCH SKIP names a variable that is not in the pattern") };
    let mut schema = made_up(&input_schema, measures, symbols);
    let mut within_us = None;
    let mut aggregates = vec![];
    let mut conditions = vec![None; variables.len()];
    for ast::SymbolDefinition { symbol, definition } in symbols.drain(..) {
        let span = definition.span();
        if symbol.value == WITHIN {
            let span_us = interval_us(&context.sql_to_expr(definition, &input_schema)?)?;
            if span_us <= 0 {
                return Err(at("WITHIN needs a span of time that is longer than nothing".to_owned(), span));
            }
            within_us = Some(span_us);
        } else if let Some(of) = symbol.value.strip_prefix(AGGREGATES) {
            let expr = planned(context, definition, &each_row(&input_schema)?)?;
            let field = Field::new(aggregates.len().to_string(), expr.get_type(&each_row(&input_schema)?)?, true);
            schema.push((Some(TableReference::bare(AGGREGATES)), Arc::new(field)));
            aggregates.push((of.trim().parse().ok(), expr));
        } else if let Some(index) = index(&symbol) {
            let of = DFSchema::new_with_metadata(schema.clone(), HashMap::new())?;
            let condition = planned(context, definition, &of)?;
            let data_type = condition.get_type(&of)?;
            if data_type != DataType::Boolean {
                let message =
                    format!("`DEFINE` takes a condition, and that of `{}` is {}", symbol.value, type_name(&data_type));
                return Err(at(message, span));
            }
            conditions[index] = Some(condition);
        }
    }
    let Some(within_us) = within_us else { return plan_err!("MATCH_RECOGNIZE needs WITHIN") };
    let schema = DFSchema::new_with_metadata(schema, HashMap::new())?;
    let measures = measures
        .drain(..)
        .map(|measure| Ok((measure.alias.value, planned(context, measure.expr, &schema)?)))
        .collect::<Result<Vec<_>>>()?;
    let pattern = compile(pattern, &variables);
    let said = Said { keys, time, within_us, variables, conditions, measures, aggregates, pattern, skip };
    let plan = LogicalPlan::Extension(Extension { node: Arc::new(Sequence::try_new(input, said, schema)?) });
    Ok(PlannedRelation::new(plan, alias.take()))
}

/// A mistake at its place.
fn at(message: String, span: SqlSpan) -> DataFusionError {
    let diagnostic = Diagnostic::new_error(message.clone(), Span::try_from_sqlparser_span(span));
    DataFusionError::Plan(message).with_diagnostic(diagnostic)
}

/// The columns of every row that measures and definitions speak of, and of the row that aggregates are computed over.
pub(crate) fn spoken_of(
    input: &DFSchema,
    measures: &[ast::Measure],
    symbols: &[ast::SymbolDefinition],
) -> Result<DFSchema> {
    let mut fields = made_up(input, measures, symbols);
    fields.extend(columns_of(input, EACH_ROW));
    DFSchema::new_with_metadata(fields, HashMap::new())
}

type MadeUp = Vec<(Option<TableReference>, Arc<Field>)>;

/// The columns of every designated row that is spoken of, and of the match.
fn made_up(input: &DFSchema, measures: &[ast::Measure], symbols: &[ast::SymbolDefinition]) -> MadeUp {
    let mut names = BTreeSet::new();
    let mut note = |expr: &ast::Expr| {
        let _infallible = ast::visit_expressions(expr, |part| {
            if let ast::Expr::CompoundIdentifier(parts) = part
                && Designator::parse(&parts[0].value).is_some()
            {
                names.insert(parts[0].value.clone());
            }
            std::ops::ControlFlow::<()>::Continue(())
        });
    };
    measures.iter().for_each(|measure| note(&measure.expr));
    symbols.iter().for_each(|symbol| note(&symbol.definition));
    let of_match = Some(TableReference::bare(MATCH));
    let mut fields: MadeUp = vec![
        (of_match.clone(), Arc::new(Field::new(CLASSIFIER, DataType::Utf8View, true))),
        (of_match, Arc::new(Field::new(MATCH_TIME, TIME_TYPE, true))),
    ];
    for name in names {
        fields.extend(columns_of(input, &name));
    }
    fields
}

fn columns_of(input: &DFSchema, relation: &str) -> MadeUp {
    let nullable = |field: &Arc<Field>| Arc::new(field.as_ref().clone().with_nullable(true));
    input.fields().iter().map(|field| (Some(TableReference::bare(relation)), nullable(field))).collect()
}

fn each_row(input: &DFSchema) -> Result<DFSchema> {
    DFSchema::new_with_metadata(columns_of(input, EACH_ROW), HashMap::new())
}

/// An expression over a made-up schema, with its types brought together, and total.
fn planned(context: &mut dyn RelationPlannerContext, expr: ast::Expr, schema: &DFSchema) -> Result<Expr> {
    let span = expr.span();
    planned_by_itself(context, expr, schema).map_err(|error| match error {
        DataFusionError::Diagnostic(..) => error,
        other => at(message_of(&other), span),
    })
}

fn planned_by_itself(context: &mut dyn RelationPlannerContext, expr: ast::Expr, schema: &DFSchema) -> Result<Expr> {
    let expr = context.sql_to_expr(expr, schema)?;
    let context = SimplifyContext::builder().with_schema(Arc::new(schema.clone())).build();
    let simplifier = ExprSimplifier::new(context);
    let expr = super::total::total_condition(simplifier.coerce(expr, schema)?, schema)?;
    // Some functions are computed only in the form that simplifying gives them. What an aggregate is stays as it is.
    let simple = |expr: Expr| super::total::total_condition(simplifier.simplify(expr)?, schema);
    match expr {
        Expr::AggregateFunction(AggregateFunction { func, params }) => {
            let args = params.args.into_iter().map(simple).collect::<Result<_>>()?;
            Ok(Expr::AggregateFunction(AggregateFunction { func, params: AggregateFunctionParams { args, ..params } }))
        }
        expr => simple(expr),
    }
}

/// The row that a column belongs to.
fn designator(column: &Column) -> Option<Designator> {
    Designator::parse(column.relation.as_ref()?.table())
}
