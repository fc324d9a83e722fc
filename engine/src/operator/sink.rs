//! Where hits leave the graph.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{UInt8Type, UInt16Type, UInt64Type};

use super::emit::{HIT_COLUMNS, activity_of};
use super::{Operator, Outbox};
use crate::error::EngineError;
use crate::graph::SinkSpec;
use crate::identity::Uid;
use crate::output::Hit;
use crate::rows::{Rows, uid_at};
use crate::snapshot::{Saved, Scope};
use crate::table::TableVersion;
use crate::time::EventTime;

/// Turns the rows of hits into [`Hit`]s.
pub(super) struct Sink {
    spec: SinkSpec,
    versions: BTreeMap<Arc<str>, Uid>,
}

impl Sink {
    pub(super) fn new(spec: SinkSpec) -> Self {
        Self { spec, versions: BTreeMap::new() }
    }
}

/// The last column of hits that went through a cooldown.
pub(crate) const PROVISIONAL: &str = "__provisional";
/// Columns that the cooldown adds after those of a hit: who suppresses it, and whether it is provisional.
pub(super) const COOLDOWN_COLUMNS: usize = 2;

impl Operator for Sink {
    fn rows(&mut self, _input: usize, rows: Rows, out: &mut Outbox) -> Result<(), EngineError> {
        let schema = rows.columns.schema();
        let has_cooldown = schema.fields().last().is_some_and(|field| field.name() == PROVISIONAL);
        let own = HIT_COLUMNS + if has_cooldown { COOLDOWN_COLUMNS } else { 0 };
        let width = rows.columns.num_columns() - own;
        let leading = (0..width).collect::<Vec<_>>();
        let row = rows.columns.project(&leading)?;
        let codes = rows.columns.column(width).as_primitive::<UInt8Type>();
        let counts = rows.columns.column(width + 2).as_primitive::<UInt64Type>();
        let causes = rows.columns.column(width + 3).as_fixed_size_binary();
        let exceptions = rows.columns.column(width + 4).as_primitive::<UInt16Type>();
        let suppressed = has_cooldown.then(|| rows.columns.column(width + 5).as_fixed_size_binary());
        let provisional = has_cooldown.then(|| rows.columns.column(width + 6).as_boolean());
        let tables: Vec<(Arc<str>, Uid)> =
            self.versions.iter().map(|(name, version)| (Arc::clone(name), *version)).collect();
        for at in 0..rows.len() {
            let Some(activity) = activity_of(codes.value(at)) else { continue };
            let exception =
                exceptions.is_valid(at).then(|| self.spec.exceptions.get(usize::from(exceptions.value(at))));
            out.hits.push(Hit {
                query: self.spec.query,
                uid: rows.uid(at),
                activity,
                time: EventTime(rows.time.value(at)),
                row: row.slice(at, 1),
                count: counts.value(at),
                events: if self.spec.has_event_as_cause { vec![uid_at(causes, at)] } else { vec![] },
                suppressed_by: suppressed.filter(|by| by.is_valid(at)).map(|by| uid_at(by, at)),
                provisional: provisional.is_some_and(|provisional| provisional.value(at)),
                exception: exception.flatten().cloned(),
                late: rows.is_late(at),
                arrival: rows.arrival.is_valid(at).then(|| EventTime(rows.arrival.value(at))),
                tables: tables.clone(),
            });
        }
        Ok(())
    }

    fn watermark(&mut self, _watermark: EventTime, _out: &mut Outbox) -> Result<(), EngineError> {
        Ok(())
    }

    fn table(&mut self, table: &TableVersion) -> Result<(), EngineError> {
        if self.spec.tables.contains(&table.name) {
            self.versions.insert(Arc::clone(&table.name), table.version);
        }
        Ok(())
    }

    fn state_bytes(&self) -> usize {
        0
    }

    /// Table versions are part of the manifest, not of this operator's memory.
    fn save(&mut self, _scope: Scope) -> Result<Saved, EngineError> {
        Ok(Saved::default())
    }

    fn restore(&mut self, _state: &[RecordBatch], _owns: &dyn Fn(u32) -> bool) -> Result<(), EngineError> {
        Ok(())
    }
}
