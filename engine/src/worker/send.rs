//! What leaves a node: to the nodes of this worker that read it, and as frames to other workers.

use arrow::array::{ArrayRef, UInt64Array};

use super::{Arrival, Item, Worker, WorkerOutput};
use crate::canonical::{encode_rows, key_group, owner};
use crate::error::EngineError;
use crate::frame::{Frame, FrameBody};
use crate::graph::{ExchangeKey, NodeId};
use crate::program::Program;
use crate::rows::{Rows, uid_at};
use crate::sql::total::evaluate;
use crate::time::EventTime;

impl Worker {
    /// Sends rows, then a watermark, then a barrier to everyone who reads a node.
    pub(super) fn hand_on(
        &mut self,
        node: NodeId,
        rows: &[Rows],
        watermark: Option<EventTime>,
        is_barrier: bool,
        output: &mut WorkerOutput,
    ) -> Result<(), EngineError> {
        for at in 0..self.consumers[node].len() {
            let (to, input) = self.consumers[node][at];
            let exchange = self.program.graph.nodes[to].inputs[input].exchange.clone();
            // What would go to one in quarantine is not needed on any worker.
            let wanted = if self.nodes[to].is_quarantined { &[] } else { rows };
            for rows in wanted {
                match &exchange {
                    Some(key) if self.workers > 1 => {
                        let sent = self.exchange(to, input, key, rows, output);
                        if let Err(error) = sent {
                            self.blame((to, error), output)?;
                        }
                    }
                    Some(_) => self.arrive(to, input, self.index as usize, Item::Rows(Box::new(rows.clone()))),
                    None => self.arrive(to, input, 0, Item::Rows(Box::new(rows.clone()))),
                }
            }
            if let Some(watermark) = watermark {
                self.control(to, input, exchange.is_some(), watermark, output);
            }
            if is_barrier {
                self.control_barrier(to, input, exchange.is_some(), output);
            }
        }
        Ok(())
    }

    pub(super) fn arrive(&mut self, node: NodeId, input: usize, sender: usize, item: Item) {
        self.queue.push_back(Arrival { node, input, sender, item });
    }

    fn control(
        &mut self,
        to: NodeId,
        input: usize,
        is_exchange: bool,
        watermark: EventTime,
        output: &mut WorkerOutput,
    ) {
        let own = if is_exchange { self.index as usize } else { 0 };
        self.arrive(to, input, own, Item::Watermark(watermark));
        if is_exchange {
            self.broadcast(to, input, &FrameBody::Watermark(watermark), output);
        }
    }

    fn control_barrier(&mut self, to: NodeId, input: usize, is_exchange: bool, output: &mut WorkerOutput) {
        let own = if is_exchange { self.index as usize } else { 0 };
        self.arrive(to, input, own, Item::Barrier);
        if is_exchange {
            self.broadcast(to, input, &FrameBody::Barrier, output);
        }
    }

    pub(super) fn broadcast(&mut self, to: NodeId, input: usize, body: &FrameBody, output: &mut WorkerOutput) {
        let own = self.index;
        for receiver in (0..self.workers).filter(|receiver| *receiver != own) {
            let frame = self.frame(receiver, to, input, body.clone());
            output.frames.push((receiver, frame));
        }
    }

    fn frame(&mut self, receiver: u32, to: NodeId, input: usize, body: FrameBody) -> Frame {
        let edge = edge_id(&self.program, to, input);
        let seq = self.next_seq.entry((edge, receiver)).or_default();
        let frame = Frame { worker: self.index, edge, epoch: self.epoch, seq: *seq, body };
        *seq += 1;
        frame
    }

    /// Sends each row to the worker that owns its key group.
    fn exchange(
        &mut self,
        to: NodeId,
        input: usize,
        key: &ExchangeKey,
        rows: &Rows,
        output: &mut WorkerOutput,
    ) -> Result<(), EngineError> {
        let groups: Vec<u32> = match key {
            ExchangeKey::Identity => {
                let uids = rows.uids();
                (0..rows.len()).map(|row| key_group(&uid_at(&uids, row).0)).collect()
            }
            ExchangeKey::Columns(keys) => {
                let keys = keys
                    .iter()
                    .map(|key| evaluate(key.as_ref(), &rows.columns, &mut output.failures))
                    .collect::<Result<Vec<ArrayRef>, _>>()?;
                encode_rows(&keys, rows.len())?.iter().map(|key| key_group(key)).collect()
            }
        };
        let rows = rows.clone().identified();
        for receiver in 0..self.workers {
            let indices: UInt64Array = groups
                .iter()
                .enumerate()
                .filter(|(_, group)| owner(**group, self.workers) == receiver)
                .map(|(row, _)| row as u64)
                .collect();
            if indices.is_empty() {
                continue;
            }
            let share = rows.take(&indices)?;
            if receiver == self.index {
                self.arrive(to, input, receiver as usize, Item::Rows(Box::new(share)));
            } else {
                let frame = self.frame(receiver, to, input, FrameBody::Data(share.to_batch()?));
                output.frames.push((receiver, frame));
            }
        }
        Ok(())
    }
}

/// Edges are numbered over all inputs of all nodes.
fn edge_id(program: &Program, node: NodeId, input: usize) -> u32 {
    let before: usize = program.graph.nodes[..node].iter().map(|node| node.inputs.len()).sum();
    (before + input) as u32
}

pub(super) fn edge_target(program: &Program, edge: u32) -> Option<(NodeId, usize)> {
    let mut left = edge as usize;
    for (node, spec) in program.graph.nodes.iter().enumerate() {
        if left < spec.inputs.len() {
            return Some((node, left));
        }
        left -= spec.inputs.len();
    }
    None
}
