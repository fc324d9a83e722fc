//! Objects of the state with any byte changed, any end missing, or anything else in their place: each is refused with the
//! object's name, and nothing that was not written is ever read.

use std::sync::Arc;

use object_store::memory::InMemory;
use proptest::prelude::*;

use super::*;

/// A state of one epoch, and a store in which its objects can be changed.
struct Damaged {
    inner: Arc<InMemory>,
    state: StateStore,
    manifest: Manifest,
}

impl Damaged {
    async fn new() -> Self {
        let inner = Arc::new(InMemory::new());
        let state = StateStore::new(&Location::of_store(Arc::clone(&inner)));
        let mut manifest = Manifest { writer: state.writer().to_owned(), ..Manifest::new(1) };
        let key = PartitionKey { stream: "sysmon".into(), topic: "logs".into(), partition: 3 };
        manifest.positions.insert(key, 100);
        manifest.ledger.insert("sysmon".into(), Ledger { records: 10, on_time: 7, late: 2, rejected: 1 });
        manifest.snapshots = vec![state.write_snapshot(1, 0, Bytes::from_static(b"what was counted")).await.unwrap()];
        let alerts = Output { name: "alerts".into(), records: 1, body: Bytes::from_static(b"{\"an\":\"alert\"}\n") };
        manifest.outputs = state.write_outputs(1, vec![alerts]).await.unwrap();
        state.commit(&manifest).await.unwrap();
        state.set_cursor("playbooks", 1).await.unwrap();
        Self { inner, state, manifest }
    }

    /// Reads all that is there, and gives the error that must come.
    async fn read(&self) -> Result<(), StateError> {
        let newest = self.state.latest().await?.expect("the manifest is there");
        assert_eq!(newest, self.manifest, "what is read is what was written");
        assert_eq!(self.state.read_snapshots(&newest).await?, [["what was counted"]]);
        assert_eq!(self.state.read_outputs(&newest).await?[0].body, "{\"an\":\"alert\"}\n");
        assert_eq!(self.state.cursor("playbooks").await?, Some(1));
        Ok(())
    }

    async fn objects(&self) -> Vec<(Path, Bytes)> {
        let paths: Vec<_> = self.inner.list(None).map_ok(|object| object.location).try_collect().await.unwrap();
        let mut objects = vec![];
        for path in paths {
            let bytes = self.inner.get(&path).await.unwrap().bytes().await.unwrap();
            objects.push((path, bytes));
        }
        objects
    }

    /// Puts other bytes in the place of an object, and expects them to be refused under its name.
    async fn expect_refusal(&self, path: &Path, bytes: impl Into<Bytes>) {
        let bytes = bytes.into();
        self.inner.put(path, bytes.clone().into()).await.unwrap();
        let error = self.read().await.expect_err(&format!("{path} as {bytes:?}"));
        assert!(error.to_string().contains(path.as_ref()), "{error}");
        assert!(!error.is_retriable(), "trying again mends nothing: {error}");
    }
}

#[tokio::test]
async fn any_changed_byte_and_any_missing_end_is_noticed() {
    let damaged = Damaged::new().await;
    let objects = damaged.objects().await;
    assert_eq!(objects.len(), 4, "manifest, snapshot, outputs and cursor");
    for (path, whole) in objects {
        for at in 0..whole.len() {
            for mask in [0x01, 0x20, 0x80] {
                let mut changed = whole.to_vec();
                changed[at] ^= mask;
                damaged.expect_refusal(&path, changed).await;
            }
            damaged.expect_refusal(&path, whole.slice(..at)).await;
        }
        damaged.expect_refusal(&path, [&whole[..], b"x"].concat()).await;
        damaged.inner.put(&path, whole.into()).await.unwrap();
        damaged.read().await.unwrap();
    }
}

#[tokio::test]
async fn exchanged_objects_are_noticed() {
    let damaged = Damaged::new().await;
    let objects = damaged.objects().await;
    for (path, whole) in &objects {
        for (_, other) in objects.iter().filter(|(other, _)| other != path) {
            damaged.expect_refusal(path, other.clone()).await;
        }
        damaged.inner.put(path, whole.clone().into()).await.unwrap();
    }
    damaged.state.set_cursor("another", 1).await.unwrap();
    let another = damaged.inner.get(&cursor_path("another")).await.unwrap().bytes().await.unwrap();
    damaged.expect_refusal(&cursor_path("playbooks"), another).await;
}

#[tokio::test]
async fn a_cursor_of_an_earlier_version_is_read() {
    let damaged = Damaged::new().await;
    damaged.inner.put(&cursor_path("playbooks"), Bytes::from_static(b"{\"epoch\":1}").into()).await.unwrap();
    damaged.read().await.unwrap();
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_refused_and_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        prop_assert!(Manifest::decode(&bytes).is_err());
        prop_assert!(manifest::Cursor::decode("playbooks", &bytes).is_err());
    }

    /// Well sealed and absurd: sizes that would reach past everything are errors, and nobody makes room for them.
    #[test]
    fn absurd_sizes_are_refused(offset in any::<u64>(), bytes in 8_u64.., records in any::<u64>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let damaged = Damaged::new().await;
            let mut manifest = damaged.manifest.clone();
            let whole = manifest.outputs.part.as_ref().unwrap().bytes;
            manifest.outputs.parts[0] = OutputPart { name: "alerts".into(), offset, bytes, records };
            let read = damaged.state.read_outputs(&manifest).await;
            assert_eq!(read.is_ok(), offset.checked_add(bytes).is_some_and(|end| end <= whole), "{read:?}");
            manifest.snapshots[0].bytes = bytes.max(17);
            assert!(damaged.state.read_snapshots(&manifest).await.is_err());
        });
    }
}
