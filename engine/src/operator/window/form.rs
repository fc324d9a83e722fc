//! What all groups of an operator have in common: how rows come to them, what is told of them, and how they are saved.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array as _, ArrayRef, AsArray, BinaryArray, BinaryViewArray, BooleanArray, RecordBatch, TimestampMicrosecondArray,
    UInt64Array,
};
use arrow::compute::{filter_record_batch, take};
use arrow::datatypes::{DataType, Field, SchemaRef, TimestampMicrosecondType};
use arrow::row::{RowConverter, Rows as EncodedRows, SortField};

use super::groups::Groups;
use crate::canonical::{encode_rows, key_group};
use crate::catalog::TIME_TYPE;
use crate::error::EngineError;
use crate::graph::WindowSpec;
use crate::identity::cause;
use crate::operator::aggregates::{Arguments, GroupAggregate, state_schema};
use crate::operator::stateless::conform;
use crate::rows::{Hashed, Identity, Rows, batch_of};
use crate::sql::total::evaluate;
use crate::sql::window_kind::Windows;
use crate::time::EventTime;

/// What all groups of an operator have in common.
pub(super) struct Form {
    pub(super) spec: WindowSpec,
    output: SchemaRef,
    input: SchemaRef,
    converter: Arc<RowConverter>,
    key_types: Arc<[DataType]>,
}

/// The rows of one slice of time.
pub(super) struct Share {
    pub(super) slice: i64,
    pub(super) keys: EncodedRows,
    pub(super) time: TimestampMicrosecondArray,
    pub(super) arrival: TimestampMicrosecondArray,
    pub(super) arguments: Vec<Arguments>,
}

/// The saved groups of one slice.
pub(super) struct Saved {
    pub(super) slice: i64,
    pub(super) watermark: EventTime,
    pub(super) keys: EncodedRows,
    pub(super) arrival: TimestampMicrosecondArray,
    /// Instants of each group beside these, in the order in which they were given.
    pub(super) instants: Vec<TimestampMicrosecondArray>,
    pub(super) states: Vec<ArrayRef>,
}

/// What is to be saved of some groups of one slice.
pub(super) struct Collected {
    converter: Arc<RowConverter>,
    key_types: Arc<[DataType]>,
    slice: i64,
    watermark: EventTime,
    /// Encoded keys, which tell the groups apart.
    pub(super) keys: BinaryArray,
    arrival: TimestampMicrosecondArray,
    instants: Vec<(&'static str, Vec<i64>)>,
    states: Vec<Vec<ArrayRef>>,
}

impl Collected {
    /// All of it as one batch: some leading columns, the instants, keys and aggregates.
    pub(super) fn rows(&self) -> Result<RecordBatch, EngineError> {
        let count = self.keys.len();
        let mut leading = vec![
            Field::new(PANE, TIME_TYPE, false),
            Field::new("watermark", TIME_TYPE, false),
            Field::new("arrival", TIME_TYPE, true),
        ];
        leading.extend(self.instants.iter().map(|(name, _)| Field::new(*name, TIME_TYPE, false)));
        leading.extend(self.key_types.iter().map(|key| Field::new("key", key.clone(), true)));
        let schema = state_schema(&leading, &self.states);
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(TimestampMicrosecondArray::from(vec![self.slice; count])),
            Arc::new(TimestampMicrosecondArray::from(vec![self.watermark.0; count])),
            Arc::new(self.arrival.clone()),
        ];
        for (_, instants) in &self.instants {
            columns.push(Arc::new(TimestampMicrosecondArray::from(instants.clone())));
        }
        let parser = self.converter.parser();
        columns.extend(self.converter.convert_rows(self.keys.iter().flatten().map(|key| parser.parse(key)))?);
        columns.extend(self.states.iter().flatten().cloned());
        Ok(batch_of(schema, columns, count)?)
    }
}

/// The first column of saved groups.
const PANE: &str = "pane";
/// How many columns of saved groups stand before further instants and keys.
const LEADING: usize = 3;

