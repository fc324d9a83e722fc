//! Claims about crashes: wherever the process dies, the run goes on at its step and nothing is done twice.

use super::*;

/// Drives with crashes at one point, then resumes until the end.
fn with_crash_at(point: usize) -> Option<(Driver, Run)> {
    let mut driver = Driver::new(PLAYBOOK);
    driver.crash_at = Some(point);
    let run = driver.start(&ENTITIES, Mode::Live);
    if driver.drive(run).is_ok() {
        return None;
    }
    driver.crash_at = None;
    driver.clock += TimeDelta::minutes(5);
    // Only what the journal holds is known after a crash.
    let mut runs = driver.journal.runs(&RunFilter { unfinished: true, ..RunFilter::default() }).unwrap();
    let run = match runs.pop() {
        Some(mut run) => {
            let playbook = driver.playbook.clone();
            run.resume(&playbook, driver.clock);
            driver.drive(run).expect("one crash is enough")
        }
        // The crash came after the last write.
        None => driver.journal.runs(&RunFilter::default()).unwrap().remove(0),
    };
    Some((driver, run))
}

#[test]
fn crash_at_every_point_neither_loses_nor_doubles_an_action() {
    let mut points = 0;
    while let Some((driver, run)) = with_crash_at(points + 1) {
        points += 1;
        assert_eq!(run.status, RunStatus::Completed, "crash at {points}: {:?}", statuses(&run));
        let vendor = &driver.vendor;
        assert_eq!(vendor.isolations, 1, "crash at {points}");
        assert_eq!(vendor.tickets.len(), 1, "crash at {points}: a ticket is searched for before it is made again");
        assert_eq!(vendor.messages.len(), 1, "crash at {points}: a message has a key too");
        let blocked: std::collections::BTreeSet<&String> = vendor.blocked.iter().collect();
        assert_eq!(blocked.len(), 1, "crash at {points}");
    }
    assert!(points > 30, "only {points} points were tried");
}

/// Nothing left, so the step goes on where it stood and does not look first for what it may have done.
#[test]
fn crash_while_a_step_waits_for_its_responder_leaves_nothing_in_flight() {
    let mut driver = Driver::new(PLAYBOOK);
    driver.vendor.behaviour = Some(Box::new(|request, _| (request.method == Method::Put).then(|| left_alone(5_000))));
    // Three requests, of which the last is not tried: each is written, sent and written again, in five ticks.
    driver.crash_at = Some(3 * 5 + 1);
    let run = driver.start(&ENTITIES, Mode::Live);
    assert!(driver.drive(run).is_err());
    assert_eq!(driver.vendor.received.last().map(|request| request.method), Some(Method::Put));
    let runs = driver.journal.runs(&RunFilter { unfinished: true, ..RunFilter::default() }).unwrap();
    let waiting = runs[0].steps.last().unwrap();
    assert_eq!((waiting.does.as_str(), waiting.in_flight), ("deny domain_name", false));
    assert!(waiting.wake.is_some() && waiting.sent.is_none(), "{waiting:?}");
}

#[test]
fn lost_answer_to_a_new_ticket_does_not_make_a_second_one() {
    let mut driver = Driver::new(PLAYBOOK);
    // The vendor makes the ticket and its answer is lost; the search before the first attempt could not show it yet.
    driver.vendor.tickets.push(json!({ "id": 7, "status": "open" }));
    driver.vendor.behaviour = Some(Box::new(|request, before| match (request.method, before) {
        (Method::Get, 0) if request.url.contains("/rt/tickets?") => Some(ok(json!({ "tickets": [] }))),
        (Method::Post, 0) if request.url.ends_with("/rt/tickets") => Some(timeout()),
        _ => None,
    }));
    let run = driver.go(&ENTITIES);
    assert_eq!(run.ticket.as_ref().unwrap().id, "7");
    assert_eq!(driver.vendor.tickets.len(), 1);
}

#[test]
fn same_alert_gives_the_same_run_and_keys() {
    let first = Run::start(alert("a1", &ENTITIES), "phishing", Part::Steps, Mode::Live, None, at(0)).0;
    let second = Run::start(alert("a1", &ENTITIES), "phishing", Part::Steps, Mode::Live, None, at(999)).0;
    assert_eq!((&first.id, first.action_id("contain")), (&second.id, second.action_id("contain")));
    let other = Run::start(alert("a2", &ENTITIES), "phishing", Part::Steps, Mode::Live, None, at(0)).0;
    assert_ne!((&first.id, first.action_id("contain")), (&other.id, other.action_id("contain")));
    assert_ne!(first.action_id("contain"), first.action_id("isolate"));
    let dry = Run::start(alert("a1", &ENTITIES), "phishing", Part::Steps, Mode::DryRun, None, at(0)).0;
    assert_ne!(first.id, dry.id, "trying a playbook does not use up the alert");
}

#[test]
fn resumed_question_is_still_open_and_keeps_its_end() {
    let mut driver = Driver::new(PLAYBOOK);
    let mut run = driver.start(&ENTITIES, Mode::Live);
    let next = loop {
        let mut world =
            World { playbook: &driver.playbook, responders: &driver.responders, guard: &mut driver.guard, case: None };
        match run.next(&mut world, at(5)) {
            Next::Http(request) => {
                let answer = driver.vendor.answer(&request);
                run.outcome(&mut world, Outcome::Http(answer), at(5));
            }
            next => break next,
        }
    };
    let Next::Ask(asked) = next else { panic!("{next:?}") };
    let playbook = driver.playbook.clone();
    run.resume(&playbook, at(300));
    let mut world =
        World { playbook: &driver.playbook, responders: &driver.responders, guard: &mut driver.guard, case: None };
    let Next::Ask(again) = run.next(&mut world, at(300)) else { panic!("the question is still open") };
    assert_eq!(asked, again);
    assert_eq!(asked.expires, at(5 + 15 * 60));
}
