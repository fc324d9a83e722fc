use std::collections::BTreeMap;
use std::path::Path as FilePath;
use std::time::Duration;

use object_store::throttle::{ThrottleConfig, ThrottledStore};

use super::*;

fn folder_state(folder: &FilePath) -> StateStore {
    StateStore::new(&Location::open("file:./state", folder, &BTreeMap::new()).unwrap())
}

async fn commit(state: &StateStore, epoch: u64, body: &'static str) -> Result<Manifest, StateError> {
    let mut manifest = Manifest::new(epoch);
    let partition = PartitionKey { stream: "sysmon".into(), topic: "logs".into(), partition: 3 };
    manifest.positions.insert(partition, epoch as i64 * 100);
    manifest.ledger.insert("sysmon".into(), Ledger { records: 10, on_time: 7, late: 2, rejected: 1 });
    manifest.snapshots.push(state.write_snapshot(epoch, 0, Bytes::from(body)).await?);
    let alerts = Output { name: "alerts".into(), records: 1, body: Bytes::from(body) };
    let late = Output { name: "late_events".into(), records: 0, body: Bytes::new() };
    let dead = Output { name: "dead_letters".into(), records: 2, body: Bytes::from_static(b"{}{}") };
    manifest.outputs = state.write_outputs(epoch, vec![alerts, late, dead]).await?;
    state.commit(&manifest).await.map(|()| manifest)
}

#[tokio::test]
async fn what_was_committed_comes_back_from_another_process() {
    let folder = tempfile::tempdir().unwrap();
    let first = folder_state(folder.path());
    assert_eq!(first.latest().await.unwrap(), None);
    let mut written = commit(&first, 1, "state of epoch 1").await.unwrap();
    written.writer = first.writer().to_owned();

    let second = folder_state(folder.path());
    let read = second.latest().await.unwrap().unwrap();
    assert_eq!(read, written);
    assert!(read.ledger["sysmon"].is_balanced());
    assert_eq!(second.read_snapshots(&read).await.unwrap(), [["state of epoch 1"]]);
    let outputs = second.read_outputs(&read).await.unwrap();
    let names: Vec<_> = outputs.iter().map(|output| (output.name.as_str(), output.records, &output.body[..])).collect();
    assert_eq!(names, [("alerts", 1, &b"state of epoch 1"[..]), ("late_events", 0, b""), ("dead_letters", 2, b"{}{}")]);
}

#[tokio::test]
async fn an_epoch_without_outputs_writes_no_object_for_them() {
    let state = StateStore::new(&Location::memory());
    let outputs = state.write_outputs(1, vec![]).await.unwrap();
    assert_eq!(outputs, Outputs::default());
    let manifest = Manifest { outputs, ..Manifest::new(1) };
    assert_eq!(state.read_outputs(&manifest).await.unwrap(), []);
}

#[tokio::test]
async fn who_is_in_quarantine_is_read_again_and_a_manifest_of_nobody_is_as_it_was_before() {
    let reasons = [
        QuarantineReason::OwnState { bytes: 11, limit: 10 },
        QuarantineReason::AllState { bytes: 5, limit: 20 },
        QuarantineReason::Fault { said: "panicked: a bug".into(), version: "0.1.0".into() },
    ];
    let quarantine = |reason: QuarantineReason| Quarantine { digest: "abc".into(), epoch: 1, reason };
    let named = reasons.into_iter().enumerate().map(|(at, reason)| (format!("test.{at}"), quarantine(reason)));
    let manifest = Manifest { quarantined: named.collect(), ..Manifest::new(1) };
    let state = StateStore::new(&Location::memory());
    state.commit(&manifest).await.unwrap();
    assert_eq!(state.latest().await.unwrap().unwrap().quarantined, manifest.quarantined);
    // Versions of Weir that know no quarantine read what names none.
    let text = String::from_utf8(Manifest::new(1).encode().unwrap()).unwrap();
    assert!(!text.contains("quarantine"), "{text}");
}

#[tokio::test]
async fn of_two_writers_one_commits_the_epoch_and_the_other_is_fenced() {
    let folder = tempfile::tempdir().unwrap();
    for place in [Location::memory(), Location::open("state", folder.path(), &BTreeMap::new()).unwrap()] {
        let (one, two) = (StateStore::new(&place), StateStore::new(&place));
        commit(&one, 1, "common").await.unwrap();
        let (first, second) = tokio::join!(commit(&one, 2, "of one"), commit(&two, 2, "of two"));
        let fenced = |result: &Result<Manifest, StateError>| matches!(result, Err(StateError::Fenced { epoch: 2, .. }));
        assert_eq!([first.is_ok(), second.is_ok()].iter().filter(|won| **won).count(), 1);
        assert!(fenced(&first) || fenced(&second));
        // The loser has written its parts too, and they have not touched those of the winner.
        let manifest = one.latest().await.unwrap().unwrap();
        let winner = if first.is_ok() { "of one" } else { "of two" };
        assert_eq!(one.read_snapshots(&manifest).await.unwrap(), [[winner]]);
    }
}

#[tokio::test]
async fn a_commit_whose_answer_was_lost_is_not_taken_for_a_rival() {
    let state = StateStore::new(&Location::memory());
    let manifest = commit(&state, 1, "x").await.unwrap();
    state.commit(&manifest).await.unwrap();
}

