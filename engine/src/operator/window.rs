//! Grouped aggregates over windows. State is panes: each holds the groups of one window, and closing drops it whole.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, TimestampMicrosecondArray, UInt64Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, SchemaRef, TimestampMicrosecondType};
use arrow::row::{RowConverter, Rows as EncodedRows, SortField};
use hashbrown::HashTable;

use super::admit::admitted;
use super::aggregates::{Arguments, GroupAggregate, state_schema};
use super::{Operator, Outbox};
use crate::canonical::{encode_rows, key_group};
use crate::catalog::TIME_TYPE;
use crate::error::EngineError;
use crate::graph::WindowSpec;
use crate::identity::Uid;
use crate::rows::{Identity, Rows, batch_of, uid_array};
use crate::sql::total::{evaluate, evaluate_predicate};
use crate::table::TableVersion;
use crate::time::EventTime;

/// The one window operator; the kind of window is data.
pub(super) struct Window {
    spec: WindowSpec,
    output: SchemaRef,
    input: SchemaRef,
    converter: RowConverter,
    key_types: Vec<DataType>,
    /// Open panes by the end of their window, so that the first to close come first.
    panes: BTreeMap<i64, Pane>,
    watermark: EventTime,
}

/// The groups of one window.
struct Pane {
    start: i64,
    keys: EncodedRows,
    index: HashTable<u32>,
    aggregates: Vec<GroupAggregate>,
    fired: Vec<bool>,
    arrival: Vec<Option<i64>>,
}

impl Window {
    pub(super) fn new(spec: WindowSpec, output: SchemaRef, input: SchemaRef) -> Result<Self, EngineError> {
        let key_types = spec.keys.iter().map(|(expr, _)| expr.data_type(&input)).collect::<Result<Vec<_>, _>>()?;
        let converter = RowConverter::new(key_types.iter().cloned().map(SortField::new).collect())?;
        Ok(Self { spec, output, input, converter, key_types, panes: BTreeMap::new(), watermark: EventTime::MIN })
    }

    fn new_pane(&self, start: i64) -> Result<Pane, EngineError> {
        let groups = self.output.fields().len() - self.spec.aggregates.len();
        let aggregates = self
            .spec
            .aggregates
            .iter()
            .enumerate()
            .map(|(index, spec)| GroupAggregate::new(spec, self.output.field(groups + index).data_type(), &self.input))
            .collect::<Result<Vec<_>, _>>()?;
        let keys = self.converter.empty_rows(0, 0);
        Ok(Pane { start, keys, index: HashTable::new(), aggregates, fired: vec![], arrival: vec![] })
    }

    /// The rows of each pane, panes in order.
    fn split(&self, times: &TimestampMicrosecondArray) -> Vec<(i64, Option<UInt64Array>)> {
        let starts: Vec<i64> = times.values().iter().map(|time| self.spec.kind.start_of(*time)).collect();
        if starts.windows(2).all(|pair| pair[0] == pair[1]) {
            return starts.first().map(|start| (*start, None)).into_iter().collect();
        }
        let mut rows: BTreeMap<i64, Vec<u64>> = BTreeMap::new();
        for (row, start) in starts.iter().enumerate() {
            rows.entry(*start).or_default().push(row as u64);
        }
        rows.into_iter().map(|(start, rows)| (start, Some(UInt64Array::from(rows)))).collect()
    }

    /// The output of some groups of a pane.
    fn output(&mut self, end: i64, groups: &[u32], is_provisional: bool) -> Result<Option<Rows>, EngineError> {
        let Some(pane) = self.panes.get_mut(&end) else { return Ok(None) };
        let rows = groups.len();
        let keys = self.converter.convert_rows(groups.iter().map(|group| pane.keys.row(*group as usize)))?;
        let group_columns = self.output.fields().len() - self.spec.aggregates.len();
        let instants = |us: i64| -> ArrayRef { Arc::new(TimestampMicrosecondArray::from(vec![us; rows])) };
        let mut columns: Vec<Option<ArrayRef>> = vec![None; group_columns];
        for ((_, place), values) in self.spec.keys.iter().zip(&keys) {
            columns[*place] = Some(Arc::clone(values));
        }
        self.spec.starts.iter().for_each(|place| columns[*place] = Some(instants(pane.start)));
        self.spec.ends.iter().for_each(|place| columns[*place] = Some(instants(end)));
        let mut columns: Vec<ArrayRef> = columns.into_iter().flatten().collect();
        for (index, aggregate) in pane.aggregates.iter_mut().enumerate() {
            columns.push(aggregate.peek(groups, self.output.field(group_columns + index).data_type())?);
        }
        let columns = super::stateless::conform(&columns, &self.output)?;
        let causes = encode_rows(&keys, rows)?.into_iter().map(|key| cause(&key, pane.start, end));
        let arrival = groups.iter().map(|group| pane.arrival[*group as usize]).collect::<TimestampMicrosecondArray>();
        Ok(Some(Rows {
            columns: batch_of(Arc::clone(&self.output), columns, rows)?,
            time: TimestampMicrosecondArray::from(vec![end; rows]),
            identity: Identity::Uid(uid_array(causes)),
            arrival,
            late: None,
            provisional: is_provisional.then(|| BooleanArray::from(vec![true; rows])),
        }))
    }

