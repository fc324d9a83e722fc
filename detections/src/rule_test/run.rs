//! Runs a rule test. Every case runs three times: whole, in small pieces over several partitions, and stopped and
//! restored half-way on another number of workers. All three must give the same alerts, and those must be the expected
//! ones.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::RecordBatch;
use serde_json::Value;
use weir_engine::catalog::{Stream, Table};
use weir_engine::{
    Activity, Catalog, ColumnSet, Diagnostic, Engine, EngineError, Hit, Outputs, PartitionId, Program, Relation,
    SourceBatch, TableVersion, Uid, WorkerSnapshot,
};

use super::compare::{Problem, compare, unlike};
use super::{Case, RuleTest, check, given};
use crate::compile::{Compiled, Part};
use crate::{Detection, ocsf};

/// A function that decodes records of a stream into the given columns, in their order.
pub type Decode<'a> = dyn Fn(&Arc<Stream>, &ColumnSet, &[String]) -> Result<Decoded, String> + 'a;

/// Records that were refused: their text and why.
pub type Rejections = Vec<(String, String)>;

/// A function that reads the lines of a file, named from the folder of the test; an error says why it cannot be read.
pub type Lines<'a> = dyn Fn(&str) -> Result<Vec<String>, String> + 'a;

/// What a rule test needs and this room must not do itself.
pub struct Outside<'a> {
    /// Decodes records of a stream.
    pub decode: &'a Decode<'a>,
    /// Reads the lines of a file beside the test.
    pub lines: &'a Lines<'a>,
    /// Loads a look-up table from where the catalog says.
    pub table: &'a dyn Fn(&Table) -> Result<TableVersion, String>,
}

/// Decoded records.
#[derive(Debug, Clone)]
pub struct Decoded {
    /// The rows of a source batch.
    pub rows: RecordBatch,
    /// The records that were refused.
    pub rejected: Rejections,
}

/// How one case ended.
#[derive(Debug, Clone)]
pub struct CaseResult {
    /// The case.
    pub name: String,
    /// The line of the file at which it stands.
    pub line: u32,
    /// What is wrong; empty where all is as expected.
    pub problems: Vec<Problem>,
    /// How many alerts came.
    pub alerts: usize,
}

/// How many batches a case is cut into at most; beyond that a piece is more than one event.
const PIECES_MAX: usize = 1000;

/// The detection a test is about: the one it names, or the one beside it.
#[must_use]
pub fn subject<'a>(test: &RuleTest, detections: &'a [Arc<Detection>]) -> Option<(usize, &'a Arc<Detection>)> {
    let beside = test.file.strip_suffix(".test.yaml").or_else(|| test.file.strip_suffix(".test.yml"));
    let beside = beside.map(|stem| format!("{stem}.sql"));
    detections.iter().enumerate().find(|(_, detection)| match &test.detection {
        Some(id) => *id == *detection.id,
        None => Some(&detection.file) == beside.as_ref(),
    })
}

/// Whether an expectation says by this key which detection it is about.
pub(super) fn is_detection(key: &str) -> bool {
    matches!(key, "detection" | "finding_info.analytic.uid")
}

/// The look-up table of that name.
pub(super) fn table(catalog: &Catalog, name: &str) -> Option<Arc<Table>> {
    match catalog.get(name) {
        Some(Relation::Table(table)) => Some(table),
        _ => None,
    }
}

/// Runs every case of a test that [`check`](super::check()) finds nothing wrong with.
///
/// # Errors
/// What is wrong with the detection's SQL, or with that of another one that has to run with it.
pub fn run(test: &RuleTest, compiled: &Compiled, outside: &Outside<'_>) -> Result<Vec<CaseResult>, Vec<Diagnostic>> {
    let Some((at, _)) = subject(test, &compiled.detections) else { return Err(check(test, compiled, outside.lines)) };
    let Part { program, detections } = compiled.program_of(&compiled.company(at, &test.with))?;
    let bench = Bench { program, detections, catalog: &compiled.catalog, outside };
    Ok(test.cases.iter().map(|case| bench.result(case, &compiled.detections[at].id)).collect())
}

