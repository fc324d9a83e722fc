//! Grouped aggregates over windows. State is panes: each holds the groups of one slice of time that no boundary of a
//! window cuts, so that a row is aggregated once however many windows it is in. A window that closes merges its panes,
//! and a pane is dropped whole when no open window needs it.
//!
//! A monotone condition lets a group state itself as soon as it holds. Where windows overlap, a group is first measured
//! over a stretch that covers all windows of the row: only where the condition holds there can it hold in one of them.

mod groups;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch, TimestampMicrosecondArray, UInt64Array};
use arrow::compute::{filter_record_batch, take};
use arrow::datatypes::{Field, SchemaRef, TimestampMicrosecondType};
use datafusion::physical_expr::utils::collect_columns;

use self::groups::{Form, Groups};
use super::admit::admitted;
use super::aggregates::{Arguments, state_schema};
use super::{Operator, Outbox};
use crate::canonical::{encode_rows, key_group};
use crate::catalog::TIME_TYPE;
use crate::error::EngineError;
use crate::graph::WindowSpec;
use crate::identity::Uid;
use crate::rows::{Identity, Rows, batch_of, uid_array};
use crate::sql::total::{evaluate, evaluate_predicate};
use crate::sql::window_kind::floor;
use crate::table::TableVersion;
use crate::time::EventTime;

/// The one window operator; the kind of window is data.
pub(super) struct Window {
    spec: WindowSpec,
    output: SchemaRef,
    form: Form,
    /// Panes by the start of their slice.
    panes: BTreeMap<i64, Groups>,
    /// Keys that have stated themselves early, by the end of their window. They are not saved: who states itself once more
    /// is known to [`Emit`](super::emit::Emit), and says nothing new.
    fired: BTreeMap<i64, HashSet<Box<[u8]>>>,
    /// Stretches as long as the longest window, kept where early conditions meet overlapping windows.
    stretches: BTreeMap<i64, Groups>,
    /// Whether the early condition can be asked of a stretch, which has no window.
    has_stretches: bool,
    /// Windows that end up to here are closed.
    watermark: EventTime,
}

/// The first column of a saved pane.
const PANE: &str = "pane";
/// How many columns of a saved pane stand before its keys.
const LEADING: usize = 3;

impl Window {
    pub(super) fn new(spec: WindowSpec, output: SchemaRef, input: SchemaRef) -> Result<Self, EngineError> {
        let form = Form::new(&spec, &output, input)?;
        let names_window = |place: usize| spec.starts.contains(&place) || spec.ends.contains(&place);
        let has_stretches = !spec.kind.is_disjoint()
            && spec
                .early
                .as_ref()
                .is_some_and(|early| !collect_columns(early).iter().any(|column| names_window(column.index())));
        Ok(Self {
            spec,
            output,
            form,
            panes: BTreeMap::new(),
            fired: BTreeMap::new(),
            stretches: BTreeMap::new(),
            has_stretches,
            watermark: EventTime::MIN,
        })
    }

    /// The rows of each slice, slices in order. Rows that are in no window are in no slice.
    fn split(&self, times: &TimestampMicrosecondArray) -> Vec<(i64, Option<UInt64Array>)> {
        let slices: Vec<Option<i64>> = times.values().iter().map(|time| self.spec.kind.slice_of(*time)).collect();
        if slices.windows(2).all(|pair| pair[0] == pair[1]) {
            return slices.first().copied().flatten().map(|slice| (slice, None)).into_iter().collect();
        }
        let mut rows: BTreeMap<i64, Vec<u64>> = BTreeMap::new();
        for (row, slice) in slices.iter().enumerate() {
            rows.entry(slice.unwrap_or(i64::MIN)).or_default().extend(slice.map(|_| row as u64));
        }
        rows.retain(|_, rows| !rows.is_empty());
        rows.into_iter().map(|(slice, rows)| (slice, Some(UInt64Array::from(rows)))).collect()
    }

