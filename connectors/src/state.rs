//! What survives a stop: one manifest per epoch, and the snapshots and outputs it names.
//!
//! An epoch is committed by creating `manifests/<epoch>.json` where nothing was. That one object is the commit point and
//! the fence: whoever loses the race for it must stop. Everything it names was written before it and is named with its
//! BLAKE3 digest, so a torn or exchanged file is noticed and never used. An older epoch is never a silent substitute for
//! a newest one that cannot be read.
//!
//! ```text
//! manifests/00000000000000000042.json     positions, digests, versions, counts of epoch 42
//! snapshots/00000000000000000042/0-W.bin  state of worker 0, or what changed of it in epoch 42, written by writer W
//! snapshots/00000000000000000042/0-W-joined.bin  the same as a whole, joined out of such parts
//! outputs/00000000000000000042-W.bin      what sinks have to deliver, in named parts
//! cursors/<sink>.json                     the last epoch a sink has delivered (sinks without a cursor of their own)
//! ```

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode};

use crate::failpoint;
use crate::location::Location;

mod coverage;
#[cfg(test)]
mod damage;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod formats;
mod manifest;
#[cfg(test)]
mod tests;

pub use coverage::{Coverage, Fired, StreamCoverage, Stretch};
pub use manifest::{
    FORMAT_VERSION, Ledger, Manifest, Nulled, Output, OutputPart, Outputs, Part, PartitionKey, Quarantine,
    QuarantineReason,
};

/// The manifests, snapshots, outputs and cursors of one project.
#[derive(Debug, Clone)]
pub struct StateStore {
    location: Location,
    store: Arc<dyn ObjectStore>,
    place: String,
    writer: String,
    /// Parts that this process has written and no manifest names yet.
    unnamed: Arc<Mutex<BTreeSet<String>>>,
}

/// Why state could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Another process has committed this epoch. Whose fault: admin (two processes share one state). What next: stop.
    #[error("epoch {epoch} was committed by another process; this one must stop (is Weir running twice on {place}?)")]
    Fenced {
        /// The epoch both wanted.
        epoch: u64,
        /// The location of the state.
        place: String,
    },
    /// The store refuses or cannot be reached. Whose fault: outside. What next: retry.
    #[error("cannot {action} {path} in {place}: {source}")]
    Store {
        /// What was tried.
        action: &'static str,
        /// The object.
        path: String,
        /// The location of the state.
        place: String,
        /// What the store says.
        source: Box<object_store::Error>,
    },
    /// A file is not what it should be. Whose fault: outside. What next: what the message says.
    #[error(
        "{path} in {place} is damaged: {reason}; Weir goes on from nothing older by itself. Restore this object from a copy, which costs nothing. Where there is none, move the manifest of its epoch away (manifests/EPOCH.json) and start again: as long as nothing of that epoch was delivered, nothing is lost by going on from the one before, and otherwise the start says what to do"
    )]
    Damaged {
        /// The object.
        path: String,
        /// The location of the state.
        place: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A cursor is not what it should be. Whose fault: outside. What next: what the message says.
    #[error(
        "{path} in {place} is damaged: {reason}. Restore it from a copy, or move it away and start again: its sink then gets all epochs anew that are still in the state, and does nothing twice"
    )]
    DamagedCursor {
        /// The object.
        path: String,
        /// The location of the state.
        place: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The state is of a newer Weir. Whose fault: admin. What next: run the newer version.
    #[error(
        "{path} in {place} has format {found}, this version of Weir knows up to {FORMAT_VERSION}: use the version that wrote it, or a later one"
    )]
    Newer {
        /// The object.
        path: String,
        /// The location of the state.
        place: String,
        /// Its format version.
        found: u32,
    },
}

impl StateError {
    /// Whether trying again later can help.
    #[must_use]
    pub const fn is_retriable(&self) -> bool {
        matches!(self, Self::Store { .. })
    }
}

impl StateStore {
    /// The state at a location. Nothing is read or written by that.
    #[must_use]
    pub fn new(location: &Location) -> Self {
        let writer = uuid::Uuid::new_v4().simple().to_string();
        let place = location.url().to_string();
        Self { location: location.clone(), store: location.store(), place, writer, unnamed: Arc::default() }
    }

    /// The name this process writes under; a manifest says who wrote it.
    #[must_use]
    pub fn writer(&self) -> &str {
        &self.writer
    }

    /// Where the state is.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Proves that the location can be written, before work depends on it.
    ///
    /// # Errors
    /// It cannot.
    pub async fn check_writable(&self) -> Result<(), StateError> {
        let path = Path::from(format!("probe-{}", self.writer));
        self.put(&path, Bytes::from_static(b"weir"), PutMode::Overwrite).await?;
        self.location.delete(&path).await.map_err(|source| self.store_error("delete", &path, source))
    }

