//! Promise 3 as a property: however events come, the answer is the one that a slow and obvious twin gives.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, OnceLock};

use proptest::prelude::*;
use serde_json::{Value, json};
use weir_engine::{Place, Span, TableVersion};

use super::super::{Bench, CaseResult, Outside};
use super::{FAILURE, GUESSING, decode, project_with};
use crate::Detection;
use crate::compile::{Compiled, Part};
use crate::rule_test::{Case, Expected, Given, Item, ItemKind};

const START_US: i64 = 1_767_225_600_000_000;
const SECOND_US: i64 = 1_000_000;
const WINDOW_S: i64 = 300;
const LATENESS_S: i64 = 60;
const THRESHOLD: usize = 3;
const HOUR_S: i64 = 3600;
/// How far ahead an event may be before it has to be confirmed: the default of a stream.
const GUARD_S: i64 = HOUR_S;

/// One sign-in: seconds after the start, and what it says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct SignIn {
    second: i64,
    user: Option<&'static str>,
    ip: &'static str,
    fails: bool,
}

impl SignIn {
    fn event(&self) -> Value {
        let time = time(self.second);
        let status = if self.fails { "Failure" } else { "Success" };
        json!({ "time": time, "user": self.user, "src_ip": self.ip, "status": status })
    }
}

/// Mostly in order, with stragglers, repeats and leaps, and now and then one that claims to be hours ahead. (Copies of one
/// record that come more than a day of event time apart are beyond what is remembered.)
fn sign_ins() -> impl Strategy<Value = Vec<SignIn>> {
    let one = (
        prop_oneof![8 => 0..30_i64, 2 => -90..0_i64, 1 => 200..900_i64, 1 => Just(0)],
        prop_oneof![6 => Just(Some("ann")), 3 => Just(Some("bob")), 1 => Just(None)],
        prop_oneof![Just("10.0.0.1"), Just("10.0.0.2")],
        prop::bool::weighted(0.8),
    );
    let ahead = prop_oneof![30 => Just(0), 1 => 2 * HOUR_S..20 * HOUR_S];
    prop::collection::vec((one, ahead), 0..60).prop_map(|steps| {
        let mut second = 600;
        let step = |((by, user, ip, fails), ahead)| {
            second += by;
            SignIn { second: second + ahead, user, ip, fails }
        };
        steps.into_iter().map(step).collect()
    })
}

/// The events that stateful operators see: those not behind the greatest earlier time by more than the lateness, where
/// an event that is more than the guard ahead counts once another one, or the end, confirms it; a nearer jump takes its
/// place.
fn on_time<'a>(events: &'a [SignIn]) -> Vec<&'a SignIn> {
    let mut greatest: Option<i64> = None;
    let mut seen = Vec::new();
    let mut held: Option<(&SignIn, u32)> = None;
    let mut judge = |event: &'a SignIn, greatest: &mut Option<i64>| {
        if greatest.is_none_or(|greatest| event.second >= greatest - LATENESS_S) {
            seen.push(event);
            *greatest = (*greatest).max(Some(event.second));
        }
    };
    let is_jump =
        |event: &SignIn, greatest: Option<i64>| greatest.is_some_and(|greatest| event.second > greatest + GUARD_S);
    for event in events {
        if let Some((ahead, left)) = held.take() {
            if event.second >= ahead.second - GUARD_S {
                judge(ahead, &mut greatest);
            } else if left > 1 && !is_jump(event, greatest) {
                held = Some((ahead, left - 1));
            }
        }
        if held.is_none() && is_jump(event, greatest) {
            held = Some((event, 16));
        } else {
            judge(event, &mut greatest);
        }
    }
    if let Some((ahead, _)) = held {
        judge(ahead, &mut greatest);
    }
    seen
}

/// What every failure should give: one alert per distinct record, counting its copies.
fn failures(events: &[SignIn]) -> BTreeMap<&SignIn, usize> {
    let mut alerts = BTreeMap::new();
    for event in events.iter().filter(|event| event.fails) {
        *alerts.entry(event).or_insert(0) += 1;
    }
    alerts
}

