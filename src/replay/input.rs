//! Recorded events from several files, read in step with their event times, so that windows close and state stays
//! bounded however many files there are.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::TimestampMicrosecondType;
use weir_connectors::file::{FileError, FileSource};
use weir_connectors::source::SourceOutput;
use weir_engine::catalog::system;
use weir_engine::error::nearest;
use weir_engine::late_events::LATE_EVENTS;
use weir_engine::{Catalog, ColumnSet, EventTime, PartitionId, Relation, Stream};

/// A file of events of one stream, as `STREAM=FILE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Input {
    /// The stream's name as it was given.
    pub(crate) stream: String,
    /// The file, or `-` for standard input.
    pub(crate) path: PathBuf,
}

impl FromStr for Input {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((stream, path)) if !stream.trim().is_empty() && !path.is_empty() => {
                Ok(Self { stream: stream.trim().to_owned(), path: path.into() })
            }
            _ => Err("write STREAM=FILE, for example sysmon=events.ndjson.gz".to_owned()),
        }
    }
}

impl Input {
    /// The stream of that name in the catalog.
    pub(super) fn stream<'a>(&self, catalog: &'a Catalog) -> anyhow::Result<&'a Arc<Stream>> {
        if self.stream.eq_ignore_ascii_case(LATE_EVENTS) {
            anyhow::bail!("`{LATE_EVENTS}` are made of what comes late in the other inputs, and cannot be given");
        }
        if let Some(stream) = catalog.stream(&self.stream) {
            return Ok(stream);
        }
        let hint = match catalog.get(&self.stream) {
            Some(Relation::View(_)) => Some("it is a view; name the stream below it".to_owned()),
            Some(Relation::Table(_)) => Some("it is a table; its rows come from its own file".to_owned()),
            _ => {
                let streams = catalog.streams().chain(catalog.own_streams());
                nearest(&self.stream, streams.map(|stream| stream.name.as_str()))
            }
        };
        let hint = hint.map(|hint| format!("; {hint}")).unwrap_or_default();
        anyhow::bail!("there is no stream `{}`{hint}", self.stream)
    }

    /// Opens the file as partition `partition` of its stream.
    pub(super) fn open(
        &self,
        stream: &Stream,
        columns: &ColumnSet,
        partition: PartitionId,
    ) -> Result<FileSource, FileError> {
        if self.path == Path::new("-") {
            let stdin = Box::new(std::io::BufReader::new(std::io::stdin()));
            let decompressed = weir_connectors::file::decompressed(stdin)
                .map_err(|source| FileError::Open { path: self.path.clone(), source })?;
            return FileSource::read(decompressed, &self.path, stream, columns, partition);
        }
        FileSource::open(&self.path, stream, columns, partition)
    }
}

/// What comes next.
#[derive(Debug)]
pub(super) enum Step {
    /// Events of one input, and the records of the same stretch that were refused.
    Events(SourceOutput),
    /// An input has ended: nothing more comes from its partition.
    End(usize),
    /// An input broke off; everything before the break was given. It has ended too.
    Broken(usize, anyhow::Error),
}

/// Several inputs as one, the one that lags in event time first.
pub(super) struct Merge {
    inputs: Vec<Progress>,
}

struct Progress {
    source: FileSource,
    /// The time of the last event that was given; `None` before the first.
    last: Option<EventTime>,
    is_done: bool,
}

impl Merge {
    /// Nothing is read yet.
    pub(super) fn new(sources: Vec<FileSource>) -> Self {
        let inputs = sources.into_iter().map(|source| Progress { source, last: None, is_done: false }).collect();
        Self { inputs }
    }
}

impl Iterator for Merge {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        let unfinished = self.inputs.iter_mut().enumerate().filter(|(_, input)| !input.is_done);
        let (index, input) = unfinished.min_by_key(|(index, input)| (input.last, *index))?;
        match input.source.next_batch() {
            Some(Ok(output)) => {
                input.last = last_time(&output).or(input.last);
                Some(Step::Events(output))
            }
            Some(Err(error)) => {
                input.is_done = true;
                Some(Step::Broken(index, error.into()))
            }
            None => {
                input.is_done = true;
                Some(Step::End(index))
            }
        }
    }
}

/// The time of the last row. The greatest would let one event from the future hold an input back to the end.
fn last_time(output: &SourceOutput) -> Option<EventTime> {
    let times = output.batch.rows.column_by_name(system::TIME)?.as_primitive_opt::<TimestampMicrosecondType>()?;
    times.values().last().copied().map(EventTime)
}