    /// The newest manifest, verified; `None` where no epoch was ever committed.
    ///
    /// # Errors
    /// It cannot be read, or is damaged: an older one is never used in its place.
    pub async fn latest(&self) -> Result<Option<Manifest>, StateError> {
        while let Some(epoch) = self.epochs().await?.last() {
            if let Some(manifest) = self.manifest(*epoch).await? {
                return Ok(Some(manifest));
            }
            // Another process has gone on and deleted this one in the meantime.
        }
        Ok(None)
    }

    /// The epochs that have a manifest, ascending.
    ///
    /// # Errors
    /// The store cannot be listed.
    pub async fn epochs(&self) -> Result<Vec<u64>, StateError> {
        let folder = Path::from("manifests");
        let names: Vec<_> = self
            .store
            .list(Some(&folder))
            .map_ok(|object| object.location)
            .try_collect()
            .await
            .map_err(|source| self.store_error("list", &folder, source))?;
        let mut epochs: Vec<u64> = names.iter().filter_map(manifest_epoch).collect();
        epochs.sort_unstable();
        Ok(epochs)
    }

    /// The manifest of one epoch, verified.
    ///
    /// # Errors
    /// It cannot be read or is damaged.
    pub async fn manifest(&self, epoch: u64) -> Result<Option<Manifest>, StateError> {
        let path = manifest_path(epoch);
        let Some(bytes) = self.get(&path).await? else {
            return Ok(None);
        };
        let manifest = Manifest::decode(&bytes).map_err(|reason| self.damaged(&path, reason))?;
        if manifest.format_version > FORMAT_VERSION {
            let found = manifest.format_version;
            return Err(StateError::Newer { path: path.to_string(), place: self.place.clone(), found });
        }
        if manifest.epoch != epoch {
            return Err(self.damaged(&path, format!("it is the manifest of epoch {}", manifest.epoch)));
        }
        Ok(Some(manifest))
    }

    /// Writes one worker's snapshot; it counts once a manifest names it.
    ///
    /// # Errors
    /// The store refuses it.
    pub async fn write_snapshot(&self, epoch: u64, worker: u32, snapshot: Bytes) -> Result<Part, StateError> {
        let path = Path::from(format!("snapshots/{epoch:020}/{worker}-{}.bin", self.writer));
        let part = Part::of(path.to_string(), &snapshot);
        self.put(&path, snapshot, PutMode::Overwrite).await?;
        Ok(part)
    }

    /// Writes one worker's whole state as it was at the end of an epoch, to take the place of a chain of parts in a later
    /// manifest; until then it is kept.
    ///
    /// # Errors
    /// The store refuses it.
    pub async fn write_joined(&self, epoch: u64, worker: u32, snapshot: Bytes) -> Result<Part, StateError> {
        let path = Path::from(format!("snapshots/{epoch:020}/{worker}-{}-joined.bin", self.writer));
        let part = Part::of(path.to_string(), &snapshot);
        self.unnamed().insert(part.path.clone());
        self.put(&path, snapshot, PutMode::Overwrite).await?;
        Ok(part)
    }

    /// Writes what an epoch puts out, all parts as one object; nothing is written where there is nothing.
    ///
    /// # Errors
    /// The store refuses it.
    pub async fn write_outputs(&self, epoch: u64, outputs: Vec<Output>) -> Result<Outputs, StateError> {
        let path = Path::from(format!("outputs/{epoch:020}-{}.bin", self.writer));
        let mut whole = Vec::with_capacity(outputs.iter().map(|output| output.body.len()).sum());
        let mut parts = Vec::with_capacity(outputs.len());
        for output in outputs {
            let offset = whole.len() as u64;
            whole.extend_from_slice(&output.body);
            parts.push(OutputPart {
                name: output.name,
                offset,
                bytes: output.body.len() as u64,
                records: output.records,
            });
        }
        if whole.is_empty() {
            return Ok(Outputs { part: None, parts });
        }
        let whole = Bytes::from(whole);
        let part = Part::of(path.to_string(), &whole);
        self.put(&path, whole, PutMode::Overwrite).await?;
        Ok(Outputs { part: Some(part), parts })
    }