    /// States groups for which the early condition first holds in a window of the slice.
    fn fire_early(&mut self, slice: i64, touched: &[u32], out: &mut Outbox) -> Result<(), EngineError> {
        let Some(early) = self.spec.early.clone() else { return Ok(()) };
        let mut touched = touched.to_vec();
        touched.sort_unstable();
        touched.dedup();
        if self.has_stretches {
            self.retain_near(slice, &mut touched)?;
        }
        if touched.is_empty() {
            return Ok(());
        }
        let windows = self.spec.kind.windows_of(slice).filter(|(_, end)| *end > self.watermark.0);
        for (start, end) in windows.collect::<Vec<_>>() {
            let Some(pane) = self.panes.get_mut(&slice) else { return Ok(()) };
            let fired = self.fired.get(&end);
            let has_fired =
                |group: u32| fired.is_some_and(|fired| fired.contains(pane.keys.row(group as usize).as_ref()));
            let waiting: Vec<u32> = touched.iter().copied().filter(|group| !has_fired(*group)).collect();
            if waiting.is_empty() {
                continue;
            }
            let mut merged: Groups;
            let (groups, which) = if self.spec.kind.is_disjoint() {
                (pane, waiting)
            } else {
                merged = self.merged_some(slice, &waiting, start, end)?;
                let all = (0..merged.len() as u32).collect();
                (&mut merged, all)
            };
            let rows = stated(&self.spec, &self.output, &self.form, groups, (start, end), &which, true)?;
            let holds = evaluate_predicate(early.as_ref(), &rows.columns, &mut out.failures)?;
            if holds.true_count() > 0 {
                let crossed = which.iter().zip(holds.values().iter()).filter(|(_, holds)| *holds);
                let keys = crossed.map(|(group, _)| Box::from(groups.keys.row(*group as usize).as_ref()));
                self.fired.entry(end).or_default().extend(keys);
                out.rows.push(rows.filter(&holds)?);
            }
        }
        Ok(())
    }

    /// Leaves only groups of a pane for which the early condition holds over the stretches around it.
    fn retain_near(&mut self, slice: i64, touched: &mut Vec<u32>) -> Result<(), EngineError> {
        let (Some(early), Some(pane)) = (&self.spec.early, self.panes.get(&slice)) else { return Ok(()) };
        let stretch = self.stretch_of(slice);
        let size = self.spec.kind.size_us();
        let mut near = self.form.groups()?;
        for group in touched.iter() {
            near.find_or_add(pane.keys.row(*group as usize));
        }
        let around = self.stretches.range_mut(stretch.saturating_sub(size)..=stretch.saturating_add(size));
        for (_, stretch) in around {
            let here: Vec<u32> = near.keys.iter().filter_map(|key| stretch.find(key)).collect();
            near.absorb(stretch, &here)?;
        }
        let all: Vec<u32> = (0..near.len() as u32).collect();
        let rows = stated(&self.spec, &self.output, &self.form, &mut near, (slice, slice), &all, true)?;
        // What cannot be computed is counted where a window is stated.
        let holds = evaluate_predicate(early.as_ref(), &rows.columns, &mut 0)?;
        let mut holds = holds.values().iter();
        touched.retain(|_| holds.next().unwrap_or(false));
        Ok(())
    }

    fn stretch_of(&self, slice: i64) -> i64 {
        floor(slice, self.spec.kind.size_us(), 0)
    }

    /// Some groups of a pane, merged over a window that the pane is in.
    fn merged_some(&mut self, slice: i64, some: &[u32], start: i64, end: i64) -> Result<Groups, EngineError> {
        let mut merged = self.form.groups()?;
        if let Some(pane) = self.panes.get(&slice) {
            for group in some {
                merged.find_or_add(pane.keys.row(*group as usize));
            }
        }
        for (_, pane) in self.panes.range_mut(start..end) {
            let here: Vec<u32> = merged.keys.iter().filter_map(|key| pane.find(key)).collect();
            merged.absorb(pane, &here)?;
        }
        Ok(merged)
    }

    /// States all groups of a window for good.
    fn close(&mut self, end: i64, out: &mut Outbox) -> Result<(), EngineError> {
        let start = self.spec.kind.start_of(end);
        let mut panes: Vec<&mut Groups> = self.panes.range_mut(start..end).map(|(_, pane)| pane).collect();
        let all = |groups: &Groups| (0..groups.len() as u32).collect::<Vec<_>>();
        let rows = if let [pane] = panes.as_mut_slice() {
            let groups = all(pane);
            stated(&self.spec, &self.output, &self.form, pane, (start, end), &groups, false)?
        } else {
            let mut merged = self.form.groups()?;
            for pane in panes {
                let groups = all(pane);
                merged.absorb(pane, &groups)?;
            }
            let groups = all(&merged);
            stated(&self.spec, &self.output, &self.form, &mut merged, (start, end), &groups, false)?
        };
        out.rows.push(rows);
        Ok(())
    }

