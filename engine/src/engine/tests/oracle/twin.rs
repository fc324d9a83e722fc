//! The slow twin: lateness told naively, and alerts from DataFusion's batch over all rows at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringViewArray};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{Float64Type, TimestampMicrosecondType};
use arrow::row::{RowConverter, SortField};
use arrow::util::display::array_value_to_string;
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::TableSource;
use datafusion::prelude::{SessionConfig, SessionContext};

use super::events::{self, Event, Partition};
use super::grammar::Select;
use super::joins::Cause;
use crate::canonical::encode_rows;
use crate::sql::batch_rules;
use crate::{Catalog, EventTime, LateReason, PartitionId, Program, Uid, plan_batch};

const GUARD: i64 = 600_000_000;

fn lateness(stream: &str) -> i64 {
    if stream == "s" { 10_000_000 } else { 3_000_000 }
}

/// Why each event of a partition is late, or `None`. An event is late iff it is more than the lateness behind the
/// greatest earlier time. A jump beyond the guard waits: the next event that is not more than the guard behind it
/// confirms it and so does the end; after sixteen others, or when a nearer jump comes to wait instead, it is set aside. Where the arrival
/// of a record is known, nothing waits: it is set aside iff it is ahead of its arrival by more than the guard.
pub(super) fn judged(partition: &Partition) -> Vec<Option<LateReason>> {
    let mut verdicts: Vec<Option<LateReason>> = vec![None; partition.events.len()];
    let mut on_time: Vec<i64> = vec![];
    let mut waiting: Option<(usize, u32)> = None;
    let late = |on_time: &[i64], time: i64| {
        on_time.iter().any(|earlier| time < earlier - lateness(partition.stream)).then_some(LateReason::Lateness)
    };
    let jumps =
        |on_time: &[i64], time: i64| !on_time.is_empty() && on_time.iter().all(|earlier| time > earlier + GUARD);
    for (at, event) in partition.events.iter().enumerate() {
        if let Some((jump, others)) = waiting {
            let time = partition.events[jump].time;
            if event.time >= time - GUARD {
                on_time.push(time);
                waiting = None;
            } else if others == 15 || (event.arrival.is_none() && jumps(&on_time, event.time)) {
                verdicts[jump] = Some(LateReason::Future);
                waiting = None;
            } else {
                waiting = Some((jump, others + 1));
            }
        }
        if let Some(arrival) = event.arrival {
            verdicts[at] = match event.time > arrival + GUARD {
                true => Some(LateReason::Future),
                false => late(&on_time, event.time),
            };
            on_time.extend(verdicts[at].is_none().then_some(event.time));
            continue;
        }
        if jumps(&on_time, event.time) && waiting.is_none() {
            waiting = Some((at, 0));
            continue;
        }
        verdicts[at] = late(&on_time, event.time);
        on_time.extend(verdicts[at].is_none().then_some(event.time));
    }
    verdicts
}

/// All late events: stream, partition, time, uid and reason.
pub(super) fn late_events<'a>(
    partitions: impl Iterator<Item = &'a Partition>,
) -> Vec<(String, Option<PartitionId>, EventTime, Uid, LateReason)> {
    partitions
        .flat_map(|partition| {
            let verdicts = partition.events.iter().zip(judged(partition));
            verdicts.filter_map(|(event, reason)| {
                let number = Some(PartitionId(partition.number));
                Some((partition.stream.to_owned(), number, EventTime(event.time), event.uid(partition.stream), reason?))
            })
        })
        .collect()
}

/// The events of a stream, all or those on time.
pub(super) fn rows_of(stream: &str, partitions: &[Partition], only_on_time: bool) -> RecordBatch {
    let events: Vec<Event> = partitions
        .iter()
        .filter(|partition| partition.stream == stream)
        .flat_map(|partition| {
            let verdicts = partition.events.iter().cloned().zip(judged(partition));
            verdicts.filter(|(_, late)| late.is_none() || !only_on_time).map(|(event, _)| event)
        })
        .collect();
    let rows = events::batch(stream, &events);
    let uids: StringViewArray = events.iter().map(|event| Some(event.uid(stream).to_string())).collect();
    let mut columns: Vec<(String, ArrayRef)> = vec![];
    for (field, column) in rows.schema().fields().iter().zip(rows.columns()) {
        columns.push((field.name().clone(), Arc::clone(column)));
    }
    columns.push(("_time".to_owned(), Arc::clone(rows.column_by_name("time").expect("the time is there"))));
    columns.push(("_uid".to_owned(), Arc::new(uids)));
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)))
        .expect("columns of one length")
}

