//! The Delta log of one table, as its writer sees it: the newest version it knows, and commits right behind it.
//!
//! A commit here is blind: it needs to know the version, the columns and the newest epoch, and not the files of the
//! table. The library's own commit reads all files again after each one, which makes the thousandth commit a hundred
//! times dearer than the first; a log that is appended to every few seconds cannot afford that.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::datatypes::{Field, Fields, Schema};
use arrow::error::ArrowError;
use deltalake_core::kernel::engine::arrow_conversion::{TryIntoArrow, TryIntoKernel};
use deltalake_core::kernel::transaction::{CommitData, CommitProperties, PROTOCOL, TransactionError};
use deltalake_core::kernel::{Action, Add, StructField, Transaction};
use deltalake_core::logstore::{CommitOrBytes, StorageConfig, commit_uri_from_version, default_logstore};
use deltalake_core::operations::create::CreateBuilder;
use deltalake_core::protocol::checkpoints;
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use deltalake_core::table::config::TablePropertiesExt;
use deltalake_core::{DeltaTable, DeltaTableError};
use uuid::Uuid;

use super::schema::DAY;
use crate::failpoint;
use crate::location::Location;

/// The log of one table, open for commits.
#[derive(Debug)]
pub(super) struct TableLog {
    app_id: Arc<str>,
    location: Location,
    /// What was last read; columns and properties hold up to `version`, since nobody else has committed up to there.
    table: DeltaTable,
    /// The newest version, as far as this writer knows.
    version: u64,
    /// The newest epoch up to that version.
    cursor: Option<u64>,
}

/// What became of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Committed {
    /// It is the next version of the table.
    Yes,
    /// Another commit was faster, and this one did not happen.
    OvertakenBy(u64),
}

/// A table whose log was not read yet.
pub(super) fn unloaded(archive: &Location, name: &str) -> DeltaTable {
    let location = archive.join(name);
    let config = StorageConfig::default();
    DeltaTable::new(default_logstore(location.store(), location.root(), location.url(), &config))
}

impl TableLog {
    /// Reads the log of the table and, where there is none, begins it with these columns.
    pub(super) async fn open(
        archive: &Location,
        name: &str,
        app_id: &Arc<str>,
        stored: &Fields,
    ) -> Result<Self, DeltaTableError> {
        let mut table = unloaded(archive, name);
        if table.verify_deltatable_existence().await? {
            table.load().await?;
        } else {
            table = create(archive, name, stored).await?;
        }
        PROTOCOL.can_write_to(table.snapshot()?)?;
        let location = archive.join(name);
        let mut log = Self { app_id: Arc::clone(app_id), location, table, version: 0, cursor: None };
        log.take_over().await?;
        Ok(log)
    }

    /// The newest epoch that was appended.
    pub(super) const fn cursor(&self) -> Option<u64> {
        self.cursor
    }

    /// The table's files and properties, as last read.
    pub(super) const fn table(&self) -> &DeltaTable {
        &self.table
    }

    /// Reads what was committed since.
    pub(super) async fn reload(&mut self) -> Result<(), DeltaTableError> {
        self.table.update_state().await?;
        self.take_over().await
    }

    async fn take_over(&mut self) -> Result<(), DeltaTableError> {
        let state = self.table.snapshot()?;
        let newest = state.transaction_version(self.table.log_store().as_ref(), self.app_id.as_ref()).await?;
        self.version = state.version();
        self.cursor = newest.and_then(|epoch| u64::try_from(epoch).ok());
        Ok(())
    }

    /// The columns of the table as they are stored, without the partition column.
    pub(super) fn columns(&self) -> Result<Fields, DeltaTableError> {
        let schema: Schema = self.table.snapshot()?.schema().as_ref().try_into_arrow()?;
        Ok(schema.fields().iter().filter(|field| field.name() != DAY).cloned().collect())
    }

    /// Whether all of these files are in the table, as last read.
    pub(super) fn has_files(&self, adds: &[Add]) -> Result<bool, DeltaTableError> {
        let files = self.table.snapshot()?.log_data();
        let present: HashSet<String> = files.into_iter().map(|file| file.object_store_path().to_string()).collect();
        Ok(adds.iter().all(|add| present.contains(&add.path)))
    }

