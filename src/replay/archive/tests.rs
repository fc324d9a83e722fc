use std::collections::BTreeMap;
use std::fmt::Write as _;

use arrow::util::pretty::pretty_format_batches;
use weir_connectors::archive::{LateEventRow, event_columns, event_rows, late_event_rows, late_events};
use weir_connectors::file::FileSource;
use weir_connectors::location::Location;
use weir_engine::{Engine, Outputs};

use super::*;
use crate::compile;
use crate::config::Need;
use crate::project::Project;
use crate::replay::input::Merge;

const STREAM: &str = "\
CREATE STREAM signin (at TIMESTAMP, who STRING, ok BOOLEAN, device ROW<name STRING, address STRING>)
WITH (topic = 't', format = 'json', event_time = 'at', lateness = '10 seconds');
CREATE VIEW refused AS SELECT at AS time, who, device.name AS host FROM signin WHERE NOT ok;
";

const DETECTIONS: [(&str, &str); 5] = [
    (
        "guessing",
        "--! id = \"a.guessing\"\n--! title = \"G\"\n--! severity = \"high\"\n\
         SELECT window_end AS time, who, count(*) AS failures, max(host) AS host
         FROM TUMBLE(refused, time, INTERVAL '1 minute') GROUP BY who, window_start, window_end HAVING count(*) >= 3",
    ),
    (
        "root",
        "--! id = \"a.root\"\n--! title = \"R\"\n--! severity = \"low\"\nSELECT at AS time, who, _offset FROM signin WHERE who = 'root'",
    ),
    (
        "forgiving",
        // Some of those that are late are within it, and some are not.
        "--! id = \"a.forgiving\"\n--! title = \"F\"\n--! severity = \"low\"\n--! allowed_lateness = \"22 seconds\"\n\
         SELECT who, count(*) AS n, sum(CAST(substr(device.name, 2) AS BIGINT)) AS numbers \
         FROM TUMBLE(signin, at, INTERVAL '1 minute') GROUP BY who, window_start, window_end",
    ),
    (
        "late",
        "--! id = \"a.late\"\n--! title = \"L\"\n--! severity = \"low\"\n\
         SELECT time, uid, stream, event_time, late_ms, reason FROM late_events",
    ),
    (
        "often_late",
        "--! id = \"a.often_late\"\n--! title = \"O\"\n--! severity = \"low\"\n\
         SELECT stream, count(*) AS n, max(late_ms) AS worst FROM TUMBLE(late_events, time, INTERVAL '1 minute') \
         GROUP BY stream, window_start, window_end",
    ),
];

/// Sign-ins of five people, some far out of order.
fn events() -> String {
    let mut text = String::new();
    for number in 0..600_u64 {
        let shift = if number % 41 == 40 { 35 } else { number * 7 % 5 };
        let at = chrono::DateTime::from_timestamp(1_700_000_000 + (number - shift.min(number)) as i64, 0).unwrap();
        let who = ["ann", "bob", "root", "eve", "dan"][(number * 3 % 5) as usize];
        let ok = number % 4 == 0;
        let line = format!(
            r#"{{"at":"{}","who":"{who}","ok":{ok},"device":{{"name":"d{number}"}},"n":{number}}}"#,
            at.to_rfc3339()
        );
        writeln!(text, "{line}").unwrap();
    }
    text
}

struct Prepared {
    folder: tempfile::TempDir,
    rules: Compiled,
    archive: Archive,
}

