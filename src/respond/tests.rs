//! Claims about response, with the shipped playbooks and responders against simulated vendors over real HTTP.

use std::path::Path;

use serde_json::json;
use weir_connectors::store::SqliteJournal;
use weir_playbooks::case::{Case, CaseStatus, Verdict};
use weir_playbooks::journal::{ApprovalFilter, AuditFilter, CaseFilter, ChangeOf, Memory};
use weir_playbooks::library;
use weir_playbooks::responder::Responder;
use weir_playbooks::run::{RunStatus, StepStatus};

use super::alerts::Taken;
use super::simulated::Simulated;
use super::*;

mod faults;

const QUICK: &str = "
id: quick
when: alert.detection = 'quick'
steps:
  - contain: device ${alert.entities.host}
    retry: { attempts: 3, backoff: 1 ms }
    timeout: 10 seconds
  - notify: ${alert.entities.host} is isolated
";

const PATIENT: &str = "
id: patient
when: alert.detection = 'patient'
steps:
  - deny: domain_name ${alert.entities.domain}
";

fn alert(uid: &str, detection: &str, entities: &[(&str, &str)]) -> Value {
    let entities: Map<String, Value> =
        entities.iter().map(|(kind, value)| ((*kind).to_owned(), json!(value))).collect();
    json!({
        "class_uid": 2004,
        "activity_id": 1,
        "status_id": 1,
        "time": 1_790_000_000_000_i64,
        "severity_id": 5,
        "count": 1,
        "message": "Critical because the site is known bad.",
        "finding_info": {
            "uid": uid,
            "title": "Phishing mail, click and code execution for one user",
            "analytic": { "uid": detection },
            "attacks": [{ "technique": { "uid": "T1566" }, "sub_technique": { "uid": "T1566.002" } }],
        },
        "evidences": [{ "data": { "steps": 3 } }],
        "unmapped": { "weir": { "entities": entities } },
    })
}

fn phishing() -> Value {
    alert("a1", "correlation.phishing_chain", &[("host", "ws17"), ("user", "mara"), ("domain", "login-portal.test")])
}

/// A service over simulated vendors.
struct House {
    simulated: Arc<Simulated>,
    respond: Respond,
}

fn setup(simulated: &Simulated, mode: Mode) -> Setup {
    let mut setup = Setup {
        role: Role::Service,
        playbooks: BTreeMap::new(),
        responders: Responders::new(),
        mode,
        rules: Rules::default(),
        grouping: Grouping::default(),
        case_severity_min: Severity::Medium,
        lookup: Arc::new(|_, _, _| Ok(None)),
    };
    for file in library::files() {
        if file.path.starts_with("playbooks/") {
            let playbook = Playbook::parse(file.text).unwrap();
            setup.playbooks.insert(playbook.id.clone(), playbook);
        } else {
            let mut responder = Responder::parse(file.text).unwrap();
            // Vendors that are not simulated stay without an address.
            if responder.resolve(&|name| simulated.setting(name)).is_ok() {
                setup.responders.insert(responder.id.clone(), responder);
            }
        }
    }
    for text in [QUICK, PATIENT] {
        let playbook = Playbook::parse(text).unwrap();
        setup.playbooks.insert(playbook.id.clone(), playbook);
    }
    setup
}

async fn house_with(simulated: Arc<Simulated>, journal: Box<dyn Journal>, change: impl FnOnce(&mut Setup)) -> House {
    let mut setup = setup(&simulated, Mode::Live);
    change(&mut setup);
    let secrets = Arc::clone(&simulated);
    let sender = HttpSender::new(Arc::new(move |_, name| secrets.setting(name)), 4).unwrap();
    let respond = Respond::start(setup, journal, sender).await.unwrap();
    House { simulated, respond }
}

async fn house() -> House {
    house_with(Arc::new(Simulated::start().await.unwrap()), Box::new(Memory::default()), |_| {}).await
}

impl House {
    /// An analyst who answers every question the same way.
    fn analyst(&self, approves: bool) {
        let (respond, mut questions) = (self.respond.clone(), self.respond.questions());
        tokio::spawn(async move {
            while let Ok(question) = questions.recv().await {
                respond.decide(&question.run, Some(&question.step), approves, "kim").await.unwrap();
            }
        });
    }

    async fn runs(&self) -> Vec<Run> {
        self.respond.inner.journal(|journal| journal.runs(&RunFilter::default())).await.unwrap()
    }