/// The answer of batch to a query.
fn batch_answer(catalog: &Catalog, select: &Select, partitions: &[Partition]) -> Vec<RecordBatch> {
    let source = |name: &str| -> Option<Arc<dyn TableSource>> {
        let rows = match name {
            "s" | "r" => rows_of(name, partitions, select.only_on_time),
            "tab" => events::table().rows,
            _ => return None,
        };
        let table = MemTable::try_new(rows.schema(), vec![vec![rows]]).expect("rows of one schema");
        Some(provider_as_source(Arc::new(table)))
    };
    let plan = plan_batch(catalog, select.batch.as_ref().unwrap_or(&select.sql), &BTreeMap::new(), &source)
        .expect("what runs live runs in batch");
    // DataFusion 55 takes `x NOT IN ('a', NULL)` for never NULL when it plans, and then finds that it can be.
    let unchecked = "datafusion.execution.skip_physical_aggregate_schema_check";
    let config = SessionConfig::new().with_target_partitions(1).set_bool(unchecked, true);
    let state = SessionStateBuilder::new_with_default_features().with_config(config);
    let context = SessionContext::new_with_state(state.with_physical_optimizer_rules(batch_rules()).build());
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let answer = runtime.block_on(async { context.execute_logical_plan(plan).await?.collect().await });
    answer.unwrap_or_else(|error| panic!("batch answers {}: {error}", select.sql))
}

/// The records that the alerts of a query must end with.
pub(super) fn records(
    catalog: &Catalog,
    program: &Program,
    index: usize,
    select: &Select,
    partitions: &[Partition],
) -> BTreeMap<Uid, String> {
    let schema = program.output_schema(index).expect("the query compiled");
    let answer = batch_answer(catalog, select, partitions);
    let parts: Vec<RecordBatch> = answer
        .iter()
        .map(|part| {
            let columns = part.columns().iter().zip(schema.fields());
            let columns =
                columns.map(|(column, field)| cast(column, field.data_type()).expect("the same type")).collect();
            RecordBatch::try_new(Arc::clone(schema), columns).expect("the same columns")
        })
        .collect();
    let rows = concat_batches(schema, &parts).expect("parts of one schema");
    let fields = schema.fields().iter().map(|field| SortField::new(field.data_type().clone())).collect();
    let converter = RowConverter::new(fields).expect("columns that have an order");
    let order = converter.convert_columns(rows.columns()).expect("columns that have an order");

    let mut alerts: BTreeMap<Uid, Vec<usize>> = BTreeMap::new();
    for (row, cause) in causes(&rows, select).into_iter().enumerate() {
        alerts.entry(Uid::of_cause([format!("q{index}").as_bytes(), &cause.0])).or_default().push(row);
    }
    let on_time = ids_on_time(partitions);
    let time_column = select.groups.map_or(0, |groups| groups + 1);
    let alerts = alerts.into_iter().map(|(uid, same)| {
        let row = *same.iter().min_by_key(|row| order.row(**row)).expect("an alert has a row");
        let is_late = select.groups.is_none() && select.joined.is_none() && !on_time.contains(&text(&rows, "id", row));
        let time = rows.column(time_column).as_primitive::<TimestampMicrosecondType>().value(row);
        Alert { uid, time, row, count: same.len() as u64, is_late, suppressed_by: None }
    });
    let mut alerts: Vec<Alert> = alerts.collect();
    if let Some((period, keys)) = &select.cooldown {
        let key = |row: usize| {
            keys.iter().map(|key| cell(rows.column_by_name(key).expect("a column"), row)).collect::<Vec<_>>().join("|")
        };
        suppress(&mut alerts, *period, &key);
    }
    let told = |alert: Alert| (alert.uid, show(&rows, alert.row, alert.count, alert.is_late, alert.suppressed_by));
    alerts.into_iter().map(told).collect()
}

/// What batch says of one alert.
struct Alert {
    uid: Uid,
    time: i64,
    row: usize,
    count: u64,
    is_late: bool,
    suppressed_by: Option<Uid>,
}

/// In order of time and uid, per key: a repeat within the period of the last alert that was not suppressed is suppressed
/// by it. Late alerts stand apart.
fn suppress(alerts: &mut [Alert], period: i64, key: &dyn Fn(usize) -> String) {
    alerts.sort_by_key(|alert| (alert.time, alert.uid));
    let mut leads: BTreeMap<String, usize> = BTreeMap::new();
    for at in (0..alerts.len()).filter(|at| !alerts[*at].is_late).collect::<Vec<_>>() {
        let key = key(alerts[at].row);
        match leads.get(&key).copied().filter(|lead| alerts[at].time - alerts[*lead].time < period) {
            Some(lead) => {
                alerts[at].suppressed_by = Some(alerts[lead].uid);
                alerts[lead].count += 1;
            }
            None => drop(leads.insert(key, at)),
        }
    }
}

