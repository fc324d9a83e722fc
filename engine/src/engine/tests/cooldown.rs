//! What is said of repeats, and when.

use std::collections::BTreeSet;

use super::*;

const EVERY_FAILURE: &str = "SELECT time, who, src_ip FROM failures";

fn cooling(sql: &str, seconds: i64) -> Query {
    Query { cooldown_us: Some(seconds * 1_000_000), cooldown_keys: vec!["who".to_owned()], ..query("q", sql) }
}

fn is_new(hit: &Hit) -> bool {
    hit.activity != Activity::Withdraw && !hit.provisional && hit.suppressed_by.is_none()
}

/// What a record says, and of which event.
fn told(hits: &[Hit]) -> Vec<String> {
    let word = |hit: &Hit| match (hit.provisional, hit.suppressed_by) {
        (true, None) => "provisional",
        (true, Some(_)) => "provisional and suppressed",
        (false, None) => "new",
        (false, Some(_)) => "suppressed",
    };
    hits.iter()
        .map(|hit| format!("{:?} {} {}", hit.activity, show(hit).replace(" suppressed", ""), word(hit)))
        .collect()
}

fn engine(program: &Arc<Program>, parallelism: usize) -> Engine {
    let mut engine = Engine::new(Arc::clone(program), parallelism, &[]).expect("no tables are read");
    engine.add_partition("signin", PartitionId(0));
    engine.start();
    engine
}

fn failure(seconds: i64, user: &str, ip: &str) -> Value {
    event(seconds, user, "Failure", ip, None)
}

/// Six users fail twice in the same instant every four seconds, eight times.
fn in_order() -> Vec<Value> {
    let users = ["ann", "bob", "cid", "dot", "eve", "fay"];
    let at =
        |seconds: i64| users.iter().flat_map(move |user| ["1.1.1.1", "2.2.2.2"].map(|ip| failure(seconds, user, ip)));
    (0..8).flat_map(|n| at(n * 4)).collect()
}

/// All records of a run; `epoch` is how many batches one has.
fn records(program: &Arc<Program>, events: &[Value], parallelism: usize, cut: usize, epoch: Option<usize>) -> Vec<Hit> {
    records_of(engine(program, parallelism), program, events, cut, epoch)
}

fn records_of(
    mut engine: Engine,
    program: &Arc<Program>,
    events: &[Value],
    cut: usize,
    epoch: Option<usize>,
) -> Vec<Hit> {
    let mut hits = vec![];
    for (at, events) in events.chunks(cut).enumerate() {
        hits.extend(engine.push(batch(program, 0, events)).expect("a batch of its own program").hits);
        if epoch.is_some_and(|epoch| at % epoch == epoch - 1) {
            hits.extend(engine.snapshot().expect("operators can be saved").0.hits);
        }
    }
    hits.extend(engine.finish().expect("the end").hits);
    hits
}

/// Under a cooldown of ten seconds one of the two failures at 0, 12 and 24 seconds leads, for each of six users: 18 alerts,
/// into which the other 78 are folded.
fn check_leads(events: &[Value]) {
    let program = compile(vec![cooling(EVERY_FAILURE, 10)]);
    for (parallelism, cut, epoch) in [1, 2, 4].iter().flat_map(|n| {
        [(1, None), (5, None), (96, None), (1, Some(1)), (5, Some(2))].map(|(cut, epoch)| (*n, cut, epoch))
    }) {
        let hits = records(&program, events, parallelism, cut, epoch);
        let last: BTreeMap<Uid, &Hit> = hits.iter().map(|hit| (hit.uid, hit)).collect();
        assert_eq!(last.len(), 96, "every failure has a record");
        let leads: BTreeSet<Uid> = last.values().filter(|hit| is_new(hit)).map(|hit| hit.uid).collect();
        let counts: u64 = last.values().filter(|hit| is_new(hit)).map(|hit| hit.count).sum();
        assert_eq!((leads.len(), counts), (18, 96), "the last records at parallelism {parallelism}, cut by {cut}");
        let ever: BTreeSet<Uid> = hits.iter().filter(|hit| is_new(hit)).map(|hit| hit.uid).collect();
        assert_eq!(ever, leads, "told as new at parallelism {parallelism}, cut by {cut}, epochs of {epoch:?}");
        assert!(last.values().all(|hit| !hit.provisional), "everything is settled at the end");
        let first: BTreeMap<Uid, Activity> = hits.iter().rev().map(|hit| (hit.uid, hit.activity)).collect();
        assert!(
            first.values().all(|activity| *activity == Activity::Create),
            "the first record of an alert creates it"
        );
    }
}

