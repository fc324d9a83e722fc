//! Column types and durations, as they are written in `CREATE STREAM` and in settings.

use arrow::datatypes::{DataType, Field, Fields};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::tokens::Cursor;
use crate::catalog::TIME_TYPE;
use crate::error::{Diagnostic, codes, nearest};

/// Every type name of the language and the Arrow type it stands for.
const SCALARS: &[(&str, DataType)] = &[
    ("STRING", DataType::Utf8View),
    ("TEXT", DataType::Utf8View),
    ("VARCHAR", DataType::Utf8View),
    ("CHAR", DataType::Utf8View),
    ("TINYINT", DataType::Int8),
    ("SMALLINT", DataType::Int16),
    ("INT", DataType::Int32),
    ("INTEGER", DataType::Int32),
    ("BIGINT", DataType::Int64),
    ("UTINYINT", DataType::UInt8),
    ("USMALLINT", DataType::UInt16),
    ("UINT", DataType::UInt32),
    ("UINTEGER", DataType::UInt32),
    ("UBIGINT", DataType::UInt64),
    ("FLOAT", DataType::Float32),
    ("REAL", DataType::Float32),
    ("DOUBLE", DataType::Float64),
    ("BOOLEAN", DataType::Boolean),
    ("BOOL", DataType::Boolean),
    ("TIMESTAMP", TIME_TYPE),
    ("DATE", DataType::Date32),
    ("BINARY", DataType::BinaryView),
    ("VARBINARY", DataType::BinaryView),
    ("BYTES", DataType::BinaryView),
];

/// Types may nest this deep; beyond it a text is broken or hostile.
const NESTING_MAX: usize = 32;

/// Reads one type: a scalar, `ARRAY<T>`, `T[]`, `STRUCT<a T, ...>` or `ROW(a T, ...)`.
pub(super) fn parse_type(cursor: &mut Cursor<'_>) -> Result<DataType, Diagnostic> {
    parse_nested(cursor, 0)
}

fn parse_nested(cursor: &mut Cursor<'_>, depth: usize) -> Result<DataType, Diagnostic> {
    if depth > NESTING_MAX {
        return Err(cursor.error(format!("a type may nest {NESTING_MAX} levels deep, not more")));
    }
    let mut data_type = parse_unit(cursor, depth)?;
    let mut dimensions = depth;
    while cursor.eat(&Token::LBracket) {
        cursor.expect(&Token::RBracket, "`]`: a list type is written `T[]`, without a size")?;
        dimensions += 1;
        if dimensions > NESTING_MAX {
            return Err(cursor.error(format!("a type may nest {NESTING_MAX} levels deep, not more")));
        }
        data_type = list_of(data_type);
    }
    Ok(data_type)
}

fn parse_unit(cursor: &mut Cursor<'_>, depth: usize) -> Result<DataType, Diagnostic> {
    let (span, word) = match cursor.peek_word() {
        Some(word) => (cursor.span(), word.to_uppercase()),
        None => return Err(cursor.expected("a type, such as STRING, BIGINT, TIMESTAMP or STRUCT<name STRING>")),
    };
    cursor.advance();
    match word.as_str() {
        "ARRAY" | "LIST" => {
            cursor.expect(&Token::Lt, "`<`: a list type is written `ARRAY<STRING>`")?;
            let item = parse_nested(cursor, depth + 1)?;
            cursor.expect_closing_angle()?;
            Ok(list_of(item))
        }
        "STRUCT" | "ROW" => parse_struct(cursor, depth),
        "UNSIGNED" => {
            let (span, name) = (cursor.span(), cursor.peek_word().unwrap_or_default().to_uppercase());
            cursor.advance();
            scalar(&name).and_then(|signed| unsigned(&signed)).ok_or_else(|| {
                wrong(format!("UNSIGNED goes before TINYINT, SMALLINT, INT or BIGINT, not `{name}`")).at(span)
            })
        }
        _ => {
            let Some(data_type) = scalar(&word) else {
                let names = SCALARS.iter().map(|(name, _)| *name).chain(["ARRAY", "STRUCT", "ROW"]);
                let hint = synonym(&word).map(str::to_owned).or_else(|| nearest(&word, names));
                return Err(wrong(format!("there is no type `{word}`")).at(span).maybe_hint(hint));
            };
            finish_scalar(cursor, data_type)
        }
    }
}

/// What may follow a scalar type's name: a size, which means nothing here, a zone clause, or UNSIGNED.
fn finish_scalar(cursor: &mut Cursor<'_>, data_type: DataType) -> Result<DataType, Diagnostic> {
    if matches!(data_type, DataType::Float64) {
        cursor.eat_word("PRECISION");
    }
    if cursor.eat(&Token::LParen) {
        if !matches!(cursor.peek(), Some(Token::Number(..))) {
            return Err(cursor.expected("a size, as in VARCHAR(255)"));
        }
        cursor.advance();
        cursor.expect(&Token::RParen, "`)` after the size")?;
    }
    if data_type == TIME_TYPE {
        let zone: [&[&str]; 3] =
            [&["WITH", "TIME", "ZONE"], &["WITH", "LOCAL", "TIME", "ZONE"], &["WITHOUT", "TIME", "ZONE"]];
        for words in zone {
            cursor.eat_words(words);
        }
    }
    let span = cursor.span();
    if cursor.eat_word("UNSIGNED") {
        return unsigned(&data_type)
            .ok_or_else(|| wrong("UNSIGNED goes with TINYINT, SMALLINT, INT and BIGINT only").at(span));
    }
    Ok(data_type)
}

