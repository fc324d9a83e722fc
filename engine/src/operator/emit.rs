//! From rows to hits with an identity. Rows of equal cause are one hit with a count; a group that stated itself
//! provisionally is updated when its window closes, if its values differ. A window that waits for late rows states its
//! groups again whenever one came, and takes back what no longer holds.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, FixedSizeBinaryArray, Int64Array, RecordBatch, TimestampMicrosecondArray,
    UInt8Array, UInt16Array, UInt64Array,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimestampMicrosecondType, UInt64Type};
use arrow::row::{OwnedRow, RowConverter, SortField};

use super::bytes::{of_box, of_table, shrink};
use super::{Operator, Outbox};
use crate::canonical::key_group;
use crate::catalog::TIME_TYPE;
use crate::error::EngineError;
use crate::graph::EmitSpec;
use crate::identity::Uid;
use crate::output::Activity;
use crate::rows::{Identity, NEVER, Rows, batch_of, refit, uid_array, uid_at};
use crate::snapshot::{Change, Noted, Saved, Scope};
use crate::sql::total::evaluate_predicate;
use crate::table::TableVersion;
use crate::time::EventTime;

/// How long after the watermark a row-level hit is remembered, so that a repeated record raises its count instead of
/// being a second alert. A repeat that comes later is created again, under the same id.
const REPEAT_HORIZON_US: i64 = 24 * 3_600_000_000;

/// How many columns of a saved hit stand before those of the `SELECT`.
const OWN_COLUMNS: usize = 8;

/// What a hit's row carries after the columns of the `SELECT`.
pub(crate) const HIT_COLUMNS: usize = 5;

/// Code of a row that only closes a hit whose values did not change.
pub(crate) const NOTHING_NEW: u8 = 0;
const CREATE: u8 = 1;
const UPDATE: u8 = 2;
/// Code of a row that takes a hit back.
pub(super) const WITHDRAW: u8 = 3;

/// The activity that a code stands for.
pub(crate) const fn activity_of(code: u8) -> Option<Activity> {
    match code {
        CREATE => Some(Activity::Create),
        UPDATE => Some(Activity::Update),
        WITHDRAW => Some(Activity::Withdraw),
        _ => None,
    }
}

/// The schema of hits: the `SELECT`'s columns, then activity, whether the hit is final, count, cause and exception.
pub(crate) fn hit_schema(row: &SchemaRef) -> SchemaRef {
    let own = [
        Field::new("__activity", DataType::UInt8, false),
        Field::new("__final", DataType::Boolean, false),
        Field::new("__count", DataType::UInt64, false),
        Field::new("__cause", DataType::FixedSizeBinary(16), false),
        Field::new("__exception", DataType::UInt16, true),
    ];
    Arc::new(Schema::new(row.fields().iter().cloned().chain(own.map(Arc::new)).collect::<Vec<_>>()))
}

/// Gives rows of one query their identity.
pub(super) struct Emit {
    spec: EmitSpec,
    row_schema: SchemaRef,
    output: SchemaRef,
    converter: RowConverter,
    hits: HashMap<Uid, Known>,
    /// Hits that were stated, and hits that were forgotten.
    stated: Noted<Uid>,
    forgotten: Noted<Uid>,
}

/// A hit that has been stated.
struct Known {
    cause: Uid,
    time: i64,
    count: u64,
    row: OwnedRow,
    arrival: Option<i64>,
    is_late: bool,
    is_provisional: bool,
    is_withdrawn: bool,
}

/// A hit in a batch of rows, before it is compared with what is known.
struct Statement {
    cause: Uid,
    time: i64,
    count: u64,
    row: OwnedRow,
    arrival: Option<i64>,
    is_late: bool,
    is_provisional: bool,
    is_withdrawn: bool,
}

/// One hit's row on its way out.
struct Stated {
    uid: Uid,
    code: u8,
    is_final: bool,
}

impl Emit {
    pub(super) fn new(spec: EmitSpec, row_schema: SchemaRef, output: SchemaRef) -> Result<Self, EngineError> {
        let fields = row_schema.fields().iter().map(|field| SortField::new(field.data_type().clone())).collect();
        let converter = RowConverter::new(fields)?;
        let (stated, forgotten) = (Noted::default(), Noted::default());
        Ok(Self { spec, row_schema, output, converter, hits: HashMap::new(), stated, forgotten })
    }

