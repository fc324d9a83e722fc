//! Claims about runs, held against a simulated vendor that can fail, hang and lose answers.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::guard::Rules;
use crate::http::Method;
use crate::journal::{AuditFilter, Journal, RunFilter, Write};
use crate::openc2::TargetKind;
use crate::responder::Responder;
use crate::sample::{alert, at};

mod crash;
mod driver;
mod guarded;
mod hostile;

use driver::{Driver, left_alone, ok, responders, status, timeout};

const RESPONDERS: [&str; 4] = [
    "
id: edr
base_url: http://127.0.0.1:1/edr
auth: { bearer: EDR_TOKEN }
idempotency_header: Idempotency-Key
operations:
  - does: contain device
    lookup: { get: '/devices?name=${target.hostname}', take: { device: /devices/0/id } }
    post: /devices/${found.device}/isolation
    body: { comment: '${args.comment}' }
    external_id: /action
    verify: { get: '/devices/${found.device}', expect: { /isolated: true }, attempts: 3, every: 2 seconds }
  - does: allow device
    delete: /devices/${target.hostname}/isolation
",
    "
id: firewall
base_url: http://127.0.0.1:1/fw
operations:
  - does: deny domain_name
    put: /blocklist/${target.value}
  - does: allow domain_name
    delete: /blocklist/${target.value}
",
    "
id: tickets
base_url: http://127.0.0.1:1/rt
operations:
  - does: ticket open
    search: { get: '/tickets?query=fp:${alert.uid | plain}', take: { id: /tickets/0/id } }
    post: /tickets
    body: { title: '${fields.title}', fingerprint: '${alert.uid}' }
    external_id: /id
  - does: ticket close
    patch: /tickets/${ticket.id}
    body: { status: resolved, verdict: '${case.verdict}' }
",
    "
id: chat
base_url: http://127.0.0.1:1/chat
idempotency_header: X-Key
operations:
  - does: notify
    post: /messages
    body: { text: '${message.text}' }
",
];

const PLAYBOOK: &str = "
id: phishing
when: alert.severity >= 'high'
steps:
  - ticket: open
  - deny: domain_name ${alert.entities.domain}
    if: exists(alert.entities.domain)
    retry: { attempts: 3, backoff: 1 second }
  - ask: Isolate ${alert.entities.host}?
    id: isolate
    approvers: [kim]
    timeout: 15 minutes
    on_deny: continue
  - contain: device ${alert.entities.host}
    if: steps.isolate.approved
    id: contain
    retry: { attempts: 3, backoff: 1 second }
    timeout: 1 minute
    on_fail:
      - notify: could not isolate ${alert.entities.host}
  - notify: done with ${alert.title}
on_close:
  - ticket: close
";

pub(super) const ENTITIES: [(&str, &str); 2] = [("host", "ws17"), ("domain", "bad.test")];

pub(super) fn statuses(run: &Run) -> Vec<(String, StepStatus)> {
    run.steps.iter().map(|record| (record.does.clone(), record.status)).collect()
}

#[test]
fn whole_playbook_runs_and_each_action_is_proved_and_names_its_undo() {
    let mut driver = Driver::new(PLAYBOOK);
    let run = driver.go(&ENTITIES);
    assert_eq!(run.status, RunStatus::Completed);
    assert!(run.steps.iter().all(|record| record.status == StepStatus::Succeeded), "{:?}", statuses(&run));
    let contain = run.steps.iter().find(|record| record.id == "contain").unwrap();
    assert_eq!(contain.verified, Some(true));
    assert_eq!(contain.undo.as_ref().unwrap().to_string(), "allow device ws17");
    assert_eq!(contain.external_id.as_deref(), Some("act-1"));
    assert_eq!(run.ticket, Some(Ticket { responder: "tickets".into(), id: "7".into() }));
    assert_eq!((driver.vendor.isolations, driver.vendor.blocked.len(), driver.vendor.tickets.len()), (1, 1, 1));
}

