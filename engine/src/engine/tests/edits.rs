//! What an edited program goes on with: events under the old texts, a snapshot, and further events under the new ones.

use super::*;
use crate::{Continuation, Reason};

/// An old and a new program, and what came before and after the edit.
struct Edit {
    old: Vec<Query>,
    new: Vec<Query>,
    streams: [String; 2],
    before: Vec<Value>,
    after: Vec<Value>,
}

/// What was said before and after an edit, sorted, and what became of each new query.
#[derive(Debug, PartialEq)]
struct Told {
    before: Vec<String>,
    after: Vec<String>,
    fate: Vec<Continuation>,
}

impl Edit {
    fn new(old: Vec<Query>, new: Vec<Query>) -> Self {
        Self { old, new, streams: [STREAMS.to_owned(), STREAMS.to_owned()], before: vec![], after: vec![] }
    }

    fn with(mut self, before: &[Vec<Value>], after: &[Vec<Value>]) -> Self {
        (self.before, self.after) = (before.concat(), after.concat());
        self
    }

    /// The same with another parallelism before and after the edit.
    fn check(&self, fate: &[Continuation], before: &[&str], after: &[&str]) {
        let text = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect();
        let expected = Told { before: text(before), after: text(after), fate: fate.to_vec() };
        for ways in [(1, 1), (1, 3), (3, 1), (3, 3)] {
            assert_eq!(self.run(ways), expected, "from and to the parallelism {ways:?}");
        }
    }

    fn run(&self, (from, to): (usize, usize)) -> Told {
        let [old, new] = [(&self.old, &self.streams[0]), (&self.new, &self.streams[1])].map(|(queries, streams)| {
            let (catalog, diagnostics) = parse_catalog(&[("streams.sql".to_owned(), streams.clone())]);
            assert_eq!(diagnostics, []);
            let (program, faults) = Program::compile(&catalog, &published(), queries.clone());
            assert_eq!(faults, [], "the queries compile");
            Arc::new(program)
        });
        let mut engine = at_work(&old, from);
        let mut before = pushed(&mut engine, &old, &self.before);
        let (ended, saved) = engine.snapshot().expect("operators can be saved");
        before.extend(told(&old, &ended.hits));
        let bytes: Vec<Vec<u8>> = saved.iter().map(|part| part.to_bytes().expect("bytes")).collect();
        let saved: Vec<_> =
            bytes.iter().map(|bytes| crate::WorkerSnapshot::from_bytes(bytes).expect("own bytes")).collect();

        let mut engine = at_work(&new, to);
        engine.restore(&saved).expect("a snapshot of another program");
        let mut after = pushed(&mut engine, &new, &self.after);
        let (ended, _) = engine.snapshot().expect("operators can be saved");
        after.extend(told(&new, &ended.hits));
        before.sort();
        after.sort();
        Told { before, after, fate: new.continuations(&saved) }
    }
}

fn at_work(program: &Arc<Program>, parallelism: usize) -> Engine {
    let mut engine = Engine::new(Arc::clone(program), parallelism, &[]).expect("no tables are read");
    engine.add_partition("signin", PartitionId(0));
    engine.start();
    engine
}

/// What is said of events, one at a time. An event that came late says so.
fn pushed(engine: &mut Engine, program: &Program, events: &[Value]) -> Vec<String> {
    let said = events.iter().flat_map(|event| {
        let outputs = engine.push(batch(program, 0, std::slice::from_ref(event))).expect("a batch of its own program");
        let mut said = told(program, &outputs.hits);
        said.extend(outputs.late.iter().map(|late| format!("late {}", late.time.0 / 1_000_000)));
        said
    });
    said.collect()
}

fn told(program: &Program, hits: &[Hit]) -> Vec<String> {
    let ids: Vec<_> = program.ids().collect();
    let provisional = |hit: &Hit| if hit.provisional { " provisional" } else { "" };
    hits.iter().map(|hit| format!("{} {:?} {}{}", ids[hit.query], hit.activity, show(hit), provisional(hit))).collect()
}

fn guessing(id: &str, least: u32) -> Query {
    windowed(id, "1 minute", least)
}

fn windowed(id: &str, size: &str, least: u32) -> Query {
    let sql = format!(
        "SELECT who, count(*) AS n FROM TUMBLE(failures, time, INTERVAL '{size}')
         GROUP BY who, window_start, window_end HAVING count(*) >= {least}"
    );
    query(id, &sql)
}

