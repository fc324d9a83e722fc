//! Types in `CAST` and `::` are those of columns: `TIMESTAMP` has microseconds, `UBIGINT` exists, `INET` does not.

use arrow::datatypes::DataType;
use datafusion::sql::sqlparser::ast::{
    ArrayElemTypeDef, DataType as SqlType, StructBracketKind, StructField, TimezoneInfo,
};
use datafusion::sql::sqlparser::tokenizer::Span as SqlSpan;

use crate::catalog::TIME_TYPE;
use crate::error::{Diagnostic, Place, Span};
use crate::sql::tokens::{Cursor, exact, tokenize};
use crate::sql::types::parse_type;

/// Writes a type so that DataFusion reads the one that a column declared so would have.
pub(super) fn exact_type(written: &mut SqlType, span: Option<Span>) -> Result<(), Diagnostic> {
    if is_foreign(written) {
        return Ok(());
    }
    let (tokens, _) = tokenize(&written.to_string(), Place::START);
    let data_type = parse_type(&mut Cursor::new(&tokens)).map_err(|diagnostic| diagnostic.at(span))?;
    if let Some(known) = sql_type(&data_type) {
        *written = known;
    }
    Ok(())
}

/// Types that columns do not have but expressions may.
fn is_foreign(written: &SqlType) -> bool {
    matches!(
        written,
        SqlType::Decimal(_) | SqlType::Numeric(_) | SqlType::Dec(_) | SqlType::Interval { .. } | SqlType::Time(..)
    )
}

fn sql_type(data_type: &DataType) -> Option<SqlType> {
    Some(match data_type {
        DataType::Utf8View => SqlType::String(None),
        DataType::Int8 => SqlType::TinyInt(None),
        DataType::Int16 => SqlType::SmallInt(None),
        DataType::Int32 => SqlType::Int(None),
        DataType::Int64 => SqlType::BigInt(None),
        DataType::UInt8 => SqlType::TinyIntUnsigned(None),
        DataType::UInt16 => SqlType::SmallIntUnsigned(None),
        DataType::UInt32 => SqlType::IntUnsigned(None),
        DataType::UInt64 => SqlType::BigIntUnsigned(None),
        DataType::Float32 => SqlType::Real,
        DataType::Float64 => SqlType::DoublePrecision,
        DataType::Boolean => SqlType::Boolean,
        DataType::Date32 => SqlType::Date,
        DataType::BinaryView => SqlType::Bytea,
        time if *time == TIME_TYPE => SqlType::Timestamp(Some(6), TimezoneInfo::None),
        DataType::List(item) => SqlType::Array(ArrayElemTypeDef::AngleBracket(Box::new(sql_type(item.data_type())?))),
        DataType::Struct(fields) => {
            let fields = fields.iter().map(|field| {
                let field_name = Some(exact(field.name(), SqlSpan::empty()));
                Some(StructField { field_name, field_type: sql_type(field.data_type())?, options: None })
            });
            SqlType::Struct(fields.collect::<Option<_>>()?, StructBracketKind::AngleBrackets)
        }
        _ => return None,
    })
}
