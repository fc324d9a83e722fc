//! Sign-ins with an oracle: seeded records over several partitions, and what must come out of them.
//!
//! The project that reads them is in [`super::pipeline`].

use std::collections::BTreeMap;
use std::fmt::Debug;

use super::events::{Seed, rfc3339};
use super::rows::{Alert, last_by_uid};

const USERS: u64 = 300;
const LATENESS_US: i64 = 10_000_000;
const MINUTE_US: i64 = 60_000_000;
const FAILURES_MIN: usize = 5;
/// 2024-03-01: long past, so that no clock of a machine takes it for the future.
const BASE_US: i64 = 1_709_251_200_000_000;

/// One record of the stream, before it is bytes.
#[derive(Clone)]
pub(crate) struct Event {
    pub(crate) seq: usize,
    pub(crate) time_us: i64,
    pub(crate) user: String,
    pub(crate) status: &'static str,
}

impl Event {
    fn json(&self) -> Vec<u8> {
        let time = rfc3339(self.time_us);
        let Self { seq, user, status, .. } = self;
        format!(r#"{{"time":"{time}","seq":{seq},"user_name":"{user}","src_ip":"10.1.2.3","status":"{status}"}}"#)
            .into_bytes()
    }
}

/// What a partition holds: an event, or bytes that are none.
pub(crate) enum Entry {
    Good(Event),
    Bad(Vec<u8>),
}

impl Entry {
    pub(crate) fn payload(&self) -> Vec<u8> {
        match self {
            Self::Good(event) => event.json(),
            Self::Bad(raw) => raw.clone(),
        }
    }
}

/// What must come out.
#[derive(Default, Debug, PartialEq)]
pub(crate) struct Outcome {
    /// How often each locked event was seen, by its number.
    pub(crate) locked: BTreeMap<String, i64>,
    /// Failures by user and end of window.
    pub(crate) guessing: BTreeMap<(String, String), String>,
    /// How often each event is in the archive.
    pub(crate) archived: BTreeMap<usize, usize>,
    /// Late rows, by the event's number.
    pub(crate) late: usize,
    /// Raw bytes of what could not be decoded, by partition and offset.
    pub(crate) dead: BTreeMap<(i64, i64), Vec<u8>>,
}

/// The entries of each partition: mostly in order of time, with some late, some doubled and some broken.
pub(crate) fn generate(seed: u64, events: usize, partitions: usize) -> Vec<Vec<Entry>> {
    let mut seed = Seed::new(seed);
    let mut entries_of: Vec<Vec<Entry>> = (0..partitions).map(|_| Vec::new()).collect();
    for seq in 0..events {
        let entries = &mut entries_of[seq % partitions];
        // Ten events per second and partition, with a jitter below the lateness.
        let mut time_us = BASE_US + (seq as i64) / partitions as i64 * 100_000 + seed.below(8_000_000) as i64;
        if seed.once_in(500) {
            time_us -= 3 * LATENESS_US + seed.below(MINUTE_US as u64) as i64;
        }
        let minute = (time_us - BASE_US) / MINUTE_US;
        let (user, status) = match seed.below(1000) {
            0 => (seed.below(USERS), "Locked"),
            1..50 => (seed.below(USERS), "Failure"),
            // Each minute somebody else is attacked.
            50..62 => (minute.unsigned_abs() % USERS, "Failure"),
            _ => (seed.below(USERS), "Success"),
        };
        let event = Event { seq, time_us, user: format!("user{user}"), status };
        if seed.once_in(1000) {
            entries.push(Entry::Good(event.clone()));
        }
        if seed.once_in(2000) {
            entries.push(Entry::Bad(broken(&event, seed.below(4))));
        }
        entries.push(Entry::Good(event));
    }
    // Later than everything, so that the windows before it close; the second record confirms the jump of the first.
    for (partition, entries) in entries_of.iter_mut().enumerate() {
        for nth in 0..2 {
            let seq = events + 2 * partition + nth;
            let time_us = BASE_US + 180 * MINUTE_US;
            entries.push(Entry::Good(Event { seq, time_us, user: "end".to_owned(), status: "Success" }));
        }
    }
    entries_of
}

/// Bytes that look like the event and are none.
pub(crate) fn broken(event: &Event, how: u64) -> Vec<u8> {
    let mut json = event.json();
    match how {
        0 => json.truncate(json.len() / 2),
        1 => json[60] = 0xFF,
        2 => json = format!(r#"{{"seq":{},"status":"Locked"}}"#, event.seq).into_bytes(),
        _ => json = format!(r#"{{"time":"yesterday","seq":{},"status":"Locked"}}"#, event.seq).into_bytes(),
    }
    json
}

/// What must come out, computed without any of Weir's ideas but the definition of late.
pub(crate) fn oracle(partitions: &[Vec<Entry>]) -> Outcome {
    let mut outcome = Outcome::default();
    let mut failures: BTreeMap<(String, i64), usize> = BTreeMap::new();
    for (partition, entries) in partitions.iter().enumerate() {
        let mut greatest_us = i64::MIN;
        for (offset, entry) in entries.iter().enumerate() {
            let event = match entry {
                Entry::Good(event) => event,
                Entry::Bad(raw) => {
                    outcome.dead.insert((partition as i64, offset as i64), raw.clone());
                    continue;
                }
            };
            *outcome.archived.entry(event.seq).or_default() += 1;
            if event.status == "Locked" {
                *outcome.locked.entry(event.seq.to_string()).or_default() += 1;
            }
            if greatest_us != i64::MIN && event.time_us < greatest_us - LATENESS_US {
                outcome.late += 1;
            } else if event.status == "Failure" {
                let end_us = (event.time_us.div_euclid(MINUTE_US) + 1) * MINUTE_US;
                *failures.entry((event.user.clone(), end_us)).or_default() += 1;
            }
            greatest_us = greatest_us.max(event.time_us);
        }
    }
    failures.retain(|_, count| *count >= FAILURES_MIN);
    outcome.guessing =
        failures.into_iter().map(|((user, end_us), count)| ((user, rfc3339(end_us)), count.to_string())).collect();
    outcome
}

/// What the last record of each alert says.
pub(crate) fn outcome_of_alerts(records: impl IntoIterator<Item = Alert>) -> Outcome {
    let mut outcome = Outcome::default();
    for alert in last_by_uid(records).into_values() {
        match alert.detection.as_str() {
            "test.locked" => {
                let before = outcome.locked.insert(alert.field("seq"), alert.count);
                assert_eq!(before, None, "two alerts of one cause: {alert:?}");
            }
            "test.guessing" => {
                let end = chrono::DateTime::parse_from_rfc3339(&alert.field("time")).expect("the end of a window");
                let key = (alert.field("user_name"), rfc3339(end.timestamp_micros()));
                let before = outcome.guessing.insert(key, alert.field("failures"));
                assert_eq!(before, None, "two alerts of one cause: {alert:?}");
            }
            other => panic!("an alert of no detection of ours: {other}"),
        }
    }
    outcome
}

/// Compares part by part, because a difference in 200,000 lines is no message.
#[track_caller]
pub(crate) fn assert_same(found: &Outcome, expected: &Outcome) {
    assert_same_alerts(found, expected);
    assert_maps("archived", &found.archived, &expected.archived);
    assert_maps("dead", &found.dead, &expected.dead);
    assert_eq!(found.late, expected.late, "late rows");
}

/// The same for what alerts say, which is all that a replay gives.
#[track_caller]
pub(crate) fn assert_same_alerts(found: &Outcome, expected: &Outcome) {
    assert_maps("locked", &found.locked, &expected.locked);
    assert_maps("guessing", &found.guessing, &expected.guessing);
}

#[track_caller]
pub(crate) fn assert_maps<K: Ord + Debug, V: PartialEq + Debug>(
    what: &str,
    found: &BTreeMap<K, V>,
    expected: &BTreeMap<K, V>,
) {
    let missing: Vec<_> = expected.iter().filter(|(key, _)| !found.contains_key(key)).collect();
    let more: Vec<_> = found.iter().filter(|(key, _)| !expected.contains_key(key)).collect();
    let other: Vec<_> = expected
        .iter()
        .filter_map(|(key, value)| found.get(key).filter(|found| *found != value).map(|found| (key, found, value)))
        .collect();
    let head = |rows: &dyn Debug| format!("{rows:?}").chars().take(600).collect::<String>();
    assert!(
        missing.is_empty() && more.is_empty() && other.is_empty(),
        "{what}: {} missing, {} too many, {} other (found, expected)\n{}\n{}\n{}",
        missing.len(),
        more.len(),
        other.len(),
        head(&missing),
        head(&more),
        head(&other),
    );
}