#[test]
fn dry_run_sends_nothing_and_writes_down_the_exact_requests() {
    let mut driver = Driver::new(PLAYBOOK);
    let run = driver.start(&ENTITIES, Mode::DryRun);
    let run = driver.drive(run).unwrap();
    assert_eq!(driver.vendor.received, []);
    assert_eq!(run.status, RunStatus::Completed);
    let deny = run.steps.iter().find(|record| record.does == "deny domain_name").unwrap();
    assert_eq!(deny.status, StepStatus::Planned);
    assert_eq!(deny.request.as_ref().unwrap().to_string(), "PUT http://127.0.0.1:1/fw/blocklist/bad.test");
    let contain = run.steps.iter().find(|record| record.id == "contain").unwrap();
    assert_eq!(contain.planned.len(), 3, "look-up, call and proof");
    assert_eq!(contain.planned[0].to_string(), "GET http://127.0.0.1:1/edr/devices?name=ws17");
    assert_eq!(contain.planned[1].url, "http://127.0.0.1:1/edr/devices/%3Cdevice%3E/isolation");
}

#[test]
fn error_then_success_is_one_action() {
    let mut driver = Driver::new(PLAYBOOK);
    driver.vendor.behaviour =
        Some(Box::new(|request, before| (request.method == Method::Put && before == 0).then(|| status(500))));
    let run = driver.go(&ENTITIES);
    assert_eq!(run.status, RunStatus::Completed);
    let deny = run.steps.iter().find(|record| record.does == "deny domain_name").unwrap();
    assert_eq!((deny.attempts, deny.status), (2, StepStatus::Succeeded));
    assert_eq!(driver.vendor.blocked.len(), 1);
    assert_eq!(driver.clock, at(1), "it waited the back-off");
}

#[test]
fn waits_double_and_attempts_end() {
    let mut driver = Driver::new(PLAYBOOK);
    driver.vendor.behaviour = Some(Box::new(|request, _| (request.method == Method::Put).then(|| status(503))));
    let run = driver.go(&ENTITIES);
    assert_eq!(run.status, RunStatus::Failed);
    assert_eq!(driver.clock, at(3), "one second, then two");
    let deny = run.steps.last().unwrap();
    assert_eq!(deny.attempts, 3);
    assert!(deny.error.as_ref().unwrap().contains("after 3 attempts"), "{:?}", deny.error);
}

#[test]
fn vendor_that_asks_for_a_longer_wait_gets_it() {
    let mut driver = Driver::new(PLAYBOOK);
    driver.vendor.behaviour = Some(Box::new(|request, before| {
        (request.method == Method::Put && before == 0)
            .then(|| Ok(HttpResponse { status: 429, retry_after_ms: Some(30_000), body: Value::Null }))
    }));
    assert_eq!(driver.go(&ENTITIES).status, RunStatus::Completed);
    assert_eq!(driver.clock, at(30));
}

#[test]
fn step_waits_for_a_responder_that_is_left_alone_and_no_attempt_is_used_up() {
    let mut driver = Driver::new(PLAYBOOK);
    driver.vendor.behaviour = Some(Box::new(|request, before| match (request.method, before) {
        (Method::Put, 0) => Some(status(500)),
        (Method::Put, 1..=6) => Some(left_alone(5_000)),
        (Method::Put, 7) => Some(status(500)),
        _ => None,
    }));
    let run = driver.go(&ENTITIES);
    assert_eq!(run.status, RunStatus::Completed);
    let deny = run.steps.iter().find(|record| record.does == "deny domain_name").unwrap();
    assert_eq!(
        (deny.attempts, deny.status),
        (3, StepStatus::Succeeded),
        "nine times it was asked for, and three times it left"
    );
    assert_eq!(deny.sent, Some(at(0)));
    assert_eq!(driver.clock, at(1 + 6 * 5 + 2), "back-off, six pauses, back-off");
    let audit = driver.journal.audit(&AuditFilter::default()).unwrap();
    let waits: Vec<_> = audit.iter().filter(|entry| entry.note.what == "step_waits").collect();
    assert_eq!(waits.len(), 6);
    assert_eq!(waits[0].note.text, "not tried, next in 5000 ms: it failed too often; it is tried again in 5000 ms");
}

