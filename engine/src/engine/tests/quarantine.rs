//! Budgets and quarantine: what one query has too much of, or breaks at, is nobody else's matter.

use std::collections::BTreeSet;

use super::epochs::{Epochs, saved_rows};
use super::*;
use crate::graph::Spec;
use crate::operator::{Operator, Outbox};
use crate::rows::Rows;
use crate::snapshot::{Saved, Scope};
use crate::{EngineError, EventTime, Excess, Limit, OperatorFault, StateBudget, Worker, WorkerOutput};

const MIB: usize = 1 << 20;
const NO_LIMIT: StateBudget = StateBudget { of_each: usize::MAX, of_all: usize::MAX };

/// One entry for each address of each user of a day.
const GREEDY: &str = "SELECT user_name AS who, count(DISTINCT src_ip) AS n FROM TUMBLE(signin, time, INTERVAL '1 day')
    GROUP BY user_name, window_end";
const COUNTED: &str =
    "SELECT user_name AS who, count(*) AS n, max(bytes) AS most FROM TUMBLE(signin, time, INTERVAL '1 day')
    GROUP BY user_name, window_end";
const RECENT: &str = "SELECT time, user_name AS who, count(*) OVER (PARTITION BY user_name ORDER BY time
    RANGE INTERVAL '5 minutes' PRECEDING) AS n FROM signin WHERE user_name <> 'mallory' QUALIFY n >= 2";
const PLAIN: &str = "SELECT time, user_name AS who, src_ip FROM signin WHERE status = 'Success'";

/// Sign-ins of one user from addresses of which no two are equal.
fn flood(program: &Program, second: i64, addresses: std::ops::Range<i64>) -> SourceBatch {
    let (_, set) = program.columns("signin").expect("the program reads signin");
    let count = addresses.clone().count();
    let text = |of: &dyn Fn(i64) -> String| -> ArrayRef {
        Arc::new(addresses.clone().map(|number| Some(of(number))).collect::<StringViewArray>())
    };
    let time: TimestampMicrosecondArray = std::iter::repeat_n(Some(second * 1_000_000), count).collect();
    let of_field = |field: &Arc<Field>| match field.name().as_str() {
        "time" => Arc::new(time.clone()) as ArrayRef,
        "user_name" => text(&|_| "mallory".to_owned()),
        "src_ip" => text(&|number| format!("address {number}")),
        "bytes" => Arc::new(addresses.clone().map(Some).collect::<Int64Array>()),
        _ => text(&|_| "Failure".to_owned()),
    };
    let raw: BinaryViewArray = addresses.clone().map(|number| Some(number.to_le_bytes())).collect();
    let mut fields: Vec<Field> = set.columns.iter().map(|field| field.as_ref().clone()).collect();
    let mut columns: Vec<ArrayRef> = set.columns.iter().map(of_field).collect();
    fields.extend([Field::new("_time", TIME_TYPE, false), Field::new("_raw", DataType::BinaryView, false)]);
    columns.extend([Arc::new(time.clone()) as ArrayRef, Arc::new(raw)]);
    let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("columns fit their fields");
    SourceBatch { stream: "signin".into(), partition: PartitionId(0), rows, late_us: None }
}

/// A program that is held to a budget over several epochs, and stopped and started again behind one of them.
struct Held {
    queries: Vec<Query>,
    budget: StateBudget,
    /// The first workers, and those after the restart.
    parallelism: [usize; 2],
    epochs: i64,
    addresses_per_epoch: i64,
}

/// The last records of each query by its id, and who went into quarantine, in which epoch and why.
#[derive(Debug, PartialEq)]
struct Told {
    last: BTreeMap<String, Vec<String>>,
    gone: Vec<(i64, String, Limit)>,
    /// The greatest state of all queries at the end of an epoch.
    most: usize,
}

impl Held {
    fn engine(&self, program: &Arc<Program>, parallelism: usize, quarantined: &BTreeSet<usize>) -> Engine {
        let mut engine = Engine::new(Arc::clone(program), parallelism, &[]).expect("no tables are read");
        engine.workers.iter_mut().for_each(|worker| worker.start_without(quarantined));
        engine.add_partition("signin", PartitionId(0));
        engine.start();
        engine
    }

