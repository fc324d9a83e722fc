//! The archive: one Delta Lake table of Parquet files per stream, and one each for alerts, actions, cases, late events
//! and dead letters. Spark, Trino, DuckDB and Athena read it without Weir.
//!
//! Writing is exactly once: every append carries the epoch it belongs to as an application transaction of the Delta log,
//! in the same commit as the files. [`ArchiveTable::append`] checks the newest transaction up to a version and commits
//! right behind *that* version, so whoever comes second with an epoch finds it done. `append` has the whole argument.
//!
//! Reading order: `schema` (what a row looks like here and there), `append` and `log` (writing), `scan` (reading as the engine
//! sees it), `replay` and `own` (reading in the order of time), `tables` (the tables that are no streams).

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::error::DataFusionError;
use deltalake_core::{DeltaTable, DeltaTableError};
use futures::TryStreamExt;
use weir_engine::Stream;

use crate::location::Location;

mod append;
mod layout;
mod log;
mod own;
mod replay;
mod rows;
mod scan;
mod schema;
mod tables;
#[cfg(test)]
mod tests;

pub use append::{Appended, ArchiveTable, Compacted};
pub use replay::ArchiveReader;
pub use rows::{
    DeadLetterRow, LateEventRow, alert_rows, dead_letter_rows, event_columns, event_rows, json_rows, late_event_rows,
};
pub use schema::{Conformer, UID, time_range};
pub use tables::{TableSpec, alerts, dead_letters, late_events};

/// All tables under one location.
#[derive(Debug, Clone)]
pub struct Archive {
    location: Location,
    app_id: Arc<str>,
}

/// Why the archive could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The store or the log of a table refuses. Whose fault: outside. What next: retry; nothing is lost by it.
    #[error("cannot {action} table {table} of the archive at {place}: {source}")]
    Table {
        /// What was tried.
        action: &'static str,
        /// The table.
        table: String,
        /// The location of the archive.
        place: String,
        /// What the Delta library says.
        source: Box<DeltaTableError>,
    },
    /// The store refuses. Whose fault: outside. What next: retry.
    #[error("cannot {action} the archive at {place}: {source}")]
    Store {
        /// What was tried.
        action: &'static str,
        /// The location of the archive.
        place: String,
        /// What the store says.
        source: object_store::Error,
    },
    /// Others commit to a table all the time. Whose fault: outside. What next: retry.
    #[error(
        "table {table} of the archive at {place} was changed by others {attempts} times in a row while it was written"
    )]
    Busy {
        /// The table.
        table: String,
        /// The location of the archive.
        place: String,
        /// How often it was tried.
        attempts: usize,
    },
    /// The rows to append begin where the table does not stand any more. What next: read its cursor, and begin there.
    #[error(
        "table {table} of the archive at {place} has got further by itself than epoch {epoch} began; what is missing is appended from there"
    )]
    Moved {
        /// The table.
        table: String,
        /// The location of the archive.
        place: String,
        /// The epoch that was to be appended.
        epoch: u64,
    },
    /// A column is archived in a type that does not hold the declared one. Whose fault: whoever changed the declaration.
    /// What next: name the new column differently, or move the old table away.
    #[error(
        "column {column} of table {table} is archived as {archived} and now declared as {declared}; rename the column, or move the archived table away"
    )]
    ColumnType {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// The type it has in the archive.
        archived: String,
        /// The type it should have.
        declared: String,
    },
    /// The archive has no such table yet.
    #[error("the archive at {place} has no table {table} yet")]
    NoTable {
        /// The table.
        table: String,
        /// The location of the archive.
        place: String,
    },
    /// Rows do not fit their table; a fault of Weir's.
    #[error("rows do not fit table {table}: {source}")]
    Rows {
        /// The table.
        table: String,
        /// What Arrow says.
        source: arrow::error::ArrowError,
    },
    /// A scan failed. Whose fault: outside.
    #[error("cannot read table {table} of the archive: {source}")]
    Scan {
        /// The table.
        table: String,
        /// What DataFusion says.
        source: Box<DataFusionError>,
    },
}

impl ArchiveError {
    fn table(action: &'static str, table: &str, place: &str, source: DeltaTableError) -> Self {
        Self::Table { action, table: table.to_owned(), place: place.to_owned(), source: Box::new(source) }
    }

