//! Random events, partition by partition.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryViewArray, BooleanArray, Float64Array, Int64Array, RecordBatch, StringViewArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::catalog::TIME_TYPE;
use crate::{PartitionId, Program, SourceBatch, TableVersion, Uid};

const SECOND: i64 = 1_000_000;

/// The rows of the look-up table: a key with two rows, keys that match nothing, NULLs.
pub(super) const TABLE_ROWS: [(Option<&str>, Option<i64>, Option<&str>); 6] = [
    (Some("a"), Some(1), Some("x1")),
    (Some("a"), Some(3), Some("x2")),
    (Some("b"), None, Some("y")),
    (Some("q"), Some(2), Some("never")),
    (None, Some(2), Some("null key")),
    (Some("B"), Some(0), None),
];

/// One event. Equal events have equal bytes, and so are the same record twice.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Event {
    pub(super) time: i64,
    pub(super) k: Option<&'static str>,
    t: Option<&'static str>,
    pub(super) n: Option<i64>,
    /// In quarters, so that sums are exact and thresholds on them are not a matter of order.
    quarters: Option<i32>,
    b: Option<bool>,
    pub(super) arrival: Option<i64>,
}

/// The events of one partition, in its order.
#[derive(Debug, Clone)]
pub(super) struct Partition {
    pub(super) stream: &'static str,
    pub(super) number: u32,
    pub(super) events: Vec<Event>,
}

impl Event {
    /// Its bytes; also the column `id`.
    pub(super) fn id(&self, stream: &str) -> String {
        format!("{stream} {self:?}")
    }

    pub(super) fn uid(&self, stream: &str) -> Uid {
        Uid::of_record(stream, self.id(stream).as_bytes())
    }
}

/// How the time of an event stands to the greatest before it.
#[derive(Debug, Clone)]
enum Step {
    By(i64),
    /// To the next multiple of five seconds, and so many microseconds from it.
    ToEdge(i64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..3 * SECOND).prop_map(Step::By),
        4 => Just(Step::By(0)),
        3 => (-9 * SECOND..0).prop_map(Step::By),
        3 => (-1_i64..=1).prop_map(Step::ToEdge),
        2 => prop::sample::select(vec![-3 * SECOND, -3 * SECOND - 1, -10 * SECOND, -10 * SECOND - 1]).prop_map(Step::By),
        1 => Just(Step::By(-60 * SECOND)),
        1 => prop::sample::select(vec![600 * SECOND, 600 * SECOND + 1, 4000 * SECOND]).prop_map(Step::By),
    ]
}

fn fields() -> impl Strategy<Value = Event> {
    let k = prop::sample::select(vec![Some("a"), Some("a"), Some("b"), Some("c"), Some("7"), None]);
    let t = prop::sample::select(vec![Some("x"), Some("xy"), Some("y"), Some(""), Some("é"), None]);
    let n = prop_oneof![4 => (-3_i64..7).prop_map(Some), 1 => Just(None)];
    let quarters = prop_oneof![4 => (-4_i32..20).prop_map(Some), 1 => Just(None)];
    let b = prop::sample::select(vec![Some(true), Some(false), None]);
    (k, t, n, quarters, b).prop_map(|(k, t, n, quarters, b)| Event { time: 0, k, t, n, quarters, b, arrival: None })
}

/// When records arrive, where that is known: some time after the greatest time that can be true.
fn arrivals() -> impl Strategy<Value = Vec<Option<i64>>> {
    let after = prop::sample::select(vec![0, SECOND, 500 * SECOND]);
    prop_oneof![
        2 => Just(vec![None]),
        1 => prop::collection::vec(after.clone().prop_map(Some), 1..3),
        1 => prop::collection::vec(prop::option::of(after), 1..4),
    ]
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let one = (step(), fields(), prop::option::weighted(0.15, any::<Index>()));
    (prop::collection::vec(one, 0..24), arrivals()).prop_map(|(drawn, arrivals)| {
        let mut arrivals = arrivals.into_iter().cycle();
        let mut events: Vec<Event> = vec![];
        let mut greatest = 100 * SECOND;
        for (step, fields, repeated) in drawn {
            if let Some(index) = repeated.filter(|_| !events.is_empty()) {
                events.push(index.get(&events).clone());
                continue;
            }
            let time = match step {
                Step::By(by) => greatest + by,
                Step::ToEdge(by) => greatest - greatest.rem_euclid(5 * SECOND) + 5 * SECOND + by,
            };
            // What jumps beyond the guard may be a lie, so the rest goes on from where it was.
            if time - greatest <= 600 * SECOND {
                greatest = greatest.max(time);
            }
            let arrival = arrivals.next().flatten().map(|after| greatest + after);
            events.push(Event { time, arrival, ..fields });
        }
        events
    })
}

