//! `weir demo`: one phishing incident from log line to closed ticket, with nothing installed.
//!
//! The pipeline, the playbooks, the archive and all shipped detections are the real ones, in this process. The broker is
//! librdkafka's in-process one, which speaks the real protocol; EDR, firewall, identity provider, ticket server, chat and
//! analyst are SIMULATED and answer real HTTP on loopback. The demo counts its own checks and fails if one fails.
//!
//! Reading order: [`events`] (what happens), [`house`] (where), [`told`] (how it is told), then [`play`].

mod events;
mod house;
mod told;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::Value;
use weir_engine::error::counted;
use weir_playbooks::case::{CaseStatus, Verdict};
use weir_playbooks::journal::{CaseFilter, Journal as _};

use crate::cli::{DemoArgs, Globals};
use crate::exit::{Blame, CommandResult, Outcome};
use crate::pump::{Progress, Pump};
use crate::{run, service};
use events::{Record, Source};
use house::{Heard, House, wait_for};
use told::{Checks, Told, short};

/// How long the demo waits for anything. A build without optimisation on a busy machine needs some of it.
const PATIENCE: Duration = Duration::from_secs(90);
/// What the stories are told by; nothing else may alert.
const EXPECTED: &[&str] = &[
    "correlation.phishing_chain",
    "correlation.scan_and_execution",
    "endpoint.script_host_from_user_application",
    "mail.phishing_delivered",
    "network.port_scan",
    "proxy.phishing_link_clicked",
    // The two processes of the stories are known techniques by themselves.
    "windows.encoded_powershell",
    "windows.mshta_inline_script",
];
const CHAIN: &str = "correlation.phishing_chain";
const SECOND: &str = "correlation.scan_and_execution";

/// Runs the demo.
pub(crate) fn run(globals: &Globals, args: &DemoArgs) -> CommandResult {
    let dir = args.dir.clone().unwrap_or_else(|| std::env::temp_dir().join("weir-demo"));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    house::refuse_foreign_folder(&dir).usage()?;
    let passed = runtime.block_on(play(globals, &dir)).outside()?;
    Ok(if passed { Outcome::Done } else { Outcome::FoundFailures })
}

/// What the demo saw.
#[derive(Default)]
struct Seen {
    /// The last record of each alert, and when the first one was heard.
    alerts: BTreeMap<String, (Instant, Value)>,
    /// When the record that completes a story was sent.
    sent: BTreeMap<&'static str, Instant>,
    /// When the domain was seen to be blocked.
    blocked: Option<Instant>,
}

async fn play(globals: &Globals, dir: &Path) -> anyhow::Result<bool> {
    let told = Told::start();
    let mut checks = Checks::default();
    let begin = events::begin(chrono::Utc::now());
    let records = events::all(begin);
    told.chapter("The house")?;
    let house = House::build(dir, begin).await?;
    let samples = house::write_samples(dir, &records)?;
    let mut setup = run::setup(&Globals { dir: dir.to_owned(), ..globals.clone() })
        .await
        .map_err(|error| anyhow::anyhow!("{error}"))?;
    // The in-process broker has no transaction markers, so there is nothing to gain from transactions.
    setup.is_transactional = false;
    let detections = setup.rules.detections.len();
    let respond = setup.respond.clone().context("the demo has playbooks")?;
    let detections = counted(detections, "detection");
    told.line("weir", &format!("{detections} loaded; Kafka in this process; responders on loopback HTTP"))?;
    told.line("weir", "EDR, firewall, identity provider, ticket server, chat and analyst are SIMULATED")?;
    let analyst = told::answer(respond.clone(), told.clone());
    let pump = Pump::start(setup).await?;
    let mut alerts = house.listen()?;

    told.chapter("An hour of logs, and two stories in it")?;
    let mut seen = Seen::default();
    send(&house, &records, &told, &mut seen, &mut alerts).await?;
    let world_changed = wait_for_response(&house, &mut seen, &mut alerts, &told).await;
    let closed = close_cases(&house, globals, dir, &respond, &told, &mut seen, &mut alerts).await?;
    drain(&pump, records.len() as u64).await;
    hear(&mut seen, &mut alerts, &told)?;
    let progress = pump.progress().borrow().clone();
    pump.stop().await?;
    hear_last(&mut seen, &mut alerts, &told).await?;
    drop(alerts);
    house.silence().await;
    respond.stop().await;
    analyst.abort();

    stories(&mut checks, &seen, &house, world_changed, closed);
    ledger(&mut checks, &progress, records.len() as u64, &told)?;
    again(&mut checks, dir, &samples, &seen, &told).await?;
    told.chapter("What the checks say")?;
    told.latencies(&seen.latencies())?;
    checks.tell(&told)?;
    told.farewell(dir)?;
    Ok(checks.all_passed())
}

