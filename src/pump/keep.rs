//! The archive: it follows the manifests as every sink does, but reads the events of a stream again for itself, with all
//! their columns, between the positions of two manifests.
//!
//! The cursor of a table is the application transaction of its last commit. A table without new rows has nothing to
//! commit; then only this process knows how far it is, and the next one finds nothing between the two.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use arrow::array::RecordBatch;
use tokio::sync::watch;
use tokio::task::JoinSet;
use weir_connectors::archive::{
    Archive, ArchiveTable, TableSpec, alert_rows, alerts, dead_letter_rows, dead_letters, event_columns, event_rows,
    json_rows, late_event_rows, late_events,
};
use weir_connectors::decode::{Decoder, Rejected};
use weir_connectors::failpoint;
use weir_connectors::kafka::{KafkaSettings, RangeReader};
use weir_connectors::position::TopicPartition;
use weir_connectors::state::{Manifest, Output, PartitionKey, StateStore};
use weir_engine::{EventTime, PartitionId, SourceBatch, Stream};
use weir_playbooks::journal::ChangeOf;

use super::epoch::{self, BegunLine, LateLine};
use super::{PATIENCE, Progress, Setup};
use crate::respond::Respond;

/// How long rows wait for others, so that files do not become too small.
const PERIOD: Duration = Duration::from_secs(10);
/// Records that are written in one commit at most, so that memory stays bounded while the archive catches up.
const RECORDS_MAX: u64 = 500_000;

/// Changes of actions or cases that are written in one commit at most.
const CHANGES_MAX: usize = 10_000;

/// Files of a table that are joined once there are so many new ones.
const FILES_MAX: u64 = 256;

/// Starts the archive; `cursors` are those of the other sinks, to which its own is added.
pub(super) async fn spawn(
    setup: &Arc<Setup>,
    progress: &watch::Receiver<Progress>,
    stopping: &watch::Receiver<bool>,
    tasks: &mut JoinSet<anyhow::Result<()>>,
    mut cursors: Vec<watch::Receiver<u64>>,
) -> anyhow::Result<Vec<watch::Receiver<u64>>> {
    let Some(archive) = setup.archive.clone() else { return Ok(cursors) };
    let epochs = setup.state.epochs().await?;
    let oldest = epochs.first().copied().unwrap_or(0);
    let (cursor, archived) = watch::channel(oldest.saturating_sub(1));
    let streams = setup.rules.catalog.streams().filter(|stream| !stream.topics.is_empty());
    let keeper = Keeper {
        tables: streams
            .map(|stream| Table::new(Kind::Stream(Arc::clone(stream))))
            .chain([
                Table::new(Kind::Alerts(alerts(&setup.rules.published.columns))),
                Table::new(Kind::LateEvents),
                Table::new(Kind::DeadLetters),
                Table::new(Kind::Coverage(TableSpec::of_own(&weir_detections::coverage()))),
            ])
            .collect(),
        archive,
        state: setup.state.clone(),
        respond: setup.respond.clone(),
        reader: Arc::new(Mutex::new(Reader {
            settings: setup.kafka.clone(),
            range: None,
            keeps_raw: setup.archives_raw,
        })),
        response: BTreeMap::new(),
        began_at: epochs.last().copied().unwrap_or(0),
        cursor,
    };
    tasks.spawn(keeper.run(progress.clone(), stopping.clone()));
    cursors.push(archived);
    Ok(cursors)
}

struct Keeper {
    archive: Archive,
    state: StateStore,
    respond: Option<Respond>,
    reader: Arc<Mutex<Reader>>,
    tables: Vec<Table>,
    /// Tables of response, once they are open.
    response: BTreeMap<String, ArchiveTable>,
    /// The newest epoch when this process started.
    began_at: u64,
    cursor: watch::Sender<u64>,
}

/// A table that follows the manifests.
struct Table {
    kind: Kind,
    open: Option<ArchiveTable>,
    /// The last epoch whose rows are in the table, as far as this process knows.
    cursor: Option<u64>,
    /// Files written since the last time that files were joined.
    files: u64,
}

enum Kind {
    Stream(Arc<Stream>),
    Alerts(TableSpec),
    LateEvents,
    DeadLetters,
    Coverage(TableSpec),
}

impl Table {
    const fn new(kind: Kind) -> Self {
        Self { kind, open: None, cursor: None, files: 0 }
    }