#[test]
fn step_that_waits_for_its_responder_in_vain_ends_at_its_timeout_and_has_sent_nothing() {
    let mut driver = Driver::new(&PLAYBOOK.replace(
        "retry: { attempts: 3, backoff: 1 second }\n  - ask",
        "retry: { attempts: 1 }\n    timeout: 12 seconds\n  - ask",
    ));
    driver.guard = Guard::new(Rules { per_playbook_per_hour: 1, ..Rules::default() });
    driver.vendor.behaviour = Some(Box::new(|request, _| (request.method == Method::Put).then(|| left_alone(5_000))));
    let run = driver.go(&ENTITIES);
    assert_eq!((run.status, driver.clock), (RunStatus::Failed, at(12)));
    let deny = run.steps.last().unwrap();
    assert_eq!((deny.attempts, deny.sent), (0, None), "nothing left");
    assert_eq!(deny.error.as_deref(), Some("timed out; last: it failed too often; it is tried again in 5000 ms"));
    // What did not leave does not count for the limits of an hour.
    driver.vendor.behaviour = None;
    let (again, note) = Run::start(alert("a2", &ENTITIES), "phishing", Part::Steps, Mode::Live, None, driver.clock);
    driver.journal.write(&[Write::StartRun(again.clone()), Write::Note(note)]).unwrap();
    let again = driver.drive(again).unwrap();
    let deny = again.steps.iter().find(|record| record.does == "deny domain_name").unwrap();
    assert_eq!(deny.status, StepStatus::Succeeded);
}

#[test]
fn what_left_before_its_responder_was_left_alone_still_counts_for_the_guard() {
    let mut driver = Driver::new(PLAYBOOK);
    driver.guard = Guard::new(Rules { per_playbook_per_hour: 2, ..Rules::default() });
    driver.vendor.behaviour = Some(Box::new(|request, before| match (request.method, before) {
        (Method::Put, 0) => Some(status(500)),
        (Method::Put, 1) => Some(left_alone(5_000)),
        _ => None,
    }));
    let run = driver.go(&ENTITIES);
    assert_eq!(run.status, RunStatus::Completed);
    let (again, note) = Run::start(alert("a2", &ENTITIES), "phishing", Part::Steps, Mode::Live, None, driver.clock);
    driver.journal.write(&[Write::StartRun(again.clone()), Write::Note(note)]).unwrap();
    let again = driver.drive(again).unwrap();
    let deny = again.steps.iter().find(|record| record.does == "deny domain_name").unwrap();
    assert_eq!(deny.status, StepStatus::Refused, "a domain and a device are the two of this hour");
}

#[test]
fn waiting_in_a_look_up_uses_up_none_of_its_tries_nor_an_attempt_of_the_call_before_it() {
    let playbook = "
id: phishing
when: alert.severity >= 'high'
steps:
  - ticket: open
    retry: { attempts: 2, backoff: 1 second }
";
    let mut driver = Driver::new(playbook);
    driver.vendor.behaviour = Some(Box::new(|request, before| match (request.method, before) {
        (Method::Get, 0..=2) => Some(left_alone(5_000)),
        (Method::Get, 3) | (Method::Post, _) => Some(status(500)),
        (Method::Get, 5) => Some(left_alone(5_000)),
        _ => None,
    }));
    let run = driver.go(&ENTITIES);
    let open = &run.steps[0];
    assert_eq!((run.status, open.attempts), (RunStatus::Failed, 2));
    assert_eq!(driver.vendor.received.iter().filter(|request| request.method == Method::Post).count(), 2);
    assert_eq!(driver.clock, at(3 * 5 + 1 + 1 + 5), "three pauses, two back-offs, a pause");
}

