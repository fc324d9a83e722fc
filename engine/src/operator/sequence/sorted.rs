//! Sequences over rows that are all there, for a hunt: rows come in the order of their key, their time and their uid, and
//! only the rows of one key that are `WITHIN` of each other are kept at once.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringViewArray};
use arrow::compute::{cast, is_not_null};
use arrow::datatypes::{DataType, SchemaRef, TimestampMicrosecondType};

use super::matcher::{Matcher, Matches, Partition};
use crate::catalog::TIME_TYPE;
use crate::error::EngineError;
use crate::graph::SequenceSpec;
use crate::identity::Uid;
use crate::operator::stateless::conform;
use crate::rows::{Identity, Rows, batch_of, no_arrival, uid_array, uid_at};
use crate::time::EventTime;

/// A sequence at work on rows in order.
pub struct SequenceRun {
    matcher: Matcher,
    /// The columns of the input that hold the time and the uid, the latter as text.
    time: usize,
    uid: usize,
    /// The columns of what comes out: those of the matches, and behind them their uids if they are asked for.
    output: SchemaRef,
    open: Option<(Vec<u8>, Partition)>,
}

impl SequenceRun {
    pub(crate) fn new(
        spec: SequenceSpec,
        input: SchemaRef,
        matches: SchemaRef,
        output: SchemaRef,
        [time, uid]: [usize; 2],
    ) -> Self {
        Self { matcher: Matcher::new(spec, matches, input), time, uid, output, open: None }
    }

    /// Takes the next rows; gives the matches that are certain by now, if any.
    ///
    /// # Errors
    /// The batch does not have the columns of the input.
    pub fn push(&mut self, batch: &RecordBatch) -> Result<Option<RecordBatch>, EngineError> {
        let rows = self.rows(batch)?;
        let mut matches = Matches::default();
        // Values that cannot be computed are NULL; a hunt does not count them.
        for (key, rows) in self.matcher.of_keys(&rows, &mut 0)? {
            if self.open.as_ref().is_some_and(|(open, _)| *open != key) {
                self.close(&mut matches)?;
            }
            let Some(last) = rows.last().map(|row| EventTime(row.time)) else { continue };
            let (_, partition) = self.open.get_or_insert_with(|| (key, Partition::default()));
            self.matcher.append(partition, rows);
            self.matcher.advance(partition, last, &mut matches, &mut 0)?;
            self.matcher.trim(partition, last);
        }
        self.output(matches)
    }

    /// No rows follow; gives the matches that are left.
    ///
    /// # Errors
    /// A measure cannot be computed at all.
    pub fn finish(&mut self) -> Result<Option<RecordBatch>, EngineError> {
        let mut matches = Matches::default();
        self.close(&mut matches)?;
        self.output(matches)
    }

    /// The bytes of the rows that it keeps.
    #[must_use]
    pub fn kept_bytes(&self) -> usize {
        self.open.as_ref().map_or(0, |(_, partition)| partition.bytes())
    }

    fn close(&mut self, matches: &mut Matches) -> Result<(), EngineError> {
        if let Some((_, mut partition)) = self.open.take() {
            self.matcher.advance(&mut partition, EventTime::MAX, matches, &mut 0)?;
        }
        Ok(())
    }

    /// The rows that have a time.
    fn rows(&self, batch: &RecordBatch) -> Result<Rows, EngineError> {
        let columns = conform(batch.columns(), &self.matcher.input)?;
        let columns = batch_of(Arc::clone(&self.matcher.input), columns, batch.num_rows())?;
        let time = cast(columns.column(self.time), &TIME_TYPE)?;
        let uids = cast(columns.column(self.uid), &DataType::Utf8View)?;
        let uid = |text: Option<&str>| text.and_then(|text| text.parse().ok()).unwrap_or(Uid([0; 16]));
        let rows = Rows {
            time: time.as_primitive::<TimestampMicrosecondType>().clone(),
            identity: Identity::Uid(uid_array(uids.as_string_view().iter().map(uid))),
            arrival: no_arrival(columns.num_rows()),
            columns,
            late_us: None,
            provisional: None,
            withdrawn: None,
        };
        Ok(if rows.time.null_count() > 0 { rows.filter(&is_not_null(&rows.time)?)? } else { rows })
    }

    fn output(&self, matches: Matches) -> Result<Option<RecordBatch>, EngineError> {
        let Some(rows) = self.matcher.output(matches)? else { return Ok(None) };
        let mut columns = rows.columns.columns().to_vec();
        if self.output.fields().len() > columns.len() {
            let uids = rows.uids();
            let text: StringViewArray = (0..rows.len()).map(|row| Some(uid_at(&uids, row).to_string())).collect();
            columns.push(Arc::new(text) as ArrayRef);
        }
        Ok(Some(batch_of(Arc::clone(&self.output), columns, rows.len())?))
    }
}