    /// States groups for which the early condition first holds.
    fn fire_early(&mut self, end: i64, touched: &[u32], out: &mut Outbox) -> Result<(), EngineError> {
        let Some(early) = self.spec.early.clone() else { return Ok(()) };
        let Some(pane) = self.panes.get(&end) else { return Ok(()) };
        let mut waiting: Vec<u32> = touched.iter().copied().filter(|group| !pane.fired[*group as usize]).collect();
        waiting.sort_unstable();
        waiting.dedup();
        if waiting.is_empty() {
            return Ok(());
        }
        let Some(rows) = self.output(end, &waiting, true)? else { return Ok(()) };
        let holds = evaluate_predicate(early.as_ref(), &rows.columns, &mut out.failures)?;
        if holds.true_count() == 0 {
            return Ok(());
        }
        if let Some(pane) = self.panes.get_mut(&end) {
            let crossed = waiting.iter().zip(holds.values().iter()).filter(|(_, holds)| *holds);
            crossed.for_each(|(group, _)| pane.fired[*group as usize] = true);
        }
        out.rows.push(rows.filter(&holds)?);
        Ok(())
    }
}

/// The identity of a group in a window.
fn cause(key: &[u8], start: i64, end: i64) -> Uid {
    Uid::of_cause([b"window".as_slice(), key, &start.to_le_bytes(), &end.to_le_bytes()])
}

impl Pane {
    /// The group of each row, new groups added.
    fn groups(&mut self, keys: &EncodedRows, rows: usize) -> Vec<u32> {
        let mut groups = Vec::with_capacity(rows);
        for row in 0..rows {
            let key = keys.row(row);
            let hash = xxhash_rust::xxh3::xxh3_64(key.as_ref());
            let known = &self.keys;
            let found = self.index.find(hash, |group| known.row(*group as usize) == key).copied();
            let group = found.unwrap_or_else(|| {
                let group = self.fired.len() as u32;
                self.keys.push(key);
                self.fired.push(false);
                self.arrival.push(None);
                let known = &self.keys;
                self.index.insert_unique(hash, group, |group| {
                    xxhash_rust::xxh3::xxh3_64(known.row(*group as usize).as_ref())
                });
                group
            });
            groups.push(group);
        }
        groups
    }

    fn note_arrival(&mut self, groups: &[u32], arrival: &TimestampMicrosecondArray) {
        if arrival.null_count() == arrival.len() {
            return;
        }
        for (row, group) in groups.iter().enumerate() {
            if arrival.is_valid(row) {
                let latest = &mut self.arrival[*group as usize];
                *latest = (*latest).max(Some(arrival.value(row)));
            }
        }
    }
}

impl Operator for Window {
    fn rows(&mut self, _input: usize, rows: Rows, out: &mut Outbox) -> Result<(), EngineError> {
        let rows = admitted(rows, self.watermark, out)?;
        if rows.is_empty() {
            return Ok(());
        }
        let keys = self
            .spec
            .keys
            .iter()
            .map(|(expr, _)| evaluate(expr.as_ref(), &rows.columns, &mut out.failures))
            .collect::<Result<Vec<_>, _>>()?;
        let arguments = self
            .spec
            .aggregates
            .iter()
            .map(|spec| Arguments::evaluate(spec, &rows.columns, &mut out.failures))
            .collect::<Result<Vec<_>, _>>()?;
        for (start, indices) in self.split(&rows.time) {
            let (keys, arrival, count) = match &indices {
                None => (keys.clone(), rows.arrival.clone(), rows.len()),
                Some(indices) => {
                    let taken = keys.iter().map(|key| take(key, indices, None)).collect::<Result<Vec<_>, _>>()?;
                    (taken, take(&rows.arrival, indices, None)?.as_primitive().clone(), indices.len())
                }
            };
            let encoded = if keys.is_empty() {
                no_keys(&self.converter, count)
            } else {
                self.converter.convert_columns(&keys)?
            };
            let end = self.spec.kind.end_of(start);
            if !self.panes.contains_key(&end) {
                let pane = self.new_pane(start)?;
                self.panes.insert(end, pane);
            }
            let Some(pane) = self.panes.get_mut(&end) else { continue };
            let groups = pane.groups(&encoded, count);
            pane.note_arrival(&groups, &arrival);
            let total = pane.fired.len();
            for (aggregate, arguments) in pane.aggregates.iter_mut().zip(&arguments) {
                match &indices {
                    None => aggregate.update(arguments, &groups, total)?,
                    Some(indices) => aggregate.update(&arguments.take(indices)?, &groups, total)?,
                }
            }
            self.fire_early(end, &groups, out)?;
        }
        Ok(())
    }

