//! The clock of a partition: which rows are late, how far the watermark is, and which jumps into the future are real.
//!
//! A row is late iff its time is more than the stream's lateness behind the greatest earlier time of its own partition.
//! That is a property of the data alone, so every run agrees. A row from the future cannot move the clock: where the
//! arrival of a record is known it is measured against that; where it is not, a jump is held until one of the next
//! sixteen records, or the end of input, confirms it. A nearer jump takes its place.

use arrow::array::{Array, Int64Array, UInt64Array};

use crate::error::EngineError;
use crate::output::LateReason;
use crate::rows::{NEVER, Rows};
use crate::time::EventTime;

/// How many records a jump is held for.
const CONFIRMING_RECORDS: u32 = 16;

/// The clock of one partition.
#[derive(Debug)]
pub(crate) struct PartitionClock {
    lateness_us: i64,
    guard_us: i64,
    /// Greatest time so far.
    pub(crate) greatest: Option<i64>,
    pub(crate) held: Option<Held>,
    pub(crate) has_ended: bool,
    pub(crate) is_idle: bool,
}

/// A row that claims to be far in the future of its partition.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) row: Rows,
    pub(crate) records_left: u32,
}

/// Rows of one batch in the order in which they count, with those that are late marked.
#[derive(Debug, Default)]
pub(crate) struct Judged {
    pub(crate) parts: Vec<Rows>,
    /// Rows of `parts` that are late.
    pub(crate) late: Vec<LateRow>,
}

/// A row that is late.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LateRow {
    pub(crate) part: usize,
    pub(crate) row: usize,
    pub(crate) reason: LateReason,
    /// What the clock showed when it said so; `None` where that was known before.
    pub(crate) at: Option<i64>,
}

impl PartitionClock {
    pub(crate) fn new(lateness_us: i64, guard_us: i64) -> Self {
        // A stream that may be a day out of order jumps by a day as a matter of course.
        let guard_us = guard_us.max(lateness_us);
        Self { lateness_us, guard_us, greatest: None, held: None, has_ended: false, is_idle: false }
    }

    /// No on-time row before this instant will follow.
    pub(crate) fn watermark(&self) -> EventTime {
        if self.has_ended {
            return EventTime::MAX;
        }
        self.greatest.map_or(EventTime::MIN, |greatest| EventTime(greatest).before(self.lateness_us))
    }

    /// The greatest time so far.
    pub(crate) fn reached(&self) -> EventTime {
        if self.has_ended { EventTime::MAX } else { self.greatest.map_or(EventTime::MIN, EventTime) }
    }

    /// Judges the rows of a batch. `known` says how late each row is where that is known already; nothing is judged then.
    pub(crate) fn judge(&mut self, rows: Rows, known: Option<&[i64]>) -> Result<Judged, EngineError> {
        self.is_idle = false;
        if let Some(known) = known {
            return Ok(self.take_as_known(rows, known));
        }
        let mut judged = Judged::default();
        let mut part = Part::new(0);
        for row in 0..rows.len() {
            let time = rows.time.value(row);
            if let Some(held) = &mut self.held {
                if time >= EventTime(held.row.time.value(0)).before(self.guard_us).0 {
                    part.close(&rows, row, &mut judged)?;
                    self.admit_held(None, &mut judged);
                    part = Part::new(row);
                } else {
                    held.records_left -= 1;
                    let has_expired = held.records_left == 0;
                    // Of two jumps that do not bear each other out the nearer one is the likelier, so it waits instead.
                    if has_expired || (rows.arrival.is_null(row) && self.is_jump(time)) {
                        part.close(&rows, row, &mut judged)?;
                        self.admit_held(Some(LateReason::Future), &mut judged);
                        part = Part::new(row);
                    }
                }
            }
            if rows.arrival.is_valid(row) {
                if time > EventTime(rows.arrival.value(row)).after(self.guard_us).0 {
                    part.late.push((row, LateReason::Future, self.greatest.unwrap_or(rows.arrival.value(row)), NEVER));
                    continue;
                }
            } else if self.is_jump(time) && self.held.is_none() {
                part.close(&rows, row, &mut judged)?;
                let row_alone = rows.take(&UInt64Array::from(vec![row as u64]))?;
                self.held = Some(Held { row: row_alone, records_left: CONFIRMING_RECORDS });
                part = Part::new(row + 1);
                continue;
            }
            if let Some(greatest) = self.greatest.filter(|_| self.is_late(time)) {
                part.late.push((row, LateReason::Lateness, greatest, self.late_us(time, LateReason::Lateness)));
            } else {
                self.greatest = self.greatest.max(Some(time));
            }
        }
        part.close(&rows, rows.len(), &mut judged)?;
        Ok(judged)
    }

