//! Claims about the guard within a run.

use super::*;

#[test]
fn protected_host_is_refused_before_even_a_look_up_leaves() {
    let mut driver = Driver::new("id: p\nsteps:\n  - contain: device ${alert.entities.host}\n");
    driver.guard = Guard::new(Rules { hosts: vec!["dc-*".into()], ..Rules::default() });
    let run = driver.go(&[("host", "DC-01")]);
    assert_eq!((run.status, run.steps[0].status), (RunStatus::Failed, StepStatus::Refused));
    assert_eq!(driver.vendor.received, []);
    let audit = driver.journal.audit(&AuditFilter::default()).unwrap();
    assert!(
        audit.iter().any(|entry| entry.note.what == "step_refused" && entry.note.text.contains("never touch hosts")),
        "{audit:?}"
    );
}

#[test]
fn refusal_shows_in_a_dry_run_too() {
    let mut driver = Driver::new("id: p\nsteps:\n  - deny: domain_name ${alert.entities.domain}\n");
    driver.guard = Guard::new(Rules { domains: vec!["bad.test".into()], ..Rules::default() });
    let run = driver.start(&ENTITIES, Mode::DryRun);
    assert_eq!(driver.drive(run).unwrap().steps[0].status, StepStatus::Refused);
}

#[test]
fn storm_of_alerts_stops_at_the_hourly_limit() {
    let mut driver = Driver::new("id: p\nsteps:\n  - contain: device ${alert.entities.host}\n");
    driver.guard =
        Guard::new(Rules { per_kind_per_hour: BTreeMap::from([(TargetKind::Device, 3)]), ..Rules::default() });
    let mut refused = 0;
    for n in 0..10 {
        let (run, note) =
            Run::start(alert(&format!("a{n}"), &ENTITIES), "p", Part::Steps, Mode::Live, None, driver.clock);
        driver.journal.write(&[Write::StartRun(run.clone()), Write::Note(note)]).unwrap();
        let run = driver.drive(run).unwrap();
        refused += usize::from(run.steps[0].status == StepStatus::Refused);
    }
    assert_eq!(refused, 7);
    let isolations = driver.vendor.received.iter().filter(|request| request.method == Method::Post).count();
    assert_eq!(isolations, 3);
}

#[test]
fn dry_run_does_not_use_up_the_limits() {
    let mut driver = Driver::new("id: p\nsteps:\n  - contain: device ${alert.entities.host}\n");
    driver.guard = Guard::new(Rules { per_playbook_per_hour: 1, ..Rules::default() });
    for n in 0..3 {
        let (run, note) =
            Run::start(alert(&format!("a{n}"), &ENTITIES), "p", Part::Steps, Mode::DryRun, None, driver.clock);
        driver.journal.write(&[Write::StartRun(run.clone()), Write::Note(note)]).unwrap();
        assert_eq!(driver.drive(run).unwrap().steps[0].status, StepStatus::Planned);
    }
}

#[test]
fn retries_and_waits_count_once() {
    let mut driver = Driver::new(PLAYBOOK);
    driver.guard = Guard::new(Rules { per_playbook_per_hour: 2, ..Rules::default() });
    driver.vendor.behaviour = Some(Box::new(|request, before| {
        ((request.method == Method::Put || request.url.contains("isolation")) && before == 0).then(|| status(500))
    }));
    assert_eq!(driver.go(&ENTITIES).status, RunStatus::Completed, "two commands, four attempts");
}

#[test]
fn backoff_is_not_longer_than_the_longest_wait() {
    let far = after(at(0), Duration::from_secs(u64::MAX));
    assert_eq!(far, Moment::MAX_UTC, "an absurd wait does not wrap around");
}