    /// Makes files and their epoch the next version of the table, if nobody else was faster.
    pub(super) async fn commit(&mut self, epoch: u64, adds: Vec<Add>) -> Result<Committed, DeltaTableError> {
        let transaction = Transaction::new(&self.app_id, i64::try_from(epoch).unwrap_or(i64::MAX));
        let operation =
            DeltaOperation::Write { mode: SaveMode::Append, partition_by: Some(vec![DAY.to_owned()]), predicate: None };
        let actions = adds.into_iter().map(Action::Add).collect();
        let commit = CommitData::new(actions, operation, HashMap::new(), vec![transaction]);
        let bytes = CommitOrBytes::LogBytes(commit.get_bytes()?);
        let version = self.version + 1;
        match self.table.log_store().write_commit_entry(version, bytes, Uuid::new_v4()).await {
            Ok(()) => {
                failpoint::reach("archive.committed");
                self.location.flush(&commit_uri_from_version(Some(version))).await?;
                self.version = version;
                self.cursor = Some(epoch);
                self.tidy().await;
                Ok(Committed::Yes)
            }
            Err(TransactionError::VersionAlreadyExists(version)) => Ok(Committed::OvertakenBy(version)),
            Err(error) => Err(error.into()),
        }
    }

    /// Sums the log up every now and then, so that reading it stays short. The commit stands whether or not this works.
    async fn tidy(&mut self) {
        let interval = self.table.snapshot().map_or(100, |state| state.table_config().checkpoint_interval().get());
        if !self.version.is_multiple_of(interval) {
            return;
        }
        let summing = async {
            self.table.update_state().await?;
            checkpoints::create_checkpoint(&self.table, None).await?;
            checkpoints::cleanup_metadata(&self.table, None).await
        };
        if let Err(error) = summing.await {
            tracing::warn!(table = %self.table.table_url(), %error, "the log of an archive table could not be summed up");
        }
    }

    /// Adds columns, if nobody else was faster.
    pub(super) async fn add_columns(&mut self, missing: &[Arc<Field>]) -> Result<Committed, DeltaTableError> {
        if self.table.version() != Some(self.version) {
            self.reload().await?;
        }
        let properties = CommitProperties::default().with_max_retries(0);
        let adding = self.table.clone().add_columns().with_fields(kernel_fields(missing)?);
        match adding.with_commit_properties(properties).await {
            Ok(table) => {
                self.table = table;
                self.take_over().await?;
                Ok(Committed::Yes)
            }
            Err(error) if is_conflict(&error) => Ok(Committed::OvertakenBy(self.version + 1)),
            Err(error) => Err(error),
        }
    }
}

/// Creates the table; where another process was faster, takes that one.
async fn create(archive: &Location, name: &str, stored: &Fields) -> Result<DeltaTable, DeltaTableError> {
    match creation(archive, name, stored)?.await {
        Ok(table) => Ok(table),
        Err(error) => {
            let mut table = unloaded(archive, name);
            match table.load().await {
                Ok(()) => Ok(table),
                Err(_) => Err(error),
            }
        }
    }
}

/// How a table begins.
pub(super) fn creation(archive: &Location, name: &str, stored: &Fields) -> Result<CreateBuilder, DeltaTableError> {
    let day = Arc::new(Field::new(DAY, arrow::datatypes::DataType::Date32, true));
    let fields: Vec<_> = stored.iter().cloned().chain([day]).collect();
    let creating = unloaded(archive, name)
        .create()
        .with_columns(kernel_fields(&fields)?)
        .with_partition_columns([DAY])
        .with_table_name(name)
        .with_comment("written by Weir");
    Ok(creating)
}

fn kernel_fields(fields: &[Arc<Field>]) -> Result<Vec<StructField>, ArrowError> {
    fields.iter().map(|field| field.as_ref().try_into_kernel()).collect()
}

/// Whether a commit of the library was refused because of others, which means that it did not happen.
fn is_conflict(error: &DeltaTableError) -> bool {
    match error {
        DeltaTableError::VersionAlreadyExists(_) => true,
        DeltaTableError::Transaction { source } => matches!(
            source,
            TransactionError::MaxCommitAttempts(_)
                | TransactionError::CommitConflict(_)
                | TransactionError::VersionAlreadyExists(_)
        ),
        _ => false,
    }
}
