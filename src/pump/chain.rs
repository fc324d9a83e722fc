//! Saved state as chains: a shard's first part is whole, and each further one says what its epoch changed. So an epoch costs
//! what it changed and not what is remembered. A chain that has grown is joined in the background, from what is in the
//! store; shards know nothing of it.

use anyhow::Context as _;
use bytes::Bytes;
use tokio::task::JoinHandle;
use weir_connectors::failpoint;
use weir_connectors::state::{Manifest, Part, StateStore};
use weir_engine::Scope;

use super::retry::Retry;
use super::shard::ShardSnapshot;

/// A chain is joined when its changes are larger than its whole part and than this, or when it has so many parts.
const JOIN_BYTES: u64 = 4 << 20;
const PARTS_MAX: usize = 64;

/// The parts of all shards that the last manifest names.
#[derive(Default)]
pub(super) struct Chains {
    shards: Vec<Chain>,
}

/// The parts of one shard, and what is at work on them.
#[derive(Default)]
struct Chain {
    parts: Vec<Part>,
    joining: Option<Joining>,
}

/// So many parts of a chain on the way to be one.
struct Joining {
    count: usize,
    task: JoinHandle<anyhow::Result<Part>>,
}

impl Chains {
    /// What shards have to save next: everything at first, since nothing is known of what an earlier process wrote.
    pub(super) const fn scope(&self) -> Scope {
        if self.shards.is_empty() { Scope::Whole } else { Scope::Changes }
    }

    /// Writes what the shards saved and names all parts in the manifest of the epoch.
    pub(super) async fn extend(
        &mut self,
        state: &StateStore,
        manifest: &mut Manifest,
        snapshots: Vec<ShardSnapshot>,
        retry: &mut Retry,
    ) -> anyhow::Result<()> {
        self.shards.resize_with(snapshots.len(), Chain::default);
        for ((shard, chain), snapshot) in (0..).zip(&mut self.shards).zip(snapshots) {
            chain.take_joined().await;
            let bytes = tokio::task::spawn_blocking(move || snapshot.to_bytes()).await.context("saving panicked")??;
            let (bytes, epoch) = (Bytes::from(bytes), manifest.epoch);
            let part = retry.until_done(epoch, || state.write_snapshot(epoch, shard, bytes.clone())).await?;
            chain.parts.push(part);
            failpoint::reach("epoch.snapshot_written");
            manifest.chains.push(chain.parts.len());
            manifest.snapshots.extend(chain.parts.iter().cloned());
        }
        Ok(())
    }

    /// Begins to join chains that have grown. What they are joined from is committed.
    pub(super) fn join(&mut self, state: &StateStore, epoch: u64) {
        for (shard, chain) in (0..).zip(&mut self.shards) {
            if chain.joining.is_none() && chain.has_grown() {
                let task = tokio::spawn(joined(state.clone(), epoch, shard, chain.parts.clone()));
                chain.joining = Some(Joining { count: chain.parts.len(), task });
            }
        }
    }
}

impl Chain {
    fn has_grown(&self) -> bool {
        let Some((whole, changes)) = self.parts.split_first() else { return false };
        let bytes: u64 = changes.iter().map(|part| part.bytes).sum();
        changes.len() as u64 >= failpoint::limit("epoch.parts_max", PARTS_MAX as u64)
            || bytes > whole.bytes.max(JOIN_BYTES)
    }

    /// Puts a joined part in the place of those it was made of, once it is there. Where that failed they stay, and it is
    /// tried again.
    async fn take_joined(&mut self) {
        let Some(Joining { count, task }) = self.joining.take_if(|joining| joining.task.is_finished()) else { return };
        match task.await.context("joining panicked").and_then(|joined| joined) {
            Ok(part) => {
                drop(self.parts.splice(..count, [part]));
                failpoint::reach("epoch.joined_part_taken");
            }
            Err(error) => tracing::warn!(error = format!("{error:#}"), "saved state stays in many parts for now"),
        }
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        if let Some(joining) = &self.joining {
            joining.task.abort();
        }
    }
}

async fn joined(state: StateStore, epoch: u64, shard: u32, parts: Vec<Part>) -> anyhow::Result<Part> {
    let chain = state.read_chain(&parts).await?;
    let bytes = tokio::task::spawn_blocking(move || fold(&chain)?.to_bytes()).await.context("joining panicked")??;
    tracing::debug!(shard, parts = parts.len(), bytes = bytes.len(), "saved state joined");
    let part = state.write_joined(epoch, shard, Bytes::from(bytes)).await?;
    failpoint::reach("epoch.joined_part_written");
    Ok(part)
}

/// What a chain of parts says together.
pub(super) fn fold(chain: &[Bytes]) -> anyhow::Result<ShardSnapshot> {
    ShardSnapshot::fold(chain.iter().map(|bytes| ShardSnapshot::from_bytes(bytes)).collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use weir_connectors::location::Location;

    use super::*;
    use crate::pump::shard::NamedPartition;

    fn snapshot(number: u32) -> ShardSnapshot {
        let partition = NamedPartition { number, stream: "s".to_owned(), topic: "t".to_owned(), partition: 0 };
        ShardSnapshot { partitions: vec![partition], worker: weir_engine::WorkerSnapshot::default() }
    }

    async fn epoch(chains: &mut Chains, state: &StateStore, number: u64) -> Manifest {
        let mut manifest = Manifest::new(number);
        let (_stop, stopping) = tokio::sync::watch::channel(false);
        let budget = weir_connectors::kafka::Budget::new(1);
        let mut retry = Retry::new(budget, 1, stopping, tokio::sync::watch::Sender::default());
        let snapshots = vec![snapshot(number as u32), snapshot(0)];
        chains.extend(state, &mut manifest, snapshots, &mut retry).await.unwrap();
        state.commit(&manifest).await.unwrap();
        chains.join(state, number);
        manifest
    }

    #[tokio::test]
    async fn a_long_chain_is_joined_beside_the_work_and_says_the_same() {
        let state = StateStore::new(&Location::memory());
        let mut chains = Chains::default();
        assert_eq!(chains.scope(), Scope::Whole);
        for number in 1..=PARTS_MAX as u64 + 1 {
            epoch(&mut chains, &state, number).await;
        }
        assert_eq!(chains.scope(), Scope::Changes);
        while chains
            .shards
            .iter()
            .any(|chain| chain.joining.as_ref().is_some_and(|joining| !joining.task.is_finished()))
        {
            tokio::task::yield_now().await;
        }
        // What is written and not named yet survives that everything older is deleted.
        state.retain_from(u64::MAX).await.unwrap();
        let next = PARTS_MAX as u64 + 2;
        let manifest = epoch(&mut chains, &state, next).await;
        assert_eq!(manifest.chains, [2, 2], "the joined part and that of the epoch");
        state.retain_from(u64::MAX).await.unwrap();
        let saved = state.read_snapshots(&state.latest().await.unwrap().unwrap()).await.unwrap();
        assert_eq!(saved.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2]);
        assert_eq!(u64::from(fold(&saved[0]).unwrap().partitions[0].number), next);
    }
}
