//! A simulated vendor that can fail, hang and lose answers, and a driver that does what the program does.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::*;
use super::RESPONDERS;
use crate::guard::Rules;
use crate::http::Method;
use crate::journal::{Journal, Memory, Write};
use crate::playbook::Outside;
use crate::responder::Responder;
use crate::sample::{alert, at};

pub(in crate::run::tests) fn responders(texts: &[&str]) -> Responders {
    let parse = |text: &&str| {
        let mut responder = Responder::parse(text).unwrap_or_else(|problems| panic!("{problems:?}"));
        responder.resolve(&|_| None).unwrap();
        (responder.id.clone(), responder)
    };
    texts.iter().map(parse).collect()
}

/// What an answer is, given the request and how often this request came.
pub(in crate::run::tests) type Behaviour =
    Box<dyn FnMut(&HttpRequest, usize) -> Option<Result<HttpResponse, HttpFailure>>>;

/// A vendor of everything: keeps state, honours idempotency keys where responders send them.
#[derive(Default)]
pub(in crate::run::tests) struct Vendor {
    pub(in crate::run::tests) received: Vec<HttpRequest>,
    pub(in crate::run::tests) isolations: usize,
    pub(in crate::run::tests) messages: Vec<String>,
    pub(in crate::run::tests) tickets: Vec<Value>,
    pub(in crate::run::tests) blocked: Vec<String>,
    keys: BTreeMap<String, Value>,
    pub(in crate::run::tests) behaviour: Option<Behaviour>,
}

pub(in crate::run::tests) fn ok(body: Value) -> Result<HttpResponse, HttpFailure> {
    Ok(HttpResponse { status: 200, retry_after_ms: None, body })
}

pub(in crate::run::tests) fn status(status: u16) -> Result<HttpResponse, HttpFailure> {
    Ok(HttpResponse { status, retry_after_ms: None, body: json!("no") })
}

pub(in crate::run::tests) fn timeout() -> Result<HttpResponse, HttpFailure> {
    Err(HttpFailure {
        message: "no answer within the limit".into(),
        retriable: true,
        may_have_left: true,
        left_alone_ms: None,
    })
}

pub(in crate::run::tests) fn left_alone(ms: u64) -> Result<HttpResponse, HttpFailure> {
    let message = format!("it failed too often; it is tried again in {ms} ms");
    Err(HttpFailure { message, retriable: true, may_have_left: false, left_alone_ms: Some(ms) })
}

impl Vendor {
    pub(in crate::run::tests) fn answer(&mut self, request: &HttpRequest) -> Result<HttpResponse, HttpFailure> {
        let before =
            self.received.iter().filter(|known| known.url == request.url && known.method == request.method).count();
        self.received.push(request.clone());
        if let Some(behaviour) = &mut self.behaviour
            && let Some(answer) = behaviour(request, before)
        {
            return answer;
        }
        let key = request.headers.iter().find(|(name, _)| name.ends_with("Key")).map(|(_, key)| key.clone());
        if let Some(answer) = key.as_ref().filter(|_| request.method != Method::Get).and_then(|key| self.keys.get(key))
        {
            return ok(answer.clone());
        }
        let answer = self.act(request);
        if let Some(key) = key {
            self.keys.insert(key, answer.clone());
        }
        ok(answer)
    }

    fn act(&mut self, request: &HttpRequest) -> Value {
        let path = request.url.trim_start_matches("http://127.0.0.1:1");
        match (request.method, path) {
            (Method::Get, path) if path.starts_with("/edr/devices?") => json!({"devices": [{"id": "d-1"}]}),
            (Method::Post, "/edr/devices/d-1/isolation") => {
                self.isolations += 1;
                json!({"action": "act-1"})
            }
            (Method::Get, "/edr/devices/d-1") => json!({"isolated": self.isolations > 0}),
            (Method::Put, path) => {
                self.blocked.push(path.to_owned());
                json!({})
            }
            (Method::Post, "/chat/messages") => {
                self.messages.push(request.body.as_ref().unwrap()["text"].as_str().unwrap().to_owned());
                json!({})
            }
            (Method::Get, path) if path.starts_with("/rt/tickets?") => json!({ "tickets": self.tickets }),
            (Method::Post, "/rt/tickets") => {
                let id = self.tickets.len() + 7;
                self.tickets.push(json!({ "id": id, "status": "open" }));
                json!({ "id": id })
            }
            (Method::Patch, "/rt/tickets/7") => {
                self.tickets[0]["status"] = request.body.as_ref().unwrap()["status"].clone();
                json!({})
            }
            other => panic!("the vendor does not know {other:?}"),
        }
    }
}

