//! `weir replay`: live semantics over recorded events. Files go in, alerts come out, and every record is accounted for.

mod archive;
mod input;
mod ledger;
mod progress;
mod select;
mod sink;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;
use std::time::Instant;

use anyhow::Context as _;
use chrono::Utc;
use weir_connectors::decode::Rejected;
use weir_connectors::file::FileSource;
use weir_detections::codes;
use weir_detections::compile::Compiled;
use weir_engine::{ColumnSet, Engine, EventTime, Outputs, PartitionId, Stream};

use crate::check;
use crate::cli::{Globals, ReplayArgs};
use crate::compile;
use crate::config::Need;
use crate::exit::{Blame, CommandError, CommandResult, Outcome};
use crate::project::Project;
use archive::ArchiveInput;
pub(crate) use input::Input;
use input::{Merge, Step};
use ledger::Ledger;
use progress::Progress;
use sink::Lines;

/// How many decoded batches may wait for the engine.
const BATCHES_WAITING_MAX: usize = 4;

/// Replays and prints the account.
pub(crate) fn run(globals: &Globals, args: &ReplayArgs) -> CommandResult {
    refuse_unbuilt(args)?;
    let (project, mut diagnostics) = Project::load(&globals.dir, Need::Texts);
    let files = if args.detections.is_empty() {
        project.detections.clone()
    } else {
        select::detection_files(&args.detections, &project).usage()?
    };
    let rules = compile::rules(&project, &files);
    // An exception that has expired hides nothing; it is for `weir check` to complain about.
    let found = rules.diagnostics.iter().filter(|diagnostic| diagnostic.code != codes::EXCEPTION_EXPIRED);
    diagnostics.extend(found.cloned());
    let (tables, found) = compile::tables(rules.program.tables().iter().map(|name| &**name), &rules, &project.dir);
    diagnostics.extend(found);
    let mut texts = project.texts();
    texts.extend(files.iter().map(|file| (file.path.as_str(), file.text.as_str())));
    check::stop_on_errors_in(&texts, diagnostics)?;
    if rules.detections.is_empty() {
        return Err(CommandError::usage(anyhow::anyhow!("there is no detection in {}", project.dir.display())));
    }
    let parallelism = args.parallelism.map_or(project.config.engine.parallelism, usize::from);
    let engine = Engine::new(Arc::clone(&rules.program), parallelism, &tables).usage()?;
    let (steps, partitions) = steps(args, &project, &rules)?;
    let alerts = Lines::open(args.alerts.as_deref()).outside()?;
    let dead_letters = args.dead_letters.as_deref().map(|path| Lines::open(Some(path))).transpose().outside()?;
    let sinks = Sinks { alerts, dead_letters };
    let replay = Replay {
        engine,
        rules: &rules,
        inputs: &partitions,
        ledger: Ledger::default(),
        progress: Progress::new(args.alerts.is_none()),
        sinks,
        topic: project.config.dead_letters_topic.as_str().into(),
        line: Vec::new(),
    };
    replay.run(steps, parallelism)
}

fn refuse_unbuilt(args: &ReplayArgs) -> Result<(), CommandError> {
    let unbuilt = [("--diff", args.diff.is_some()), ("--sigma", args.sigma.is_some())];
    match unbuilt.iter().find(|(_, used)| *used) {
        Some((flag, _)) => {
            let version = env!("CARGO_PKG_VERSION");
            Err(CommandError::usage(anyhow::anyhow!("`weir replay {flag}` is not part of version {version} yet")))
        }
        None => Ok(()),
    }
}

/// What is replayed, step by step, and the partitions that the steps speak of.
type Steps = Box<dyn Iterator<Item = Step> + Send>;

fn steps(args: &ReplayArgs, project: &Project, rules: &Compiled) -> Result<(Steps, Vec<Partition>), CommandError> {
    if !args.archive {
        let inputs = open(args, rules)?;
        return Ok((Box::new(Merge::new(inputs.sources)), inputs.partitions));
    }
    let from = args.from.as_deref().map(archive::instant).transpose().usage()?;
    let to = args.to.as_deref().map(archive::instant).transpose().usage()?;
    let tables = crate::hunt::archive(&project.config)?;
    let input = ArchiveInput::open(&tables, rules, from, to, project.config.hunt.memory_bytes).outside()?;
    let partitions = input.partitions();
    Ok((Box::new(input), partitions))
}

/// Opened inputs, and the partition of the engine that each is.
struct Inputs {
    sources: Vec<FileSource>,
    partitions: Vec<Partition>,
}

struct Partition {
    stream: Arc<str>,
    id: PartitionId,
    /// Whether a detection reads the stream. Otherwise its records are only counted.
    is_read: bool,
}

/// Opens every input before anything is read, so that a misspelt name costs no time.
fn open(args: &ReplayArgs, rules: &Compiled) -> Result<Inputs, CommandError> {
    let nothing = ColumnSet::default();
    let mut inputs = Inputs { sources: Vec::new(), partitions: Vec::new() };
    let mut next: HashMap<&str, u32> = HashMap::new();
    for input in &args.inputs {
        let stream: &Stream = input.stream(&rules.catalog).usage()?;
        let columns = rules.program.columns(&stream.name).map(|(_, columns)| columns);
        if columns.is_none() {
            tracing::warn!(stream = stream.name, "no detection reads this stream; its records are only counted");
        }
        let number = next.entry(stream.name.as_str()).or_default();
        let id = PartitionId(*number);
        *number += 1;
        let source = input.open(stream, columns.unwrap_or(&nothing), id).usage()?;
        inputs.sources.push(source);
        inputs.partitions.push(Partition { stream: stream.name.as_str().into(), id, is_read: columns.is_some() });
    }
    Ok(inputs)
}

