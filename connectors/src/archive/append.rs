//! Writing a table: files first, then one commit that names them and the epoch they belong to.
//!
//! Why it is exactly once. A commit is made on one loaded snapshot and with no retries, so it either becomes the very
//! next version of the table or does not happen. Before it, the application transaction of that same snapshot must be
//! below the epoch. Two writers of one epoch therefore cannot both commit: the second is refused, loads anew, and finds
//! the epoch done. Files of a commit that certainly did not happen are deleted; where the answer was lost they stay until
//! the next look at the log says whose they are, because deleting files that were committed would lose events.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::{SortColumn, SortOptions, cast, concat_batches, lexsort_to_indices, take_record_batch};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use arrow::error::ArrowError;
use deltalake_core::datafile::writer::{DeltaWriter, WriterConfig};
use deltalake_core::kernel::engine::arrow_conversion::{TryIntoArrow, TryIntoKernel};
use deltalake_core::kernel::transaction::{CommitBuilder, CommitProperties, TransactionError};
use deltalake_core::kernel::{Action, Add, StructField, Transaction};
use deltalake_core::logstore::{StorageConfig, default_logstore};
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use deltalake_core::table::config::TablePropertiesExt;
use deltalake_core::{DeltaTable, DeltaTableError};
use object_store::ObjectStoreExt;
use object_store::path::Path;

use super::schema::{Conformer, DAY, stored_fields};
use super::tables::TableSpec;
use super::{ArchiveError, layout};
use crate::location::Location;

/// How often a commit is tried when others change the table in between.
const ATTEMPTS_MAX: usize = 16;

/// A table of the archive, open for writing.
#[derive(Debug)]
pub struct ArchiveTable {
    spec: TableSpec,
    place: String,
    app_id: Arc<str>,
    table: DeltaTable,
    /// The newest epoch in the loaded snapshot.
    cursor: Option<u64>,
}

/// What an append has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Appended {
    /// Rows written.
    pub rows: u64,
    /// Files written.
    pub files: u64,
    /// Bytes of Parquet written.
    pub bytes: u64,
    /// The epoch stood in the table already, and nothing was written.
    pub repeated: bool,
}

/// The table of that name as it is now, where it exists.
pub(super) async fn open(archive: &Location, name: &str) -> Result<Option<DeltaTable>, ArchiveError> {
    let mut table = unloaded(archive, name);
    let failed = |source| failure("open", name, archive.url().as_str(), source);
    if !table.verify_deltatable_existence().await.map_err(failed)? {
        return Ok(None);
    }
    table.load().await.map_err(failed)?;
    Ok(Some(table))
}

fn unloaded(archive: &Location, name: &str) -> DeltaTable {
    let location = archive.join(name);
    DeltaTable::new(default_logstore(
        location.store(),
        location.root(),
        location.url(),
        &StorageConfig::default(),
    ))
}

fn failure(action: &'static str, table: &str, place: &str, source: DeltaTableError) -> ArchiveError {
    ArchiveError::Table {
        action,
        table: table.to_owned(),
        place: place.to_owned(),
        source: Box::new(source),
    }
}

impl ArchiveTable {
    pub(super) async fn open_or_create(
        archive: &Location,
        app_id: &Arc<str>,
        spec: TableSpec,
    ) -> Result<Self, ArchiveError> {
        let place = archive.url().to_string();
        let table = match open(archive, &spec.name).await? {
            Some(table) => table,
            None => create(archive, &spec).await?,
        };
        let mut opened = Self {
            spec,
            place,
            app_id: Arc::clone(app_id),
            table,
            cursor: None,
        };
        opened.read_cursor().await?;
        let columns = opened.spec.columns.clone();
        opened.add_columns(&columns).await?;
        Ok(opened)
    }

    /// What the table is.
    #[must_use]
    pub fn spec(&self) -> &TableSpec {
        &self.spec
    }

    /// The newest epoch that was appended, as far as this writer knows. An epoch without rows leaves no trace.
    #[must_use]
    pub fn cursor(&self) -> Option<u64> {
        self.cursor
    }

