//! Claims about responders that hang, fail, answer nonsense or hang up: the whole desk over real HTTP on loopback, against a
//! listener that does what it is told.

use std::collections::VecDeque;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use weir_playbooks::audit::Entry;

use super::*;

/// What the listener does with a request.
#[derive(Debug, Clone, Copy)]
enum Deed {
    /// Takes it and says nothing, with the connection open.
    Hang,
    /// Closes the connection without a word.
    HangUp,
    /// Answers with these bytes, whatever they are, and closes the connection.
    Say(&'static str),
}

const OK: Deed = Deed::Say("HTTP/1.1 201 Created\r\nContent-Length: 12\r\n\r\n{\"id\": \"c1\"}");
const BROKEN: Deed = Deed::Say("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 9\r\n\r\nno memory");
const NO_HTTP: Deed = Deed::Say("SSH-2.0-OpenSSH_9.9\r\n");
const A_PAGE: Deed = Deed::Say("HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n<html>hi</html>");
const CUT_OFF: Deed = Deed::Say("HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\n{\"id\": \"c");

/// A request as it arrived.
#[derive(Debug, Clone)]
struct Arrived {
    path: String,
    key: String,
    body: Value,
}

/// What the listener is told and what it saw. `/contain` does the deeds in their order, the last one for ever; everything
/// else is answered well.
struct Frail {
    address: SocketAddr,
    deeds: Mutex<VecDeque<Deed>>,
    arrived: Mutex<Vec<Arrived>>,
}

impl Frail {
    async fn start(deeds: &[Deed]) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let frail = Arc::new(Self {
            address: listener.local_addr().unwrap(),
            deeds: Mutex::new(deeds.iter().copied().collect()),
            arrived: Mutex::default(),
        });
        let serving = Arc::clone(&frail);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(Arc::clone(&serving).serve(stream));
            }
        });
        frail
    }

    /// One request of one connection.
    async fn serve(self: Arc<Self>, mut stream: TcpStream) {
        let Some(request) = read_request(&mut stream).await else { return };
        let is_contain = request.path.ends_with("/contain");
        lock(&self.arrived).push(request);
        let deed = if is_contain { self.next_deed() } else { OK };
        match deed {
            Deed::Hang => std::future::pending::<()>().await,
            Deed::HangUp => {}
            Deed::Say(bytes) => {
                stream.write_all(bytes.as_bytes()).await.unwrap();
                stream.shutdown().await.unwrap();
            }
        }
    }

    fn next_deed(&self) -> Deed {
        let mut deeds = lock(&self.deeds);
        if deeds.len() > 1 { deeds.pop_front().unwrap() } else { deeds[0] }
    }

    fn arrived(&self, path: &str) -> Vec<Arrived> {
        lock(&self.arrived).iter().filter(|request| request.path == path).cloned().collect()
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<Arrived> {
    let mut bytes = Vec::new();
    let (head, length) = loop {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, _)) = text.split_once("\r\n\r\n") else { continue };
        let head = head.to_owned();
        let length = header(&head, "content-length").parse().unwrap_or(0);
        if bytes.len() >= head.len() + 4 + length {
            break (head, length);
        }
    };
    let body = &bytes[head.len() + 4..head.len() + 4 + length];
    Some(Arrived {
        path: head.split(' ').nth(1).unwrap().to_owned(),
        key: header(&head, "idempotency-key"),
        body: serde_json::from_slice(body).unwrap_or_default(),
    })
}