    /// One batch with some leading columns, keys and aggregates of a pane.
    fn saved_pane(&self, slice: i64, pane: &mut Groups) -> Result<RecordBatch, EngineError> {
        let count = pane.len();
        let keys = self.form.converter.convert_rows(pane.keys.iter())?;
        let states =
            pane.aggregates.iter_mut().map(|aggregate| aggregate.state(count)).collect::<Result<Vec<_>, _>>()?;
        let mut leading = vec![
            Field::new(PANE, TIME_TYPE, false),
            Field::new("watermark", TIME_TYPE, false),
            Field::new("arrival", TIME_TYPE, true),
        ];
        leading.extend(self.form.key_types.iter().map(|key| Field::new("key", key.clone(), true)));
        let schema = state_schema(&leading, &states);
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(TimestampMicrosecondArray::from(vec![slice; count])),
            Arc::new(TimestampMicrosecondArray::from(vec![self.watermark.0; count])),
            Arc::new(TimestampMicrosecondArray::from(pane.arrival.clone())),
        ];
        columns.extend(keys);
        columns.extend(states.into_iter().flatten());
        Ok(batch_of(schema, columns, count)?)
    }

    fn restore_pane(&mut self, batch: &RecordBatch) -> Result<(), EngineError> {
        let instant = |column: usize| batch.column(column).as_primitive::<TimestampMicrosecondType>().value(0);
        let (slice, watermark) = (instant(0), instant(1));
        self.watermark = self.watermark.max(EventTime(watermark));
        let first = LEADING + self.spec.keys.len();
        let encoded = self.form.encode(&batch.columns()[LEADING..first], batch.num_rows())?;
        let mut pane = match self.panes.remove(&slice) {
            Some(pane) => pane,
            None => self.form.groups()?,
        };
        let groups = pane.of_rows(&encoded);
        pane.note_arrival(&groups, batch.column(2).as_primitive());
        let (total, mut at) = (pane.len(), first);
        for aggregate in &mut pane.aggregates {
            let width = aggregate.state_width()?;
            aggregate.merge(&batch.columns()[at..at + width], &groups, total)?;
            at += width;
        }
        if self.has_stretches {
            let stretch = self.stretch_of(slice);
            let mut around = match self.stretches.remove(&stretch) {
                Some(around) => around,
                None => self.form.groups()?,
            };
            around.absorb(&mut pane, &groups)?;
            self.stretches.insert(stretch, around);
        }
        self.panes.insert(slice, pane);
        Ok(())
    }
}

/// What some groups say of a window.
fn stated(
    spec: &WindowSpec,
    output: &SchemaRef,
    form: &Form,
    groups: &mut Groups,
    (start, end): (i64, i64),
    which: &[u32],
    is_provisional: bool,
) -> Result<Rows, EngineError> {
    let rows = which.len();
    let keys = form.converter.convert_rows(which.iter().map(|group| groups.keys.row(*group as usize)))?;
    let group_columns = output.fields().len() - spec.aggregates.len();
    let instants = |us: i64| -> ArrayRef { Arc::new(TimestampMicrosecondArray::from(vec![us; rows])) };
    let mut columns: Vec<Option<ArrayRef>> = vec![None; group_columns];
    for ((_, place), values) in spec.keys.iter().zip(&keys) {
        columns[*place] = Some(Arc::clone(values));
    }
    spec.starts.iter().for_each(|place| columns[*place] = Some(instants(start)));
    spec.ends.iter().for_each(|place| columns[*place] = Some(instants(end)));
    let mut columns: Vec<ArrayRef> = columns.into_iter().flatten().collect();
    for (index, aggregate) in groups.aggregates.iter_mut().enumerate() {
        columns.push(aggregate.peek(which, output.field(group_columns + index).data_type())?);
    }
    let columns = super::stateless::conform(&columns, output)?;
    let causes = encode_rows(&keys, rows)?.into_iter().map(|key| cause(&key, start, end));
    let arrival = which.iter().map(|group| groups.arrival[*group as usize]).collect::<TimestampMicrosecondArray>();
    Ok(Rows {
        columns: batch_of(Arc::clone(output), columns, rows)?,
        time: TimestampMicrosecondArray::from(vec![end; rows]),
        identity: Identity::Uid(uid_array(causes)),
        arrival,
        late: None,
        provisional: is_provisional.then(|| BooleanArray::from(vec![true; rows])),
    })
}

/// The identity of a group in a window.
fn cause(key: &[u8], start: i64, end: i64) -> Uid {
    Uid::of_cause([b"window".as_slice(), key, &start.to_le_bytes(), &end.to_le_bytes()])
}

