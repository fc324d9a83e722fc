//! From a project's texts to what they mean: catalog, detections, exceptions, tests, playbooks and responders, with
//! every mistake of every file.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use weir_detections::rule_test::{self, RuleTest};
use weir_detections::{Detection, Exception, exceptions};
use weir_engine::error::nearest;
use weir_engine::{Catalog, Diagnostic, Place, Span, sql};
use weir_playbooks::playbook::{Playbook, Responders};
use weir_playbooks::problem::{Problem, codes};
use weir_playbooks::responder::Responder;

use crate::config::{self, Config};
use crate::project::{Project, SourceFile};

/// What the texts of a project mean.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    /// Streams, views and tables.
    pub(crate) catalog: Catalog,
    /// Detections whose header could be read, with their runbooks.
    pub(crate) detections: Vec<Detection>,
    /// Exceptions that hold today.
    pub(crate) exceptions: Vec<Exception>,
    /// Rule tests.
    pub(crate) tests: Vec<RuleTest>,
    /// Playbooks by id.
    pub(crate) playbooks: BTreeMap<String, Playbook>,
    /// Responders by id. Their base URLs are resolved where the settings for it are there.
    pub(crate) responders: Responders,
}

/// Reads everything that can be read without the engine's planner.
pub(crate) fn read(project: &Project, today: NaiveDate) -> (Texts, Vec<Diagnostic>) {
    let mut diagnostics = Vec::new();
    let streams = project.streams.iter().map(|file| (file.path.clone(), file.text.clone())).collect::<Vec<_>>();
    let (catalog, found) = sql::parse_catalog(&streams);
    diagnostics.extend(found);
    let responders = responders(project, &mut diagnostics);
    let tables = catalog.tables().map(|table| table.name.as_str()).collect::<Vec<_>>();
    let playbooks = playbooks(&project.playbooks, &responders, &tables, &mut diagnostics);
    let texts = Texts {
        detections: detections(&project.detections, &project.runbooks, &mut diagnostics),
        exceptions: exceptions(&project.exceptions, today, &mut diagnostics),
        tests: all(&project.tests, |file| rule_test::parse(&file.path, &file.text), &mut diagnostics),
        responders,
        playbooks,
        catalog,
    };
    check_named_playbooks(&texts, project, &mut diagnostics);
    (texts, diagnostics)
}

/// Reads detection files, each with the runbook that lies beside it.
pub(crate) fn detections(
    files: &[SourceFile],
    runbooks: &[SourceFile],
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<Detection> {
    let mut detections = all(files, |file| weir_detections::parse(&file.path, &file.text), diagnostics);
    let beside = |path: &str| path.strip_suffix(".sql").map(|stem| format!("{stem}.md"));
    for detection in detections.iter_mut().filter(|detection| detection.runbook.is_none()) {
        let path = beside(&detection.file);
        let runbook = runbooks.iter().find(|runbook| Some(&runbook.path) == path.as_ref());
        detection.runbook = runbook.map(|runbook| runbook.text.clone());
    }
    detections
}

/// What each file holds; the mistakes of those that cannot be read go to the diagnostics.
fn all<T>(
    files: &[SourceFile],
    parse: impl Fn(&SourceFile) -> Result<T, Vec<Diagnostic>>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<T> {
    files.iter().filter_map(|file| parse(file).map_err(|found| diagnostics.extend(found)).ok()).collect()
}

fn exceptions(files: &[SourceFile], today: NaiveDate, diagnostics: &mut Vec<Diagnostic>) -> Vec<Exception> {
    let mut current = Vec::new();
    for file in files {
        let (exceptions, found) = exceptions::parse(&file.path, &file.text);
        diagnostics.extend(found);
        for exception in exceptions {
            match exception.expired(today) {
                Some(expired) => diagnostics.push(expired),
                None => current.push(exception),
            }
        }
    }
    current
}

fn responders(project: &Project, diagnostics: &mut Vec<Diagnostic>) -> Responders {
    let mut responders = Responders::new();
    for file in &project.responders {
        let mut responder = match Responder::parse(&file.text) {
            Ok(responder) => responder,
            Err(problems) => {
                diagnostics.extend(problems.into_iter().map(|problem| diagnostic(problem, &file.path)));
                continue;
            }
        };
        diagnostics.extend(resolve(&mut responder, &project.config, &file.path));
        let id = responder.id.clone();
        if responders.insert(id.clone(), responder).is_some() {
            let message = format!("there are two responders `{id}`");
            diagnostics.push(first_line(codes::RESPONDER_DUPLICATE, message, &file.path));
        }
    }
    responders
}

/// Fills the settings of `weir.toml` and the environment into the base URL. One that is missing is a warning: it may
/// well be set where the pipeline runs.
fn resolve(responder: &mut Responder, config: &Config, file: &str) -> Option<Diagnostic> {
    let missing = std::cell::Cell::new(false);
    let id = responder.id.clone();
    let setting = |name: &str| {
        let value = config.responder_setting(&id, name);
        missing.set(missing.get() || value.is_none());
        value
    };
    let problem = responder.resolve(&setting).err()?;
    let diagnostic = diagnostic(problem, file);
    Some(if missing.get() { Diagnostic { level: weir_engine::Level::Warning, ..diagnostic } } else { diagnostic })
}

fn playbooks(
    files: &[SourceFile],
    responders: &Responders,
    tables: &[&str],
    diagnostics: &mut Vec<Diagnostic>,
) -> BTreeMap<String, Playbook> {
    let mut playbooks = BTreeMap::new();
    for file in files {
        let playbook = match Playbook::parse(&file.text) {
            Ok(playbook) => playbook,
            Err(problems) => {
                diagnostics.extend(problems.into_iter().map(|problem| diagnostic(problem, &file.path)));
                continue;
            }
        };
        let problems = playbook.link(responders, tables);
        diagnostics.extend(problems.into_iter().map(|problem| diagnostic(problem, &file.path)));
        let id = playbook.id.clone();
        if playbooks.insert(id.clone(), playbook).is_some() {
            let message = format!("there are two playbooks `{id}`");
            diagnostics.push(first_line(codes::DUPLICATE_ID, message, &file.path));
        }
    }
    playbooks
}

/// A detection that names a playbook must find it.
fn check_named_playbooks(texts: &Texts, project: &Project, diagnostics: &mut Vec<Diagnostic>) {
    // Where a playbook could not be read, its mistakes are told already, and its id may be the one that is missed.
    if texts.playbooks.len() < project.playbooks.len() {
        return;
    }
    for detection in &texts.detections {
        let Some(name) = detection.playbook.as_deref().filter(|name| !texts.playbooks.contains_key(*name)) else {
            continue;
        };
        let hint = nearest(name, texts.playbooks.keys().map(String::as_str))
            .unwrap_or_else(|| "playbooks are the files in `playbooks/`".to_owned());
        let error = Diagnostic::error(config::codes::UNKNOWN_PLAYBOOK, format!("there is no playbook `{name}`"));
        diagnostics.push(error.at(detection.place("playbook")).hint(hint).in_file(detection.file.clone()));
    }
}

fn first_line(code: &'static str, message: String, file: &str) -> Diagnostic {
    Diagnostic::error(code, message).at(Span::at(Place::START)).hint("rename one of them").in_file(file)
}

/// The words of the playbooks' room in those of all others.
pub(crate) fn diagnostic(problem: Problem, file: &str) -> Diagnostic {
    let place = Place { line: problem.line, column: problem.column };
    Diagnostic::error(problem.code, problem.message).at(Span::at(place)).maybe_hint(problem.hint).in_file(file)
}
