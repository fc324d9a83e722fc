//! One detection over a stream of sign-ins, and events for it: what several benchmarks measure with.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryViewArray, RecordBatch, StringViewBuilder, TimestampMicrosecondArray, new_null_array,
};
use arrow::datatypes::{DataType, Field, Schema};
use weir_engine::catalog::TIME_TYPE;
use weir_engine::{Engine, PartitionId, Place, Program, Published, Query, SourceBatch, parse_catalog};

const STREAM: &str = "
CREATE STREAM signin (time TIMESTAMP, user_name STRING) WITH (event_time = 'time', lateness = '1 second');";
/// A whole hour, so that everything happens in one pane.
const BEGIN_US: i64 = 1_767_225_600_000_000;

/// The program of one detection.
pub(crate) fn program(sql: String) -> Arc<Program> {
    let (catalog, diagnostics) = parse_catalog(&[("signin.sql".to_owned(), STREAM.to_owned())]);
    assert_eq!(diagnostics, []);
    let query = Query {
        id: "keys".into(),
        sql,
        start: Place::START,
        params: BTreeMap::new(),
        allowed_lateness_us: 0,
        cooldown_us: None,
        cooldown_keys: vec![],
        exceptions: vec![],
        publish: vec![],
    };
    let (program, faults) = Program::compile(&catalog, &Published::default(), vec![query]);
    assert_eq!(faults, []);
    Arc::new(program)
}

/// One worker that waits for events.
pub(crate) fn engine(program: &Arc<Program>) -> Engine {
    let mut engine = Engine::new(Arc::clone(program), 1, &[]).expect("no tables are needed");
    engine.add_partition("signin", PartitionId(0));
    engine.start();
    engine
}

/// Events a microsecond apart, all within the hour; `key` is the user of each.
pub(crate) fn batch(program: &Program, range: Range<usize>, key: impl FnMut(usize) -> usize) -> SourceBatch {
    let (_, set) = program.columns("signin").expect("the query reads it");
    let rows = range.len();
    let times: TimestampMicrosecondArray = range.clone().map(|at| Some(BEGIN_US + at as i64)).collect();
    let times: ArrayRef = Arc::new(times);
    let mut users = StringViewBuilder::new();
    range.clone().map(key).for_each(|key| users.append_value(format!("user{key}@example.com")));
    let users: ArrayRef = Arc::new(users.finish());
    let raw: BinaryViewArray = range.map(|at| Some(at.to_le_bytes())).collect();
    let of_name = |name: &str| if name == "time" { Arc::clone(&times) } else { Arc::clone(&users) };
    let mut fields: Vec<Field> = set.columns.iter().map(|field| field.as_ref().clone()).collect();
    let mut columns: Vec<ArrayRef> = fields.iter().map(|field| of_name(field.name())).collect();
    fields.extend([
        Field::new("_time", TIME_TYPE, false),
        Field::new("_raw", DataType::BinaryView, false),
        Field::new("_arrival", TIME_TYPE, true),
    ]);
    columns.extend([times, Arc::new(raw) as ArrayRef, new_null_array(&TIME_TYPE, rows)]);
    let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("columns fit their fields");
    SourceBatch { stream: "signin".into(), partition: PartitionId(0), rows, late_us: None }
}