#[test]
fn refusal_of_the_vendor_is_not_repeated() {
    let mut driver = Driver::new(PLAYBOOK);
    driver.vendor.behaviour = Some(Box::new(|request, _| (request.method == Method::Put).then(|| status(403))));
    let run = driver.go(&ENTITIES);
    assert_eq!((run.status, run.steps.last().unwrap().attempts), (RunStatus::Failed, 1));
}

#[test]
fn silence_is_a_no_and_the_endpoint_stays_connected() {
    let mut driver = Driver::new(PLAYBOOK);
    driver.answer = None;
    let run = driver.go(&ENTITIES);
    assert_eq!(driver.clock, at(15 * 60));
    assert_eq!(run.status, RunStatus::Completed, "on_deny: continue");
    let status_of = |id: &str| run.steps.iter().find(|record| record.id == id).unwrap().status;
    assert_eq!((status_of("isolate"), status_of("contain")), (StepStatus::Denied, StepStatus::Skipped));
    assert_eq!(driver.vendor.isolations, 0);
}

#[test]
fn denial_ends_the_run_where_the_playbook_does_not_say_otherwise() {
    let mut driver = Driver::new(&PLAYBOOK.replace("    on_deny: continue\n", ""));
    driver.answer = Some(false);
    assert_eq!(driver.go(&ENTITIES).status, RunStatus::Denied);
    assert_eq!(driver.vendor.isolations, 0);
}

#[test]
fn failed_step_goes_where_on_fail_says() {
    let mut driver = Driver::new(PLAYBOOK);
    driver.vendor.behaviour = Some(Box::new(|request, _| request.url.contains("isolation").then(|| status(404))));
    let run = driver.go(&ENTITIES);
    assert_eq!(run.status, RunStatus::Completed);
    assert_eq!(driver.vendor.messages, ["could not isolate ws17", "done with Mail, click and process of one user"]);
}

#[test]
fn accepted_but_not_in_effect_is_a_failure() {
    let mut driver = Driver::new(PLAYBOOK);
    driver.vendor.behaviour = Some(Box::new(|request, _| {
        (request.method == Method::Get && request.url.ends_with("/d-1")).then(|| ok(json!({ "isolated": false })))
    }));
    let run = driver.go(&ENTITIES);
    let contain = run.steps.iter().find(|record| record.id == "contain").unwrap();
    assert_eq!((contain.status, contain.verified), (StepStatus::Failed, Some(false)));
    assert!(contain.error.as_ref().unwrap().contains("`/isolated` is false and not true"), "{:?}", contain.error);
}

#[test]
fn hung_responder_ends_at_the_timeout_of_the_step() {
    let mut driver = Driver::new(&PLAYBOOK.replace(
        "{ attempts: 3, backoff: 1 second }\n    timeout",
        "{ attempts: 20, backoff: 10 seconds }\n    timeout",
    ));
    driver.vendor.behaviour = Some(Box::new(|request, _| request.url.contains("/edr/").then(timeout)));
    let run = driver.go(&ENTITIES);
    let contain = run.steps.iter().find(|record| record.id == "contain").unwrap();
    assert!(contain.error.as_ref().unwrap().starts_with("timed out; last: no answer"), "{:?}", contain.error);
    assert!(driver.clock <= at(60) + TimeDelta::seconds(1));
}

#[test]
fn request_may_take_no_longer_than_the_step() {
    let mut driver = Driver::new(&PLAYBOOK.replace("timeout: 1 minute", "timeout: 5 seconds"));
    driver.go(&ENTITIES);
    let contain = driver.vendor.received.iter().find(|request| request.url.contains("isolation")).unwrap();
    assert_eq!(contain.timeout_ms, 5_000);
}

