//! The promises of a journal as one suite, run over every implementation.
//!
//! Each check panics with the broken promise; the suite is meant for tests.

use serde_json::Value;

use crate::audit::{self, Note, WEIR};
use crate::case::{Case, CaseStatus, Verdict};
use crate::facts::{AlertFacts, Moment, Severity};
use crate::playbook::Part;
use crate::run::{Mode, Phase, Run, RunStatus, StepRecord, StepStatus};

use super::{
    Approval, ApprovalFilter, AuditFilter, CaseFilter, ChangeOf, Decision, Journal, JournalError, RunFilter, Write,
};

/// Runs every check, each on a fresh and empty journal.
pub fn all(fresh: &mut dyn FnMut() -> Box<dyn Journal>) {
    run_starts_once(&mut *fresh());
    writes_hold_together_or_not_at_all(&mut *fresh());
    second_writer_notices_the_first(&mut *fresh());
    question_is_answered_once(&mut *fresh());
    filters_find_what_they_say(&mut *fresh());
    audit_chain_holds(&mut *fresh());
    changes_are_kept_as_they_were(&mut *fresh());
}

fn at(seconds: i64) -> Moment {
    Moment::from_timestamp(1_790_000_000 + seconds, 123_456_000).expect("a valid instant")
}

fn alert(uid: &str) -> AlertFacts {
    AlertFacts {
        uid: uid.to_owned(),
        detection: "d".to_owned(),
        title: "title with 'quotes' and \u{1F980}".to_owned(),
        message: None,
        severity: Severity::High,
        confidence: None,
        risk_score: None,
        time: at(0),
        count: 1,
        attack: Vec::new(),
        entities: [("host".to_owned(), "ws1".to_owned())].into(),
        evidence: serde_json::Map::new(),
        runbook: None,
    }
}

fn run(uid: &str) -> Run {
    Run::start(alert(uid), "contain_host", Part::Steps, Mode::Live, Some("case-1".to_owned()), at(0)).0
}

fn note(n: i64) -> Note {
    Note {
        at: at(n),
        actor: WEIR.to_owned(),
        case: Some(format!("case-{}", n % 2)),
        run: Some(format!("run-{}", n % 3)),
        what: "something".to_owned(),
        text: format!("n = {n}"),
        detail: if n % 2 == 0 { Value::Null } else { serde_json::json!({ "b": n, "a": 0.1 }) },
    }
}

/// An alert that is delivered twice starts one run.
pub fn run_starts_once(journal: &mut dyn Journal) {
    let first = run("a1");
    journal.write(&[Write::StartRun(first.clone())]).expect("the first start is accepted");
    let again = journal.write(&[Write::StartRun(first.clone())]);
    assert!(matches!(again, Err(JournalError::Exists(_))), "a second start of one run must be refused: {again:?}");
    let read =
        journal.runs(&RunFilter { id: Some(first.id.clone()), ..RunFilter::default() }).expect("runs can be read");
    assert_eq!(read, [first], "a run is read as it was written");
}

/// A refused change takes the others of its transaction with it.
pub fn writes_hold_together_or_not_at_all(journal: &mut dyn Journal) {
    let (case, opened) = Case::open(&alert("a1"), at(0));
    journal.write(&[Write::OpenCase(case.clone()), Write::Note(opened)]).expect("a case can be opened");
    let refused = journal.write(&[Write::StartRun(run("a2")), Write::Note(note(1)), Write::OpenCase(case)]);
    assert!(matches!(refused, Err(JournalError::Exists(_))), "an open case is not opened again: {refused:?}");
    assert!(
        journal.runs(&RunFilter::default()).expect("runs can be read").is_empty(),
        "the run of a refused write must not stay"
    );
    assert_eq!(journal.audit(&AuditFilter::default()).expect("audit can be read").len(), 1, "nor its note");
}

/// Two processes that change one run or case do not overwrite each other.
pub fn second_writer_notices_the_first(journal: &mut dyn Journal) {
    let first = run("a1");
    let (case, _) = Case::open(&alert("a1"), at(0));
    journal.write(&[Write::StartRun(first.clone()), Write::OpenCase(case.clone())]).expect("both are new");
    let next = Run { version: first.version + 1, status: RunStatus::Waiting, ..first };
    journal.write(&[Write::Run(next.clone())]).expect("the next version is accepted");
    assert!(
        matches!(journal.write(&[Write::Run(next)]), Err(JournalError::Conflict(_))),
        "an old version must be refused"
    );
    let mut changed = case.clone();
    changed.assign("kim", "kim", at(1)).expect("an open case can be assigned");
    journal.write(&[Write::Case { case: changed.clone(), from: case.version }]).expect("the next version is accepted");
    let late = journal.write(&[Write::Case { case: changed, from: case.version }]);
    assert!(matches!(late, Err(JournalError::Conflict(_))), "a case read before the change must be refused: {late:?}");
    let unknown = Run { id: "run-unknown".to_owned(), ..run("a9") };
    assert!(
        matches!(journal.write(&[Write::Run(unknown)]), Err(JournalError::Missing(_))),
        "an unknown run cannot go on"
    );
}

