//! The events: sign-ins with attacks, locked and blocked accounts, some late, some doubled, some broken; and the unlocks of
//! accounts. No two instants of a stream are alike, so that the order of events needs no tie-break.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::support::events::Seed;
use crate::support::signins::{Entry, Event, broken};

pub(crate) const SIGNIN_PARTITIONS: usize = 3;
pub(crate) const UNLOCK_PARTITIONS: usize = 2;

const SECOND_US: i64 = 1_000_000;
const MINUTE_US: i64 = 60 * SECOND_US;
const USERS: u64 = 40;
/// Users who are blocked often, so that a cooldown has work.
const BLOCKED_USERS: u64 = 6;
/// 2024-03-01: long past, so that no clock of a machine takes it for the future.
pub(crate) const BASE_US: i64 = 1_709_251_200_000_000;
/// Between two events of one partition.
const STEP_US: i64 = 500_000;
/// Below the lateness of the streams.
const JITTER_MS: u64 = 8_000;

/// Portions for which a stream is silent: long enough that the archive and old state go on without it.
const SILENCE: usize = 4;

/// All events, by partition and in its order.
pub(crate) struct Story {
    pub(crate) signins: Vec<Vec<Entry>>,
    pub(crate) unlocks: Vec<Vec<Entry>>,
}

/// A stretch of the story.
pub(crate) struct Portion<'a> {
    signins: Vec<(i32, &'a [u8])>,
    unlocks: Vec<(i32, &'a [u8])>,
}

impl<'a> Portion<'a> {
    pub(crate) fn signins(&self) -> impl Iterator<Item = (i32, &'a [u8])> {
        self.signins.iter().copied()
    }

    pub(crate) fn unlocks(&self) -> impl Iterator<Item = (i32, &'a [u8])> {
        self.unlocks.iter().copied()
    }
}

/// The bytes of a story, cut into portions.
pub(crate) struct Payloads {
    signins: Vec<Vec<Vec<u8>>>,
    unlocks: Vec<Vec<Vec<u8>>>,
}

impl Payloads {
    pub(crate) fn of(story: &Story) -> Self {
        let payloads = |partitions: &[Vec<Entry>]| {
            partitions.iter().map(|entries| entries.iter().map(Entry::payload).collect()).collect()
        };
        Self { signins: payloads(&story.signins), unlocks: payloads(&story.unlocks) }
    }

    /// The portion `at` of `of`.
    pub(crate) fn portion(&self, at: usize, of: usize) -> Portion<'_> {
        let stretch = |stream| at.checked_sub(1).map_or(0, |at| told(stream, at, of))..told(stream, at, of);
        Portion { signins: cut(&self.signins, stretch(0), of), unlocks: cut(&self.unlocks, stretch(1), of) }
    }
}

/// How much of a stream is told with a portion: each in turn is silent for a while, and then tells what it has held back.
fn told(stream: usize, at: usize, of: usize) -> usize {
    let is_silent = (at / SILENCE) % 3 == stream && at + 1 < of;
    if is_silent { at / SILENCE * SILENCE } else { at + 1 }
}

/// A stretch of each partition, in shares of `of`.
fn cut(partitions: &[Vec<Vec<u8>>], shares: Range<usize>, of: usize) -> Vec<(i32, &[u8])> {
    let mut records = Vec::new();
    for (partition, all) in partitions.iter().enumerate() {
        let stretch = all.len() * shares.start / of..all.len() * shares.end / of;
        records.extend(all[stretch].iter().map(|record| (partition as i32, record.as_slice())));
    }
    records
}