    /// The hits that a batch states, in order of their first row.
    fn statements(&self, rows: &Rows) -> Result<Vec<(Uid, Statement)>, EngineError> {
        let encoded = self.converter.convert_columns(rows.columns.columns())?;
        let mut order: HashMap<(Uid, bool, bool), usize> = HashMap::new();
        let mut statements: Vec<(Uid, Statement)> = vec![];
        for row in 0..rows.len() {
            let cause = rows.uid(row);
            let uid = Uid::of_cause([self.spec.id.as_bytes(), &cause.0]);
            let (is_provisional, is_withdrawn) = (rows.is_provisional(row), rows.is_withdrawn(row));
            let key = (uid, is_provisional, is_withdrawn);
            let arrival = rows.arrival.is_valid(row).then(|| rows.arrival.value(row));
            match order.get(&key) {
                Some(index) => {
                    let known = &mut statements[*index].1;
                    known.count += 1;
                    known.arrival = known.arrival.max(arrival);
                    known.is_late &= rows.is_late(row);
                    if encoded.row(row) < known.row.row() {
                        known.row = encoded.row(row).owned();
                    }
                }
                None => {
                    order.insert(key, statements.len());
                    let statement = Statement {
                        cause,
                        time: rows.time.value(row),
                        count: 1,
                        row: encoded.row(row).owned(),
                        arrival,
                        is_late: rows.is_late(row),
                        is_provisional,
                        is_withdrawn,
                    };
                    statements.push((uid, statement));
                }
            }
        }
        Ok(statements)
    }

    /// Compares a statement with what is known, and says what leaves.
    fn state(&mut self, uid: Uid, statement: Statement) -> Option<Stated> {
        self.stated.note(|| uid);
        let is_row_level = self.spec.is_row_level;
        match (self.hits.get(&uid).map(|known| known.is_withdrawn), statement.is_withdrawn) {
            (None | Some(true), true) => return None,
            (Some(false), true) => {
                // What is final is not taken back.
                let known = self.hits.get_mut(&uid).filter(|known| known.is_provisional)?;
                (known.is_withdrawn, known.is_provisional) = (true, false);
                return Some(Stated { uid, code: WITHDRAW, is_final: false });
            }
            (None | Some(true), false) => {
                let is_final = !statement.is_provisional;
                self.hits.insert(uid, Known::from(statement));
                return Some(Stated { uid, code: CREATE, is_final });
            }
            (Some(false), false) => {}
        }
        let known = self.hits.get_mut(&uid)?;
        known.arrival = known.arrival.max(statement.arrival);
        if is_row_level {
            known.count += statement.count;
            known.is_late &= statement.is_late;
            if statement.row.row() < known.row.row() {
                known.row = statement.row;
            }
            return Some(Stated { uid, code: UPDATE, is_final: false });
        }
        // A session that went on after it stated itself has another end now.
        let is_same = known.row == statement.row && known.count == statement.count && known.time == statement.time;
        let is_final = !statement.is_provisional;
        if !known.is_provisional || !is_final && (is_same || !self.spec.is_revised) {
            return None;
        }
        known.is_provisional = !is_final;
        known.row = statement.row;
        known.time = statement.time;
        known.count = statement.count;
        Some(Stated { uid, code: if is_same { NOTHING_NEW } else { UPDATE }, is_final })
    }

