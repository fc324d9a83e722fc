//! Writing a table: files first, then one commit that names them and the epoch they belong to.
//!
//! Why it is exactly once. A commit is the very next version of the table behind the one this writer knows, or does not
//! happen; and the newest epoch up to that version must be below the one to append. Two writers of one epoch therefore
//! cannot both commit: the second is refused, reads the log anew, and finds the epoch done. Rows that begin behind one
//! epoch are refused where the log has come to another one since, however it came there. Files of a commit that
//! certainly did not happen are deleted; where the answer was lost they stay until the next look at the log says whose
//! they are, because deleting files that were committed would lose events.

use std::num::NonZeroU64;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::{SortColumn, SortOptions, cast, concat_batches, lexsort_to_indices, take_record_batch};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use arrow::error::ArrowError;
use deltalake_core::DeltaTableError;
use deltalake_core::datafile::writer::{DeltaWriter, WriterConfig};
use deltalake_core::kernel::Add;
use deltalake_core::operations::vacuum::VacuumMode;
use deltalake_core::table::config::TablePropertiesExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutMode};

use super::log::{Committed, TableLog};
use super::schema::{Conformer, DAY, stored_fields};
use super::tables::TableSpec;
use super::{ArchiveError, layout};
use crate::failpoint;
use crate::location::Location;

/// How often a commit is tried when others change the table in between.
const ATTEMPTS_MAX: usize = 16;

/// A table of the archive, open for writing.
#[derive(Debug)]
pub struct ArchiveTable {
    spec: TableSpec,
    /// Where the archive is, for messages.
    place: String,
    /// Where the table is.
    location: Location,
    log: TableLog,
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

/// What a compaction has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Compacted {
    /// Files that were joined.
    pub removed: u64,
    /// Files that they became.
    pub added: u64,
}

impl ArchiveTable {
    pub(super) async fn open_or_create(
        archive: &Location,
        app_id: &Arc<str>,
        spec: TableSpec,
    ) -> Result<Self, ArchiveError> {
        let place = archive.url().to_string();
        let opening = TableLog::open(archive, &spec.name, app_id, &stored_fields(&spec.columns)).await;
        let log = opening.map_err(|source| ArchiveError::table("open", &spec.name, &place, source))?;
        let columns = spec.columns.clone();
        let location = archive.join(&spec.name);
        let mut opened = Self { spec, place, location, log };
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
        self.log.cursor()
    }

    /// Looks at the log again, so that [`cursor`](Self::cursor) is what holds now.
    ///
    /// # Errors
    /// The store refuses.
    pub async fn reload(&mut self) -> Result<(), ArchiveError> {
        self.log.reload().await.map_err(|source| self.failure("read", source))
    }

    /// Appends the rows of an epoch, once: an epoch at or below the cursor is left out. The rows are all that lies behind
    /// the [`cursor`](Self::cursor) before this call. Columns are taken by name; those that the table has and the batches
    /// have not are NULL, those it has not are added to it.
    ///
    /// # Errors
    /// The store refuses: try again with the rows behind the cursor as it is then, which are never written twice.
    pub async fn append(&mut self, epoch: u64, batches: &[RecordBatch]) -> Result<Appended, ArchiveError> {
        let behind = self.cursor();
        if batches.iter().all(|batch| batch.num_rows() == 0) {
            return Ok(Appended { repeated: self.has(epoch), ..Appended::default() });
        }
        for batch in batches {
            self.add_columns(batch.schema_ref().fields()).await?;
        }
        if self.has(epoch) {
            return Ok(Appended { repeated: true, ..Appended::default() });
        }
        self.stands_at(behind, epoch)?;
        failpoint::reach("archive.before_files");
        let written = self.write_files(batches).await?;
        failpoint::reach("archive.files_written");
        for _ in 0..ATTEMPTS_MAX {
            match self.log.commit(epoch, written.clone()).await {
                Ok(Committed::Yes) => {
                    failpoint::reach("archive.flushed");
                    return Ok(tally(&written));
                }
                Ok(Committed::OvertakenBy(_)) => self.reload().await?,
                Err(error) => {
                    // The commit may have happened although its answer did not come; the log knows.
                    self.reload().await?;
                    if !self.has(epoch) {
                        return Err(self.failure("write", error));
                    }
                }
            }
            if self.has(epoch) {
                return self.settle(written).await;
            }
            if let Err(moved) = self.stands_at(behind, epoch) {
                self.delete_files(written).await?;
                return Err(moved);
            }
        }
        self.delete_files(written).await?;
        Err(self.busy())
    }