/// Adds the rows of one slice to the groups of a stretch of time.
fn add_rows(
    form: &Form,
    into: &mut BTreeMap<i64, Groups>,
    at: i64,
    keys: &arrow::row::Rows,
    arrival: &TimestampMicrosecondArray,
    arguments: &[Arguments],
) -> Result<Vec<u32>, EngineError> {
    let pane = match into.entry(at) {
        std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
        std::collections::btree_map::Entry::Vacant(entry) => entry.insert(form.groups()?),
    };
    let groups = pane.of_rows(keys);
    pane.note_arrival(&groups, arrival);
    let total = pane.len();
    for (aggregate, arguments) in pane.aggregates.iter_mut().zip(arguments) {
        aggregate.update(arguments, &groups, total)?;
    }
    Ok(groups)
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
        let whole = self
            .spec
            .aggregates
            .iter()
            .map(|spec| Arguments::evaluate(spec, &rows.columns, &mut out.failures))
            .collect::<Result<Vec<_>, _>>()?;
        for (slice, indices) in self.split(&rows.time) {
            let part: Vec<Arguments>;
            let (keys, arrival, count, arguments) = match &indices {
                None => (keys.clone(), rows.arrival.clone(), rows.len(), &whole),
                Some(indices) => {
                    let taken = keys.iter().map(|key| take(key, indices, None)).collect::<Result<Vec<_>, _>>()?;
                    part = whole.iter().map(|arguments| arguments.take(indices)).collect::<Result<Vec<_>, _>>()?;
                    (taken, take(&rows.arrival, indices, None)?.as_primitive().clone(), indices.len(), &part)
                }
            };
            let encoded = self.form.encode(&keys, count)?;
            let groups = add_rows(&self.form, &mut self.panes, slice, &encoded, &arrival, arguments)?;
            if self.has_stretches {
                let stretch = self.stretch_of(slice);
                add_rows(&self.form, &mut self.stretches, stretch, &encoded, &arrival, arguments)?;
            }
            self.fire_early(slice, &groups, out)?;
        }
        Ok(())
    }

    fn watermark(&mut self, watermark: EventTime, out: &mut Outbox) -> Result<(), EngineError> {
        let mut closed = self.watermark.0;
        self.watermark = self.watermark.max(watermark);
        // The first pane has the first window to close, since later panes are in no earlier windows.
        while let Some((slice, _)) = self.panes.first_key_value() {
            match self.spec.kind.first_end(*slice, closed) {
                Some(end) if end > watermark.0 => break,
                Some(end) => {
                    self.close(end, out)?;
                    closed = end;
                }
                None => drop(self.panes.pop_first()),
            }
        }
        while self.fired.first_key_value().is_some_and(|(end, _)| *end <= watermark.0) {
            self.fired.pop_first();
        }
        // A row that may still come is in windows that reach back by their size, and so are its neighbours.
        let size = self.spec.kind.size_us();
        let needed = |stretch: i64| stretch.saturating_add(size).saturating_add(size) > watermark.0;
        while self.stretches.first_key_value().is_some_and(|(stretch, _)| !needed(*stretch)) {
            self.stretches.pop_first();
        }
        Ok(())
    }

    fn table(&mut self, _table: &TableVersion) -> Result<(), EngineError> {
        Ok(())
    }

    /// One batch per pane.
    fn snapshot(&mut self) -> Result<Vec<RecordBatch>, EngineError> {
        let mut panes = std::mem::take(&mut self.panes);
        let saved = panes.iter_mut().map(|(slice, pane)| self.saved_pane(*slice, pane)).collect();
        self.panes = panes;
        saved
    }

    fn restore(&mut self, state: &[RecordBatch], owns: &dyn Fn(u32) -> bool) -> Result<(), EngineError> {
        for batch in state {
            if batch.schema().fields().first().is_none_or(|field| field.name() != PANE) {
                return Err(EngineError::Snapshot("the state of a window has another form".to_owned()));
            }
            let keys = batch.columns()[LEADING..LEADING + self.spec.keys.len()].to_vec();
            let owned: BooleanArray =
                encode_rows(&keys, batch.num_rows())?.iter().map(|key| Some(owns(key_group(key)))).collect();
            let batch = filter_record_batch(batch, &owned)?;
            if batch.num_rows() > 0 {
                self.restore_pane(&batch)?;
            }
        }
        Ok(())
    }
}
