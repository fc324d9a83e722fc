//! Aggregates per group. All can be read without being consumed, which is what early emission needs; those of DataFusion
//! are put back from their state afterwards.

mod distinct;
mod in_order;
mod other;

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, FixedSizeBinaryArray, Int64Array, TimestampMicrosecondArray, UInt32Array,
    UInt64Array, new_empty_array,
};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Decimal128Type, Field, Float64Type, Int64Type, Schema, SchemaRef, UInt64Type};
use arrow::row::{OwnedRow, RowConverter, SortField};
use datafusion::error::DataFusionError;
use datafusion::physical_expr::PhysicalExpr;

use self::distinct::CountDistinct;
use self::in_order::Ordered;
use self::other::Other;
use super::bytes::of_box;
use crate::error::EngineError;
use crate::graph::{AggregateKind, AggregateSpec};
use crate::rows::Rows;
use crate::sql::total::{evaluate, evaluate_predicate};

/// One aggregate over all groups of a pane.
pub(super) enum GroupAggregate {
    Count(Vec<i64>),
    CountDistinct(CountDistinct),
    Sum(Sum),
    Extreme(Extreme),
    InOrder(Ordered),
    Other(Other),
}

/// The arguments of one aggregate over a batch, evaluated.
pub(super) struct Arguments {
    values: Vec<ArrayRef>,
    keep: Option<BooleanArray>,
    /// Time and uid of each row, where the aggregate goes by them.
    order: Option<(TimestampMicrosecondArray, FixedSizeBinaryArray)>,
}

impl Arguments {
    /// Evaluates the arguments and the FILTER of an aggregate.
    pub(super) fn evaluate(spec: &AggregateSpec, rows: &Rows, failures: &mut u64) -> Result<Self, EngineError> {
        let batch = &rows.columns;
        let one = |expr: &Arc<dyn PhysicalExpr>, failures: &mut u64| evaluate(expr.as_ref(), batch, failures);
        let values = spec.args.iter().map(|expr| one(expr, failures)).collect::<Result<Vec<_>, _>>()?;
        let filter = spec.filter.as_ref();
        let keep = filter.map(|filter| evaluate_predicate(filter.as_ref(), batch, failures)).transpose()?;
        let is_in_order = matches!(spec.function, AggregateKind::InOrder(_));
        let order = is_in_order.then(|| (rows.time.clone(), rows.uids()));
        Ok(Self { values, keep, order })
    }

    /// Arguments out of what was remembered.
    const fn of(values: Vec<ArrayRef>) -> Self {
        Self { values, keep: None, order: None }
    }

    /// The arguments of some rows.
    pub(super) fn take(&self, indices: &UInt64Array) -> Result<Self, EngineError> {
        let values = self.values.iter().map(|values| take(values, indices, None)).collect::<Result<Vec<_>, _>>()?;
        let keep = self.keep.as_ref().map(|keep| take(keep, indices, None)).transpose()?;
        let order = self.order.as_ref().map(|(times, uids)| {
            let (times, uids) = (take(times, indices, None)?, take(uids, indices, None)?);
            Ok::<_, EngineError>((times.as_primitive().clone(), uids.as_fixed_size_binary().clone()))
        });
        Ok(Self { values, keep: keep.map(|keep| keep.as_boolean().clone()), order: order.transpose()? })
    }

    /// Whether the FILTER leaves a row.
    fn passes(&self, row: usize) -> bool {
        self.keep.as_ref().is_none_or(|keep| keep.value(row))
    }

    fn counts(&self, row: usize) -> bool {
        self.passes(row) && self.values.iter().all(|values| values.is_valid(row))
    }
}

impl GroupAggregate {
    pub(super) fn new(spec: &AggregateSpec, output: &DataType, input: &Schema) -> Result<Self, EngineError> {
        let argument = |spec: &AggregateSpec| match spec.args.first() {
            Some(arg) => arg.data_type(input),
            None => Ok(DataType::Int64),
        };
        Ok(match &spec.function {
            AggregateKind::Count => Self::Count(vec![]),
            AggregateKind::CountDistinct => Self::CountDistinct(CountDistinct::new(argument(spec)?)?),
            AggregateKind::Sum => Self::Sum(Sum::new(output.clone())),
            AggregateKind::Min => Self::Extreme(Extreme::new(argument(spec)?, false)?),
            AggregateKind::Max => Self::Extreme(Extreme::new(argument(spec)?, true)?),
            AggregateKind::InOrder(kept) => Self::InOrder(Ordered::new(*kept, argument(spec)?)?),
            AggregateKind::Other(function) => Self::Other(Other::new(Arc::clone(function))),
        })
    }

