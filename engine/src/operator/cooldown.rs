//! Repeats are marked as suppressed and folded into the alert they repeat.
//!
//! The rule, in (time, uid) order per entities: a hit less than the period after the last hit that was not suppressed is
//! suppressed by it. Live, a hit leaves at once with what is known then; when the watermark has passed its time the
//! order is certain, the rule is applied, and what was said wrongly is said again. Hits of late events alone stand apart:
//! they neither suppress nor are suppressed. A repeat counts once, however many copies of its record came: copies can come
//! late, and the count must not depend on when they do.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeBinaryArray, FixedSizeBinaryBuilder, RecordBatch, TimestampMicrosecondArray,
    UInt8Array, UInt64Array,
};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimestampMicrosecondType, UInt8Type, UInt64Type};

use super::emit::{HIT_COLUMNS, NOTHING_NEW, WITHDRAW};
use super::{Operator, Outbox};
use crate::canonical::{encode_rows, key_group};
use crate::catalog::TIME_TYPE;
use crate::error::EngineError;
use crate::graph::CooldownSpec;
use crate::identity::Uid;
use crate::rows::{Rows, batch_of, uid_array, uid_at};
use crate::table::TableVersion;
use crate::time::EventTime;

/// Code of a row that restates a hit.
const UPDATE: u8 = 2;
/// How long after the watermark a decision is remembered, for later updates of the same hit.
const DECISION_HORIZON_US: i64 = 24 * 3_600_000_000;

/// Marks the repeats of one query.
pub(super) struct Cooldown {
    spec: CooldownSpec,
    output: SchemaRef,
    entities: HashMap<Vec<u8>, Entity>,
    /// Hits whose order is not certain yet, all entities together.
    pending: BTreeMap<(i64, Uid), Vec<u8>>,
    /// What was decided, for later updates: who suppresses the hit.
    decided: HashMap<Uid, Decision>,
    watermark: EventTime,
}

#[derive(Default)]
struct Entity {
    /// The last hit that was certainly not suppressed.
    lead: Option<Lead>,
    pending: BTreeMap<(i64, Uid), Pending>,
}

struct Lead {
    uid: Uid,
    time: i64,
    folded: u64,
    hit: Rows,
}

struct Pending {
    hit: Rows,
    said: Option<Uid>,
}

struct Decision {
    time: i64,
    suppressed_by: Option<Uid>,
    /// Hits folded into it, where it leads.
    folded: u64,
}

impl Cooldown {
    pub(super) fn new(spec: CooldownSpec, output: SchemaRef) -> Result<Self, EngineError> {
        Ok(Self {
            spec,
            output,
            entities: HashMap::new(),
            pending: BTreeMap::new(),
            decided: HashMap::new(),
            watermark: EventTime::MIN,
        })
    }

    fn keys(&self, rows: &Rows) -> Result<Vec<Vec<u8>>, EngineError> {
        let columns: Vec<ArrayRef> = self.spec.keys.iter().map(|key| Arc::clone(rows.columns.column(*key))).collect();
        Ok(encode_rows(&columns, rows.len())?)
    }

    /// One row on its way out. `code` replaces its activity, `folded` is added to its count.
    fn say(&self, hit: &Rows, code: Option<u8>, folded: u64, by: Option<Uid>) -> Result<Rows, EngineError> {
        let width = hit.columns.num_columns() - HIT_COLUMNS;
        let mut columns = hit.columns.columns().to_vec();
        if let Some(code) = code {
            columns[width] = Arc::new(UInt8Array::from(vec![code; hit.len()]));
        }
        let counts = columns[width + 2].as_primitive::<UInt64Type>().clone();
        columns[width + 2] = Arc::new(counts.unary::<_, UInt64Type>(|count| count + folded));
        columns.push(Arc::new(suppressor(&vec![by; hit.len()])));
        let columns = batch_of(Arc::clone(&self.output), columns, hit.len())?;
        Ok(hit.clone().with_columns(columns))
    }

