//! Claims about the SQLite journal.

use weir_playbooks::audit::{self, Note, WEIR};
use weir_playbooks::case::Verdict;
use weir_playbooks::facts::Moment;
use weir_playbooks::journal::conformance;

use super::*;

fn note(text: &str) -> Write {
    Write::Note(Note {
        at: Moment::from_timestamp(1_790_000_000, 0).unwrap(),
        actor: WEIR.into(),
        case: None,
        run: None,
        what: "x".into(),
        text: text.into(),
        detail: serde_json::Value::Null,
    })
}

#[test]
fn sqlite_keeps_the_promises_of_a_journal() {
    let dir = tempfile::tempdir().unwrap();
    let mut n = 0;
    conformance::all(&mut || {
        n += 1;
        Box::new(SqliteJournal::open(&dir.path().join(format!("{n}.db"))).unwrap())
    });
}

#[test]
fn what_was_written_is_there_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("weir.db");
    SqliteJournal::open(&path).unwrap().write(&[note("a"), note("b")]).unwrap();
    let mut again = SqliteJournal::open(&path).unwrap();
    again.write(&[note("c")]).unwrap();
    let entries = again.audit(&AuditFilter::default()).unwrap();
    assert_eq!(entries.iter().map(|entry| entry.note.text.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!(audit::verify(&entries), Ok(()));
}

#[test]
fn two_processes_share_a_file_and_one_chain() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("weir.db");
    let (mut one, mut two) = (SqliteJournal::open(&path).unwrap(), SqliteJournal::open(&path).unwrap());
    for n in 0..20 {
        one.write(&[note(&format!("one {n}"))]).unwrap();
        two.write(&[note(&format!("two {n}"))]).unwrap();
    }
    let entries = one.audit(&AuditFilter::default()).unwrap();
    assert_eq!(entries.len(), 40);
    assert_eq!(audit::verify(&entries), Ok(()));
}

#[test]
fn file_of_a_later_version_or_of_something_else_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let newer = dir.path().join("newer.db");
    drop(SqliteJournal::open(&newer).unwrap());
    Connection::open(&newer).unwrap().execute_batch("PRAGMA user_version = 99").unwrap();
    assert!(matches!(SqliteJournal::open(&newer), Err(StoreError::NewerFormat { found: 99, .. })));
    let other = dir.path().join("other.db");
    Connection::open(&other).unwrap().execute_batch("CREATE TABLE photos (id)").unwrap();
    assert!(matches!(SqliteJournal::open(&other), Err(StoreError::NotAJournal { .. })));
    let text = dir.path().join("text.db");
    std::fs::write(
        &text,
        "this is not a database, it is a text of more than a hundred bytes, so that nobody mistakes it for one!!",
    )
    .unwrap();
    assert!(matches!(SqliteJournal::open(&text), Err(StoreError::Open { .. })));
    assert!(SqliteJournal::open(&dir.path().join("no/such/folder/weir.db")).is_err());
}

#[test]
fn audit_trail_cannot_be_edited_through_sql() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("weir.db");
    let mut journal = SqliteJournal::open(&path).unwrap();
    journal.write(&[note("a")]).unwrap();
    assert!(journal.connection.execute("DELETE FROM audit", []).is_err());
    assert!(journal.connection.execute("UPDATE audit SET text = 'b'", []).is_err());
}

/// Journals that earlier versions left behind. `connectors/fixtures/journal-N.sqlite` was written in format N; it is never changed.
#[test]
fn journals_of_every_format_are_read_and_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    if let Ok(format) = std::env::var("WEIR_WRITE_FIXTURES") {
        let path = fixtures.join(format!("journal-{format}.sqlite"));
        let mut journal = SqliteJournal::open(&path).unwrap();
        conformance::changes_are_kept_as_they_were(&mut journal);
        // One file, without the log beside it.
        journal.connection.execute_batch("PRAGMA journal_mode = DELETE").unwrap();
    }
    // Format 1 knew no changes; their numbers go on where the audit trail is.
    for (format, actions, last) in [(1, 0, 2), (2, 2, 4)] {
        let path = dir.path().join(format!("{format}.db"));
        std::fs::copy(fixtures.join(format!("journal-{format}.sqlite")), &path).unwrap();
        let mut journal = SqliteJournal::open(&path).unwrap();
        let cases = journal.cases(&CaseFilter::default()).unwrap();
        assert_eq!(cases.iter().map(|case| case.verdict).collect::<Vec<_>>(), [Some(Verdict::TruePositive)]);
        let runs = journal.runs(&RunFilter::default()).unwrap();
        assert_eq!(runs.iter().map(|run| run.steps.len()).collect::<Vec<_>>(), [1], "format {format}");
        assert_eq!(journal.changes(ChangeOf::Actions, 0, 10).unwrap().len(), actions, "format {format}");
        assert_eq!(journal.last_change().unwrap(), last, "format {format}");
        journal.write(&[note("c")]).unwrap();
        let entries = journal.audit(&AuditFilter::default()).unwrap();
        assert_eq!((entries.len(), audit::verify(&entries)), (3, Ok(())), "format {format}");
    }
}