    /// Whether trying again later can help.
    #[must_use]
    pub const fn is_retriable(&self) -> bool {
        matches!(self, Self::Table { .. } | Self::Store { .. } | Self::Busy { .. } | Self::Moved { .. })
    }
}

impl Archive {
    /// The archive at a location. Nothing is read or written by that. `app_id` names the writer whose epochs its tables
    /// count; a second, independent pipeline into the same tables needs another.
    #[must_use]
    pub fn new(location: Location, app_id: &str) -> Self {
        Self { location, app_id: Arc::from(app_id) }
    }

    /// Where it is.
    #[must_use]
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// The names of the tables that exist, sorted. Their folders are listed, not opened.
    ///
    /// # Errors
    /// The store cannot be listed.
    pub async fn tables(&self) -> Result<Vec<String>, ArchiveError> {
        let listing =
            self.location.store().list_with_delimiter(None).await.map_err(|source| self.store_error("list", source))?;
        let folders = listing.common_prefixes.iter().filter_map(|folder| folder.filename());
        let mut names: Vec<_> = folders.map(str::to_owned).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// Opens a table for writing, and creates it where it does not exist. Declared columns that it lacks are added.
    ///
    /// # Errors
    /// The store refuses, or a column is archived in another type.
    pub async fn writer(&self, spec: TableSpec) -> Result<ArchiveTable, ArchiveError> {
        ArchiveTable::open_or_create(&self.location, &self.app_id, spec).await
    }

    /// Opens the table of a stream for writing.
    ///
    /// # Errors
    /// As [`writer`](Self::writer).
    pub async fn stream_writer(&self, stream: &Stream) -> Result<ArchiveTable, ArchiveError> {
        self.writer(TableSpec::of_stream(stream)).await
    }

    /// A table as the engine sees it: text as views, times without a zone, declared columns that were never archived as
    /// NULL. Columns of the table that `spec` does not declare come after the declared ones.
    ///
    /// # Errors
    /// The table cannot be read. A table that was never written is empty, and that is no error.
    pub async fn provider(&self, spec: &TableSpec) -> Result<Arc<dyn TableProvider>, ArchiveError> {
        match self.open(&spec.name).await? {
            Some(table) => scan::provider(spec, table).await,
            None => scan::empty(spec),
        }
    }

    /// The table of a stream as the engine sees it, with the columns of [`Stream::all_columns`] and `_uid`.
    ///
    /// # Errors
    /// As [`provider`](Self::provider).
    pub async fn stream_provider(&self, stream: &Stream) -> Result<Arc<dyn TableProvider>, ArchiveError> {
        self.provider(&TableSpec::of_stream(stream)).await
    }

    /// A table that nothing declares any more, with the columns it has.
    ///
    /// # Errors
    /// It does not exist or cannot be read.
    pub async fn undeclared_provider(&self, name: &str) -> Result<Arc<dyn TableProvider>, ArchiveError> {
        match self.open(name).await? {
            Some(table) => scan::provider(&TableSpec::undeclared(name), table).await,
            None => Err(ArchiveError::NoTable { table: name.to_owned(), place: self.place() }),
        }
    }

    /// How many bytes of Parquet a table has, for progress on long scans; 0 where there is none.
    ///
    /// # Errors
    /// The store refuses.
    pub async fn table_bytes(&self, name: &str) -> Result<u64, ArchiveError> {
        let folder = self.location.join(name).store();
        let objects = folder.list(None).map_err(|source| self.store_error("list", source));
        let is_data = |path: &str| path.ends_with(".parquet") && !path.contains("_delta_log");
        objects
            .try_fold(0, |sum, object| {
                let bytes = if is_data(object.location.as_ref()) { object.size } else { 0 };
                std::future::ready(Ok(sum + bytes))
            })
            .await
    }

    /// The table of that name, where it exists. Its log is read when it is scanned, and then only what the scan needs.
    async fn open(&self, name: &str) -> Result<Option<DeltaTable>, ArchiveError> {
        let table = log::unloaded(&self.location, name);
        let exists = table.verify_deltatable_existence().await;
        let exists = exists.map_err(|source| ArchiveError::table("open", name, &self.place(), source))?;
        Ok(exists.then_some(table))
    }

    fn place(&self) -> String {
        self.location.url().to_string()
    }

    fn store_error(&self, action: &'static str, source: object_store::Error) -> ArchiveError {
        ArchiveError::Store { action, place: self.place(), source }
    }
}
