//! Operators: what happens to rows at a node of the graph. One file each.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::error::DataFusionError;

use crate::error::EngineError;
use crate::graph::{Node, Spec};
use crate::output::Hit;
use crate::rows::Rows;
use crate::snapshot::{Saved, Scope};
use crate::sql::window_kind::Windows;
use crate::table::TableVersion;
use crate::time::EventTime;

mod admit;
mod aggregates;
mod bytes;
mod cooldown;
mod emit;
mod join;
mod lookup;
mod ordered;
mod over;
mod publish;
mod retime;
mod sequence;
mod sink;
mod stateless;
mod window;

pub(crate) use emit::hit_schema;
pub use sequence::SequenceRun;
pub(crate) use sink::PROVISIONAL;

/// What operators hand on.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    /// Rows for the nodes that read this one.
    pub(crate) rows: Vec<Rows>,
    /// Rows that this operator did not see because they came behind its watermark.
    pub(crate) idle: Vec<Rows>,
    /// Hits that leave the graph.
    pub(crate) hits: Vec<Hit>,
    /// Values that could not be computed and are NULL.
    pub(crate) failures: u64,
}

/// One node at work. An operator sees the rows and watermarks of its inputs in order, and nothing else.
pub(crate) trait Operator: Send {
    /// Takes rows of one of the node's inputs.
    fn rows(&mut self, input: usize, rows: Rows, out: &mut Outbox) -> Result<(), EngineError>;

    /// Learns that no on-time row before `watermark` will follow on any input. The caller hands on [`Self::forwards`]
    /// afterwards.
    fn watermark(&mut self, watermark: EventTime, out: &mut Outbox) -> Result<(), EngineError>;

    /// What the readers of this node may conclude once it has seen `watermark`: no row before this instant will follow.
    fn forwards(&self, watermark: EventTime) -> EventTime {
        watermark
    }

    /// Learns that all that the node reads has fallen silent.
    fn silence(&mut self, _out: &mut Outbox) -> Result<(), EngineError> {
        Ok(())
    }

    /// Tells what still waits as it looks by now: at the end of an epoch, whose last rows these are, and before that where
    /// somebody wants to hear of it at once.
    fn tell_what_waits(&mut self, _out: &mut Outbox) -> Result<(), EngineError> {
        Ok(())
    }

    /// Swaps a look-up table for another version.
    fn table(&mut self, table: &TableVersion) -> Result<(), EngineError>;

    /// How many bytes it remembers rows and groups in, roughly. It is asked once per epoch, so it counts what came and
    /// went instead of walking through everything. Look-up tables are not state.
    fn state_bytes(&self) -> usize;

    /// What the operator remembers, or what has changed of it since it was saved last.
    fn save(&mut self, scope: Scope) -> Result<Saved, EngineError>;

    /// Takes up the part of a whole state whose key groups it owns. Called once per snapshot part, before any row.
    fn restore(&mut self, state: &[RecordBatch], owns: &dyn Fn(u32) -> bool) -> Result<(), EngineError>;

    /// Goes on behind a watermark that was seen before the state was saved.
    fn resume(&mut self, _watermark: EventTime) {}

    /// Learns, behind [`Self::restore`], that what it reads was edited and counts from nothing again.
    fn counts_anew(&mut self) {}
}

/// The operator of a node, without state. `inputs` are the schemas of the nodes it reads.
pub(crate) fn build(node: &Node, inputs: &[SchemaRef]) -> Result<Box<dyn Operator>, EngineError> {
    let schema = Arc::clone(&node.schema);
    Ok(match &node.spec {
        Spec::Source(_) | Spec::Union => Box::new(stateless::Rename::new(schema)),
        Spec::Select(columns) => Box::new(stateless::Select::new(columns.clone(), schema)),
        Spec::Filter(predicate) => Box::new(stateless::Filter::new(Arc::clone(predicate))),
        Spec::Project(exprs) => Box::new(stateless::Project::new(exprs.clone(), schema)),
        Spec::AssignWindow { kind, expands } => Box::new(stateless::AssignWindow::new(*kind, *expands, schema)),
        Spec::Lookup(spec) => Box::new(lookup::Lookup::new(spec.clone(), schema)?),
        Spec::Join(spec) => Box::new(join::Join::new(spec.clone(), inputs, schema)?),
        Spec::Retime(spec) => Box::new(retime::Retime::new(*spec)),
        Spec::Window(spec) => {
            let (of_one, input) = (spec.clone(), input_schema(inputs)?);
            match spec.windows {
                Windows::Fixed(kind) => Box::new(window::Window::new(kind, of_one, schema, input)?),
                Windows::Sessions { gap_us } => Box::new(window::Sessions::new(gap_us, of_one, schema, input)?),
            }
        }
        Spec::Over(spec) => Box::new(over::Over::new(spec.clone(), schema, input_schema(inputs)?)?),
        Spec::Sequence(spec) => Box::new(sequence::Sequence::new(spec.clone(), schema, input_schema(inputs)?)),
        Spec::Emit(spec) => Box::new(emit::Emit::new(spec.clone(), input_schema(inputs)?, schema)?),
        Spec::Cooldown(spec) => Box::new(cooldown::Cooldown::new(spec.clone(), schema)?),
        Spec::Sink(spec) => Box::new(sink::Sink::new(spec.clone())),
        Spec::Publish(spec) => Box::new(publish::Publish::new(spec.clone(), schema)),
    })
}

fn input_schema(inputs: &[SchemaRef]) -> Result<SchemaRef, EngineError> {
    let first = inputs.first().cloned();
    first.ok_or_else(|| DataFusionError::Internal("a stateful operator has an input".to_owned()).into())
}