    /// The rows of hits that leave.
    fn output(&self, stated: &[Stated], out: &mut Outbox) -> Result<Option<Rows>, EngineError> {
        let known: Vec<(&Stated, &Known)> =
            stated.iter().filter_map(|stated| Some((stated, self.hits.get(&stated.uid)?))).collect();
        if known.is_empty() {
            return Ok(None);
        }
        let columns = self.converter.convert_rows(known.iter().map(|(_, hit)| hit.row.row()))?;
        let rows = known.len();
        let row = batch_of(Arc::clone(&self.row_schema), super::stateless::conform(&columns, &self.row_schema)?, rows)?;
        let exceptions = self.exceptions(&row, out)?;
        let mut columns = row.columns().to_vec();
        columns.extend([
            Arc::new(known.iter().map(|(stated, _)| Some(stated.code)).collect::<UInt8Array>()) as ArrayRef,
            Arc::new(known.iter().map(|(stated, _)| Some(stated.is_final)).collect::<BooleanArray>()),
            Arc::new(known.iter().map(|(_, hit)| Some(hit.count)).collect::<UInt64Array>()),
            Arc::new(uid_array(known.iter().map(|(_, hit)| hit.cause))),
            Arc::new(exceptions),
        ]);
        let late_us = known.iter().map(|(_, hit)| if hit.is_late { NEVER } else { 0 });
        let late_us: Int64Array = late_us.collect();
        Ok(Some(Rows {
            columns: batch_of(Arc::clone(&self.output), columns, rows)?,
            time: known.iter().map(|(_, hit)| Some(hit.time)).collect::<TimestampMicrosecondArray>(),
            identity: Identity::Uid(uid_array(known.iter().map(|(stated, _)| stated.uid))),
            arrival: known.iter().map(|(_, hit)| hit.arrival).collect::<TimestampMicrosecondArray>(),
            late_us: known.iter().any(|(_, hit)| hit.is_late).then_some(late_us),
            provisional: None,
            withdrawn: None,
        }))
    }

    /// The first exception that hides each row.
    fn exceptions(&self, row: &RecordBatch, out: &mut Outbox) -> Result<UInt16Array, EngineError> {
        let mut hiding: Vec<Option<u16>> = vec![None; row.num_rows()];
        for (index, (_, condition)) in self.spec.exceptions.iter().enumerate() {
            let holds = evaluate_predicate(condition.as_ref(), row, &mut out.failures)?;
            for (at, hiding) in hiding.iter_mut().enumerate() {
                if hiding.is_none() && holds.value(at) {
                    *hiding = Some(index as u16);
                }
            }
        }
        Ok(UInt16Array::from(hiding))
    }

    /// Hits as one batch: uid, cause, time, count, arrival, late, provisional, withdrawn, then the row.
    fn rows_of(&self, which: &BTreeSet<Uid>) -> Result<RecordBatch, EngineError> {
        let known: Vec<(&Uid, &Known)> = which.iter().filter_map(|uid| self.hits.get_key_value(uid)).collect();
        let rows = known.len();
        let row = self.converter.convert_rows(known.iter().map(|(_, hit)| hit.row.row()))?;
        let mut fields = vec![
            Field::new("uid", DataType::FixedSizeBinary(16), false),
            Field::new("cause", DataType::FixedSizeBinary(16), false),
            Field::new("time", TIME_TYPE, false),
            Field::new("count", DataType::UInt64, false),
            Field::new("arrival", TIME_TYPE, true),
            Field::new("late", DataType::Boolean, false),
            Field::new("provisional", DataType::Boolean, false),
            Field::new("withdrawn", DataType::Boolean, false),
        ];
        let names = self.row_schema.fields().iter().map(|field| field.name());
        fields.extend(row.iter().zip(names).map(|(column, name)| Field::new(name, column.data_type().clone(), true)));
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(uid_array(known.iter().map(|(uid, _)| **uid))),
            Arc::new(uid_array(known.iter().map(|(_, hit)| hit.cause))),
            Arc::new(known.iter().map(|(_, hit)| Some(hit.time)).collect::<TimestampMicrosecondArray>()),
            Arc::new(known.iter().map(|(_, hit)| Some(hit.count)).collect::<UInt64Array>()),
            Arc::new(known.iter().map(|(_, hit)| hit.arrival).collect::<TimestampMicrosecondArray>()),
            Arc::new(known.iter().map(|(_, hit)| Some(hit.is_late)).collect::<BooleanArray>()),
            Arc::new(known.iter().map(|(_, hit)| Some(hit.is_provisional)).collect::<BooleanArray>()),
            Arc::new(known.iter().map(|(_, hit)| Some(hit.is_withdrawn)).collect::<BooleanArray>()),
        ];
        columns.extend(row);
        Ok(batch_of(Arc::new(Schema::new(fields)), columns, rows)?)
    }
}

impl From<Statement> for Known {
    fn from(statement: Statement) -> Self {
        let Statement { cause, time, count, row, arrival, is_late, is_provisional, is_withdrawn } = statement;
        Self { cause, time, count, row, arrival, is_late, is_provisional, is_withdrawn }
    }
}

