//! Aggregates that only DataFusion knows.

use std::sync::Arc;

use arrow::array::{ArrayRef, UInt64Array, new_empty_array};
use arrow::compute::{concat, take};
use arrow::datatypes::Field;
use datafusion::common::ScalarValue;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::Accumulator;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;

use super::Arguments;
use crate::error::EngineError;

/// An aggregate that only DataFusion knows; reading its value consumes it, so it is put back from its state.
pub(in crate::operator) struct Other {
    function: Arc<AggregateFunctionExpr>,
    groups: Vec<Box<dyn Accumulator>>,
    /// What the accumulators say of their size.
    group_bytes: usize,
}

impl Other {
    pub(super) const fn new(function: Arc<AggregateFunctionExpr>) -> Self {
        Self { function, groups: vec![], group_bytes: 0 }
    }

    pub(super) fn state_width(&self) -> Result<usize, EngineError> {
        Ok(self.function.state_fields()?.len())
    }

    fn resize(&mut self, count: usize) -> Result<(), EngineError> {
        while self.groups.len() < count {
            let fresh = self.function.create_accumulator()?;
            self.group_bytes += fresh.size();
            self.groups.push(fresh);
        }
        Ok(())
    }

    pub(super) fn bytes(&self) -> usize {
        self.groups.capacity() * size_of::<Box<dyn Accumulator>>() + self.group_bytes
    }

    /// Lets one group change, and notes what that does to its size.
    fn change(
        &mut self,
        group: usize,
        change: impl FnOnce(&mut dyn Accumulator) -> Result<(), DataFusionError>,
    ) -> Result<(), EngineError> {
        let accumulator = self.groups[group].as_mut();
        let before = accumulator.size();
        change(accumulator)?;
        self.group_bytes = (self.group_bytes + accumulator.size()).saturating_sub(before);
        Ok(())
    }

    pub(super) fn update(&mut self, arguments: &Arguments, groups: &[u32], count: usize) -> Result<(), EngineError> {
        self.resize(count)?;
        for (group, rows) in rows_by_group(groups, |row| arguments.keep.as_ref().is_none_or(|keep| keep.value(row))) {
            let values = take_all(&arguments.values, &rows)?;
            self.change(group as usize, |accumulator| accumulator.update_batch(&values))?;
        }
        Ok(())
    }

    pub(super) fn peek(&mut self, groups: &[u32]) -> Result<ArrayRef, EngineError> {
        let last = groups.iter().max().map_or(0, |group| *group as usize + 1);
        self.resize(last)?;
        let values = groups
            .iter()
            .map(|group| {
                let state = self.restate(*group as usize)?;
                let value = self.consumed(*group as usize, |accumulator| accumulator.evaluate())?;
                self.reset(*group as usize, &state)?;
                Ok(value)
            })
            .collect::<Result<Vec<ScalarValue>, EngineError>>()?;
        if values.is_empty() {
            return Ok(new_empty_array(self.function.field().data_type()));
        }
        Ok(ScalarValue::iter_to_array(values)?)
    }

    /// The state of one group; the group is as it was afterwards.
    fn restate(&mut self, group: usize) -> Result<Vec<ScalarValue>, EngineError> {
        let state = self.consumed(group, |accumulator| accumulator.state())?;
        self.reset(group, &state)?;
        Ok(state)
    }

    /// Reads something of a group that is put back by [`Self::reset`], and does not count its size meanwhile.
    fn consumed<T>(
        &mut self,
        group: usize,
        read: impl FnOnce(&mut dyn Accumulator) -> Result<T, DataFusionError>,
    ) -> Result<T, EngineError> {
        let accumulator = self.groups[group].as_mut();
        self.group_bytes = self.group_bytes.saturating_sub(accumulator.size());
        Ok(read(accumulator)?)
    }

    fn reset(&mut self, group: usize, state: &[ScalarValue]) -> Result<(), EngineError> {
        let columns = state.iter().map(ScalarValue::to_array).collect::<Result<Vec<_>, DataFusionError>>()?;
        let mut fresh = self.function.create_accumulator()?;
        fresh.merge_batch(&columns)?;
        self.group_bytes += fresh.size();
        self.groups[group] = fresh;
        Ok(())
    }

    pub(super) fn state(&mut self, groups: &[u32], count: usize) -> Result<Vec<ArrayRef>, EngineError> {
        self.resize(count)?;
        let fields = self.function.state_fields()?;
        let mut columns: Vec<Vec<ArrayRef>> = vec![vec![]; fields.len()];
        for group in groups {
            for (column, value) in columns.iter_mut().zip(self.restate(*group as usize)?) {
                column.push(value.to_array()?);
            }
        }
        let concat_or_empty = |(parts, field): (&Vec<ArrayRef>, &Arc<Field>)| -> Result<ArrayRef, EngineError> {
            if parts.is_empty() {
                return Ok(new_empty_array(field.data_type()));
            }
            Ok(concat(&parts.iter().map(AsRef::as_ref).collect::<Vec<_>>())?)
        };
        columns.iter().zip(&fields).map(concat_or_empty).collect()
    }

    pub(super) fn merge(&mut self, state: &[ArrayRef], groups: &[u32], count: usize) -> Result<(), EngineError> {
        self.resize(count)?;
        for (group, rows) in rows_by_group(groups, |_| true) {
            let values = take_all(state, &rows)?;
            self.change(group as usize, |accumulator| accumulator.merge_batch(&values))?;
        }
        Ok(())
    }

    /// Adds groups of another pane, each to the group it is paired with.
    pub(super) fn absorb(
        &mut self,
        other: &mut Self,
        pairs: impl Iterator<Item = (usize, usize)>,
        count: usize,
    ) -> Result<(), EngineError> {
        self.resize(count)?;
        for (from, to) in pairs.filter(|(from, _)| *from < other.groups.len()).collect::<Vec<_>>() {
            let state = other.restate(from)?;
            let columns = state.iter().map(ScalarValue::to_array).collect::<Result<Vec<_>, DataFusionError>>()?;
            self.change(to, |accumulator| accumulator.merge_batch(&columns))?;
        }
        Ok(())
    }
}

fn take_all(columns: &[ArrayRef], rows: &UInt64Array) -> Result<Vec<ArrayRef>, EngineError> {
    Ok(columns.iter().map(|column| take(column, rows, None)).collect::<Result<Vec<_>, _>>()?)
}

/// The rows of each group, groups in order.
fn rows_by_group(groups: &[u32], keep: impl Fn(usize) -> bool) -> Vec<(u32, UInt64Array)> {
    let mut rows: Vec<(u32, u64)> =
        groups.iter().enumerate().filter(|(row, _)| keep(*row)).map(|(row, group)| (*group, row as u64)).collect();
    rows.sort_unstable();
    rows.chunk_by(|left, right| left.0 == right.0)
        .map(|chunk| (chunk[0].0, chunk.iter().map(|(_, row)| *row).collect::<UInt64Array>()))
        .collect()
}