/// An engine whose only query is in a hurry.
fn hurried(program: &Arc<Program>, parallelism: usize) -> Engine {
    let mut engine = engine(program, parallelism);
    engine.workers.iter_mut().for_each(|worker| worker.hurry(&[0].into()));
    engine
}

#[test]
fn a_query_in_a_hurry_tells_what_waits_at_once_and_not_again_with_the_epoch() {
    let program = compile(vec![cooling(EVERY_FAILURE, 10)]);
    let mut engine = hurried(&program, 2);
    let mut push = |events: &[Value]| {
        let mut said = told(&engine.push(batch(&program, 0, events)).expect("a batch of its own program").hits);
        said.sort();
        said
    };
    let first = [
        "Create 1970-01-01T00:00:05|ann|1.1.1.1 x1 provisional",
        "Create 1970-01-01T00:00:08|ann|1.1.1.1 x1 suppressed",
    ];
    assert_eq!(push(&[failure(5, "ann", "1.1.1.1"), failure(8, "ann", "1.1.1.1")]), first);
    let earlier = ["Create 1970-01-01T00:00:00|ann|1.1.1.1 x1 provisional"];
    assert_eq!(push(&[failure(0, "ann", "1.1.1.1")]), earlier);
    let settled = [
        "Create 1970-01-01T00:00:39|bob|1.1.1.1 x1 provisional",
        "Update 1970-01-01T00:00:00|ann|1.1.1.1 x3 new",
        "Update 1970-01-01T00:00:05|ann|1.1.1.1 x1 suppressed",
        "Update 1970-01-01T00:00:08|ann|1.1.1.1 x1 suppressed",
    ];
    assert_eq!(push(&[failure(39, "bob", "1.1.1.1")]), settled);
    let (ended, _) = engine.snapshot().expect("operators can be saved");
    assert_eq!(told(&ended.hits), [] as [&str; 0], "the epoch has nothing left to tell");
}

#[test]
fn a_hurry_changes_no_last_record() {
    let program = compile(vec![cooling(EVERY_FAILURE, 10)]);
    let mut events = in_order();
    events.sort_by_key(|event| (event["src_ip"].to_string(), event["time"].as_i64().map(|time| time * 7 % 32)));
    let last = |hits: Vec<Hit>| -> BTreeMap<Uid, String> {
        let said = |hit: &Hit| format!("{} {:?} {}", show(hit), hit.suppressed_by, hit.provisional);
        hits.iter().map(|hit| (hit.uid, said(hit))).collect()
    };
    let expected = last(records(&program, &events, 1, events.len(), None));
    for (parallelism, cut, epoch) in [(1, 1, Some(3)), (2, 5, Some(2)), (4, 1, None), (4, 96, Some(1))] {
        let hits = records_of(hurried(&program, parallelism), &program, &events, cut, epoch);
        let ever: BTreeSet<Uid> = hits.iter().filter(|hit| is_new(hit)).map(|hit| hit.uid).collect();
        assert_eq!(ever.len(), 18, "told as new at parallelism {parallelism}, cut by {cut}");
        assert_eq!(last(hits), expected, "at parallelism {parallelism}, cut by {cut}, epochs of {epoch:?}");
    }
}

#[test]
fn only_what_leads_is_told_as_new_where_events_come_in_order() {
    check_leads(&in_order());
}

