//! From a project's texts to what they mean: one program of all detections, rule tests, playbooks and responders, with
//! every mistake of every file.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use chrono::Utc;
use weir_detections::Delivery;
use weir_detections::codes as rule_codes;
use weir_detections::compile::{self, Compiled, Texts};
use weir_detections::rule_test::{self, RuleTest};
use weir_engine::error::nearest;
use weir_engine::{Diagnostic, Place, Span, TableVersion};
use weir_playbooks::http::Auth;
use weir_playbooks::playbook::{Draft, Outside, Playbook, Responders};
use weir_playbooks::problem::{self, Problem, codes};
use weir_playbooks::responder::{Responder, Unread};

use crate::config::{self, Config};
use crate::project::{self, Project, SourceFile};
use crate::test::outside;
use crate::yaml::{self, Readable};

/// How each kind of file names what is no YAML, and what follows from that.
const EXCEPTION: yaml::Codes =
    yaml::Codes { syntax: rule_codes::EXCEPTION_SYNTAX, missing: rule_codes::EXCEPTION_MISSING, follow_ups: &[] };
const TEST: yaml::Codes = yaml::Codes {
    syntax: rule_codes::TEST_SYNTAX,
    missing: rule_codes::TEST_MISSING,
    follow_ups: &[("detection", rule_codes::TEST_WITHOUT_DETECTION)],
};
const PLAYBOOK: yaml::Codes = yaml::Codes {
    syntax: codes::PLAYBOOK_YAML,
    missing: codes::PLAYBOOK_MISSING,
    // Steps are named by their ids, and what was looked up by its name.
    follow_ups: &[
        ("-", codes::PLAYBOOK_FIELD),
        ("id", codes::PLAYBOOK_FIELD),
        ("enrich", codes::PLAYBOOK_FIELD),
        ("steps", codes::PLAYBOOK_FIELD),
        ("on_fail", codes::PLAYBOOK_FIELD),
    ],
};
const RESPONDER: yaml::Codes =
    yaml::Codes { syntax: codes::RESPONDER_YAML, missing: codes::RESPONDER_MISSING, follow_ups: &[] };

/// What is done about alerts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Response {
    /// Playbooks by id.
    pub(crate) playbooks: BTreeMap<String, Playbook>,
    /// Responders by id. Their base URLs are resolved where the settings for it are there.
    pub(crate) responders: Responders,
}

/// Compiles the project's streams, tables and exceptions, and these detection files, into one program. What is wrong
/// is in [`Compiled::diagnostics`].
pub(crate) fn rules(project: &Project, detections: &[SourceFile]) -> Compiled {
    let readable = |file: &SourceFile| (file.path.clone(), yaml::readable(&file.text).text.into_owned());
    let texts = Texts {
        streams: pairs(&project.streams),
        detections: pairs(detections),
        runbooks: pairs(&project.runbooks),
        exceptions: project.exceptions.iter().map(readable).collect(),
    };
    let mut compiled = compile::compile(&texts, Some(Utc::now().date_naive()));
    for file in &project.exceptions {
        let is_about_it = |diagnostic: &Diagnostic| diagnostic.file.as_ref() == Some(&file.path);
        let (mut found, others) = compiled.diagnostics.drain(..).partition(is_about_it);
        yaml::readable(&file.text).judge(&file.path, &EXCEPTION, &mut found);
        compiled.diagnostics = others;
        compiled.diagnostics.append(&mut found);
    }
    compiled
}

fn pairs(files: &[SourceFile]) -> Vec<(String, String)> {
    files.iter().map(|file| (file.path.clone(), file.text.clone())).collect()
}

/// Reads the project's rule tests; those that can be run are returned beside the mistakes of the others.
pub(crate) fn tests(project: &Project, rules: &Compiled) -> (Vec<RuleTest>, Vec<Diagnostic>) {
    let (mut tests, mut diagnostics) = (Vec::new(), Vec::new());
    for file in &project.tests {
        let readable = yaml::readable(&file.text);
        let (test, mut found) = rule_test::read(&file.path, &readable.text);
        let lines = outside::lines_beside(&file.path, &project.dir);
        found.extend(test.iter().flat_map(|test| rule_test::check(test, rules, &lines)));
        readable.judge(&file.path, &TEST, &mut found);
        if found.is_empty() {
            tests.extend(test);
        }
        diagnostics.extend(found);
    }
    (tests, diagnostics)
}

/// Loads the look-up tables of these names.
pub(crate) fn tables<'a>(
    names: impl IntoIterator<Item = &'a str>,
    rules: &Compiled,
    dir: &Path,
) -> (Vec<TableVersion>, Vec<Diagnostic>) {
    let (mut tables, mut diagnostics) = (Vec::new(), Vec::new());
    for name in names {
        let Some(table) = rules.catalog.tables().find(|table| table.name == name) else { continue };
        match weir_connectors::table::load(table, dir) {
            Ok(version) => tables.push(version),
            Err(error) => diagnostics.extend(error.diagnostics().into_iter().map(|mut diagnostic| {
                match &diagnostic.file {
                    Some(file) => diagnostic.file = Some(project::relative(dir, Path::new(file))),
                    // Where the file of rows cannot be read, the statement that names it is the place to look.
                    None => diagnostic = diagnostic.at(table.span).in_file(table.file.clone()),
                }
                diagnostic
            })),
        }
    }
    (tables, diagnostics)
}

