//! Storage that fails under the running process: a disk that is full or read-only, and state that is damaged or was set
//! back. Nothing is lost or doubled, and where somebody has to do something, Weir says what.

use std::fs;
use std::path::PathBuf;

use weir_connectors::location::Location;
use weir_connectors::state::{Manifest, StateStore};

use super::*;
use crate::support::disk::Disk;
use crate::support::process::Running;

const MEGABYTES: usize = 16;

/// A pipeline with topics, and a small disk in its folder.
fn on_a_small_disk(test: &str) -> Option<(String, Pipeline, Disk)> {
    let address = broker::shared(test)?;
    let pipeline = Pipeline::new(&address);
    let disk = Disk::mount(test, pipeline.project.join("disk"), MEGABYTES)?;
    pipeline.create_topics(&address, 2);
    Some((address, pipeline, disk))
}

/// Runs the process until the first 100 alerts are there.
fn run_to_100(address: &str, pipeline: &Pipeline) -> (Running, Tail) {
    produce_locked(address, pipeline, 0..100);
    let mut weir = pipeline.project.start(&["run"]);
    let mut tail = Tail::new(address, &pipeline.alerts);
    assert!(tail.wait_until(PATIENCE, |records| locked(records).len() == 100), "{}", weir.printed());
    (weir, tail)
}

#[track_caller]
fn terminate_well(weir: &mut Running) {
    assert!(weir.terminate(PATIENCE).success(), "{}", weir.printed());
}

#[test]
fn state_on_a_full_disk_is_waited_for() {
    let name = "kafka_faults::storage::state_on_a_full_disk_is_waited_for";
    let Some((address, pipeline, disk)) = on_a_small_disk(name) else { return };
    pipeline.configure("file:./state", "file:./disk/state");
    let (mut weir, mut tail) = run_to_100(&address, &pipeline);
    disk.fill();
    produce_locked(&address, &pipeline, 100..200);
    let line = weir.wait_for_line("the state cannot be written; nothing is read until it can", PATIENCE);
    assert!(line.contains("No space left on device") && line.contains("/disk/state"), "{line}");
    weir.wait_for_lines("the state cannot be written", 3, PATIENCE);
    disk.free();
    assert!(tail.wait_until(PATIENCE, |records| locked(records).len() == 200), "{}", weir.printed());
    weir.wait_for_line("the state can be written again", PATIENCE);
    terminate_well(&mut weir);
    assert_exactly(&address, &pipeline, 0..200);
    assert_eq!(archive::rows(&pipeline.project.join("archive/signin")).len(), 200);
}

#[test]
fn a_stop_on_a_full_disk_says_so_and_the_next_start_goes_on() {
    let name = "kafka_faults::storage::a_stop_on_a_full_disk_says_so_and_the_next_start_goes_on";
    let Some((address, pipeline, disk)) = on_a_small_disk(name) else { return };
    pipeline.configure("file:./state", "file:./disk/state");
    let (mut weir, mut tail) = run_to_100(&address, &pipeline);
    disk.fill();
    produce_locked(&address, &pipeline, 100..200);
    weir.wait_for_line("the state cannot be written", PATIENCE);
    assert_eq!(weir.terminate(PATIENCE).code(), Some(3), "{}", weir.printed());
    weir.wait_for_line("an epoch cannot be committed; the next start reads its events again", PATIENCE);

    let mut weir = pipeline.project.start(&["run"]);
    assert_eq!(weir.wait(PATIENCE).code(), Some(3), "{}", weir.printed());
    let line = weir.wait_for_line("the state cannot be written", PATIENCE);
    assert!(line.contains("No space left on device"), "{line}");

    disk.free();
    let mut weir = pipeline.project.start(&["run"]);
    assert!(tail.wait_until(PATIENCE, |records| locked(records).len() == 200), "{}", weir.printed());
    terminate_well(&mut weir);
    assert_exactly(&address, &pipeline, 0..200);
}

#[test]
fn state_on_a_disk_that_turns_read_only_is_waited_for() {
    let name = "kafka_faults::storage::state_on_a_disk_that_turns_read_only_is_waited_for";
    let Some((address, pipeline, disk)) = on_a_small_disk(name) else { return };
    pipeline.configure("file:./state", "file:./disk/state");
    let (mut weir, mut tail) = run_to_100(&address, &pipeline);
    disk.set_read_only(true);
    produce_locked(&address, &pipeline, 100..200);
    let line = weir.wait_for_line("the state cannot be written", PATIENCE);
    assert!(line.contains("Read-only file system"), "{line}");
    disk.set_read_only(false);
    assert!(tail.wait_until(PATIENCE, |records| locked(records).len() == 200), "{}", weir.printed());
    terminate_well(&mut weir);
    assert_exactly(&address, &pipeline, 0..200);
}