impl Prepared {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("streams/signin.sql", STREAM);
        for (name, text) in DETECTIONS {
            write(&format!("detections/{name}.sql"), text);
        }
        write("events.ndjson", &events());
        let (project, diagnostics) = Project::load(folder.path(), Need::Texts);
        assert!(diagnostics.is_empty(), "{diagnostics:?}");
        let rules = compile::rules(&project, &project.detections);
        assert!(rules.diagnostics.is_empty(), "{:?}", rules.diagnostics);
        Self { folder, rules, archive: Archive::new(Location::memory(), "weir") }
    }

    fn events(&self) -> std::path::PathBuf {
        self.folder.path().join("events.ndjson")
    }

    /// Replays the file as it is.
    fn replay_file(&self) -> (Alerts, Outputs) {
        let (stream, columns) = self.rules.program.columns("signin").unwrap();
        let source = FileSource::open(&self.events(), stream, columns, PARTITION).unwrap();
        let partition = Partition { stream: "signin".into(), id: PARTITION, is_read: true };
        self.replay(Box::new(Merge::new(vec![source])), &[partition])
    }

    fn replay_archive(&self, from: Option<EventTime>, to: Option<EventTime>) -> (Alerts, Outputs) {
        let input = ArchiveInput::open(&self.archive, &self.rules, from, to, 64 << 20).unwrap();
        let partitions = input.partitions();
        self.replay(Box::new(input), &partitions)
    }

    /// Writes the file into the archive, in small epochs, and the late events as a live run found them.
    fn archive(&self, late: &Outputs, keeps_raw: bool) {
        let stream = self.rules.catalog.stream("signin").unwrap();
        let mut source = FileSource::open(&self.events(), stream, &event_columns(stream), PARTITION).unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let mut table = self.archive.stream_writer(stream).await.unwrap();
            let mut epoch = 0;
            while let Some(output) = source.next_batch() {
                let rows = event_rows(&output.unwrap().batch, keeps_raw).unwrap();
                for start in (0..rows.num_rows()).step_by(97) {
                    epoch += 1;
                    let slice = rows.slice(start, 97.min(rows.num_rows() - start));
                    table.append(epoch, &[slice]).await.unwrap();
                }
            }
            let row = |event: &weir_engine::LateEvent| LateEventRow {
                time: event.against,
                uid: event.uid,
                stream: "signin",
                event_time: event.time,
                late_ms: event.late_ms(),
                reason: event.reason.as_str(),
                topic: "events.ndjson",
                partition: 0,
            };
            let rows: Vec<_> = late.late.iter().map(row).collect();
            let mut table = self.archive.writer(late_events()).await.unwrap();
            table.append(1, &[late_event_rows(&rows).unwrap()]).await.unwrap();
        });
    }

    fn replay(&self, steps: Box<dyn Iterator<Item = Step>>, partitions: &[Partition]) -> (Alerts, Outputs) {
        let mut engine = Engine::new(Arc::clone(&self.rules.program), 2, &[]).unwrap();
        for partition in partitions {
            engine.add_partition(&partition.stream, partition.id);
        }
        engine.start();
        let mut all = Outputs::default();
        let mut keep = |outputs: Outputs| {
            all.hits.extend(outputs.hits);
            all.late.extend(outputs.late);
        };
        for step in steps {
            match step {
                Step::Events(output) => keep(engine.push(output.batch).unwrap()),
                Step::End(index) => {
                    keep(engine.end_partition(&partitions[index].stream, partitions[index].id).unwrap())
                }
                Step::Broken(_, error) => panic!("{error:#}"),
            }
        }
        keep(engine.finish().unwrap());
        let row = |hit: &weir_engine::Hit| pretty_format_batches(std::slice::from_ref(&hit.row)).unwrap().to_string();
        let alerts = all.hits.iter().map(|hit| (hit.uid, (hit.time, hit.count, hit.late, row(hit)))).collect();
        (alerts, all)
    }
}

/// The last record of every alert.
type Alerts = BTreeMap<Uid, (EventTime, u64, bool, String)>;

#[test]
fn a_replay_of_the_archive_gives_the_alerts_of_the_file_it_was_written_from() {
    for keeps_raw in [false, true] {
        let prepared = Prepared::new();
        let (expected, outputs) = prepared.replay_file();
        assert!(expected.len() > 100, "{}", expected.len());
        let is_allowed = |late: &weir_engine::LateEvent| late.late_ms() <= 32_000;
        let allowed = outputs.late.iter().filter(|late| is_allowed(late)).count();
        assert!(0 < allowed && allowed < outputs.late.len(), "{allowed} of {} late ones", outputs.late.len());
        prepared.archive(&outputs, keeps_raw);
        let (found, again) = prepared.replay_archive(None, None);
        assert_eq!(found, expected);
        assert_eq!(again.late.len(), outputs.late.len());
    }
}

#[test]
fn a_replay_of_a_stretch_reads_that_stretch() {
    let prepared = Prepared::new();
    let (expected, outputs) = prepared.replay_file();
    prepared.archive(&outputs, false);
    let (from, to) = (instant("2023-11-14T22:16:00Z").unwrap(), instant("2023-11-14T22:19:00Z").unwrap());
    let (found, _) = prepared.replay_archive(Some(from), Some(to));
    let inside = |time: EventTime| from < time && time < to;
    let expected: Alerts = expected.into_iter().filter(|(_, (time, ..))| inside(*time)).collect();
    let found: Alerts = found.into_iter().filter(|(_, (time, ..))| inside(*time)).collect();
    assert_eq!(found, expected);
    assert!(!found.is_empty());
}

#[test]
fn an_archive_without_the_stream_has_no_events() {
    let prepared = Prepared::new();
    let (found, _) = prepared.replay_archive(None, None);
    assert!(found.is_empty());
}

#[test]
fn instants_are_dates_or_times() {
    assert_eq!(instant("1970-01-02").unwrap(), EventTime(86_400_000_000));
    assert_eq!(instant("1970-01-01T01:00:00+01:00").unwrap(), EventTime(0));
    assert!(instant("yesterday").unwrap_err().to_string().contains("write 2026-01-31"));
}
