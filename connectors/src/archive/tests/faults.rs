//! The archive on a store that fails: whatever operation fails, each event is in the table once in the end.

use std::sync::Arc;

use arrow::array::{Array, Int32Array};
use deltalake_core::TableProperty;
use object_store::ObjectStore as _;
use object_store::memory::InMemory;

use super::*;
use crate::location::faulty::{Fault, Faulty, Plan};

/// Epochs of a run; from the third on the events have one column more, and after the second files are joined.
const EPOCHS: u64 = 4;
/// Starts, and failures in one start, after which a run would not end any more.
const TRIES_MAX: usize = 12;

/// Whether an operation that failed is tried again by the same process, or by the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Habit {
    TriesAgain,
    StartsAgain,
}

/// The two events of an epoch.
fn events_of(epoch: u64) -> RecordBatch {
    let batch = events(&[epoch as i64 * 10, epoch as i64 * 10 + 1]);
    if epoch < 3 {
        return batch;
    }
    let fields: Vec<_> = batch.schema().fields().iter().cloned().chain([more()]).collect();
    let column = Arc::new(Int32Array::from(vec![epoch as i32; 2])) as ArrayRef;
    let columns = batch.columns().iter().cloned().chain([column]).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

fn more() -> Arc<Field> {
    Arc::new(Field::new("more", DataType::Int32, true))
}

fn archive_on(store: impl object_store::ObjectStore) -> Archive {
    Archive::new(Location::of_store(store), "weir")
}

/// One process, from its start to the last epoch, as the pipeline does it: what failed is tried again with all that was
/// committed by then.
async fn run(store: &Faulty, habit: Habit) -> Result<(), ArchiveError> {
    let mut table = archive_on(store.clone()).stream_writer(&stream(columns())).await?;
    let mut failures = 0;
    let mut joined = false;
    loop {
        let from = table.cursor().unwrap_or(0);
        if from == EPOCHS {
            return Ok(());
        }
        if from == 2 && !std::mem::replace(&mut joined, true) {
            // What fails here leaves small files, and is no matter.
            let _small_files_stay = table.compact().await.is_err();
        }
        let until = (from + 1 + failures).min(EPOCHS);
        let batches: Vec<_> = (from + 1..=until).map(events_of).collect();
        match table.append(until, &batches).await {
            Ok(_) => {}
            Err(error) if habit == Habit::StartsAgain || failures > TRIES_MAX as u64 => return Err(error),
            Err(error) => {
                assert!(error.is_retriable(), "{error}");
                failures += 1;
            }
        }
    }
}

async fn run_to_the_end(store: &Faulty, habit: Habit, case: &str) {
    for _ in 0..TRIES_MAX {
        match run(store, habit).await {
            Ok(()) => return,
            Err(error) => {
                assert!(error.is_retriable() || matches!(error, ArchiveError::Scan { .. }), "{case}: {error}");
                store.remove_torn().await;
            }
        }
    }
    panic!("{case}: not through after {TRIES_MAX} starts");
}

/// What a reader finds who knows nothing of faults.
async fn assert_all_is_there_once(inner: &Arc<InMemory>, case: &str) {
    let archive = archive_on(Arc::clone(inner));
    let mut declared = columns();
    declared.push(more().as_ref().clone());
    let context = SessionContext::new();
    context.register_table("conn", archive.stream_provider(&stream(declared)).await.unwrap()).unwrap();
    let sql = "SELECT CAST(\"_time\" AS BIGINT) AS t, CAST(more AS BIGINT) AS m FROM conn ORDER BY 1";
    let batches = context.sql(sql).await.unwrap().collect().await.unwrap();
    let rows: Vec<_> = batches
        .iter()
        .flat_map(|batch| {
            let (times, more) =
                (batch.column(0).as_primitive::<Int64Type>(), batch.column(1).as_primitive::<Int64Type>());
            (0..batch.num_rows()).map(|row| (times.value(row), more.is_valid(row).then(|| more.value(row))))
        })
        .collect();
    let expected: Vec<_> = (1..=EPOCHS as i64)
        .flat_map(|epoch| [10 * epoch, 10 * epoch + 1].map(|time| (time, (epoch >= 3).then_some(epoch))))
        .collect();
    assert_eq!(rows, expected, "{case}");
}

/// How many operations a run has on a store that never fails.
async fn operations(begin: &InMemory) -> usize {
    let inner = Arc::new(begin.fork());
    let store = Faulty::new(&inner, None);
    run_to_the_end(&store, Habit::StartsAgain, "no fault").await;
    assert_all_is_there_once(&inner, "no fault").await;
    let operations = store.operations();
    assert!(operations > 30, "{operations} operations are worth a test");
    operations
}

/// Runs on copies of `begin`, with each fault at each operation, so many times in a row.
async fn try_all(begin: &InMemory, faults: &[Fault], in_a_row: &[usize]) {
    for at in 0..operations(begin).await {
        for fault in faults {
            for in_a_row in in_a_row {
                for habit in [Habit::TriesAgain, Habit::StartsAgain] {
                    let case = format!("{fault:?} from operation {at}, {in_a_row} times, {habit:?}");
                    let inner = Arc::new(begin.fork());
                    let operations = at..at + in_a_row;
                    let store = Faulty::new(&inner, Some(Plan { operations, fault: *fault }));
                    run_to_the_end(&store, habit, &case).await;
                    assert_all_is_there_once(&inner, &case).await;
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whichever_operation_is_refused_each_event_is_there_once() {
    try_all(&InMemory::new(), &[Fault::Refused], &[1, 3]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whichever_answer_is_lost_each_event_is_there_once() {
    try_all(&InMemory::new(), &[Fault::AnswerLost], &[1, 2, 4]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_torn_or_cut_short_each_event_is_there_once() {
    try_all(&InMemory::new(), &[Fault::Torn, Fault::Truncated], &[1]).await;
}

/// A store with the table in it, whose log is summed up after every second commit.
async fn with_checkpoints() -> InMemory {
    let inner = Arc::new(InMemory::new());
    let location = Location::of_store(Arc::clone(&inner));
    let stored = super::super::schema::stored_fields(&TableSpec::of_stream(&stream(columns())).columns);
    let creating = super::super::log::creation(&location, "conn", &stored).unwrap();
    creating.with_configuration_property(TableProperty::CheckpointInterval, Some("2")).await.unwrap();
    inner.fork()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_cannot_be_summed_up_is_whole_all_the_same() {
    let begin = with_checkpoints().await;
    let inner = Arc::new(begin.fork());
    run_to_the_end(&Faulty::new(&inner, None), Habit::StartsAgain, "no fault").await;
    let names: Vec<_> = inner.list(None).map_ok(|object| object.location.to_string()).try_collect().await.unwrap();
    assert!(names.iter().any(|name| name.ends_with("_last_checkpoint")), "it is summed up: {names:?}");
    try_all(&begin, &[Fault::Refused, Fault::AnswerLost], &[1]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_hangs_at_any_operation_while_another_takes_over_doubles_nothing() {
    let begin = with_checkpoints().await;
    for at in 0..operations(&begin).await {
        let case = format!("held at operation {at}");
        let inner = Arc::new(begin.fork());
        let held = Faulty::new(&inner, Some(Plan { operations: at..at + 1, fault: Fault::Held }));
        let free = Faulty::new(&inner, None);
        let taking_over = async {
            held.held().await;
            run_to_the_end(&free, Habit::StartsAgain, &case).await;
            held.go_on();
        };
        // A task of its own, since parts of the library block the thread that they wait on. Files are joined side by side,
        // so that a run may have an operation less than another and never be held.
        let store = held.clone();
        let mut hanging = tokio::spawn(async move { run(&store, Habit::TriesAgain).await });
        let hanging = tokio::select! {
            ended = &mut hanging => ended,
            () = taking_over => hanging.await,
        };
        hanging.unwrap().unwrap_or_else(|error| panic!("{case}: it finds all done: {error}"));
        assert_all_is_there_once(&inner, &case).await;
    }
}
