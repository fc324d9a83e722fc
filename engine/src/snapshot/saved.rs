//! What an operator saves: rows in sections, and what has become of them since.

use std::fmt;
use std::sync::Arc;

use arrow::array::{BinaryArray, RecordBatch};

use crate::error::EngineError;
use crate::time::EventTime;

/// How much is saved at the end of an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Everything that is remembered.
    Whole,
    /// What has changed since the epoch before. An operator that does not know says everything.
    Changes,
}

/// One step from what was remembered to what is.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    /// These rows are remembered. One takes the place of an earlier one of its section and id; without ids they stand
    /// for themselves.
    Put { section: i64, ids: Option<BinaryArray>, rows: RecordBatch },
    /// The same, of rows that are yet to be made.
    PutLater { section: i64, ids: BinaryArray, rows: Later },
    /// The rows with these ids are forgotten.
    Remove { section: i64, ids: BinaryArray },
    /// The rows whose ids come before this one are forgotten.
    RemoveBelow { section: i64, id: Vec<u8> },
    /// All rows of a section are forgotten.
    Drop { section: i64 },
    /// The operator has seen this watermark.
    Watermark(i64),
}

/// Rows that are made where they are read or written, so that the worker is held up by what it must copy and by nothing else.
#[derive(Clone)]
pub(crate) struct Later(Arc<dyn Fn() -> Result<RecordBatch, EngineError> + Send + Sync>);

impl Later {
    pub(crate) fn new(rows: impl Fn() -> Result<RecordBatch, EngineError> + Send + Sync + 'static) -> Self {
        Self(Arc::new(rows))
    }

    pub(super) fn made(&self) -> Result<RecordBatch, EngineError> {
        (self.0)()
    }
}

impl fmt::Debug for Later {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Later")
    }
}

/// What one operator saved.
#[derive(Debug, Clone, Default)]
pub(crate) struct Saved {
    /// Whether everything that was saved before is forgotten.
    pub(crate) is_whole: bool,
    pub(crate) changes: Vec<Change>,
}

impl Saved {
    /// Everything, of an operator that does not know what has changed.
    pub(crate) fn whole(batches: Vec<RecordBatch>) -> Self {
        let put = |rows| Change::Put { section: 0, ids: None, rows };
        Self { is_whole: true, changes: batches.into_iter().map(put).collect() }
    }

    /// Everything, or what has changed, of an operator that knows.
    pub(crate) fn of(scope: Scope, changes: Vec<Change>) -> Self {
        Self { is_whole: scope == Scope::Whole, changes }
    }

    /// Whether a reader who knows all before learns nothing from it.
    pub(crate) const fn is_nothing(&self) -> bool {
        !self.is_whole && self.changes.is_empty()
    }

    /// The watermark of a whole state, where it is not in the rows.
    pub(crate) fn watermark(&self) -> Option<EventTime> {
        self.changes.iter().rev().find_map(|change| match change {
            Change::Watermark(watermark) => Some(EventTime(*watermark)),
            _ => None,
        })
    }

    /// The rows of a whole state.
    pub(crate) fn rows(&self) -> Result<Vec<RecordBatch>, EngineError> {
        let rows = self.changes.iter().filter_map(|change| match change {
            Change::Put { rows, .. } => Some(Ok(rows.clone())),
            Change::PutLater { rows, .. } => Some(rows.made()),
            _ => None,
        });
        rows.collect()
    }
}

/// Things that have changed. Nothing is noted before they are first taken: what never saves, such as a replay, has no
/// use for them.
#[derive(Debug)]
pub(crate) struct Noted<T>(Option<Vec<T>>);

impl<T> Default for Noted<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Noted<T> {
    /// Notes nothing yet.
    pub(crate) const fn new() -> Self {
        Self(None)
    }

    /// Notes what `thing` makes.
    pub(crate) fn note(&mut self, thing: impl FnOnce() -> T) {
        if let Some(noted) = &mut self.0 {
            noted.push(thing());
        }
    }

    /// What has been noted since this was last called.
    pub(crate) fn take(&mut self) -> Vec<T> {
        self.0.replace(Vec::new()).unwrap_or_default()
    }
}