    /// Takes one hit; says what is known of it now.
    fn take(&mut self, key: &[u8], hit: Rows, out: &mut Outbox) -> Result<(), EngineError> {
        let width = hit.columns.num_columns() - HIT_COLUMNS;
        let code = hit.columns.column(width).as_primitive::<UInt8Type>().value(0);
        if code == NOTHING_NEW {
            return Ok(());
        }
        let (uid, time) = (hit.uid(0), hit.time.value(0));
        if code == WITHDRAW {
            // What is taken back leads nobody. Its window still allows for late rows, so nothing was decided about it.
            self.pending.remove(&(time, uid));
            let known = self.entities.get_mut(key).and_then(|entity| entity.pending.remove(&(time, uid)));
            out.rows.push(self.say(&hit, None, 0, known.and_then(|known| known.said))?);
            return Ok(());
        }
        if let Some(decision) = self.decided.get(&uid) {
            // A late copy of the same record: whoever leads is restated with it from now on.
            let lead = self.entities.get_mut(key).and_then(|entity| entity.lead.as_mut());
            if let Some(lead) = lead.filter(|lead| lead.uid == uid) {
                lead.hit = hit.clone();
            }
            out.rows.push(self.say(&hit, None, decision.folded, decision.suppressed_by)?);
            return Ok(());
        }
        let is_hidden = hit.columns.column(width + 4).is_valid(0);
        if hit.is_late(0) || is_hidden || time < self.watermark.0 {
            out.rows.push(self.say(&hit, None, 0, None)?);
            return Ok(());
        }
        let period = self.spec.period_us;
        let entity = self.entities.entry(key.to_vec()).or_default();
        let said = match entity.pending.get(&(time, uid)) {
            Some(known) => known.said,
            None => {
                let covers = |lead: i64| lead <= time && time < lead.saturating_add(period);
                let before = entity.pending.range(..(time, uid)).rev();
                let pending =
                    before.take_while(|((lead, _), _)| covers(*lead)).find(|(_, pending)| pending.said.is_none());
                let lead = entity.lead.as_ref().filter(|lead| covers(lead.time)).map(|lead| lead.uid);
                lead.or(pending.map(|((_, lead), _)| *lead))
            }
        };
        self.pending.insert((time, uid), key.to_vec());
        entity.pending.insert((time, uid), Pending { hit: hit.clone(), said });
        out.rows.push(self.say(&hit, None, 0, said)?);
        Ok(())
    }

    /// Applies the rule to one hit whose place in the order is certain.
    fn decide(
        &mut self,
        key: &[u8],
        at: (i64, Uid),
        touched: &mut BTreeMap<Uid, Vec<u8>>,
        out: &mut Outbox,
    ) -> Result<(), EngineError> {
        let (time, uid) = at;
        let period = self.spec.period_us;
        let Some(entity) = self.entities.get_mut(key) else { return Ok(()) };
        let Some(Pending { hit, said }) = entity.pending.remove(&at) else { return Ok(()) };
        let lead = entity.lead.as_mut().filter(|lead| time < lead.time.saturating_add(period));
        let by = match lead {
            Some(lead) => {
                lead.folded += 1;
                touched.insert(lead.uid, key.to_vec());
                if let Some(decision) = self.decided.get_mut(&lead.uid) {
                    decision.folded = lead.folded;
                }
                Some(lead.uid)
            }
            None => {
                let last = entity.lead.replace(Lead { uid, time, folded: 0, hit: hit.clone() });
                if let Some(last) = last.filter(|last| touched.remove(&last.uid).is_some()) {
                    out.rows.push(self.say(&last.hit, Some(UPDATE), last.folded, None)?);
                }
                None
            }
        };
        self.decided.insert(uid, Decision { time, suppressed_by: by, folded: 0 });
        if by != said {
            out.rows.push(self.say(&hit, Some(UPDATE), 0, by)?);
        }
        Ok(())
    }
}

fn suppressor(by: &[Option<Uid>]) -> FixedSizeBinaryArray {
    let mut builder = FixedSizeBinaryBuilder::with_capacity(by.len(), 16);
    for by in by {
        match by {
            Some(uid) => builder.append_value(uid.0).expect("a uid has sixteen bytes"),
            None => builder.append_null(),
        }
    }
    builder.finish()
}

impl Operator for Cooldown {
    fn rows(&mut self, _input: usize, rows: Rows, out: &mut Outbox) -> Result<(), EngineError> {
        let keys = self.keys(&rows)?;
        for (at, key) in keys.iter().enumerate() {
            let hit = rows.take(&UInt64Array::from(vec![at as u64]))?;
            self.take(key, hit, out)?;
        }
        Ok(())
    }

    fn watermark(&mut self, watermark: EventTime, out: &mut Outbox) -> Result<(), EngineError> {
        self.watermark = self.watermark.max(watermark);
        let mut touched = BTreeMap::new();
        while let Some((at, _)) = self.pending.first_key_value() {
            if at.0 >= watermark.0 {
                break;
            }
            let Some((at, key)) = self.pending.pop_first() else { break };
            self.decide(&key, at, &mut touched, out)?;
        }
        for (uid, key) in touched {
            let lead = self.entities.get(&key).and_then(|entity| entity.lead.as_ref()).filter(|lead| lead.uid == uid);
            if let Some(lead) = lead {
                out.rows.push(self.say(&lead.hit, Some(UPDATE), lead.folded, None)?);
            }
        }
        let period = self.spec.period_us;
        let is_over = |time: i64| time.saturating_add(period) < watermark.0;
        self.entities.retain(|_, entity| {
            entity.lead.take_if(|lead| is_over(lead.time));
            entity.lead.is_some() || !entity.pending.is_empty()
        });
        let horizon = watermark.before(DECISION_HORIZON_US.max(period)).0;
        self.decided.retain(|_, decision| decision.time >= horizon);
        Ok(())
    }

