//! The epochs of an engine as a process writes them: the first whole, the others as changes, all through bytes.

use std::sync::Arc;

use arrow::array::RecordBatch;

use super::{batch, compile, event, indicators, leases, query};
use crate::{Engine, Outputs, PartitionId, Scope, WorkerSnapshot};

/// What each worker has written so far.
#[derive(Default, Clone)]
pub(super) struct Epochs {
    chains: Vec<Vec<WorkerSnapshot>>,
}

impl Epochs {
    /// Ends an epoch; gives what is stated with it.
    pub(super) fn end(&mut self, engine: &mut Engine) -> Outputs {
        let scope = if self.chains.is_empty() { Scope::Whole } else { Scope::Changes };
        let (outputs, saved) = engine.end_epoch(scope).expect("operators can be saved");
        self.chains.resize(saved.len(), vec![]);
        for (chain, snapshot) in self.chains.iter_mut().zip(&saved) {
            let bytes = snapshot.to_bytes().expect("bytes");
            chain.push(WorkerSnapshot::from_bytes(&bytes).expect("own bytes"));
        }
        outputs
    }

    /// The state at the end of the last epoch.
    pub(super) fn state(self) -> Vec<WorkerSnapshot> {
        let fold = |chain: Vec<WorkerSnapshot>| {
            let whole = WorkerSnapshot::fold(chain).expect("a whole state and its changes");
            WorkerSnapshot::from_bytes(&whole.to_bytes().expect("bytes")).expect("own bytes")
        };
        self.chains.into_iter().map(fold).collect()
    }
}

/// How many rows each operator remembers.
pub(super) fn saved_rows(state: &[WorkerSnapshot]) -> Vec<usize> {
    let of = |part: &WorkerSnapshot| -> Vec<usize> {
        let saved = part.names().filter_map(|name| part.state_of(name));
        saved.map(|saved| saved.rows().expect("rows").iter().map(RecordBatch::num_rows).sum()).collect()
    };
    state.iter().flat_map(of).collect()
}

/// Otherwise a state would grow for ever, although nothing that is in it shows.
#[test]
fn what_is_forgotten_leaves_the_saved_state_too() {
    let program = compile(vec![
        query("hits", "SELECT time, user_name FROM signin WHERE status = 'Failure'"),
        query("novelty", "SELECT time, user_name FROM signin WHERE first_seen(user_name, INTERVAL '8 hours')"),
        query(
            "window",
            "SELECT user_name, count(*) AS n FROM TUMBLE(signin, time, INTERVAL '1 hour') \
             GROUP BY user_name, window_start, window_end",
        ),
        query(
            "pair",
            "SELECT a.time, b.bytes FROM signin a JOIN signin b ON a.user_name = b.user_name \
             AND b.time BETWEEN a.time AND a.time + INTERVAL '1 hour'",
        ),
        query(
            "sliding",
            "SELECT time, count(*) OVER (PARTITION BY user_name ORDER BY time RANGE INTERVAL '1 hour' PRECEDING) AS n \
             FROM signin",
        ),
    ]);
    let mut engine = Engine::new(Arc::clone(&program), 1, &[indicators(), leases()]).expect("tables are given");
    engine.add_partition("signin", PartitionId(0));
    engine.start();
    let mut epochs = Epochs::default();
    for at in 0..20 {
        let events = [event(at * 5 * 3600, &format!("user{at}"), "Failure", "1.1.1.1", Some(at))];
        engine.push(batch(&program, 0, &events)).expect("a batch of its own program");
        epochs.end(&mut engine);
    }
    let (_, whole) = engine.snapshot().expect("operators can be saved");
    let saved = saved_rows(&epochs.state());
    assert_eq!(saved, saved_rows(&whole));
    assert!(saved.iter().all(|rows| *rows < 10), "of twenty events most are forgotten: {saved:?}");
}