impl Form {
    pub(super) fn new(spec: WindowSpec, output: SchemaRef, input: SchemaRef) -> Result<Self, EngineError> {
        let key_types = spec.keys.iter().map(|(expr, _)| expr.data_type(&input)).collect::<Result<Vec<_>, _>>()?;
        let converter = Arc::new(RowConverter::new(key_types.iter().cloned().map(SortField::new).collect())?);
        Ok(Self { spec, output, input, converter, key_types: key_types.into() })
    }

    /// No groups yet.
    pub(super) fn groups(&self) -> Result<Groups, EngineError> {
        let first = self.output.fields().len() - self.spec.aggregates.len();
        let types = self.output.fields()[first..].iter().map(|field| field.data_type());
        let aggregates = self.spec.aggregates.iter().zip(types);
        let aggregates = aggregates.map(|(spec, output)| GroupAggregate::new(spec, output, &self.input));
        Ok(Groups::new(self.converter.empty_rows(0, 0), aggregates.collect::<Result<Vec<_>, _>>()?))
    }

    /// Keys as rows that [`Groups`] takes.
    fn encode(&self, keys: &[ArrayRef], rows: usize) -> Result<EncodedRows, EngineError> {
        if !keys.is_empty() {
            return Ok(self.converter.convert_columns(keys)?);
        }
        let mut encoded = self.converter.empty_rows(rows, 0);
        let parser = self.converter.parser();
        (0..rows).for_each(|_| encoded.push(parser.parse(&[])));
        Ok(encoded)
    }

    /// The rows of each slice, slices in order. Rows that are in no slice are left out.
    pub(super) fn shares(
        &self,
        rows: &Rows,
        slice_of: impl Fn(i64) -> Option<i64>,
        failures: &mut u64,
    ) -> Result<Vec<Share>, EngineError> {
        let keys = self.spec.keys.iter().map(|(expr, _)| evaluate(expr.as_ref(), &rows.columns, failures));
        let keys = keys.collect::<Result<Vec<_>, _>>()?;
        let whole = self.spec.aggregates.iter().map(|spec| Arguments::evaluate(spec, rows, failures));
        let whole = whole.collect::<Result<Vec<_>, _>>()?;
        let slices: Vec<Option<i64>> = rows.time.values().iter().map(|time| slice_of(*time)).collect();
        if slices.windows(2).all(|pair| pair[0] == pair[1]) {
            let Some(slice) = slices.first().copied().flatten() else { return Ok(vec![]) };
            let keys = self.encode(&keys, rows.len())?;
            let (time, arrival) = (rows.time.clone(), rows.arrival.clone());
            return Ok(vec![Share { slice, keys, time, arrival, arguments: whole }]);
        }
        let mut places: BTreeMap<i64, Vec<u64>> = BTreeMap::new();
        for (row, slice) in slices.iter().enumerate() {
            if let Some(slice) = slice {
                places.entry(*slice).or_default().push(row as u64);
            }
        }
        let share = |(slice, places): (i64, Vec<u64>)| {
            let places = UInt64Array::from(places);
            let keys = keys.iter().map(|key| take(key, &places, None)).collect::<Result<Vec<_>, _>>()?;
            Ok(Share {
                slice,
                keys: self.encode(&keys, places.len())?,
                time: take(&rows.time, &places, None)?.as_primitive().clone(),
                arrival: take(&rows.arrival, &places, None)?.as_primitive().clone(),
                arguments: whole.iter().map(|arguments| arguments.take(&places)).collect::<Result<Vec<_>, _>>()?,
            })
        };
        places.into_iter().map(share).collect()
    }