    /// Appends the rows of an epoch, once: an epoch at or below the cursor is left out. Columns are taken by name;
    /// those that the table has and the batches have not are NULL, those it has not are added to it.
    ///
    /// # Errors
    /// The store refuses: try again with the same epoch, which is never written twice.
    pub async fn append(&mut self, epoch: u64, batches: &[RecordBatch]) -> Result<Appended, ArchiveError> {
        if batches.iter().all(|batch| batch.num_rows() == 0) {
            return Ok(Appended {
                repeated: self.has(epoch),
                ..Appended::default()
            });
        }
        let mut written: Option<Vec<Add>> = None;
        for _ in 0..ATTEMPTS_MAX {
            if self.has(epoch) {
                return self.settle_repeated(written).await;
            }
            let adds = match &written {
                Some(adds) => adds.clone(),
                None => {
                    for batch in batches {
                        self.add_columns(batch.schema_ref().fields()).await?;
                    }
                    if self.has(epoch) {
                        continue;
                    }
                    let adds = self.write_files(batches).await?;
                    written.insert(adds).clone()
                }
            };
            match self.commit(epoch, adds).await {
                Ok(()) => {
                    self.cursor = Some(epoch);
                    return Ok(tally(&written.unwrap_or_default()));
                }
                Err(error) if is_conflict(&error) => self.reload().await?,
                Err(error) => {
                    // The commit may have happened although its answer did not come. The files stay, and the next
                    // append looks at the log before anything else.
                    self.reload().await?;
                    if self.has(epoch) {
                        return self.settle_repeated(written).await;
                    }
                    return Err(self.failure("write", error));
                }
            }
        }
        self.delete_files(written.unwrap_or_default()).await?;
        Err(ArchiveError::Busy {
            table: self.spec.name.clone(),
            place: self.place.clone(),
            attempts: ATTEMPTS_MAX,
        })
    }

    /// Looks at the log again, so that [`cursor`](Self::cursor) is what holds now.
    ///
    /// # Errors
    /// The store refuses.
    pub async fn reload(&mut self) -> Result<(), ArchiveError> {
        self.table
            .update_state()
            .await
            .map_err(|source| self.failure("read", source))?;
        self.read_cursor().await
    }

    fn has(&self, epoch: u64) -> bool {
        self.cursor.is_some_and(|cursor| cursor >= epoch)
    }

    async fn read_cursor(&mut self) -> Result<(), ArchiveError> {
        let state = self.table.snapshot().map_err(|source| self.failure("read", source))?;
        let log = self.table.log_store();
        let version = state.transaction_version(log.as_ref(), self.app_id.as_ref()).await;
        let version = version.map_err(|source| self.failure("read", source))?;
        self.cursor = version.and_then(|version| u64::try_from(version).ok());
        Ok(())
    }

    /// The epoch is in the table: with our files, where a commit's answer was lost, or with another's, where ours go.
    async fn settle_repeated(&self, written: Option<Vec<Add>>) -> Result<Appended, ArchiveError> {
        let Some(written) = written else {
            return Ok(Appended {
                repeated: true,
                ..Appended::default()
            });
        };
        let state = self.table.snapshot().map_err(|source| self.failure("read", source))?;
        let present: HashSet<String> = state
            .log_data()
            .into_iter()
            .map(|file| file.object_store_path().to_string())
            .collect();
        if written.iter().all(|add| present.contains(&add.path)) {
            return Ok(tally(&written));
        }
        self.delete_files(written).await?;
        Ok(Appended {
            repeated: true,
            ..Appended::default()
        })
    }