/// The first answer counts.
pub fn question_is_answered_once(journal: &mut dyn Journal) {
    let run = run("a1");
    let question = Approval {
        run: run.id.clone(),
        step: "isolate".to_owned(),
        playbook: "contain_host".to_owned(),
        alert: "a1".to_owned(),
        case: None,
        question: "Isolate ws1?".to_owned(),
        approvers: vec!["kim".to_owned()],
        asked: at(0),
        expires: at(60),
        decision: None,
    };
    journal.write(&[Write::StartRun(run.clone()), Write::Ask(question.clone())]).expect("a run can ask");
    journal.write(&[Write::Ask(question)]).expect("asking again changes nothing");
    let open = ApprovalFilter { run: None, open: true };
    assert_eq!(journal.approvals(&open).expect("questions can be read").len(), 1, "one question stays one");
    let yes = Decision { approved: true, by: "kim".to_owned(), at: at(1) };
    let answer = |decision: &Decision| Write::Decide {
        run: run.id.clone(),
        step: "isolate".to_owned(),
        decision: decision.clone(),
    };
    journal.write(&[answer(&yes)]).expect("the first answer counts");
    let no = Decision { approved: false, ..yes.clone() };
    assert!(matches!(journal.write(&[answer(&no)]), Err(JournalError::Answered(_))), "a second answer must be refused");
    assert!(journal.approvals(&open).expect("questions can be read").is_empty(), "an answered question is not open");
    let all =
        journal.approvals(&ApprovalFilter { run: Some(run.id.clone()), open: false }).expect("questions can be read");
    assert_eq!(all[0].decision.as_ref(), Some(&yes), "the answer is kept");
}

/// Every filter finds what it says, in order of beginning.
pub fn filters_find_what_they_say(journal: &mut dyn Journal) {
    let (first, second) = (run("a1"), run("a2"));
    let ended = Run { version: second.version + 1, status: RunStatus::Completed, updated: at(100), ..second.clone() };
    let (case, _) = Case::open(&alert("a1"), at(0));
    journal
        .write(&[Write::StartRun(first.clone()), Write::StartRun(second.clone()), Write::OpenCase(case.clone())])
        .expect("all are new");
    journal.write(&[Write::Run(ended)]).expect("a run can end");
    let ids = |journal: &mut dyn Journal, filter: RunFilter| -> Vec<String> {
        journal.runs(&filter).expect("runs can be read").into_iter().map(|run| run.id).collect()
    };
    assert_eq!(ids(journal, RunFilter::default()), [first.id.clone(), second.id.clone()]);
    assert_eq!(ids(journal, RunFilter { unfinished: true, ..RunFilter::default() }), std::slice::from_ref(&first.id));
    assert_eq!(
        ids(journal, RunFilter { alert: Some("a2".to_owned()), ..RunFilter::default() }),
        std::slice::from_ref(&second.id)
    );
    assert_eq!(
        ids(journal, RunFilter { since: Some(at(100)), ..RunFilter::default() }),
        std::slice::from_ref(&second.id)
    );
    assert_eq!(ids(journal, RunFilter { case: Some("case-1".to_owned()), ..RunFilter::default() }).len(), 2);
    assert_eq!(ids(journal, RunFilter { status: Some(RunStatus::Completed), ..RunFilter::default() }), [second.id]);
    let cases =
        |journal: &mut dyn Journal, filter: CaseFilter| journal.cases(&filter).expect("cases can be read").len();
    assert_eq!(cases(journal, CaseFilter { alert: Some("a1".to_owned()), ..CaseFilter::default() }), 1);
    assert_eq!(cases(journal, CaseFilter { alert: Some("a2".to_owned()), ..CaseFilter::default() }), 0);
    let about =
        |value: &str| Some(vec![("user".to_owned(), "nobody".to_owned()), ("host".to_owned(), value.to_owned())]);
    assert_eq!(cases(journal, CaseFilter { about: about("ws1"), ..CaseFilter::default() }), 1);
    assert_eq!(cases(journal, CaseFilter { about: about("ws2"), ..CaseFilter::default() }), 0);
    assert_eq!(cases(journal, CaseFilter { about: Some(Vec::new()), ..CaseFilter::default() }), 0);
    assert_eq!(cases(journal, CaseFilter { status: Some(CaseStatus::Closed), ..CaseFilter::default() }), 0);
    assert_eq!(cases(journal, CaseFilter { unclosed: true, since: Some(at(0)), ..CaseFilter::default() }), 1);
    assert_eq!(
        journal.cases(&CaseFilter { id: Some(case.id.clone()), ..CaseFilter::default() }).expect("cases can be read"),
        [case]
    );
}