/// Reads the project's playbooks and responders, and checks what detections, playbooks and responders say about each
/// other.
pub(crate) fn response(project: &Project, rules: &Compiled) -> (Response, Vec<Diagnostic>) {
    let mut diagnostics = Vec::new();
    let (responders, unread) = responders(project, &mut diagnostics);
    let tables = rules.catalog.tables().map(|table| table.name.as_str()).collect::<Vec<_>>();
    let outside = Outside { responders: &responders, unread: &unread, tables: &tables };
    let playbooks = playbooks(&project.playbooks, &outside, &mut diagnostics);
    // The mistakes of a playbook that cannot be read are told already; that it is there counts all the same.
    let ids = playbooks.keys().map(String::as_str);
    let ids = ids.chain(project.playbooks.iter().filter_map(written_id)).collect();
    diagnostics.extend(missed_playbooks(rules, &ids));
    (Response { playbooks, responders }, diagnostics)
}

fn responders(project: &Project, diagnostics: &mut Vec<Diagnostic>) -> (Responders, BTreeMap<String, Unread>) {
    let (mut responders, mut all_unread) = (Responders::new(), BTreeMap::new());
    for file in &project.responders {
        let readable = yaml::readable(&file.text);
        let id = match Responder::parse(&readable.text).and_then(|responder| whole(responder, &readable)) {
            Ok(mut responder) => {
                diagnostics.extend(resolve(&mut responder, &project.config, &file.path));
                let id = responder.id.clone();
                responders.insert(id.clone(), responder).map(|_| id)
            }
            Err(mut unread) => {
                let problems = std::mem::take(&mut unread.problems);
                let mut found = problems.into_iter().map(|problem| diagnostic(problem, &file.path)).collect();
                readable.judge(&file.path, &RESPONDER, &mut found);
                diagnostics.append(&mut found);
                let id = unread.id.clone().unwrap_or_else(|| written_id(file).unwrap_or_default().to_owned());
                all_unread.insert(id.clone(), unread).map(|_| id)
            }
        };
        if let Some(id) = id.filter(|id| !id.is_empty()) {
            let message = format!("there are two responders `{id}`");
            diagnostics.push(first_line(codes::RESPONDER_DUPLICATE, message, &file.path));
        }
    }
    diagnostics.extend(sections_without_responder(&project.config, &responders, &all_unread));
    (responders, all_unread)
}

/// A responder of which something was cut out is not one to act by, even where nothing seems to be missing.
fn whole(responder: Responder, readable: &Readable<'_>) -> Result<Responder, Unread> {
    if readable.is_whole() {
        return Ok(responder);
    }
    let does = responder.operations.into_iter().map(|operation| operation.does).collect();
    Err(Unread { id: Some(responder.id), does: Some(does), problems: Vec::new() })
}

/// Fills the settings of `weir.toml` and the environment into the base URL. Whether one is set where the pipeline runs
/// cannot be known here; only what is wrong with those that are set is told.
fn resolve(responder: &mut Responder, config: &Config, file: &str) -> Option<Diagnostic> {
    let is_missing = Cell::new(false);
    let id = responder.id.clone();
    if let Some(base_url) = config.responders.get(&id).and_then(|section| section.base_url.as_ref()) {
        responder.base_url = base_url.as_str().trim_end_matches('/').to_owned();
    }
    let setting = |name: &str| {
        let value = config.responder_setting(&id, name);
        is_missing.set(is_missing.get() || value.is_none());
        value
    };
    let problem = responder.resolve(&setting).err()?;
    (!is_missing.get()).then(|| diagnostic(problem, file))
}

fn sections_without_responder(
    config: &Config,
    responders: &Responders,
    unread: &BTreeMap<String, Unread>,
) -> Vec<Diagnostic> {
    // A section may be for a file whose name of itself cannot be read.
    if unread.contains_key("") {
        return Vec::new();
    }
    let ids = || responders.keys().chain(unread.keys()).map(String::as_str);
    let unknown = config.responders.iter().filter(|(name, _)| !ids().any(|id| id == name.as_str()));
    unknown
        .map(|(name, section)| {
            let hint = nearest(name, ids())
                .unwrap_or_else(|| "a responder is a file in `responders/`; `id` is its name".to_owned());
            let warning =
                Diagnostic::warning(config::codes::UNKNOWN_RESPONDER, format!("there is no responder `{name}`"));
            warning.at(section.span).hint(hint).in_file(config::FILE)
        })
        .collect()
}