/// Sends everything in order, and tells what a person should hear about.
async fn send(
    house: &House,
    records: &[Record],
    told: &Told,
    seen: &mut Seen,
    alerts: &mut tokio::sync::mpsc::UnboundedReceiver<Heard>,
) -> anyhow::Result<()> {
    for (number, record) in records.iter().enumerate() {
        house.send(number, record)?;
        if let Some(remark) = record.remark {
            house.flush()?;
            told.event(record.time, remark)?;
            // The last sentence of each story completes it.
            match remark {
                remark if remark.contains("mshta") => seen.sent.extend([(CHAIN, Instant::now())]),
                remark if remark.contains("powershell") => seen.sent.extend([(SECOND, Instant::now())]),
                _ => {}
            }
            tokio::time::sleep(Duration::from_millis(400)).await;
            hear(seen, alerts, told)?;
        }
    }
    house.flush()
}

/// Takes in the alerts that have come, and tells the first record of each.
fn hear(seen: &mut Seen, alerts: &mut tokio::sync::mpsc::UnboundedReceiver<Heard>, told: &Told) -> anyhow::Result<()> {
    while let Ok(Heard { at, record }) = alerts.try_recv() {
        let uid = text(&record, "/finding_info/uid").to_owned();
        if !seen.alerts.contains_key(&uid) {
            told.alert(&record)?;
        }
        let first = seen.alerts.get(&uid).map_or(at, |(first, _)| *first);
        seen.alerts.insert(uid, (first, record));
    }
    Ok(())
}

/// After the pipeline has stopped, everything it put out is on the topic; the listener needs a moment to read it.
async fn hear_last(
    seen: &mut Seen,
    alerts: &mut tokio::sync::mpsc::UnboundedReceiver<Heard>,
    told: &Told,
) -> anyhow::Result<()> {
    let mut quiet = 0;
    while quiet < 5 {
        tokio::time::sleep(Duration::from_millis(150)).await;
        let before = alerts.len();
        hear(seen, alerts, told)?;
        quiet = if before == 0 { quiet + 1 } else { 0 };
    }
    Ok(())
}

/// Waits until both playbooks have done what they do.
async fn wait_for_response(
    house: &House,
    seen: &mut Seen,
    alerts: &mut tokio::sync::mpsc::UnboundedReceiver<Heard>,
    told: &Told,
) -> bool {
    let mut told_of = BTreeSet::new();
    let mut failed = false;
    let done = wait_for(PATIENCE, || {
        failed |= hear(seen, alerts, told).is_err();
        let world = house.simulated.world();
        if seen.blocked.is_none() && world.blocked.contains(events::BAD_DOMAIN) {
            seen.blocked = Some(Instant::now());
        }
        for deed in told::deeds(&world) {
            if told_of.insert(deed.clone()) {
                failed |= told.line("action", &deed).is_err();
            }
        }
        let is_done = world.isolated.contains("ws-maya")
            && world.isolated.contains("ws-ines")
            && world.reset.iter().any(|user| user.contains("maya"))
            && world.blocked.contains(events::BAD_DOMAIN)
            && !world.messages.is_empty();
        (is_done || failed).then_some(())
    });
    done.await.is_some() && !failed
}