/// Nobody's failure, whose time moves the watermark to 30 seconds before it.
fn until(seconds: i64) -> Vec<Value> {
    vec![event(seconds, "zed", "Success", "1.1.1.1", None)]
}

#[test]
fn what_is_said_of_alerts_changes_nothing_that_is_counted() {
    let publish = vec![
        PublishedValue::Constant(ScalarValue::Utf8View(Some("another title".to_owned()))),
        PublishedValue::Column { name: "who".to_owned(), default: ScalarValue::Utf8View(None) },
    ];
    let new = Query { publish, ..guessing("q", 3) };
    let edit = Edit::new(vec![guessing("q", 3)], vec![new]);
    let edit = edit.with(&[failures("ann", 0, 2)], &[failures("ann", 2, 1)]);
    edit.check(&[Continuation::Same], &[], &["q Create ann|3 x1"]);
}

#[test]
fn a_lower_threshold_speaks_at_the_next_event_or_at_the_close() {
    let edit = Edit::new(vec![guessing("q", 5)], vec![guessing("q", 3)]);
    let before = [failures("ann", 0, 4), failures("bob", 4, 3), failures("cid", 7, 2)];
    let edit = edit.with(&before, &[failures("bob", 10, 1), until(95)]);
    edit.check(&[Continuation::Restated], &[], &["q Create ann|4 x1", "q Create bob|4 x1"]);
}

/// What was stated under the lower threshold stands, and is updated only where the higher one holds as well.
#[test]
fn a_higher_threshold_keeps_counts_and_takes_nothing_back() {
    let edit = Edit::new(vec![guessing("q", 3)], vec![guessing("q", 5)]);
    let before = [failures("ann", 0, 3), failures("bob", 3, 2), failures("eve", 5, 3)];
    let within = [failures("ann", 10, 1), failures("bob", 11, 2), failures("cid", 13, 5), failures("eve", 18, 3)];
    let after = [within.concat(), until(95), failures("ann", 96, 4), until(160)];
    edit.with(&before, &after).check(
        &[Continuation::Restated],
        &["q Create ann|3 x1", "q Create eve|3 x1"],
        &["q Create cid|5 x1", "q Update eve|6 x1"],
    );
}

#[test]
fn a_higher_threshold_of_sessions_keeps_counts_and_takes_nothing_back() {
    let session = |least: u32| {
        let sql = format!(
            "SELECT who, count(*) AS n FROM SESSION(failures, time, INTERVAL '1 minute', who)
             GROUP BY who, window_start, window_end HAVING count(*) >= {least}"
        );
        query("q", &sql)
    };
    let before = [failures("ann", 0, 3), failures("bob", 3, 3), failures("cid", 6, 2), until(40)];
    let after = [failures("ann", 41, 1), failures("bob", 42, 2), failures("cid", 44, 3), until(300)];
    Edit::new(vec![session(3)], vec![session(5)]).with(&before, &after).check(
        &[Continuation::Restated],
        &["q Create ann|3 x1", "q Create bob|3 x1"],
        &["q Create cid|5 x1", "q Update bob|5 x1"],
    );
}

/// Ann's alert is the same one whatever the text says, so it is neither created again nor updated by a count of less.
fn check_counts_anew(edit: Edit) {
    let before = [failures("ann", 0, 4), failures("bob", 4, 2)];
    let after = [failures("ann", 10, 3), failures("bob", 13, 2), failures("cid", 15, 3), until(95)];
    edit.with(&before, &after).check(
        &[Continuation::Anew(Reason::OtherRows)],
        &["q Create ann|3 x1"],
        &["q Create cid|3 x1"],
    );
}

#[test]
fn another_filter_below_counts_from_nothing() {
    let mut filtered = guessing("q", 3);
    filtered.sql = filtered.sql.replace("GROUP BY", "WHERE src_ip <> '9.9.9.9' GROUP BY");
    check_counts_anew(Edit::new(vec![guessing("q", 3)], vec![filtered]));
}

#[test]
fn another_view_below_counts_from_nothing() {
    let mut edit = Edit::new(vec![guessing("q", 3)], vec![guessing("q", 3)]);
    edit.streams[1] = STREAMS.replace("status = 'Failure'", "status IN ('Failure', 'Denied')");
    check_counts_anew(edit);
}