    /// Joins the small files of each day, and deletes what is older than the table's retention (a week): files that were
    /// replaced, and files that no commit came for, since a process died between the two. Rows, cursor and what others
    /// read stay as they are.
    ///
    /// # Errors
    /// The store refuses, or others changed the same files; nothing is lost by it.
    pub async fn compact(&mut self) -> Result<Compacted, ArchiveError> {
        failpoint::reach("archive.before_compaction");
        self.reload().await?;
        let stored = self.stored()?;
        let target = NonZeroU64::new(layout::FILE_BYTES).unwrap_or(NonZeroU64::MAX);
        let joining = self.log.table().clone().optimize();
        let joining = joining.with_target_size(target).with_writer_properties(layout::properties(&stored, usize::MAX));
        let (table, metrics) = joining.await.map_err(|source| self.failure("compact", source))?;
        failpoint::reach("archive.compacted");
        let cleaning = table.vacuum().with_mode(VacuumMode::Full);
        cleaning.await.map_err(|source| self.failure("clean up", source))?;
        failpoint::reach("archive.cleaned_up");
        self.reload().await?;
        Ok(Compacted { removed: metrics.num_files_removed, added: metrics.num_files_added })
    }

    fn has(&self, epoch: u64) -> bool {
        self.cursor().is_some_and(|cursor| cursor >= epoch)
    }

    /// Refuses rows that do not begin at the cursor any more: another's commit, or one of ours whose answer was lost, holds
    /// some of them.
    fn stands_at(&self, behind: Option<u64>, epoch: u64) -> Result<(), ArchiveError> {
        if self.cursor() == behind {
            return Ok(());
        }
        Err(ArchiveError::Moved { table: self.spec.name.clone(), place: self.place.clone(), epoch })
    }

    /// The epoch is in the table: with our files, where a commit's answer was lost, or with another's, where ours go.
    async fn settle(&self, written: Vec<Add>) -> Result<Appended, ArchiveError> {
        if self.log.has_files(&written).map_err(|source| self.failure("read", source))? {
            return Ok(tally(&written));
        }
        self.delete_files(written).await?;
        Ok(Appended { repeated: true, ..Appended::default() })
    }

