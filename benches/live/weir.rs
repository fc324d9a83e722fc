//! The process that is measured: its project, its start, and what it says of itself.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use super::support::kafka;
use super::support::pipeline::Pipeline;
use super::support::process::Running;

pub(crate) const PATIENCE: Duration = Duration::from_secs(600);

/// A project on a broker.
pub(crate) struct Weir {
    pub(crate) pipeline: Pipeline,
    http: String,
    process: Option<Running>,
}

impl Weir {
    /// A project with these detections in the place of those it has, and its topics; nothing runs yet.
    pub(crate) fn new(address: &str, partitions: usize, epoch_ms: u64, detections: &[(&str, String)]) -> Self {
        let pipeline = Pipeline::new(address);
        pipeline.create_topics(address, partitions);
        let probe = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let http = probe.local_addr().expect("a bound port has an address").to_string();
        pipeline.configure("127.0.0.1:0", &http);
        pipeline.configure("epoch_ms = 200", &format!("epoch_ms = {epoch_ms}"));
        for file in ["detections/locked.sql", "detections/guessing.sql"] {
            std::fs::remove_file(pipeline.project.join(file)).expect("a file of the project");
        }
        for (name, sql) in detections {
            pipeline.project.write(&format!("detections/{name}.sql"), sql);
        }
        Self { pipeline, http, process: None }
    }

    /// Starts the process and waits until it runs.
    pub(crate) fn start(&mut self) {
        let mut process = self.pipeline.project.start(&["run"]);
        process.wait_for_line("running", PATIENCE);
        self.process = Some(process);
    }

    /// Ends it without a warning.
    pub(crate) fn kill(&mut self) {
        self.process.take().expect("it runs").kill();
    }

    /// Ends it in order.
    pub(crate) fn stop(&mut self) {
        let mut process = self.process.take().expect("it runs");
        assert!(process.terminate(PATIENCE).success(), "{}", process.printed());
    }

    /// A number of the metrics; zero where it is not told yet.
    pub(crate) fn metric(&self, line: &str) -> f64 {
        let mut stream = TcpStream::connect(&self.http).expect("the HTTP server answers");
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").expect("a request can be sent");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("an answer of text");
        let found = text.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(' '));
        found.and_then(|number| number.parse().ok()).unwrap_or(0.0)
    }

    /// Waits until so many records were read; gives the moment.
    pub(crate) fn wait_until_read(&self, records: usize) -> Instant {
        while self.metric("weir_read_records_total") < records as f64 {
            std::thread::sleep(Duration::from_millis(20));
        }
        Instant::now()
    }

    /// Waits for an epoch that begins after this call.
    pub(crate) fn wait_for_epoch(&self) {
        let begun = self.metric("weir_epoch");
        while self.metric("weir_epoch") < begun + 2.0 {
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The seconds of processors that it has used, and the bytes of memory that it holds (`/proc`).
    pub(crate) fn usage(&self) -> (f64, u64) {
        let id = self.process.as_ref().expect("it runs").id();
        let read = |name: &str| std::fs::read_to_string(format!("/proc/{id}/{name}")).expect("Linux's /proc");
        let stat = read("stat");
        // Behind the name, which ends with the last bracket: user and system time in hundredths of a second.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |place: usize| fields[place].parse::<u64>().expect("a number of ticks");
        let pages: u64 = read("statm").split_whitespace().nth(1).expect("resident pages").parse().expect("a number");
        ((ticks(11) + ticks(12)) as f64 / 100.0, pages * 4096)
    }

    /// The bytes below a folder of the project.
    pub(crate) fn bytes_in(&self, folder: &str) -> u64 {
        let files = walk(&self.pipeline.project.join(folder));
        files.iter().filter_map(|file| std::fs::metadata(file).ok()).map(|file| file.len()).sum()
    }
}

/// Shows each record as it comes, for so long.
pub(crate) fn watch(tail: &kafka::Tail, during: Duration, mut see: impl FnMut(&kafka::Stored)) {
    let deadline = Instant::now() + during;
    while let Some(left) = deadline.checked_duration_since(Instant::now()) {
        if let Some(record) = tail.next(left) {
            see(&record);
        }
    }
}

/// A detection with a header.
pub(crate) fn detection(id: &str, more: &str, sql: &str) -> String {
    format!("--! id = \"bench.{id}\"\n--! title = \"{id}\"\n--! severity = \"low\"\n{more}{sql}\n")
}

/// The number of the event that an alert is about.
pub(crate) fn seq_of(record: &kafka::Stored) -> Option<usize> {
    let json: serde_json::Value = serde_json::from_slice(&record.payload).expect("an alert is JSON");
    json.pointer("/evidences/0/data/seq")?.as_u64().map(|seq| seq as usize)
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).map(|entries| entries.flatten().collect()).unwrap_or_else(|_| vec![]);
    let below = entries.into_iter().map(|entry| entry.path());
    below.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}
