//! Another time of a row as its event time: windows over a join may go by a time that lies behind that of the match.

use arrow::array::{Array, AsArray, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::TimestampMicrosecondType;

use super::stateless::without_memory;
use super::{Operator, Outbox};
use crate::error::EngineError;
use crate::graph::RetimeSpec;
use crate::rows::Rows;
use crate::table::TableVersion;
use crate::time::EventTime;

/// Sets the event time and holds the watermark back by as much as it may have moved.
pub(super) struct Retime {
    spec: RetimeSpec,
}

impl Retime {
    pub(super) const fn new(spec: RetimeSpec) -> Self {
        Self { spec }
    }
}

impl Operator for Retime {
    fn rows(&mut self, _input: usize, rows: Rows, out: &mut Outbox) -> Result<(), EngineError> {
        let column = rows.columns.column(self.spec.column).as_primitive::<TimestampMicrosecondType>();
        let time: TimestampMicrosecondArray = (0..rows.len())
            .map(|row| Some(if column.is_valid(row) { column } else { &rows.time }.value(row)))
            .collect();
        out.rows.push(Rows { time, ..rows });
        Ok(())
    }

    fn forwards(&self, watermark: EventTime) -> EventTime {
        watermark.less(self.spec.behind_us)
    }

    without_memory!();
}