/// The `id` of every event of which some copy is on time.
fn ids_on_time(partitions: &[Partition]) -> BTreeSet<String> {
    let on_time = |partition: &Partition| -> Vec<String> {
        let verdicts = partition.events.iter().zip(judged(partition));
        verdicts.filter(|(_, late)| late.is_none()).map(|(event, _)| event.id(partition.stream)).collect()
    };
    partitions.iter().flat_map(on_time).collect()
}

fn text(rows: &RecordBatch, name: &str, row: usize) -> String {
    rows.column_by_name(name).expect("the column is selected").as_string_view().value(row).to_owned()
}

/// What each row was caused by: its event, or its group and window.
fn causes(rows: &RecordBatch, select: &Select) -> Vec<Uid> {
    if let Some(cause) = &select.joined {
        let whole = |row: usize| cause_of(rows, row, cause).expect("a row of a join has a cause");
        return (0..rows.num_rows()).map(whole).collect();
    }
    let Some(groups) = select.groups else {
        let of_event = |row: usize| {
            let id = text(rows, "id", row);
            Uid::of_record(id.split(' ').next().expect("an id begins with its stream"), id.as_bytes())
        };
        return (0..rows.num_rows()).map(of_event).collect();
    };
    let keys = encode_rows(&rows.columns()[..groups], rows.num_rows()).expect("keys have an encoding");
    let instant = |column: usize, row: usize| {
        rows.column(column).as_primitive::<TimestampMicrosecondType>().value(row).to_le_bytes()
    };
    let cause = |(row, key): (usize, &Vec<u8>)| {
        if select.has_sessions {
            return Uid::of_cause([b"session".as_slice(), key, &instant(groups, row)]);
        }
        Uid::of_cause([b"window".as_slice(), key, &instant(groups, row), &instant(groups + 1, row)])
    };
    keys.iter().enumerate().map(cause).collect()
}

/// What one row was caused by; `None` for the side of a join that has no row.
fn cause_of(rows: &RecordBatch, row: usize, cause: &Cause) -> Option<Uid> {
    let column = |name: &str| rows.column_by_name(name).expect("the column is selected");
    match cause {
        Cause::Event(id) => column(id).is_valid(row).then(|| {
            let id = text(rows, id, row);
            Uid::of_record(id.split(' ').next().expect("an id begins with its stream"), id.as_bytes())
        }),
        Cause::Window([key, start, end]) => column(end).is_valid(row).then(|| {
            let key = encode_rows(&[column(key).slice(row, 1)], 1).expect("a key has an encoding");
            let at = |name: &str| column(name).as_primitive::<TimestampMicrosecondType>().value(row).to_le_bytes();
            Uid::of_cause([b"window".as_slice(), &key[0], &at(start), &at(end)])
        }),
        Cause::Join(left, right) => {
            let (left, right) = (cause_of(rows, row, left), cause_of(rows, row, right));
            let bytes = |side: &Option<Uid>| side.map_or_else(Vec::new, |uid| uid.0.to_vec());
            Some(Uid::of_cause([b"join".as_slice(), &bytes(&left), &bytes(&right)]))
        }
    }
}

/// A record as text: the row, its count, whether it is late, what suppresses it. Floats are told to twelve digits.
pub(super) fn show(row: &RecordBatch, at: usize, count: u64, is_late: bool, suppressed_by: Option<Uid>) -> String {
    let cells: Vec<String> = row.columns().iter().map(|column| cell(column, at)).collect();
    let by = suppressed_by.map(|by| format!(" suppressed by {by}")).unwrap_or_default();
    format!("{} x{count}{}{by}", cells.join("|"), if is_late { " late" } else { "" })
}

fn cell(column: &ArrayRef, at: usize) -> String {
    if column.is_null(at) {
        return "NULL".to_owned();
    }
    match column.as_primitive_opt::<Float64Type>() {
        // What is left of a sum that cancels itself out is noise.
        Some(floats) if floats.value(at).abs() < 1e-9 => "0".to_owned(),
        Some(floats) => format!("{:.11e}", floats.value(at)),
        None => array_value_to_string(column, at).expect("printable"),
    }
}