    async fn delete_files(&self, written: Vec<Add>) -> Result<(), ArchiveError> {
        let store = self.log.table().object_store();
        for add in written {
            match store.delete(&Path::from(add.path.as_str())).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(source) => return Err(self.failure("clean up", DeltaTableError::ObjectStore { source })),
            }
        }
        Ok(())
    }

    fn stored(&self) -> Result<Fields, ArchiveError> {
        self.log.columns().map_err(|source| self.failure("read", source))
    }

    /// Adds what the table lacks of `columns`, and refuses what it holds in another type.
    async fn add_columns(&mut self, columns: &Fields) -> Result<(), ArchiveError> {
        for _ in 0..ATTEMPTS_MAX {
            let missing = self.missing(columns)?;
            if missing.is_empty() {
                return Ok(());
            }
            match self.log.add_columns(&missing).await {
                Ok(Committed::Yes) => return Ok(()),
                Ok(Committed::OvertakenBy(_)) => self.reload().await?,
                Err(error) => return Err(self.failure("add columns to", error)),
            }
        }
        Err(self.busy())
    }

    /// What the table lacks of `columns`: whole columns, and structs that lack fields.
    fn missing(&self, columns: &Fields) -> Result<Vec<Arc<Field>>, ArchiveError> {
        let stored = self.stored()?;
        let mut missing = Vec::new();
        for (field, declared) in stored_fields(columns).iter().zip(columns) {
            let Some((_, present)) = stored.find(field.name()) else {
                missing.push(Arc::clone(field));
                continue;
            };
            match lacking(present.data_type(), field.data_type()) {
                Some(false) => {}
                Some(true) => missing.push(Arc::clone(field)),
                None => {
                    return Err(ArchiveError::ColumnType {
                        table: self.spec.name.clone(),
                        column: field.name().clone(),
                        archived: present.data_type().to_string(),
                        declared: declared.data_type().to_string(),
                    });
                }
            }
        }
        Ok(missing)
    }

    async fn write_files(&self, batches: &[RecordBatch]) -> Result<Vec<Add>, ArchiveError> {
        let stored = self.stored()?;
        let sorted = self
            .sorted(batches, &stored)
            .map_err(|source| ArchiveError::Rows { table: self.spec.name.clone(), source })?;
        let table = self.log.table();
        let state = table.snapshot().map_err(|source| self.failure("read", source))?;
        let config = WriterConfig::new(
            sorted.schema(),
            vec![DAY.to_owned()],
            Some(layout::properties(&stored, sorted.num_rows())),
            None,
            None,
            state.table_config().num_indexed_cols(),
            None,
        );
        // Files are made in memory and put in their place whole: a store that fails half-way leaves no half file.
        let made = Arc::new(InMemory::new());
        let mut writer = DeltaWriter::new(Arc::clone(&made) as _, config);
        writer.write(&sorted).await.map_err(|source| self.failure("write", source))?;
        let adds = writer.close().await.map_err(|source| self.failure("write", source))?;
        for (at, add) in adds.iter().enumerate() {
            if let Err(source) = self.put(&made, &Path::from(add.path.as_str())).await {
                // The one that failed may be there too, or a part of it.
                let done = adds.get(..=at).unwrap_or_default().to_vec();
                if let Err(error) = self.delete_files(done).await {
                    tracing::warn!(table = self.spec.name, %error, "files of an append that failed stay behind");
                }
                return Err(self.failure("write", DeltaTableError::ObjectStore { source }));
            }
        }
        Ok(adds)
    }

    async fn put(&self, made: &InMemory, path: &Path) -> Result<(), object_store::Error> {
        let bytes = made.get(path).await?.bytes().await?;
        self.location.put(path, bytes, PutMode::Create).await
    }

    /// All rows of an epoch as they are stored, by time and then by tie, with the partition column.
    fn sorted(&self, batches: &[RecordBatch], stored: &Fields) -> Result<RecordBatch, ArrowError> {
        let schema: SchemaRef = Arc::new(Schema::new(stored.clone()));
        let conformer = Conformer::new(Arc::clone(&schema));
        let batches: Vec<_> = batches.iter().map(|batch| conformer.conform(batch)).collect::<Result<_, _>>()?;
        let rows = concat_batches(&schema, &batches)?;
        let time = rows.column_by_name(&self.spec.time).cloned();
        let time = time.ok_or_else(|| ArrowError::SchemaError(format!("the rows have no {}", self.spec.time)))?;
        let options = Some(SortOptions { descending: false, nulls_first: true });
        let mut keys = vec![SortColumn { values: Arc::clone(&time), options }];
        let tie = self.spec.tie.as_ref().and_then(|tie| rows.column_by_name(tie));
        keys.extend(tie.map(|tie| SortColumn { values: Arc::clone(tie), options }));
        let order = lexsort_to_indices(&keys, None)?;

        let day: ArrayRef = cast(&time, &DataType::Date32)?;
        let day_field = Arc::new(Field::new(DAY, DataType::Date32, true));
        let fields: Fields = stored.iter().cloned().chain([day_field]).collect();
        let columns: Vec<_> = rows.columns().iter().cloned().chain([day]).collect();
        let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?;
        take_record_batch(&rows, &order)
    }

    fn failure(&self, action: &'static str, source: DeltaTableError) -> ArchiveError {
        ArchiveError::table(action, &self.spec.name, &self.place, source)
    }

    fn busy(&self) -> ArchiveError {
        ArchiveError::Busy { table: self.spec.name.clone(), place: self.place.clone(), attempts: ATTEMPTS_MAX }
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
        let statistics = add.stats.as_deref().and_then(|stats| serde_json::from_str::<Statistics>(stats).ok());
        statistics.map_or(0, |statistics| statistics.num_records)
    };
    Appended {
        rows: adds.iter().map(rows).sum(),
        files: adds.len() as u64,
        bytes: adds.iter().map(|add| u64::try_from(add.size).unwrap_or_default()).sum(),
        repeated: false,
    }
}
