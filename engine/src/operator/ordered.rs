//! Rows that wait for their place: they leave strictly below the watermark, in the order of (time, uid), which is the
//! one order that every run agrees on.

use arrow::array::{BinaryArray, RecordBatch, UInt64Array};

use crate::error::EngineError;
use crate::rows::{Rows, uid_at};
use crate::snapshot::{Change, Noted, Scope};
use crate::time::EventTime;

/// A buffer that sorts.
#[derive(Debug, Default)]
pub(super) struct Ordered {
    runs: Vec<Run>,
    /// How many rows were taken so far.
    taken: u64,
    /// What was taken since the buffer was saved last.
    fresh: Noted<Run>,
    /// Rows before this have left since the buffer was saved last.
    left: Option<EventTime>,
}

/// Rows in order, and the number of the first.
#[derive(Debug, Clone)]
struct Run {
    first: u64,
    rows: Rows,
}

impl Run {
    /// Takes the rows before an instant out of the run.
    fn take_before(&mut self, watermark: EventTime) -> Option<Rows> {
        let count = self.rows.time.values().partition_point(|time| *time < watermark.0);
        if count == 0 {
            return None;
        }
        let taken = self.rows.slice(0, count);
        self.rows = self.rows.slice(count, self.rows.len() - count);
        self.first += count as u64;
        Some(taken)
    }

    /// What tells each row apart, in the order of time.
    fn ids(&self) -> BinaryArray {
        let numbered = self.rows.time.values().iter().zip(self.first..);
        numbered.map(|(time, number)| Some(id_of(*time, number))).collect()
    }
}

impl Ordered {
    /// Takes rows in any order.
    pub(super) fn push(&mut self, rows: Rows) -> Result<(), EngineError> {
        if !rows.is_empty() {
            let run = Run { first: self.taken, rows: in_order(rows.identified().compacted()?)? };
            self.taken += run.rows.len() as u64;
            self.fresh.note(|| run.clone());
            self.runs.push(run);
        }
        Ok(())
    }

    /// All rows before the watermark, in order.
    pub(super) fn release(&mut self, watermark: EventTime) -> Result<Option<Rows>, EngineError> {
        let mut released = vec![];
        self.runs.retain_mut(|run| {
            released.extend(run.take_before(watermark));
            !run.rows.is_empty()
        });
        if !released.is_empty() {
            self.left = self.left.max(Some(watermark));
        }
        match released.len() {
            0 => Ok(None),
            1 => Ok(released.pop()),
            _ => Ok(Some(in_order(Rows::concat(&released)?)?)),
        }
    }

    /// The bytes of the rows that wait.
    pub(super) fn bytes(&self) -> usize {
        self.runs.iter().map(|run| size_of::<Run>() + run.rows.bytes()).sum()
    }

    /// The rows that wait, as batches that [`Rows::from_batch`] reads.
    pub(super) fn batches(&self) -> Result<Vec<RecordBatch>, EngineError> {
        Ok(self.runs.iter().map(|run| run.rows.to_batch()).collect::<Result<Vec<_>, _>>()?)
    }

    /// The rows that wait, or what has become of them, as a section of a state.
    pub(super) fn save(&mut self, scope: Scope, section: i64) -> Result<Vec<Change>, EngineError> {
        let (mut fresh, left) = (self.fresh.take(), self.left.take());
        let mut changes = vec![];
        if let (Scope::Changes, Some(left)) = (scope, left) {
            changes.push(Change::RemoveBelow { section, id: id_of(left.0, 0).to_vec() });
            fresh.iter_mut().for_each(|run| drop(run.take_before(left)));
        }
        let runs = if scope == Scope::Whole { &self.runs } else { &fresh };
        for run in runs.iter().filter(|run| !run.rows.is_empty()) {
            changes.push(Change::Put { section, ids: Some(run.ids()), rows: run.rows.to_batch()? });
        }
        Ok(changes)
    }
}

/// Bytes whose order is that of (time, number).
pub(super) fn id_of(time: i64, number: u64) -> [u8; 16] {
    // The sign turned round, so that times before 1970 come first.
    let time = time.cast_unsigned() ^ (1 << 63);
    let mut id = [0; 16];
    id[..8].copy_from_slice(&time.to_be_bytes());
    id[8..].copy_from_slice(&number.to_be_bytes());
    id
}

/// The rows in the order of (time, uid).
fn in_order(rows: Rows) -> Result<Rows, EngineError> {
    let uids = rows.uids();
    let place = |row: usize| (rows.time.value(row), uid_at(&uids, row));
    if (1..rows.len()).all(|row| place(row - 1) <= place(row)) {
        return Ok(rows);
    }
    let mut order: Vec<u64> = (0..rows.len() as u64).collect();
    order.sort_by_cached_key(|row| place(*row as usize));
    Ok(rows.take(&UInt64Array::from(order))?)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, AsArray, Int64Array, TimestampMicrosecondArray};
    use arrow::datatypes::Int64Type;

    use super::*;
    use crate::identity::Uid;
    use crate::rows::{Identity, no_arrival, uid_array};

    fn rows(events: &[(i64, u8)]) -> Rows {
        let values: Int64Array = events.iter().map(|(time, uid)| Some(time * 100 + i64::from(*uid))).collect();
        Rows {
            columns: RecordBatch::try_from_iter([("v", Arc::new(values) as ArrayRef)]).expect("one column"),
            time: events.iter().map(|(time, _)| Some(*time)).collect::<TimestampMicrosecondArray>(),
            identity: Identity::Uid(uid_array(events.iter().map(|(_, uid)| Uid([*uid; 16])))),
            arrival: no_arrival(events.len()),
            late_us: None,
            provisional: None,
            withdrawn: None,
        }
    }

    fn values(rows: Option<Rows>) -> Vec<i64> {
        rows.map(|rows| rows.columns.column(0).as_primitive::<Int64Type>().values().to_vec()).unwrap_or_default()
    }

    #[test]
    fn rows_leave_strictly_below_the_watermark_in_order_of_time_and_uid() {
        let mut ordered = Ordered::default();
        ordered.push(rows(&[(5, 1), (2, 9), (2, 3)])).expect("rows");
        ordered.push(rows(&[(4, 1), (2, 5), (1, 1)])).expect("rows");
        assert!(values(ordered.release(EventTime(1)).expect("nothing yet")).is_empty());
        assert_eq!(values(ordered.release(EventTime(4)).expect("some")), [101, 203, 205, 209]);
        let waiting: usize = ordered.batches().expect("batches").iter().map(RecordBatch::num_rows).sum();
        assert_eq!(waiting, 2);
        assert_eq!(values(ordered.release(EventTime::MAX).expect("the rest")), [401, 501]);
        assert!(values(ordered.release(EventTime::MAX).expect("nothing")).is_empty());
    }
}