#[test]
fn only_what_leads_is_told_as_new_where_events_come_in_disorder() {
    let mut events = in_order();
    // Within the lateness of thirty seconds everything is on time.
    events.reverse();
    check_leads(&events);
    events.sort_by_key(|event| (event["src_ip"].to_string(), event["time"].as_i64().map(|time| time * 7 % 32)));
    check_leads(&events);
}

#[test]
fn a_run_without_epochs_tells_each_alert_once_and_right() {
    let program = compile(vec![cooling(EVERY_FAILURE, 10)]);
    let events = [failure(0, "ann", "1.1.1.1"), failure(4, "ann", "1.1.1.1"), failure(12, "ann", "1.1.1.1")];
    let expected = [
        "Create 1970-01-01T00:00:00|ann|1.1.1.1 x2 new",
        "Create 1970-01-01T00:00:04|ann|1.1.1.1 x1 suppressed",
        "Create 1970-01-01T00:00:12|ann|1.1.1.1 x1 new",
    ];
    assert_eq!(told(&records(&program, &events, 1, 1, None)), expected);
}

#[test]
fn what_waits_is_told_with_its_epoch_and_settled_behind_the_watermark() {
    let program = compile(vec![cooling(EVERY_FAILURE, 10)]);
    let mut before = engine(&program, 2);
    let pushed = before.push(batch(&program, 0, &[failure(5, "ann", "1.1.1.1"), failure(8, "ann", "1.1.1.1")]));
    assert_eq!(told(&pushed.expect("a batch of its own program").hits), [] as [&str; 0]);
    let (ended, saved) = before.snapshot().expect("operators can be saved");
    let mut first = told(&ended.hits);
    first.sort();
    let expected = [
        "Create 1970-01-01T00:00:05|ann|1.1.1.1 x1 provisional",
        "Create 1970-01-01T00:00:08|ann|1.1.1.1 x1 suppressed",
    ];
    assert_eq!(first, expected);

    // An earlier failure comes, when another number of workers goes on.
    let mut after = engine(&program, 1);
    after.restore(&saved).expect("own snapshot");
    after.push(batch(&program, 0, &[failure(0, "ann", "1.1.1.1")])).expect("a batch of its own program");
    let (ended, _) = after.snapshot().expect("operators can be saved");
    assert_eq!(told(&ended.hits), ["Create 1970-01-01T00:00:00|ann|1.1.1.1 x1 provisional"]);
    let settled = after.push(batch(&program, 0, &[failure(39, "bob", "1.1.1.1")])).expect("a batch of its own program");
    let expected = [
        "Update 1970-01-01T00:00:00|ann|1.1.1.1 x3 new",
        "Update 1970-01-01T00:00:05|ann|1.1.1.1 x1 suppressed",
        "Update 1970-01-01T00:00:08|ann|1.1.1.1 x1 suppressed",
    ];
    assert_eq!(told(&settled.hits), expected);
    assert_eq!(told(&after.finish().expect("the end").hits), ["Create 1970-01-01T00:00:39|bob|1.1.1.1 x1 new"]);
}

#[test]
fn silence_settles_what_is_told_and_not_the_order() {
    let program = compile(vec![cooling(EVERY_FAILURE, 10)]);
    let mut engine = engine(&program, 2);
    engine.push(batch(&program, 0, &[failure(5, "ann", "1.1.1.1")])).expect("a batch of its own program");
    engine.snapshot().expect("operators can be saved");
    let silent = engine.idle_partition("signin", PartitionId(0)).expect("silence");
    assert_eq!(told(&silent.hits), ["Update 1970-01-01T00:00:05|ann|1.1.1.1 x1 new"]);
    engine.push(batch(&program, 0, &[failure(0, "ann", "1.1.1.1")])).expect("a batch of its own program");
    let expected =
        ["Create 1970-01-01T00:00:00|ann|1.1.1.1 x2 new", "Update 1970-01-01T00:00:05|ann|1.1.1.1 x1 suppressed"];
    assert_eq!(told(&engine.finish().expect("the end").hits), expected);
}