    /// What some groups say of their windows: `spans` holds the start and the end of each one's.
    pub(super) fn stated(
        &self,
        groups: &mut Groups,
        which: &[u32],
        spans: &[(i64, i64)],
        is_provisional: bool,
    ) -> Result<Rows, EngineError> {
        let rows = which.len();
        let keys = self.converter.convert_rows(which.iter().map(|group| groups.keys.row(*group as usize)))?;
        let group_columns = self.output.fields().len() - self.spec.aggregates.len();
        let starts: ArrayRef =
            Arc::new(spans.iter().map(|(start, _)| Some(*start)).collect::<TimestampMicrosecondArray>());
        let ends: TimestampMicrosecondArray = spans.iter().map(|(_, end)| Some(*end)).collect();
        let mut columns: Vec<Option<ArrayRef>> = vec![None; group_columns];
        for ((_, place), values) in self.spec.keys.iter().zip(&keys) {
            columns[*place] = Some(Arc::clone(values));
        }
        self.spec.starts.iter().for_each(|place| columns[*place] = Some(Arc::clone(&starts)));
        self.spec.ends.iter().for_each(|place| columns[*place] = Some(Arc::new(ends.clone())));
        let mut columns: Vec<ArrayRef> = columns.into_iter().flatten().collect();
        for (index, aggregate) in groups.aggregates.iter_mut().enumerate() {
            columns.push(aggregate.peek(which, self.output.field(group_columns + index).data_type())?);
        }
        let columns = conform(&columns, &self.output)?;
        let encoded = encode_rows(&keys, rows)?;
        let causes: BinaryViewArray =
            encoded.iter().zip(spans).map(|(key, span)| Some(self.cause(key, *span))).collect();
        let arrival = which.iter().map(|group| groups.arrival[*group as usize]).collect::<TimestampMicrosecondArray>();
        Ok(Rows {
            columns: batch_of(Arc::clone(&self.output), columns, rows)?,
            time: ends,
            identity: Identity::Unhashed { of: Hashed::Cause, bytes: causes },
            arrival,
            late_us: None,
            provisional: is_provisional.then(|| BooleanArray::from(vec![true; rows])),
            withdrawn: None,
        })
    }

    /// The identity of a group in a window. A session is known by its start: its end moves as long as rows come.
    fn cause(&self, key: &[u8], (start, end): (i64, i64)) -> Vec<u8> {
        match self.spec.windows {
            Windows::Fixed(_) => cause([b"window".as_slice(), key, &start.to_le_bytes(), &end.to_le_bytes()]),
            Windows::Sessions { .. } => cause([b"session".as_slice(), key, &start.to_le_bytes()]),
        }
    }

    /// Some groups of a slice, and `instants` of each.
    pub(super) fn collect(
        &self,
        slice: i64,
        watermark: EventTime,
        groups: &mut Groups,
        which: &[u32],
        instants: Vec<(&'static str, Vec<i64>)>,
    ) -> Result<Collected, EngineError> {
        let total = groups.len();
        let aggregates = groups.aggregates.iter_mut();
        let states = aggregates.map(|aggregate| aggregate.state(which, total)).collect::<Result<Vec<_>, _>>()?;
        let arrival = which.iter().map(|group| groups.arrival[*group as usize]).collect();
        let (converter, key_types) = (Arc::clone(&self.converter), Arc::clone(&self.key_types));
        Ok(Collected { converter, key_types, slice, watermark, keys: groups.ids(which), arrival, instants, states })
    }

    /// What was [collected](Self::collect) with so many instants, as far as this worker owns it; `None` if it owns nothing of it.
    pub(super) fn saved(
        &self,
        batch: &RecordBatch,
        instants: usize,
        owns: &dyn Fn(u32) -> bool,
    ) -> Result<Option<Saved>, EngineError> {
        if batch.schema().fields().first().is_none_or(|field| field.name() != PANE) {
            return Err(EngineError::Snapshot("the state of a window has another form".to_owned()));
        }
        let (first, last) = (LEADING + instants, LEADING + instants + self.spec.keys.len());
        let keys = encode_rows(&batch.columns()[first..last], batch.num_rows())?;
        let owned: BooleanArray = keys.iter().map(|key| Some(owns(key_group(key)))).collect();
        let batch = filter_record_batch(batch, &owned)?;
        if batch.num_rows() == 0 {
            return Ok(None);
        }
        let instant = |column: usize| batch.column(column).as_primitive::<TimestampMicrosecondType>();
        Ok(Some(Saved {
            slice: instant(0).value(0),
            // Groups that were saved later know a later one.
            watermark: EventTime(instant(1).values().iter().copied().max().unwrap_or(i64::MIN)),
            keys: self.encode(&batch.columns()[first..last], batch.num_rows())?,
            arrival: instant(2).clone(),
            instants: (LEADING..first).map(|column| instant(column).clone()).collect(),
            states: batch.columns()[last..].to_vec(),
        }))
    }
}
