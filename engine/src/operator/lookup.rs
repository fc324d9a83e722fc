//! Rows joined with a look-up table. The table is indexed by key when it is swapped in.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, UInt64Array};
use arrow::compute::{cast, filter_record_batch, take};
use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, SortField};
use datafusion::common::JoinType;

use super::stateless::{conform, project};
use super::{Operator, Outbox};
use crate::error::EngineError;
use crate::graph::{LookupSpec, TableStep};
use crate::rows::{Rows, batch_of};
use crate::snapshot::{Saved, Scope};
use crate::sql::total::{evaluate, evaluate_predicate};
use crate::table::TableVersion;
use crate::time::EventTime;

/// A join whose right side is a table.
pub(super) struct Lookup {
    spec: LookupSpec,
    output: SchemaRef,
    converter: RowConverter,
    key_types: Vec<arrow::datatypes::DataType>,
    side: Option<TableSide>,
}

/// The rows of the table, and which of them have a key.
struct TableSide {
    rows: RecordBatch,
    index: HashMap<Box<[u8]>, Vec<u64>>,
}

/// Rows of a pair that may match, before the residual condition.
struct Pairs {
    rows: Vec<u64>,
    table: Vec<u64>,
}

impl Lookup {
    pub(super) fn new(spec: LookupSpec, output: SchemaRef) -> Result<Self, EngineError> {
        let schema = &spec.table_schema;
        let key_types = spec.table_keys.iter().map(|key| key.data_type(schema)).collect::<Result<Vec<_>, _>>()?;
        let converter = RowConverter::new(key_types.iter().cloned().map(SortField::new).collect())?;
        Ok(Self { spec, output, converter, key_types, side: None })
    }

    /// Keys in the types of the table's side, so that their encodings can be compared.
    fn keys(&self, values: Vec<ArrayRef>) -> Result<Vec<ArrayRef>, EngineError> {
        let pairs = values.into_iter().zip(&self.key_types);
        pairs
            .map(|(values, key)| if values.data_type() == key { Ok(values) } else { Ok(cast(&values, key)?) })
            .collect()
    }

    fn candidates(&self, rows: &Rows, side: &TableSide, failures: &mut u64) -> Result<Pairs, EngineError> {
        let mut pairs = Pairs { rows: vec![], table: vec![] };
        if self.spec.row_keys.is_empty() {
            for row in 0..rows.len() as u64 {
                pairs.rows.extend(std::iter::repeat_n(row, side.rows.num_rows()));
                pairs.table.extend(0..side.rows.num_rows() as u64);
            }
            return Ok(pairs);
        }
        let keys = self.spec.row_keys.iter().map(|key| evaluate(key.as_ref(), &rows.columns, failures));
        let keys = self.keys(keys.collect::<Result<Vec<_>, _>>()?)?;
        let encoded = self.converter.convert_columns(&keys)?;
        for row in 0..rows.len() {
            if !self.spec.null_equals_null && keys.iter().any(|key| key.is_null(row)) {
                continue;
            }
            if let Some(matches) = side.index.get(encoded.row(row).as_ref()) {
                pairs.rows.extend(std::iter::repeat_n(row as u64, matches.len()));
                pairs.table.extend(matches);
            }
        }
        Ok(pairs)
    }

    /// The pairs for which the residual condition holds.
    fn matching(&self, rows: &Rows, side: &TableSide, pairs: Pairs, failures: &mut u64) -> Result<Pairs, EngineError> {
        let Some(residual) = &self.spec.residual else { return Ok(pairs) };
        let row_indices = UInt64Array::from(pairs.rows);
        let table_indices = UInt64Array::from(pairs.table);
        let columns = self.joined(rows, side, &row_indices, &table_indices)?;
        let columns = conform(&columns, &self.spec.pair_schema)?;
        let batch = batch_of(Arc::clone(&self.spec.pair_schema), columns, row_indices.len())?;
        let holds = evaluate_predicate(residual.as_ref(), &batch, failures)?;
        let kept = |indices: &UInt64Array| -> Vec<u64> {
            indices.values().iter().zip(holds.values().iter()).filter(|(_, holds)| *holds).map(|(at, _)| *at).collect()
        };
        Ok(Pairs { rows: kept(&row_indices), table: kept(&table_indices) })
    }