    /// Commits an epoch: from here on it has happened. Its parts must have been written before.
    ///
    /// # Errors
    /// [`StateError::Fenced`] where another process has committed this epoch.
    pub async fn commit(&self, manifest: &Manifest) -> Result<(), StateError> {
        let path = manifest_path(manifest.epoch);
        let manifest = Manifest { writer: self.writer.clone(), ..manifest.clone() };
        let bytes = Bytes::from(manifest.encode().map_err(|reason| self.damaged(&path, reason))?);
        match self.put(&path, bytes.clone(), PutMode::Create).await {
            Err(StateError::Store { source, .. }) if matches!(*source, object_store::Error::AlreadyExists { .. }) => {
                // An answer of the store can get lost and the retry then finds our own object, so its bytes decide;
                // they name their writer.
                if self.get(&path).await?.is_none_or(|existing| existing != bytes) {
                    return Err(self.fenced(manifest.epoch));
                }
            }
            result => result?,
        }
        // What was created then stays: another process may have gone on from it, and what nobody needs is deleted anyway.
        if self.is_overtaken(manifest.epoch).await? {
            return Err(self.fenced(manifest.epoch));
        }
        let mut unnamed = self.unnamed();
        for part in manifest.parts() {
            unnamed.remove(&part.path);
        }
        Ok(())
    }

    /// Whether others have committed this epoch and deleted it since: nothing stands in the way of creating it again
    /// then, but what was before it is gone too, which never holds for the newest epoch.
    async fn is_overtaken(&self, epoch: u64) -> Result<bool, StateError> {
        if epoch <= 1 {
            return Ok(self.epochs().await?.last().is_some_and(|newest| *newest > epoch));
        }
        let before = manifest_path(epoch - 1);
        match self.store.head(&before).await {
            Ok(_) => Ok(false),
            Err(object_store::Error::NotFound { .. }) => Ok(true),
            Err(source) => Err(self.store_error("read", &before, source)),
        }
    }

    /// The snapshots that a manifest names, verified: for each worker the whole state that its parts begin with, and what
    /// changed since.
    ///
    /// # Errors
    /// One is missing or damaged.
    pub async fn read_snapshots(&self, manifest: &Manifest) -> Result<Vec<Vec<Bytes>>, StateError> {
        let chains = manifest.snapshot_chains();
        let chains = chains.map_err(|reason| self.damaged(&manifest_path(manifest.epoch), reason))?;
        let mut snapshots = Vec::with_capacity(chains.len());
        for chain in chains {
            snapshots.push(self.read_chain(chain).await?);
        }
        Ok(snapshots)
    }

    /// The snapshots of one worker, verified.
    ///
    /// # Errors
    /// One is missing or damaged.
    pub async fn read_chain(&self, chain: &[Part]) -> Result<Vec<Bytes>, StateError> {
        let mut snapshots = Vec::with_capacity(chain.len());
        for part in chain {
            snapshots.push(self.read_part(part).await?);
        }
        Ok(snapshots)
    }

    /// The outputs that a manifest names, verified.
    ///
    /// # Errors
    /// They are missing or damaged.
    pub async fn read_outputs(&self, manifest: &Manifest) -> Result<Vec<Output>, StateError> {
        let whole = match &manifest.outputs.part {
            Some(part) => self.read_part(part).await?,
            None => Bytes::new(),
        };
        manifest
            .outputs
            .parts
            .iter()
            .map(|part| {
                let end = part.offset.saturating_add(part.bytes);
                if end > whole.len() as u64 {
                    let path =
                        Path::from(manifest.outputs.part.as_ref().map_or("outputs", |whole| whole.path.as_str()));
                    return Err(self.damaged(&path, format!("part {:?} reaches past its end", part.name)));
                }
                let body = whole.slice(part.offset as usize..end as usize);
                Ok(Output { name: part.name.clone(), records: part.records, body })
            })
            .collect()
    }