/// The analyst's verdict closes the cases, and with them their tickets.
async fn close_cases(
    house: &House,
    globals: &Globals,
    dir: &Path,
    respond: &crate::respond::Respond,
    told: &Told,
    seen: &mut Seen,
    alerts: &mut tokio::sync::mpsc::UnboundedReceiver<Heard>,
) -> anyhow::Result<bool> {
    hear(seen, alerts, told)?;
    let _settled = tokio::time::timeout(Duration::from_secs(20), respond.idle()).await;
    let config = run::configuration(&Globals { dir: dir.to_owned(), ..globals.clone() });
    let mut journal = service::journal(&config).map_err(|error| anyhow::anyhow!("{error}"))?;
    let cases = journal.cases(&CaseFilter::default())?;
    for case in &cases {
        if !case.tickets.is_empty() {
            told.line(
                "analyst",
                &format!("(SIMULATED) closes case {} as a true positive: {}", short(&case.id), case.title),
            )?;
            respond.close_case(&case.id, Verdict::TruePositive, Some("seen and contained"), "analyst").await?;
        }
    }
    let resolved = wait_for(Duration::from_secs(20), || {
        let tickets = house.simulated.world().tickets;
        (!tickets.is_empty() && tickets.iter().all(|ticket| ticket.status == "resolved")).then_some(())
    });
    let is_resolved = resolved.await.is_some();
    if is_resolved {
        told.line("tickets", "(SIMULATED) every ticket is resolved")?;
    }
    let cases = journal.cases(&CaseFilter::default())?;
    let with_ticket: Vec<_> = cases.iter().filter(|case| !case.tickets.is_empty()).collect();
    Ok(is_resolved && !with_ticket.is_empty() && with_ticket.iter().all(|case| case.status == CaseStatus::Closed))
}

/// Waits until every record is in a committed epoch.
async fn drain(pump: &Pump, records: u64) {
    let progress = pump.progress();
    let all = wait_for(PATIENCE, || {
        let sum: u64 = progress.borrow().ledger.values().map(|ledger| ledger.records).sum();
        (sum >= records).then_some(())
    });
    all.await;
}

fn stories(checks: &mut Checks, seen: &Seen, house: &House, responded: bool, closed: bool) {
    let world = house.simulated.world();
    let of = |detection: &str| -> Vec<&Value> {
        let records = seen.alerts.values().map(|(_, record)| record);
        records.filter(|record| text(record, "/finding_info/analytic/uid") == detection).collect()
    };
    let of_maya = |detection: &str| of(detection).iter().any(|record| record.to_string().contains("maya.lindt"));
    checks.add("the delivered phishing mail is an alert", of_maya("mail.phishing_delivered"));
    checks.add("the click on its link is an alert", of_maya("proxy.phishing_link_clicked"));
    checks.add(
        "the script host started by the mail client is an alert",
        of_maya("endpoint.script_host_from_user_application"),
    );
    let chain = of(CHAIN);
    let is_critical = |record: &&Value| {
        text(record, "/severity").eq_ignore_ascii_case("critical") && text(record, "/message").contains("known bad")
    };
    checks.add(
        "the three become one alert, critical because intelligence knows the site, and it says so",
        chain.len() == 1 && chain.iter().all(is_critical),
    );
    let uid = chain.first().map_or("", |record| text(record, "/finding_info/uid"));
    checks.add(
        "a ticket was opened for it, once",
        world.tickets.iter().filter(|ticket| ticket.fingerprint == uid).count() == 1,
    );
    checks.add("the firewall blocks the domain", world.blocked.contains(events::BAD_DOMAIN));
    checks.add(
        "the endpoint is isolated after approval, and the password reset",
        responded && world.isolated.contains("ws-maya") && world.reset.iter().any(|user| user.contains("maya")),
    );
    checks.add("the team was told", !world.messages.is_empty());
    checks.add("the verdict closed case and ticket", closed);
    let second = of(SECOND);
    checks.add(
        "port scan and suspicious process on one host become one high alert",
        second.len() == 1 && second.iter().all(|record| record.to_string().contains("ws-ines")),
    );
    let noisy: BTreeSet<&str> = seen
        .alerts
        .values()
        .map(|(_, record)| text(record, "/finding_info/analytic/uid"))
        .filter(|detection| !EXPECTED.contains(detection))
        .collect();
    let ordinary = seen.alerts.values().filter(|(_, record)| record.to_string().contains("user0")).count();
    checks.add(&format!("everything else stayed quiet{}", told::listed(&noisy)), noisy.is_empty() && ordinary == 0);
}