    async fn case(&self) -> Case {
        let mut cases = self.respond.inner.journal(|journal| journal.cases(&CaseFilter::default())).await.unwrap();
        assert_eq!(cases.len(), 1, "{cases:?}");
        cases.remove(0)
    }
}

#[tokio::test]
async fn phishing_incident_goes_from_alert_to_closed_ticket() {
    let house = house().await;
    house.analyst(true);
    let taken = house.respond.alert(&phishing()).await.unwrap();
    assert_eq!(taken.runs.len(), 1);
    house.respond.idle().await;

    let world = house.simulated.world();
    assert!(
        world.blocked.contains("login-portal.test") && world.isolated.contains("ws17") && world.reset.contains("mara")
    );
    assert_eq!(world.tickets.len(), 1);
    assert_eq!(world.tickets[0].comments[1], "Domain: succeeded, endpoint: succeeded, password: succeeded");
    assert!(world.messages[0].contains("Ticket 1"), "{:?}", world.messages);

    let run = &house.runs().await[0];
    assert_eq!(run.status, RunStatus::Completed);
    let commands: Vec<_> = run.steps.iter().filter(|step| step.command.is_some()).collect();
    assert_eq!(commands.len(), 3);
    assert!(
        commands
            .iter()
            .all(|step| step.status == StepStatus::Succeeded && step.verified == Some(true) && step.undo.is_some())
    );
    let case = house.case().await;
    assert_eq!((case.status, case.tickets.len()), (CaseStatus::Contained, 1));

    house.respond.close_case(&case.id, Verdict::TruePositive, Some("phishing"), "kim").await.unwrap();
    house.respond.idle().await;
    let world = house.simulated.world();
    assert_eq!(
        (world.tickets[0].status.as_str(), world.tickets[0].resolution.as_deref()),
        ("resolved", Some("Incident"))
    );
    assert_eq!(house.case().await.status, CaseStatus::Closed);
    let audit = house.respond.inner.journal(|journal| journal.audit(&AuditFilter::default())).await.unwrap();
    assert_eq!(weir_playbooks::audit::verify(&audit), Ok(()));
}

#[tokio::test]
async fn alert_that_comes_again_starts_nothing_again() {
    let house = house().await;
    house.analyst(true);
    for _ in 0..3 {
        house.respond.alert(&phishing()).await.unwrap();
    }
    house.respond.idle().await;
    assert_eq!(house.respond.alert(&phishing()).await.unwrap().runs, [] as [String; 0]);
    assert_eq!((house.runs().await.len(), house.simulated.world().tickets.len()), (1, 1));
    assert_eq!(house.case().await.alerts.len(), 1);
}

#[tokio::test]
async fn dry_run_sends_nothing() {
    let house = house_with(Arc::new(Simulated::start().await.unwrap()), Box::new(Memory::default()), |setup| {
        setup.mode = Mode::DryRun
    })
    .await;
    house.respond.alert(&phishing()).await.unwrap();
    house.respond.idle().await;
    assert_eq!(house.simulated.world().requests, [] as [String; 0]);
    let run = &house.runs().await[0];
    assert_eq!(run.status, RunStatus::Completed);
    assert!(
        run.steps.iter().any(|step| step
            .planned
            .iter()
            .any(|request| request.url.ends_with("/blocklists/domains/login-portal.test")))
    );
    assert_eq!(house.case().await.status, CaseStatus::Open, "nothing was contained");
}

#[tokio::test]
async fn denied_endpoint_stays_on_the_network_and_the_rest_happens() {
    let house = house().await;
    house.analyst(false);
    house.respond.alert(&phishing()).await.unwrap();
    house.respond.idle().await;
    let world = house.simulated.world();
    assert!(world.isolated.is_empty() && world.reset.contains("mara"));
    assert_eq!(world.tickets[0].comments[1], "Domain: succeeded, endpoint: skipped, password: succeeded");
}

#[tokio::test]
async fn failing_vendor_that_recovers_is_acted_on_once() {
    let house = house().await;
    house.simulated.fail("/isolation", 2);
    house.respond.alert(&alert("a1", "quick", &[("host", "ws1")])).await.unwrap();
    house.respond.idle().await;
    let run = &house.runs().await[0];
    assert_eq!((run.status, run.steps[0].attempts), (RunStatus::Completed, 3));
    assert!(house.simulated.world().isolated.contains("ws1"));
}