#[test]
fn another_window_counts_from_nothing() {
    let edit = Edit::new(vec![guessing("q", 3)], vec![windowed("q", "2 minutes", 3)]);
    let edit = edit.with(&[failures("ann", 0, 2)], &[failures("ann", 2, 2), failures("bob", 4, 3)]);
    edit.check(&[Continuation::Anew(Reason::OtherOperator)], &[], &["q Create bob|3 x1"]);
}

#[test]
fn a_column_of_the_group_keeps_counts_and_another_aggregate_does_not() {
    let select = |columns: &str| {
        let sql = format!(
            "SELECT who, count(*) AS n{columns} FROM TUMBLE(failures, time, INTERVAL '1 minute')
             GROUP BY who, window_start, window_end HAVING count(*) >= 3"
        );
        query("q", &sql)
    };
    let before = [failures("ann", 0, 2), failures("bob", 2, 3)];
    let after = [failures("ann", 10, 1), until(95)];
    Edit::new(vec![select("")], vec![select(", upper(who) AS big")]).with(&before, &after).check(
        &[Continuation::Restated],
        &["q Create bob|3 x1"],
        &["q Create ann|3|ANN x1", "q Update bob|3|BOB x1"],
    );
    Edit::new(vec![select("")], vec![select(", max(src_ip) AS ip")]).with(&before, &after).check(
        &[Continuation::Anew(Reason::OtherOperator)],
        &["q Create bob|3 x1"],
        &[],
    );
}

fn cooling(sql: &str, seconds: i64) -> Query {
    Query { cooldown_us: Some(seconds * 1_000_000), cooldown_keys: vec!["who".to_owned()], ..query("q", sql) }
}

#[test]
fn another_cooldown_goes_on_from_the_last_alert() {
    let sql = "SELECT time, who FROM failures";
    let (before, after) = ([failures("ann", 0, 1), until(35)], [failures("ann", 20, 1), until(55)]);
    let first = ["q Create 1970-01-01T00:00:00|ann x1"];
    Edit::new(vec![cooling(sql, 60)], vec![cooling(sql, 10)]).with(&before, &after).check(
        &[Continuation::Stateless],
        &first,
        &["q Create 1970-01-01T00:00:20|ann x1"],
    );
    Edit::new(vec![cooling(sql, 10)], vec![cooling(sql, 60)]).with(&before, &after).check(
        &[Continuation::Stateless],
        &first,
        &["q Create 1970-01-01T00:00:20|ann x1 suppressed", "q Update 1970-01-01T00:00:00|ann x2"],
    );
}

#[test]
fn an_alert_that_waits_for_its_cooldown_is_settled_with_another_column_and_another_exception() {
    let exception = |name: &str, condition: &str| Exception { name: name.into(), condition: condition.to_owned() };
    let old =
        Query { exceptions: vec![exception("known", "who = 'bob'")], ..cooling("SELECT time, who FROM failures", 10) };
    let new = Query {
        exceptions: vec![exception("other", "who = 'eve'"), exception("known", "who = 'bob'")],
        ..cooling("SELECT time, who, src_ip FROM failures", 10)
    };
    let before = [failures("ann", 0, 1), failures("bob", 1, 1)];
    Edit::new(vec![old], vec![new]).with(&before, &[until(40)]).check(
        &[Continuation::Stateless],
        &["q Create 1970-01-01T00:00:00|ann x1 provisional", "q Create 1970-01-01T00:00:01|bob x1 hidden by known"],
        &["q Update 1970-01-01T00:00:00|ann| x1"],
    );
}

#[test]
fn another_allowance_for_late_events_counts_from_nothing_and_takes_nothing_back() {
    let allowing = |seconds: i64| Query { allowed_lateness_us: seconds * 1_000_000, ..guessing("q", 3) };
    let edit = Edit::new(vec![allowing(20)], vec![allowing(40)]);
    let before = [failures("ann", 0, 3), failures("bob", 3, 2)];
    let after = [failures("ann", 10, 2), failures("bob", 12, 2), failures("cid", 14, 3), until(200)];
    edit.with(&before, &after).check(
        &[Continuation::Anew(Reason::OtherOperator)],
        &["q Create ann|3 x1"],
        &["q Create cid|3 x1"],
    );
}

