//! `CREATE TABLE name (columns) WITH (options)`.

use arrow::datatypes::Fields;

use super::columns::{self, Columns};
use super::expect_end;
use super::options::{OptionValue, Options};
use crate::catalog::{Table, TableFormat};
use crate::error::{Diagnostic, Span, codes};
use crate::sql::tokens::Cursor;

/// How often a table's location is looked at where nothing is said.
const REFRESH_US: i64 = 15 * 60 * 1_000_000;

/// Reads what follows the name. `None`: it was read to its end, and everything wrong with it was told.
pub(super) fn parse(
    cursor: &mut Cursor<'_>,
    name: String,
    name_span: Option<Span>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Result<Option<Table>, Diagnostic> {
    let before = diagnostics.len();
    let Columns { fields, watermark, .. } = columns::parse(cursor, diagnostics)?;
    if let Some(watermark) = watermark {
        diagnostics
            .push(Diagnostic::error(codes::BAD_OPTION, "a table has no WATERMARK; a stream has").at(watermark.span));
    }
    let mut options = Options::parse(cursor)?;
    expect_end(cursor)?;

    let location = options.take("location");
    if location.is_none() && options.diagnostics.is_empty() {
        let message = format!("the table `{name}` does not say where its rows are");
        options.error(name_span, message, Some("add WITH (location = 'tables/name.csv')".to_owned()));
    }
    let format = format(&location, &mut options);
    let refresh_us = options.take_duration_us("refresh").unwrap_or(REFRESH_US);
    if refresh_us == 0 {
        options.error(name_span, "`refresh` is longer than nothing", Some("for example '15 minutes'".to_owned()));
    }
    diagnostics.extend(options.finish());

    if diagnostics.len() > before {
        return Ok(None);
    }
    Ok(location.zip(format).map(|(location, format)| Table {
        name,
        columns: Fields::from(fields),
        location: location.text,
        format,
        refresh_us,
        file: String::new(),
        span: name_span,
    }))
}

/// What is said, or what the location's extension says.
fn format(location: &Option<OptionValue>, options: &mut Options) -> Option<TableFormat> {
    match options.take_word("format", &["", "csv", "ndjson"]) {
        "csv" => return Some(TableFormat::Csv),
        "ndjson" => return Some(TableFormat::Ndjson),
        _ => {}
    }
    let location = location.as_ref()?;
    let path = location.text.to_lowercase();
    if path.ends_with(".csv") {
        Some(TableFormat::Csv)
    } else if path.ends_with(".ndjson") || path.ends_with(".jsonl") {
        Some(TableFormat::Ndjson)
    } else {
        let message = format!("the extension of `{}` does not tell its format", location.text);
        options.error(location.span, message, Some("add format = 'csv' or format = 'ndjson'".to_owned()));
        None
    }
}