fn playbooks(
    files: &[SourceFile],
    outside: &Outside<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> BTreeMap<String, Playbook> {
    let mut playbooks = BTreeMap::new();
    for file in files {
        let readable = yaml::readable(&file.text);
        let (playbook, problems) = Draft::read(&readable.text).link(outside);
        let mut found = problems.into_iter().map(|problem| diagnostic(problem, &file.path)).collect();
        readable.judge(&file.path, &PLAYBOOK, &mut found);
        diagnostics.append(&mut found);
        let Some(playbook) = playbook.filter(|_| readable.is_whole()) else { continue };
        let id = playbook.id.clone();
        if playbooks.insert(id.clone(), playbook).is_some() {
            let message = format!("there are two playbooks `{id}`");
            diagnostics.push(first_line(codes::DUPLICATE_ID, message, &file.path));
        }
    }
    playbooks
}

/// What live playbooks need and nobody has set: addresses and secrets of the responders that their steps use.
pub(crate) fn unset(response: &Response, config: &Config) -> Vec<Diagnostic> {
    let plans = response.playbooks.values().flat_map(|playbook| [&playbook.steps, &playbook.on_close]);
    let steps = plans.flat_map(|plan| &plan.steps);
    let used = steps.filter_map(|step| step.responder_of(&response.responders).0.ok());
    let used = used.map(|responder| (responder.id.as_str(), responder)).collect::<BTreeMap<_, _>>();
    let mut diagnostics = Vec::new();
    for (id, responder) in used {
        let names = settings_of(responder);
        for name in names.into_iter().filter(|name| config.responder_setting(id, name).is_none()) {
            let message = format!("the responder `{id}` needs the setting `{name}`");
            let hint = format!("write `{name} = \"...\"` under `[responders.{id}]`, or set it in the environment");
            diagnostics.push(Diagnostic::error(config::codes::NOT_SET, message).hint(hint).in_file(config::FILE));
        }
    }
    diagnostics
}

fn settings_of(responder: &Responder) -> Vec<&str> {
    let mut names =
        responder.base_url.split("${").skip(1).filter_map(|rest| rest.split('}').next()).collect::<Vec<_>>();
    match &responder.auth {
        Auth::None => {}
        Auth::Bearer(token) => names.push(token),
        Auth::Basic { user, password } => names.extend([user.as_str(), password]),
        Auth::Header { secret, .. } => names.push(secret),
    }
    names
}

/// The id that a file says in a line of its own, whether or not the rest of it is a playbook.
fn written_id(file: &SourceFile) -> Option<&str> {
    let id = file.text.lines().find_map(|line| line.strip_prefix("id:"))?;
    Some(id.split(" #").next()?.trim().trim_matches(['"', '\'']))
}

/// Detections that name a playbook which does not exist.
fn missed_playbooks(rules: &Compiled, playbooks: &BTreeSet<&str>) -> Vec<Diagnostic> {
    let missed = |name: &str| {
        let hint = nearest(name, playbooks.iter().copied())
            .unwrap_or_else(|| "playbooks are the files in `playbooks/`".to_owned());
        Diagnostic::error(config::codes::UNKNOWN_PLAYBOOK, format!("there is no playbook `{name}`")).hint(hint)
    };
    let detections = rules.detections.iter().chain(&rules.drafts);
    let named = detections.filter_map(|detection| Some((detection, detection.playbook.as_deref()?)));
    named
        .filter(|(_, name)| !playbooks.contains(name))
        .map(|(detection, name)| missed(name).at(detection.place("playbook")).in_file(&detection.file))
        .collect()
}

/// Detections that ask for fast delivery where no topic for it can be told.
pub(crate) fn without_fast_topic(rules: &Compiled, config: &Config) -> Vec<Diagnostic> {
    if config.fast_topic.is_some() {
        return Vec::new();
    }
    let message = format!("there is no topic for fast alerts: `{}.fast` is too long for one", config.alerts_topic);
    let hint = "name one in weir.toml: `fast_topic` under `[alerts]`";
    let mistake = Diagnostic::error(config::codes::NO_FAST_TOPIC, message).hint(hint);
    let detections = rules.detections.iter().chain(&rules.drafts);
    detections
        .filter(|detection| detection.delivery == Delivery::Fast)
        .map(|detection| mistake.clone().at(detection.place("delivery")).in_file(&detection.file))
        .collect()
}

fn first_line(code: &'static str, message: String, file: &str) -> Diagnostic {
    Diagnostic::error(code, message).at(Span::at(Place::START)).hint("rename one of them").in_file(file)
}

/// The words of the playbooks' room in those of all others.
fn diagnostic(problem: Problem, file: &str) -> Diagnostic {
    let place = |place: problem::Place| Place { line: place.line, column: place.column };
    let span = Span { start: place(problem.span.start), end: place(problem.span.end) };
    Diagnostic::error(problem.code, problem.message).at(span).maybe_hint(problem.hint).in_file(file)
}
