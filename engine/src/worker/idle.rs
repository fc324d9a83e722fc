//! Silence: a partition, a stream or a sender from which nothing has come for long holds nobody back. What comes from
//! it later, behind the watermark that the others reached, is late.

use super::{Channel, Item, NodeState, Worker, WorkerOutput};
use crate::error::EngineError;
use crate::frame::FrameBody;
use crate::graph::NodeId;
use crate::time::EventTime;

impl Worker {
    /// Tells the readers of a stream whether all its partitions here have fallen silent, if that has changed.
    pub(super) fn rest(&mut self, stream: &str, output: &mut WorkerOutput) -> Result<(), EngineError> {
        let Some(source) = self.sources.get(&stream.to_lowercase()) else { return Ok(()) };
        let (node, is_idle) = (source.node, source.is_idle());
        self.set_idle(node, is_idle, output)
    }

    /// Tells the readers of a node whether it has fallen silent, if that has changed.
    pub(super) fn set_idle(
        &mut self,
        node: NodeId,
        is_idle: bool,
        output: &mut WorkerOutput,
    ) -> Result<(), EngineError> {
        if std::mem::replace(&mut self.nodes[node].is_idle, is_idle) != is_idle {
            self.tell_idle(node, is_idle, output);
        }
        self.run(output)
    }

    /// Gives an operator the watermark that its channels have together, and tells its readers whether they are at rest,
    /// where that has changed.
    pub(super) fn pass_watermark(
        &mut self,
        (node, input): (NodeId, usize),
        output: &mut WorkerOutput,
    ) -> Result<(), EngineError> {
        let state = &mut self.nodes[node];
        let merged = state.merged_watermark();
        let is_idle = state.is_at_rest();
        let has_turned = std::mem::replace(&mut state.is_idle, is_idle) != is_idle;
        if merged > state.watermark {
            state.watermark = merged;
            let out = self.work(node, |operator, out| operator.watermark(merged, out), output)?;
            let forwarded = self.nodes[node].operator.forwards(merged);
            self.leave((node, input), out, Some(forwarded), output)?;
        }
        if has_turned {
            if is_idle {
                let out = self.work(node, |operator, out| operator.silence(out), output)?;
                self.leave((node, input), out, None, output)?;
            }
            self.tell_idle(node, is_idle, output);
        }
        Ok(())
    }

    /// Tells everyone who reads a node whether it has fallen silent.
    fn tell_idle(&mut self, node: NodeId, is_idle: bool, output: &mut WorkerOutput) {
        for at in 0..self.consumers[node].len() {
            let (to, input) = self.consumers[node][at];
            let is_exchange = self.program.graph.nodes[to].inputs[input].exchange.is_some();
            let own = if is_exchange { self.index as usize } else { 0 };
            self.arrive(to, input, own, Item::Idle(is_idle));
            if is_exchange {
                self.broadcast(to, input, &FrameBody::Idle(is_idle), output);
            }
        }
    }
}

impl NodeState {
    fn channels(&self) -> impl Iterator<Item = &Channel> {
        self.inputs.iter().flat_map(|input| &input.channels)
    }

    /// The least watermark of those who neither rest nor have ended. Where there are none, those at rest hold nobody back
    /// from the greatest of theirs.
    fn merged_watermark(&self) -> EventTime {
        let open = || self.channels().filter(|channel| channel.watermark != EventTime::MAX);
        let active = open().filter(|channel| !channel.is_idle).map(|channel| channel.watermark).min();
        let at_rest = || open().map(|channel| channel.watermark).max();
        active.or_else(at_rest).unwrap_or(EventTime::MAX)
    }

    /// Whether all that this node reads has fallen silent or ended, and not all has ended.
    fn is_at_rest(&self) -> bool {
        let mut open = self.channels().filter(|channel| channel.watermark != EventTime::MAX).peekable();
        open.peek().is_some() && open.all(|channel| channel.is_idle)
    }
}