/// Tells a story of so many sign-ins.
pub(crate) fn tell(seed: u64, events: usize) -> Story {
    let mut seed = Seed::new(seed);
    let mut instants = BTreeSet::new();
    let mut signins: Vec<Vec<Entry>> = (0..SIGNIN_PARTITIONS).map(|_| Vec::new()).collect();
    let mut answers = Vec::new();
    for seq in 0..events {
        let entries = &mut signins[seq % SIGNIN_PARTITIONS];
        let time_us = BASE_US + (seq / SIGNIN_PARTITIONS) as i64 * STEP_US + jitter(&mut seed);
        let minute = ((time_us - BASE_US) / MINUTE_US).unsigned_abs();
        let (user, status) = match seed.below(1000) {
            0..15 => (seed.below(USERS), "Locked"),
            15..35 => (seed.below(BLOCKED_USERS), "Blocked"),
            35..85 => (seed.below(USERS), "Failure"),
            // Each minute somebody else is attacked.
            85..150 => (minute % USERS, "Failure"),
            _ => (seed.below(USERS), "Success"),
        };
        // What late and doubled events do to a cooldown is a matter of its own tests.
        let is_plain = status == "Blocked";
        let is_late = !is_plain && seed.once_in(100);
        let back_us = if is_late { 30 * SECOND_US + jitter(&mut seed) } else { 0 };
        let event = Event { seq, time_us: free(&mut instants, time_us - back_us), user: format!("user{user}"), status };
        if status == "Locked" && !is_late && !seed.once_in(3) {
            answers.push((event.time_us + SECOND_US + seed.below(90_000) as i64 * 1000, event.user.clone()));
        }
        if !is_plain && seed.once_in(100) {
            entries.push(Entry::Good(event.clone()));
        }
        if seed.once_in(200) {
            entries.push(Entry::Bad(broken(&event, seed.below(4))));
        }
        entries.push(Entry::Good(event));
    }
    let span_us = (events / SIGNIN_PARTITIONS) as i64 * STEP_US;
    let unlocks = unlocks(&mut seed, answers, span_us);
    let end_us = BASE_US + span_us + 180 * MINUTE_US;
    Story { signins: ended(signins, end_us), unlocks: ended(unlocks, end_us) }
}

/// The answers to locked accounts among unlocks that answer nothing and move the clock.
fn unlocks(seed: &mut Seed, answers: Vec<(i64, String)>, span_us: i64) -> Vec<Vec<Entry>> {
    let mut wanted = answers;
    for second in 0..span_us / SECOND_US {
        wanted.push((BASE_US + second * SECOND_US, format!("nobody{}", seed.below(USERS))));
    }
    // Out of order by less than the lateness.
    let mut placed: Vec<_> = wanted.into_iter().map(|(time, user)| (time + jitter(seed), time, user)).collect();
    placed.sort();
    let mut instants = BTreeSet::new();
    let mut partitions: Vec<Vec<Entry>> = (0..UNLOCK_PARTITIONS).map(|_| Vec::new()).collect();
    for (seq, (_, time_us, user)) in placed.into_iter().enumerate() {
        let event = Event { seq, time_us: free(&mut instants, time_us), user, status: "Unlocked" };
        partitions[seed.below(UNLOCK_PARTITIONS as u64) as usize].push(Entry::Good(event));
    }
    partitions
}

/// Later than everything, so that what waits is decided; the second record confirms the jump of the first.
fn ended(mut partitions: Vec<Vec<Entry>>, end_us: i64) -> Vec<Vec<Entry>> {
    for (partition, entries) in partitions.iter_mut().enumerate() {
        for nth in 0..2 {
            let seq = 1_000_000 + 2 * partition + nth;
            entries.push(Entry::Good(Event { seq, time_us: end_us, user: "end".to_owned(), status: "Success" }));
        }
    }
    partitions
}

fn jitter(seed: &mut Seed) -> i64 {
    seed.below(JITTER_MS) as i64 * 1000
}

/// The first instant from `time_us` on, in milliseconds, that no other event has.
fn free(instants: &mut BTreeSet<i64>, mut time_us: i64) -> i64 {
    while !instants.insert(time_us) {
        time_us += 1000;
    }
    time_us
}
