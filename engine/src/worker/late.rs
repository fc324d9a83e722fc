//! Late rows as rows of the stream `late_events`: they enter where the clocks are, in the order in which those speak.

use std::sync::Arc;

use super::{SourceState, Worker, WorkerOutput};
use crate::batch::PartitionId;
use crate::clock::Judged;
use crate::error::EngineError;
use crate::graph::{NodeId, Spec};
use crate::late_events::{LATE_EVENTS, Report, rows};
use crate::output::{LateEvent, LateReason};
use crate::rows::{Rows, uid_at};
use crate::time::EventTime;

impl Worker {
    /// Tells what a clock found late: outside, and to those who read `late_events`.
    pub(super) fn report_late(
        &mut self,
        stream: &str,
        partition: PartitionId,
        judged: &Judged,
        output: &mut WorkerOutput,
    ) -> Result<(), EngineError> {
        let Some(source) = self.sources.get(stream) else { return Ok(()) };
        let name: Arc<str> = source.stream.name.as_str().into();
        let barriers = self.nodes[source.node].barriers;
        let into = self.sources.get(LATE_EVENTS).filter(|_| stream != LATE_EVENTS).map(|source| source.node);
        // Behind a silence the readers may be further than the clock of the partition that comes back.
        let reached = into.map_or(EventTime::MIN, |node| self.nodes[node].watermark);
        let mut reports = vec![];
        for late in &judged.late {
            let part = &judged.parts[late.part];
            let time = EventTime(part.time.value(late.row));
            let event = LateEvent {
                stream: Arc::clone(&name),
                partition: Some(partition),
                uid: part.uid(late.row),
                time,
                against: late.at.map_or(time, EventTime),
                reason: late.reason,
            };
            output.late.push((barriers, event.clone()));
            // What was known to be late is told by whoever knew it.
            reports.extend(late.at.map(|at| Report::of(event, at.max(reached.0), part, late.row)));
        }
        let Some(node) = into.filter(|_| !reports.is_empty()) else { return Ok(()) };
        let rows = rows(&reports, &self.program.graph.nodes[node].schema)?;
        self.set_idle(node, false, output)?;
        self.hand_on(node, &[rows], None, false, output)?;
        self.run(output)
    }

    /// Hands on how far `late_events` is, where it is made of the clocks of the other streams.
    pub(super) fn advance_late_events(&mut self, output: &mut WorkerOutput) -> Result<(), EngineError> {
        let Some(own) = self.sources.get(LATE_EVENTS).filter(|source| source.partitions.is_empty()) else {
            return Ok(());
        };
        let node = own.node;
        let others = self.sources.iter().filter(|(name, _)| *name != LATE_EVENTS).map(|(_, source)| source);
        let open: Vec<&SourceState> =
            others.filter(|source| self.nodes[source.node].watermark != EventTime::MAX).collect();
        let active = open.iter().filter(|source| !source.is_idle()).map(|source| source.reached()).min();
        let silent = || open.iter().map(|source| source.reached()).max();
        let watermark = active.or_else(silent).unwrap_or(EventTime::MAX);
        let is_idle = !open.is_empty() && active.is_none();
        self.emit_watermark(LATE_EVENTS, watermark, output)?;
        self.set_idle(node, is_idle, output)
    }

    /// Tells outside which rows came behind the watermark of an operator.
    pub(super) fn note_idle(&mut self, (node, input): (NodeId, usize), rows: &Rows, output: &mut WorkerOutput) {
        let stream = self.stream_behind(node, input);
        let uids = rows.uids();
        let (barriers, watermark) = (self.nodes[node].barriers, self.nodes[node].watermark);
        output.late.extend((0..rows.len()).map(|row| {
            let event = LateEvent {
                stream: Arc::clone(&stream),
                partition: None,
                uid: uid_at(&uids, row),
                time: EventTime(rows.time.value(row)),
                against: watermark,
                reason: LateReason::Idle,
            };
            (barriers, event)
        }));
    }

    /// The first stream that feeds an input of a node.
    fn stream_behind(&self, node: NodeId, input: usize) -> Arc<str> {
        let (mut at, mut input) = (node, input);
        loop {
            let spec = &self.program.graph.nodes[at];
            match (&spec.spec, spec.inputs.get(input)) {
                (Spec::Source(stream), _) => return stream.name.as_str().into(),
                (_, Some(edge)) => (at, input) = (edge.from, 0),
                (_, None) => return Arc::from("alerts"),
            }
        }
    }
}