/// What all cases of a test share.
struct Bench<'a> {
    program: Arc<Program>,
    detections: Vec<Arc<Detection>>,
    catalog: &'a Catalog,
    outside: &'a Outside<'a>,
}

/// The decoded events of one stream.
struct Events {
    stream: Arc<str>,
    rows: RecordBatch,
}

/// What one run gave: the last record of every alert, and how many events were late.
#[derive(Default)]
struct Answer {
    last: BTreeMap<Uid, Hit>,
    late: usize,
}

impl Bench<'_> {
    fn result(&self, case: &Case, id: &str) -> CaseResult {
        let (problems, alerts) = match self.problems(case, id) {
            Ok(result) => result,
            Err(text) => (vec![Problem::Other(text)], 0),
        };
        CaseResult { name: case.name.clone(), line: case.span.start.line, problems, alerts }
    }

    fn problems(&self, case: &Case, id: &str) -> Result<(Vec<Problem>, usize), String> {
        let (events, rejected) = self.events(case)?;
        let tables = self.tables(case)?;
        let mut problems = rejections(case, &rejected);
        let whole = self.whole(&events, &tables).map_err(|error| error.to_string())?;
        if let Some(late) = case.late.filter(|late| *late != whole.late as u64) {
            problems.push(Problem::Other(format!("{late} late events were expected, {} came late", whole.late)));
        }
        let alerts = self.alerts(&whole, case, id);
        problems.extend(compare(&case.expect, &alerts));
        let pieces = self.in_pieces(&events, &tables, whole.late == 0);
        problems.extend(self.disagreement("in small pieces over several partitions", &whole, pieces));
        let restored = self.restored(&events, &tables);
        problems.extend(self.disagreement("stopped and restored half-way", &whole, restored));
        Ok((problems, alerts.len()))
    }

    fn events(&self, case: &Case) -> Result<(Vec<Events>, Rejections), String> {
        let (mut events, mut rejected) = (Vec::new(), Vec::new());
        for given in &case.given {
            let Some(stream) = self.catalog.stream(&given.stream) else {
                return Err(format!("no stream is called `{}`", given.stream));
            };
            let Some((stream, columns)) = self.program.streams().find(|(read, _)| read.name == stream.name) else {
                return Err(format!("the detection does not read `{}`, so its events show nothing", given.stream));
            };
            let mut records = Vec::new();
            for item in &given.items {
                let more = given::records(item, &stream.event_time, self.outside.lines);
                records.extend(more.map_err(|error| format!("line {}: {error}", item.span.start.line))?);
            }
            let decoded = (self.outside.decode)(stream, columns, &records)?;
            rejected.extend(decoded.rejected);
            events.push(Events { stream: stream.name.as_str().into(), rows: decoded.rows });
        }
        Ok((events, rejected))
    }

    fn tables(&self, case: &Case) -> Result<Vec<TableVersion>, String> {
        let load = |name: &Arc<str>| {
            let table = table(self.catalog, name).ok_or_else(|| format!("no table is called `{name}`"))?;
            match case.tables.iter().find(|rows| rows.table.eq_ignore_ascii_case(name)) {
                Some(rows) => inline_table(&table, &rows.rows),
                None => (self.outside.table)(&table),
            }
        };
        self.program.tables().iter().map(load).collect()
    }

    fn engine(&self, workers: usize, tables: &[TableVersion], partitions: u32) -> Result<Engine, EngineError> {
        let mut engine = Engine::new(Arc::clone(&self.program), workers, tables)?;
        for (stream, _) in self.program.streams() {
            (0..partitions).for_each(|partition| engine.add_partition(&stream.name, PartitionId(partition)));
        }
        engine.start();
        Ok(engine)
    }

    fn whole(&self, events: &[Events], tables: &[TableVersion]) -> Result<Answer, EngineError> {
        let mut engine = self.engine(1, tables, 1)?;
        let mut answer = Answer::default();
        for events in events.iter().filter(|events| events.rows.num_rows() > 0) {
            answer.add(engine.push(batch(&events.stream, 0, events.rows.clone()))?);
        }
        answer.add(engine.finish()?);
        Ok(answer)
    }

    /// Events that were not late in one partition are not late in several, because less was before them; only one from
    /// the far future, which has to wait in the middle of a partition, may come first in one of several and be believed.
    fn in_pieces(&self, events: &[Events], tables: &[TableVersion], spread: bool) -> Result<Answer, EngineError> {
        if !spread {
            return self.in_pieces_of(events, tables, 1);
        }
        let answer = self.in_pieces_of(events, tables, 3)?;
        if answer.late == 0 { Ok(answer) } else { self.in_pieces_of(events, tables, 1) }
    }

    fn in_pieces_of(&self, events: &[Events], tables: &[TableVersion], partitions: u32) -> Result<Answer, EngineError> {
        let mut engine = self.engine(1, tables, partitions)?;
        let mut answer = Answer::default();
        for piece in shuffled(events.iter().flat_map(|events| lanes(events, partitions)).collect()) {
            answer.add(engine.push(piece)?);
        }
        answer.add(engine.finish()?);
        Ok(answer)
    }

    fn restored(&self, events: &[Events], tables: &[TableVersion]) -> Result<Answer, EngineError> {
        let pieces = shuffled(events.iter().flat_map(|events| lanes(events, 1)).collect());
        let half = pieces.len() / 2;
        let mut engine = self.engine(2, tables, 1)?;
        let mut answer = Answer::default();
        for (at, piece) in pieces.into_iter().enumerate() {
            if at == half {
                let (outputs, saved) = engine.snapshot()?;
                answer.add(outputs);
                let saved = saved.iter().map(WorkerSnapshot::to_bytes).collect::<Result<Vec<_>, _>>()?;
                let saved = saved.iter().map(|bytes| WorkerSnapshot::from_bytes(bytes));
                let saved = saved.collect::<Result<Vec<_>, _>>()?;
                engine = self.engine(3, tables, 1)?;
                engine.restore(&saved)?;
            }
            answer.add(engine.push(piece)?);
        }
        answer.add(engine.finish()?);
        Ok(answer)
    }

    /// The alerts of the detection under test, and of any other that an expectation names, in (time, uid) order.
    fn alerts(&self, answer: &Answer, case: &Case, id: &str) -> Vec<Value> {
        let named = case.expect.iter().flat_map(|expected| &expected.fields);
        let named = named.filter(|(key, _)| is_detection(key));
        let mut wanted: BTreeSet<&str> = named.filter_map(|(_, value)| value.as_str()).collect();
        wanted.insert(id);
        let mut hits: Vec<_> = answer.last.values().collect();
        hits.retain(|hit| wanted.contains(&*self.detections[hit.query].id));
        hits.sort_by_key(|hit| (hit.time, hit.uid));
        hits.into_iter().map(|hit| ocsf(&self.detections[hit.query], hit)).collect()
    }

    /// How another run differs from the whole one: in the ids, or in the last record of one of them.
    fn disagreement(&self, how: &str, whole: &Answer, other: Result<Answer, EngineError>) -> Option<Problem> {
        let other = match other {
            Ok(other) => other,
            Err(error) => return Some(Problem::Other(format!("{how}, the engine stopped: {error}"))),
        };
        let uids: BTreeSet<_> = whole.last.keys().chain(other.last.keys()).collect();
        // Whether an alert was stated before it was taken back depends on when the late event came.
        let holds = |hit: &&Hit| hit.activity != Activity::Withdraw;
        let record = |answer: &Answer, uid: &Uid| answer.last.get(uid).filter(holds).map(|hit| self.comparable(hit));
        uids.into_iter().find_map(|uid| {
            let what = match (record(whole, uid), record(&other, uid)) {
                (Some(one), Some(two)) if one == two => return None,
                (None, None) => return None,
                (Some(one), Some(two)) => {
                    let fields = unlike(&one, &two).into_iter();
                    fields.map(|(path, one, two)| format!("\n  {path}: {one} whole, {two} {how}")).collect()
                }
                (Some(_), None) => format!("\n  it comes whole, and not {how}"),
                (None, _) => format!("\n  it comes {how}, and not whole"),
            };
            Some(Problem::Other(format!("alert {uid} depends on how the events come, which is a fault of Weir{what}")))
        })
    }

    /// The parts of a last record on which all runs agree. A run that sees a window whole creates with the final values
    /// what another creates early and updates.
    fn comparable(&self, hit: &Hit) -> Value {
        let mut record = ocsf(&self.detections[hit.query], &Hit { activity: Activity::Create, ..hit.clone() });
        if let Some(metadata) = record["metadata"].as_object_mut() {
            // The hash of the whole record would only repeat that something differs.
            metadata.remove("uid");
        }
        record
    }
}

