use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BinaryArray, Int64Array, RecordBatch};
use arrow::datatypes::Int64Type;
use proptest::prelude::*;

use super::*;

fn put(section: i64, entries: &[(&str, i64)]) -> Change {
    let ids: BinaryArray = entries.iter().map(|(id, _)| Some(id.as_bytes())).collect();
    let values: ArrayRef = Arc::new(entries.iter().map(|(_, value)| Some(*value)).collect::<Int64Array>());
    Change::Put { section, ids: Some(ids), rows: RecordBatch::try_from_iter([("v", values)]).expect("one column") }
}

fn remove(section: i64, ids: &[&str]) -> Change {
    Change::Remove { section, ids: ids.iter().map(|id| Some(id.as_bytes())).collect() }
}

fn name() -> StateName {
    let uid = crate::Uid::of_cause([b"window".as_slice()]);
    StateName { kept: uid, exact: uid, own: uid }
}

fn snapshot(is_whole: bool, changes: Vec<Change>) -> WorkerSnapshot {
    WorkerSnapshot::new([(name(), Saved { is_whole, changes })].into_iter(), SavedClocks::new())
}

fn through_bytes(snapshot: &WorkerSnapshot) -> WorkerSnapshot {
    WorkerSnapshot::from_bytes(&snapshot.to_bytes().expect("bytes")).expect("own bytes")
}

/// The values of each batch of the folded state.
fn folded(chain: &[WorkerSnapshot]) -> Vec<Vec<i64>> {
    let whole = WorkerSnapshot::fold(chain.iter().map(through_bytes)).expect("a whole state and its changes");
    let values = |rows: &RecordBatch| rows.column(0).as_primitive::<Int64Type>().values().to_vec();
    let whole = through_bytes(&whole);
    let rows = whole.state_of(&name()).map(|saved| saved.rows().expect("rows"));
    rows.unwrap_or_default().iter().map(values).collect()
}

#[test]
fn a_later_row_takes_the_place_of_an_earlier_one_of_its_section_and_id() {
    let whole = snapshot(true, vec![put(1, &[("a", 1), ("b", 2)]), put(2, &[("a", 3)])]);
    let changes = snapshot(false, vec![put(1, &[("b", 4), ("c", 5)])]);
    assert_eq!(folded(std::slice::from_ref(&whole)), [vec![1, 2], vec![3]]);
    assert_eq!(folded(&[whole, changes]), [vec![1, 4, 5], vec![3]]);
}

#[test]
fn rows_are_forgotten_by_id_by_order_and_by_section() {
    let whole = snapshot(true, vec![put(1, &[("a", 1), ("b", 2), ("c", 3)]), put(2, &[("a", 4)])]);
    let below = Change::RemoveBelow { section: 1, id: b"b".to_vec() };
    assert_eq!(folded(&[whole.clone(), snapshot(false, vec![below])]), [vec![2, 3], vec![4]]);
    let removed = snapshot(false, vec![remove(1, &["a", "c", "not there"]), Change::Drop { section: 2 }]);
    assert_eq!(folded(&[whole.clone(), removed]), [vec![2]]);
    // What is forgotten and comes again is there.
    let again = snapshot(false, vec![remove(2, &["a"]), put(2, &[("a", 5)])]);
    assert_eq!(folded(&[whole, again]), [vec![1, 2, 3], vec![5]]);
}

#[test]
fn a_section_without_rows_still_has_its_batch_and_a_dropped_one_has_none() {
    let whole = snapshot(true, vec![put(0, &[]), put(1, &[("a", 1)])]);
    let changes = snapshot(false, vec![remove(1, &["a"])]);
    assert_eq!(folded(&[whole.clone(), changes]), [Vec::<i64>::new(), vec![]]);
    let dropped = snapshot(false, vec![Change::Drop { section: 0 }]);
    assert_eq!(folded(&[whole, dropped]), [vec![1]]);
}

#[test]
fn a_whole_state_forgets_what_was_before() {
    let first = snapshot(true, vec![put(1, &[("a", 1)])]);
    let second = snapshot(true, vec![put(3, &[("b", 2)])]);
    assert_eq!(folded(&[first.clone(), second]), [vec![2]]);
    assert_eq!(folded(&[first, snapshot(true, vec![])]), Vec::<Vec<i64>>::new());
}

#[test]
fn the_last_watermark_counts() {
    let chain = [Some(5), None, Some(7)].map(|watermark| {
        snapshot(false, watermark.into_iter().map(Change::Watermark).chain([put(1, &[("a", 1)])]).collect())
    });
    let whole = WorkerSnapshot::fold(chain.iter().map(through_bytes)).expect("states");
    assert_eq!(through_bytes(&whole).state_of(&name()).and_then(Saved::watermark), Some(crate::EventTime(7)));
}

