//! State on a store that fails: a pipeline in small runs to its end whatever operation fails, and gives what it gives on
//! a store that does not.

use std::sync::{Arc, Mutex};

use object_store::memory::InMemory;

use super::*;
use crate::location::faulty::{Fault, Faulty, Plan};

/// Events of the whole run, and of one epoch.
const EVENTS: u64 = 12;
const EVENTS_OF_EPOCH: u64 = 3;
/// Starts after which a run would not end any more.
const STARTS_MAX: usize = 12;

/// Where outputs go: like Kafka's transactions, records and cursor are one, and only the last who began may write.
#[derive(Debug, Default)]
struct Outside {
    owner: String,
    cursor: u64,
    received: Vec<u64>,
}

/// How a run of the process ended.
#[derive(Debug)]
enum Stop {
    State(StateError),
    /// The outside belongs to a later process.
    Superseded,
}

impl From<StateError> for Stop {
    fn from(error: StateError) -> Self {
        Self::State(error)
    }
}

/// Whether an operation that failed is tried again by the same process, or by the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Habit {
    TriesAgain,
    StartsAgain,
}

impl Habit {
    async fn keep<T>(self, work: impl AsyncFn() -> Result<T, StateError>) -> Result<T, StateError> {
        loop {
            match work().await {
                Err(error) if error.is_retriable() && self == Self::TriesAgain => {}
                result => return result,
            }
        }
    }
}

/// One process, from its start to the last event: it counts events and sends each outside.
async fn run(state: &StateStore, outside: &Mutex<Outside>, habit: Habit) -> Result<(), Stop> {
    let delivered = {
        let mut outside = outside.lock().unwrap();
        outside.owner = state.writer().to_owned();
        outside.cursor
    };
    let newest = state.latest().await?;
    let (mut epoch, mut next, mut sum) = (0, 0, 0);
    if let Some(manifest) = &newest {
        epoch = manifest.epoch;
        next = *manifest.positions.values().next().expect("a position") as u64;
        sum = u64::from_le_bytes(state.read_snapshots(manifest).await?[0][0][..].try_into().expect("a sum"));
        assert_eq!(sum, (0..next).sum::<u64>(), "the snapshot is that of its positions");
    }
    assert!(delivered <= epoch, "what was delivered was committed before");
    for missed in delivered + 1..=epoch {
        deliver(state, missed, outside, habit).await?;
    }
    while next < EVENTS {
        let events: Vec<u64> = (next..(next + EVENTS_OF_EPOCH).min(EVENTS)).collect();
        (epoch, next, sum) = (epoch + 1, next + events.len() as u64, sum + events.iter().sum::<u64>());
        let body = events.iter().flat_map(|event| event.to_le_bytes()).collect::<Vec<_>>();
        let output = Output { name: "events".into(), records: events.len() as u64, body: body.into() };
        let mut manifest = Manifest::new(epoch);
        let key = PartitionKey { stream: "s".into(), topic: "t".into(), partition: 0 };
        manifest.positions.insert(key, next as i64);
        manifest.outputs = habit.keep(async || state.write_outputs(epoch, vec![output.clone()]).await).await?;
        let snapshot = Bytes::copy_from_slice(&sum.to_le_bytes());
        manifest.snapshots = vec![habit.keep(async || state.write_snapshot(epoch, 0, snapshot.clone()).await).await?];
        habit.keep(async || state.commit(&manifest).await).await?;
        deliver(state, epoch, outside, habit).await?;
        state.set_cursor("other", epoch).await?;
        assert!(state.cursor("other").await?.is_some_and(|cursor| cursor >= epoch), "a cursor is never an older one");
        state.retain_from(epoch).await?;
    }
    Ok(())
}

async fn deliver(state: &StateStore, epoch: u64, outside: &Mutex<Outside>, habit: Habit) -> Result<(), Stop> {
    // It is gone where another process went on.
    let Some(manifest) = habit.keep(async || state.manifest(epoch).await).await? else { return Err(Stop::Superseded) };
    let outputs = habit.keep(async || state.read_outputs(&manifest).await).await?;
    let mut outside = outside.lock().unwrap();
    if outside.owner != state.writer() {
        return Err(Stop::Superseded);
    }
    outside.cursor = epoch;
    for output in outputs {
        outside.received.extend(output.body.chunks(8).map(|event| u64::from_le_bytes(event.try_into().unwrap())));
    }
    Ok(())
}

/// Starts processes on the store until one comes to the end; a person repairs what a torn write has left.
async fn run_to_the_end(store: &Faulty, habit: Habit, case: &str) -> Outside {
    let outside = Mutex::default();
    for _ in 0..STARTS_MAX {
        match run(&StateStore::new(&Location::of_store(store.clone())), &outside, habit).await {
            Ok(()) => return outside.into_inner().unwrap(),
            Err(Stop::State(StateError::Damaged { path, .. } | StateError::DamagedCursor { path, .. })) => {
                // Where a read was cut short, the object itself is whole, and nobody finds anything to repair.
                for torn in store.remove_torn().await {
                    assert_eq!(torn.as_ref(), path, "{case}: the message names what is torn");
                }
            }
            // A read that was cut short can make the own manifest look like another's, and then a new start is safe.
            Err(Stop::State(StateError::Store { .. } | StateError::Fenced { .. })) => {}
            Err(other) => panic!("{case}: {other:?}"),
        }
    }
    panic!("{case}: not through after {STARTS_MAX} starts");
}

