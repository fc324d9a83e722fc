//! State that earlier versions left behind is read as it was meant. `connectors/fixtures/state-N` was written in format N of
//! manifests by the test below, run with `WEIR_WRITE_FIXTURES=N` when the format was new; no file of it is ever changed.

use std::collections::BTreeMap;
use std::path::{Path as FilePath, PathBuf};

use weir_engine::Uid;

use super::*;
use crate::state::coverage::{Fired, StreamCoverage, Stretch};

/// Each key of a manifest has a value.
async fn manifest(state: &StateStore) -> Manifest {
    let partition = PartitionKey { stream: "sysmon".into(), topic: "logs".into(), partition: 3 };
    let first = state.write_snapshot(1, 0, Bytes::from_static(b"the whole of it")).await.unwrap();
    let second = state.write_snapshot(2, 0, Bytes::from_static(b"what changed")).await.unwrap();
    let alerts = Output { name: "alerts".into(), records: 1, body: Bytes::from_static(b"{\"id\":1}\n") };
    let quarantine = |reason| Quarantine { digest: "d1".into(), epoch: 1, reason };
    let stretch = Stretch {
        partition: partition.clone(),
        began: 5,
        first: 90,
        next: 100,
        events: 9,
        late: 2,
        rejected: 1,
        times_us: Some((1, 9)),
    };
    let stream = StreamCoverage { readers: ["a.b".to_owned()].into(), heard: 7, ..StreamCoverage::default() };
    Manifest {
        created_at: "2026-11-25T00:00:00.000Z".into(),
        positions: [(partition, 100)].into(),
        snapshots: vec![first, second],
        chains: vec![2],
        tables: [("assets".to_owned(), Uid::of_cause([b"one".as_slice()]))].into(),
        detections: [("a.b".to_owned(), "d0".to_owned())].into(),
        outputs: state.write_outputs(2, vec![alerts]).await.unwrap(),
        ledger: [("sysmon".to_owned(), Ledger { records: 10, on_time: 7, late: 2, rejected: 1 })].into(),
        nulled: Nulled { misfits: [("sysmon".into(), [("pid".into(), 4)].into())].into(), failures: 5 },
        quarantined: [
            ("q.1".to_owned(), quarantine(QuarantineReason::OwnState { bytes: 11, limit: 10 })),
            ("q.2".to_owned(), quarantine(QuarantineReason::AllState { bytes: 5, limit: 20 })),
            ("q.3".to_owned(), quarantine(QuarantineReason::Fault { said: "a bug".into(), version: "0.1.0".into() })),
        ]
        .into(),
        coverage: Coverage {
            minute: 29_000_000,
            next_row: 17,
            partitions: vec![stretch],
            streams: [("sysmon".to_owned(), stream)].into(),
            fired: [("a.b".to_owned(), Fired { event_time_us: 3, committed_us: 4 })].into(),
        },
        ..Manifest::new(2)
    }
}

fn store(folder: &FilePath) -> StateStore {
    StateStore::new(&Location::open("file:./state", folder, &BTreeMap::new()).unwrap())
}

fn fixture(format: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(format!("state-{format}"))
}

#[tokio::test]
async fn state_of_every_format_is_read_as_it_was_meant() {
    if let Ok(format) = std::env::var("WEIR_WRITE_FIXTURES") {
        let state = store(&fixture(&format));
        let manifest = manifest(&state).await;
        state.commit(&Manifest::new(1)).await.unwrap();
        state.commit(&manifest).await.unwrap();
        state.set_cursor("archive", 1).await.unwrap();
    }
    let now = StateStore::new(&Location::memory());
    let expected = manifest(&now).await;
    for format in ["2"] {
        let state = store(&fixture(format));
        let read = state.latest().await.unwrap().unwrap();
        // Objects are named after their writer.
        let as_now = |part: &Part| Part { path: part.path.replace(&read.writer, now.writer()), ..part.clone() };
        let outputs = Outputs { part: read.outputs.part.as_ref().map(as_now), ..read.outputs.clone() };
        let snapshots = read.snapshots.iter().map(as_now).collect();
        let shown = Manifest { writer: String::new(), snapshots, outputs, ..read.clone() };
        assert_eq!(shown, expected, "format {format}");
        assert_eq!(state.read_snapshots(&read).await.unwrap(), [["the whole of it", "what changed"]]);
        let outputs = state.read_outputs(&read).await.unwrap();
        assert_eq!((outputs.len(), &outputs[0].body[..]), (1, &b"{\"id\":1}\n"[..]));
        assert_eq!(state.cursor("archive").await.unwrap(), Some(1));
    }
}
