//! Look-up tables from files: CSV by header name, and NDJSON. A table is loaded whole or not at all.
//!
//! A file with one bad row is refused with file, line, column and reason, and the version before it stays in use: half
//! a list of indicators is worse than yesterday's whole one.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, StringViewArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, FieldRef};
use weir_engine::catalog::TableFormat;
use weir_engine::error::nearest;
use weir_engine::{Diagnostic, Place, Span, Table, TableVersion, Uid};

mod csv_rows;
mod json_rows;
#[cfg(test)]
mod tests;

/// The code of a look-up table whose rows cannot be used.
pub const BAD_TABLE: &str = "L001";

/// A file larger than this is no look-up table.
pub const TABLE_BYTES_MAX: u64 = 1 << 30;

/// How many bad rows are told one by one.
const TOLD_MAX: usize = 20;

/// Why a table could not be loaded. Whose fault: whoever writes the file. What next: the old version stays in use.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The file cannot be read.
    #[error("table {table}: cannot read {}: {source}", path.display())]
    Read {
        /// The table.
        table: String,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file is too large.
    #[error("table {table}: {} has {bytes} bytes; a look-up table has at most {TABLE_BYTES_MAX}", path.display())]
    TooLarge {
        /// The table.
        table: String,
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// Rows do not fit the declared columns.
    #[error("table {table}: {}{}", rows.iter().map(|row| format!("\n  {}:{row}", path.display())).collect::<String>(), more_text(*more))]
    Rows {
        /// The table.
        table: String,
        /// The file.
        path: PathBuf,
        /// What is wrong, row by row.
        rows: Vec<BadRow>,
        /// How many more there are.
        more: usize,
    },
    /// The columns do not make a batch of rows; a fault of Weir's.
    #[error("table {table}: {source}")]
    Arrow {
        /// The table.
        table: String,
        /// What Arrow says.
        source: arrow::error::ArrowError,
    },
}

/// One thing that is wrong in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRow {
    /// The line, from 1.
    pub line: u32,
    /// The column, where one is meant.
    pub column: Option<String>,
    /// What is wrong.
    pub reason: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl fmt::Display for BadRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.line)?;
        if let Some(column) = &self.column {
            write!(f, "column {column}: ")?;
        }
        f.write_str(&self.reason)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, "; {hint}"))
    }
}

fn more_text(more: usize) -> String {
    if more == 0 { String::new() } else { format!("\n  and {more} more") }
}

impl TableError {
    /// The same for `weir check`: one diagnostic per bad row, and one that counts those that are not told one by one.
    #[must_use]
    pub fn diagnostics(&self) -> Vec<Diagnostic> {
        let Self::Rows { path, rows, more, .. } = self else {
            return vec![Diagnostic::error(BAD_TABLE, self.to_string())];
        };
        let told = rows.iter().map(|row| {
            let column = row.column.as_ref().map(|name| format!("column {name}: ")).unwrap_or_default();
            Diagnostic::error(BAD_TABLE, format!("{column}{}", row.reason))
                .at(Span::at(Place { line: row.line, column: 1 }))
                .maybe_hint(row.hint.clone())
        });
        let last = rows.last().filter(|_| *more > 0).map(|row| {
            let message = format!("{more} more mistakes follow");
            Diagnostic::error(BAD_TABLE, message).at(Span::at(Place { line: row.line, column: 1 }))
        });
        told.chain(last).map(|diagnostic| diagnostic.in_file(path.display().to_string())).collect()
    }
}

/// Loads a table. `base` is the project folder, where relative locations start.
///
/// # Errors
/// The file cannot be read, or a row does not fit.
pub fn load(table: &Table, base: &Path) -> Result<TableVersion, TableError> {
    TableFile::new(Arc::new(table.clone()), base).read().map(|(version, _)| version)
}

/// The file of a table, looked at again and again.
#[derive(Debug)]
pub struct TableFile {
    table: Arc<Table>,
    path: PathBuf,
    seen: Option<Stamp>,
    version: Option<Uid>,
}

/// What tells cheaply that a file may have changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    bytes: u64,
}

impl TableFile {
    /// A file not yet looked at.
    #[must_use]
    pub fn new(table: Arc<Table>, base: &Path) -> Self {
        let location = table.location.strip_prefix("file:").unwrap_or(&table.location);
        let path = base.join(location);
        Self { table, path, seen: None, version: None }
    }

    /// The table whose file this is.
    #[must_use]
    pub fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// The new version where the content has changed since the last look, and `None` where it has not. A file that is
    /// refused is refused once, until it changes again.
    ///
    /// # Errors
    /// The file cannot be read, or a row does not fit. The version before it stays in use.
    pub fn poll(&mut self) -> Result<Option<TableVersion>, TableError> {
        let stamp = self.stamp()?;
        if self.seen == Some(stamp) {
            return Ok(None);
        }
        // Read before the stamp is kept, so that a write in between is seen at the next look.
        let result = self.read();
        if !matches!(result, Err(TableError::Read { .. })) {
            self.seen = Some(stamp);
        }
        let (version, uid) = result?;
        if self.version == Some(uid) {
            return Ok(None);
        }
        self.version = Some(uid);
        Ok(Some(version))
    }