/// What windows should give: users and windows with enough failures, and how many.
fn guessing(events: &[SignIn]) -> BTreeMap<(i64, Option<&'static str>), usize> {
    let mut alerts = BTreeMap::new();
    for event in on_time(events).into_iter().filter(|event| event.fails) {
        *alerts.entry((event.second.div_euclid(WINDOW_S), event.user)).or_insert(0) += 1;
    }
    alerts.retain(|_, count| *count >= THRESHOLD);
    alerts
}

/// Hits of one thing, by time and with their copies, as a cooldown leaves them: those that lead, with their copies and
/// the repeats folded in.
fn cooled(hits: &[(i64, usize)], period: i64) -> Vec<(i64, usize)> {
    let mut leads: Vec<(i64, usize)> = Vec::new();
    for (time, count) in hits {
        match leads.last_mut() {
            Some((lead, folded)) if *time < *lead + period => *folded += 1,
            _ => leads.push((*time, *count)),
        }
    }
    leads
}

fn time(second: i64) -> String {
    weir_engine::EventTime(START_US + second * SECOND_US).to_string()
}

fn span() -> Span {
    Span::at(Place::START)
}

fn expect(fields: Value) -> Expected {
    let Value::Object(fields) = fields else { unreachable!("the callers write maps") };
    Expected { span: span(), fields: fields.into_iter().collect(), written: Vec::new() }
}

/// Detections that no twin answers for: all runs must agree on them.
const MORE: [(&str, &str); 9] = [
    (
        "agree.many_aggregates",
        "SELECT window_start, window_end, user, count(DISTINCT src_ip) AS ips, min(time) AS first, max(time) AS last,
           sum(CASE WHEN status = 'Failure' THEN 1 ELSE 0 END) AS failures, avg(length(src_ip)) AS share
         FROM TUMBLE(signin, time, INTERVAL '2 minutes')
         GROUP BY user, window_start, window_end HAVING count(DISTINCT src_ip) >= 2",
    ),
    (
        "agree.no_key",
        "SELECT window_start, window_end, count(*) AS events FROM TUMBLE(signin, time, INTERVAL '1 minute')
         GROUP BY window_start, window_end HAVING count(*) >= 2",
    ),
    (
        "agree.at_close",
        "SELECT window_start, window_end, src_ip, count(*) AS events FROM TUMBLE(signin, time, INTERVAL '3 minutes')
         GROUP BY src_ip, window_start, window_end HAVING count(*) BETWEEN 2 AND 4",
    ),
    (
        "agree.either",
        "SELECT window_start, window_end, user, count(*) AS events, max(src_ip) AS ip
         FROM TUMBLE(signin, time, INTERVAL '3 minutes') GROUP BY user, window_start, window_end
         HAVING count(*) >= 4 OR max(src_ip) > '10.0.0.1'",
    ),
    (
        "agree.no_having",
        "SELECT window_start, window_end, user, status, count(*) AS events
         FROM TUMBLE(signin, time, INTERVAL '10 minutes') GROUP BY user, status, window_start, window_end",
    ),
    (
        "agree.outer_filter",
        "WITH counted AS (
           SELECT window_start, window_end, user, count(*) AS events FROM TUMBLE(signin, time, INTERVAL '5 minutes')
           GROUP BY user, window_start, window_end)
         SELECT window_start, window_end, user, events FROM counted WHERE events >= 3",
    ),
    (
        "agree.look_up",
        "SELECT window_start, window_end, i.score, count(*) AS events
         FROM TUMBLE(signin, time, INTERVAL '5 minutes') s LEFT JOIN indicators i ON i.ip = s.src_ip
         GROUP BY i.score, window_start, window_end HAVING count(*) >= 2",
    ),
    (
        "agree.values_of_alerts",
        "SELECT window_start, window_end, count(*) AS alerts, max(severity_id) AS worst, min(title) AS title
         FROM TUMBLE(alerts, time, INTERVAL '10 minutes') GROUP BY window_start, window_end HAVING count(*) >= 2",
    ),
    (
        "agree.rows_of_alerts",
        "SELECT time, detection, \"user\" AS user_name, severity FROM alerts WHERE severity_id >= 2",
    ),
];