fn ledger(checks: &mut Checks, progress: &Progress, sent: u64, told: &Told) -> anyhow::Result<()> {
    told.chapter("The ledger")?;
    let mut sum = weir_connectors::state::Ledger::default();
    for (stream, ledger) in &progress.ledger {
        if ledger.records > 0 {
            told.ledger(stream, ledger)?;
        }
        sum.records += ledger.records;
        sum.on_time += ledger.on_time;
        sum.late += ledger.late;
        sum.rejected += ledger.rejected;
    }
    told.ledger("all", &sum)?;
    checks.add(
        "in = on time + late + rejected, with one late and one rejected",
        sum.is_balanced() && sum.records == sent && sum.late == 1 && sum.rejected == 1,
    );
    Ok(())
}

/// The same events once more: hunted, replayed from files, and replayed from the archive.
async fn again(
    checks: &mut Checks,
    dir: &Path,
    samples: &[(Source, PathBuf)],
    seen: &Seen,
    told: &Told,
) -> anyhow::Result<()> {
    told.chapter("The same hour again: from the archive and from files")?;
    let sql = format!(
        "SELECT actor.user.email_addr AS visitor, count(*) AS visits FROM http_activity \
         WHERE http_request.url.hostname = '{}' GROUP BY actor.user.email_addr ORDER BY visitor",
        events::BAD_DOMAIN
    );
    let found = weir(dir, &["hunt", "--format", "json", &sql]).await?;
    told.line("hunt", &format!("who else visited {}?", events::BAD_DOMAIN))?;
    found.lines().try_for_each(|line| told.line("", line))?;
    checks.add(
        "a hunt over the archive finds both visitors",
        found.contains("maya.lindt") && found.contains("omar.haddad"),
    );

    let live: BTreeSet<&str> = seen.alerts.keys().map(String::as_str).collect();
    let mut args: Vec<String> = vec!["replay".into(), "--parallelism".into(), "1".into()];
    for (source, path) in samples {
        args.extend(["--input".into(), format!("{}={}", source.stream(), path.display())]);
    }
    for (name, args) in [
        ("files", args),
        ("the archive", vec!["replay".into(), "--archive".into(), "--parallelism".into(), "1".into()]),
    ] {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let alerts = weir(dir, &args).await?;
        let ids: BTreeSet<String> = alerts
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .map(|record| text(&record, "/finding_info/uid").to_owned())
            .collect();
        let same = ids.iter().map(String::as_str).collect::<BTreeSet<_>>() == live;
        told.line(
            "replay",
            &format!(
                "from {name}: {}, {} of them known from live",
                counted(ids.len(), "alert"),
                ids.iter().filter(|id| live.contains(id.as_str())).count()
            ),
        )?;
        checks.add(&format!("a replay from {name} gives the same alert ids"), same && !ids.is_empty());
    }
    Ok(())
}

/// Runs this very program on the demo's folder, as the reader may.
async fn weir(dir: &Path, args: &[&str]) -> anyhow::Result<String> {
    let program = std::env::current_exe().context("this program's own path is unknown")?;
    let output = tokio::process::Command::new(program)
        .arg("-C")
        .arg(dir)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .await
        .context("weir cannot be started")?;
    if !output.status.success() {
        bail!("weir {} failed: {}", args.join(" "), String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

impl Seen {
    /// From the record that completes a story to its alert on the topic, and to the first action.
    fn latencies(&self) -> Vec<(String, Duration)> {
        let alerts = self.sent.iter().filter_map(|(detection, sent)| {
            let is_it = |record: &Value| text(record, "/finding_info/analytic/uid") == *detection;
            let (first, _) = self.alerts.values().find(|(_, record)| is_it(record))?;
            Some((format!("{detection}, event to alert"), first.saturating_duration_since(*sent)))
        });
        let action = self.sent.get(CHAIN).zip(self.blocked).map(|(sent, blocked)| {
            (format!("{CHAIN}, event to blocked domain"), blocked.saturating_duration_since(*sent))
        });
        alerts.chain(action).collect()
    }
}

fn text<'a>(record: &'a Value, pointer: &str) -> &'a str {
    record.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}
