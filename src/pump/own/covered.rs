//! The ledger of coverage as a source: the rows of an epoch come back in the next one, for detections that read them.
//!
//! Rows are numbered, and a number is a position like an offset. What an epoch told is taken in before the barrier of the
//! next, so after a restart only the outputs of the last manifest can hold rows that were not.

use std::sync::Arc;
use std::sync::mpsc::Sender;

use anyhow::Context as _;
use weir_connectors::decode::{Decoder, Record};
use weir_connectors::kafka::{Budget, SourceEvent};
use weir_connectors::position::TopicPartition;
use weir_connectors::source::SourceOutput;
use weir_connectors::state::Manifest;
use weir_engine::{PartitionId, SourceBatch};

use crate::pump::shard::{Message, key_of};
use crate::pump::{Setup, epoch};

/// The stream, and what stands where streams from outside have their topic.
const COVERAGE: &str = "coverage";
/// A ledger has one order.
const PARTITION: PartitionId = PartitionId(0);

/// Hands rows of coverage to the shard that reads them.
pub(in crate::pump) struct Covered {
    name: Arc<str>,
    place: TopicPartition,
    decoder: Decoder,
    /// The number of the next row.
    next: i64,
    inbox: Sender<Message>,
    budget: Budget,
    /// Rows of the last process that no detection has seen.
    left: Vec<Vec<u8>>,
}

impl Covered {
    /// Announces the source, where a detection reads it.
    pub(in crate::pump) async fn start(
        setup: &Setup,
        manifest: Option<&Manifest>,
        inbox: &Sender<Message>,
        budget: &Budget,
    ) -> anyhow::Result<Option<Self>> {
        let Some((stream, columns)) = setup.rules.program.columns(COVERAGE) else { return Ok(None) };
        let place = TopicPartition { topic: COVERAGE.into(), partition: 0 };
        let told = manifest.map_or(0, |manifest| manifest.coverage.next_row as i64);
        let known = manifest.and_then(|manifest| manifest.positions.get(&key_of(&stream.name, &place)).copied());
        // A detection that is new begins with what is told from now on, as with every stream.
        let next = known.unwrap_or(told);
        let mut left = vec![];
        if let Some(manifest) = manifest.filter(|_| next < told) {
            let outputs = setup.state.read_outputs(manifest).await?;
            let lines: Vec<Vec<u8>> = epoch::lines(&outputs, epoch::COVERAGE).map(<[u8]>::to_vec).collect();
            let seen = lines.len().saturating_sub((told - next) as usize);
            left = lines.into_iter().skip(seen).collect();
        }
        let name: Arc<str> = stream.name.as_str().into();
        let streams = vec![Arc::clone(&name)];
        let begin =
            SourceEvent::Partition { streams, partition: PARTITION, place: place.clone(), next, earliest: next };
        inbox.send(Message::Source(begin)).context("a shard ended before it began")?;
        let decoder = Decoder::new(Arc::clone(stream), columns.clone())?;
        let (inbox, budget) = (inbox.clone(), budget.clone());
        Ok(Some(Self { name, place, decoder, next, inbox, budget, left }))
    }

    /// Hands on what the last process could not.
    pub(in crate::pump) fn tell_left(&mut self) -> anyhow::Result<()> {
        let left = std::mem::take(&mut self.left);
        self.tell(&left)
    }

    /// Hands on the rows of an epoch that is committed.
    pub(in crate::pump) fn tell(&mut self, rows: &[Vec<u8>]) -> anyhow::Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let (mut rejected, mut bytes) = (vec![], 0);
        let mut outputs = vec![];
        for row in rows {
            let position = self.place.at(self.next);
            let record = Record::new(row, &position);
            if let Err(reject) = self.decoder.push(&record) {
                rejected.push(reject.of(&self.name, &record));
            }
            bytes += row.len();
            self.next += 1;
            if self.decoder.is_full() {
                outputs.push(self.output(std::mem::take(&mut rejected))?);
            }
        }
        outputs.push(self.output(rejected)?);
        let batch = SourceEvent::Batch { outputs, permit: self.budget.take(bytes) };
        // Nothing is on the way now, so it holds nobody back.
        let idle = SourceEvent::Idle { streams: vec![Arc::clone(&self.name)], partition: PARTITION };
        for event in [batch, idle] {
            self.inbox.send(Message::Source(event)).context("the shard that reads coverage has ended")?;
        }
        Ok(())
    }

    fn output(&mut self, rejected: Vec<weir_connectors::decode::Rejected>) -> anyhow::Result<SourceOutput> {
        let rows = self.decoder.finish()?;
        let batch = SourceBatch { stream: Arc::clone(&self.name), partition: PARTITION, rows, late_us: None };
        let (misfits, partition) = (self.decoder.take_misfits(), self.place.clone());
        Ok(SourceOutput { batch, rejected, misfits, partition, next: self.next, bytes: 0 })
    }
}
