//! Claims about hostile values: whatever a log holds, a request keeps the shape its author gave it.

use super::*;

const HOSTILE: [&str; 16] = [
    "../../admin",
    "..",
    ".",
    "%2e%2e",
    "a/b",
    "a?force=true",
    "a#fragment",
    "a&isolated=false",
    "a\r\nX-Evil: 1",
    "a\u{0}b",
    "\", \"admin\": true, \"x\": \"",
    "${alert.uid}",
    "' OR 1=1 --",
    "user@evil.test",
    "http://evil.test/",
    "\u{202e}gnp.exe",
];

const OPEN: &str = "
id: open
base_url: https://vendor.test/api
headers: { X-Title: '${alert.entities.user}' }
idempotency_header: Idempotency-Key
operations:
  - does: set account
    post: /users/${target.name}/reset?note=${alert.entities.user}
    body: { user: '${target.name}', nested: { list: ['${alert.entities.user}'], text: 'for ${alert.entities.user}!' } }
    undo: 'none: cannot be undone'
";

fn shape(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), shape(value))).collect(),
        Value::Array(items) => items.iter().map(shape).collect(),
        Value::String(_) => json!("text"),
        other => other.clone(),
    }
}

fn dry_run(text: &str, user: &str) -> StepRecord {
    let playbook =
        Playbook::parse("id: p\nsteps:\n  - set: account ${alert.entities.user}\n    args: { password: reset }\n")
            .unwrap();
    let responders = responders(&[text]);
    let mut guard = Guard::default();
    let mut world = World { playbook: &playbook, responders: &responders, guard: &mut guard, case: None };
    let mut run = Run::start(alert("a1", &[("user", user)]), "p", Part::Steps, Mode::DryRun, None, at(0)).0;
    run.next(&mut world, at(0));
    run.steps.remove(0)
}

#[test]
fn hostile_value_is_carried_as_data_or_refused() {
    let plain = dry_run(OPEN, "mara").request.unwrap();
    let expected = url::Url::parse(&plain.url).unwrap();
    let mut carried = 0;
    for value in HOSTILE {
        let record = dry_run(OPEN, value);
        let Some(request) = record.request.filter(|_| record.status == StepStatus::Planned) else {
            assert!(record.error.is_some(), "{value:?} was refused without a reason");
            continue;
        };
        carried += 1;
        let url = url::Url::parse(&request.url).unwrap();
        assert_eq!(url.origin(), expected.origin(), "{value:?}");
        assert_eq!(url.path_segments().unwrap().count(), expected.path_segments().unwrap().count(), "{value:?}: {url}");
        assert!(url.path().starts_with("/api/users/") && url.path().ends_with("/reset"), "{value:?}: {url}");
        let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        assert_eq!(pairs, [("note".to_owned(), value.to_owned())], "{value:?}");
        assert_eq!(url.fragment(), None);
        assert_eq!(shape(request.body.as_ref().unwrap()), shape(plain.body.as_ref().unwrap()), "{value:?}");
        assert!(request.headers.iter().all(|(_, value)| !value.contains(['\r', '\n'])), "{value:?}");
    }
    assert!(carried >= 8, "most values are carried, not refused: {carried}");
}

#[test]
fn hostile_value_in_a_query_language_is_refused_or_quoted() {
    let text = OPEN
        .replace("?note=${alert.entities.user}", "?q=name='${alert.entities.user | plain}'")
        .replace("headers: { X-Title: '${alert.entities.user}' }\n", "");
    assert_eq!(dry_run(&text, "mara").status, StepStatus::Planned);
    for value in ["x' OR 'a'='a", "a^active=true", "a b", "\"", "${x}"] {
        let record = dry_run(&text, value);
        assert_eq!(record.status, StepStatus::Failed, "{value:?}");
        assert!(record.error.unwrap().contains("could be read as syntax"));
    }
}

#[test]
fn structure_from_outside_never_enters_a_body() {
    let text = "
id: open
base_url: https://vendor.test/api
operations:
  - does: notify
    post: /x
    body: { value: '${alert.evidence.x}' }
";
    let responder = Responder::parse(text).unwrap();
    let scope = json!({"alert": {"evidence": {"x": {"admin": true}}}});
    let call = &responder.operations[0].call;
    assert!(responder.render(call, &scope, true).is_err());
    let scope = json!({"alert": {"evidence": {"x": "{\"admin\": true}"}}});
    assert_eq!(responder.render(call, &scope, true).unwrap().body, Some(json!({"value": "{\"admin\": true}"})));
}

#[test]
fn target_that_is_none_stops_the_step() {
    let mut driver = Driver::new("id: p\nsteps:\n  - deny: domain_name ${alert.entities.domain}\n");
    for (n, value) in ["com", "x y.test", "bad.test/../..", "1.2.3.4", "*"].into_iter().enumerate() {
        let (run, note) =
            Run::start(alert(&format!("a{n}"), &[("domain", value)]), "p", Part::Steps, Mode::Live, None, at(0));
        driver.journal.write(&[Write::StartRun(run.clone()), Write::Note(note)]).unwrap();
        assert_eq!(driver.drive(run).unwrap().steps[0].status, StepStatus::Failed, "{value}");
    }
    assert_eq!(driver.vendor.received, []);
}

#[test]
fn secret_is_never_in_a_request_or_record() {
    let text = OPEN.replace("headers:", "auth: { bearer: VENDOR_TOKEN }\nheaders:");
    let record = dry_run(&text, "mara");
    let text = serde_json::to_string(&record).unwrap();
    assert!(text.contains("VENDOR_TOKEN"), "the name of the secret is kept, its value is not known here");
}

proptest::proptest! {
    #[test]
    fn no_text_at_all_changes_the_structure(value in "\\PC{0,40}|[./%?#&=@:\\\\a-f0-9]{0,12}") {
        let plain = dry_run(OPEN, "mara").request.unwrap();
        let expected = url::Url::parse(&plain.url).unwrap();
        let record = dry_run(OPEN, &value);
        if let Some(request) = record.request.filter(|_| record.status == StepStatus::Planned) {
            let url = url::Url::parse(&request.url).unwrap();
            proptest::prop_assert_eq!(url.origin(), expected.origin());
            proptest::prop_assert_eq!(url.path_segments().unwrap().count(), expected.path_segments().unwrap().count());
            proptest::prop_assert_eq!(url.query_pairs().count(), 1);
            proptest::prop_assert_eq!(shape(request.body.as_ref().unwrap()), shape(plain.body.as_ref().unwrap()));
        } else {
            proptest::prop_assert!(record.error.is_some());
        }
    }
}