const GUESSING: &str = "SELECT who, src_ip, count(*) AS n FROM TUMBLE(failures, time, INTERVAL '1 hour')
                        GROUP BY who, src_ip, window_start HAVING count(*) >= $n";

/// The watermark is in the window that is crossed, so the one before has told all it had to tell.
#[test]
fn a_threshold_of_one_group_per_entity_is_new_at_the_event_that_crosses_it() {
    let sql = GUESSING.replace("src_ip, ", "");
    let program = compile(vec![cooling(&sql, 3 * 3600)]);
    for parallelism in [1, 2, 4] {
        let mut engine = engine(&program, parallelism);
        let mut crossed = vec![];
        for seconds in [40, 41, 42, 43] {
            let pushed = engine.push(batch(&program, 0, &[failure(seconds, "ann", "1.1.1.1")]));
            crossed.push(told(&pushed.expect("a batch of its own program").hits));
        }
        assert_eq!(crossed, [vec![], vec![], vec!["Create ann|3 x1 new".to_owned()], vec![]]);
        // Two hours later it is a repeat, and told to be one at once.
        let mut later = vec![];
        for seconds in [7300, 7301, 7302] {
            let pushed = engine.push(batch(&program, 0, &[failure(seconds, "ann", "1.1.1.1")]));
            later.extend(told(&pushed.expect("a batch of its own program").hits));
        }
        later.sort();
        let expected = ["Create ann|3 x1 suppressed", "Update ann|4 x1 new", "Update ann|4 x2 new"];
        assert_eq!(later, expected, "at parallelism {parallelism}");
    }
}

/// Another group of the same user may come first in the order of the same instant, so only the close settles it.
#[test]
fn a_threshold_of_many_groups_per_entity_is_provisional_until_the_close() {
    let program = compile(vec![cooling(GUESSING, 3 * 3600)]);
    let mut engine = engine(&program, 2);
    let mut hits = vec![];
    for ip in ["1.1.1.1", "2.2.2.2", "3.3.3.3"] {
        let events: Vec<Value> = (40..43).map(|seconds| failure(seconds, "ann", ip)).collect();
        hits.extend(engine.push(batch(&program, 0, &events)).expect("a batch of its own program").hits);
        hits.extend(engine.snapshot().expect("operators can be saved").0.hits);
    }
    assert_eq!(hits.len(), 3);
    assert!(told(&hits)[0].ends_with("provisional") && !hits.iter().any(is_new), "{:?}", told(&hits));
    let closed =
        engine.push(batch(&program, 0, &[failure(3631, "bob", "1.1.1.1")])).expect("a batch of its own program");
    let first = hits.iter().map(|hit| hit.uid).min().expect("three hits");
    let new: Vec<(Uid, u64)> = closed.hits.iter().filter(|hit| is_new(hit)).map(|hit| (hit.uid, hit.count)).collect();
    assert_eq!(new, [(first, 3)]);
}

/// Each id is delivered once, whatever becomes of it.
#[test]
fn repeats_are_alerts_that_others_read() {
    let counting =
        "SELECT user, count(*) AS n FROM TUMBLE(alerts, time, INTERVAL '1 minute') GROUP BY user, window_start";
    let events = [failure(0, "ann", "1.1.1.1"), failure(4, "ann", "1.1.1.1"), failure(8, "ann", "2.2.2.2")];
    let program = compile(vec![query("counting", counting), cooling(EVERY_FAILURE, 10)]);
    for (parallelism, epoch) in [(1, None), (2, Some(1)), (4, Some(2))] {
        let hits = records(&program, &events, parallelism, 1, epoch);
        let counted: Vec<Hit> = hits.into_iter().filter(|hit| hit.query == 0).collect();
        assert_eq!(told(&counted), ["Create ann|3 x1 new"], "at parallelism {parallelism}");
    }
}

