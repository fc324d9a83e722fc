//! Repeats are marked as suppressed and folded into the alert they repeat.
//!
//! The rule, in (time, uid) order per entities: a hit less than the period after the last hit that was not suppressed is
//! suppressed by it. A hit waits until no earlier one can come any more: then its place in the order is certain, the rule
//! is applied, and what is said of it holds. What still waits when an epoch ends is told with it, as provisional where it
//! looks like the first and as suppressed where it looks like a repeat; what turns out otherwise is said again. Outputs leave
//! with their epoch anyway, so nobody hears of a hit any later for its having waited. Silence settles as well, but only what
//! is said: the hit keeps its place, and one that comes earlier all the same is still the first.
//!
//! Hits of late events alone stand apart: they neither suppress nor are suppressed. A repeat counts once, however many
//! copies of its record came: copies can come late, and the count must not depend on when they do.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, FixedSizeBinaryArray, FixedSizeBinaryBuilder, RecordBatch,
    TimestampMicrosecondArray, UInt8Array, UInt16Array, UInt64Array,
};
use arrow::compute::concat_batches;
use arrow::datatypes::{
    DataType, Field, Schema, SchemaRef, TimestampMicrosecondType, UInt8Type, UInt16Type, UInt64Type,
};

use super::bytes::{of_box, of_table, of_tree, shrink};
use super::emit::{HIT_COLUMNS, NOTHING_NEW, WITHDRAW};
use super::sink::COOLDOWN_COLUMNS;
use super::{Operator, Outbox};
use crate::canonical::{encode_rows, key_group};
use crate::catalog::TIME_TYPE;
use crate::error::EngineError;
use crate::graph::CooldownSpec;
use crate::identity::Uid;
use crate::rows::{Rows, batch_of, refit, uid_array, uid_at};
use crate::snapshot::{Saved, Scope};
use crate::table::TableVersion;
use crate::time::EventTime;

/// Code of a row that restates a hit.
const UPDATE: u8 = 2;
/// How long after the watermark a decision is remembered, for later updates of the same hit.
const DECISION_HORIZON_US: i64 = 24 * 3_600_000_000;

/// Roles of saved hits. One that waits repeats another if it says which, and is provisional if not.
const WAITS: u8 = 0;
const LEADS: u8 = 1;
const WAITS_AND_IS_TOLD_TO_LEAD: u8 = 2;

/// What the name of an exception is saved under, before its number.
const EXCEPTION: &str = "exception ";

/// Marks the repeats of one query.
pub(super) struct Cooldown {
    spec: CooldownSpec,
    output: SchemaRef,
    entities: HashMap<Vec<u8>, Entity>,
    /// Hits whose order is not certain yet, all entities together.
    pending: BTreeMap<(i64, Uid), Vec<u8>>,
    /// Those of them of which there is something to tell.
    news: BTreeSet<(i64, Uid)>,
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

impl Entity {
    fn bytes(&self) -> usize {
        let pending = self.pending.values().map(|pending| pending.hit.bytes()).sum::<usize>();
        let lead = self.lead.as_ref().map_or(0, |lead| lead.hit.bytes());
        of_tree::<((i64, Uid), Pending)>(self.pending.len()) + pending + lead
    }
}

struct Lead {
    uid: Uid,
    time: i64,
    folded: u64,
    hit: Rows,
}

struct Pending {
    hit: Rows,
    /// Activity of the next record about it.
    code: u8,
    said: Option<Standing>,
}

/// What a record says about the place of its hit among the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Nothing suppresses it.
    Leads,
    /// It looks so, and an earlier one may still come.
    Provisional,
    /// It repeats that one.
    Repeats(Uid),
}

impl Standing {
    const fn suppressor(self) -> Option<Uid> {
        match self {
            Self::Repeats(by) => Some(by),
            Self::Leads | Self::Provisional => None,
        }
    }
}