    fn run(&self) -> Told {
        let program = compile(self.queries.clone());
        let ids: Vec<String> = program.ids().map(ToString::to_string).collect();
        let mut quarantined = BTreeSet::new();
        let mut engine = self.engine(&program, self.parallelism[0], &quarantined);
        let mut saved = Epochs::default();
        let (mut hits, mut gone, mut most) = (vec![], vec![], 0);
        for epoch in 0..self.epochs {
            hits.extend(self.epoch(&mut engine, &program, epoch));
            hits.extend(saved.end(&mut engine).hits);
            let of_nodes = of_nodes(&engine);
            most = most.max(program.state_bytes(&of_nodes, &quarantined).iter().sum());
            for Excess { query, limit, .. } in program.excess(&of_nodes, &quarantined, self.budget) {
                gone.push((epoch, ids[query].clone(), limit));
                quarantined.insert(query);
            }
            engine.workers.iter_mut().for_each(|worker| worker.quarantine(&quarantined));
            if epoch == self.epochs / 2 {
                let state = std::mem::take(&mut saved).state();
                engine = self.engine(&program, self.parallelism[1], &quarantined);
                engine.restore(&state).expect("own state");
            }
        }
        hits.extend(engine.finish().expect("the end").hits);
        let of_query = |query: usize| hits.iter().filter(|hit| hit.query == query).cloned().collect::<Vec<_>>();
        let last = ids.iter().enumerate().map(|(query, id)| (id.clone(), last(&of_query(query)))).collect();
        Told { last, gone, most }
    }

    /// The flood, and two sign-ins of somebody else behind it.
    fn epoch(&self, engine: &mut Engine, program: &Program, epoch: i64) -> Vec<Hit> {
        let (first, end) = (epoch * self.addresses_per_epoch, (epoch + 1) * self.addresses_per_epoch);
        let mut hits = vec![];
        for from in (first..end).step_by(8192) {
            let rows = flood(program, epoch * 60, from..end.min(from + 8192));
            hits.extend(engine.push(rows).expect("a batch").hits);
        }
        let user = format!("user {}", epoch % 3);
        let others = [("Failure", 1), ("Success", 2)]
            .map(|(status, at)| event(epoch * 60 + at, &user, status, "1.1.1.1", Some(epoch)));
        hits.extend(engine.push(batch(program, 0, &others)).expect("a batch").hits);
        hits
    }
}

fn of_nodes(engine: &Engine) -> Vec<usize> {
    let mut sum = vec![];
    for bytes in engine.workers.iter().map(Worker::state_bytes) {
        sum.resize(bytes.len(), 0);
        sum.iter_mut().zip(bytes).for_each(|(sum, bytes)| *sum += bytes);
    }
    sum
}

fn others() -> Vec<Query> {
    vec![query("counted", COUNTED), query("recent", RECENT), query("plain", PLAIN)]
}

fn with_greedy() -> Vec<Query> {
    std::iter::once(query("greedy", GREEDY)).chain(others()).collect()
}

#[test]
fn a_key_with_a_million_distinct_values_takes_its_query_away_and_changes_nothing_for_the_others() {
    let held = |queries: Vec<Query>, budget: StateBudget| Held {
        queries,
        budget,
        parallelism: [1, 2],
        epochs: 20,
        addresses_per_epoch: 50_000,
    };
    let alone = held(others(), NO_LIMIT).run();
    assert_eq!(alone.gone, []);
    // Mallory and three users have a day each. A user signs in twice, and again three minutes later: of twenty pairs the
    // second is recent, and of all but the first of each user the first is too.
    assert_eq!(["counted", "recent", "plain"].map(|id| alone.last[id].len()), [4, 20 + 17, 20]);
    assert!(alone.last["counted"].contains(&"mallory|1000000|999999 x1".to_owned()), "{:?}", alone.last["counted"]);

    let mut beside = held(with_greedy(), StateBudget { of_each: 8 * MIB, of_all: usize::MAX }).run();
    assert_eq!(beside.last.remove("greedy"), Some(vec![]), "its windows were open, and are lost");
    assert_eq!(beside.last, alone.last);
    let [(epoch, id, limit)] = beside.gone.as_slice() else { panic!("{:?}", beside.gone) };
    assert!(*epoch < 10, "it has to go long before the million is full, and went in epoch {epoch}");
    assert_eq!((id.as_str(), *limit), ("greedy", Limit::Each));
    assert!(beside.most < 16 * MIB, "{} bytes", beside.most);
}