impl Answer {
    fn add(&mut self, outputs: Outputs) {
        self.late += outputs.late.len();
        self.last.extend(outputs.hits.into_iter().map(|hit| (hit.uid, hit)));
    }
}

fn rejections(case: &Case, rejected: &[(String, String)]) -> Vec<Problem> {
    if rejected.len() as u64 == case.rejected {
        return Vec::new();
    }
    let mut text = format!("{} rejected events were expected, {} were rejected", case.rejected, rejected.len());
    for (record, reason) in rejected.iter().take(5) {
        text.push_str(&format!("\n  {reason}: {record}"));
    }
    vec![Problem::Other(text)]
}

/// Rows of a test as rows of the table, converted as those of its file are.
///
/// # Errors
/// Rows that do not fit its columns.
pub(super) fn inline_table(table: &Table, rows: &[Value]) -> Result<TableVersion, String> {
    let wrong = |error: arrow::error::ArrowError| format!("the rows of `{}`: {error}", table.name);
    let schema = table.schema();
    let mut decoder = arrow::json::ReaderBuilder::new(Arc::clone(&schema))
        .with_strict_mode(true)
        .with_coerce_primitive(true)
        .build_decoder()
        .map_err(wrong)?;
    decoder.serialize(rows).map_err(wrong)?;
    let decoded = decoder.flush().map_err(wrong)?.unwrap_or_else(|| RecordBatch::new_empty(schema));
    let text = rows.iter().map(Value::to_string).collect::<Vec<_>>().join("\n");
    Ok(TableVersion { name: table.name.as_str().into(), version: Uid::of_cause([text.as_bytes()]), rows: decoded })
}