    /// The columns of both sides, in output order. A null index gives NULLs.
    fn joined(
        &self,
        rows: &Rows,
        side: &TableSide,
        row_indices: &UInt64Array,
        table_indices: &UInt64Array,
    ) -> Result<Vec<ArrayRef>, EngineError> {
        let of = |batch: &RecordBatch, indices: &UInt64Array| {
            batch
                .columns()
                .iter()
                .map(|column| Ok(take(column, indices, None)?))
                .collect::<Result<Vec<_>, EngineError>>()
        };
        let (row, table) = (of(&rows.columns, row_indices)?, of(&side.rows, table_indices)?);
        Ok(if self.spec.table_first {
            table.into_iter().chain(row).collect()
        } else {
            row.into_iter().chain(table).collect()
        })
    }
}

impl Operator for Lookup {
    fn rows(&mut self, _input: usize, rows: Rows, out: &mut Outbox) -> Result<(), EngineError> {
        let Some(side) = &self.side else { return Err(EngineError::MissingTable(self.spec.table.name.clone())) };
        let pairs = self.candidates(&rows, side, &mut out.failures)?;
        let pairs = self.matching(&rows, side, pairs, &mut out.failures)?;
        if matches!(self.spec.join_type, JoinType::LeftSemi | JoinType::LeftAnti) {
            let mut keep = vec![self.spec.join_type == JoinType::LeftAnti; rows.len()];
            pairs.rows.iter().for_each(|row| keep[*row as usize] = self.spec.join_type == JoinType::LeftSemi);
            out.rows.push(rows.filter(&BooleanArray::from(keep))?);
            return Ok(());
        }
        let (mut row_indices, mut table_indices) = (pairs.rows, pairs.table.into_iter().map(Some).collect::<Vec<_>>());
        if self.spec.join_type == JoinType::Left {
            let mut is_matched = vec![false; rows.len()];
            row_indices.iter().for_each(|row| is_matched[*row as usize] = true);
            let unmatched = (0..rows.len() as u64).filter(|row| !is_matched[*row as usize]);
            unmatched.for_each(|row| {
                row_indices.push(row);
                table_indices.push(None);
            });
        }
        if row_indices.is_empty() {
            return Ok(());
        }
        let (row_indices, table_indices) = (UInt64Array::from(row_indices), UInt64Array::from(table_indices));
        let columns = conform(&self.joined(&rows, side, &row_indices, &table_indices)?, &self.output)?;
        let columns = batch_of(Arc::clone(&self.output), columns, row_indices.len())?;
        out.rows.push(rows.take(&row_indices)?.with_columns(columns));
        Ok(())
    }

    fn watermark(&mut self, _watermark: EventTime, _out: &mut Outbox) -> Result<(), EngineError> {
        Ok(())
    }

    fn table(&mut self, table: &TableVersion) -> Result<(), EngineError> {
        if !table.name.eq_ignore_ascii_case(&self.spec.table.name) {
            return Ok(());
        }
        let mut failures = 0;
        let mut rows = table.rows.clone();
        for step in &self.spec.steps {
            rows = match step {
                TableStep::Select(columns) => rows.project(columns)?,
                TableStep::Filter(predicate) => {
                    filter_record_batch(&rows, &evaluate_predicate(predicate.as_ref(), &rows, &mut failures)?)?
                }
                TableStep::Project(exprs, schema) => project(exprs, schema, &rows, &mut failures)?,
            };
        }
        let mut index: HashMap<Box<[u8]>, Vec<u64>> = HashMap::new();
        if !self.spec.table_keys.is_empty() {
            let keys = self.spec.table_keys.iter().map(|key| evaluate(key.as_ref(), &rows, &mut failures));
            let keys = self.keys(keys.collect::<Result<Vec<_>, _>>()?)?;
            let encoded = self.converter.convert_columns(&keys)?;
            for row in 0..rows.num_rows() {
                if self.spec.null_equals_null || keys.iter().all(|key| key.is_valid(row)) {
                    index.entry(encoded.row(row).as_ref().into()).or_default().push(row as u64);
                }
            }
        }
        self.side = Some(TableSide { rows, index });
        Ok(())
    }

    fn state_bytes(&self) -> usize {
        0
    }

    /// Tables are read anew at a start; the manifest names their versions.
    fn save(&mut self, _scope: Scope) -> Result<Saved, EngineError> {
        Ok(Saved::default())
    }

    fn restore(&mut self, _state: &[RecordBatch], _owns: &dyn Fn(u32) -> bool) -> Result<(), EngineError> {
        Ok(())
    }
}