fn parse_struct(cursor: &mut Cursor<'_>, depth: usize) -> Result<DataType, Diagnostic> {
    let angle = match cursor.peek() {
        Some(Token::Lt) => true,
        Some(Token::LParen) => false,
        _ => return Err(cursor.expected("`<`: a struct type is written `STRUCT<name STRING, uid BIGINT>`")),
    };
    cursor.advance();
    let mut fields: Vec<Field> = Vec::new();
    loop {
        let span = cursor.span();
        let name = cursor.identifier("the name of a field")?;
        if fields.iter().any(|field| *field.name() == name) {
            return Err(Diagnostic::error(codes::BAD_COLUMN, format!("the struct has two fields `{name}`")).at(span));
        }
        cursor.eat(&Token::Colon);
        fields.push(Field::new(name, parse_nested(cursor, depth + 1)?, true));
        if !cursor.eat(&Token::Comma) {
            break;
        }
    }
    if angle {
        cursor.expect_closing_angle()?;
    } else {
        cursor.expect(&Token::RParen, "`,` or `)` in the list of fields")?;
    }
    Ok(DataType::Struct(Fields::from(fields)))
}

fn list_of(item: DataType) -> DataType {
    DataType::List(std::sync::Arc::new(Field::new_list_field(item, true)))
}

fn scalar(name: &str) -> Option<DataType> {
    SCALARS.iter().find(|(known, _)| *known == name).map(|(_, data_type)| data_type.clone())
}

fn unsigned(signed: &DataType) -> Option<DataType> {
    match signed {
        DataType::Int8 => Some(DataType::UInt8),
        DataType::Int16 => Some(DataType::UInt16),
        DataType::Int32 => Some(DataType::UInt32),
        DataType::Int64 => Some(DataType::UInt64),
        _ => None,
    }
}

/// What people of other systems write, and what they would write here.
fn synonym(name: &str) -> Option<&'static str> {
    Some(match name {
        "LONG" | "INT8" | "INT64" | "BIGSERIAL" => "write BIGINT",
        "INT4" | "INT32" | "NUMBER" => "write INT or BIGINT",
        "INT2" | "INT16" => "write SMALLINT",
        "UINT64" => "write UBIGINT",
        "UINT32" => "write UINT",
        "FLOAT64" | "FLOAT8" | "DECIMAL" | "NUMERIC" => "write DOUBLE",
        "TIMESTAMPTZ" | "DATETIME" | "TIMESTAMP_LTZ" | "TIME" => {
            "write TIMESTAMP; times without a zone are read in the stream's `time_zone`"
        }
        "JSON" | "JSONB" | "VARIANT" | "UUID" | "INET" | "IP" => "write STRING",
        "BYTEA" | "BLOB" => "write BINARY",
        "MAP" | "OBJECT" => "write STRUCT<...> with the fields you need; the others stay in `unmapped`",
        _ => return None,
    })
}

fn wrong(message: impl Into<String>) -> Diagnostic {
    Diagnostic::error(codes::WRONG_TYPE, message)
}

/// The SQL name of a type, for messages.
pub(crate) fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::List(item) => format!("ARRAY<{}>", type_name(item.data_type())),
        DataType::Struct(fields) => {
            let fields: Vec<_> =
                fields.iter().map(|field| format!("{} {}", field.name(), type_name(field.data_type()))).collect();
            format!("STRUCT<{}>", fields.join(", "))
        }
        DataType::Utf8 | DataType::LargeUtf8 => "STRING".to_owned(),
        DataType::Timestamp(..) => "TIMESTAMP".to_owned(),
        DataType::Duration(_) | DataType::Interval(_) => "INTERVAL".to_owned(),
        DataType::Null => "NULL".to_owned(),
        other => SCALARS
            .iter()
            .find(|(_, data_type)| data_type == other)
            .map_or_else(|| other.to_string(), |(name, _)| (*name).to_owned()),
    }
}

/// A text that is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a duration; write one such as '30 seconds', '5 minutes', '1 hour' or '2 days'")]
pub struct BadDuration(pub String);

/// Reads a duration such as `30 seconds`, `5 min`, `100ms` or `1 hour 30 minutes`.
///
/// Units: microseconds out. A number in front of a unit is whole; parts add up.
///
/// # Errors
/// A text that is empty, negative, without a unit, with an unknown unit, or larger than 292,000 years.
pub fn parse_duration_us(text: &str) -> Result<i64, BadDuration> {
    let bad = || BadDuration(text.to_owned());
    let mut rest = text.trim();
    let mut total = 0_i64;
    if rest.is_empty() {
        return Err(bad());
    }
    while !rest.is_empty() {
        let digits = rest.find(|ch: char| !ch.is_ascii_digit()).ok_or_else(bad)?;
        let number: i64 = rest[..digits].parse().ok().ok_or_else(bad)?;
        let after = rest[digits..].trim_start();
        let letters = after.find(|ch: char| !ch.is_alphabetic()).unwrap_or(after.len());
        let unit = unit_us(&after[..letters].to_lowercase()).ok_or_else(bad)?;
        total = number.checked_mul(unit).and_then(|part| total.checked_add(part)).ok_or_else(bad)?;
        rest = after[letters..].trim_start();
    }
    Ok(total)
}

fn unit_us(name: &str) -> Option<i64> {
    const SECOND: i64 = 1_000_000;
    Some(match name {
        "us" | "µs" | "microsecond" | "microseconds" => 1,
        "ms" | "millisecond" | "milliseconds" => 1_000,
        "s" | "sec" | "secs" | "second" | "seconds" => SECOND,
        "m" | "min" | "mins" | "minute" | "minutes" => 60 * SECOND,
        "h" | "hr" | "hrs" | "hour" | "hours" => 3_600 * SECOND,
        "d" | "day" | "days" => 86_400 * SECOND,
        "w" | "week" | "weeks" => 7 * 86_400 * SECOND,
        _ => return None,
    })
}
