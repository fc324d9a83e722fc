//! `MATCH_RECOGNIZE` in a hunt: the rows of each key are sorted, on disk if need be, and the engine matches them as it does
//! on a stream. Of each key only the rows that are `WITHIN` of each other are in memory at once.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::SortOptions;
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::context::QueryPlanner;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{LogicalPlan, UserDefinedLogicalNode};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{
    Distribution, EquivalenceProperties, LexRequirement, OrderingRequirements, Partitioning, PhysicalExpr,
    PhysicalSortRequirement,
};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties,
    InputDistributionRequirements, PlanProperties, ReplaceChildrenOptions,
};
use datafusion::physical_planner::{DefaultPhysicalPlanner, ExtensionPlanner, PhysicalPlanner};
use futures::{StreamExt, TryStreamExt, stream};
use weir_engine::{BatchSequence, EngineError, SequenceRun};

/// DataFusion's planner, which knows sequences too.
#[derive(Debug)]
pub(super) struct HuntPlanner;

#[async_trait]
impl QueryPlanner for HuntPlanner {
    async fn create_physical_plan(&self, plan: &LogicalPlan, session: &dyn Session) -> Result<Arc<dyn ExecutionPlan>> {
        let planner = DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(SequencePlanner)]);
        planner.create_physical_plan(plan, session).await
    }
}

struct SequencePlanner;

#[async_trait]
impl ExtensionPlanner for SequencePlanner {
    async fn plan_extension(
        &self,
        _planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _logical_inputs: &[&LogicalPlan],
        physical_inputs: &[Arc<dyn ExecutionPlan>],
        _session: &dyn Session,
        _context: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let ([input], Some(sequence)) = (physical_inputs, BatchSequence::of(node)?) else { return Ok(None) };
        Ok(Some(Arc::new(SequenceExec::new(sequence, Arc::clone(input)))))
    }
}

/// A sequence over its input, each partition of which has all rows of its keys, in order.
#[derive(Debug)]
struct SequenceExec {
    sequence: BatchSequence,
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
}

impl SequenceExec {
    fn new(sequence: BatchSequence, input: Arc<dyn ExecutionPlan>) -> Self {
        let partitions = input.output_partitioning().partition_count();
        let properties = PlanProperties::new(
            EquivalenceProperties::new(sequence.schema()),
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self { sequence, input, properties: Arc::new(properties) }
    }

    fn column(&self, place: usize) -> Arc<dyn PhysicalExpr> {
        Arc::new(Column::new(self.input.schema().field(place).name(), place))
    }
}

impl DisplayAs for SequenceExec {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SequenceExec: {}", self.sequence.text())
    }
}

impl ExecutionPlan for SequenceExec {
    fn name(&self) -> &'static str {
        "SequenceExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        InputDistributionRequirements::new(vec![match self.sequence.key() {
            Some(key) => Distribution::KeyPartitioned(vec![self.column(key)]),
            None => Distribution::SinglePartition,
        }])
    }

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        let ascending = SortOptions { descending: false, nulls_first: true };
        let by = self.sequence.order().map(|place| PhysicalSortRequirement::new(self.column(place), Some(ascending)));
        vec![LexRequirement::new(by).map(OrderingRequirements::new)]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(Self::new(self.sequence.clone(), children.swap_remove(0))))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let memory = MemoryConsumer::new("MATCH_RECOGNIZE").register(context.memory_pool());
        let matching =
            Matching { run: self.sequence.begin(), memory, input: Some(self.input.execute(partition, context)?) };
        let matches = stream::try_unfold(matching, Matching::next).boxed();
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.sequence.schema(), matches)))
    }
}

/// One partition at work.
struct Matching {
    run: SequenceRun,
    memory: MemoryReservation,
    /// `None` once it has ended.
    input: Option<SendableRecordBatchStream>,
}

impl Matching {
    async fn next(mut self) -> Result<Option<(RecordBatch, Self)>> {
        while let Some(input) = &mut self.input {
            let matches = match input.try_next().await? {
                Some(rows) => self.run.push(&rows).map_err(failed)?,
                None => {
                    self.input = None;
                    self.run.finish().map_err(failed)?
                }
            };
            self.memory.try_resize(self.run.kept_bytes())?;
            if let Some(matches) = matches {
                return Ok(Some((matches, self)));
            }
        }
        Ok(None)
    }
}

fn failed(error: EngineError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