    fn spec(&self) -> TableSpec {
        match &self.kind {
            Kind::Stream(stream) => TableSpec::of_stream(stream),
            Kind::Alerts(spec) | Kind::Coverage(spec) => spec.clone(),
            Kind::LateEvents => late_events(),
            Kind::DeadLetters => dead_letters(),
        }
    }
}

impl Table {
    /// Joins small files now and then. What fails is tried again with the next ones; all rows are readable either way.
    async fn join_files(&mut self) {
        let Some(table) = self.open.as_mut().filter(|_| self.files >= failpoint::limit("archive.files_max", FILES_MAX))
        else {
            return;
        };
        self.files = 0;
        match table.compact().await {
            Ok(done) => {
                tracing::debug!(table = table.spec().name, removed = done.removed, added = done.added, "joined files")
            }
            Err(error) => tracing::warn!(%error, "small files of the archive stay as they are for now"),
        }
    }
}

/// The archive holds epochs that the state does not have. Those numbers will come again with other events, which would be
/// taken for archived.
#[derive(Debug, thiserror::Error)]
#[error(
    "a table of the archive at {archive} holds epoch {epoch}, but the state at {state} began with epoch {newest}; restore the newest state, or move the archive away (docs/operations.md)"
)]
struct AheadOfState {
    archive: String,
    epoch: u64,
    state: String,
    newest: u64,
}

impl Keeper {
    async fn run(
        mut self,
        progress: watch::Receiver<Progress>,
        mut stopping: watch::Receiver<bool>,
    ) -> anyhow::Result<()> {
        loop {
            let is_last = *stopping.borrow();
            let committed = progress.borrow().epoch;
            if let Err(error) = self.round(committed).await {
                if error.is::<AheadOfState>() {
                    return Err(error);
                }
                tracing::warn!(error = format!("{error:#}"), "the archive is behind; what is missing is written later");
            }
            if is_last {
                return Ok(());
            }
            tokio::select! {
                () = tokio::time::sleep(failpoint::span("archive.period_ms", PERIOD)) => {}
                _ = stopping.changed() => {}
            }
        }
    }

    /// Brings every table up to `committed`. One that fails does not hold back the others.
    async fn round(&mut self, committed: u64) -> anyhow::Result<()> {
        let mut result = Ok(());
        for at in 0..self.tables.len() {
            let done = self.table(at, committed).await;
            result = result.and(done.with_context(|| format!("table `{}`", self.tables[at].spec().name)));
        }
        result = result.and(self.response().await.context("tables of response"));
        let slowest = self.tables.iter().map(|table| table.cursor).min().flatten();
        if let Some(slowest) = slowest {
            self.cursor.send_replace(slowest);
        }
        result
    }

    async fn table(&mut self, at: usize, committed: u64) -> anyhow::Result<()> {
        if self.tables[at].open.is_none() {
            let table = self.archive.writer(self.tables[at].spec()).await?;
            if let Some(epoch) = table.cursor().filter(|epoch| *epoch > self.began_at) {
                let (archive, state) = (self.archive.location().url().to_string(), self.state.place().to_owned());
                return Err(AheadOfState { archive, epoch, state, newest: self.began_at }.into());
            }
            self.tables[at].cursor = table.cursor();
            self.tables[at].open = Some(table);
        }
        // A commit whose answer was lost has moved the table on.
        let Table { open, cursor, .. } = &mut self.tables[at];
        *cursor = (*cursor).max(open.as_ref().and_then(ArchiveTable::cursor));
        while self.tables[at].cursor.unwrap_or(0) < committed {
            let until = self.step(&self.tables[at], committed).await?;
            let batches = match &self.tables[at].kind {
                Kind::Stream(stream) => self.events(stream, self.tables[at].cursor, until).await?,
                _ => self.outputs(&self.tables[at], until).await?,
            };
            let Table { open: Some(table), cursor, files, .. } = &mut self.tables[at] else { return Ok(()) };
            let appended = table.append(until, &batches).await?;
            if appended.rows > 0 {
                tracing::debug!(
                    table = table.spec().name,
                    rows = appended.rows,
                    files = appended.files,
                    until,
                    "archived"
                );
            }
            *cursor = Some(until);
            *files += appended.files;
        }
        self.tables[at].join_files().await;
        Ok(())
    }

