//! The files of the golden suite, read.

use std::path::Path;

use crate::parse_duration_us;

/// One case.
#[derive(Debug, Clone, Default)]
pub(super) struct Case {
    /// Its file and name.
    pub(super) place: String,
    /// Why it does not run yet.
    pub(super) pending: Option<String>,
    /// Streams, views and tables.
    pub(super) streams: String,
    /// The rows of look-up tables, as JSON.
    pub(super) tables: Vec<(String, Vec<String>)>,
    pub(super) events: Vec<Event>,
    pub(super) sql: String,
    /// Other queries that run beside, by id.
    pub(super) others: Vec<(String, String)>,
    pub(super) allowed_lateness_us: i64,
    pub(super) cooldown: Option<Cooldown>,
    pub(super) expected: Expected,
}

/// One event of a partition.
#[derive(Debug, Clone)]
pub(super) struct Event {
    pub(super) stream: String,
    pub(super) partition: u32,
    pub(super) json: String,
    /// Its place among the events of the case.
    pub(super) number: usize,
}

/// How long repeats are suppressed, and whose.
#[derive(Debug, Clone)]
pub(super) struct Cooldown {
    pub(super) period_us: i64,
    pub(super) keys: Vec<String>,
}

/// What a case must come to.
#[derive(Debug, Clone)]
pub(super) enum Expected {
    /// The last record of each alert, in the order of time and text.
    Records(Vec<String>),
    /// Everything that is said when it is refused.
    Refused(Vec<String>),
}

impl Default for Expected {
    fn default() -> Self {
        Self::Records(vec![])
    }
}

/// All cases of all files.
pub(super) fn all() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    let entries = std::fs::read_dir(&folder).expect("the folder of the golden suite");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry of a folder").path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "golden"));
    files.sort();
    files
        .iter()
        .flat_map(|file| {
            let text = std::fs::read_to_string(file).expect("a golden file");
            let name = file.file_stem().expect("a golden file has a name").to_string_lossy();
            read(&name, &text)
        })
        .collect()
}

/// A heading at the margin, and the lines that stand indented below it.
struct Section<'t> {
    heading: &'t str,
    body: Vec<&'t str>,
}

fn sections(text: &str) -> Vec<Section<'_>> {
    let mut sections: Vec<Section<'_>> = vec![];
    for line in text.lines().filter(|line| !line.trim_start().starts_with('#') && !line.trim().is_empty()) {
        match (line.strip_prefix("  "), sections.last_mut()) {
            (Some(line), Some(section)) => section.body.push(line),
            _ => sections.push(Section { heading: line.trim_end(), body: vec![] }),
        }
    }
    sections
}

/// What stands before the first case holds for all that have nothing of their own in its place.
fn read(file: &str, text: &str) -> Vec<Case> {
    let mut shared = Case::default();
    let mut cases: Vec<Case> = vec![];
    for Section { heading, body } in sections(text) {
        let (word, rest) = heading.split_once(' ').unwrap_or((heading, ""));
        if word == "case" {
            cases.push(Case { place: format!("{file}: {rest}"), ..shared.clone() });
            continue;
        }
        let case = cases.last_mut().unwrap_or(&mut shared);
        let lines = || body.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
        match word {
            "streams" => case.streams = body.join("\n"),
            "table" => case.tables.push((rest.to_owned(), lines())),
            "events" => case.events = body.iter().zip(0..).map(|(line, number)| event(file, line, number)).collect(),
            "sql" => case.sql = body.join("\n"),
            "beside" => case.others.push((rest.to_owned(), body.join("\n"))),
            "allowed_lateness" => case.allowed_lateness_us = parse_duration_us(rest).expect("a duration"),
            "cooldown" => case.cooldown = Some(cooldown(rest)),
            "expect" => case.expected = Expected::Records(lines()),
            "refused" => case.expected = Expected::Refused(lines()),
            "pending" => case.pending = Some(rest.to_owned()),
            _ => panic!("{file}: `{heading}` is no heading of a golden file"),
        }
    }
    cases
}

/// `signin 0 {"time": 1}`: stream, partition, record.
fn event(file: &str, line: &str, number: usize) -> Event {
    let mut parts = line.splitn(3, ' ');
    let mut part = || parts.next().unwrap_or_else(|| panic!("{file}: `{line}` is no event"));
    let (stream, partition, json) = (part(), part(), part());
    let partition = partition.parse().unwrap_or_else(|_| panic!("{file}: `{line}` names no partition"));
    Event { stream: stream.to_owned(), partition, json: json.to_owned(), number }
}

/// `10 seconds by who, ip`
fn cooldown(text: &str) -> Cooldown {
    let (period, keys) = text.split_once(" by ").unwrap_or((text, ""));
    let period_us = parse_duration_us(period).expect("a period");
    Cooldown { period_us, keys: keys.split(", ").filter(|key| !key.is_empty()).map(str::to_owned).collect() }
}
