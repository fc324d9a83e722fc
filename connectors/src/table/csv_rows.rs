//! Rows of a CSV file: columns are found by header name, `#` lines are comments, an empty cell is NULL.

use arrow::array::ArrayRef;
use weir_engine::Table;
use weir_engine::error::counted;

use super::{BadRow, Refusal, missing_column, typed};

pub(super) fn columns(table: &Table, content: &[u8]) -> Result<(Vec<ArrayRef>, usize), Refusal> {
    let mut reader =
        csv::ReaderBuilder::new().comment(Some(b'#')).flexible(true).trim(csv::Trim::All).from_reader(content);
    let header = reader.headers().map_err(|error| Refusal::Rows(vec![unreadable(&error)]))?.clone();
    let header_line = line_of(content, header.position());
    let mut bad = Vec::new();
    let mut wanted = Vec::with_capacity(table.columns.len());
    for field in &table.columns {
        let exact = header.iter().position(|name| name == field.name());
        match exact.or_else(|| header.iter().position(|name| name.eq_ignore_ascii_case(field.name()))) {
            Some(at) => wanted.push(at),
            None => bad.push(missing_column(field.name(), header_line, header.iter())),
        }
    }
    if !bad.is_empty() {
        return Err(Refusal::Rows(bad));
    }

    let mut cells: Vec<Vec<Option<String>>> = vec![Vec::new(); wanted.len()];
    let mut lines = Vec::new();
    for record in reader.records() {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                bad.push(unreadable(&error));
                continue;
            }
        };
        let line = line_of(content, record.position());
        if record.len() != header.len() {
            let reason = format!("the row has {}, the header has {}", counted(record.len(), "cell"), header.len());
            bad.push(BadRow { line, column: None, reason, hint: Some("quote cells that hold commas".to_owned()) });
            continue;
        }
        for (column, at) in cells.iter_mut().zip(&wanted) {
            column.push(record.get(*at).filter(|cell| !cell.is_empty()).map(str::to_owned));
        }
        lines.push(line);
    }
    let columns: Vec<_> =
        table.columns.iter().zip(cells).filter_map(|(field, cells)| typed(field, cells, &lines, &mut bad)).collect();
    if bad.is_empty() { Ok((columns, lines.len())) } else { Err(Refusal::Rows(bad)) }
}

/// The line on which a record begins. The reader's own position is that of the comments and empty lines before it.
fn line_of(content: &[u8], position: Option<&csv::Position>) -> u32 {
    let Some(position) = position else { return 1 };
    let mut line = position.line() as u32;
    let mut rest = content.get(position.byte() as usize..).unwrap_or_default();
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let text = rest[..end].trim_ascii();
        if !text.is_empty() && !text.starts_with(b"#") {
            break;
        }
        rest = &rest[end + 1..];
        line += 1;
    }
    line
}

fn unreadable(error: &csv::Error) -> BadRow {
    let line = error.position().map_or(1, |position| position.line() as u32);
    let reason = match error.kind() {
        csv::ErrorKind::Utf8 { .. } => "the row is not UTF-8".to_owned(),
        _ => error.to_string(),
    };
    BadRow { line, column: None, reason, hint: None }
}
