//! What must come out, by brute force over all events, without any of Weir's ideas but the definition of late.

use std::collections::BTreeMap;

use super::story::Story;
use super::{Facts, Outcome};
use crate::support::events::rfc3339;
use crate::support::signins::{Entry, Event};

const LATENESS_US: i64 = 10_000_000;
const MINUTE_US: i64 = 60_000_000;
const FAILURES_MIN: usize = 5;

/// One stream, read.
#[derive(Default)]
struct Told<'a> {
    all: Vec<&'a Event>,
    /// In the order of time.
    on_time: Vec<&'a Event>,
}

pub(crate) fn oracle(story: &Story) -> Outcome {
    let mut outcome = Outcome::default();
    let signins = read("signin", &story.signins, &mut outcome);
    let unlocks = read("unlock", &story.unlocks, &mut outcome);
    locked(&signins, &mut outcome);
    guessing(&signins, &mut outcome.alerts);
    takeover(&signins, &mut outcome.alerts);
    answered(&signins, &unlocks, &mut outcome.alerts);
    blocked(&signins, &mut outcome.alerts);
    outcome
}

/// Tells events from dead letters, and late ones from those on time.
fn read<'a>(stream: &str, partitions: &'a [Vec<Entry>], outcome: &mut Outcome) -> Told<'a> {
    let mut told = Told::default();
    let (mut late, mut rejected) = (0, 0);
    for (partition, entries) in partitions.iter().enumerate() {
        let mut greatest_us = i64::MIN;
        for (offset, entry) in entries.iter().enumerate() {
            let event = match entry {
                Entry::Good(event) => event,
                Entry::Bad(raw) => {
                    rejected += 1;
                    outcome.dead.insert(format!("{stream} {partition} {offset}"), format!("{raw:02x?}"));
                    continue;
                }
            };
            count(&mut outcome.archived, format!("{stream} {}", event.seq));
            told.all.push(event);
            if greatest_us != i64::MIN && event.time_us < greatest_us - LATENESS_US {
                late += 1;
                count(&mut outcome.late, format!("{stream} {}", rfc3339(event.time_us)));
            } else {
                told.on_time.push(event);
            }
            greatest_us = greatest_us.max(event.time_us);
        }
    }
    told.on_time.sort_by_key(|event| event.time_us);
    let on_time = told.on_time.len();
    outcome.ledger.insert(stream.to_owned(), format!("{on_time} on time, {late} late, {rejected} rejected"));
    told
}

/// One more of this.
pub(crate) fn count(facts: &mut Facts, about: String) {
    let times = facts.entry(about).or_insert_with(|| "0".to_owned());
    *times = (times.parse::<usize>().expect("a number of times") + 1).to_string();
}

/// Every locked account, late or not, is an alert that starts one run, which is told of once.
fn locked(signins: &Told<'_>, outcome: &mut Outcome) {
    let mut times: BTreeMap<usize, usize> = BTreeMap::new();
    for event in signins.all.iter().filter(|event| event.status == "Locked") {
        *times.entry(event.seq).or_default() += 1;
    }
    for (seq, times) in times {
        outcome.alerts.insert(format!("test.locked {seq}"), format!("{times} times"));
        outcome.alerts.insert(format!("test.acted {seq}"), "once".to_owned());
        outcome.runs.insert(seq.to_string(), "completed".to_owned());
    }
}

fn guessing(signins: &Told<'_>, alerts: &mut Facts) {
    let mut failures: BTreeMap<(&str, i64), usize> = BTreeMap::new();
    for event in signins.on_time.iter().filter(|event| event.status == "Failure") {
        let end_us = (event.time_us.div_euclid(MINUTE_US) + 1) * MINUTE_US;
        *failures.entry((&event.user, end_us)).or_default() += 1;
    }
    for ((user, end_us), failures) in failures.into_iter().filter(|(_, failures)| *failures >= FAILURES_MIN) {
        alerts.insert(format!("test.guessing {user} {}", rfc3339(end_us)), format!("{failures} failures"));
    }
}

/// Three failures and a success, one behind the other, less than two minutes from the first to the last.
fn takeover(signins: &Told<'_>, alerts: &mut Facts) {
    let mut of_user: BTreeMap<&str, Vec<&Event>> = BTreeMap::new();
    for event in &signins.on_time {
        of_user.entry(&event.user).or_default().push(event);
    }
    for (user, events) in of_user {
        let mut at = 0;
        while at + 4 <= events.len() {
            let four = &events[at..at + 4];
            let is_pattern = four.iter().map(|event| event.status).eq(["Failure", "Failure", "Failure", "Success"]);
            if is_pattern && four[3].time_us - four[0].time_us < 2 * MINUTE_US {
                alerts.insert(format!("test.takeover {user} {}", rfc3339(four[3].time_us)), "3 failures".to_owned());
                at += 4;
            } else {
                at += 1;
            }
        }
    }
}

/// Each unlock within a minute, and each locked account that had none.
fn answered(signins: &Told<'_>, unlocks: &Told<'_>, alerts: &mut Facts) {
    for event in signins.on_time.iter().filter(|event| event.status == "Locked") {
        let is_answer = |unlock: &&&Event| {
            unlock.user == event.user && (event.time_us..=event.time_us + MINUTE_US).contains(&unlock.time_us)
        };
        let answers: Vec<_> = unlocks.on_time.iter().filter(is_answer).collect();
        for answer in &answers {
            alerts.insert(format!("test.unlocked {} {}", event.seq, answer.seq), "paired".to_owned());
        }
        if answers.is_empty() {
            alerts.insert(format!("test.unanswered {}", event.seq), "nobody came".to_owned());
        }
    }
}

/// A block less than a minute behind the last one of the user that was told is folded into that one.
fn blocked(signins: &Told<'_>, alerts: &mut Facts) {
    let mut leader_of: BTreeMap<&str, (i64, usize)> = BTreeMap::new();
    let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
    for event in signins.on_time.iter().filter(|event| event.status == "Blocked") {
        match leader_of.get(event.user.as_str()) {
            Some((told_us, leader)) if event.time_us - told_us < MINUTE_US => {
                *counts.entry(*leader).or_default() += 1;
                alerts.insert(format!("test.blocked {}", event.seq), format!("repeats {leader}"));
            }
            _ => {
                leader_of.insert(&event.user, (event.time_us, event.seq));
                counts.insert(event.seq, 1);
            }
        }
    }
    for (seq, count) in counts {
        alerts.insert(format!("test.blocked {seq}"), format!("{count} times"));
    }
}