/// Ann's window is stated anew for a late event, and four are not five.
#[test]
fn a_higher_threshold_takes_back_what_a_late_event_has_stated_anew() {
    let allowing = |least: u32| Query { allowed_lateness_us: 20_000_000, ..guessing("q", least) };
    let before = [failures("ann", 0, 3), failures("bob", 3, 3)];
    let after = [failures("bob", 10, 2), until(95), failures("ann", 50, 1), until(200)];
    Edit::new(vec![allowing(3)], vec![allowing(5)]).with(&before, &after).check(
        &[Continuation::Restated],
        &["q Create ann|3 x1", "q Create bob|3 x1"],
        &["late 50", "q Update bob|5 x1", "q Withdraw ann|3 x1"],
    );
}

#[test]
fn a_lower_threshold_speaks_in_every_window_that_an_event_is_in() {
    let hopping = |least: u32| {
        let sql = format!(
            "SELECT who, window_end AS until, count(*) AS n
             FROM HOP(failures, time, INTERVAL '30 seconds', INTERVAL '1 minute')
             GROUP BY who, window_start, window_end HAVING count(*) >= {least}"
        );
        query("q", &sql)
    };
    let (before, after) = ([failures("ann", 29, 3)], [failures("ann", 40, 1)]);
    Edit::new(vec![hopping(5)], vec![hopping(3)]).with(&before, &after).check(
        &[Continuation::Restated],
        &[],
        &["q Create ann|1970-01-01T00:01:00|4 x1", "q Create ann|1970-01-01T00:01:30|3 x1"],
    );
}

#[test]
fn what_a_join_remembers_goes_on_beside_others_and_not_within_other_bounds() {
    let after_failure = |within: &str| {
        let sql = format!(
            "SELECT s.time, s.user_name AS who FROM signin s WHERE s.status = 'Success' AND EXISTS (
               SELECT 1 FROM failures f WHERE f.who = s.user_name
               AND s.time BETWEEN f.time AND f.time + INTERVAL '{within}')"
        );
        query("q", &sql)
    };
    let beside = || query("a", "SELECT time, src_ip AS who FROM signin WHERE bytes > 100");
    let (before, after) = ([failures("ann", 0, 1)], [event(50, "ann", "Success", "1.1.1.1", None)].to_vec());
    let said = ["q Create 1970-01-01T00:00:50|ann x1"];
    let kept = Edit::new(vec![after_failure("2 minutes")], vec![beside(), after_failure("2 minutes")]);
    let fate = [Continuation::Stateless, Continuation::Same];
    kept.with(&before, std::slice::from_ref(&after)).check(&fate, &[], &said);
    let lost = Edit::new(vec![after_failure("2 minutes")], vec![after_failure("3 minutes")]);
    lost.with(&before, &[after]).check(&[Continuation::Anew(Reason::OtherOperator)], &[], &[]);
}

#[test]
fn a_sequence_that_has_begun_goes_on_beside_others() {
    let sequence = || {
        let sql = "SELECT * FROM signin MATCH_RECOGNIZE (PARTITION BY user_name ORDER BY time
                   MEASURES last(b.time) AS time, first(a.src_ip) AS ip
                   PATTERN (a a b) WITHIN INTERVAL '1 minute'
                   DEFINE a AS status = 'Failure', b AS status = 'Success')";
        query("q", sql)
    };
    let beside = query("a", "SELECT time, src_ip AS who FROM signin WHERE bytes > 100");
    let after = [vec![event(5, "ann", "Success", "2.2.2.2", None)], until(100)];
    let edit = Edit::new(vec![sequence()], vec![beside, sequence()]).with(&[failures("ann", 0, 2)], &after);
    let fate = [Continuation::Stateless, Continuation::Same];
    edit.check(&fate, &[], &["q Create ann|1970-01-01T00:00:05|1.1.1.1 x1"]);
}

#[test]
fn detections_that_come_and_go_leave_the_others_alone() {
    let other = || query("a", "SELECT time, user_name AS who, bytes FROM signin WHERE status = 'Success'");
    let (before, after) = ([failures("ann", 0, 2)], [failures("ann", 2, 1), until(3)]);
    let said = ["a Create 1970-01-01T00:00:03|zed| x1", "q Create ann|3 x1"];
    let same = Continuation::Same;
    let added = Edit::new(vec![guessing("q", 3)], vec![other(), guessing("q", 3)]);
    added.with(&before, &after).check(&[Continuation::Stateless, same], &[], &said);
    let removed = Edit::new(vec![other(), guessing("q", 3)], vec![guessing("q", 3)]);
    removed.with(&before, &after).check(&[same], &[], &said[1..]);
}

