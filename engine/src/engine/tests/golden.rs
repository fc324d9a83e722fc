//! The golden suite: SQL, events and the answer that they must have, in plain files under `engine/golden`.
//!
//! Every case is run whole, one event at a time, in random interleavings of its partitions, over partitions dealt anew,
//! by one, two and four workers, and saved and restored at several points by another number of workers, some of whom run
//! further queries too. The last records must be those of the file every time. `engine/golden/README.md` says how a case is written.

mod decode;
mod format;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Float64Type, TimestampMicrosecondType};
use arrow::util::display::array_value_to_string;

use self::format::{Case, Cooldown, Event, Expected};
use super::epochs::Epochs;
use super::{published, query};
use crate::{
    Activity, Catalog, Engine, Hit, Outputs, PartitionId, Program, Query, Stream, TableVersion, Uid, parse_catalog,
};

/// How the events of a case are cut and dealt, and who does the work.
#[derive(Debug, Clone, Copy)]
struct Way {
    workers: usize,
    /// Events of one partition that go in together.
    rows_per_batch: usize,
    /// Draws which partition is next; 0 keeps the order of the file.
    seed: u64,
    /// Into how many partitions each stream is dealt anew, where no event is late.
    partitions: Option<u32>,
    /// After how many batches everything stops, and how many workers go on.
    restart: Option<(usize, usize)>,
    /// Whether these run a query more, which stands before the others and reads every column.
    is_edited: bool,
}

const WHOLE: Way =
    Way { workers: 1, rows_per_batch: usize::MAX, seed: 0, partitions: None, restart: None, is_edited: false };

fn ways() -> Vec<Way> {
    let one_by_one = Way { rows_per_batch: 1, ..WHOLE };
    let mut ways = vec![WHOLE, one_by_one];
    for (seed, workers) in [(1, 1), (2, 2), (3, 4), (4, 2), (5, 4)] {
        ways.push(Way { workers, seed, ..one_by_one });
        ways.push(Way { workers, seed, partitions: Some(3), rows_per_batch: 1 + workers % 3, ..WHOLE });
    }
    for (after, from, to) in [(1, 1, 2), (2, 2, 4), (3, 4, 1), (4, 2, 1), (5, 1, 4), (7, 4, 2), (9, 2, 2)] {
        let restart = Some((after, to));
        ways.push(Way { workers: from, seed: after as u64, restart, is_edited: from == 2, ..one_by_one });
    }
    ways
}

/// Numbers that look random and are the same in every run.
struct Draws(u64);

impl Draws {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % bound.max(1)
    }
}

/// The id of the query that a case is about.
const ASKED: &str = "q";

fn queries(case: &Case) -> Vec<Query> {
    let asked = query(ASKED, &case.sql);
    let asked = Query { allowed_lateness_us: case.allowed_lateness_us, ..asked };
    let asked = match &case.cooldown {
        Some(Cooldown { period_us, keys }) => {
            Query { cooldown_us: Some(*period_us), cooldown_keys: keys.clone(), ..asked }
        }
        None => asked,
    };
    std::iter::once(asked).chain(case.others.iter().map(|(id, sql)| query(id, sql))).collect()
}

fn catalog(case: &Case) -> Catalog {
    let (catalog, diagnostics) = parse_catalog(&[("streams.sql".to_owned(), case.streams.clone())]);
    assert_eq!(diagnostics, [], "the streams of {}", case.place);
    catalog
}

/// The same program behind a query that never hits and reads every column of its streams.
fn edited(case: &Case, catalog: &Catalog, program: &Program) -> Arc<Program> {
    let names = |stream: &Stream| {
        let columns = stream.columns.iter().map(|column| format!("\"{}\"", column.name()));
        columns.chain(["\"_time\"".to_owned()]).collect::<Vec<_>>().join(", ")
    };
    let further = program.streams().map(|(stream, _)| {
        let sql = format!("SELECT {} FROM \"{}\" WHERE _time IS NULL", names(stream), stream.name);
        query(&format!("beside {}", stream.name), &sql)
    });
    let all = further.chain(queries(case)).collect();
    let (edited, faults) = Program::compile(catalog, &published(), all);
    assert_eq!(faults, [], "{} beside queries of every column", case.place);
    Arc::new(edited)
}

/// What is said when the queries of a case are refused.
fn compiled(case: &Case, catalog: &Catalog) -> Result<Arc<Program>, Vec<String>> {
    let (program, faults) = Program::compile(catalog, &published(), queries(case));
    match faults.is_empty() {
        true => Ok(Arc::new(program)),
        false => Err(faults.iter().map(|fault| fault.diagnostic.to_string()).collect()),
    }
}