/// Or it would come out of quarantine with counts of long ago.
#[test]
fn what_goes_into_quarantine_leaves_the_saved_state() {
    let program = compile(vec![query("greedy", GREEDY)]);
    let held = Held { queries: vec![], budget: NO_LIMIT, parallelism: [1, 1], epochs: 0, addresses_per_epoch: 0 };
    let mut engine = held.engine(&program, 1, &BTreeSet::new());
    let mut saved = Epochs::default();
    saved.end(&mut engine);
    engine.push(flood(&program, 0, 0..100)).expect("a batch");
    saved.end(&mut engine);
    assert!(saved_rows(&saved.clone().state()).contains(&1), "one user of one day");
    engine.workers.iter_mut().for_each(|worker| worker.quarantine(&BTreeSet::from([0])));
    saved.end(&mut engine);
    assert_eq!(saved_rows(&saved.state()).iter().sum::<usize>(), 0);
}

#[test]
fn who_is_in_quarantine_stays_there_at_every_parallelism_before_and_after_a_restart() {
    let held = |queries: Vec<Query>, budget: StateBudget, parallelism: [usize; 2]| Held {
        queries,
        budget,
        parallelism,
        epochs: 8,
        addresses_per_epoch: 5000,
    };
    let alone = held(others(), NO_LIMIT, [1, 1]).run();
    for parallelism in [[1, 1], [1, 3], [3, 1], [4, 2]] {
        let mut beside = held(with_greedy(), StateBudget { of_each: usize::MAX, of_all: MIB }, parallelism).run();
        assert_eq!(beside.last.remove("greedy"), Some(vec![]), "with parallelism {parallelism:?}");
        assert_eq!(beside.last, alone.last, "with parallelism {parallelism:?}");
        assert_eq!(beside.gone.len(), 1, "with parallelism {parallelism:?}: {:?}", beside.gone);
        assert_eq!((beside.gone[0].1.as_str(), beside.gone[0].2), ("greedy", Limit::All));
    }
}

#[test]
fn an_operator_of_several_queries_is_borne_by_all_of_them_and_goes_on_while_one_needs_it() {
    let rarer = format!("{GREEDY} HAVING count(DISTINCT src_ip) <> 1");
    let program = compile(vec![query("a", GREEDY), query("b", &rarer), query("c", PLAIN)]);
    let nodes = &program.graph.nodes;
    let shared = nodes.iter().position(|node| matches!(node.spec, Spec::Window(_))).expect("a window");
    let mut of_nodes = vec![0; nodes.len()];
    of_nodes[shared] = 900;
    let none = BTreeSet::new();
    assert_eq!(program.state_bytes(&of_nodes, &none), [450, 450, 0]);
    assert_eq!(program.state_bytes(&of_nodes, &BTreeSet::from([0])), [0, 900, 0]);
    assert!(!program.unneeded(&BTreeSet::from([0]))[shared]);
    assert!(program.unneeded(&BTreeSet::from([0, 1]))[shared]);

    let excess = |of_each: usize, of_all: usize| {
        let excess = program.excess(&of_nodes, &none, StateBudget { of_each, of_all });
        excess.into_iter().map(|one| (one.query, one.bytes, one.limit)).collect::<Vec<_>>()
    };
    assert_eq!(excess(450, 900), []);
    // When one has gone the other bears all, and is over the same limit.
    assert_eq!(excess(449, 900), [(0, 450, Limit::Each), (1, 900, Limit::Each)]);
    assert_eq!(excess(usize::MAX, 899), [(0, 450, Limit::All), (1, 900, Limit::All)]);

    let held = |quarantined: BTreeSet<usize>| {
        let mut engine = Engine::new(Arc::clone(&program), 2, &[]).expect("no tables are read");
        engine.workers.iter_mut().for_each(|worker| worker.start_without(&quarantined));
        engine.add_partition("signin", PartitionId(0));
        engine.start();
        engine.push(batch(&program, 0, &failures("ann", 0, 3))).expect("a batch");
        engine.push(batch(&program, 0, &[event(4, "ann", "Failure", "2.2.2.2", None)])).expect("a batch");
        told_by(&program, &engine.finish().expect("the end").hits)
    };
    assert_eq!(held(none.clone()), ["a ann|2 x1", "b ann|2 x1"]);
    assert_eq!(held(BTreeSet::from([0])), ["b ann|2 x1"]);
}

fn told_by(program: &Program, hits: &[Hit]) -> Vec<String> {
    let ids: Vec<_> = program.ids().collect();
    let mut told: Vec<String> = hits.iter().map(|hit| format!("{} {}", ids[hit.query], show(hit))).collect();
    told.sort();
    told
}