    /// The epoch up to which one commit goes.
    async fn step(&self, table: &Table, committed: u64) -> anyhow::Result<u64> {
        let Kind::Stream(stream) = &table.kind else { return Ok(committed) };
        let epochs = self.state.epochs().await?;
        let from = table.cursor.unwrap_or(0);
        let records = |manifest: Option<&Manifest>| {
            manifest.and_then(|manifest| manifest.ledger.get(&stream.name)).map_or(0, |ledger| ledger.records)
        };
        let before = records(self.state.manifest(from).await?.as_ref());
        let mut until = committed;
        while until > from + 1 {
            let manifest = self.state.manifest(until).await?;
            if records(manifest.as_ref()).saturating_sub(before) <= RECORDS_MAX {
                break;
            }
            until = from + (until - from) / 2;
        }
        // Where manifests below were deleted, the first that is left is as far back as one can go.
        Ok(until.max(epochs.first().copied().unwrap_or(until)).min(committed))
    }

    /// The events of a stream between the positions of two manifests, with all columns.
    async fn events(&self, stream: &Arc<Stream>, from: Option<u64>, until: u64) -> anyhow::Result<Vec<RecordBatch>> {
        let last =
            self.state.manifest(until).await?.with_context(|| format!("the manifest of epoch {until} is gone"))?;
        let begins = self.begins(stream, from, until).await?;
        let ranges: Vec<(PartitionKey, std::ops::Range<i64>)> = last
            .positions
            .iter()
            .filter(|(key, _)| key.stream.eq_ignore_ascii_case(&stream.name))
            .filter_map(|(key, end)| Some((key.clone(), *begins.get(key)?..*end)))
            .filter(|(_, range)| !range.is_empty())
            .collect();
        if ranges.is_empty() {
            return Ok(vec![]);
        }
        let (reader, stream) = (Arc::clone(&self.reader), Arc::clone(stream));
        let read = move || {
            // A panic while reading leaves a consumer that is assigned anew before it is used again.
            let mut reader = reader.lock().unwrap_or_else(PoisonError::into_inner);
            reader.read(&stream, &ranges)
        };
        tokio::task::spawn_blocking(read).await.context("reading again panicked")?
    }

    /// Where each partition of a stream goes on for the archive.
    async fn begins(
        &self,
        stream: &Stream,
        from: Option<u64>,
        until: u64,
    ) -> anyhow::Result<BTreeMap<PartitionKey, i64>> {
        let epochs = self.state.epochs().await?;
        let oldest = epochs.first().copied().unwrap_or(until);
        // Retention goes no further than what is archived, so a manifest that is gone had no rows behind it.
        let base = match from {
            Some(from) if epochs.contains(&from) => Some(from),
            _ if oldest > 1 => Some(oldest),
            _ => None,
        };
        let mut begins = match base {
            Some(base) => self.state.manifest(base).await?.map(|manifest| manifest.positions).unwrap_or_default(),
            None => BTreeMap::new(),
        };
        for epoch in epochs.into_iter().filter(|epoch| base.is_none_or(|base| *epoch > base) && *epoch <= until) {
            let manifest = self.state.manifest(epoch).await?;
            let manifest = manifest.with_context(|| format!("the manifest of epoch {epoch} is gone"))?;
            if !manifest.outputs.parts.iter().any(|part| part.name == epoch::BEGUN) {
                continue;
            }
            for line in epoch::lines(&self.state.read_outputs(&manifest).await?, epoch::BEGUN) {
                let begun: BegunLine = serde_json::from_slice(line).context("a partition's beginning is damaged")?;
                begins.entry(begun.key).or_insert(begun.next);
            }
        }
        begins.retain(|key, _| key.stream.eq_ignore_ascii_case(&stream.name));
        Ok(begins)
    }

    /// The rows of a table that the outputs of epochs hold.
    async fn outputs(&self, table: &Table, until: u64) -> anyhow::Result<Vec<RecordBatch>> {
        let mut batches = vec![];
        let from = table.cursor.unwrap_or(0);
        for epoch in self.state.epochs().await?.into_iter().filter(|epoch| *epoch > from && *epoch <= until) {
            let manifest = self.state.manifest(epoch).await?;
            let manifest = manifest.with_context(|| format!("the manifest of epoch {epoch} is gone"))?;
            let outputs = self.state.read_outputs(&manifest).await?;
            batches.extend(rows_of(table, &outputs, epoch)?);
        }
        Ok(batches)
    }

