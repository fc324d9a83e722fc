//! What a function makes of the entries in a frame: kept per key, and brought up to date when an entry comes or goes.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, UInt64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type, UInt64Type};
use arrow::row::{RowConverter, Rows as EncodedRows, SortField};

use super::distinct::Distinct;
use super::extreme::Extreme;
use super::frame::Arguments;
use super::sum::FloatSum;
use crate::error::EngineError;
use crate::graph::OverKind;
use crate::operator::bytes::of_box;

/// The values of a function's entries, and its state per key.
pub(super) enum Values {
    /// Nothing but the number of entries.
    Count,
    Integers {
        values: VecDeque<i64>,
        sums: Vec<i64>,
        is_unsigned: bool,
    },
    Floats {
        values: VecDeque<f64>,
        sums: Vec<FloatSum>,
        is_average: bool,
    },
    Distinct(Distinct),
    Extreme(Extreme),
    /// The entries themselves.
    Picked {
        codec: Codec,
        values: VecDeque<Box<[u8]>>,
        /// The bytes of these.
        value_bytes: usize,
        /// What stands where there is no entry.
        absent: Box<[u8]>,
    },
}

/// The argument of each row of a batch, in the form in which it is kept.
pub(super) enum Prepared {
    Nothing,
    Integers(Int64Array),
    Floats(Float64Array),
    Encoded(EncodedRows),
}

/// The function's value of each row so far.
pub(super) enum Output {
    Integers(Vec<Option<i64>>),
    Floats(Vec<Option<f64>>),
    Encoded(EncodedRows),
}

/// Values of one type as bytes whose order is that of the values.
pub(super) struct Codec {
    converter: RowConverter,
    null: Box<[u8]>,
}

impl Codec {
    pub(super) fn new(value: &DataType) -> Result<Self, EngineError> {
        let converter = RowConverter::new(vec![SortField::new(value.clone())])?;
        let null = converter.convert_columns(&[arrow::array::new_null_array(value, 1)])?;
        let null = null.row(0).as_ref().into();
        Ok(Self { converter, null })
    }

    fn encode(&self, value: &ArrayRef) -> Result<EncodedRows, EngineError> {
        Ok(self.converter.convert_columns(std::slice::from_ref(value))?)
    }

    /// The values behind some bytes; `None` is NULL.
    pub(super) fn decode<'a>(&self, values: impl Iterator<Item = Option<&'a [u8]>>) -> Result<ArrayRef, EngineError> {
        let parser = self.converter.parser();
        let mut columns = self.converter.convert_rows(values.map(|value| parser.parse(value.unwrap_or(&self.null))))?;
        Ok(columns.swap_remove(0))
    }
}

impl Values {
    pub(super) fn new(kind: &OverKind, value: &DataType, output: &DataType) -> Result<Self, EngineError> {
        Ok(match kind {
            OverKind::Count | OverKind::RowNumber | OverKind::FirstSeen => Self::Count,
            OverKind::CountDistinct => Self::Distinct(Distinct::new(Codec::new(value)?)),
            OverKind::Sum if *output == DataType::Float64 => {
                Self::Floats { values: VecDeque::new(), sums: vec![], is_average: false }
            }
            OverKind::Sum => {
                Self::Integers { values: VecDeque::new(), sums: vec![], is_unsigned: *output == DataType::UInt64 }
            }
            OverKind::Average => Self::Floats { values: VecDeque::new(), sums: vec![], is_average: true },
            OverKind::Min => Self::Extreme(Extreme::new(Codec::new(value)?, false)),
            OverKind::Max => Self::Extreme(Extreme::new(Codec::new(value)?, true)),
            OverKind::First | OverKind::Last | OverKind::Nth(_) => {
                let codec = Codec::new(value)?;
                Self::Picked { absent: codec.null.clone(), codec, values: VecDeque::new(), value_bytes: 0 }
            }
            OverKind::Lag(default) => {
                let codec = Codec::new(value)?;
                let absent = codec.encode(&cast(&default.to_array()?, value)?)?.row(0).as_ref().into();
                Self::Picked { codec, values: VecDeque::new(), value_bytes: 0, absent }
            }
        })
    }