    /// The bytes that all groups take.
    pub(super) fn bytes(&self) -> usize {
        let own = match self {
            Self::Count(counts) => counts.capacity() * size_of::<i64>(),
            Self::CountDistinct(distinct) => distinct.bytes(),
            Self::Sum(sum) => sum.bytes(),
            Self::Extreme(extreme) => extreme.bytes(),
            Self::InOrder(ordered) => ordered.bytes(),
            Self::Other(other) => other.bytes(),
        };
        size_of::<Self>() + own
    }

    /// Adds rows; `groups[i]` is the group of row `i` and is below `count`.
    pub(super) fn update(&mut self, arguments: &Arguments, groups: &[u32], count: usize) -> Result<(), EngineError> {
        match self {
            Self::Count(counts) => {
                counts.resize(count, 0);
                if arguments.keep.is_none() && arguments.values.iter().all(|values| values.null_count() == 0) {
                    groups.iter().for_each(|group| counts[*group as usize] += 1);
                } else {
                    let counted = groups.iter().enumerate().filter(|(row, _)| arguments.counts(*row));
                    counted.for_each(|(_, group)| counts[*group as usize] += 1);
                }
                Ok(())
            }
            Self::CountDistinct(distinct) => distinct.update(arguments, groups, count),
            Self::Sum(sum) => sum.update(arguments, groups, count),
            Self::Extreme(extreme) => extreme.update(arguments, groups, count),
            Self::InOrder(ordered) => ordered.update(arguments, groups, count),
            Self::Other(other) => other.update(arguments, groups, count),
        }
    }

    /// The values of some groups, without consuming them.
    pub(super) fn peek(&mut self, groups: &[u32], output: &DataType) -> Result<ArrayRef, EngineError> {
        let values: ArrayRef = match self {
            Self::Count(counts) => Arc::new(
                groups.iter().map(|group| counts.get(*group as usize).copied().unwrap_or(0)).collect::<Int64Array>(),
            ),
            Self::CountDistinct(distinct) => {
                Arc::new(groups.iter().map(|group| distinct.count_of(*group)).collect::<Int64Array>())
            }
            Self::Sum(sum) => take(&sum.values()?, &UInt32Array::from(groups.to_vec()), None)?,
            Self::Extreme(extreme) => extreme.peek(groups)?,
            Self::InOrder(ordered) => ordered.peek(groups)?,
            Self::Other(other) => other.peek(groups)?,
        };
        Ok(if values.data_type() == output { values } else { cast(&values, output)? })
    }

    /// What is remembered of some groups out of `count`, as columns with one row per group. A state of several columns has
    /// them in a fixed order.
    pub(super) fn state(&mut self, groups: &[u32], count: usize) -> Result<Vec<ArrayRef>, EngineError> {
        Ok(match self {
            Self::Count(counts) => {
                counts.resize(count, 0);
                vec![Arc::new(groups.iter().map(|group| counts[*group as usize]).collect::<Int64Array>())]
            }
            Self::CountDistinct(distinct) => vec![distinct.state(groups, count)?],
            Self::Sum(sum) => vec![sum.state(groups, count)?],
            Self::Extreme(extreme) => vec![extreme.peek(groups)?],
            Self::InOrder(ordered) => ordered.state(groups, count)?,
            Self::Other(other) => other.state(groups, count)?,
        })
    }

    /// How many columns [`Self::state`] has.
    pub(super) fn state_width(&self) -> Result<usize, EngineError> {
        Ok(match self {
            Self::InOrder(_) => Ordered::STATE_WIDTH,
            Self::Other(other) => other.state_width()?,
            _ => 1,
        })
    }