#[test]
fn an_archive_on_a_full_disk_holds_no_alert_and_is_caught_up() {
    let name = "kafka_faults::storage::an_archive_on_a_full_disk_holds_no_alert_and_is_caught_up";
    let Some((address, pipeline, disk)) = on_a_small_disk(name) else { return };
    pipeline.configure("file:./archive", "file:./disk/archive");
    let (mut weir, mut tail) = run_to_100(&address, &pipeline);
    disk.fill();
    produce_locked(&address, &pipeline, 100..200);
    let line = weir.wait_for_line("the archive is behind", PATIENCE);
    assert!(line.contains("No space left on device"), "{line}");
    assert!(tail.wait_until(PATIENCE, |records| locked(records).len() == 200), "alerts go on:\n{}", weir.printed());
    disk.free();
    terminate_well(&mut weir);
    let rows = archive::rows(&disk.folder().join("archive/signin"));
    let numbers: BTreeSet<_> = rows.iter().map(|row| row["seq"].to_string()).collect();
    assert_eq!((rows.len(), numbers.len()), (200, 200), "each event is archived once");
    assert_exactly(&address, &pipeline, 0..200);
}

#[test]
fn a_journal_on_a_full_disk_holds_no_alert_and_every_playbook_runs_once() {
    let name = "kafka_faults::storage::a_journal_on_a_full_disk_holds_no_alert_and_every_playbook_runs_once";
    let Some((address, pipeline, disk)) = on_a_small_disk(name) else { return };
    pipeline.configure("./weir.db", "./disk/weir.db");
    pipeline.project.write(
        "responders/chat.yaml",
        "id: chat\nbase_url: http://127.0.0.1:9\noperations:\n  - { does: notify, post: /say, body: { text: \
         '${message.text}' } }\n",
    );
    pipeline.project.write(
        "playbooks/tell.yaml",
        "id: tell\nwhen: alert.detection = 'test.locked'\nsteps:\n  - notify: ${alert.entities.user} is locked\n",
    );
    let (mut weir, mut tail) = run_to_100(&address, &pipeline);
    disk.fill();
    produce_locked(&address, &pipeline, 100..200);
    let line = weir.wait_for_line("an alert cannot be handed to response", PATIENCE);
    assert!(line.contains("disk is full"), "{line}");
    assert!(tail.wait_until(PATIENCE, |records| locked(records).len() == 200), "alerts go on:\n{}", weir.printed());
    disk.free();
    terminate_well(&mut weir);
    let mut weir = pipeline.project.start(&["run"]);
    weir.wait_for_line("INFO running", PATIENCE);
    terminate_well(&mut weir);
    let mut told: BTreeMap<String, usize> = BTreeMap::new();
    let actions = archive::rows(&pipeline.project.join("archive/actions"));
    for action in actions.iter().filter(|action| action["status"] == "planned") {
        *told.entry(action["alert"].to_string()).or_default() += 1;
    }
    assert!(told.len() == 200 && told.values().all(|times| *times == 1), "{} of {:?}", told.len(), actions.last());
    pipeline.project.weir(&["case", "audit"]).expect_code(0);
    assert_exactly(&address, &pipeline, 0..200);
}

/// The manifests in the state of a project, oldest first.
fn manifests(pipeline: &Pipeline) -> Vec<PathBuf> {
    let folder = fs::read_dir(pipeline.project.join("state/manifests")).expect("there is a state");
    let mut files: Vec<_> = folder.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files
}

/// Commits one more epoch in which nothing happened, and which nobody has delivered.
fn commit_one_more(pipeline: &Pipeline) -> PathBuf {
    let place = Location::open("state", pipeline.project.path(), &BTreeMap::new()).expect("a folder");
    let state = StateStore::new(&place);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let newest = state.latest().await.expect("it can be read").expect("epochs were committed");
        let next = Manifest { epoch: newest.epoch + 1, outputs: Default::default(), ..newest };
        state.commit(&next).await.expect("it can be committed");
    });
    manifests(pipeline).pop().expect("it was committed")
}

