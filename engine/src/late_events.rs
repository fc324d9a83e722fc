//! The stream `late_events`: one row for every row that a partition's clock found late.
//!
//! A late row's own time would be late again, so what counts as the time of its report is what the clock showed: the
//! greatest time of its partition up to then. That is a property of the data, and it never goes back within a partition, so
//! a detection that counts late rows gives one answer however its input is cut.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryViewArray, Int32Array, Int64Array, StringViewArray, TimestampMicrosecondArray,
    new_null_array,
};
use arrow::datatypes::{DataType, Field, Int32Type, SchemaRef};
use arrow::error::ArrowError;

use crate::catalog::{Stream, TIME_TYPE, system};
use crate::output::LateEvent;
use crate::rows::{Identity, Rows, batch_of, uid_array};

/// The name behind `FROM`.
pub const LATE_EVENTS: &str = "late_events";

/// Columns of [`stream`] that are read from the late row itself, under the names that they have there.
pub(crate) const OF_THE_ROW: [(&str, &str, DataType); 2] =
    [("topic", system::TOPIC, DataType::Utf8View), ("partition", system::PARTITION, DataType::Int32)];

/// What `FROM late_events` sees.
///
/// Shape: `time` (what the partition's clock showed), `uid` (text) and `stream` of the late row, `event_time` (its own
/// time), `late_ms` (how far that is behind `time`; negative for a row from the future), `reason`, and where it lay.
#[must_use]
pub fn stream() -> Stream {
    let column = |name: &str, data_type| Field::new(name, data_type, true);
    let mut columns = vec![
        column("time", TIME_TYPE),
        column("uid", DataType::Utf8View),
        column("stream", DataType::Utf8View),
        column("event_time", TIME_TYPE),
        column("late_ms", DataType::Int64),
        column("reason", DataType::Utf8View),
    ];
    columns.extend(OF_THE_ROW.map(|(name, _, data_type)| column(name, data_type)));
    Stream::own(LATE_EVENTS, columns, 0, "uid")
}

/// A row of the stream before it is one.
pub(crate) struct Report {
    /// What was late.
    pub(crate) event: LateEvent,
    /// The time of the report.
    pub(crate) time: i64,
    /// When the late row arrived, where that is known.
    pub(crate) arrival: Option<i64>,
    /// Where it lay, as far as that is decoded.
    pub(crate) topic: Option<String>,
    /// Likewise.
    pub(crate) partition: Option<i32>,
}

impl Report {
    /// The report about a row of a batch.
    pub(crate) fn of(event: LateEvent, time: i64, rows: &Rows, row: usize) -> Self {
        let of_row = |name: &str| rows.columns.column_by_name(name).filter(|column| column.is_valid(row));
        let topic = of_row(system::TOPIC).and_then(|topic| topic.as_string_view_opt());
        let partition = of_row(system::PARTITION).and_then(|partition| partition.as_primitive_opt::<Int32Type>());
        Self {
            event,
            time,
            arrival: rows.arrival.is_valid(row).then(|| rows.arrival.value(row)),
            topic: topic.map(|topic| topic.value(row).to_owned()),
            partition: partition.map(|partition| partition.value(row)),
        }
    }

    fn late_ms(&self) -> i64 {
        self.event.late_ms()
    }
}

/// Reports as rows of the stream, with those of its columns that are read.
pub(crate) fn rows(reports: &[Report], schema: &SchemaRef) -> Result<Rows, ArrowError> {
    let texts = |text: &dyn Fn(&Report) -> Option<String>| -> ArrayRef {
        Arc::new(reports.iter().map(text).collect::<StringViewArray>())
    };
    let times = |time: &dyn Fn(&Report) -> i64| -> TimestampMicrosecondArray {
        reports.iter().map(|report| Some(time(report))).collect()
    };
    let time = times(&|report| report.time);
    let column = |field: &Arc<Field>| -> ArrayRef {
        match field.name().as_str() {
            "time" | system::TIME => Arc::new(time.clone()),
            "uid" => texts(&|report| Some(report.event.uid.to_string())),
            "stream" => texts(&|report| Some(report.event.stream.to_string())),
            "event_time" => Arc::new(times(&|report| report.event.time.0)),
            "late_ms" => Arc::new(reports.iter().map(|report| Some(report.late_ms())).collect::<Int64Array>()),
            "reason" => texts(&|report| Some(report.event.reason.as_str().to_owned())),
            "topic" => texts(&|report| report.topic.clone()),
            "partition" => Arc::new(reports.iter().map(|report| report.partition).collect::<Int32Array>()),
            system::RAW => Arc::new(reports.iter().map(|_| Some(b"")).collect::<BinaryViewArray>()),
            _ => new_null_array(field.data_type(), reports.len()),
        }
    };
    let columns = schema.fields().iter().map(column).collect();
    Ok(Rows {
        columns: batch_of(Arc::clone(schema), columns, reports.len())?,
        time,
        identity: Identity::Uid(uid_array(reports.iter().map(|report| report.event.uid))),
        arrival: reports.iter().map(|report| report.arrival).collect(),
        late_us: None,
        provisional: None,
        withdrawn: None,
    })
}