#[tokio::test]
async fn hung_responder_does_not_hold_the_runs_of_others() {
    let house = house().await;
    house.simulated.hang("/edr/");
    for n in 0..20 {
        house.respond.alert(&alert(&format!("h{n}"), "quick", &[("host", &format!("ws{n}"))])).await.unwrap();
    }
    let mut changes = house.respond.changes();
    house.respond.alert(&alert("p", "patient", &[("domain", "bad.test")])).await.unwrap();
    let blocked = async {
        while !house.simulated.world().blocked.contains("bad.test") {
            changes.changed().await.unwrap();
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(5), blocked)
        .await
        .expect("the firewall answers while the EDR hangs");
}

#[tokio::test]
async fn run_goes_on_after_the_process_died_in_the_middle() {
    let dir = tempfile::tempdir().unwrap();
    let open = |path: &Path| Box::new(SqliteJournal::open(&path.join("weir.db")).unwrap());
    let simulated = Arc::new(Simulated::start().await.unwrap());
    let first = house_with(Arc::clone(&simulated), open(dir.path()), |_| {}).await;
    let mut questions = first.respond.questions();
    first.respond.alert(&phishing()).await.unwrap();
    let question = questions.recv().await.unwrap();
    // The process stops while the run waits for an answer; somebody answers on the command line.
    first.respond.stop().await;
    drop(first);
    let mut journal = open(dir.path());
    desk::decide(journal.as_mut(), &question.run, None, true, "kim", now()).unwrap();
    let second = house_with(Arc::clone(&simulated), journal, |_| {}).await;
    second.respond.idle().await;
    let world = simulated.world();
    assert!(world.isolated.contains("ws17"));
    assert_eq!((world.tickets.len(), world.messages.len()), (1, 1), "nothing before the question was repeated");
    assert_eq!(second.runs().await[0].status, RunStatus::Completed);
}

#[tokio::test]
async fn run_of_a_process_that_was_killed_goes_on_and_doubles_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let open = |path: &Path| Box::new(SqliteJournal::open(&path.join("weir.db")).unwrap());
    let simulated = Arc::new(Simulated::start().await.unwrap());
    simulated.hang("/isolation");
    let first = house_with(Arc::clone(&simulated), open(dir.path()), |_| {}).await;
    first.analyst(true);
    first.respond.alert(&phishing()).await.unwrap();
    simulated.requested("/isolation").await;
    // Killed while a request is on its way: no task gets to say goodbye.
    lock(&first.respond.inner.tasks).abort_all();
    first.respond.idle().await;
    simulated.heal();
    let second = house_with(Arc::clone(&simulated), open(dir.path()), |_| {}).await;
    second.analyst(true);
    second.respond.idle().await;
    let world = simulated.world();
    assert!(world.isolated.contains("ws17"));
    assert_eq!((world.tickets.len(), world.messages.len()), (1, 1));
    assert_eq!(second.runs().await[0].status, RunStatus::Completed);
}

#[tokio::test]
async fn command_leaves_the_runs_of_the_service_alone() {
    let dir = tempfile::tempdir().unwrap();
    let open = |path: &Path| Box::new(SqliteJournal::open(&path.join("weir.db")).unwrap());
    let simulated = Arc::new(Simulated::start().await.unwrap());
    let service = house_with(Arc::clone(&simulated), open(dir.path()), |_| {}).await;
    let mut questions = service.respond.questions();
    service.respond.alert(&phishing()).await.unwrap();
    let question = questions.recv().await.unwrap();
    let command = house_with(Arc::clone(&simulated), open(dir.path()), |setup| setup.role = Role::Command).await;
    assert!(command.respond.inner.driven.borrow().is_empty(), "the service drives the run");
    command.respond.stop().await;
    service.respond.decide(&question.run, None, true, "kim").await.unwrap();
    service.respond.idle().await;
    assert_eq!(service.runs().await[0].status, RunStatus::Completed);
}