#[tokio::test]
async fn a_torn_snapshot_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder_state(folder.path());
    let manifest = commit(&state, 1, "a whole snapshot").await.unwrap();
    let file = folder.path().join("state").join(&manifest.snapshots[0].path);
    std::fs::write(&file, "a whole").unwrap();
    let error = state.read_snapshots(&manifest).await.unwrap_err();
    assert!(error.to_string().contains("it has 7 bytes, its manifest says 16"), "{error}");
    std::fs::write(&file, "a whole snapshoT").unwrap();
    let error = state.read_snapshots(&manifest).await.unwrap_err();
    assert!(error.to_string().contains("does not fit the digest"), "{error}");
    std::fs::remove_file(&file).unwrap();
    let error = state.read_snapshots(&manifest).await.unwrap_err();
    assert!(error.to_string().contains("missing"), "{error}");
    assert!(!error.is_retriable());
}

#[tokio::test]
async fn a_damaged_newest_manifest_is_an_error_and_never_an_older_one() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder_state(folder.path());
    commit(&state, 1, "one").await.unwrap();
    commit(&state, 2, "two").await.unwrap();
    let file = folder.path().join("state/manifests/00000000000000000002.json");
    let text = std::fs::read_to_string(&file).unwrap();
    for damaged in [text.replace("200", "100"), text[..text.len() / 2].to_owned(), String::new()] {
        std::fs::write(&file, damaged).unwrap();
        let error = state.latest().await.unwrap_err();
        assert!(matches!(error, StateError::Damaged { .. }), "{error}");
        assert!(error.to_string().contains("00000000000000000002.json"), "{error}");
    }
    let other = std::fs::read(folder.path().join("state/manifests/00000000000000000001.json")).unwrap();
    std::fs::write(&file, other).unwrap();
    let error = state.latest().await.unwrap_err();
    assert!(error.to_string().contains("it is the manifest of epoch 1"), "{error}");
}

#[test]
fn a_newer_format_is_told_from_a_damaged_one() {
    let text = r#"{"format_version":99,"something_new":true}"#;
    let sealed = format!(r#"{{"blake3":"{}","manifest":{text}}}"#, blake3::hash(text.as_bytes()).to_hex());
    assert_eq!(Manifest::decode(sealed.as_bytes()).unwrap().format_version, 99);
}

#[tokio::test]
async fn retention_keeps_what_a_cursor_still_needs_and_always_the_newest() {
    let state = StateStore::new(&Location::memory());
    for epoch in 1..=5 {
        commit(&state, epoch, "x").await.unwrap();
    }
    assert_eq!(state.retain_from(4).await.unwrap(), 3 * 3, "manifest, snapshot and outputs of 1, 2 and 3");
    assert_eq!(state.epochs().await.unwrap(), [4, 5]);
    state.retain_from(99).await.unwrap();
    let newest = state.latest().await.unwrap().unwrap();
    assert_eq!(newest.epoch, 5);
    assert_eq!(state.read_snapshots(&newest).await.unwrap(), [["x"]]);
    assert_eq!(state.read_outputs(&newest).await.unwrap().len(), 3);
    assert_eq!(state.retain_from(99).await.unwrap(), 0);
}

#[tokio::test]
async fn retention_keeps_older_parts_that_a_kept_manifest_names() {
    let state = StateStore::new(&Location::memory());
    let base = commit(&state, 1, "base").await.unwrap();
    let mut next = Manifest::new(2);
    next.snapshots = base.snapshots.clone();
    state.commit(&next).await.unwrap();
    state.retain_from(2).await.unwrap();
    assert_eq!(state.read_snapshots(&next).await.unwrap(), [["base"]]);
}

#[tokio::test]
async fn cursors_are_kept_by_sink() {
    let state = StateStore::new(&Location::memory());
    assert_eq!(state.cursor("alerts").await.unwrap(), None);
    state.set_cursor("alerts", 7).await.unwrap();
    state.set_cursor("alerts", 8).await.unwrap();
    assert_eq!(state.cursor("alerts").await.unwrap(), Some(8));
    assert_eq!(state.cursor("playbooks").await.unwrap(), None);
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_said_so() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("state"), "a file stands where the folder should be").unwrap();
    let error = folder_state(folder.path()).check_writable().await.unwrap_err();
    assert!(error.is_retriable());
    assert!(error.to_string().starts_with("cannot write probe-"), "{error}");
    assert!(error.to_string().contains("/state"), "{error}");
}

#[tokio::test]
async fn a_death_between_two_deletions_leaves_no_gap_and_no_manifest_without_its_parts() {
    let call = Duration::from_millis(10);
    let config = ThrottleConfig { wait_delete_per_call: call, ..ThrottleConfig::default() };
    for deletions in 0..10 {
        let location = Location::memory();
        let mut state = StateStore::new(&location);
        for epoch in 1..=5 {
            commit(&state, epoch, "x").await.unwrap();
        }
        state.store = Arc::new(ThrottledStore::new(location.store(), config));
        // What is dropped in the middle of its work has died there. Where exactly is a matter of time, what holds is not.
        drop(tokio::time::timeout(call * deletions + call / 2, state.retain_from(5)).await);
        let epochs = state.epochs().await.unwrap();
        assert_eq!(epochs, (epochs[0]..=5).collect::<Vec<_>>());
        for epoch in epochs {
            let manifest = state.manifest(epoch).await.unwrap().unwrap();
            assert_eq!(state.read_snapshots(&manifest).await.unwrap(), [["x"]]);
            assert_eq!(state.read_outputs(&manifest).await.unwrap().len(), 3);
        }
    }
}