#[test]
fn what_looks_back_is_not_settled_by_silence() {
    let preceded = "SELECT f.time, f.who, f.src_ip FROM failures f WHERE EXISTS (SELECT 1 FROM signin s
                    WHERE s.user_name = f.who AND s.status = 'Success' AND s.time BETWEEN f.time AND f.time + INTERVAL '1 minute')";
    let program = compile(vec![cooling(preceded, 10)]);
    let mut engine = engine(&program, 1);
    let events = [failure(5, "ann", "1.1.1.1"), event(6, "ann", "Success", "1.1.1.1", None)];
    engine.push(batch(&program, 0, &events)).expect("a batch of its own program");
    let (ended, _) = engine.snapshot().expect("operators can be saved");
    assert_eq!(told(&ended.hits), ["Create 1970-01-01T00:00:05|ann|1.1.1.1 x1 provisional"]);
    assert_eq!(told(&engine.idle_partition("signin", PartitionId(0)).expect("silence").hits), [] as [&str; 0]);
    assert_eq!(told(&engine.finish().expect("the end").hits), ["Update 1970-01-01T00:00:05|ann|1.1.1.1 x1 new"]);
}

fn push(engine: &mut Engine, program: &Program, events: &[Value]) -> Vec<String> {
    told(&engine.push(batch(program, 0, events)).expect("a batch of its own program").hits)
}

/// Two failures of one instant are ordered by their uids, whichever of them comes before the watermark reaches the instant.
#[test]
fn a_hit_at_the_watermark_still_waits_for_others_of_its_instant() {
    let program = compile(vec![cooling(EVERY_FAILURE, 10)]);
    let leads = ["1.1.1.1", "2.2.2.2"].map(|first| {
        let mut engine = engine(&program, 1);
        let second = if first == "1.1.1.1" { "2.2.2.2" } else { "1.1.1.1" };
        let mut hits = vec![];
        for events in [[failure(5, "ann", first)], [failure(35, "bob", first)], [failure(5, "ann", second)]] {
            hits.extend(engine.push(batch(&program, 0, &events)).expect("a batch of its own program").hits);
        }
        assert_eq!(told(&hits), [] as [&str; 0], "the watermark is at the instant, not behind it");
        let hits = engine.finish().expect("the end").hits;
        let new: Vec<Uid> = hits.iter().filter(|hit| is_new(hit) && hit.count == 2).map(|hit| hit.uid).collect();
        assert_eq!((hits.len(), new.len()), (3, 1), "{:?}", told(&hits));
        new[0]
    });
    assert_eq!(leads[0], leads[1]);
}

#[test]
fn a_hit_just_at_the_end_of_the_period_is_no_repeat() {
    let program = compile(vec![cooling(EVERY_FAILURE, 10)]);
    let events = [failure(0, "ann", "1.1.1.1"), failure(10, "ann", "1.1.1.1")];
    let mut engine = engine(&program, 1);
    push(&mut engine, &program, &events);
    let mut waiting = told(&engine.snapshot().expect("operators can be saved").0.hits);
    waiting.sort();
    let expected = ["00", "10"].map(|at| format!("Create 1970-01-01T00:00:{at}|ann|1.1.1.1 x1 provisional"));
    assert_eq!(waiting, expected);
    let settled = told(&engine.finish().expect("the end").hits);
    assert_eq!(settled, ["00", "10"].map(|at| format!("Update 1970-01-01T00:00:{at}|ann|1.1.1.1 x1 new")));
}