#[test]
fn an_operator_that_began_after_the_whole_state_is_taken_up_from_its_changes() {
    let empty = WorkerSnapshot::default();
    assert_eq!(folded(&[empty.clone(), snapshot(false, vec![put(1, &[("a", 1)])])]), [vec![1]]);
    assert_eq!(folded(&[empty.clone(), empty]), Vec::<Vec<i64>>::new());
    assert!(WorkerSnapshot::fold([]).is_err());
}

#[test]
fn nothing_is_noted_before_it_is_first_asked_for() {
    let mut noted = Noted::new();
    noted.note(|| 1);
    assert!(noted.take().is_empty());
    noted.note(|| 2);
    assert_eq!((noted.take(), noted.take()), (vec![2], vec![]));
}

#[test]
fn torn_bytes_and_other_formats_are_refused() {
    let bytes = snapshot(true, vec![put(1, &[("a", 1)]), remove(1, &["b"])]).to_bytes().expect("bytes");
    for length in 0..bytes.len() {
        assert!(WorkerSnapshot::from_bytes(&bytes[..length]).is_err(), "{length} of {} bytes", bytes.len());
    }
    let mut newer = bytes;
    newer[8] = 9;
    let error = WorkerSnapshot::from_bytes(&newer).expect_err("a format of the future").to_string();
    assert!(error.contains("format 9") && error.contains("reads 2"), "{error}");
}

/// What has become of sections by a map of ids, row by row.
#[derive(Default)]
struct Plain(BTreeMap<i64, BTreeMap<String, i64>>);

impl Plain {
    fn apply(&mut self, change: &Step) {
        match change {
            Step::Put(section, entries) => {
                let section = self.0.entry(*section).or_default();
                section.extend(entries.iter().map(|(id, value)| (id.clone(), *value)));
            }
            Step::Remove(section, ids) => {
                if let Some(section) = self.0.get_mut(section) {
                    section.retain(|id, _| !ids.contains(id));
                }
            }
            Step::RemoveBelow(section, below) => {
                if let Some(section) = self.0.get_mut(section) {
                    section.retain(|id, _| id >= below);
                }
            }
            Step::Drop(section) => drop(self.0.remove(section)),
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Put(i64, Vec<(String, i64)>),
    Remove(i64, Vec<String>),
    RemoveBelow(i64, String),
    Drop(i64),
}

impl Step {
    fn change(&self) -> Change {
        match self {
            Self::Put(section, entries) => {
                let entries: Vec<(&str, i64)> = entries.iter().map(|(id, value)| (id.as_str(), *value)).collect();
                match put(*section, &entries) {
                    // Rows may be made later, which changes nothing.
                    Change::Put { section, ids: Some(ids), rows } if entries.len() % 2 == 1 => {
                        Change::PutLater { section, ids, rows: Later::new(move || Ok(rows.clone())) }
                    }
                    change => change,
                }
            }
            Self::Remove(section, ids) => remove(*section, &ids.iter().map(String::as_str).collect::<Vec<_>>()),
            Self::RemoveBelow(section, id) => Change::RemoveBelow { section: *section, id: id.as_bytes().to_vec() },
            Self::Drop(section) => Change::Drop { section: *section },
        }
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let put = (0..3_i64, prop::collection::vec(("[a-d]{1,2}", any::<i64>()), 0..6));
    let step = prop_oneof![
        4 => put.prop_map(|(section, entries)| Step::Put(section, entries)),
        2 => (0..3_i64, prop::collection::vec("[a-d]{1,2}", 0..4)).prop_map(|(section, ids)| Step::Remove(section, ids)),
        1 => (0..3_i64, "[a-d]{1,2}").prop_map(|(section, id)| Step::RemoveBelow(section, id)),
        1 => (0..3_i64).prop_map(Step::Drop),
    ];
    prop::collection::vec(step, 0..8)
}

proptest! {
    #[test]
    fn a_chain_says_what_its_changes_say_one_by_one(chain in prop::collection::vec(steps(), 1..5)) {
        let mut plain = Plain::default();
        chain.iter().flatten().for_each(|step| plain.apply(step));
        let snapshots = chain.iter().enumerate();
        let snapshots: Vec<_> =
            snapshots.map(|(nth, steps)| snapshot(nth == 0, steps.iter().map(Step::change).collect())).collect();
        let expected: Vec<Vec<i64>> = plain.0.values().map(|section| section.values().copied().collect()).collect();
        prop_assert_eq!(folded(&snapshots), expected);
    }
}