/// The detections of [`project`], two of them with a cooldown, and more.
fn compiled() -> &'static Compiled {
    static PROJECT: OnceLock<Compiled> = OnceLock::new();
    PROJECT.get_or_init(|| {
        let with_cooldown = |text: &str, id: &str, cooldown: &str| {
            let text = text.replace("SELECT ", &format!("--! cooldown = \"{cooldown}\"\nSELECT "));
            let id =
                |line: &str| if line.starts_with("--! id") { format!("--! id = \"{id}\"") } else { line.to_owned() };
            text.lines().map(id).collect::<Vec<_>>().join("\n")
        };
        let mut more = vec![
            with_cooldown(FAILURE, "cooled.failure", "100 seconds"),
            with_cooldown(GUESSING, "cooled.guessing", "400 seconds"),
        ];
        more.extend(
            MORE.map(|(id, sql)| format!("--! id = \"{id}\"\n--! title = \"{id}\"\n--! severity = \"low\"\n{sql}\n")),
        );
        project_with(&more)
    })
}

/// The program of every detection with those of `identity` that it may read.
fn programs() -> &'static HashMap<String, Part> {
    static PROGRAMS: OnceLock<HashMap<String, Part>> = OnceLock::new();
    PROGRAMS.get_or_init(|| {
        let compiled = compiled();
        let program = |(at, detection): (usize, &Arc<Detection>)| {
            let company = compiled.company(at, &["identity.*".to_owned()]);
            (detection.id.to_string(), compiled.program_of(&company).expect("it compiles"))
        };
        compiled.detections.iter().enumerate().map(program).collect()
    })
}

fn result(detection: &str, events: &[SignIn], expect: Vec<Expected>) -> CaseResult {
    let Part { program, detections } = programs()[detection].clone();
    let outside = Outside {
        decode: &decode,
        lines: &|path| Err(format!("no file {path}")),
        table: &|table| {
            let rows = arrow::array::RecordBatch::new_empty(table.schema());
            Ok(TableVersion { name: table.name.as_str().into(), version: weir_engine::Uid([0; 16]), rows })
        },
    };
    let items = events.iter().map(|event| Item { span: span(), kind: ItemKind::Event(event.event()) }).collect();
    let case = Case {
        name: detection.to_owned(),
        span: span(),
        given: vec![Given { stream: "signin".to_owned(), span: span(), items }],
        tables: Vec::new(),
        expect,
        late: Some((events.len() - on_time(events).len()) as u64),
        rejected: 0,
    };
    Bench { program, detections, catalog: &compiled().catalog, outside: &outside }.result(&case, detection)
}

fn check(detection: &str, events: &[SignIn], expect: Vec<Expected>) -> Result<(), TestCaseError> {
    let result = result(detection, events, expect);
    let problems: Vec<_> = result.problems.iter().map(ToString::to_string).collect();
    prop_assert!(problems.is_empty(), "{}\nof {:#?}", problems.join("\n"), events);
    Ok(())
}

#[test]
fn every_detection_of_this_file_fires_for_somebody() {
    let event = |second, user, ip| SignIn { second, user: Some(user), ip, fails: true };
    let events: Vec<_> = (600..640)
        .step_by(4)
        .flat_map(|second| {
            [
                event(second, "ann", "10.0.0.1"),
                event(second + 1, "ann", "10.0.0.2"),
                event(second + 90, "bob", "10.0.0.2"),
            ]
        })
        .collect();
    let more = [event(800, "bob", "10.0.0.1"), event(801, "bob", "10.0.0.1"), event(1200, "ann", "10.0.0.1")];
    let events: Vec<_> = events.into_iter().chain(more).collect();
    for (id, _) in MORE {
        assert!(result(id, &events, Vec::new()).alerts > 0, "{id} never fires");
    }
}