#[test]
fn who_reads_the_alerts_of_a_query_in_quarantine_waits_for_nothing() {
    let correlated = "SELECT a.time, a.user AS who FROM alerts a JOIN signin s ON s.user_name = a.user
        AND s.time BETWEEN a.time - INTERVAL '1 minute' AND a.time";
    let program = compile(vec![query("greedy", GREEDY), query("plain", PLAIN), query("both", correlated)]);
    let told = |quarantined: BTreeSet<usize>| {
        let mut engine = Engine::new(Arc::clone(&program), 2, &[]).expect("no tables are read");
        engine.workers.iter_mut().for_each(|worker| worker.start_without(&quarantined));
        engine.add_partition("signin", PartitionId(0));
        engine.start();
        let events = [event(0, "ann", "Success", "1.1.1.1", None), event(200, "bob", "Failure", "1.1.1.1", None)];
        let outputs = engine.push(batch(&program, 0, &events)).expect("a batch");
        told_by(&program, &outputs.hits)
    };
    // The day is not over, so only the plain alert and what is made of it are told, with or without the other.
    let expected = ["both 1970-01-01T00:00:00|ann x1", "plain 1970-01-01T00:00:00|ann|1.1.1.1 x1"];
    assert_eq!(told(BTreeSet::new()), expected);
    assert_eq!(told(BTreeSet::from([0])), expected);
}

/// An operator that fails at its second batch, one way or the other.
struct Broken {
    batches: usize,
    panics: bool,
}

impl Operator for Broken {
    fn rows(&mut self, _input: usize, _rows: Rows, _out: &mut Outbox) -> Result<(), EngineError> {
        self.batches += 1;
        match self.batches {
            1 => Ok(()),
            _ if self.panics => panic!("a bug"),
            _ => Err(EngineError::Snapshot("a bug".to_owned())),
        }
    }

    fn watermark(&mut self, _watermark: EventTime, _out: &mut Outbox) -> Result<(), EngineError> {
        Ok(())
    }

    fn table(&mut self, _table: &TableVersion) -> Result<(), EngineError> {
        Ok(())
    }

    fn state_bytes(&self) -> usize {
        0
    }

    fn save(&mut self, _scope: Scope) -> Result<Saved, EngineError> {
        Ok(Saved::default())
    }

    fn restore(&mut self, _state: &[RecordBatch], _owns: &dyn Fn(u32) -> bool) -> Result<(), EngineError> {
        Ok(())
    }
}

#[test]
fn a_fault_of_an_operator_is_told_once_and_the_other_queries_go_on() {
    let rarer = format!("{GREEDY} HAVING count(DISTINCT src_ip) <> 1");
    let program = compile(vec![query("a", GREEDY), query("b", &rarer), query("counted", COUNTED)]);
    let of_greedy = |node: &crate::graph::Node| matches!(&node.spec, Spec::Window(spec) if spec.aggregates.len() == 1);
    let node = program.graph.nodes.iter().position(of_greedy).expect("the window of two queries");
    for panics in [false, true] {
        let mut worker = Worker::new(Arc::clone(&program), 0, 1, &[]).expect("no tables are read");
        worker.add_partition("signin", PartitionId(0));
        worker.replace(node, Box::new(Broken { batches: 0, panics }));
        worker.contain_faults();
        let mut output = WorkerOutput::default();
        for second in 0..3 {
            worker.push(batch(&program, 0, &failures("ann", second, 1)), &mut output).expect("faults are contained");
        }
        let reason = if panics { "panicked: a bug" } else { "snapshot: a bug" };
        let fault = OperatorFault { queries: BTreeSet::from([0, 1]), reason: reason.to_owned() };
        assert_eq!(output.faults, [(0, fault)]);
        worker.quarantine(&BTreeSet::from([0, 1]));
        worker.barrier(1, Scope::Whole, &mut output).expect("the epoch ends");
        assert!(output.snapshot.is_some());
        worker.finish(&mut output).expect("the end");
        let hits: Vec<Hit> = output.hits.into_iter().map(|(_, hit)| hit).collect();
        assert_eq!(told_by(&program, &hits), ["counted ann|3|0 x1"]);
    }
}

#[test]
fn a_fault_that_nobody_contains_is_an_error() {
    let program = compile(vec![query("counted", COUNTED)]);
    let is_window = |node: &crate::graph::Node| matches!(node.spec, Spec::Window(_));
    let node = program.graph.nodes.iter().position(is_window).expect("a window");
    let mut worker = Worker::new(Arc::clone(&program), 0, 1, &[]).expect("no tables are read");
    worker.replace(node, Box::new(Broken { batches: 1, panics: false }));
    let pushed = worker.push(batch(&program, 0, &failures("ann", 0, 1)), &mut WorkerOutput::default());
    assert!(pushed.is_err());
}
