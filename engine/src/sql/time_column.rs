//! Columns that tell a time, and how far they may be from the event time of their row.

use super::lower::Lowered;

/// A column that tells a time, against the event time of its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimeColumn {
    pub(crate) column: usize,
    /// It is at most so many microseconds before the event time,
    pub(crate) behind_us: i64,
    /// and at most so many after it.
    pub(crate) ahead_us: i64,
}

impl TimeColumn {
    /// The event time itself.
    pub(crate) const fn exact(column: usize) -> Self {
        Self { column, behind_us: 0, ahead_us: 0 }
    }

    pub(crate) const fn is_exact(self) -> bool {
        self.behind_us == 0 && self.ahead_us == 0
    }
}

impl Lowered {
    /// All columns that tell a time.
    pub(crate) fn times(&self) -> impl Iterator<Item = TimeColumn> {
        self.time.map(TimeColumn::exact).into_iter().chain(self.lagging.iter().copied())
    }

    /// The same with these columns for its times.
    pub(crate) fn with_times(self, times: Vec<TimeColumn>) -> Self {
        let time = times.iter().find(|time| time.is_exact()).map(|time| time.column);
        let lagging = times.into_iter().filter(|known| Some(known.column) != time).collect();
        Self { time, lagging, ..self }
    }
}