/// Drives a run as the program does: write, then act, then tell; time jumps to where the run wants to be woken.
pub(in crate::run::tests) struct Driver {
    pub(in crate::run::tests) playbook: Playbook,
    pub(in crate::run::tests) responders: Responders,
    pub(in crate::run::tests) guard: Guard,
    pub(in crate::run::tests) vendor: Vendor,
    pub(in crate::run::tests) journal: Memory,
    pub(in crate::run::tests) answer: Option<bool>,
    pub(in crate::run::tests) clock: Moment,
    /// Crash when this many writes and sends have happened.
    pub(in crate::run::tests) crash_at: Option<usize>,
    pub(in crate::run::tests) ticks: usize,
}

/// The process died.
#[derive(Debug)]
pub(in crate::run::tests) struct Crash;

impl Driver {
    pub(in crate::run::tests) fn new(playbook: &str) -> Self {
        let responders = responders(&RESPONDERS);
        let playbook = Playbook::parse(playbook).unwrap_or_else(|problems| panic!("{problems:?}"));
        let outside = Outside { responders: &responders, unread: &BTreeMap::new(), tables: &["assets"] };
        assert_eq!(playbook.link(&outside), []);
        Self {
            playbook,
            responders,
            guard: Guard::new(Rules::default()),
            vendor: Vendor::default(),
            journal: Memory::default(),
            answer: Some(true),
            clock: at(0),
            crash_at: None,
            ticks: 0,
        }
    }

    fn tick(&mut self) -> Result<(), Crash> {
        self.ticks += 1;
        if self.crash_at == Some(self.ticks) { Err(Crash) } else { Ok(()) }
    }

    fn write(&mut self, run: &mut Run) -> Result<(), Crash> {
        self.tick()?;
        run.version += 1;
        let mut writes = vec![Write::Run(run.clone())];
        writes.extend(run.take_notes().into_iter().map(Write::Note));
        self.journal.write(&writes).unwrap();
        self.tick()
    }

    pub(in crate::run::tests) fn start(&mut self, entities: &[(&str, &str)], mode: Mode) -> Run {
        let (run, note) = Run::start(alert("a1", entities), &self.playbook.id, Part::Steps, mode, None, self.clock);
        self.journal.write(&[Write::StartRun(run.clone()), Write::Note(note)]).unwrap();
        run
    }

    pub(in crate::run::tests) fn drive(&mut self, mut run: Run) -> Result<Run, Crash> {
        for _ in 0..500 {
            let mut world =
                World { playbook: &self.playbook, responders: &self.responders, guard: &mut self.guard, case: None };
            let next = run.next(&mut world, self.clock);
            self.write(&mut run)?;
            let outcome = match next {
                Next::End(_) => return Ok(run),
                Next::Sleep(until) => {
                    self.clock = until;
                    continue;
                }
                Next::Http(request) => {
                    let answer = self.vendor.answer(&request);
                    self.tick()?;
                    Outcome::Http(answer)
                }
                Next::Table { value, .. } => Outcome::Table(Ok(
                    (value != "unknown").then(|| Map::from_iter([("owner".to_owned(), json!("mara"))]))
                )),
                Next::Ask(approval) => match self.answer {
                    Some(approved) => Outcome::Decision(approval.decide(approved, "kim", self.clock).unwrap()),
                    None => {
                        self.clock = approval.expires;
                        continue;
                    }
                },
            };
            let mut world =
                World { playbook: &self.playbook, responders: &self.responders, guard: &mut self.guard, case: None };
            run.outcome(&mut world, outcome, self.clock);
            self.write(&mut run)?;
        }
        panic!("the run does not end");
    }

    pub(in crate::run::tests) fn go(&mut self, entities: &[(&str, &str)]) -> Run {
        let run = self.start(entities, Mode::Live);
        self.drive(run).expect("no crash was asked for")
    }
}