fn tables(case: &Case, catalog: &Catalog) -> Vec<TableVersion> {
    let version = |(name, rows): &(String, Vec<String>)| {
        let table = catalog.tables().find(|table| table.name == *name).expect("a declared table");
        let values: Vec<serde_json::Value> = rows.iter().map(|row| decode::json(row)).collect();
        let rows = decode::table(&table.schema(), &values);
        TableVersion { name: name.as_str().into(), version: Uid::of_record("table", name.as_bytes()), rows }
    };
    case.tables.iter().map(version).collect()
}

/// The events of each partition, in its order.
type Partitions = BTreeMap<(String, u32), Vec<Event>>;

fn dealt(case: &Case, program: &Program, way: Way) -> Partitions {
    let mut draws = Draws(way.seed);
    let mut partitions = Partitions::new();
    let mut events: Vec<&Event> = case.events.iter().filter(|event| program.columns(&event.stream).is_some()).collect();
    if way.partitions.is_some() {
        // In order of time nothing is late, whoever comes to share a partition.
        let time = |event: &Event| decode::micros_of(&program.columns(&event.stream)?.0.event_time, &event.json);
        events.sort_by_cached_key(|event| time(event));
    }
    for event in events {
        let number = way.partitions.map_or(event.partition, |count| draws.below(count as usize) as u32);
        partitions.entry((event.stream.clone(), number)).or_default().push(event.clone());
    }
    partitions
}

fn run(case: &Case, catalog: &Catalog, program: &Arc<Program>, way: Way) -> Outputs {
    let partitions = dealt(case, program, way);
    let tables = tables(case, catalog);
    let mut program = Arc::clone(program);
    let made = |program: &Arc<Program>, workers: usize| {
        let mut engine = Engine::new(Arc::clone(program), workers, &tables).expect("tables are given");
        partitions.keys().for_each(|(stream, number)| engine.add_partition(stream, PartitionId(*number)));
        engine
    };
    let mut engine = made(&program, way.workers);
    engine.start();
    let mut outputs = Outputs::default();
    let mut epochs = way.restart.map(|_| Epochs::default());
    for (pushed, (stream, number, events)) in batches(&partitions, way).into_iter().enumerate() {
        let restart = way.restart.filter(|(after, _)| *after == pushed);
        if let Some(epochs) = epochs.as_mut().filter(|_| pushed % 3 == 0 || restart.is_some()) {
            outputs.extend(asked(&program, epochs.end(&mut engine)));
        }
        if let Some((_, workers)) = restart {
            let saved = epochs.take().expect("a run that is restarted ends epochs").state();
            if way.is_edited {
                program = edited(case, catalog, &program);
            }
            engine = made(&program, workers);
            engine.restore(&saved).expect("own snapshot");
            engine.start();
        }
        let (declared, columns) = program.columns(&stream).expect("only streams that are read");
        let batch = decode::source_batch(declared, columns, PartitionId(number), &events);
        outputs.extend(asked(&program, engine.push(batch).unwrap_or_else(|error| panic!("{}: {error}", case.place))));
    }
    outputs.extend(asked(&program, engine.finish().expect("the end")));
    outputs
}

/// What is said of the first query of a case, wherever it stands in the program.
fn asked(program: &Program, mut outputs: Outputs) -> Outputs {
    let place = program.ids().position(|id| **id == *ASKED);
    outputs.hits.retain(|hit| Some(hit.query) == place);
    outputs
}

fn batches(partitions: &Partitions, way: Way) -> Vec<(String, u32, Vec<Event>)> {
    let mut waiting: Vec<_> = partitions.iter().map(|(of, events)| (of, events.as_slice())).collect();
    let mut draws = Draws(way.seed);
    let mut batches = vec![];
    while !waiting.is_empty() {
        // In the order of the file: the partition whose next event stands first.
        let first = || (0..waiting.len()).min_by_key(|index| waiting[*index].1.first().map(|event| event.number));
        let next = if way.seed == 0 { first().unwrap_or(0) } else { draws.below(waiting.len()) };
        let ((stream, number), events) = waiting[next];
        let (now, later) = events.split_at(way.rows_per_batch.min(events.len()));
        batches.push((stream.clone(), *number, now.to_vec()));
        waiting[next].1 = later;
        waiting.retain(|(_, events)| !events.is_empty());
    }
    batches
}

