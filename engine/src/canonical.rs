//! The specified encoding of values: what alert ids and key groups are hashed from.
//!
//! It depends on the value alone, never on the width of its Arrow type, on a hash seed or on the version of a library:
//! alert ids outlive all of these. One value is a tag byte and its content: `0` null; `1` boolean, one byte; `2` integer,
//! eight bytes; `3` float, eight bytes of the canonical double; `4` text and `5` bytes, length (u32) and content;
//! `6` instant, eight bytes of microseconds; `7` anything else, length and its printed form.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimestampMicrosecondType, UInt64Type};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};

use crate::catalog::TIME_TYPE;

/// Number of key groups: the unit in which state moves between workers.
pub(crate) const KEY_GROUPS: u32 = 256;

/// The canonical encoding of the rows of some columns, one byte string per row.
pub(crate) fn encode_rows(columns: &[ArrayRef], rows: usize) -> Result<Vec<Vec<u8>>, ArrowError> {
    let mut encoded = vec![Vec::new(); rows];
    for column in columns {
        encode_column(column, &mut encoded)?;
    }
    Ok(encoded)
}

/// The key group of an encoded key: XXH3-64 modulo 256.
pub(crate) fn key_group(encoded: &[u8]) -> u32 {
    (xxhash_rust::xxh3::xxh3_64(encoded) % u64::from(KEY_GROUPS)) as u32
}

/// The worker that owns a key group.
pub(crate) fn owner(group: u32, workers: u32) -> u32 {
    group * workers / KEY_GROUPS
}

fn encode_column(column: &ArrayRef, encoded: &mut [Vec<u8>]) -> Result<(), ArrowError> {
    match column.data_type() {
        DataType::Null => encoded.iter_mut().for_each(|bytes| bytes.push(0)),
        DataType::Boolean => {
            let values = column.as_boolean();
            each(column, encoded, |row, bytes| bytes.extend([1, u8::from(values.value(row))]));
        }
        DataType::UInt64 => {
            let values = column.as_primitive::<UInt64Type>();
            each(column, encoded, |row, bytes| fixed(bytes, 2, values.value(row).to_le_bytes()));
        }
        integer if integer.is_integer() => {
            let values = cast(column, &DataType::Int64)?;
            let values = values.as_primitive::<Int64Type>();
            each(column, encoded, |row, bytes| fixed(bytes, 2, values.value(row).to_le_bytes()));
        }
        float if float.is_floating() => {
            let values = cast(column, &DataType::Float64)?;
            let values = values.as_primitive::<Float64Type>();
            each(column, encoded, |row, bytes| fixed(bytes, 3, canonical_float(values.value(row)).to_le_bytes()));
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            let values = cast(column, &DataType::Utf8View)?;
            let values = values.as_string_view();
            each(column, encoded, |row, bytes| sized(bytes, 4, values.value(row).as_bytes()));
        }
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
            let values = cast(column, &DataType::BinaryView)?;
            let values = values.as_binary_view();
            each(column, encoded, |row, bytes| sized(bytes, 5, values.value(row)));
        }
        DataType::FixedSizeBinary(_) => {
            let values = column.as_fixed_size_binary();
            each(column, encoded, |row, bytes| sized(bytes, 5, values.value(row)));
        }
        DataType::Timestamp(_, _) | DataType::Date32 | DataType::Date64 => {
            let values = cast(column, &TIME_TYPE)?;
            let values = values.as_primitive::<TimestampMicrosecondType>();
            each(column, encoded, |row, bytes| fixed(bytes, 6, values.value(row).to_le_bytes()));
        }
        _ => {
            let options = FormatOptions::default();
            let formatter = ArrayFormatter::try_new(column, &options)?;
            each(column, encoded, |row, bytes| sized(bytes, 7, formatter.value(row).to_string().as_bytes()));
        }
    }
    Ok(())
}

fn each(column: &ArrayRef, encoded: &mut [Vec<u8>], mut write: impl FnMut(usize, &mut Vec<u8>)) {
    for (row, bytes) in encoded.iter_mut().enumerate() {
        if column.is_null(row) { bytes.push(0) } else { write(row, bytes) }
    }
}

fn fixed(bytes: &mut Vec<u8>, tag: u8, content: [u8; 8]) {
    bytes.push(tag);
    bytes.extend(content);
}

fn sized(bytes: &mut Vec<u8>, tag: u8, content: &[u8]) {
    bytes.push(tag);
    bytes.extend((content.len() as u32).to_le_bytes());
    bytes.extend(content);
}

/// All zeros are one zero, and all NaNs are one NaN.
fn canonical_float(value: f64) -> f64 {
    if value.is_nan() {
        f64::NAN
    } else if value == 0.0 {
        0.0
    } else {
        value
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Float64Array, Int32Array, Int64Array, StringArray, StringViewArray};

    use super::*;

    fn one(column: impl Array + 'static) -> Vec<u8> {
        encode_rows(&[Arc::new(column) as ArrayRef], 1).unwrap().remove(0)
    }

    #[test]
    fn a_value_encodes_alike_whatever_its_arrow_type() {
        assert_eq!(one(Int32Array::from(vec![7])), one(Int64Array::from(vec![7])));
        assert_eq!(one(StringArray::from(vec!["a"])), one(StringViewArray::from(vec!["a"])));
        assert_eq!(one(Float64Array::from(vec![0.0])), one(Float64Array::from(vec![-0.0])));
    }

    #[test]
    fn the_encoding_is_pinned() {
        assert_eq!(one(Int64Array::from(vec![258])), [2, 2, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(one(StringViewArray::from(vec!["ab"])), [4, 2, 0, 0, 0, b'a', b'b']);
        assert_eq!(one(StringViewArray::from(vec![None::<&str>])), [0]);
        assert_eq!(key_group(b"user-1"), (xxhash_rust::xxh3::xxh3_64(b"user-1") % 256) as u32);
    }

    #[test]
    fn every_key_group_has_one_owner_and_every_worker_some_groups() {
        for workers in 1..=8 {
            let owners: Vec<u32> = (0..KEY_GROUPS).map(|group| owner(group, workers)).collect();
            assert!(owners.is_sorted());
            assert_eq!(owners.first(), Some(&0));
            assert_eq!(owners.last(), Some(&(workers - 1)));
        }
    }
}
