//! A store that fails as stores do, at the operation that a test asks for. Everything else it hands on.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use tokio::sync::Semaphore;

/// What goes wrong with an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing happens, and the caller is told so.
    Refused,
    /// It happens, and the caller is told that it did not.
    AnswerLost,
    /// Half of what is written stays, and the caller is told that it failed. No store should do that; disks do.
    Torn,
    /// Half of what is read comes, and nobody says that more is missing.
    Truncated,
    /// It happens, and takes its time.
    Slow,
    /// It happens once the test says so ([`Faulty::go_on`]).
    Held,
}

/// Which operations go wrong: so many from one on, counted from 0.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) operations: Range<usize>,
    pub(crate) fault: Fault,
}

/// A store in memory, and what is to go wrong with it.
#[derive(Debug, Clone)]
pub(crate) struct Faulty {
    inner: Arc<InMemory>,
    plan: Option<Plan>,
    counter: Arc<AtomicUsize>,
    torn: Arc<Mutex<Vec<Path>>>,
    at_gate: Arc<Semaphore>,
    gate: Arc<Semaphore>,
}

impl Faulty {
    /// The store `inner`, which others may use without faults.
    pub(crate) fn new(inner: &Arc<InMemory>, plan: Option<Plan>) -> Self {
        Self {
            inner: Arc::clone(inner),
            plan,
            counter: Arc::default(),
            torn: Arc::default(),
            at_gate: Arc::new(Semaphore::new(0)),
            gate: Arc::new(Semaphore::new(0)),
        }
    }

    /// How many operations there were so far.
    pub(crate) fn operations(&self) -> usize {
        self.counter.load(Ordering::SeqCst)
    }

    /// The objects of which half was written, taken away as a person would who repairs the store.
    pub(crate) async fn remove_torn(&self) -> Vec<Path> {
        let torn = std::mem::take(&mut *self.torn.lock().unwrap_or_else(PoisonError::into_inner));
        for path in &torn {
            self.inner.delete(path).await.expect("what was written in part can be deleted");
        }
        torn
    }

    /// Waits until an operation is held.
    pub(crate) async fn held(&self) {
        self.at_gate.acquire().await.expect("the gate is never closed").forget();
    }

    /// Lets the held operation happen.
    pub(crate) fn go_on(&self) {
        self.gate.add_permits(1);
    }

    /// Counts an operation and says what is to go wrong with it. Waiting is done by then.
    async fn begin(&self) -> Option<Fault> {
        let number = self.counter.fetch_add(1, Ordering::SeqCst);
        let fault = self.plan.as_ref().filter(|plan| plan.operations.contains(&number)).map(|plan| plan.fault)?;
        match fault {
            Fault::Slow => tokio::time::sleep(Duration::from_millis(20)).await,
            Fault::Held => {
                self.at_gate.add_permits(1);
                self.gate.acquire().await.expect("the gate is never closed").forget();
            }
            _ => return Some(fault),
        }
        None
    }

    /// An operation of which there is no half.
    async fn whole<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        match self.begin().await {
            Some(Fault::Refused | Fault::Torn) => Err(failure()),
            Some(Fault::AnswerLost) => {
                work.await?;
                Err(failure())
            }
            _ => work.await,
        }
    }
}

fn failure() -> Error {
    Error::Generic { store: "faulty", source: "this operation was to fail".into() }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        match self.begin().await {
            None | Some(Fault::Truncated) => self.inner.put_opts(path, payload, options).await,
            Some(Fault::AnswerLost) => {
                self.inner.put_opts(path, payload, options).await?;
                Err(failure())
            }
            Some(Fault::Torn) => {
                let whole = Bytes::from(payload);
                let is_new = options.mode == PutMode::Create;
                self.inner.put_opts(path, whole.slice(..whole.len() / 2).into(), options).await?;
                // What is overwritten anyway is whole again with the next try; nobody has to repair it.
                if is_new {
                    self.torn.lock().unwrap_or_else(PoisonError::into_inner).push(path.clone());
                }
                Err(failure())
            }
            Some(_) => Err(failure()),
        }
    }

    async fn put_multipart_opts(&self, path: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.whole(self.inner.put_multipart_opts(path, options)).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        let fault = self.begin().await;
        if matches!(fault, Some(Fault::Refused | Fault::AnswerLost)) {
            return Err(failure());
        }
        let mut found = self.inner.get_opts(path, options).await?;
        if let Some(fault) = fault {
            let GetResult { meta, range, attributes, .. } = &found;
            let (meta, range, attributes) = (meta.clone(), range.clone(), attributes.clone());
            let whole = found.bytes().await?;
            let mut parts = vec![Ok(whole.slice(..whole.len() / 2))];
            parts.extend((fault == Fault::Torn).then(|| Err(failure())));
            let payload = GetResultPayload::Stream(futures::stream::iter(parts).boxed());
            found = GetResult { payload, meta, range, attributes };
        }
        Ok(found)
    }

    async fn get_ranges(&self, path: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        match self.begin().await {
            None => self.inner.get_ranges(path, ranges).await,
            Some(Fault::Truncated) => {
                let whole = self.inner.get_ranges(path, ranges).await?;
                Ok(whole.into_iter().map(|bytes| bytes.slice(..bytes.len() / 2)).collect())
            }
            Some(_) => Err(failure()),
        }
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        let deleted = paths.and_then(move |path| {
            let store = store.clone();
            async move { store.whole(store.inner.delete(&path)).await.map(|()| path) }
        });
        deleted.boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (store, prefix) = (self.clone(), prefix.cloned());
        let listed = async move {
            let objects = store.inner.list(prefix.as_ref()).try_collect::<Vec<_>>();
            store.whole(objects).await.map(|objects| futures::stream::iter(objects.into_iter().map(Ok)))
        };
        futures::stream::once(listed).try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.whole(self.inner.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.whole(self.inner.copy_opts(from, to, options)).await
    }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a faulty store")
    }
}