#[test]
fn a_new_detection_goes_on_with_what_another_one_has_counted() {
    let edit = Edit::new(vec![guessing("q", 4)], vec![guessing("b", 3), guessing("q", 4)]);
    let edit = edit.with(&[failures("ann", 0, 2)], &[failures("ann", 2, 2)]);
    let fate = [Continuation::Restated, Continuation::Same];
    edit.check(&fate, &[], &["b Create ann|3 x1", "q Create ann|4 x1"]);
}

#[test]
fn another_id_is_another_detection() {
    let edit = Edit::new(vec![guessing("q", 3)], vec![guessing("r", 3)]);
    let edit = edit.with(&[failures("ann", 0, 3)], &[failures("ann", 3, 1)]);
    edit.check(&[Continuation::Restated], &["q Create ann|3 x1"], &["r Create ann|4 x1"]);
}

/// The clock stands at 100, so that 69 is late by the 30 seconds of the stream, whatever else is decoded of it now.
#[test]
fn another_column_of_a_stream_leaves_its_clocks_and_counts_alone() {
    let mut edit = Edit::new(
        vec![guessing("q", 3)],
        vec![query("c", "SELECT time, country AS who FROM signin WHERE country = 'PT'"), guessing("q", 3)],
    );
    edit.streams[1] = STREAMS.replace("src_ip STRING,", "country STRING, src_ip STRING,");
    let after = [failures("ann", 69, 1), failures("ann", 102, 1)];
    edit.with(&[failures("ann", 99, 2)], &after).check(
        &[Continuation::Stateless, Continuation::Same],
        &[],
        &["late 69", "q Create ann|3 x1"],
    );
}

#[test]
fn events_that_are_timed_otherwise_are_other_events() {
    let mut edit = Edit::new(vec![guessing("q", 3)], vec![guessing("q", 3)]);
    edit.streams[1] =
        STREAMS.replace("lateness = '30 seconds'", "lateness = '30 seconds', time_zone = 'Europe/Lisbon'");
    let edit = edit.with(&[failures("ann", 0, 2)], &[failures("ann", 2, 2)]);
    edit.check(&[Continuation::Anew(Reason::OtherRows)], &[], &[]);
}

/// Of ann's three failures within a minute the third is the first that two others lie before.
#[test]
fn another_condition_on_a_frame_keeps_its_rows() {
    let sliding = |least: u32| {
        let sql = format!(
            "SELECT time, who, count(*) OVER (PARTITION BY who ORDER BY time RANGE INTERVAL '1 minute' PRECEDING) AS n
             FROM failures QUALIFY n >= {least}"
        );
        query("q", &sql)
    };
    let edit = Edit::new(vec![sliding(4)], vec![sliding(3)]);
    let edit = edit.with(&[failures("ann", 0, 2), until(40)], &[failures("ann", 41, 1), until(80)]);
    edit.check(&[Continuation::Restated], &[], &["q Create 1970-01-01T00:00:41|ann|3 x1"]);
}

#[test]
fn who_counts_alerts_goes_on_when_others_begin_to_raise_them() {
    let counting = || {
        query(
            "both",
            "SELECT user AS who, count(*) AS n FROM TUMBLE(alerts, time, INTERVAL '1 hour')
             GROUP BY user, window_start, window_end HAVING count(*) >= 2",
        )
    };
    let failed = || query("f", "SELECT time, who FROM failures");
    let signed_in = query("s", "SELECT time, user_name AS who FROM signin WHERE status = 'Success'");
    let edit = Edit::new(vec![failed(), counting()], vec![failed(), signed_in, counting()]);
    let after = [event(1, "ann", "Success", "1.1.1.1", None)].to_vec();
    edit.with(&[failures("ann", 0, 1)], &[after]).check(
        &[Continuation::Same, Continuation::Stateless, Continuation::Restated],
        &["f Create 1970-01-01T00:00:00|ann x1"],
        &["both Create ann|2 x1", "s Create 1970-01-01T00:00:01|ann x1"],
    );
}