/// The chain of the audit trail holds however notes are written.
pub fn audit_chain_holds(journal: &mut dyn Journal) {
    for n in 0..6 {
        journal.write(&[Write::Note(note(n)), Write::Note(note(n + 10))]).expect("notes can be written");
    }
    let all = journal.audit(&AuditFilter::default()).expect("audit can be read");
    assert_eq!(all.len(), 12);
    audit::verify(&all).expect("the chain holds");
    let of_case = journal
        .audit(&AuditFilter { case: Some("case-1".to_owned()), ..AuditFilter::default() })
        .expect("audit can be read");
    assert_eq!(of_case.len(), 6);
    let of_run = journal
        .audit(&AuditFilter { run: Some("run-0".to_owned()), after: 2, ..AuditFilter::default() })
        .expect("audit can be read");
    assert!(of_run.iter().all(|entry| entry.seq > 2 && entry.note.run.as_deref() == Some("run-0")), "{of_run:?}");
}

/// Every change has its row, which stays as it was, and a change that is refused has none.
pub fn changes_are_kept_as_they_were(journal: &mut dyn Journal) {
    assert_eq!(journal.last_change().expect("changes can be read"), 0);
    let (case, opened) = Case::open(&alert("a1"), at(0));
    journal.write(&[Write::OpenCase(case.clone()), Write::Note(opened)]).expect("a case can be opened");
    let mut closed = case.clone();
    let note = closed.close(Verdict::TruePositive, None, "kim", at(5)).expect("an open case can be closed");
    let close = [Write::Case { case: closed.clone(), from: case.version }, Write::Note(note)];
    journal.write(&close).expect("the next version is accepted");
    assert!(journal.write(&close).is_err(), "a case read before the change must be refused");

    let first = run("a1");
    journal.write(&[Write::StartRun(first.clone())]).expect("the run is new");
    let step = |status: StepStatus, attempts: u32| step(&first, status, attempts);
    let next = |run: &Run, step| Run { version: run.version + 1, steps: vec![step], ..run.clone() };
    let running = next(&first, step(StepStatus::Running, 1));
    let same = next(&running, step(StepStatus::Running, 1));
    let failed = next(&same, step(StepStatus::Failed, 2));
    for run in [&running, &same, &failed] {
        journal.write(&[Write::Run(run.clone())]).expect("the next version is accepted");
    }

    let told =
        |row: &Value, names: &[&str]| names.iter().map(|name| row[*name].to_string()).collect::<Vec<_>>().join(" ");
    let rows = |journal: &mut dyn Journal, of, after, names: &[&str]| -> Vec<String> {
        let changes = journal.changes(of, after, 10).expect("changes can be read");
        changes.iter().map(|change| told(&change.row, names)).collect()
    };
    let of_case = ["status", "verdict", "change", "actor", "host"];
    assert_eq!(
        rows(journal, ChangeOf::Cases, 0, &of_case),
        [r#""open" null "case_opened" "weir" "ws1""#, r#""closed" "true_positive" "case_closed" "kim" "ws1""#],
        "a later change does not change the row of an earlier one"
    );
    let of_step = ["status", "attempt", "step", "alert"];
    let of_steps = [r#""running" 1 "isolate" "a1""#, r#""failed" 2 "isolate" "a1""#];
    assert_eq!(rows(journal, ChangeOf::Actions, 0, &of_step), of_steps, "what has not changed has no row");
    let all = journal.changes(ChangeOf::Actions, 0, 10).expect("changes can be read");
    assert_eq!(journal.changes(ChangeOf::Actions, 0, 1).expect("changes can be read"), all[..1]);
    assert_eq!(journal.changes(ChangeOf::Actions, all[0].seq, 10).expect("changes can be read"), all[1..]);
    assert_eq!(journal.last_change().expect("changes can be read"), all[1].seq);
}

fn step(run: &Run, status: StepStatus, attempts: u32) -> StepRecord {
    StepRecord {
        id: "isolate".to_owned(),
        does: "contain device".to_owned(),
        status,
        phase: Phase::Call,
        attempts,
        tries: attempts,
        in_flight: false,
        wake: None,
        deadline: at(60),
        action_id: format!("{}-isolate", run.id),
        responder: None,
        command: None,
        request: None,
        planned: Vec::new(),
        found: serde_json::Map::new(),
        external_id: None,
        result: serde_json::Map::new(),
        verified: None,
        undo: None,
        decision: None,
        error: None,
        started: at(1),
        sent: None,
        ended: None,
    }
}