    fn table(&mut self, _table: &TableVersion) -> Result<(), EngineError> {
        Ok(())
    }

    /// Two batches. Hits: role (0 pending, 1 lead), folded, who suppresses it, then the hit. Decisions: uid, time, folded,
    /// who suppresses it, and the key group.
    fn snapshot(&mut self) -> Result<Vec<RecordBatch>, EngineError> {
        let mut parts: Vec<RecordBatch> = vec![];
        let mut keys: Vec<&Vec<u8>> = self.entities.keys().collect();
        keys.sort();
        for key in keys {
            let Some(entity) = self.entities.get(key) else { continue };
            let pending = entity.pending.values().map(|pending| (0_u8, 0_u64, pending.said, &pending.hit));
            let lead = entity.lead.iter().map(|lead| (1, lead.folded, None, &lead.hit));
            for (role, folded, by, hit) in pending.chain(lead) {
                let batch = hit.to_batch()?;
                let mut fields = vec![
                    Arc::new(Field::new("role", DataType::UInt8, false)),
                    Arc::new(Field::new("folded", DataType::UInt64, false)),
                    Arc::new(Field::new("by", DataType::FixedSizeBinary(16), true)),
                ];
                fields.extend(batch.schema().fields().iter().cloned());
                let mut columns: Vec<ArrayRef> = vec![
                    Arc::new(UInt8Array::from(vec![role])),
                    Arc::new(UInt64Array::from(vec![folded])),
                    Arc::new(suppressor(&[by])),
                ];
                columns.extend(batch.columns().iter().cloned());
                parts.push(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?);
            }
        }
        let hits = match parts.first() {
            Some(first) => vec![concat_batches(&first.schema(), &parts)?],
            None => vec![],
        };
        Ok(std::iter::once(self.decisions()?).chain(hits).collect())
    }

    fn restore(&mut self, state: &[RecordBatch], owns: &dyn Fn(u32) -> bool) -> Result<(), EngineError> {
        let Some((decisions, hits)) = state.split_first() else { return Ok(()) };
        self.restore_decisions(decisions);
        for batch in hits {
            let roles = batch.column(0).as_primitive::<UInt8Type>();
            let folded = batch.column(1).as_primitive::<UInt64Type>();
            let by = batch.column(2).as_fixed_size_binary();
            let rows = Rows::from_batch(&batch.project(&(3..batch.num_columns()).collect::<Vec<_>>())?)?;
            for (at, key) in self.keys(&rows)?.into_iter().enumerate() {
                if !owns(key_group(&key)) {
                    continue;
                }
                let hit = rows.take(&UInt64Array::from(vec![at as u64]))?;
                let (time, uid) = (hit.time.value(0), hit.uid(0));
                let entity = self.entities.entry(key.clone()).or_default();
                if roles.value(at) == 1 {
                    entity.lead = Some(Lead { uid, time, folded: folded.value(at), hit });
                } else {
                    let said = by.is_valid(at).then(|| uid_at(by, at));
                    entity.pending.insert((time, uid), Pending { hit, said });
                    self.pending.insert((time, uid), key);
                }
            }
        }
        Ok(())
    }
}

impl Cooldown {
    fn decisions(&self) -> Result<RecordBatch, EngineError> {
        let mut decided: Vec<(&Uid, &Decision)> = self.decided.iter().collect();
        decided.sort_by_key(|(uid, _)| **uid);
        let schema = Schema::new(vec![
            Field::new("uid", DataType::FixedSizeBinary(16), false),
            Field::new("time", TIME_TYPE, false),
            Field::new("folded", DataType::UInt64, false),
            Field::new("by", DataType::FixedSizeBinary(16), true),
        ]);
        let by: Vec<Option<Uid>> = decided.iter().map(|(_, decision)| decision.suppressed_by).collect();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(uid_array(decided.iter().map(|(uid, _)| **uid))),
            Arc::new(decided.iter().map(|(_, decision)| Some(decision.time)).collect::<TimestampMicrosecondArray>()),
            Arc::new(decided.iter().map(|(_, decision)| Some(decision.folded)).collect::<UInt64Array>()),
            Arc::new(suppressor(&by)),
        ];
        Ok(RecordBatch::try_new(Arc::new(schema), columns)?)
    }

    /// A decision is small and harmless where its hit never comes, so every worker takes up all of them.
    fn restore_decisions(&mut self, batch: &RecordBatch) {
        let uids = batch.column(0).as_fixed_size_binary();
        let times = batch.column(1).as_primitive::<TimestampMicrosecondType>();
        let folded = batch.column(2).as_primitive::<UInt64Type>();
        let by = batch.column(3).as_fixed_size_binary();
        for at in 0..batch.num_rows() {
            let suppressed_by = by.is_valid(at).then(|| uid_at(by, at));
            let decision = Decision { time: times.value(at), suppressed_by, folded: folded.value(at) };
            self.decided.insert(uid_at(uids, at), decision);
        }
    }
}
