//! Rows that wait for their place: they leave strictly below the watermark, in the order of (time, uid), which is the
//! one order that every run agrees on.

use arrow::array::{RecordBatch, UInt64Array};

use crate::error::EngineError;
use crate::rows::{Rows, uid_at};
use crate::time::EventTime;

/// A buffer that sorts.
#[derive(Debug, Default)]
pub(super) struct Ordered {
    /// Each run is in order.
    runs: Vec<Rows>,
}

impl Ordered {
    /// Takes rows in any order.
    pub(super) fn push(&mut self, rows: Rows) -> Result<(), EngineError> {
        if !rows.is_empty() {
            self.runs.push(in_order(rows.identified().compacted()?)?);
        }
        Ok(())
    }

    /// All rows before the watermark, in order.
    pub(super) fn release(&mut self, watermark: EventTime) -> Result<Option<Rows>, EngineError> {
        let mut released = vec![];
        self.runs.retain_mut(|run| {
            let count = run.time.values().partition_point(|time| *time < watermark.0);
            if count > 0 {
                released.push(run.slice(0, count));
                *run = run.slice(count, run.len() - count);
            }
            !run.is_empty()
        });
        match released.len() {
            0 => Ok(None),
            1 => Ok(released.pop()),
            _ => Ok(Some(in_order(Rows::concat(&released)?)?)),
        }
    }

    /// The rows that wait, as batches that [`Rows::from_batch`] reads.
    pub(super) fn snapshot(&self) -> Result<Vec<RecordBatch>, EngineError> {
        Ok(self.runs.iter().map(Rows::to_batch).collect::<Result<Vec<_>, _>>()?)
    }
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
        let waiting: usize = ordered.snapshot().expect("batches").iter().map(RecordBatch::num_rows).sum();
        assert_eq!(waiting, 2);
        assert_eq!(values(ordered.release(EventTime::MAX).expect("the rest")), [401, 501]);
        assert!(values(ordered.release(EventTime::MAX).expect("nothing")).is_empty());
    }
}
