//! One row in two worlds. In the engine text is a view, times have no zone and uids are 16 bytes; in a Delta table text
//! is text, times are UTC by type and uids are 32 hexadecimal digits, so that every other reader understands them.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeBinaryArray, ListArray, RecordBatch, RecordBatchOptions, StringArray,
    StructArray, new_null_array,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use datafusion::prelude::{Expr, col, lit};
use datafusion::scalar::ScalarValue;
use weir_engine::{EventTime, Uid};

/// The column of a stream table that holds the identity of each event.
pub const UID: &str = "_uid";

/// The partition column: the UTC date of the row's time.
pub(crate) const DAY: &str = "_day";

/// The bytes of a uid.
const UID_TYPE: DataType = DataType::FixedSizeBinary(16);

/// The type a value has in a Delta table. Unsigned integers have none there and take the next wider signed one.
pub(crate) fn stored_type(engine: &DataType) -> DataType {
    match engine {
        DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
        &UID_TYPE => DataType::Utf8,
        DataType::BinaryView | DataType::LargeBinary | DataType::FixedSizeBinary(_) => DataType::Binary,
        DataType::Timestamp(..) => DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::from("UTC"))),
        DataType::Date64 => DataType::Date32,
        DataType::UInt8 => DataType::Int16,
        DataType::UInt16 => DataType::Int32,
        DataType::UInt32 => DataType::Int64,
        DataType::UInt64 => DataType::Decimal128(20, 0),
        DataType::Float16 => DataType::Float32,
        // Delta has no columns of nothing; what is always NULL may as well be text.
        DataType::Null => DataType::Utf8,
        DataType::Dictionary(_, value) => stored_type(value),
        DataType::Struct(fields) => DataType::Struct(stored_fields(fields)),
        DataType::List(item) | DataType::LargeList(item) | DataType::ListView(item) => {
            DataType::List(Arc::new(Field::new("element", stored_type(item.data_type()), true)))
        }
        other => other.clone(),
    }
}

/// Fields as they stand in a Delta table. All are nullable there, since a column may be added later.
pub(crate) fn stored_fields(fields: &Fields) -> Fields {
    fields.iter().map(|field| Arc::new(Field::new(field.name(), stored_type(field.data_type()), true))).collect()
}

/// The type the engine gives a stored value that nothing declares any more.
pub(crate) fn engine_type(stored: &DataType) -> DataType {
    match stored {
        DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
        DataType::Binary | DataType::LargeBinary => DataType::BinaryView,
        DataType::Timestamp(..) => weir_engine::catalog::TIME_TYPE,
        DataType::Dictionary(_, value) => engine_type(value),
        DataType::Struct(fields) => DataType::Struct(
            fields
                .iter()
                .map(|field| Arc::new(Field::new(field.name(), engine_type(field.data_type()), true)))
                .collect(),
        ),
        DataType::List(item) => {
            DataType::List(Arc::new(Field::new_list_field(engine_type(item.data_type()), item.is_nullable())))
        }
        other => other.clone(),
    }
}

/// Brings batches into one schema: columns by name, missing ones as NULL, types converted in both directions.
#[derive(Debug, Clone)]
pub struct Conformer {
    schema: SchemaRef,
}

impl Conformer {
    /// A conformer to `schema`.
    #[must_use]
    pub fn new(schema: SchemaRef) -> Self {
        Self { schema }
    }

    /// What comes out.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The batch in the schema.
    ///
    /// # Errors
    /// A type cannot become the other at all. A single value that cannot becomes NULL.
    pub fn conform(&self, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let columns =
            conform_fields(batch.schema_ref().fields(), batch.columns(), batch.num_rows(), self.schema.fields())?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
    }
}

fn conform_fields(
    have: &Fields,
    columns: &[ArrayRef],
    rows: usize,
    want: &Fields,
) -> Result<Vec<ArrayRef>, ArrowError> {
    want.iter()
        .map(|field| match have.find(field.name()) {
            Some((at, _)) => conform_array(&columns[at], field.data_type()),
            None => Ok(new_null_array(field.data_type(), rows)),
        })
        .collect()
}

/// One column in another type; structs by field name.
pub(crate) fn conform_array(array: &ArrayRef, want: &DataType) -> Result<ArrayRef, ArrowError> {
    match (array.data_type(), want) {
        (have, want) if have == want => Ok(Arc::clone(array)),
        (&UID_TYPE, DataType::Utf8) => Ok(hex_digits(array)),
        (DataType::Utf8 | DataType::Utf8View, &UID_TYPE) => uid_bytes(array),
        (DataType::Struct(have), DataType::Struct(want)) => {
            let array = array.as_struct();
            let columns = conform_fields(have, array.columns(), array.len(), want)?;
            let made = StructArray::try_new_with_length(want.clone(), columns, array.nulls().cloned(), array.len())?;
            Ok(Arc::new(made))
        }
        (DataType::List(_), DataType::List(item)) => {
            let array = array.as_list::<i32>();
            let values = conform_array(array.values(), item.data_type())?;
            let made = ListArray::try_new(Arc::clone(item), array.offsets().clone(), values, array.nulls().cloned())?;
            Ok(Arc::new(made))
        }
        _ => cast(array, want),
    }
}

fn hex_digits(array: &ArrayRef) -> ArrayRef {
    let bytes = array.as_fixed_size_binary();
    let digits = bytes.iter().map(|uid| uid.and_then(|uid| uid.try_into().ok()).map(|uid| Uid(uid).to_string()));
    Arc::new(digits.collect::<StringArray>())
}

fn uid_bytes(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let text = cast(array, &DataType::Utf8View)?;
    let uids = text.as_string_view().iter().map(|digits| digits.and_then(|digits| digits.parse::<Uid>().ok()));
    let bytes = FixedSizeBinaryArray::try_from_sparse_iter_with_size(uids.map(|uid| uid.map(|uid| uid.0)), 16)?;
    Ok(Arc::new(bytes))
}

/// Whether a value of this type holds an instant somewhere.
pub(crate) fn holds_time(data_type: &DataType) -> bool {
    match data_type {
        DataType::Timestamp(..) => true,
        DataType::Struct(fields) => fields.iter().any(|field| holds_time(field.data_type())),
        DataType::List(item) => holds_time(item.data_type()),
        _ => false,
    }
}

/// A schema of further fields after given ones; names that are there already are not repeated.
pub(crate) fn with_further(declared: &Fields, further: impl IntoIterator<Item = FieldRef>) -> SchemaRef {
    let mut fields: Vec<FieldRef> = declared.iter().cloned().collect();
    for field in further {
        if !fields.iter().any(|present| present.name() == field.name()) {
            fields.push(field);
        }
    }
    Arc::new(Schema::new(fields))
}

/// The condition that the time in `column` is at or after `from` and before `to`.
#[must_use]
pub fn time_range(column: &str, from: Option<EventTime>, to: Option<EventTime>) -> Expr {
    let instant = |time: EventTime| lit(ScalarValue::TimestampMicrosecond(Some(time.0), None));
    let name = || Expr::Column(datafusion::common::Column::new_unqualified(column));
    let from = from.map(|from| name().gt_eq(instant(from)));
    let to = to.map(|to| name().lt(instant(to)));
    match (from, to) {
        (Some(from), Some(to)) => from.and(to),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => lit(true),
    }
}

/// A column by its exact name.
pub(crate) fn exact(name: &str) -> Expr {
    col(datafusion::common::Column::new_unqualified(name))
}