    /// Deletes what no sink needs any more: everything below `epoch`, the slowest cursor. The newest manifest and what
    /// the kept manifests name always stay. Gives back how many objects went.
    ///
    /// # Errors
    /// The store refuses; what was not deleted goes next time.
    pub async fn retain_from(&self, epoch: u64) -> Result<usize, StateError> {
        let epochs = self.epochs().await?;
        let bound = epochs.last().map_or(0, |newest| epoch.min(*newest));
        let mut needed = BTreeSet::new();
        for kept in epochs.iter().filter(|kept| **kept >= bound) {
            let Some(manifest) = self.manifest(*kept).await? else {
                continue;
            };
            needed.extend(manifest.parts().map(|part| part.path.clone()));
        }
        let mut doomed = vec![];
        for folder in ["manifests", "snapshots", "outputs"] {
            let folder = Path::from(folder);
            let objects: Vec<_> = self
                .store
                .list(Some(&folder))
                .map_ok(|object| object.location)
                .try_collect()
                .await
                .map_err(|source| self.store_error("list", &folder, source))?;
            needed.extend(self.unnamed().iter().cloned());
            let is_old = |path: &Path| epoch_of(path).is_some_and(|old| old < bound);
            doomed.extend(objects.into_iter().filter(|path| is_old(path) && !needed.contains(path.as_ref())));
        }
        let count = doomed.len();
        let delete = async |path: Path| {
            self.location.delete(&path).await.map_err(|source| self.store_error("delete", &path, source))
        };
        failpoint::reach("retention.before");
        // Manifests go first and from the oldest on, so that at no instant one stands without its parts, or without what
        // was before it while what comes behind it is gone (see `is_overtaken`).
        for epoch in epochs.into_iter().filter(|old| *old < bound) {
            delete(manifest_path(epoch)).await?;
            failpoint::reach("retention.manifest_deleted");
        }
        let delete_part = async |path: Path| {
            let deleted = delete(path).await;
            failpoint::reach("retention.part_deleted");
            deleted
        };
        futures::stream::iter(doomed).map(delete_part).buffered(8).try_collect::<()>().await?;
        failpoint::reach("retention.done");
        Ok(count)
    }

    /// The last epoch that a sink has delivered, for sinks that keep no cursor of their own.
    ///
    /// # Errors
    /// It cannot be read or is damaged.
    pub async fn cursor(&self, sink: &str) -> Result<Option<u64>, StateError> {
        let path = cursor_path(sink);
        let Some(bytes) = self.get(&path).await? else {
            return Ok(None);
        };
        let epoch = manifest::Cursor::decode(sink, &bytes).map_err(|reason| self.damaged_cursor(&path, reason))?;
        Ok(Some(epoch))
    }

    /// Notes that a sink has delivered everything up to `epoch`.
    ///
    /// # Errors
    /// The store refuses it; the sink then delivers again what it has delivered.
    pub async fn set_cursor(&self, sink: &str, epoch: u64) -> Result<(), StateError> {
        let path = cursor_path(sink);
        let bytes = manifest::Cursor::encode(sink, epoch).map_err(|reason| self.damaged_cursor(&path, reason))?;
        self.put(&path, bytes.into(), PutMode::Overwrite).await
    }

    fn unnamed(&self) -> MutexGuard<'_, BTreeSet<String>> {
        // A set of names is whole whatever panicked beside it.
        self.unnamed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn read_part(&self, part: &Part) -> Result<Bytes, StateError> {
        let path = Path::from(part.path.as_str());
        let Some(bytes) = self.get(&path).await? else {
            return Err(self.damaged(&path, "a manifest names it and it is missing".to_owned()));
        };
        part.verify(&bytes).map_err(|reason| self.damaged(&path, reason))?;
        Ok(bytes)
    }

    async fn get(&self, path: &Path) -> Result<Option<Bytes>, StateError> {
        match self.store.get(path).await {
            Ok(found) => found.bytes().await.map(Some).map_err(|source| self.store_error("read", path, source)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(self.store_error("read", path, source)),
        }
    }

    async fn put(&self, path: &Path, bytes: Bytes, mode: PutMode) -> Result<(), StateError> {
        self.location.put(path, bytes, mode).await.map_err(|source| self.store_error("write", path, source))
    }

    fn store_error(&self, action: &'static str, path: &Path, source: object_store::Error) -> StateError {
        StateError::Store { action, path: path.to_string(), place: self.place.clone(), source: Box::new(source) }
    }

    fn fenced(&self, epoch: u64) -> StateError {
        StateError::Fenced { epoch, place: self.place.clone() }
    }

    fn damaged_cursor(&self, path: &Path, reason: String) -> StateError {
        StateError::DamagedCursor { path: path.to_string(), place: self.place.clone(), reason }
    }

    fn damaged(&self, path: &Path, reason: String) -> StateError {
        StateError::Damaged { path: path.to_string(), place: self.place.clone(), reason }
    }
}

fn manifest_path(epoch: u64) -> Path {
    Path::from(format!("manifests/{epoch:020}.json"))
}

fn manifest_epoch(path: &Path) -> Option<u64> {
    path.filename()?.strip_suffix(".json")?.parse().ok()
}

/// The epoch that an object belongs to by its name, also where a sudden death left it beside its place.
fn epoch_of(path: &Path) -> Option<u64> {
    let name = path.parts().nth(1)?;
    name.as_ref().trim_start_matches('.').split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
}

fn cursor_path(sink: &str) -> Path {
    Path::from("cursors").join(format!("{sink}.json"))
}
