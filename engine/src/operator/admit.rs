//! Which rows a stateful operator may see, and which it owns.

use std::sync::Arc;

use arrow::array::BooleanArray;
use datafusion::physical_expr::PhysicalExpr;

use super::Outbox;
use crate::canonical::{encode_rows, key_group};
use crate::error::EngineError;
use crate::rows::Rows;
use crate::sql::total::evaluate;
use crate::time::EventTime;

/// The rows that are neither late, nor provisional, nor behind the watermark. Those behind it are put out as idle.
pub(super) fn admitted(rows: Rows, watermark: EventTime, out: &mut Outbox) -> Result<Rows, EngineError> {
    admitted_within(rows, watermark, 0, out)
}

/// As [`admitted`], for an operator that allows for rows that are late by so much.
pub(super) fn admitted_within(
    rows: Rows,
    watermark: EventTime,
    allowed_us: i64,
    out: &mut Outbox,
) -> Result<Rows, EngineError> {
    let is_plain = rows.late_us.is_none() && rows.provisional.is_none();
    if is_plain && rows.time.values().iter().all(|time| *time >= watermark.0) {
        return Ok(rows);
    }
    let oldest = watermark.less(allowed_us);
    let seen = |row: usize| rows.late_us(row) <= allowed_us && !rows.is_provisional(row);
    let behind = |row: usize| rows.time.value(row) < oldest.0;
    // What its clock found late is told already.
    let is_idle = |row: usize| !rows.is_late(row) && seen(row) && behind(row);
    let idle: BooleanArray = (0..rows.len()).map(|row| Some(is_idle(row))).collect();
    if idle.true_count() > 0 {
        out.idle.push(rows.filter(&idle)?);
    }
    let keep: BooleanArray = (0..rows.len()).map(|row| Some(seen(row) && !behind(row))).collect();
    Ok(rows.filter(&keep)?)
}

/// The saved rows whose key belongs to this worker.
pub(super) fn owned(
    rows: &Rows,
    keys: &[Arc<dyn PhysicalExpr>],
    owns: &dyn Fn(u32) -> bool,
) -> Result<Rows, EngineError> {
    // What could not be computed was counted when the row came first.
    let mut failures = 0;
    let keys =
        keys.iter().map(|key| evaluate(key.as_ref(), &rows.columns, &mut failures)).collect::<Result<Vec<_>, _>>()?;
    let encoded = encode_rows(&keys, rows.len())?;
    let keep: BooleanArray = encoded.iter().map(|key| Some(owns(key_group(key)))).collect();
    Ok(rows.filter(&keep)?)
}