    /// Whether a NULL is a value like another.
    pub(super) const fn counts_nulls(&self) -> bool {
        matches!(self, Self::Picked { .. })
    }

    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Count => 0,
            Self::Integers { values, sums, .. } => (values.capacity() + sums.capacity()) * size_of::<i64>(),
            Self::Floats { values, sums, .. } => {
                values.capacity() * size_of::<f64>() + sums.capacity() * size_of::<FloatSum>()
            }
            Self::Distinct(distinct) => distinct.held_bytes(),
            Self::Extreme(extreme) => extreme.held_bytes(),
            Self::Picked { values, value_bytes, .. } => values.capacity() * size_of::<Box<[u8]>>() + value_bytes,
        }
    }

    pub(super) fn resize(&mut self, keys: usize) {
        match self {
            Self::Count | Self::Picked { .. } => {}
            Self::Integers { sums, .. } => sums.resize(keys, 0),
            Self::Floats { sums, .. } => sums.resize(keys, FloatSum::default()),
            Self::Distinct(distinct) => distinct.resize(keys),
            Self::Extreme(extreme) => extreme.resize(keys),
        }
    }

    pub(super) fn prepare(&self, arguments: &Arguments) -> Result<Prepared, EngineError> {
        let Some(value) = &arguments.value else { return Ok(Prepared::Nothing) };
        Ok(match self {
            Self::Count => Prepared::Nothing,
            Self::Integers { is_unsigned: false, .. } => {
                Prepared::Integers(cast(value, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
            }
            Self::Integers { is_unsigned: true, .. } => {
                let value = cast(value, &DataType::UInt64)?;
                Prepared::Integers(value.as_primitive::<UInt64Type>().unary(u64::cast_signed))
            }
            Self::Floats { .. } => {
                Prepared::Floats(cast(value, &DataType::Float64)?.as_primitive::<Float64Type>().clone())
            }
            Self::Distinct(distinct) => Prepared::Encoded(distinct.codec.encode(value)?),
            Self::Extreme(extreme) => Prepared::Encoded(extreme.codec.encode(value)?),
            Self::Picked { codec, .. } => Prepared::Encoded(codec.encode(value)?),
        })
    }

    /// Takes the value of a row as the entry `entry`, where `first` is the entry at the front.
    pub(super) fn push(&mut self, key: u32, entry: u64, first: u64, row: usize, is_counted: bool, prepared: &Prepared) {
        match (self, prepared) {
            (Self::Integers { values, sums, .. }, Prepared::Integers(given)) => {
                let value = if is_counted { given.value(row) } else { 0 };
                values.push_back(value);
                sums[key as usize] = sums[key as usize].wrapping_add(value);
            }
            (Self::Floats { values, sums, .. }, Prepared::Floats(given)) => {
                let value = if is_counted { given.value(row) } else { 0.0 };
                values.push_back(value);
                sums[key as usize].add(value);
            }
            (Self::Distinct(distinct), Prepared::Encoded(given)) => {
                distinct.push(key, is_counted.then(|| given.row(row).data()));
            }
            (Self::Extreme(extreme), Prepared::Encoded(given)) => {
                extreme.push(key, entry, first, is_counted.then(|| given.row(row).data()));
            }
            (Self::Picked { values, value_bytes, .. }, Prepared::Encoded(given)) => {
                let value: Box<[u8]> = given.row(row).data().into();
                *value_bytes += of_box(value.len());
                values.push_back(value);
            }
            _ => {}
        }
    }

    /// Takes back the value at `at`, which is that of `entry`; `is_last` says that no entry of the key counts any more.
    pub(super) fn remove(&mut self, key: u32, entry: u64, at: usize, is_last: bool) {
        match self {
            Self::Count | Self::Picked { .. } => {}
            Self::Integers { values, sums, .. } => {
                sums[key as usize] = sums[key as usize].wrapping_sub(values[at]);
            }
            Self::Floats { sums, .. } if is_last => sums[key as usize] = FloatSum::default(),
            Self::Floats { values, sums, .. } => sums[key as usize].subtract(values[at]),
            Self::Distinct(distinct) => distinct.remove(key, at),
            Self::Extreme(extreme) => extreme.remove(key, entry, at),
        }
    }

    pub(super) fn pop_front(&mut self) {
        match self {
            Self::Count => {}
            Self::Integers { values, .. } => drop(values.pop_front()),
            Self::Floats { values, .. } => drop(values.pop_front()),
            Self::Distinct(distinct) => distinct.pop_front(),
            Self::Extreme(extreme) => extreme.pop_front(),
            Self::Picked { values, value_bytes, .. } => {
                *value_bytes -= values.pop_front().map_or(0, |value| of_box(value.len()));
            }
        }
    }

    pub(super) fn output(&self, rows: usize) -> Result<Output, EngineError> {
        Ok(match self {
            Self::Count | Self::Integers { .. } | Self::Distinct(_) => Output::Integers(Vec::with_capacity(rows)),
            Self::Floats { .. } => Output::Floats(Vec::with_capacity(rows)),
            Self::Extreme(Extreme { codec, .. }) | Self::Picked { codec, .. } => {
                Output::Encoded(codec.converter.empty_rows(rows, 0))
            }
        })
    }

    /// Adds the value of a key's frame, of which `count` entries count and `picked` is the one to show.
    pub(super) fn put(&self, key: u32, count: u32, picked: Option<usize>, first: u64, output: &mut Output) {
        match (self, output) {
            (Self::Count, Output::Integers(output)) => output.push(Some(i64::from(count))),
            (Self::Integers { sums, .. }, Output::Integers(output)) => {
                output.push((count > 0).then(|| sums[key as usize]));
            }
            (Self::Distinct(distinct), Output::Integers(output)) => output.push(Some(distinct.count(key))),
            (Self::Floats { sums, is_average, .. }, Output::Floats(output)) => {
                let divisor = if *is_average { f64::from(count) } else { 1.0 };
                output.push((count > 0).then(|| sums[key as usize].value() / divisor));
            }
            (Self::Extreme(extreme), Output::Encoded(output)) => {
                let value = extreme.value(key, first).unwrap_or(&extreme.codec.null);
                output.push(extreme.codec.converter.parser().parse(value));
            }
            (Self::Picked { codec, values, absent, .. }, Output::Encoded(output)) => {
                let value = picked.map_or(absent, |at| &values[at]);
                output.push(codec.converter.parser().parse(value));
            }
            _ => {}
        }
    }

    /// The values as a column of the function's type.
    pub(super) fn finish(&self, output: Output, data_type: &DataType) -> Result<ArrayRef, EngineError> {
        let column: ArrayRef = match (self, output) {
            (Self::Integers { is_unsigned: true, .. }, Output::Integers(values)) => {
                Arc::new(values.into_iter().map(|value| value.map(i64::cast_unsigned)).collect::<UInt64Array>())
            }
            (_, Output::Integers(values)) => Arc::new(Int64Array::from(values)),
            (_, Output::Floats(values)) => Arc::new(Float64Array::from(values)),
            (Self::Extreme(Extreme { codec, .. }) | Self::Picked { codec, .. }, Output::Encoded(values)) => {
                codec.converter.convert_rows(values.iter())?.swap_remove(0)
            }
            (_, Output::Encoded(values)) => arrow::array::new_null_array(data_type, values.num_rows()),
        };
        Ok(if column.data_type() == data_type { column } else { cast(&column, data_type)? })
    }

    /// The values of some entries, as the argument that they came from; `None` where there are none.
    pub(super) fn save(&self, kept: &[usize]) -> Result<Option<ArrayRef>, EngineError> {
        Ok(match self {
            Self::Count => None,
            Self::Integers { values, is_unsigned, .. } => {
                let values = kept.iter().map(|at| values[*at]);
                Some(match is_unsigned {
                    true => Arc::new(values.map(i64::cast_unsigned).collect::<UInt64Array>()) as ArrayRef,
                    false => Arc::new(values.collect::<Int64Array>()),
                })
            }
            Self::Floats { values, .. } => Some(Arc::new(kept.iter().map(|at| values[*at]).collect::<Float64Array>())),
            Self::Distinct(distinct) => Some(distinct.codec.decode(kept.iter().map(|at| distinct.bytes(*at)))?),
            Self::Extreme(extreme) => Some(extreme.codec.decode(kept.iter().map(|at| extreme.bytes(*at)))?),
            Self::Picked { codec, values, .. } => Some(codec.decode(kept.iter().map(|at| Some(values[*at].as_ref())))?),
        })
    }
}