    /// Merges groups of another pane: what `from[i]` is there is added to `to[i]` here, which is below `count`.
    pub(super) fn absorb(
        &mut self,
        other: &mut Self,
        from: &[u32],
        to: &[u32],
        count: usize,
    ) -> Result<(), EngineError> {
        let pairs = from.iter().map(|group| *group as usize).zip(to.iter().map(|group| *group as usize));
        match (self, other) {
            (Self::Count(counts), Self::Count(others)) => {
                counts.resize(count, 0);
                pairs.for_each(|(from, to)| counts[to] += others.get(from).copied().unwrap_or(0));
                Ok(())
            }
            (Self::CountDistinct(distinct), Self::CountDistinct(other)) => {
                distinct.absorb(other, pairs, count);
                Ok(())
            }
            (Self::Sum(sum), Self::Sum(other)) => {
                let values = take(&other.values()?, &UInt32Array::from(from.to_vec()), None)?;
                sum.update(&Arguments::of(vec![values]), to, count)
            }
            (Self::Extreme(extreme), Self::Extreme(other)) => {
                extreme.absorb(other, pairs, count);
                Ok(())
            }
            (Self::InOrder(ordered), Self::InOrder(other)) => {
                ordered.absorb(other, pairs, count);
                Ok(())
            }
            (Self::Other(aggregate), Self::Other(other)) => aggregate.absorb(other, pairs, count),
            _ => Err(DataFusionError::Internal("panes of one window keep the same aggregates".to_owned()).into()),
        }
    }

    /// Merges what [`Self::state`] gave for rows that now belong to `groups`.
    pub(super) fn merge(&mut self, state: &[ArrayRef], groups: &[u32], count: usize) -> Result<(), EngineError> {
        match self {
            Self::Count(counts) => {
                counts.resize(count, 0);
                let saved = state[0].as_primitive::<Int64Type>();
                groups.iter().enumerate().for_each(|(row, group)| counts[*group as usize] += saved.value(row));
                Ok(())
            }
            Self::CountDistinct(distinct) => distinct.merge(&state[0], groups, count),
            Self::Sum(sum) => sum.update(&Arguments::of(state.to_vec()), groups, count),
            Self::Extreme(extreme) => extreme.update(&Arguments::of(state.to_vec()), groups, count),
            Self::InOrder(ordered) => ordered.merge(state, groups, count),
            Self::Other(other) => other.merge(state, groups, count),
        }
    }
}

/// Sums in the type that DataFusion gives them; integers wrap as DataFusion's do.
pub(super) struct Sum {
    output: DataType,
    integers: Vec<i64>,
    unsigned: Vec<u64>,
    floats: Vec<f64>,
    decimals: Vec<i128>,
    is_set: Vec<bool>,
}

impl Sum {
    const fn new(output: DataType) -> Self {
        Self { output, integers: vec![], unsigned: vec![], floats: vec![], decimals: vec![], is_set: vec![] }
    }

    fn bytes(&self) -> usize {
        let of_eight = self.integers.capacity() + self.unsigned.capacity() + self.floats.capacity();
        of_eight * 8 + self.decimals.capacity() * 16 + self.is_set.capacity()
    }

    fn resize(&mut self, count: usize) {
        self.is_set.resize(count, false);
        match self.output {
            DataType::UInt64 => self.unsigned.resize(count, 0),
            DataType::Float64 => self.floats.resize(count, 0.0),
            DataType::Decimal128(_, _) => self.decimals.resize(count, 0),
            _ => self.integers.resize(count, 0),
        }
    }

    fn update(&mut self, arguments: &Arguments, groups: &[u32], count: usize) -> Result<(), EngineError> {
        self.resize(count);
        let values = cast(&arguments.values[0], &self.output)?;
        let counted = groups.iter().enumerate().filter(|(row, _)| arguments.counts(*row) && values.is_valid(*row));
        for (row, group) in counted {
            let group = *group as usize;
            self.is_set[group] = true;
            match self.output {
                DataType::UInt64 => {
                    self.unsigned[group] =
                        self.unsigned[group].wrapping_add(values.as_primitive::<UInt64Type>().value(row));
                }
                DataType::Float64 => self.floats[group] += values.as_primitive::<Float64Type>().value(row),
                DataType::Decimal128(_, _) => {
                    self.decimals[group] =
                        self.decimals[group].wrapping_add(values.as_primitive::<Decimal128Type>().value(row));
                }
                _ => {
                    self.integers[group] =
                        self.integers[group].wrapping_add(values.as_primitive::<Int64Type>().value(row))
                }
            }
        }
        Ok(())
    }

    fn values(&self) -> Result<ArrayRef, EngineError> {
        self.values_of(0..self.is_set.len())
    }