/// The last record of each alert of the first query, in the order of time and text.
fn last_records(hits: &[Hit]) -> Vec<String> {
    let mut last: BTreeMap<Uid, &Hit> = BTreeMap::new();
    for hit in hits {
        last.insert(hit.uid, hit);
    }
    // Whether an alert was stated before it was taken back depends on when the late event came.
    last.retain(|_, hit| hit.activity != Activity::Withdraw);
    let mut told: Vec<(i64, String)> = last.into_values().map(|hit| (hit.time.0, show(hit))).collect();
    told.sort();
    told.into_iter().map(|(_, text)| text).collect()
}

fn show(hit: &Hit) -> String {
    let cells: Vec<String> = hit.row.columns().iter().map(cell).collect();
    let marks = [(hit.provisional, " provisional"), (hit.suppressed_by.is_some(), " suppressed"), (hit.late, " late")];
    let marks: String = marks.iter().filter(|(is_so, _)| *is_so).map(|(_, mark)| *mark).collect();
    format!("{} x{}{marks} | {}", seconds(hit.time.0), hit.count, cells.join(" | "))
}

fn seconds(us: i64) -> String {
    let text = format!("{}.{:06}", us.div_euclid(1_000_000), us.rem_euclid(1_000_000));
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn cell(column: &ArrayRef) -> String {
    if column.is_null(0) {
        return "NULL".to_owned();
    }
    if let Some(times) = column.as_primitive_opt::<TimestampMicrosecondType>() {
        return seconds(times.value(0));
    }
    match column.as_primitive_opt::<Float64Type>() {
        // Twelve significant digits, as floats are compared.
        Some(floats) => {
            format!("{:.11e}", floats.value(0)).parse::<f64>().map_or_else(|_| "?".to_owned(), |n| n.to_string())
        }
        // An empty text would be an empty end of a line.
        None if is_empty_text(column) => "''".to_owned(),
        None => array_value_to_string(column, 0).expect("printable"),
    }
}

fn is_empty_text(column: &ArrayRef) -> bool {
    column.data_type() == &DataType::Utf8View && column.as_string_view().value(0).is_empty()
}

/// Whether a diagnostic is the expected one; an expectation of place and code alone leaves the words open.
fn is_told(told: &str, expected: &str) -> bool {
    let place_and_code = told.splitn(3, ' ').take(2).collect::<Vec<_>>().join(" ");
    told == expected || place_and_code == expected
}

/// What is wrong with a case, if anything.
fn fault(case: &Case) -> Option<String> {
    let catalog = catalog(case);
    let program = match (compiled(case, &catalog), &case.expected) {
        (Err(told), Expected::Refused(expected)) => {
            let is_same =
                told.len() == expected.len() && told.iter().zip(expected).all(|(told, text)| is_told(told, text));
            return (!is_same).then(|| format!("refused with\n  {}", told.join("\n  ")));
        }
        (Err(told), Expected::Records(_)) => return Some(format!("refused with\n  {}", told.join("\n  "))),
        (Ok(_), Expected::Refused(_)) => return Some("not refused".to_owned()),
        (Ok(program), Expected::Records(_)) => program,
    };
    let Expected::Records(expected) = &case.expected else { return None };
    let is_on_time = run(case, &catalog, &program, WHOLE).late.is_empty();
    for way in ways().into_iter().filter(|way| is_on_time || way.partitions.is_none()) {
        let got = last_records(&run(case, &catalog, &program, way).hits);
        if got != *expected {
            return Some(format!("run as {way:?} it gives\n  {}", got.join("\n  ")));
        }
    }
    None
}

#[test]
fn every_case_gives_its_answer_however_it_is_run() {
    let cases = format::all();
    let names: BTreeSet<&str> = cases.iter().map(|case| case.place.as_str()).collect();
    assert_eq!(names.len(), cases.len(), "cases of one file have different names");
    let wrong: Vec<String> = cases
        .iter()
        .filter_map(|case| {
            let fault = fault(case);
            match (&case.pending, fault) {
                (None, Some(fault)) => Some(format!("{}: {fault}", case.place)),
                (Some(_), None) => Some(format!("{}: runs now; take away its `pending`", case.place)),
                _ => None,
            }
        })
        .collect();
    let pending: Vec<&str> =
        cases.iter().filter(|case| case.pending.is_some()).map(|case| case.place.as_str()).collect();
    assert!(
        wrong.is_empty(),
        "{} of {} cases are wrong ({} are pending)\n\n{}\n",
        wrong.len(),
        cases.len(),
        pending.len(),
        wrong.join("\n\n")
    );
}
