//! Rows for people and for programs: a table on a terminal, NDJSON when piped, CSV when asked for.

use std::io::{self, Write};

use clap::ValueEnum;
use serde_json::{Map, Value};

use crate::stdout::{self, Stdout};

/// How rows are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Aligned columns for reading.
    Table,
    /// One JSON object per line.
    Json,
    /// Comma-separated values with a header line (RFC 4180).
    Csv,
}

impl Format {
    /// What was asked for, or what suits whoever reads standard output.
    pub(crate) fn or_default(chosen: Option<Self>) -> Self {
        chosen.unwrap_or(if stdout::is_terminal() { Self::Table } else { Self::Json })
    }

    /// Whether a person may read along: no form for programs was asked for.
    pub(crate) fn is_for_people(chosen: Option<Self>) -> bool {
        matches!(chosen, None | Some(Self::Table))
    }
}

/// Rows that are small enough to be held in memory.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rows {
    columns: Vec<&'static str>,
    rows: Vec<Vec<Value>>,
}

impl Rows {
    /// No rows yet, with these columns.
    pub(crate) fn new(columns: &[&'static str]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row with one value per column.
    pub(crate) fn push(&mut self, row: Vec<Value>) {
        debug_assert_eq!(row.len(), self.columns.len());
        self.rows.push(row);
    }

    /// Prints all rows to standard output.
    pub(crate) fn print(&self, format: Format) -> io::Result<()> {
        let mut out = Stdout::lock();
        self.write(format, &mut out)?;
        out.finish()
    }

    /// Prints all rows in the form that was chosen. Where there are none, and no form was chosen that says so itself, it is
    /// said on standard error, and standard output stays empty.
    pub(crate) fn print_or_say(&self, chosen: Option<Format>, nothing: &str) -> io::Result<()> {
        if self.rows.is_empty() && Format::is_for_people(chosen) {
            eprintln!("{nothing}");
            return Ok(());
        }
        self.print(Format::or_default(chosen))
    }

    fn write(&self, format: Format, out: &mut dyn Write) -> io::Result<()> {
        match format {
            Format::Table => self.write_table(out),
            Format::Json => self.write_json(out),
            Format::Csv => self.write_csv(out),
        }
    }

    fn write_table(&self, out: &mut dyn Write) -> io::Result<()> {
        let header = self.columns.iter().map(|&column| column.to_owned()).collect::<Vec<_>>();
        let cells = self.rows.iter().map(|row| row.iter().map(|value| one_line(&text(value))).collect());
        let lines = std::iter::once(header).chain(cells).collect::<Vec<Vec<String>>>();
        let widths = (0..self.columns.len())
            .map(|column| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0))
            .collect::<Vec<_>>();
        for line in &lines {
            let padded = line.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}"));
            writeln!(out, "{}", padded.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        Ok(())
    }

    fn write_json(&self, out: &mut dyn Write) -> io::Result<()> {
        for row in &self.rows {
            let keys = self.columns.iter().map(|&column| column.to_owned());
            let object = keys.zip(row.iter().cloned()).collect::<Map<_, _>>();
            serde_json::to_writer(&mut *out, &object)?;
            out.write_all(b"\n")?;
        }
        Ok(())
    }

    fn write_csv(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{}", self.columns.join(","))?;
        for row in &self.rows {
            let cells = row.iter().map(|value| csv_cell(&text(value)));
            writeln!(out, "{}", cells.collect::<Vec<_>>().join(","))?;
        }
        Ok(())
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A value from a log may hold line ends and escape sequences; a terminal must not obey them.
pub(crate) fn one_line(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

/// A cell of RFC 4180.
pub(crate) fn csv_cell(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(format: Format) -> String {
        let mut rows = Rows::new(&["id", "title"]);
        rows.push(vec![1.into(), "plain".into()]);
        rows.push(vec![22.into(), "a \"b\",\nc\u{1b}[31m".into()]);
        let mut out = Vec::new();
        rows.write(format, &mut out).expect("memory takes everything");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn table_is_aligned_and_shows_control_characters_as_text() {
        assert_eq!(printed(Format::Table), "id  title\n1   plain\n22  a \"b\",\\nc\\u{1b}[31m\n");
    }

    #[test]
    fn json_is_one_object_per_line() {
        assert_eq!(
            printed(Format::Json),
            "{\"id\":1,\"title\":\"plain\"}\n{\"id\":22,\"title\":\"a \\\"b\\\",\\nc\\u001b[31m\"}\n"
        );
    }

    #[test]
    fn csv_quotes_what_needs_quotes() {
        assert_eq!(printed(Format::Csv), "id,title\n1,plain\n22,\"a \"\"b\"\",\nc\u{1b}[31m\"\n");
    }
}