    fn state(&mut self, groups: &[u32], count: usize) -> Result<ArrayRef, EngineError> {
        self.resize(count);
        self.values_of(groups.iter().map(|group| *group as usize))
    }

    fn values_of(&self, groups: impl Iterator<Item = usize>) -> Result<ArrayRef, EngineError> {
        let set = groups.map(|group| self.is_set[group].then_some(group));
        Ok(match &self.output {
            DataType::UInt64 => Arc::new(set.map(|group| Some(self.unsigned[group?])).collect::<UInt64Array>()),
            DataType::Float64 => {
                Arc::new(set.map(|group| Some(self.floats[group?])).collect::<arrow::array::Float64Array>())
            }
            DataType::Decimal128(precision, scale) => {
                let sums: arrow::array::Decimal128Array = set.map(|group| Some(self.decimals[group?])).collect();
                Arc::new(sums.with_precision_and_scale(*precision, *scale)?)
            }
            _ => Arc::new(set.map(|group| Some(self.integers[group?])).collect::<Int64Array>()),
        })
    }
}

/// The least or greatest value per group, in Arrow's row encoding, whose order is the order of the values.
pub(super) struct Extreme {
    converter: RowConverter,
    data_type: DataType,
    is_max: bool,
    values: Vec<Option<OwnedRow>>,
    /// The bytes of the encoded values.
    value_bytes: usize,
}

impl Extreme {
    fn new(data_type: DataType, is_max: bool) -> Result<Self, EngineError> {
        let converter = RowConverter::new(vec![SortField::new(data_type.clone())])?;
        Ok(Self { converter, data_type, is_max, values: vec![], value_bytes: 0 })
    }

    fn bytes(&self) -> usize {
        self.converter.size() + self.values.capacity() * size_of::<Option<OwnedRow>>() + self.value_bytes
    }

    fn update(&mut self, arguments: &Arguments, groups: &[u32], count: usize) -> Result<(), EngineError> {
        self.values.resize(count, None);
        let encoded = self.converter.convert_columns(&arguments.values[..1])?;
        for (row, group) in groups.iter().enumerate().filter(|(row, _)| arguments.counts(*row)) {
            let value = encoded.row(row);
            let best = &mut self.values[*group as usize];
            let is_better =
                best.as_ref().is_none_or(|best| if self.is_max { value > best.row() } else { value < best.row() });
            if is_better {
                self.value_bytes += of_box(value.as_ref().len());
                let before = best.replace(value.owned());
                self.value_bytes -= before.map_or(0, |before| of_box(before.as_ref().len()));
            }
        }
        Ok(())
    }

    fn absorb(&mut self, other: &Self, pairs: impl Iterator<Item = (usize, usize)>, count: usize) {
        self.values.resize(count, None);
        let parser = self.converter.parser();
        for (from, to) in pairs {
            let Some(Some(value)) = other.values.get(from) else { continue };
            // A row belongs to the converter that made it; the bytes mean the same to all.
            let value = parser.parse(value.as_ref());
            let best = &mut self.values[to];
            let is_better =
                best.as_ref().is_none_or(|best| if self.is_max { value > best.row() } else { value < best.row() });
            if is_better {
                self.value_bytes += of_box(value.as_ref().len());
                let before = best.replace(value.owned());
                self.value_bytes -= before.map_or(0, |before| of_box(before.as_ref().len()));
            }
        }
    }

    fn peek(&self, groups: &[u32]) -> Result<ArrayRef, EngineError> {
        let nothing = arrow::array::new_null_array(&self.data_type, 1);
        let null = self.converter.convert_columns(&[nothing])?;
        let rows = groups.iter().map(|group| match self.values.get(*group as usize) {
            Some(Some(value)) => value.row(),
            _ => null.row(0),
        });
        let decoded = self.converter.convert_rows(rows)?;
        Ok(decoded.into_iter().next().unwrap_or_else(|| new_empty_array(&self.data_type)))
    }
}

/// The schema under which the state of aggregates is saved after some leading columns.
pub(super) fn state_schema(leading: &[Field], states: &[Vec<ArrayRef>]) -> SchemaRef {
    let columns = states.iter().flatten().enumerate();
    let fields = columns.map(|(index, column)| Field::new(format!("state_{index}"), column.data_type().clone(), true));
    Arc::new(Schema::new(leading.iter().cloned().chain(fields).collect::<Vec<_>>()))
}
