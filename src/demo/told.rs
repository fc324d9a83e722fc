//! How the demo is told: a timeline on standard output, and the checks at its end.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio::task::JoinHandle;
use weir_connectors::state::Ledger;

use super::text;
use crate::respond::Respond;
use crate::respond::simulated::World;
use crate::stdout;

/// The timeline.
#[derive(Clone)]
pub(super) struct Told {
    begun: Instant,
    color: bool,
}

impl Told {
    pub(super) fn start() -> Self {
        Self { begun: Instant::now(), color: stdout::has_color() }
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.color { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    pub(super) fn chapter(&self, title: &str) -> anyhow::Result<()> {
        Ok(stdout::print(&format!("\n{}", self.paint("1", title)))?)
    }

    pub(super) fn line(&self, who: &str, what: &str) -> anyhow::Result<()> {
        let seconds = self.begun.elapsed().as_secs_f64();
        Ok(stdout::print(&format!("{seconds:7.2}s  {who:<9} {what}"))?)
    }

    pub(super) fn event(&self, time: DateTime<Utc>, what: &str) -> anyhow::Result<()> {
        self.line(&time.format("%H:%M:%S").to_string(), what)
    }

    /// The first record of an alert.
    pub(super) fn alert(&self, record: &Value) -> anyhow::Result<()> {
        let severity = text(record, "/severity").to_uppercase();
        let code = match severity.as_str() {
            "CRITICAL" | "FATAL" => "1;31",
            "HIGH" => "31",
            "MEDIUM" => "33",
            _ => "36",
        };
        let message = text(record, "/message");
        let what = format!("{} {}", self.paint(code, &severity), text(record, "/finding_info/title"));
        self.line("ALERT", &what)?;
        if message.is_empty() { Ok(()) } else { self.line("", message) }
    }

    pub(super) fn ledger(&self, stream: &str, ledger: &Ledger) -> anyhow::Result<()> {
        let Ledger { records, on_time, late, rejected } = ledger;
        let what = format!("{records:>7} in = {on_time:>7} on time + {late} late + {rejected} rejected");
        Ok(stdout::print(&format!("          {stream:<14} {what}"))?)
    }

    pub(super) fn latencies(&self, latencies: &[(String, Duration)]) -> anyhow::Result<()> {
        for (what, latency) in latencies {
            self.line("latency", &format!("{what}: {} ms", latency.as_millis()))?;
        }
        Ok(())
    }

    pub(super) fn farewell(&self, dir: &Path) -> anyhow::Result<()> {
        let dir = dir.display();
        Ok(stdout::print(&format!(
            "\nEverything is in {dir}: the project, the archive (Parquet), the state, the journal (weir.db).\nTry next:\n  \
             weir hunt -C {dir} \"SELECT detection, severity, message FROM alerts ORDER BY time\"\n  \
             weir case list -C {dir}\n  \
             weir explain -C {dir} correlation.phishing_chain"
        ))?)
    }
}

/// The demo's own checks.
#[derive(Default)]
pub(super) struct Checks(Vec<(String, bool)>);

impl Checks {
    pub(super) fn add(&mut self, claim: &str, holds: bool) {
        self.0.push((claim.to_owned(), holds));
    }

    pub(super) fn all_passed(&self) -> bool {
        !self.0.is_empty() && self.0.iter().all(|(_, holds)| *holds)
    }

    pub(super) fn tell(&self, told: &Told) -> anyhow::Result<()> {
        for (claim, holds) in &self.0 {
            let mark = if *holds { told.paint("32", "ok  ") } else { told.paint("1;31", "FAIL") };
            stdout::print(&format!("  {mark} {claim}"))?;
        }
        let passed = self.0.iter().filter(|(_, holds)| *holds).count();
        let word = if self.all_passed() { "PASS" } else { "FAIL" };
        Ok(stdout::print(&format!("{word} {passed} of {}", self.0.len()))?)
    }
}

/// An analyst who is asked before an endpoint is isolated, and says yes.
pub(super) fn answer(respond: Respond, told: Told) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut questions = respond.questions();
        while let Ok(question) = questions.recv().await {
            let asked = told.line("asks", &question.question);
            tokio::time::sleep(Duration::from_millis(700)).await;
            let decided = respond.decide(&question.run, Some(&question.step), true, "analyst").await;
            let said = match decided {
                Ok(()) => told.line("analyst", "(SIMULATED) approves"),
                Err(error) => told.line("analyst", &format!("(SIMULATED) cannot answer: {error:#}")),
            };
            if asked.and(said).is_err() {
                return;
            }
        }
    })
}

/// What the simulated systems have been made to do, each with its undo.
pub(super) fn deeds(world: &World) -> Vec<String> {
    let blocked = world.blocked.iter().map(|what| format!("firewall (SIMULATED) blocks {what}; undo: allow it again"));
    let isolated = world.isolated.iter().map(|what| format!("EDR (SIMULATED) isolates {what}; undo: release it"));
    let reset = world.reset.iter().map(|what| {
        format!("identity provider (SIMULATED) resets the password of {what}; no undo: its owner sets a new one")
    });
    let disabled =
        world.disabled.iter().map(|what| format!("identity provider (SIMULATED) disables {what}; undo: enable it"));
    let tickets = world
        .tickets
        .iter()
        .enumerate()
        .map(|(number, ticket)| format!("ticket {} (SIMULATED) opened: {}", number + 1, ticket.subject));
    let messages = world.messages.iter().map(|what| format!("chat (SIMULATED): {what}"));
    blocked.chain(isolated).chain(reset).chain(disabled).chain(tickets).chain(messages).collect()
}

pub(super) fn listed(names: &BTreeSet<&str>) -> String {
    if names.is_empty() {
        return String::new();
    }
    format!(" (but: {})", names.iter().copied().collect::<Vec<_>>().join(", "))
}

/// The beginning of an id, for people.
pub(super) fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}