    async fn delete_files(&self, written: Vec<Add>) -> Result<(), ArchiveError> {
        let store = self.table.object_store();
        for add in written {
            match store.delete(&Path::from(add.path.as_str())).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(source) => return Err(self.failure("clean up", DeltaTableError::ObjectStore { source })),
            }
        }
        Ok(())
    }

    async fn commit(&mut self, epoch: u64, adds: Vec<Add>) -> Result<(), DeltaTableError> {
        let properties = CommitProperties::default()
            .with_max_retries(0)
            .with_application_transaction(Transaction::new(&self.app_id, i64::try_from(epoch).unwrap_or(i64::MAX)));
        let operation = DeltaOperation::Write {
            mode: SaveMode::Append,
            partition_by: Some(vec![DAY.to_owned()]),
            predicate: None,
        };
        let commit = CommitBuilder::from(properties)
            .with_actions(adds.into_iter().map(Action::Add).collect())
            .build(Some(self.table.snapshot()?), self.table.log_store(), operation)
            .await?;
        self.table.state = Some(commit.snapshot);
        Ok(())
    }

    /// The columns of the table as they are stored, without the partition column.
    fn stored(&self) -> Result<Fields, ArchiveError> {
        let state = self.table.snapshot().map_err(|source| self.failure("read", source))?;
        let schema: Schema = state
            .schema()
            .as_ref()
            .try_into_arrow()
            .map_err(|source| self.rows_error(source))?;
        Ok(schema
            .fields()
            .iter()
            .filter(|field| field.name() != DAY)
            .cloned()
            .collect())
    }

    /// Adds what the table lacks of `columns`, and refuses what it holds in another type.
    async fn add_columns(&mut self, columns: &Fields) -> Result<(), ArchiveError> {
        for _ in 0..ATTEMPTS_MAX {
            let stored = self.stored()?;
            let mut missing = Vec::new();
            for field in &stored_fields(columns) {
                match stored.find(field.name()) {
                    Some((_, present)) => self.check_type(present, field, columns, &mut missing)?,
                    None => missing.push(Arc::clone(field)),
                }
            }
            if missing.is_empty() {
                return Ok(());
            }
            let fields: Result<Vec<StructField>, ArrowError> =
                missing.iter().map(|field| field.as_ref().try_into_kernel()).collect();
            let fields = fields.map_err(|source| self.rows_error(source))?;
            let properties = CommitProperties::default().with_max_retries(0);
            let adding = self
                .table
                .clone()
                .add_columns()
                .with_fields(fields)
                .with_commit_properties(properties);
            match adding.await {
                Ok(table) => {
                    self.table = table;
                    return self.read_cursor().await;
                }
                Err(error) if is_conflict(&error) => self.reload().await?,
                Err(error) => return Err(self.failure("add columns to", error)),
            }
        }
        Err(ArchiveError::Busy {
            table: self.spec.name.clone(),
            place: self.place.clone(),
            attempts: ATTEMPTS_MAX,
        })
    }

    /// A stored column holds a declared one if the types are equal, or if a struct only lacks fields, which are added.
    fn check_type(
        &self,
        present: &Field,
        wanted: &Arc<Field>,
        declared: &Fields,
        missing: &mut Vec<Arc<Field>>,
    ) -> Result<(), ArchiveError> {
        match lacking(present.data_type(), wanted.data_type()) {
            Some(false) => Ok(()),
            Some(true) => {
                missing.push(Arc::clone(wanted));
                Ok(())
            }
            None => Err(ArchiveError::ColumnType {
                table: self.spec.name.clone(),
                column: wanted.name().clone(),
                archived: present.data_type().to_string(),
                declared: declared
                    .find(wanted.name())
                    .map(|(_, field)| field.data_type().to_string())
                    .unwrap_or_default(),
            }),
        }
    }

    async fn write_files(&self, batches: &[RecordBatch]) -> Result<Vec<Add>, ArchiveError> {
        let stored = self.stored()?;
        let sorted = self
            .sorted(batches, &stored)
            .map_err(|source| self.rows_error(source))?;
        let state = self.table.snapshot().map_err(|source| self.failure("read", source))?;
        let config = WriterConfig::new(
            sorted.schema(),
            vec![DAY.to_owned()],
            Some(layout::properties(&stored, sorted.num_rows())),
            None,
            None,
            state.table_config().num_indexed_cols(),
            None,
        );
        let mut writer = DeltaWriter::new(self.table.object_store(), config);
        if let Err(error) = writer.write(&sorted).await {
            if let Err(abort) = writer.abort().await {
                tracing::warn!(table = self.spec.name, error = %abort, "unfinished upload could not be taken back");
            }
            return Err(self.failure("write", error));
        }
        writer.close().await.map_err(|source| self.failure("write", source))
    }

    /// All rows of an epoch as they are stored, by time and then by tie, with the partition column.
    fn sorted(&self, batches: &[RecordBatch], stored: &Fields) -> Result<RecordBatch, ArrowError> {
        let schema: SchemaRef = Arc::new(Schema::new(stored.clone()));
        let conformer = Conformer::new(Arc::clone(&schema));
        let batches: Vec<_> = batches
            .iter()
            .map(|batch| conformer.conform(batch))
            .collect::<Result<_, _>>()?;
        let rows = concat_batches(&schema, &batches)?;
        let time = rows.column_by_name(&self.spec.time).cloned();
        let time = time.ok_or_else(|| ArrowError::SchemaError(format!("the rows have no {}", self.spec.time)))?;
        let options = Some(SortOptions {
            descending: false,
            nulls_first: true,
        });
        let mut keys = vec![SortColumn {
            values: Arc::clone(&time),
            options,
        }];
        let tie = self.spec.tie.as_ref().and_then(|tie| rows.column_by_name(tie));
        keys.extend(tie.map(|tie| SortColumn {
            values: Arc::clone(tie),
            options,
        }));
        let order = lexsort_to_indices(&keys, None)?;

        let day: ArrayRef = cast(&time, &DataType::Date32)?;
        let day_field = Arc::new(Field::new(DAY, DataType::Date32, true));
        let fields: Fields = stored.iter().cloned().chain([day_field]).collect();
        let columns: Vec<_> = rows.columns().iter().cloned().chain([day]).collect();
        let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?;
        take_record_batch(&rows, &order)
    }

    fn failure(&self, action: &'static str, source: DeltaTableError) -> ArchiveError {
        failure(action, &self.spec.name, &self.place, source)
    }

    fn rows_error(&self, source: ArrowError) -> ArchiveError {
        ArchiveError::Rows {
            table: self.spec.name.clone(),
            source,
        }
    }
}

