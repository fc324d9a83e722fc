//! `MATCH_RECOGNIZE` over rows that are all there, as in a hunt. The plan gets columns by which the rows are put in order;
//! whoever runs it sorts by them, keeps the rows of a key together, and matches them as a stream does.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{Field, SchemaRef};
use datafusion::common::{Column, DFSchema, Result, ScalarValue, plan_err};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{
    Expr, ExprSchemable, Extension, LogicalPlan, LogicalPlanBuilder, UserDefinedLogicalNode, cast, lit,
};

use super::{Sequence, lower};
use crate::catalog::TIME_TYPE;
use crate::graph::SequenceSpec;
use crate::operator::SequenceRun;
use crate::sql::identified::{self, Cause};
use crate::sql::lower::relaxed;

/// The columns by which the rows are in order. The uid is that of the matches too, where something above asks for it.
const KEY: &str = "\u{1}key";
const TIME: &str = "\u{1}time";
pub(crate) const UID: &str = identified::UID;

impl Sequence {
    /// The same sequence, with the columns that put its rows in order.
    pub(in crate::sql) fn to_batch(&self) -> Result<LogicalPlan> {
        Ok(LogicalPlan::Extension(Extension { node: Arc::new(self.ordered()?) }))
    }

    /// The same, with the uids of its matches as its last column.
    pub(in crate::sql) fn identified(&self) -> Result<LogicalPlan> {
        let mut node = self.ordered()?;
        let uid = Arc::new(Field::new(UID, identified::UID_TYPE, true));
        let fields = node.schema.iter().map(|(relation, field)| (relation.cloned(), Arc::clone(field)));
        let fields = fields.chain([(None, uid)]).collect();
        node.schema = Arc::new(DFSchema::new_with_metadata(fields, HashMap::new())?);
        Ok(LogicalPlan::Extension(Extension { node: Arc::new(node) }))
    }

    fn ordered(&self) -> Result<Self> {
        if !self.order.is_empty() {
            return Ok(self.clone());
        }
        let time = self.said.time.get_type(self.input.schema())?;
        if !time.is_temporal() {
            return plan_err!("`{}` is no time by which a sequence could be in order", self.said.time);
        }
        let (input, uid) = identified::with_uid(&self.input)?;
        let columns = input.schema().columns().into_iter().map(Expr::Column);
        let key = match &self.said.keys[..] {
            [] => lit(ScalarValue::Binary(Some(vec![]))),
            keys => Cause::Key.of(keys.to_vec()),
        };
        let time = if time == TIME_TYPE { self.said.time.clone() } else { cast(self.said.time.clone(), TIME_TYPE) };
        let placed = columns.chain([key.alias(KEY), time.alias(TIME)]);
        let input = LogicalPlanBuilder::from(input).project(placed)?.build()?;
        let column = |name: &str| Expr::Column(Column::new_unqualified(name));
        Ok(Self { input, order: vec![column(KEY), column(TIME), uid], ..self.clone() })
    }
}

/// A `MATCH_RECOGNIZE` in the plan of a hunt.
#[derive(Debug, Clone)]
pub struct BatchSequence {
    spec: SequenceSpec,
    input: SchemaRef,
    matches: SchemaRef,
    output: SchemaRef,
    /// The places of key, time and uid among the columns of the input.
    order: [usize; 3],
    text: String,
}

impl BatchSequence {
    /// The sequence that a node of a plan stands for; `None` if it is another kind of node.
    ///
    /// # Errors
    /// A condition or a measure has no physical form.
    pub fn of(node: &dyn UserDefinedLogicalNode) -> Result<Option<Self>> {
        let Some(node) = node.as_any().downcast_ref::<Sequence>() else { return Ok(None) };
        let spec = lower::spec(node).map_err(|refusal| DataFusionError::Plan(refusal.message))?;
        let places =
            node.order.iter().filter_map(|column| crate::sql::lower::column_index(column, node.input.schema()));
        let Ok(order) = <[usize; 3]>::try_from(places.collect::<Vec<_>>()) else {
            return plan_err!("the rows of this MATCH_RECOGNIZE have no order");
        };
        let output = relaxed(&node.schema);
        let matches = Arc::new(output.project(&(0..spec.keys.len() + spec.measures.len()).collect::<Vec<_>>())?);
        let text = node.text();
        Ok(Some(Self { spec, input: relaxed(node.input.schema()), matches, output, order, text }))
    }

    /// The columns of what comes out.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.output)
    }

    /// The column of the input whose equal values must come together; `None` if all rows must.
    #[must_use]
    pub fn key(&self) -> Option<usize> {
        (!self.spec.keys.is_empty()).then_some(self.order[0])
    }

    /// The columns of the input by which its rows must be in ascending order.
    #[must_use]
    pub fn order(&self) -> [usize; 3] {
        self.order
    }

    /// What is matched, for people.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Begins to match rows in order.
    #[must_use]
    pub fn begin(&self) -> SequenceRun {
        let [_, time, uid] = self.order;
        let (input, matches) = (Arc::clone(&self.input), Arc::clone(&self.matches));
        SequenceRun::new(self.spec.clone(), input, matches, Arc::clone(&self.output), [time, uid])
    }
}