struct Decision {
    time: i64,
    standing: Standing,
    /// Hits folded into it, where it leads.
    folded: u64,
}

/// A record on its way out.
struct Statement {
    hit: Rows,
    code: u8,
    folded: u64,
    standing: Standing,
}

/// Records by the place of their hits, so that the one that leads comes first.
type Statements = BTreeMap<(i64, Uid), Statement>;

impl Lead {
    const fn covers(&self, time: i64, period_us: i64) -> bool {
        time < self.time.saturating_add(period_us)
    }
}

impl Cooldown {
    pub(super) fn new(spec: CooldownSpec, output: SchemaRef) -> Result<Self, EngineError> {
        Ok(Self {
            spec,
            output,
            entities: HashMap::new(),
            pending: BTreeMap::new(),
            news: BTreeSet::new(),
            decided: HashMap::new(),
            watermark: EventTime::MIN,
        })
    }

    fn keys(&self, rows: &Rows) -> Result<Vec<Vec<u8>>, EngineError> {
        let columns: Vec<ArrayRef> = self.spec.keys.iter().map(|key| Arc::clone(rows.columns.column(*key))).collect();
        Ok(encode_rows(&columns, rows.len())?)
    }

    /// One row on its way out, with its count raised by what was folded into it.
    fn say(&self, statement: &Statement) -> Result<Rows, EngineError> {
        let Statement { hit, code, folded, standing } = statement;
        let width = hit.columns.num_columns() - HIT_COLUMNS;
        let mut columns = hit.columns.columns().to_vec();
        columns[width] = Arc::new(UInt8Array::from(vec![*code; hit.len()]));
        let counts = columns[width + 2].as_primitive::<UInt64Type>().clone();
        columns[width + 2] = Arc::new(counts.unary::<_, UInt64Type>(|count| count + folded));
        columns.push(Arc::new(suppressor(&vec![standing.suppressor(); hit.len()])));
        columns.push(Arc::new(BooleanArray::from(vec![*standing == Standing::Provisional; hit.len()])));
        let columns = batch_of(Arc::clone(&self.output), columns, hit.len())?;
        Ok(hit.clone().with_columns(columns))
    }

    fn say_all(&self, statements: &Statements, out: &mut Outbox) -> Result<(), EngineError> {
        for statement in statements.values() {
            out.rows.push(self.say(statement)?);
        }
        Ok(())
    }

    /// Takes one hit. It waits, unless its place does not matter or is known.
    fn take(&mut self, key: &[u8], hit: Rows, out: &mut Outbox) -> Result<(), EngineError> {
        let width = hit.columns.num_columns() - HIT_COLUMNS;
        let code = hit.columns.column(width).as_primitive::<UInt8Type>().value(0);
        if code == NOTHING_NEW {
            return Ok(());
        }
        let (uid, time) = (hit.uid(0), hit.time.value(0));
        if let Some(decision) = self.decided.get(&uid).filter(|_| code != WITHDRAW) {
            // A late copy of the same record: whoever leads is restated with it from now on.
            let lead = self.entities.get_mut(key).and_then(|entity| entity.lead.as_mut());
            if let Some(lead) = lead.filter(|lead| lead.uid == uid) {
                lead.hit = hit.clone();
            }
            let statement = Statement { hit, code, folded: decision.folded, standing: decision.standing };
            out.rows.push(self.say(&statement)?);
            return Ok(());
        }
        let is_hidden = hit.columns.column(width + 4).is_valid(0);
        if code != WITHDRAW && !is_hidden && !hit.is_late(0) && time >= self.watermark.0 {
            self.wait(key, hit, code);
            return Ok(());
        }
        // What stands apart or is taken back leads nobody. The window of one that is taken back still allows for late
        // rows, so nothing was decided about it.
        let waited = self.forget(key, (time, uid));
        let code = match waited.as_ref().filter(|waited| waited.said.is_none()) {
            Some(_) if code == WITHDRAW => return Ok(()),
            Some(waited) => waited.code,
            None => code,
        };
        let said = waited.and_then(|waited| waited.said).filter(|_| code == WITHDRAW);
        let standing = said.unwrap_or(Standing::Leads);
        out.rows.push(self.say(&Statement { hit, code, folded: 0, standing })?);
        Ok(())
    }