    fn stamp(&self) -> Result<Stamp, TableError> {
        let metadata = std::fs::metadata(&self.path).map_err(|source| self.unreadable(source))?;
        Ok(Stamp { modified: metadata.modified().ok(), bytes: metadata.len() })
    }

    fn read(&self) -> Result<(TableVersion, Uid), TableError> {
        let bytes = self.stamp()?.bytes;
        if bytes > TABLE_BYTES_MAX {
            return Err(TableError::TooLarge { table: self.table.name.clone(), path: self.path.clone(), bytes });
        }
        let content = std::fs::read(&self.path).map_err(|source| self.unreadable(source))?;
        let version = Uid::of_cause([b"table".as_slice(), self.table.name.as_bytes(), &content]);
        let rows = rows_of(&self.table, &content).map_err(|refusal| self.refused(refusal))?;
        Ok((TableVersion { name: Arc::from(self.table.name.as_str()), version, rows }, version))
    }

    fn unreadable(&self, source: std::io::Error) -> TableError {
        TableError::Read { table: self.table.name.clone(), path: self.path.clone(), source }
    }

    fn refused(&self, refusal: Refusal) -> TableError {
        let table = self.table.name.clone();
        match refusal {
            Refusal::Rows(mut rows) => {
                rows.sort_by_key(|row| row.line);
                let more = rows.len().saturating_sub(TOLD_MAX);
                rows.truncate(TOLD_MAX);
                TableError::Rows { table, path: self.path.clone(), rows, more }
            }
            Refusal::Arrow(source) => TableError::Arrow { table, source },
        }
    }
}

/// What a format says when it gives no rows.
enum Refusal {
    Rows(Vec<BadRow>),
    Arrow(arrow::error::ArrowError),
}

fn rows_of(table: &Table, content: &[u8]) -> Result<RecordBatch, Refusal> {
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    let (columns, lines) = match table.format {
        TableFormat::Csv => csv_rows::columns(table, content),
        TableFormat::Ndjson => json_rows::columns(table, content),
    }?;
    let options = RecordBatchOptions::new().with_row_count(Some(lines));
    RecordBatch::try_new_with_options(table.schema(), columns, &options).map_err(Refusal::Arrow)
}

/// Cells of one column, as text, in its declared type.
fn typed(field: &FieldRef, cells: Vec<Option<String>>, lines: &[u32], bad: &mut Vec<BadRow>) -> Option<ArrayRef> {
    let told = |line: u32, reason: String| BadRow { line, column: Some(field.name().clone()), reason, hint: None };
    if !field.is_nullable() {
        let empty = cells.iter().zip(lines).filter(|(cell, _)| cell.is_none());
        bad.extend(empty.map(|(_, line)| told(*line, "it is empty and is declared NOT NULL".to_owned())));
    }
    let text = StringViewArray::from_iter(cells);
    if field.data_type() == &DataType::Utf8View {
        return Some(Arc::new(text));
    }
    let typed = match cast_with_options(&text, field.data_type(), &CastOptions::default()) {
        Ok(typed) => typed,
        Err(error) => {
            bad.push(told(1, format!("a table cannot have the type {}: {error}", field.data_type())));
            return None;
        }
    };
    for (row, line) in lines.iter().enumerate() {
        if typed.is_null(row) && !text.is_null(row) {
            bad.push(told(*line, format!("{:?} is not {}", text.value(row), type_text(field.data_type()))));
        }
    }
    Some(typed)
}

/// A type as an author thinks of it.
fn type_text(data_type: &DataType) -> String {
    match data_type {
        DataType::Boolean => "true or false".to_owned(),
        DataType::Float16 | DataType::Float32 | DataType::Float64 => "a number".to_owned(),
        DataType::Timestamp(..) => "a time such as 2026-01-31T08:00:00Z".to_owned(),
        DataType::Date32 | DataType::Date64 => "a date such as 2026-01-31".to_owned(),
        integer if integer.is_integer() => format!("a whole number ({integer})"),
        other => format!("a value of type {other}"),
    }
}

/// A declared column that the file does not have.
fn missing_column<'a>(name: &str, line: u32, present: impl IntoIterator<Item = &'a str>) -> BadRow {
    let present: Vec<_> = present.into_iter().collect();
    let hint = nearest(name, present.iter().copied()).unwrap_or_else(|| format!("the file has {}", present.join(", ")));
    BadRow { line, column: Some(name.to_owned()), reason: "the file has no such column".to_owned(), hint: Some(hint) }
}