/// Where results go.
struct Sinks {
    alerts: Lines,
    dead_letters: Option<Lines>,
}

struct Replay<'a> {
    engine: Engine,
    rules: &'a Compiled,
    inputs: &'a [Partition],
    ledger: Ledger,
    progress: Progress,
    sinks: Sinks,
    topic: Arc<str>,
    line: Vec<u8>,
}

impl Replay<'_> {
    fn run(mut self, steps: Steps, parallelism: usize) -> CommandResult {
        for partition in self.inputs.iter().filter(|partition| partition.is_read) {
            self.engine.add_partition(&partition.stream, partition.id);
        }
        // A stream without an input holds nothing back.
        self.engine.start();
        let begun = Instant::now();
        let mut broken: Vec<anyhow::Error> = Vec::new();
        if parallelism > 1 {
            let decoder = Decoding::start(steps).outside()?;
            for step in &decoder.steps {
                self.step(step, &mut broken)?;
            }
            decoder.finish().outside()?;
        } else {
            for step in steps {
                self.step(step, &mut broken)?;
            }
        }
        let outputs = self.engine.finish().outside()?;
        self.progress.finish();
        self.outputs(&outputs)?;
        let counts = self.engine.counts();
        self.ledger.engine(counts.into_values(), self.engine.failures());
        self.sinks.alerts.finish().outside()?;
        self.sinks.dead_letters.map_or(Ok(()), Lines::finish).outside()?;
        report(&self.ledger, begun, &broken)
    }

    fn step(&mut self, step: Step, broken: &mut Vec<anyhow::Error>) -> Result<(), CommandError> {
        let outputs = match step {
            Step::Events(output) => {
                let is_read = self.engine_reads(&output.batch.stream);
                self.ledger.input(&output, is_read);
                self.progress.events(&output);
                self.reject(&output.rejected)?;
                if !is_read || output.batch.rows.num_rows() == 0 {
                    return Ok(());
                }
                self.engine.push(output.batch)
            }
            Step::End(index) => self.end(index),
            Step::Broken(index, error) => {
                broken.push(error);
                self.end(index)
            }
        };
        self.outputs(&outputs.outside()?)
    }

    fn engine_reads(&self, stream: &str) -> bool {
        self.inputs.iter().any(|partition| *partition.stream == *stream && partition.is_read)
    }

    /// A file that has ended must not hold the others back.
    fn end(&mut self, index: usize) -> Result<Outputs, weir_engine::EngineError> {
        let partition = &self.inputs[index];
        if partition.is_read {
            self.engine.end_partition(&partition.stream, partition.id)
        } else {
            Ok(Outputs::default())
        }
    }

    fn outputs(&mut self, outputs: &Outputs) -> Result<(), CommandError> {
        for hit in &outputs.hits {
            if self.ledger.hit(hit) {
                let record = weir_detections::ocsf(&self.rules.detections[hit.query], hit);
                self.line.clear();
                serde_json::to_writer(&mut self.line, &record).outside()?;
                self.sinks.alerts.write(&self.line).outside()?;
            }
        }
        Ok(())
    }

    fn reject(&mut self, rejected: &[Rejected]) -> Result<(), CommandError> {
        let Some(lines) = &mut self.sinks.dead_letters else { return Ok(()) };
        // The letters of the dead-letter topic, so that they can be sent there.
        let now = EventTime(Utc::now().timestamp_micros());
        rejected.iter().try_for_each(|rejected| lines.write(&rejected.record(&self.topic, now).payload)).outside()
    }
}

/// Tells the account on standard error, its summary last.
fn report(ledger: &Ledger, begun: Instant, broken: &[anyhow::Error]) -> CommandResult {
    let took = begun.elapsed();
    for remark in ledger.remarks() {
        eprintln!("{remark}");
    }
    tracing::info!(ledger = ledger.equation(), input = ledger.speed(took), "replay has ended");
    let balance = ledger.balance();
    eprintln!("{}", ledger.summary(took));
    balance.map_err(|text| CommandError::outside(anyhow::anyhow!(text)))?;
    match broken {
        [] => Ok(Outcome::Done),
        [first, ..] => Err(CommandError::outside(anyhow::anyhow!(
            "{} broke off; what was read before is in the result: {first}",
            weir_engine::error::counted(broken.len(), "input")
        ))),
    }
}

/// Reading and decoding on a thread of its own, a few batches ahead of the engine.
struct Decoding {
    steps: Receiver<Step>,
    thread: JoinHandle<()>,
}

impl Decoding {
    fn start(given: Steps) -> anyhow::Result<Self> {
        let (sender, steps) = sync_channel(BATCHES_WAITING_MAX);
        let decode = move || {
            for step in given {
                // When nobody receives, the engine has stopped with an error, and tells that itself.
                if sender.send(step).is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("decode".to_owned()).spawn(decode);
        Ok(Self { steps, thread: thread.context("cannot start a thread")? })
    }

    fn finish(self) -> anyhow::Result<()> {
        drop(self.steps);
        match self.thread.join() {
            Ok(()) => Ok(()),
            // What was wrong stands above this on standard error.
            Err(_panic) => anyhow::bail!("decoding ended with a panic"),
        }
    }
}