#[tokio::test]
async fn run_that_a_command_leaves_behind_is_free_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let open = |path: &Path| Box::new(SqliteJournal::open(&path.join("weir.db")).unwrap());
    let simulated = Arc::new(Simulated::start().await.unwrap());
    let command = house_with(Arc::clone(&simulated), open(dir.path()), |setup| setup.role = Role::Command).await;
    let mut questions = command.respond.questions();
    command.respond.alert(&phishing()).await.unwrap();
    questions.recv().await.unwrap();
    command.respond.stop().await;
    let service = house_with(Arc::clone(&simulated), open(dir.path()), |_| {}).await;
    assert_eq!(service.respond.inner.driven.borrow().len(), 1);
    service.respond.stop().await;
}

#[tokio::test]
async fn closed_case_cancels_what_still_waits_and_closes_its_ticket() {
    let house = house().await;
    let mut questions = house.respond.questions();
    house.respond.alert(&phishing()).await.unwrap();
    let question = questions.recv().await.unwrap();
    let case = house.case().await;
    house.respond.close_case(&case.id, Verdict::FalsePositive, None, "kim").await.unwrap();
    house.respond.idle().await;
    let statuses: Vec<RunStatus> = house.runs().await.iter().map(|run| run.status).collect();
    assert_eq!(statuses, [RunStatus::Cancelled, RunStatus::Completed]);
    let world = house.simulated.world();
    assert_eq!(world.tickets[0].status, "resolved");
    assert!(
        house.respond.decide(&question.run, None, true, "kim").await.is_ok(),
        "an answer that comes too late is kept"
    );
    house.respond.idle().await;
    assert!(house.simulated.world().isolated.is_empty(), "and does nothing");
}

#[tokio::test]
async fn limits_hold_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let open = |path: &Path| Box::new(SqliteJournal::open(&path.join("weir.db")).unwrap());
    let simulated = Arc::new(Simulated::start().await.unwrap());
    for (n, expected) in [(1, StepStatus::Succeeded), (2, StepStatus::Refused)] {
        let limit = |setup: &mut Setup| setup.rules.per_hour = 1;
        let house = house_with(Arc::clone(&simulated), open(dir.path()), limit).await;
        house.respond.alert(&alert(&format!("a{n}"), "patient", &[("domain", &format!("bad{n}.test"))])).await.unwrap();
        house.respond.idle().await;
        assert_eq!(house.runs().await.last().unwrap().steps[0].status, expected);
    }
}

#[tokio::test]
async fn never_touch_list_is_asked_before_anything_leaves() {
    let protect = |setup: &mut Setup| setup.rules.never_touch("dc-*");
    let house = house_with(Arc::new(Simulated::start().await.unwrap()), Box::new(Memory::default()), protect).await;
    house.respond.alert(&alert("a1", "quick", &[("host", "DC-01")])).await.unwrap();
    house.respond.idle().await;
    assert_eq!(house.runs().await[0].steps[0].status, StepStatus::Refused);
    assert_eq!(house.simulated.world().requests, [] as [String; 0]);
}

#[tokio::test]
async fn alerts_about_one_host_are_one_case_and_its_rows_tell_the_story() {
    let house = house().await;
    house.respond.alert(&alert("a1", "quick", &[("host", "ws1")])).await.unwrap();
    house.respond.alert(&alert("a2", "nothing.special", &[("host", "WS1")])).await.unwrap();
    house.respond.idle().await;
    assert_eq!(house.case().await.alerts.len(), 2);
    let cases = house.respond.changes_of(ChangeOf::Cases, 0, 100).await.unwrap();
    assert_eq!(cases[0].row["change"], "case_opened");
    assert!(cases.iter().all(|change| change.row["host"] == "ws1"), "{cases:?}");
    let actions = house.respond.changes_of(ChangeOf::Actions, 0, 100).await.unwrap();
    let of_contain: Vec<&Value> =
        actions.iter().map(|change| &change.row).filter(|row| row["action"] == "contain").collect();
    let contain = of_contain[of_contain.len() - 1];
    assert_eq!(
        (&contain["action"], &contain["target_type"], &contain["target"], &contain["status"], &contain["undo"]),
        (&json!("contain"), &json!("device"), &json!("ws1"), &json!("succeeded"), &json!("allow device ws1"))
    );
    let record: Value = serde_json::from_str(contain["record"].as_str().unwrap()).unwrap();
    assert_eq!((&record["class_uid"], &record["status_id"]), (&json!(7001), &json!(1)));
    let ids: BTreeSet<&str> = actions.iter().filter_map(|change| change.row["change_id"].as_str()).collect();
    assert_eq!(ids.len(), actions.len(), "every change has an id of its own");
    let (first, last) = (actions[0].seq, actions[actions.len() - 1].seq);
    let later = house.respond.changes_of(ChangeOf::Actions, first, 100).await.unwrap();
    assert_eq!(later, actions[1..], "whoever reads again reads the same");
    assert_eq!(house.respond.changes_of(ChangeOf::Actions, last, 100).await.unwrap(), []);
}