    /// The tables `actions` and `cases`: their cursor is the number of the last change.
    async fn response(&mut self) -> anyhow::Result<()> {
        let Some(respond) = self.respond.clone() else { return Ok(()) };
        for stream in weir_detections::own_streams() {
            let Some(of) = ChangeOf::of_word(&stream.name) else { continue };
            let spec = TableSpec::of_own(&stream);
            if !self.response.contains_key(&spec.name) {
                let table = self.archive.writer(spec.clone()).await?;
                self.response.insert(spec.name.clone(), table);
            }
            let Some(table) = self.response.get_mut(&spec.name) else { continue };
            loop {
                let changes = respond.changes_of(of, table.cursor().unwrap_or(0), CHANGES_MAX).await?;
                let Some(last) = changes.last().map(|change| change.seq) else { break };
                let rows: Vec<_> = changes.into_iter().map(|change| change.row).collect();
                table.append(last, &[json_rows(&spec, &rows)?]).await?;
            }
        }
        Ok(())
    }
}

fn rows_of(table: &Table, outputs: &[Output], number: u64) -> anyhow::Result<Option<RecordBatch>> {
    Ok(match &table.kind {
        Kind::Stream(_) => None,
        Kind::Alerts(spec) => {
            let records = epoch::alerts(outputs)?;
            if records.is_empty() { None } else { Some(alert_rows(spec, &records, number)?) }
        }
        Kind::Coverage(spec) => {
            let rows = epoch::lines(outputs, epoch::COVERAGE)
                .map(serde_json::from_slice)
                .collect::<Result<Vec<_>, _>>()
                .context("a row of coverage in the outputs of an epoch is damaged")?;
            if rows.is_empty() { None } else { Some(json_rows(spec, &rows)?) }
        }
        Kind::LateEvents => {
            let lines = epoch::lines(outputs, epoch::LATE_EVENTS)
                .map(serde_json::from_slice::<LateLine>)
                .collect::<Result<Vec<_>, _>>()
                .context("a late event in the outputs of an epoch is damaged")?;
            let rows: Vec<_> = lines.iter().map(LateLine::row).collect();
            if rows.is_empty() { None } else { Some(late_event_rows(&rows)?) }
        }
        Kind::DeadLetters => {
            let letters = epoch::lines(outputs, epoch::DEAD_LETTERS)
                .map(Rejected::from_record)
                .collect::<Result<Vec<_>, _>>()
                .context("a dead letter in the outputs of an epoch is damaged")?;
            let now = EventTime(chrono::Utc::now().timestamp_micros());
            let rows: Vec<_> = letters.iter().map(|letter| letter.row(now)).collect();
            if rows.is_empty() { None } else { Some(dead_letter_rows(&rows)?) }
        }
    })
}

/// Reads stretches of Kafka again and decodes all columns.
struct Reader {
    settings: KafkaSettings,
    range: Option<RangeReader>,
    keeps_raw: bool,
}

impl Reader {
    fn read(
        &mut self,
        stream: &Arc<Stream>,
        ranges: &[(PartitionKey, std::ops::Range<i64>)],
    ) -> anyhow::Result<Vec<RecordBatch>> {
        let mut decoder = Decoder::new(Arc::clone(stream), event_columns(stream))?;
        let mut batches = vec![];
        let mut failed = None;
        for (key, range) in ranges {
            let place = TopicPartition { topic: key.topic.as_str().into(), partition: key.partition };
            let reader = match &mut self.range {
                Some(reader) => reader,
                none => none.insert(RangeReader::open(self.settings.clone(), PATIENCE)?),
            };
            let keeps_raw = self.keeps_raw;
            reader.read(&place, range.clone(), &mut |record| {
                // A record that is refused here was refused by the engine too, and is a dead letter already.
                if decoder.push(record).is_ok() && decoder.is_full() {
                    match archived(stream, &mut decoder, keeps_raw) {
                        Ok(batch) => batches.push(batch),
                        Err(error) => failed = Some(error),
                    }
                }
            })?;
        }
        if decoder.rows() > 0 {
            batches.push(archived(stream, &mut decoder, self.keeps_raw)?);
        }
        failed.map_or(Ok(batches), Err)
    }
}

/// A decoded batch as the archive keeps it.
fn archived(stream: &Arc<Stream>, decoder: &mut Decoder, keeps_raw: bool) -> anyhow::Result<RecordBatch> {
    let name: Arc<str> = stream.name.as_str().into();
    let rows = SourceBatch { stream: name, partition: PartitionId(0), rows: decoder.finish()?, late_us: None };
    Ok(event_rows(&rows, keeps_raw)?)
}