    fn wait(&mut self, key: &[u8], hit: Rows, code: u8) {
        let at = (hit.time.value(0), hit.uid(0));
        let entity = self.entities.entry(key.to_vec()).or_default();
        match entity.pending.get_mut(&at) {
            Some(waiting) => waiting.hit = hit,
            None => drop(entity.pending.insert(at, Pending { hit, code, said: None })),
        }
        self.pending.insert(at, key.to_vec());
        self.news.insert(at);
    }

    fn forget(&mut self, key: &[u8], at: (i64, Uid)) -> Option<Pending> {
        self.pending.remove(&at);
        self.news.remove(&at);
        self.entities.get_mut(key).and_then(|entity| entity.pending.remove(&at))
    }

    /// Decides what is certain.
    fn settle(&mut self, out: &mut Outbox) -> Result<(), EngineError> {
        let mut statements = Statements::new();
        while let Some((at, _)) = self.pending.first_key_value() {
            if at.0.saturating_sub(self.spec.grain_us) >= self.watermark.0 {
                break;
            }
            let Some((at, key)) = self.pending.pop_first() else { break };
            self.decide(&key, at, &mut statements);
        }
        self.say_all(&statements, out)
    }

    /// Applies the rule to one hit whose place in the order is certain.
    fn decide(&mut self, key: &[u8], at: (i64, Uid), statements: &mut Statements) {
        let (time, uid) = at;
        let has_news = self.news.remove(&at);
        let Some(entity) = self.entities.get_mut(key) else { return };
        let Some(Pending { hit, code, said }) = entity.pending.remove(&at) else { return };
        let standing = match entity.lead.as_mut().filter(|lead| lead.covers(time, self.spec.period_us)) {
            Some(lead) => {
                lead.folded += 1;
                if let Some(decision) = self.decided.get_mut(&lead.uid) {
                    decision.folded = lead.folded;
                }
                let restated = statements.entry((lead.time, lead.uid)).or_insert_with(|| Statement {
                    hit: lead.hit.clone(),
                    code: UPDATE,
                    folded: 0,
                    standing: Standing::Leads,
                });
                restated.folded = lead.folded;
                Standing::Repeats(lead.uid)
            }
            None => {
                entity.lead = Some(Lead { uid, time, folded: 0, hit: hit.clone() });
                Standing::Leads
            }
        };
        self.decided.insert(uid, Decision { time, standing, folded: 0 });
        if has_news || said != Some(standing) {
            statements.insert(at, Statement { hit, code, folded: 0, standing });
        }
    }