#[tokio::test]
async fn low_alert_without_a_playbook_opens_no_case_and_a_suppressed_one_does_nothing() {
    let house = house().await;
    let mut low = alert("a1", "nothing.special", &[("host", "ws1")]);
    low["severity_id"] = json!(2);
    assert_eq!(house.respond.alert(&low).await.unwrap(), Taken::default());
    let mut suppressed = phishing();
    suppressed["status_id"] = json!(3);
    assert_eq!(house.respond.alert(&suppressed).await.unwrap(), Taken::default());
    let refused = house.respond.alert(&json!({ "class_uid": 2004 })).await.unwrap_err();
    assert!(refused.is::<NotAnAlert>(), "whoever delivers can pass it over: {refused}");
}

/// A cooldown's records in their order: the later alert is heard of first, and turns out to repeat the earlier one.
#[tokio::test]
async fn a_playbook_starts_once_and_for_the_alert_that_turns_out_to_lead() {
    let house = house().await;
    let told = |uid: &str, activity: u64, status: (u64, &str), count: u64| {
        let mut record = alert(uid, "quick", &[("host", "ws1")]);
        (record["activity_id"], record["count"]) = (json!(activity), json!(count));
        (record["status_id"], record["status"]) = (json!(status.0), json!(status.1));
        record
    };
    let provisional = (99, "Provisional");
    let early =
        [told("later", 1, provisional, 1), told("earlier", 1, provisional, 1), told("repeat", 1, (3, "Suppressed"), 1)];
    for record in &early {
        assert_eq!(house.respond.alert(record).await.unwrap(), Taken::default(), "{record}");
    }
    let cases = house.respond.inner.journal(|journal| journal.cases(&CaseFilter::default())).await.unwrap();
    assert_eq!((house.runs().await.len(), cases.len()), (0, 0), "nothing is done before it is settled");

    let settled = [told("earlier", 2, (1, "New"), 3), told("later", 2, (3, "Suppressed"), 1)];
    for record in settled.iter().chain(&early).chain(&settled) {
        house.respond.alert(record).await.unwrap();
    }
    house.respond.idle().await;
    let runs = house.runs().await;
    assert_eq!(runs.iter().map(|run| run.alert.uid.as_str()).collect::<Vec<_>>(), ["earlier"]);
    assert_eq!(house.case().await.alerts.len(), 1);
}

#[tokio::test]
async fn only_approvers_may_answer_and_only_once() {
    let strict = "
id: strict
when: alert.detection = 'strict'
steps:
  - ask: Sure?
    approvers: [kim]
  - notify: done
";
    let add = |setup: &mut Setup| drop(setup.playbooks.insert("strict".to_owned(), Playbook::parse(strict).unwrap()));
    let house = house_with(Arc::new(Simulated::start().await.unwrap()), Box::new(Memory::default()), add).await;
    let mut questions = house.respond.questions();
    house.respond.alert(&alert("a1", "strict", &[])).await.unwrap();
    let question = questions.recv().await.unwrap();
    let refused = house.respond.decide(&question.run, None, true, "mallory").await.unwrap_err();
    assert!(refused.to_string().contains("mallory may not answer"), "{refused}");
    house.respond.decide(&question.run, None, true, "kim").await.unwrap();
    let again = house.respond.decide(&question.run, None, false, "kim").await.unwrap_err();
    assert!(again.to_string().contains("kim already answered yes"), "{again}");
    house.respond.idle().await;
    let open = house
        .respond
        .inner
        .journal(|journal| journal.approvals(&ApprovalFilter { run: None, open: true }))
        .await
        .unwrap();
    assert_eq!((open.len(), house.simulated.world().messages.len()), (0, 1));
}

#[test]
fn kinds_of_entities_are_those_of_the_detections() {
    let of_detections: Vec<&str> = weir_detections::EntityKind::ALL.iter().map(|kind| kind.as_str()).collect();
    assert_eq!(of_detections, weir_playbooks::ENTITY_KINDS);
}
