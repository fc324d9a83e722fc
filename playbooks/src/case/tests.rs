//! Claims about cases.

use super::*;
use crate::sample::{alert, at};

fn opened() -> Case {
    Case::open(&alert("a1", &[("host", "WS17"), ("user", "mara")]), at(0)).0
}

#[test]
fn case_goes_from_open_to_closed() {
    let mut case = opened();
    assert_eq!(case.status, CaseStatus::Open);
    case.assign("kim", "kim", at(1)).unwrap();
    assert_eq!(case.status, CaseStatus::InProgress);
    case.contain(WEIR, "host isolated", at(2)).unwrap();
    case.close(Verdict::TruePositive, Some("phishing"), "kim", at(3)).unwrap();
    assert_eq!((case.status, case.verdict, case.version), (CaseStatus::Closed, Some(Verdict::TruePositive), 4));
}

#[test]
fn invalid_transitions_are_refused_and_change_nothing() {
    let mut case = opened();
    assert!(matches!(case.reopen("why", "kim", at(1)), Err(CaseError::NotClosed(_))));
    case.contain(WEIR, "x", at(1)).unwrap();
    assert!(matches!(case.start("kim", at(2)), Err(CaseError::Already { .. })));
    case.close(Verdict::Benign, None, "kim", at(3)).unwrap();
    let before = case.clone();
    assert!(matches!(case.close(Verdict::Benign, None, "kim", at(4)), Err(CaseError::Closed(_))));
    assert!(matches!(case.assign("kim", "kim", at(4)), Err(CaseError::Closed(_))));
    assert!(matches!(case.contain(WEIR, "x", at(4)), Err(CaseError::Closed(_))));
    assert_eq!(case, before);
    case.reopen("it came back", "kim", at(5)).unwrap();
    assert!(matches!(case.assign(" \n", "kim", at(6)), Err(CaseError::BadAssignee)));
}

#[test]
fn alerts_about_one_host_join_and_others_do_not() {
    let grouping = Grouping::default();
    let case = opened();
    assert!(case.accepts(&alert("a2", &[("host", "ws17")]), &grouping, at(60)));
    assert!(!case.accepts(&alert("a3", &[("host", "ws18")]), &grouping, at(60)));
    assert!(!case.accepts(&alert("a4", &[("domain", "ws17")]), &grouping, at(60)), "kinds do not mix");
    assert!(!case.accepts(&alert("a5", &[("host", "ws17")]), &grouping, at(5 * 3_600)), "the window is over");
    assert!(case.accepts(&alert("a1", &[]), &grouping, at(90 * 86_400)), "a known alert stays in its case");
}

#[test]
fn closed_or_full_case_takes_no_new_alert() {
    let mut case = opened();
    let full = Grouping { alerts_max: 1, ..Grouping::default() };
    assert!(!case.accepts(&alert("a2", &[("host", "ws17")]), &full, at(1)));
    case.close(Verdict::Test, None, "kim", at(1)).unwrap();
    assert!(!case.accepts(&alert("a2", &[("host", "ws17")]), &Grouping::default(), at(2)));
}

#[test]
fn second_delivery_of_an_alert_changes_nothing_and_an_update_raises_the_severity() {
    let mut case = opened();
    let mut same = alert("a1", &[("host", "WS17"), ("user", "mara")]);
    assert_eq!(case.add(&same, at(1)), None);
    same.severity = Severity::Critical;
    assert!(case.add(&same, at(2)).is_some());
    assert_eq!((case.alerts.len(), case.severity), (1, Severity::Critical));
}

#[test]
fn case_id_comes_from_the_alert() {
    assert_eq!(opened().id, opened().id);
}