    fn watermark(&mut self, watermark: EventTime, out: &mut Outbox) -> Result<(), EngineError> {
        self.watermark = self.watermark.max(watermark);
        while let Some((end, pane)) = self.panes.first_key_value() {
            if *end > watermark.0 {
                break;
            }
            let (end, groups) = (*end, (0..pane.fired.len() as u32).collect::<Vec<_>>());
            out.rows.extend(self.output(end, &groups, false)?);
            self.panes.remove(&end);
        }
        Ok(())
    }

    fn table(&mut self, _table: &TableVersion) -> Result<(), EngineError> {
        Ok(())
    }

    /// One batch per pane: the window's start, whether the group has fired, its arrival, its keys, its aggregates.
    fn snapshot(&mut self) -> Result<Vec<RecordBatch>, EngineError> {
        let mut batches = vec![];
        for pane in self.panes.values_mut() {
            let count = pane.fired.len();
            let keys = self.converter.convert_rows(pane.keys.iter())?;
            let states =
                pane.aggregates.iter_mut().map(|aggregate| aggregate.state(count)).collect::<Result<Vec<_>, _>>()?;
            let mut leading = vec![
                Field::new("start", TIME_TYPE, false),
                Field::new("fired", DataType::Boolean, false),
                Field::new("arrival", TIME_TYPE, true),
            ];
            leading.extend(self.key_types.iter().map(|key| Field::new("key", key.clone(), true)));
            let schema = state_schema(&leading, &states);
            let mut columns: Vec<ArrayRef> = vec![
                Arc::new(TimestampMicrosecondArray::from(vec![pane.start; count])),
                Arc::new(BooleanArray::from(pane.fired.clone())),
                Arc::new(TimestampMicrosecondArray::from(pane.arrival.clone())),
            ];
            columns.extend(keys);
            columns.extend(states.into_iter().flatten());
            batches.push(batch_of(schema, columns, count)?);
        }
        Ok(batches)
    }

    fn restore(&mut self, state: &[RecordBatch], owns: &dyn Fn(u32) -> bool) -> Result<(), EngineError> {
        let key_columns = 3..3 + self.spec.keys.len();
        for batch in state {
            let keys: Vec<ArrayRef> = batch.columns()[key_columns.clone()].to_vec();
            let owned: BooleanArray =
                encode_rows(&keys, batch.num_rows())?.iter().map(|key| Some(owns(key_group(key)))).collect();
            let batch = arrow::compute::filter_record_batch(batch, &owned)?;
            if batch.num_rows() == 0 {
                continue;
            }
            let start = batch.column(0).as_primitive::<TimestampMicrosecondType>().value(0);
            let end = self.spec.kind.end_of(start);
            if !self.panes.contains_key(&end) {
                let pane = self.new_pane(start)?;
                self.panes.insert(end, pane);
            }
            let Some(pane) = self.panes.get_mut(&end) else { continue };
            let keys = &batch.columns()[key_columns.clone()];
            let encoded = if keys.is_empty() {
                no_keys(&self.converter, batch.num_rows())
            } else {
                self.converter.convert_columns(keys)?
            };
            let groups = pane.groups(&encoded, batch.num_rows());
            pane.note_arrival(&groups, batch.column(2).as_primitive());
            for (row, group) in groups.iter().enumerate() {
                pane.fired[*group as usize] |= batch.column(1).as_boolean().value(row);
            }
            let total = pane.fired.len();
            let mut at = key_columns.end;
            for aggregate in &mut pane.aggregates {
                let width = aggregate.state_width()?;
                aggregate.merge(&batch.columns()[at..at + width], &groups, total)?;
                at += width;
            }
        }
        Ok(())
    }
}

/// The encoded keys of rows that are all of one group.
fn no_keys(converter: &RowConverter, rows: usize) -> EncodedRows {
    let mut encoded = converter.empty_rows(rows, 0);
    let parser = converter.parser();
    (0..rows).for_each(|_| encoded.push(parser.parse(&[])));
    encoded
}