fn batch(stream: &Arc<str>, partition: u32, rows: RecordBatch) -> SourceBatch {
    SourceBatch { stream: Arc::clone(stream), partition: PartitionId(partition), rows, late_us: None }
}

/// The events of a stream dealt out to its partitions, each lane in the order of the stream.
fn lanes(events: &Events, partitions: u32) -> Vec<Vec<SourceBatch>> {
    let rows = events.rows.num_rows();
    let size = rows.div_ceil(PIECES_MAX).max(1);
    let mut lanes = vec![Vec::new(); partitions as usize];
    for (at, start) in (0..rows).step_by(size).enumerate() {
        let partition = at as u32 % partitions;
        let piece = events.rows.slice(start, size.min(rows - start));
        lanes[partition as usize].push(batch(&events.stream, partition, piece));
    }
    lanes
}

/// All lanes as one sequence that keeps the order of each and nothing else. The same lanes give the same sequence, so
/// that a failure can be repeated.
fn shuffled(lanes: Vec<Vec<SourceBatch>>) -> Vec<SourceBatch> {
    let mut lanes: Vec<_> = lanes.into_iter().filter(|lane| !lane.is_empty()).map(Vec::into_iter).collect();
    let mut out = Vec::new();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    while !lanes.is_empty() {
        // Source: Marsaglia, "Xorshift RNGs" (2003).
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let at = (random % lanes.len() as u64) as usize;
        match lanes[at].next() {
            Some(piece) => out.push(piece),
            None => drop(lanes.swap_remove(at)),
        }
    }
    out
}

#[cfg(test)]
pub(super) mod tests;