fn header(head: &str, name: &str) -> String {
    let mut headers = head.lines().filter_map(|line| line.split_once(':'));
    let found = headers.find(|(key, _)| key.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
}

/// `frail` contains devices; `desk`, another responder on the same listener, takes messages.
fn responders(address: SocketAddr, timeout: &str) -> [Responder; 2] {
    let frail = format!(
        "
id: frail
base_url: http://{address}/frail
idempotency_header: Idempotency-Key
timeout: {timeout}
operations:
  - does: contain device
    post: /contain
    body: {{ host: '${{target.hostname}}' }}
    external_id: /id
    undo: 'none: this is a test'
"
    );
    let desk = format!(
        "
id: desk
base_url: http://{address}/desk
idempotency_header: Idempotency-Key
operations:
  - does: notify
    post: /say
    body: {{ text: '${{message.text}}' }}
"
    );
    [frail, desk].map(|text| {
        let mut responder = Responder::parse(&text).unwrap();
        responder.resolve(&|_| None).unwrap();
        responder
    })
}

fn playbook(retry: &str, timeout: &str, on_fail: &str) -> Playbook {
    let text = format!(
        "
id: frail
when: alert.detection = 'frail'
steps:
  - contain: device ${{alert.entities.host}}
    id: isolate
    responder: frail
    retry: {retry}
    timeout: {timeout}
    on_fail: {on_fail}
  - notify: over
    responder: desk
"
    );
    Playbook::parse(&text).unwrap()
}

const TELL: &str = "[{ notify: 'not isolated: ${steps.isolate.error}', responder: desk }]";
const MESSAGE: &str = "
id: message
when: alert.detection = 'message'
steps:
  - { notify: hello, responder: desk }
";

async fn desk(frail: &Frail, responder_timeout: &str, playbook: Playbook) -> House {
    let add = |setup: &mut Setup| {
        for responder in responders(frail.address, responder_timeout) {
            setup.responders.insert(responder.id.clone(), responder);
        }
        setup.playbooks.insert("frail".to_owned(), playbook);
        setup.playbooks.insert("message".to_owned(), Playbook::parse(MESSAGE).unwrap());
    };
    house_with(Arc::new(Simulated::start().await.unwrap()), Box::new(Memory::default()), add).await
}

/// One alert, and its run when it is over.
async fn run(house: &House) -> Run {
    house.respond.alert(&alert("a1", "frail", &[("host", "ws1")])).await.unwrap();
    tokio::time::timeout(Duration::from_secs(20), house.respond.idle()).await.expect("the run ends");
    house.runs().await.remove(0)
}

async fn trail(house: &House) -> Vec<Entry> {
    let trail = house.respond.inner.journal(|journal| journal.audit(&AuditFilter::default())).await.unwrap();
    assert_eq!(weir_playbooks::audit::verify(&trail), Ok(()));
    trail
}

/// What the audit trail says happened, of one kind.
fn notes(trail: &[Entry], what: &str) -> Vec<String> {
    trail.iter().filter(|entry| entry.note.what == what).map(|entry| entry.note.text.clone()).collect()
}

fn texts(frail: &Frail) -> Vec<String> {
    frail.arrived("/desk/say").iter().map(|request| request.body["text"].as_str().unwrap().to_owned()).collect()
}

/// However often it was sent, it was one request under one key.
fn assert_one_action(run: &Run, frail: &Frail, sent: usize) {
    let arrived = frail.arrived("/frail/contain");
    assert_eq!(arrived.len(), sent, "{arrived:?}");
    for request in &arrived {
        assert_eq!((request.key.as_str(), &request.body["host"]), (run.steps[0].action_id.as_str(), &json!("ws1")));
    }
    let messages = frail.arrived("/desk/say");
    let keys: BTreeSet<&str> = messages.iter().map(|request| request.key.as_str()).collect();
    assert_eq!(keys.len(), messages.len(), "each message left once, under its own key");
    assert!(!keys.contains(run.steps[0].action_id.as_str()));
}

#[tokio::test]
async fn responder_that_hangs_is_given_up_at_its_limit_and_on_fail_is_taken() {
    let frail = Frail::start(&[Deed::Hang]).await;
    let house = desk(&frail, "100 ms", playbook("{ attempts: 3, backoff: 20 ms }", "20 seconds", TELL)).await;
    let run = run(&house).await;

    assert_eq!(run.status, RunStatus::Completed, "the failure was provided for");
    let step = &run.steps[0];
    assert_eq!((step.status, step.attempts), (StepStatus::Failed, 3));
    assert_eq!(step.error.as_deref(), Some("no answer within 100 ms (after 3 attempts)"));
    let took = step.took().unwrap();
    assert!(took >= TimeDelta::milliseconds(360), "three limits and two waits, not {took}");
    assert_one_action(&run, &frail, 3);
    assert_eq!(texts(&frail), ["not isolated: no answer within 100 ms (after 3 attempts)", "over"]);

    let trail = trail(&house).await;
    assert_eq!(
        notes(&trail, "step_retried"),
        [
            "attempt 1 failed, next in 20 ms: no answer within 100 ms",
            "attempt 2 failed, next in 40 ms: no answer within 100 ms",
        ]
    );
    assert_eq!(notes(&trail, "step_failed"), ["contain device ws1: no answer within 100 ms (after 3 attempts)"]);
    assert_eq!(notes(&trail, "step_succeeded").len(), 2);
}

#[tokio::test]
async fn step_ends_at_its_own_limit_whatever_the_responder_may_take() {
    let frail = Frail::start(&[Deed::Hang]).await;
    let house = desk(&frail, "10 minutes", playbook("{ attempts: 20, backoff: 1 ms }", "200 ms", "stop")).await;
    let run = run(&house).await;

    assert_eq!((run.status, run.steps.len()), (RunStatus::Failed, 1), "the playbook says to stop");
    let step = &run.steps[0];
    let error = step.error.as_deref().unwrap();
    assert!(error.starts_with("timed out; last: no answer within "), "{error}");
    let took = step.took().unwrap();
    assert!(took >= TimeDelta::milliseconds(200) && took < TimeDelta::seconds(10), "{took}");
    assert_one_action(&run, &frail, step.attempts as usize);
    assert_eq!(texts(&frail), [] as [String; 0]);
    assert_eq!(notes(&trail(&house).await, "run_failed"), [format!("step isolate failed: {error}")]);
}

#[tokio::test]
async fn answer_500_is_tried_again_and_ends_the_run_where_nothing_else_is_said() {
    let frail = Frail::start(&[BROKEN]).await;
    let house = desk(&frail, "5 seconds", playbook("{ attempts: 2, backoff: 1 ms }", "20 seconds", "stop")).await;
    let run = run(&house).await;

    assert_eq!(run.status, RunStatus::Failed);
    assert_eq!(run.steps[0].error.as_deref(), Some("answered 500: no memory (after 2 attempts)"));
    assert_one_action(&run, &frail, 2);
    let trail = trail(&house).await;
    assert_eq!(notes(&trail, "step_retried"), ["attempt 1 failed, next in 1 ms: answered 500: no memory"]);
    assert_eq!(notes(&trail, "run_failed"), ["step isolate failed: answered 500: no memory (after 2 attempts)"]);
}

#[tokio::test]
async fn what_is_no_http_and_what_breaks_off_is_tried_again_under_the_same_key() {
    for (trouble, why) in [
        (NO_HTTP, "the exchange broke off: "),
        (Deed::HangUp, "the exchange broke off: "),
        (CUT_OFF, "the exchange broke off: "),
    ] {
        let frail = Frail::start(&[trouble, trouble, OK]).await;
        let house = desk(&frail, "5 seconds", playbook("{ attempts: 3, backoff: 1 ms }", "20 seconds", "stop")).await;
        let run = run(&house).await;

        assert_eq!(run.status, RunStatus::Completed, "{trouble:?}: {:?}", run.steps[0].error);
        let step = &run.steps[0];
        assert_eq!((step.status, step.attempts, step.error.as_deref()), (StepStatus::Succeeded, 3, None));
        assert_eq!(step.external_id.as_deref(), Some("c1"));
        assert_one_action(&run, &frail, 3);
        let retried = notes(&trail(&house).await, "step_retried");
        assert_eq!(retried.len(), 2);
        assert!(retried.iter().all(|text| text.contains(why)), "{trouble:?}: {retried:?}");
    }
}

#[tokio::test]
async fn answer_that_says_done_and_makes_no_sense_is_a_failure_and_not_repeated() {
    let frail = Frail::start(&[A_PAGE]).await;
    let house = desk(&frail, "5 seconds", playbook("{ attempts: 3, backoff: 1 ms }", "20 seconds", TELL)).await;
    let run = run(&house).await;

    assert_eq!(run.steps[0].error.as_deref(), Some("the answer has no `/id`: <html>hi</html>"));
    assert_one_action(&run, &frail, 1);
    assert_eq!(texts(&frail), ["not isolated: the answer has no `/id`: <html>hi</html>", "over"]);
}

#[tokio::test]
async fn responder_that_keeps_failing_is_left_alone_and_another_on_the_same_host_is_not() {
    let frail = Frail::start(&[BROKEN]).await;
    let house = desk(&frail, "5 seconds", playbook("{ attempts: 8, backoff: 1 ms }", "2 seconds", TELL)).await;
    let run = run(&house).await;

    assert_eq!(run.status, RunStatus::Completed);
    let error = run.steps[0].error.clone().unwrap();
    assert_eq!(error, "timed out; last: frail failed too often; it is tried again in 5 s");
    assert_eq!(run.steps[0].attempts, 5, "waiting is no attempt");
    assert_one_action(&run, &frail, 5);
    assert_eq!(texts(&frail), [format!("not isolated: {error}"), "over".to_owned()]);
    let trail = trail(&house).await;
    let retried = notes(&trail, "step_retried");
    assert_eq!(retried.len(), 5, "{retried:?}");
    assert!(retried.iter().all(|text| text.contains("answered 500: no memory")), "{retried:?}");
    let waited = notes(&trail, "step_waits");
    assert!(waited.len() == 1 && waited[0].starts_with("not tried, next in "), "{waited:?}");
}

#[tokio::test]
async fn runs_on_other_responders_end_while_many_wait_for_one_that_hangs() {
    let frail = Frail::start(&[Deed::Hang]).await;
    let house = desk(&frail, "10 minutes", playbook("{ attempts: 1 }", "10 minutes", "stop")).await;
    for n in 0..12 {
        let host = format!("ws{n}");
        house.respond.alert(&alert(&format!("h{n}"), "frail", &[("host", &host)])).await.unwrap();
    }
    let mut changes = house.respond.changes();
    house.respond.alert(&alert("m", "message", &[])).await.unwrap();
    let ended = async {
        loop {
            let runs = house.runs().await;
            if runs.iter().any(|run| run.playbook == "message" && run.status == RunStatus::Completed) {
                return runs;
            }
            changes.changed().await.unwrap();
        }
    };
    let runs = tokio::time::timeout(Duration::from_secs(20), ended).await.expect("the other run ends");
    assert_eq!(runs.iter().filter(|run| run.playbook == "frail" && run.status == RunStatus::Running).count(), 12);
    assert_eq!(texts(&frail), ["hello"]);
    let arrived = frail.arrived("/frail/contain");
    assert!(arrived.len() <= 4, "no more are under way at once than are allowed: {}", arrived.len());
}