    /// Tells how the hits that wait look as things are, where that is news. `first` is said of those that nothing covers.
    fn tell(&mut self, keys: BTreeSet<Vec<u8>>, first: Standing, out: &mut Outbox) -> Result<(), EngineError> {
        let mut statements = Statements::new();
        for key in keys {
            let Some(entity) = self.entities.get_mut(&key) else { continue };
            let mut lead = entity.lead.as_ref().map(|lead| (lead.time, lead.uid));
            for (at, waiting) in &mut entity.pending {
                let by = lead.filter(|(time, _)| at.0 < time.saturating_add(self.spec.period_us));
                let standing = match (by, waiting.said) {
                    (Some((_, by)), _) => Standing::Repeats(by),
                    // What silence has settled is not taken back without a reason.
                    (None, Some(Standing::Leads)) => Standing::Leads,
                    (None, _) => first,
                };
                if by.is_none() {
                    lead = Some(*at);
                }
                let is_settled = first == Standing::Leads;
                if self.news.remove(at) || (is_settled && waiting.said != Some(standing)) {
                    let statement = Statement { hit: waiting.hit.clone(), code: waiting.code, folded: 0, standing };
                    statements.insert(*at, statement);
                    (waiting.code, waiting.said) = (UPDATE, Some(standing));
                }
            }
        }
        self.say_all(&statements, out)
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
            // It may be kept for long, and the others of its batch not.
            let hit = rows.take(&UInt64Array::from(vec![at as u64]))?.compacted()?;
            self.take(key, hit, out)?;
        }
        self.settle(out)
    }

    fn watermark(&mut self, watermark: EventTime, out: &mut Outbox) -> Result<(), EngineError> {
        self.watermark = self.watermark.max(watermark);
        self.settle(out)?;
        let period = self.spec.period_us;
        let is_over = |time: i64| time.saturating_add(period) < watermark.0;
        self.entities.retain(|_, entity| {
            entity.lead.take_if(|lead| is_over(lead.time));
            entity.lead.is_some() || !entity.pending.is_empty()
        });
        let horizon = watermark.before(DECISION_HORIZON_US.max(period)).0;
        self.decided.retain(|_, decision| decision.time >= horizon);
        shrink(&mut self.entities);
        shrink(&mut self.decided);
        Ok(())
    }

    fn silence(&mut self, out: &mut Outbox) -> Result<(), EngineError> {
        if !self.spec.settles_in_silence {
            return Ok(());
        }
        self.tell(self.pending.values().cloned().collect(), Standing::Leads, out)
    }

    fn tell_what_waits(&mut self, out: &mut Outbox) -> Result<(), EngineError> {
        let keys = self.news.iter().filter_map(|at| self.pending.get(at)).cloned().collect();
        self.tell(keys, Standing::Provisional, out)
    }

    fn table(&mut self, _table: &TableVersion) -> Result<(), EngineError> {
        Ok(())
    }

    /// A watermark looks at every entity and every decision, so this may as well.
    fn state_bytes(&self) -> usize {
        let entities = self.entities.iter().map(|(key, entity)| of_box(key.len()) + entity.bytes()).sum::<usize>();
        let waiting = self.pending.values().map(|key| of_box(key.len())).sum::<usize>();
        let trees = of_tree::<((i64, Uid), Vec<u8>)>(self.pending.len()) + of_tree::<(i64, Uid)>(self.news.len());
        let decided = of_table::<(Uid, Decision)>(self.decided.capacity());
        of_table::<(Vec<u8>, Entity)>(self.entities.capacity()) + entities + waiting + trees + decided
    }

    /// Two batches. Hits: role, folded, who suppresses it, then the hit. Decisions: uid, time, folded, who suppresses it.
    /// Of all that waits something has been said, at the end of the epoch at the latest.
    fn save(&mut self, _scope: Scope) -> Result<Saved, EngineError> {
        let mut parts: Vec<RecordBatch> = vec![];
        let mut keys: Vec<&Vec<u8>> = self.entities.keys().collect();
        keys.sort();
        for key in keys {
            let Some(entity) = self.entities.get(key) else { continue };
            let pending = entity.pending.values().map(|pending| {
                let is_told_to_lead = pending.said == Some(Standing::Leads);
                let role = if is_told_to_lead { WAITS_AND_IS_TOLD_TO_LEAD } else { WAITS };
                (role, 0_u64, pending.said.and_then(Standing::suppressor), &pending.hit)
            });
            let lead = entity.lead.iter().map(|lead| (LEADS, lead.folded, None, &lead.hit));
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
                let schema = Schema::new_with_metadata(fields, self.exceptions());
                parts.push(RecordBatch::try_new(Arc::new(schema), columns)?);
            }
        }
        let hits = match parts.first() {
            Some(first) => vec![concat_batches(&first.schema(), &parts)?],
            None => vec![],
        };
        Ok(Saved::whole(std::iter::once(self.decisions()?).chain(hits).collect()))
    }

    fn restore(&mut self, state: &[RecordBatch], owns: &dyn Fn(u32) -> bool) -> Result<(), EngineError> {
        let Some((decisions, hits)) = state.split_first() else { return Ok(()) };
        self.restore_decisions(decisions);
        for batch in hits {
            let roles = batch.column(0).as_primitive::<UInt8Type>();
            let folded = batch.column(1).as_primitive::<UInt64Type>();
            let by = batch.column(2).as_fixed_size_binary();
            let rows = self.refitted(batch)?;
            for (at, key) in self.keys(&rows)?.into_iter().enumerate() {
                if !owns(key_group(&key)) {
                    continue;
                }
                let hit = rows.take(&UInt64Array::from(vec![at as u64]))?;
                let (time, uid) = (hit.time.value(0), hit.uid(0));
                let entity = self.entities.entry(key.clone()).or_default();
                let said = match roles.value(at) {
                    LEADS => {
                        entity.lead = Some(Lead { uid, time, folded: folded.value(at), hit });
                        continue;
                    }
                    WAITS_AND_IS_TOLD_TO_LEAD => Standing::Leads,
                    _ if by.is_valid(at) => Standing::Repeats(uid_at(by, at)),
                    _ => Standing::Provisional,
                };
                entity.pending.insert((time, uid), Pending { hit, code: UPDATE, said: Some(said) });
                self.pending.insert((time, uid), key);
            }
        }
        Ok(())
    }
}