/// Up to three partitions of one stream and two of the other; some records are in two partitions.
pub(super) fn partitions() -> impl Strategy<Value = Vec<Partition>> {
    let of_s = prop::collection::vec(events(), 1..4);
    let of_r = prop::collection::vec(events(), 0..3);
    let copies = prop::collection::vec((any::<Index>(), any::<Index>(), any::<Index>()), 0..3);
    (of_s, of_r, copies).prop_map(|(mut of_s, of_r, copies)| {
        for (from, which, to) in copies {
            let event = match from.get(&of_s) {
                events if events.is_empty() => continue,
                events => which.get(events).clone(),
            };
            let to = to.index(of_s.len());
            of_s[to].push(event);
        }
        let number = |stream: &'static str, all: Vec<Vec<Event>>| {
            all.into_iter().zip(0..).map(move |(events, number)| Partition { stream, number, events })
        };
        number("s", of_s).chain(number("r", of_r)).collect()
    })
}

/// Some events as the columns that both streams declare.
pub(super) fn batch(stream: &str, events: &[Event]) -> RecordBatch {
    let times: TimestampMicrosecondArray = events.iter().map(|event| Some(event.time)).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("time", Arc::new(times)),
        ("id", Arc::new(events.iter().map(|event| Some(event.id(stream))).collect::<StringViewArray>())),
        ("k", Arc::new(events.iter().map(|event| event.k).collect::<StringViewArray>())),
        ("t", Arc::new(events.iter().map(|event| event.t).collect::<StringViewArray>())),
        ("n", Arc::new(events.iter().map(|event| event.n).collect::<Int64Array>())),
        (
            "f",
            Arc::new(events.iter().map(|event| event.quarters.map(|q| f64::from(q) / 4.0)).collect::<Float64Array>()),
        ),
        ("b", Arc::new(events.iter().map(|event| event.b).collect::<BooleanArray>())),
    ];
    let fields: Vec<Field> =
        columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), true)).collect();
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("columns fit their fields")
}

/// Some events as a decoder hands them to the engine.
pub(super) fn source_batch(program: &Program, partition: &Partition, events: &[Event]) -> SourceBatch {
    let (_, set) = program.columns(partition.stream).expect("the program reads the stream");
    let all = batch(partition.stream, events);
    let mut fields: Vec<Field> = set.columns.iter().map(|field| field.as_ref().clone()).collect();
    let mut columns: Vec<ArrayRef> = fields
        .iter()
        .map(|field| Arc::clone(all.column_by_name(field.name()).expect("only declared columns are read")))
        .collect();
    let raw: BinaryViewArray = events.iter().map(|event| Some(event.id(partition.stream).into_bytes())).collect();
    fields.extend([
        Field::new("_time", TIME_TYPE, false),
        Field::new("_raw", DataType::BinaryView, false),
        Field::new("_arrival", TIME_TYPE, true),
    ]);
    columns.extend([
        Arc::clone(all.column_by_name("time").expect("the time is there")),
        Arc::new(raw),
        Arc::new(events.iter().map(|event| event.arrival).collect::<TimestampMicrosecondArray>()),
    ]);
    let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("columns fit their fields");
    let number = PartitionId(partition.number);
    SourceBatch { stream: partition.stream.into(), partition: number, rows, late_us: None }
}

pub(super) fn table() -> TableVersion {
    let rows = RecordBatch::try_from_iter([
        ("key", Arc::new(TABLE_ROWS.iter().map(|row| row.0).collect::<StringViewArray>()) as ArrayRef),
        ("weight", Arc::new(TABLE_ROWS.iter().map(|row| row.1).collect::<Int64Array>())),
        ("tag", Arc::new(TABLE_ROWS.iter().map(|row| row.2).collect::<StringViewArray>())),
    ])
    .expect("columns of one length");
    TableVersion { name: "tab".into(), version: Uid::of_record("table", b"tab"), rows }
}