#[test]
fn missing_value_fails_the_step_before_anything_leaves() {
    let mut driver = Driver::new("id: p\nsteps:\n  - contain: device ${alert.entities.host}\n");
    let run = driver.go(&[("domain", "bad.test")]);
    assert_eq!(run.status, RunStatus::Failed);
    assert_eq!(run.steps[0].error.as_deref(), Some("`alert.entities.host` has no value"));
    assert_eq!(driver.vendor.received, []);
}

#[test]
fn look_up_gives_later_steps_its_row() {
    let text = "
id: p
steps:
  - enrich: asset
    table: assets
    key: host
    value: ${alert.entities.host}
  - notify: belongs to ${asset.owner}
    if: exists(asset.owner)
";
    let mut driver = Driver::new(text);
    driver.go(&ENTITIES);
    assert_eq!(driver.vendor.messages, ["belongs to mara"]);
    let mut driver = Driver::new(text);
    let run = driver.go(&[("host", "unknown")]);
    assert_eq!(
        (run.status, driver.vendor.messages.len()),
        (RunStatus::Completed, 0),
        "an unknown host is an answer, not a failure"
    );
}

#[test]
fn closing_run_inherits_the_ticket() {
    let mut driver = Driver::new(PLAYBOOK);
    let opened = driver.go(&ENTITIES);
    let (mut closing, note) =
        Run::start(opened.alert.clone(), "phishing", Part::OnClose, Mode::Live, None, driver.clock);
    closing.inherit(&opened);
    driver.journal.write(&[Write::StartRun(closing.clone()), Write::Note(note)]).unwrap();
    let closing = driver.drive(closing).unwrap();
    assert_eq!(closing.status, RunStatus::Completed);
    assert_eq!(driver.vendor.tickets[0]["status"], json!("resolved"));
}

#[test]
fn run_survives_its_json() {
    let mut driver = Driver::new(PLAYBOOK);
    let run = driver.go(&ENTITIES);
    let text = serde_json::to_string(&run).unwrap();
    let mut read: Run = serde_json::from_str(&text).unwrap();
    read.notes = run.notes.clone();
    assert_eq!(read, run);
}

#[test]
fn edited_playbook_without_the_step_ends_the_run_and_says_so() {
    let mut driver = Driver::new(PLAYBOOK);
    let mut run = driver.start(&ENTITIES, Mode::Live);
    run.at = Some("gone".into());
    run.steps.clear();
    let run = driver.drive(run).unwrap();
    assert_eq!(run.status, RunStatus::Failed);
}

#[test]
fn message_and_ticket_do_without_a_value_that_is_not_there() {
    let text = "
id: p
steps:
  - ticket: open
    title: '${alert.title}: ${alert.entities.user}'
    text: ${alert.message}
  - notify: '${alert.entities.user} is affected'
";
    let mut driver = Driver::new(text);
    assert_eq!(driver.go(&ENTITIES).status, RunStatus::Completed);
    assert_eq!(driver.vendor.messages, ["unknown is affected"]);
    let ticket = driver.vendor.received.iter().find(|request| request.method == Method::Post).unwrap();
    assert_eq!(ticket.body.as_ref().unwrap()["title"], json!("Mail, click and process of one user: unknown"));
}

#[test]
fn cancelled_run_does_nothing_more() {
    let mut driver = Driver::new(PLAYBOOK);
    let mut run = driver.start(&ENTITIES, Mode::Live);
    run.cancel("the case was closed", "kim", at(1));
    let run = driver.drive(run).unwrap();
    assert_eq!((run.status, driver.vendor.received.len()), (RunStatus::Cancelled, 0));
}

#[test]
fn ticket_that_was_never_opened_is_not_closed_and_the_rest_goes_on() {
    let mut driver = Driver::new("id: p\nsteps:\n  - ticket: close\n  - notify: done\n");
    let run = driver.go(&ENTITIES);
    assert_eq!((run.status, run.steps[0].status), (RunStatus::Completed, StepStatus::Skipped));
    assert_eq!(driver.vendor.messages, ["done"]);
}