/// What silence said is new stays new over a restart, and nothing is told again when the watermark settles it.
#[test]
fn an_alert_that_silence_settled_is_told_again_only_where_its_values_change() {
    let program = compile(vec![cooling(&GUESSING.replace("src_ip, ", ""), 3 * 3600)]);
    let mut before = engine(&program, 2);
    push(&mut before, &program, &[10, 11, 12].map(|seconds| failure(seconds, "ann", "1.1.1.1")));
    let silent = before.idle_partition("signin", PartitionId(0)).expect("silence");
    assert_eq!(told(&silent.hits), ["Create ann|3 x1 new"]);
    push(&mut before, &program, &[failure(13, "ann", "1.1.1.1")]);
    let (ended, saved) = before.snapshot().expect("operators can be saved");
    assert_eq!(told(&ended.hits), [] as [&str; 0]);

    let mut after = engine(&program, 1);
    after.restore(&saved).expect("own snapshot");
    assert_eq!(push(&mut after, &program, &[failure(40, "bob", "1.1.1.1")]), [] as [&str; 0]);
    let closed = push(&mut after, &program, &[failure(3640, "bob", "1.1.1.1")]);
    assert_eq!(closed, ["Update ann|4 x1 new"], "the window is closed");
}

#[test]
fn repeats_that_come_after_a_restart_are_counted_with_those_before_it() {
    let program = compile(vec![cooling(EVERY_FAILURE, 60)]);
    let mut before = engine(&program, 2);
    push(&mut before, &program, &[failure(0, "ann", "1.1.1.1"), failure(4, "ann", "1.1.1.1")]);
    let settled = push(&mut before, &program, &[failure(35, "bob", "1.1.1.1")]);
    let expected =
        ["Create 1970-01-01T00:00:00|ann|1.1.1.1 x2 new", "Create 1970-01-01T00:00:04|ann|1.1.1.1 x1 suppressed"];
    assert_eq!(settled, expected);
    let (_, saved) = before.snapshot().expect("operators can be saved");
    let mut after = engine(&program, 1);
    after.restore(&saved).expect("own snapshot");
    push(&mut after, &program, &[failure(6, "ann", "1.1.1.1")]);
    let settled = push(&mut after, &program, &[failure(37, "bob", "1.1.1.1")]);
    let expected =
        ["Update 1970-01-01T00:00:00|ann|1.1.1.1 x3 new", "Create 1970-01-01T00:00:06|ann|1.1.1.1 x1 suppressed"];
    assert_eq!(settled, expected);
}

/// The window stays open after its place is decided, and what comes into it is told in that place, over a restart too.
#[test]
fn a_repeat_whose_values_change_after_a_restart_is_still_a_repeat() {
    let program = compile(vec![cooling(&GUESSING.replace("src_ip, ", ""), 3 * 3600)]);
    let mut before = engine(&program, 2);
    for seconds in [40, 41, 42, 7300, 7301, 7302] {
        push(&mut before, &program, &[failure(seconds, "ann", "1.1.1.1")]);
    }
    let (_, saved) = before.snapshot().expect("operators can be saved");
    let mut after = engine(&program, 1);
    after.restore(&saved).expect("own snapshot");
    push(&mut after, &program, &[failure(7303, "ann", "1.1.1.1")]);
    assert_eq!(told(&after.finish().expect("the end").hits), ["Update ann|4 x1 suppressed"]);
}

/// An exception and lateness hide an alert from people; another one of the same entities they must hear of.
#[test]
fn what_an_exception_hides_and_what_comes_late_suppress_nothing() {
    let exceptions = vec![Exception { name: "known".into(), condition: "src_ip = '9.9.9.9'".to_owned() }];
    let program = compile(vec![Query { exceptions, ..cooling(EVERY_FAILURE, 60) }]);
    let mut engine = engine(&program, 1);
    push(&mut engine, &program, &[failure(50, "bob", "1.1.1.1")]);
    let late = batch(&program, 0, &[failure(1, "ann", "1.1.1.1")]);
    let mut hits = engine.push(late).expect("a batch of its own program").hits;
    let events = [failure(30, "ann", "9.9.9.9"), failure(40, "ann", "1.1.1.1"), failure(45, "ann", "9.9.9.9")];
    hits.extend(engine.push(batch(&program, 0, &events)).expect("a batch of its own program").hits);
    hits.extend(engine.finish().expect("the end").hits);
    let of_ann: Vec<(Option<Uid>, bool, u64)> = hits
        .iter()
        .filter(|hit| show(hit).contains("ann"))
        .map(|hit| (hit.suppressed_by, hit.provisional, hit.count))
        .collect();
    assert!(of_ann.len() >= 3 && of_ann.iter().all(|one| *one == (None, false, 1)), "{:?}", told(&hits));
}