impl Operator for Emit {
    fn rows(&mut self, _input: usize, rows: Rows, out: &mut Outbox) -> Result<(), EngineError> {
        let statements = self.statements(&rows)?;
        let stated: Vec<Stated> =
            statements.into_iter().filter_map(|(uid, statement)| self.state(uid, statement)).collect();
        let output = self.output(&stated, out)?;
        out.rows.extend(output);
        Ok(())
    }

    fn watermark(&mut self, watermark: EventTime, _out: &mut Outbox) -> Result<(), EngineError> {
        let horizon = if self.spec.is_row_level { watermark.before(REPEAT_HORIZON_US) } else { watermark };
        // A fixed window has stated all that holds by its end. What was stated earlier and does not hold any more, since the
        // condition was edited, stands as it is.
        let is_of_sessions = self.spec.is_of_sessions;
        let is_open = |hit: &Known| hit.is_provisional && is_of_sessions;
        let forgotten = &mut self.forgotten;
        self.hits.retain(|uid, hit| {
            let is_kept = watermark != EventTime::MAX && (hit.time > horizon.0 || is_open(hit));
            if !is_kept {
                forgotten.note(|| *uid);
            }
            is_kept
        });
        shrink(&mut self.hits);
        Ok(())
    }

    fn table(&mut self, _table: &TableVersion) -> Result<(), EngineError> {
        Ok(())
    }

    /// A watermark looks at every hit, so this may as well.
    fn state_bytes(&self) -> usize {
        let rows = self.hits.values().map(|hit| of_box(hit.row.as_ref().len())).sum::<usize>();
        of_table::<(Uid, Known)>(self.hits.capacity()) + rows
    }

    fn save(&mut self, scope: Scope) -> Result<Saved, EngineError> {
        let (stated, forgotten) = (self.stated.take(), self.forgotten.take());
        let which: BTreeSet<Uid> = match scope {
            Scope::Whole => self.hits.keys().copied().collect(),
            Scope::Changes => stated.into_iter().filter(|uid| self.hits.contains_key(uid)).collect(),
        };
        let mut changes = vec![];
        if scope == Scope::Changes && !forgotten.is_empty() {
            let ids = forgotten.iter().map(|uid| Some(uid.0)).collect();
            changes.push(Change::Remove { section: 0, ids });
        }
        if !which.is_empty() {
            let ids = which.iter().map(|uid| Some(uid.0)).collect();
            changes.push(Change::Put { section: 0, ids: Some(ids), rows: self.rows_of(&which)? });
        }
        Ok(Saved::of(scope, changes))
    }

    fn restore(&mut self, state: &[RecordBatch], owns: &dyn Fn(u32) -> bool) -> Result<(), EngineError> {
        for batch in state {
            let uids: &FixedSizeBinaryArray = batch.column(0).as_fixed_size_binary();
            let causes: &FixedSizeBinaryArray = batch.column(1).as_fixed_size_binary();
            let times = batch.column(2).as_primitive::<TimestampMicrosecondType>();
            let counts = batch.column(3).as_primitive::<UInt64Type>();
            let arrival = batch.column(4).as_primitive::<TimestampMicrosecondType>();
            let rows = batch.project(&(OWN_COLUMNS..batch.num_columns()).collect::<Vec<_>>())?;
            let encoded = self.converter.convert_columns(refit(&rows, &self.row_schema)?.columns())?;
            for at in 0..batch.num_rows() {
                // A hit is sent by the identity of its cause, so that is what its owner is found by.
                let cause = uid_at(causes, at);
                if owns(key_group(&cause.0)) {
                    let known = Known {
                        cause,
                        time: times.value(at),
                        count: counts.value(at),
                        row: encoded.row(at).owned(),
                        arrival: arrival.is_valid(at).then(|| arrival.value(at)),
                        is_late: batch.column(5).as_boolean().value(at),
                        is_provisional: batch.column(6).as_boolean().value(at),
                        is_withdrawn: batch.column(7).as_boolean().value(at),
                    };
                    self.hits.insert(uid_at(uids, at), known);
                }
            }
        }
        Ok(())
    }

    /// A group that begins again says less of its window than what was stated, which therefore stands.
    fn counts_anew(&mut self) {
        if !self.spec.is_row_level {
            self.hits.values_mut().for_each(|hit| hit.is_provisional = false);
        }
    }
}
