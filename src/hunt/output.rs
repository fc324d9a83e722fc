//! Rows as text: aligned for people, NDJSON and CSV for programs. Times are RFC 3339 in UTC everywhere.

use std::io::{self, Write};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, StringViewArray};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use arrow::json::WriterBuilder;
use arrow::json::writer::LineDelimited;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use weir_connectors::archive::Conformer;

use crate::print::{Format, csv_cell, one_line};
use crate::stdout::Stdout;

/// A person reads no more rows than this, and a table is aligned only once all its rows are there.
const TABLE_ROWS_MAX: usize = 10_000;

/// Where rows go, one batch after the other.
pub(super) struct Output {
    format: Format,
    conformer: Conformer,
    /// Rows of a table wait here until all widths are known.
    cells: Vec<Vec<String>>,
    rows: usize,
    written: bool,
}

impl Output {
    pub(super) fn new(format: Format, schema: &SchemaRef) -> Self {
        let fields: Fields = schema.fields().iter().map(shown_field).collect();
        let conformer = Conformer::new(Arc::new(Schema::new(fields)));
        Self { format, conformer, cells: Vec::new(), rows: 0, written: false }
    }

    /// Takes a batch; all but tables are written at once.
    pub(super) fn write(&mut self, batch: &RecordBatch) -> io::Result<()> {
        let mut out = Stdout::lock();
        self.write_to(batch, &mut out)?;
        out.finish()
    }

    /// Whether no row has come.
    pub(super) const fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Writes what is left.
    pub(super) fn finish(self) -> io::Result<()> {
        let mut out = Stdout::lock();
        if self.format == Format::Table && self.rows > TABLE_ROWS_MAX {
            eprintln!("the first {TABLE_ROWS_MAX} of {} rows; --format csv or json gives all", self.rows);
        }
        self.finish_to(&mut out)?;
        out.finish()
    }

    pub(super) fn write_to(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> io::Result<()> {
        self.rows += batch.num_rows();
        let batch = shown(&self.conformer, batch).map_err(io::Error::other)?;
        match self.format {
            Format::Json => write_json(&batch, out),
            Format::Csv => {
                self.header(out)?;
                for row in texts(&batch).map_err(io::Error::other)? {
                    let cells: Vec<_> = row.iter().map(|cell| csv_cell(cell)).collect();
                    writeln!(out, "{}", cells.join(","))?;
                }
                Ok(())
            }
            Format::Table => {
                let room = TABLE_ROWS_MAX.saturating_sub(self.cells.len()).min(batch.num_rows());
                let rows = texts(&batch.slice(0, room)).map_err(io::Error::other)?;
                self.cells.extend(rows.into_iter().map(|row| row.iter().map(|cell| one_line(cell)).collect()));
                Ok(())
            }
        }
    }

    pub(super) fn finish_to(mut self, out: &mut dyn Write) -> io::Result<()> {
        match self.format {
            Format::Json => Ok(()),
            Format::Csv => self.header(out),
            Format::Table => {
                let names = self.names();
                let lines: Vec<_> = std::iter::once(names).chain(std::mem::take(&mut self.cells)).collect();
                write_aligned(&lines, out)
            }
        }
    }

    /// The line of names, once and even where there are no rows.
    fn header(&mut self, out: &mut dyn Write) -> io::Result<()> {
        if std::mem::replace(&mut self.written, true) {
            return Ok(());
        }
        let names: Vec<_> = self.names().iter().map(|name| csv_cell(name)).collect();
        writeln!(out, "{}", names.join(","))
    }

    fn names(&self) -> Vec<String> {
        self.conformer.schema().fields().iter().map(|field| field.name().clone()).collect()
    }
}

fn write_json(batch: &RecordBatch, out: &mut dyn Write) -> io::Result<()> {
    let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(out);
    writer.write(batch).map_err(io::Error::other)?;
    writer.finish().map_err(io::Error::other)
}

fn write_aligned(lines: &[Vec<String>], out: &mut dyn Write) -> io::Result<()> {
    let columns = lines.first().map_or(0, Vec::len);
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for line in lines {
        let padded: Vec<_> = line.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}")).collect();
        writeln!(out, "{}", padded.join("  ").trim_end())?;
    }
    Ok(())
}

/// Every cell as text, row by row.
fn texts(batch: &RecordBatch) -> Result<Vec<Vec<String>>, ArrowError> {
    let options = FormatOptions::default().with_null("");
    let columns: Vec<_> = batch
        .columns()
        .iter()
        .map(|column| ArrayFormatter::try_new(column.as_ref(), &options))
        .collect::<Result<_, _>>()?;
    let row = |row: usize| columns.iter().map(|column| column.value(row).try_to_string()).collect();
    (0..batch.num_rows()).map(row).collect()
}

/// The batch as it is shown: times with their zone, bytes as text.
fn shown(conformer: &Conformer, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let columns: Vec<ArrayRef> = batch.columns().iter().map(shown_bytes).collect::<Result<_, _>>()?;
    let fields = batch.schema_ref().fields().iter().zip(&columns);
    // Columns are matched by name, and a SELECT may name two alike; positions do not repeat.
    let fields: Fields = fields
        .enumerate()
        .map(|(at, (_, column))| Arc::new(Field::new(at.to_string(), column.data_type().clone(), true)))
        .collect();
    let wanted: Fields = conformer
        .schema()
        .fields()
        .iter()
        .enumerate()
        .map(|(at, field)| Arc::new(field.as_ref().clone().with_name(at.to_string())))
        .collect();
    let plain = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?;
    let conformed = Conformer::new(Arc::new(Schema::new(wanted))).conform(&plain)?;
    RecordBatch::try_new(Arc::clone(conformer.schema()), conformed.columns().to_vec())
}

fn shown_bytes(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let bytes = match column.data_type() {
        DataType::BinaryView => Arc::clone(column),
        DataType::Binary | DataType::LargeBinary => arrow::compute::cast(column, &DataType::BinaryView)?,
        _ => return Ok(Arc::clone(column)),
    };
    let text = bytes.as_binary_view().iter().map(|bytes| bytes.map(String::from_utf8_lossy));
    Ok(Arc::new(StringViewArray::from_iter(text)))
}

fn shown_field(field: &FieldRef) -> FieldRef {
    let data_type = match field.data_type() {
        DataType::BinaryView | DataType::Binary | DataType::LargeBinary => DataType::Utf8View,
        other => shown_type(other),
    };
    Arc::new(Field::new(field.name(), data_type, true))
}

fn shown_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Timestamp(unit, None) => DataType::Timestamp(*unit, Some("UTC".into())),
        DataType::Timestamp(TimeUnit::Nanosecond, Some(_)) => data_type.clone(),
        DataType::Struct(fields) => DataType::Struct(
            fields
                .iter()
                .map(|field| Arc::new(field.as_ref().clone().with_data_type(shown_type(field.data_type()))))
                .collect(),
        ),
        DataType::List(item) => {
            DataType::List(Arc::new(item.as_ref().clone().with_data_type(shown_type(item.data_type()))))
        }
        other => other.clone(),
    }
}
