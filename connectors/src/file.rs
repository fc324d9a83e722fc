//! Files of newline-delimited JSON as a source: plain, gzip or zstd, told apart by their first bytes.
//!
//! This is the replay path: no allocation per line, lines found by `memchr`, decompression in the same thread. Everything
//! here blocks; callers run it on a thread of its own. Blank lines are passed over but counted, a last line needs no
//! newline, and line numbers (from 1) are the offsets.

mod lines;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use weir_engine::{ColumnSet, PartitionId, SourceBatch, Stream};

use self::lines::{Line, Lines};
use crate::decode::{DecodeError, Decoder, Limits, Record, Reject, RejectReason, Rejected};
use crate::position::{Position, TopicPartition};
use crate::source::SourceOutput;

const READ_BYTES: usize = 256 << 10;

/// A file that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be opened. The caller named a wrong file or may not read it.
    #[error("cannot open {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It broke off while being read; everything before the line was delivered.
    #[error("cannot read {} after line {line}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The last line that could be read.
        line: i64,
        /// Why.
        source: io::Error,
    },
    /// The stream cannot be decoded.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// One file, decoded batch by batch.
pub struct FileSource {
    path: PathBuf,
    stream: Arc<str>,
    partition: PartitionId,
    lines: Lines<Box<dyn Read + Send>>,
    decoder: Decoder,
    position: Position,
    limits: Limits,
    blank_lines: u64,
    /// What went wrong, to be told after what was read before it.
    failed: Option<io::Error>,
    is_done: bool,
}

impl FileSource {
    /// Opens a file of records of `stream`, as its partition `partition`.
    ///
    /// # Errors
    /// A file that cannot be opened, or a column set that the stream does not have.
    pub fn open(path: &Path, stream: &Stream, columns: &ColumnSet, partition: PartitionId) -> Result<Self, FileError> {
        let open = || decompressed(Box::new(BufReader::with_capacity(READ_BYTES, File::open(path)?)));
        let input = open().map_err(|source| FileError::Open { path: path.to_owned(), source })?;
        Self::read(input, path, stream, columns, partition)
    }

    /// Reads records from anything, such as standard input; `path` names it in positions and messages.
    ///
    /// # Errors
    /// A column set that the stream does not have.
    pub fn read(
        input: Box<dyn Read + Send>,
        path: &Path,
        stream: &Stream,
        columns: &ColumnSet,
        partition: PartitionId,
    ) -> Result<Self, FileError> {
        let limits = Limits::default();
        let topic = path.to_string_lossy().into();
        Ok(Self {
            path: path.to_owned(),
            stream: stream.name.as_str().into(),
            partition,
            lines: Lines::new(input, limits.record_bytes_max),
            decoder: Decoder::with_limits(stream, columns, limits)?,
            position: Position { topic, partition: 0, offset: 0 },
            limits,
            blank_lines: 0,
            failed: None,
            is_done: false,
        })
    }

    /// Lines without a record, so far.
    #[must_use]
    pub fn blank_lines(&self) -> u64 {
        self.blank_lines
    }

    /// The next stretch of the file; `None` at its end.
    ///
    /// # Errors
    /// A file that breaks off (after everything before the break was given), or a fault of the decoder.
    pub fn next_batch(&mut self) -> Option<Result<SourceOutput, FileError>> {
        if let Some(source) = self.failed.take() {
            self.is_done = true;
            return Some(Err(FileError::Read { path: self.path.clone(), line: self.position.offset, source }));
        }
        if self.is_done {
            return None;
        }
        let mut rejected = Vec::new();
        let mut rejected_bytes = 0;
        let mut bytes = 0;
        while !self.decoder.is_full() && rejected_bytes < self.limits.batch_bytes_max {
            match self.lines.next() {
                Ok(None) => {
                    self.is_done = true;
                    break;
                }
                Err(error) => {
                    self.failed = Some(error);
                    break;
                }
                Ok(Some(line)) => {
                    self.position.offset += 1;
                    bytes += line.full_len;
                    let refusal =
                        take_line(&mut self.decoder, line, &self.position, &self.stream, &mut self.blank_lines);
                    // A refused record costs more than its bytes: many small ones must fill a batch too.
                    rejected_bytes += refusal.as_ref().map_or(0, |refused| refused.raw.len() + 128);
                    rejected.extend(refusal);
                }
            }
        }
        if self.decoder.rows() == 0 && rejected.is_empty() {
            return self.failed.is_some().then(|| self.next_batch()).flatten();
        }
        Some(self.output(rejected, bytes))
    }

    fn output(&mut self, rejected: Vec<Rejected>, bytes: u64) -> Result<SourceOutput, FileError> {
        let rows = self.decoder.finish()?;
        let batch = SourceBatch { stream: Arc::clone(&self.stream), partition: self.partition, rows, late_us: None };
        let partition = TopicPartition { topic: Arc::clone(&self.position.topic), partition: 0 };
        let (misfits, next) = (self.decoder.take_misfits(), self.position.offset + 1);
        Ok(SourceOutput { batch, rejected, misfits, partition, next, bytes })
    }
}

impl Iterator for FileSource {
    type Item = Result<SourceOutput, FileError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_batch()
    }
}

fn take_line(
    decoder: &mut Decoder,
    line: Line<'_>,
    position: &Position,
    stream: &Arc<str>,
    blank_lines: &mut u64,
) -> Option<Rejected> {
    let record = Record::new(line.bytes, position);
    if line.is_cut() {
        let detail = format!("a line of {} bytes; the first {} are kept", line.full_len, line.bytes.len());
        return Some(Reject { reason: RejectReason::TooLarge, detail }.of(stream, &record));
    }
    if line.bytes.trim_ascii().is_empty() {
        *blank_lines += 1;
        return None;
    }
    decoder.push(&record).err().map(|reject| reject.of(stream, &record))
}

/// The same input, decompressed if its first bytes say that it is compressed.
///
/// # Errors
/// An input whose first bytes cannot be read.
pub fn decompressed(mut input: Box<dyn BufRead + Send>) -> io::Result<Box<dyn Read + Send>> {
    let start = input.fill_buf()?;
    Ok(if start.starts_with(&[0x1f, 0x8b]) {
        // Log rotation appends one gzip file to another.
        Box::new(flate2::bufread::MultiGzDecoder::new(input))
    } else if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        Box::new(zstd::stream::read::Decoder::with_buffer(input)?)
    } else {
        Box::new(input)
    })
}