/// Compares with the twin where all events are in time, and the runs with each other in any case.
fn check_or_agree(detection: &str, events: &[SignIn], expect: Vec<Expected>) -> Result<(), TestCaseError> {
    if on_time(events).len() == events.len() {
        return check(detection, events, expect);
    }
    agree(detection, events)
}

/// Compares the runs with each other.
fn agree(detection: &str, events: &[SignIn]) -> Result<(), TestCaseError> {
    let result = result(detection, events, Vec::new());
    let faults: Vec<_> = result.problems.iter().map(ToString::to_string).collect();
    let faults: Vec<_> =
        faults.into_iter().filter(|text| text.contains("fault of Weir") || text.contains("stopped")).collect();
    prop_assert!(faults.is_empty(), "{}\nof {:#?}", faults.join("\n"), events);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn row_level_alerts_are_those_of_the_twin(events in sign_ins()) {
        let expected = failures(&events).into_iter().map(|(event, count)| expect(json!({
            "time": event.event()["time"], "count": count, "data": { "user": event.user, "src_ip": event.ip },
        })));
        check("identity.failure", &events, expected.collect())?;
    }

    #[test]
    fn windowed_alerts_are_those_of_the_twin(events in sign_ins()) {
        let expected = guessing(&events).into_iter().map(|((window, user), failures)| expect(json!({
            "time": time((window + 1) * WINDOW_S),
            "data": { "user": user, "failures": failures },
        })));
        check("identity.guessing", &events, expected.collect())?;
    }

    #[test]
    fn correlated_alerts_are_those_of_the_twin(events in sign_ins()) {
        let mut signals: BTreeMap<(i64, Option<&str>), BTreeSet<&str>> = BTreeMap::new();
        for event in events.iter().filter(|event| event.fails) {
            signals.entry((event.second.div_euclid(HOUR_S), event.user)).or_default().insert("failure");
        }
        for (window, user) in guessing(&events).into_keys() {
            signals.entry((((window + 1) * WINDOW_S).div_euclid(HOUR_S), user)).or_default().insert("guessing");
        }
        signals.retain(|_, kinds| kinds.len() >= 2);
        let expected = signals.into_keys().map(|(_, user)| expect(json!({ "data": { "user_name": user, "detections": 2 } })));
        // A late failure is an alert of the row-level detection all the same. What it adds to a window over alerts is not
        // for this twin to say; that all runs agree on it is checked with the rest.
        check_or_agree("correlation.chain", &events, expected.collect())?;
    }

    #[test]
    fn repeats_of_rows_are_folded_as_by_the_twin(events in sign_ins()) {
        let mut hits: BTreeMap<_, Vec<(i64, usize)>> = BTreeMap::new();
        for (event, count) in failures(&events) {
            hits.entry((event.user, event.ip)).or_default().push((event.second, count));
        }
        let expected = hits.into_iter().flat_map(|((user, ip), hits)| {
            let leads = cooled(&hits, 100).into_iter();
            leads.map(move |(second, count)| expect(json!({
                "time": time(second), "count": count, "data": { "user": user, "src_ip": ip },
            })))
        });
        check_or_agree("cooled.failure", &events, expected.collect())?;
    }

    #[test]
    fn repeats_of_windows_are_folded_as_by_the_twin(events in sign_ins()) {
        let mut hits: BTreeMap<_, Vec<(i64, usize)>> = BTreeMap::new();
        for (window, user) in guessing(&events).into_keys() {
            hits.entry(user).or_default().push(((window + 1) * WINDOW_S, 1));
        }
        let expected = hits.into_iter().flat_map(|(user, hits)| {
            let leads = cooled(&hits, 400).into_iter();
            leads.map(move |(second, count)| expect(json!({
                "time": time(second), "count": count, "data": { "user": user },
            })))
        });
        check("cooled.guessing", &events, expected.collect())?;
    }

    #[test]
    fn all_runs_agree_on_what_no_twin_answers_for(events in sign_ins(), at in 0..MORE.len()) {
        agree(MORE[at].0, &events)?;
    }
}