async fn assert_all_is_there_once(inner: &Arc<InMemory>, outside: &Outside, case: &str) {
    assert_eq!(outside.received, (0..EVENTS).collect::<Vec<_>>(), "{case}: each event goes out once, in order");
    let place = Location::of_store(Arc::clone(inner));
    let state = StateStore::new(&place);
    let newest = state.latest().await.unwrap().expect("epochs were committed");
    state.read_snapshots(&newest).await.unwrap();
    state.retain_from(newest.epoch).await.unwrap();
    let left: Vec<Path> = place.store().list(None).map_ok(|object| object.location).try_collect().await.unwrap();
    let old: Vec<_> = left.iter().filter(|path| epoch_of(path).is_some_and(|epoch| epoch < newest.epoch)).collect();
    assert!(old.is_empty(), "{case}: left behind: {old:?}");
}

/// How many operations a run has on a store that never fails.
async fn operations() -> usize {
    let inner = Arc::new(InMemory::new());
    let store = Faulty::new(&inner, None);
    let outside = run_to_the_end(&store, Habit::StartsAgain, "no fault").await;
    assert_all_is_there_once(&inner, &outside, "no fault").await;
    store.operations()
}

#[tokio::test]
async fn whichever_operations_fail_and_however_nothing_is_lost_or_doubled() {
    let operations = operations().await;
    assert!(operations > 40, "{operations} operations are worth a test");
    for at in 0..operations {
        for fault in [Fault::Refused, Fault::AnswerLost, Fault::Torn, Fault::Truncated] {
            for (in_a_row, habit) in (1..=4).flat_map(|n| [(n, Habit::TriesAgain), (n, Habit::StartsAgain)]) {
                let case = format!("{fault:?} from operation {at}, {in_a_row} times, {habit:?}");
                let inner = Arc::new(InMemory::new());
                let store = Faulty::new(&inner, Some(Plan { operations: at..at + in_a_row, fault }));
                let outside = run_to_the_end(&store, habit, &case).await;
                assert_all_is_there_once(&inner, &outside, &case).await;
            }
        }
    }
}

#[tokio::test]
async fn a_store_that_is_slow_changes_nothing() {
    let inner = Arc::new(InMemory::new());
    let store = Faulty::new(&inner, Some(Plan { operations: 0..usize::MAX, fault: Fault::Slow }));
    let outside = run_to_the_end(&store, Habit::StartsAgain, "slow").await;
    assert_all_is_there_once(&inner, &outside, "slow").await;
}

#[tokio::test]
async fn a_process_that_hangs_at_any_operation_while_another_takes_over_does_no_harm() {
    let operations = operations().await;
    let mut fenced = 0;
    for at in 0..operations {
        let case = format!("held at operation {at}");
        let inner = Arc::new(InMemory::new());
        let outside = Mutex::default();
        let held = Faulty::new(&inner, Some(Plan { operations: at..at + 1, fault: Fault::Held }));
        let (first, second) = [Location::of_store(held.clone()), Location::of_store(Arc::clone(&inner))]
            .map(|place| StateStore::new(&place))
            .into();
        let taking_over = async {
            held.held().await;
            run(&second, &outside, Habit::StartsAgain).await.unwrap_or_else(|stop| panic!("{case}: {stop:?}"));
            let epochs = second.epochs().await.unwrap();
            held.go_on();
            epochs
        };
        let (hanging, before) = tokio::join!(run(&first, &outside, Habit::TriesAgain), taking_over);
        match hanging {
            Err(Stop::State(StateError::Fenced { .. })) => fenced += 1,
            // What it wants to read was deleted, or its part in the outside has ended.
            Err(Stop::State(StateError::Damaged { .. }) | Stop::Superseded) | Ok(()) => {}
            Err(other) => panic!("{case}: {other:?}"),
        }
        // A manifest that was deleted may stand there again: nobody goes on from it, and it goes with the next clean-up.
        assert_eq!(second.epochs().await.unwrap().last(), before.last(), "{case}: what is newest stays so");
        second.retain_from(u64::MAX).await.unwrap();
        let after = second.epochs().await.unwrap();
        assert!(after.iter().all(|epoch| before.contains(epoch)), "{case}: it leaves nothing behind: {after:?}");
        let outside = std::mem::take(&mut *outside.lock().unwrap());
        assert_all_is_there_once(&inner, &outside, &case).await;
    }
    assert!(fenced > 0, "the fence was put to the test");
}