impl Cooldown {
    /// What the numbers of exceptions stand for, to be saved beside them.
    fn exceptions(&self) -> HashMap<String, String> {
        let names = self.spec.exceptions.iter().enumerate();
        names.map(|(number, name)| (format!("{EXCEPTION}{number}"), name.to_string())).collect()
    }

    /// Saved hits as the query has them now.
    fn refitted(&self, batch: &RecordBatch) -> Result<Rows, EngineError> {
        let rows = Rows::from_batch(&batch.project(&(3..batch.num_columns()).collect::<Vec<_>>())?)?;
        let input = self.output.project(&(0..self.output.fields().len() - COOLDOWN_COLUMNS).collect::<Vec<_>>())?;
        let columns = refit(&rows.columns, &Arc::new(input))?;
        let (schema, mut columns) = (columns.schema(), columns.columns().to_vec());
        let place = columns.len() - 1;
        let number = |saved: u16| {
            let name = batch.schema_ref().metadata().get(&format!("{EXCEPTION}{saved}"))?;
            let now = self.spec.exceptions.iter().position(|now| **now == **name)?;
            u16::try_from(now).ok()
        };
        let hidden = columns[place].as_primitive::<UInt16Type>();
        columns[place] = Arc::new(hidden.iter().map(|saved| saved.and_then(number)).collect::<UInt16Array>());
        let columns = batch_of(schema, columns, rows.len())?;
        Ok(rows.with_columns(columns))
    }

    fn decisions(&self) -> Result<RecordBatch, EngineError> {
        let mut decided: Vec<(&Uid, &Decision)> = self.decided.iter().collect();
        decided.sort_by_key(|(uid, _)| **uid);
        let schema = Schema::new(vec![
            Field::new("uid", DataType::FixedSizeBinary(16), false),
            Field::new("time", TIME_TYPE, false),
            Field::new("folded", DataType::UInt64, false),
            Field::new("by", DataType::FixedSizeBinary(16), true),
        ]);
        let by: Vec<Option<Uid>> = decided.iter().map(|(_, decision)| decision.standing.suppressor()).collect();
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
            let standing = if by.is_valid(at) { Standing::Repeats(uid_at(by, at)) } else { Standing::Leads };
            let decision = Decision { time: times.value(at), standing, folded: folded.value(at) };
            self.decided.insert(uid_at(uids, at), decision);
        }
    }
}