/// Creates the table; where another process was faster, takes that one.
async fn create(archive: &Location, spec: &TableSpec) -> Result<DeltaTable, ArchiveError> {
    let place = archive.url().as_str();
    let fields = stored_fields(&spec.columns);
    let day = Arc::new(Field::new(DAY, DataType::Date32, true));
    let fields: Result<Vec<StructField>, ArrowError> = fields
        .iter()
        .chain([&day])
        .map(|field| field.as_ref().try_into_kernel())
        .collect();
    let fields = fields.map_err(|source| ArchiveError::Rows {
        table: spec.name.clone(),
        source,
    })?;
    let creating = unloaded(archive, &spec.name)
        .create()
        .with_columns(fields)
        .with_partition_columns([DAY])
        .with_table_name(&spec.name)
        .with_comment("written by Weir");
    match creating.await {
        Ok(table) => Ok(table),
        Err(error) => match open(archive, &spec.name).await {
            Ok(Some(table)) => Ok(table),
            _ => Err(failure("create", &spec.name, place, error)),
        },
    }
}

/// Whether a commit was refused because of others, which means that it did not happen.
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

/// Whether `present` lacks fields of `wanted`; `None` where it cannot hold it at all.
fn lacking(present: &DataType, wanted: &DataType) -> Option<bool> {
    match (present, wanted) {
        (DataType::Struct(present), DataType::Struct(wanted)) => {
            let mut lacks = false;
            for field in wanted {
                lacks |= match present.find(field.name()) {
                    Some((_, there)) => lacking(there.data_type(), field.data_type())?,
                    None => true,
                };
            }
            Some(lacks)
        }
        (DataType::List(present), DataType::List(wanted)) => lacking(present.data_type(), wanted.data_type()),
        (present, wanted) => (present == wanted).then_some(false),
    }
}

fn tally(adds: &[Add]) -> Appended {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Statistics {
        num_records: u64,
    }
    let rows = |add: &Add| {
        let statistics = add
            .stats
            .as_deref()
            .and_then(|stats| serde_json::from_str::<Statistics>(stats).ok());
        statistics.map_or(0, |statistics| statistics.num_records)
    };
    Appended {
        rows: adds.iter().map(rows).sum(),
        files: adds.len() as u64,
        bytes: adds.iter().map(|add| u64::try_from(add.size).unwrap_or_default()).sum(),
        repeated: false,
    }
}