/// The window that ends later may cross its threshold first, while the one before is open.
#[test]
fn of_windows_that_overlap_the_one_that_ends_first_leads() {
    let hopping = "SELECT who, count(*) AS n FROM HOP(failures, time, INTERVAL '1 hour', INTERVAL '2 hours')
                   GROUP BY who, window_start HAVING count(*) >= $n";
    let program = compile(vec![cooling(hopping, 3 * 3600)]);
    let mut engine = engine(&program, 1);
    let events = [failure(3640, "ann", "1.1.1.1"), failure(7200, "ann", "1.1.1.1"), failure(7201, "ann", "1.1.1.1")];
    assert_eq!(push(&mut engine, &program, &events), [] as [&str; 0], "the window that ends at 7200 is open");
    // The watermark is at 7171, and these count in both.
    let events = [failure(7190, "ann", "1.1.1.1"), failure(7191, "ann", "1.1.1.1")];
    assert_eq!(push(&mut engine, &program, &events), ["Create ann|3 x1 new"]);
    let rest = push(&mut engine, &program, &[failure(7240, "bob", "1.1.1.1")]);
    assert_eq!(rest, ["Update ann|3 x2 new", "Create ann|3 x1 suppressed"]);
}

#[test]
fn explain_says_when_a_cooldown_is_certain() {
    let told = |sql: &str, allowed_lateness_us: i64| {
        let query = Query { allowed_lateness_us, ..cooling(sql, 10) };
        let said = compile(vec![query]).explain(0).expect("it compiled");
        let certainty =
            said.lines().find_map(|line| line.trim().strip_prefix("its cooldown leaves it provisional until "));
        certainty.expect("a cooldown says it").to_owned()
    };
    const ORDERED: &str = "the watermark has passed it, or all its streams are silent";
    const UNORDERED: &str = "the watermark has passed it";
    let of_window =
        |told: String| told.starts_with("the watermark has passed the end of the window before, or all its");
    let by_who = |table: &str| {
        format!("SELECT count(*) AS n, who FROM {table} GROUP BY window_start, window_end, who HAVING count(*) >= $n")
    };
    for table in [
        "TUMBLE(failures, time, INTERVAL '1 hour')",
        "HOP(failures, time, INTERVAL '1 hour', INTERVAL '2 hours')",
        "CUMULATE(failures, time, INTERVAL '1 hour', INTERVAL '1 day')",
    ] {
        assert!(of_window(told(&by_who(table), 0)), "{table}");
    }
    assert_eq!(told(GUESSING, 0), UNORDERED, "windows of other addresses end together");
    assert_eq!(told(&by_who("TUMBLE(failures, time, INTERVAL '1 hour')"), 60_000_000), UNORDERED);
    assert_eq!(told(EVERY_FAILURE, 0), ORDERED);
    let counted =
        "SELECT time, who, count(*) OVER (PARTITION BY who ORDER BY time RANGE INTERVAL '1' MINUTE PRECEDING) AS n
                   FROM failures";
    assert_eq!(told(counted, 0), ORDERED);
    assert_eq!(told(&format!("{EVERY_FAILURE} UNION ALL {EVERY_FAILURE}"), 0), ORDERED);
    let absent = "SELECT f.time, f.who, f.src_ip FROM failures f LEFT JOIN signin s ON s.user_name = f.who
                  AND s.time BETWEEN f.time AND f.time + INTERVAL '1 minute' WHERE s.time IS NULL";
    assert_eq!(told(absent, 0), UNORDERED);
    assert_eq!(told(&format!("{EVERY_FAILURE} UNION ALL {absent}"), 0), UNORDERED, "one side is enough");
}