    /// The end of the partition: what was held is confirmed.
    pub(crate) fn end(&mut self) -> Judged {
        let mut judged = Judged::default();
        if self.held.is_some() {
            self.admit_held(None, &mut judged);
        }
        self.has_ended = true;
        judged
    }

    fn take_as_known(&mut self, rows: Rows, known: &[i64]) -> Judged {
        let mut late = vec![];
        for (row, late_us) in known.iter().enumerate() {
            if *late_us > 0 {
                late.push(LateRow { part: 0, row, reason: LateReason::Lateness, at: None });
            } else {
                self.greatest = self.greatest.max(Some(rows.time.value(row)));
            }
        }
        let late_us = (!late.is_empty()).then(|| Int64Array::from(known.to_vec()));
        Judged { parts: vec![Rows { late_us, ..rows }], late }
    }

    fn is_late(&self, time: i64) -> bool {
        self.greatest.is_some_and(|greatest| time < EventTime(greatest).before(self.lateness_us).0)
    }

    /// How late a row is that is late.
    fn late_us(&self, time: i64, reason: LateReason) -> i64 {
        match (reason, self.greatest) {
            (LateReason::Lateness, Some(greatest)) => {
                EventTime(greatest).before(self.lateness_us).0.saturating_sub(time)
            }
            _ => NEVER,
        }
    }

    fn is_jump(&self, time: i64) -> bool {
        self.greatest.is_some_and(|greatest| time > EventTime(greatest).after(self.guard_us).0)
    }

    fn admit_held(&mut self, set_aside: Option<LateReason>, judged: &mut Judged) {
        let Some(Held { row, .. }) = self.held.take() else { return };
        let time = row.time.value(0);
        let reason = set_aside.or_else(|| self.is_late(time).then_some(LateReason::Lateness));
        let late_us = reason.map(|reason| Int64Array::from(vec![self.late_us(time, reason)]));
        if let Some(reason) = reason {
            judged.late.push(LateRow { part: judged.parts.len(), row: 0, reason, at: self.greatest });
        } else {
            self.greatest = self.greatest.max(Some(time));
        }
        judged.parts.push(Rows { late_us, ..row });
    }
}

/// A run of rows of the batch that stay together.
struct Part {
    start: usize,
    /// Row, reason, what the clock showed, and how late that is.
    late: Vec<(usize, LateReason, i64, i64)>,
}

impl Part {
    const fn new(start: usize) -> Self {
        Self { start, late: vec![] }
    }

    fn close(&mut self, rows: &Rows, end: usize, judged: &mut Judged) -> Result<(), EngineError> {
        if end <= self.start {
            return Ok(());
        }
        let mut part = if self.start == 0 && end == rows.len() {
            rows.clone()
        } else {
            rows.take(&(self.start as u64..end as u64).collect::<UInt64Array>())?
        };
        if !self.late.is_empty() {
            let mut late_us = vec![0; end - self.start];
            for (row, reason, at, us) in self.late.drain(..) {
                let row = row - self.start;
                late_us[row] = us;
                judged.late.push(LateRow { part: judged.parts.len(), row, reason, at: Some(at) });
            }
            part.late_us = Some(Int64Array::from(late_us));
        }
        judged.parts.push(part);
        Ok(())
    }
}