#[track_caller]
fn expect_refusal(pipeline: &Pipeline, texts: &[&str]) {
    let mut weir = pipeline.project.start(&["run"]);
    assert_eq!(weir.wait(PATIENCE).code(), Some(3), "{}", weir.printed());
    let printed = weir.printed();
    for text in texts {
        assert!(printed.contains(text), "{text:?} is not in:\n{printed}");
    }
}

#[test]
fn a_damaged_manifest_stops_the_start_and_can_be_left_out_as_long_as_nothing_of_it_was_delivered() {
    let name = "kafka_faults::storage::a_damaged_manifest_stops_the_start_and_can_be_left_out_as_long_as_nothing_of_it_was_delivered";
    let Some(address) = broker::shared(name) else { return };
    let pipeline = Pipeline::new(&address);
    pipeline.create_topics(&address, 2);
    let (mut weir, mut tail) = run_to_100(&address, &pipeline);
    terminate_well(&mut weir);

    let newest = commit_one_more(&pipeline);
    let text = fs::read(&newest).expect("a manifest");
    fs::write(&newest, &text[..text.len() / 2]).expect("it can be damaged");
    let file = newest.file_name().expect("a name").to_string_lossy().into_owned();
    expect_refusal(
        &pipeline,
        &[&file, "is damaged", "Restore this object from a copy", "move the manifest of its epoch away"],
    );
    fs::rename(&newest, pipeline.project.join("away.json")).expect("it can be moved away");

    produce_locked(&address, &pipeline, 100..200);
    let mut weir = pipeline.project.start(&["run"]);
    assert!(tail.wait_until(PATIENCE, |records| locked(records).len() == 200), "{}", weir.printed());
    terminate_well(&mut weir);
    assert_exactly(&address, &pipeline, 0..200);
    assert_eq!(archive::rows(&pipeline.project.join("archive/signin")).len(), 200);
}

#[test]
fn state_that_was_set_back_is_refused_and_a_new_beginning_says_the_same_again() {
    let name = "kafka_faults::storage::state_that_was_set_back_is_refused_and_a_new_beginning_says_the_same_again";
    let Some(address) = broker::shared(name) else { return };
    let pipeline = Pipeline::new(&address);
    pipeline.create_topics(&address, 2);
    let (mut weir, _) = run_to_100(&address, &pipeline);
    terminate_well(&mut weir);
    let place = |name: &str| pipeline.project.join(name);

    // A snapshot that is not what its manifest says.
    let newest = |folder: PathBuf| {
        let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
        entries.max().expect("something is in it")
    };
    let snapshot = newest(newest(place("state/snapshots")));
    let whole = fs::read(&snapshot).expect("a snapshot");
    fs::write(&snapshot, &whole[1..]).expect("it can be damaged");
    let file = snapshot.file_name().expect("a name").to_string_lossy().into_owned();
    expect_refusal(&pipeline, &[&file, "is damaged", "its manifest says"]);
    fs::write(&snapshot, &whole).expect("it can be restored");

    // An older state, as from a backup of yesterday.
    fs::rename(place("state"), place("state.newest")).expect("the state can be moved");
    expect_refusal(&pipeline, &["was delivered, but the state at", "is empty", "restore the newest state"]);
    // A new group alone would take the events of the new epochs for archived.
    let config = pipeline.project.read("weir.toml");
    let group = config.lines().find(|line| line.starts_with("group = ")).expect("a group");
    pipeline.configure(group, &format!("group = \"{}\"", kafka::unique("anew")));
    expect_refusal(&pipeline, &["of the archive at", "holds epoch", "move the archive away"]);

    // What the messages and docs/operations.md tell: all three anew.
    fs::remove_dir_all(place("state")).expect("what came of the new beginning can be removed");
    fs::rename(place("archive"), place("archive.old")).expect("the archive can be moved");
    let config = pipeline.project.read("weir.toml");
    let group = config.lines().find(|line| line.starts_with("group = ")).expect("a group");
    pipeline.configure(group, &format!("group = \"{}\"", kafka::unique("anew")));
    let mut weir = pipeline.project.start(&["run"]);
    produce_locked(&address, &pipeline, 100..200);
    let mut tail = Tail::new(&address, &pipeline.alerts);
    assert!(tail.wait_until(PATIENCE, |records| locked(records).len() == 200), "{}", weir.printed());
    terminate_well(&mut weir);
    let records = kafka::read_committed(&address, &pipeline.alerts);
    let ids: BTreeSet<_> = records.iter().map(|record| read(record).uid).collect();
    assert_eq!(ids.len(), 200, "what is said again has the ids it had");
    assert_eq!(archive::rows(&place("archive/signin")).len(), 200);
}
